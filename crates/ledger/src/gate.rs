//! The gate that a request passes before work begins: its limits, its budgets and its money at once.
//!
//! **Invariant:** a hold is in the book exactly as long as its admission is in the limiter.

use std::sync::Arc;

use freehold_domain::{AccountId, HoldId, NanoUnits, Timestamp};

use crate::book::{Book, Command, Event, Hold, LedgerError, Transfer};
use crate::limits::{Alert, Ask, Limiter, Limits, Refused, SettleError};

/// What a request asks for, and who pays.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it asks for at most.
    pub ask: Ask,
    /// The customer's account.
    pub account: AccountId,
    /// The tenant's limits.
    pub tenant_limits: &'a Arc<Limits>,
    /// The key's limits, if it has some.
    pub key_limits: Option<&'a Arc<Limits>>,
}

/// Why a request may not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A limit or a budget is reached.
    #[error(transparent)]
    Limit(#[from] Refused),
    /// The account has not enough.
    #[error("The request can cost up to {needed}; {available} is left to spend")]
    Money {
        /// What is left.
        available: NanoUnits,
        /// What is needed.
        needed: NanoUnits,
    },
    /// The account is not there, or the hold's id was used before: a fault of the caller's.
    #[error(transparent)]
    Ledger(LedgerError),
}

/// Why a request cannot be ended as asked: a fault of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The limiter refuses.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The book refuses.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which request.
    pub hold: HoldId,
    /// Tokens used, prompt and answer together.
    pub tokens: u64,
    /// What moves; the amount may be zero.
    pub transfer: Transfer,
}

/// What ending a request did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What the book did.
    pub event: Event,
    /// Thresholds passed.
    pub alerts: Vec<Alert>,
}

/// The book and the limiter, moved together.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The accounts.
    pub book: Book,
    /// The limits.
    pub limiter: Limiter,
}

impl Gate {
    /// An empty book and a limiter with nothing in use.
    pub fn new(recent_max: usize) -> Self {
        Self { book: Book::new(recent_max), limiter: Limiter::new() }
    }

    /// Lets a request begin, with its money held and its limits taken, or changes nothing.
    pub fn admit(&mut self, now: Timestamp, entry: Entry<'_>) -> Result<(), Refusal> {
        let hold = Hold { id: entry.ask.hold, account: entry.account, amount: entry.ask.amount };
        match self.book.apply(Command::Place(hold)) {
            Ok(Event::Already) => return Err(Refusal::Ledger(LedgerError::Conflict(entry.ask.hold.to_string()))),
            Ok(_) => {}
            Err(LedgerError::Insufficient { available, needed, .. }) => return Err(Refusal::Money { available, needed }),
            Err(error) => return Err(Refusal::Ledger(error)),
        }
        if let Err(refused) = self.limiter.admit(now, entry.ask, entry.tenant_limits, entry.key_limits) {
            self.book.apply(Command::Void { hold: entry.ask.hold }).map_err(Refusal::Ledger)?;
            return Err(Refusal::Limit(refused));
        }
        Ok(())
    }

    /// Ends a request with what it cost. Doing it again changes nothing.
    pub fn settle(&mut self, now: Timestamp, settlement: Settlement) -> Result<Settled, GateError> {
        let Settlement { hold, tokens, transfer } = settlement;
        let amount = transfer.amount;
        let event = self.book.apply(Command::Settle { hold, transfer })?;
        if event == Event::Already {
            return Ok(Settled { event, alerts: Vec::new() });
        }
        Ok(Settled { event, alerts: self.limiter.settle(now, hold, tokens, amount)? })
    }

    /// Ends a request that costs nothing and leaves no usage.
    pub fn void(&mut self, now: Timestamp, hold: HoldId) -> Result<(), GateError> {
        self.book.apply(Command::Void { hold })?;
        Ok(self.limiter.void(now, hold)?)
    }
}
