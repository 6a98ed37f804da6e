//! What several contracts have in common, so that a plan says it once.
//!
//! **Invariant:** every date to come and every clause of a contract is either shared by all contracts or its own.

use time::Date;

use super::Tie;
use crate::contracts::clocks::{Ask, Clock};

/// The dates and clauses of a set of contracts, what all of them have apart from the rest.
#[derive(Clone, Debug)]
pub struct Shared<'p> {
    /// Dates to come of every contract; empty where there is only one.
    pub clocks: Vec<&'p Clock>,
    /// Clauses to ask for in every contract; empty where there is only one.
    pub asks: Vec<&'p Ask>,
    from: Date,
}

impl<'p> Shared<'p> {
    /// Compares the contracts; dates before `from` are left out.
    pub fn of(ties: &'p [Tie], from: Date) -> Shared<'p> {
        let (first, others) = match ties {
            [first, others @ ..] if !others.is_empty() => (first, others),
            _ => return Shared { clocks: Vec::new(), asks: Vec::new(), from },
        };
        let in_all_clocks = |clock: &&Clock| clock.date >= from && others.iter().all(|tie| tie.clocks.contains(clock));
        let in_all_asks = |ask: &&Ask| others.iter().all(|tie| tie.asks.contains(ask));
        Shared { clocks: first.clocks.iter().filter(in_all_clocks).collect(), asks: first.asks.iter().filter(in_all_asks).collect(), from }
    }

    /// The dates to come that only this contract has.
    pub fn own_clocks(&self, tie: &'p Tie) -> impl Iterator<Item = &'p Clock> {
        tie.clocks.iter().filter(|clock| clock.date >= self.from && !self.clocks.contains(clock))
    }

    /// The clauses to ask for only in this contract.
    pub fn own_asks(&self, tie: &'p Tie) -> Vec<&'p Ask> {
        tie.asks.iter().filter(|ask| !self.asks.contains(ask)).collect()
    }
}
