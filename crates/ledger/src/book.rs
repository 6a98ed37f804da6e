//! The double-entry book: accounts, holds and transfers.
//!
//! A balance is what came in less what went out. A transfer moves an amount from one account to another, so the
//! balances of one currency always add up to zero: what customers have and what the operator earned stands on one
//! side, where it came from (cash, grants, receivables) on the other, below zero.
//!
//! **How much of a hold is used.** Output is bounded by `max_tokens`, so a hold is taken for the most that the work
//! can cost, and settling never takes more than the hold. Settling more is a fault of the caller's and is refused.
//!
//! **Idempotency and memory.** A transfer's id is its idempotency key: the same id with the same content is
//! [`Event::Already`], with other content an error. The book remembers the last ids only (as many as it was made
//! for); older ones are in the store, whose table of transfers has the id as its primary key. Ids of usage are
//! derived from a fresh request and are never applied late; an action that a caller can repeat at any time (a top-up,
//! a voucher) is looked up in the store by its id before it is applied here. Holds are never stored: after a restart
//! they are gone, and so is the work that they were for.
//!
//! **Invariant:** no command takes an account's balance, less what is held of it, below the account's floor.

mod account;

use std::collections::{HashMap, VecDeque};

pub use account::{Account, AccountKind, Hold, Reason, Transfer};
use freehold_domain::{AccountId, Currency, HoldId, MoneyError, NanoUnits, TransferId};
use serde::{Deserialize, Serialize};

/// Why the book refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// There is no such account in memory: open or load it first.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// There is no such hold: it was settled or voided, or never placed.
    #[error("there is no hold {0}; it was settled or voided before, or never placed")]
    NoHold(HoldId),
    /// The account has less than that.
    #[error("account {account} has {available} left to spend, {needed} is needed")]
    Insufficient {
        /// Which account.
        account: AccountId,
        /// What it can still spend: balance less holds less floor.
        available: NanoUnits,
        /// What was asked.
        needed: NanoUnits,
    },
    /// More than the hold.
    #[error("hold {hold} is for {held}; {asked} is more than that")]
    AboveHold {
        /// Which hold.
        hold: HoldId,
        /// Its amount.
        held: NanoUnits,
        /// What was asked.
        asked: NanoUnits,
    },
    /// The floor cannot go above what the account has.
    #[error("account {account} has {owned}; its floor cannot be {floor}")]
    FloorTooHigh {
        /// Which account.
        account: AccountId,
        /// Balance less holds: the highest floor it can have now.
        owned: NanoUnits,
        /// What was asked.
        floor: NanoUnits,
    },
    /// An id is used again for something else.
    #[error("{0} was used before with other content")]
    Conflict(String),
    /// The amount is negative, or zero where something must move.
    #[error("an amount of {0} cannot be moved or held")]
    BadAmount(NanoUnits),
    /// A transfer from an account to itself.
    #[error("a transfer needs two different accounts, both are {0}")]
    SameAccount(AccountId),
    /// Money of two currencies.
    #[error("account {from} is in {from_currency}, account {to} in {to_currency}")]
    TwoCurrencies {
        /// The account that pays.
        from: AccountId,
        /// Its currency.
        from_currency: Currency,
        /// The account that receives.
        to: AccountId,
        /// Its currency.
        to_currency: Currency,
    },
    /// The account has open holds.
    #[error("account {0} has open holds")]
    HasHolds(AccountId),
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What the book is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens an account, or brings one back that the store has. Its `held` is taken as zero.
    Open(Account),
    /// Sets the floor: zero for prepaid, minus the credit limit for postpaid, none for where money comes from.
    SetFloor {
        /// Which account.
        account: AccountId,
        /// The new floor.
        floor: Option<NanoUnits>,
    },
    /// Sets money aside.
    Place(Hold),
    /// Ends a hold and moves what the work cost, from nothing up to the hold. The transfer's `from` is the hold's
    /// account; its amount may be zero.
    Settle {
        /// Which hold.
        hold: HoldId,
        /// What it cost.
        transfer: Transfer,
    },
    /// Ends a hold and moves nothing.
    Void {
        /// Which hold.
        hold: HoldId,
    },
    /// Moves money.
    Post(Transfer),
}

/// What happened. A store that keeps these, in order, can make the same book again with [`Book::replay`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An account is there now.
    Opened(Account),
    /// An account has another floor.
    FloorSet {
        /// Which account.
        account: AccountId,
        /// The new floor.
        floor: Option<NanoUnits>,
    },
    /// Money is set aside.
    Placed(Hold),
    /// A hold ended. If the transfer's amount is zero there is nothing to store.
    Settled {
        /// Which hold.
        hold: HoldId,
        /// What moved.
        transfer: Transfer,
    },
    /// A hold ended, nothing moved.
    Voided {
        /// Which hold.
        hold: HoldId,
    },
    /// Money moved.
    Posted(Transfer),
    /// The same command was carried out before; nothing changed.
    Already,
}

/// The accounts in memory, their holds, and the last transfers' ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    accounts: HashMap<AccountId, Account>,
    holds: HashMap<HoldId, Hold>,
    recent: HashMap<TransferId, Transfer>,
    recent_order: VecDeque<TransferId>,
    recent_max: usize,
}

impl Book {
    /// An empty book that remembers the last `recent_max` transfers to recognize repetitions.
    pub fn new(recent_max: usize) -> Self {
        Self { accounts: HashMap::new(), holds: HashMap::new(), recent: HashMap::new(), recent_order: VecDeque::new(), recent_max }
    }

    /// The book that these events make, in their order. Fails if they are not the events of one book.
    pub fn replay(recent_max: usize, events: impl IntoIterator<Item = Event>) -> Result<Self, LedgerError> {
        let mut book = Self::new(recent_max);
        for event in events {
            book.evolve(&event)?;
        }
        Ok(book)
    }

    /// Carries a command out, wholly or not at all.
    pub fn apply(&mut self, command: Command) -> Result<Event, LedgerError> {
        let event = self.decide(command)?;
        self.evolve(&event)?;
        Ok(event)
    }

    /// Takes an account out of memory; the store has it. Fails while it has holds.
    pub fn evict(&mut self, account: AccountId) -> Result<Account, LedgerError> {
        if self.account(account)?.held > NanoUnits::ZERO || self.holds.values().any(|hold| hold.account == account) {
            return Err(LedgerError::HasHolds(account));
        }
        self.accounts.remove(&account).ok_or(LedgerError::NoAccount(account))
    }

    /// An account.
    pub fn account(&self, id: AccountId) -> Result<&Account, LedgerError> {
        self.accounts.get(&id).ok_or(LedgerError::NoAccount(id))
    }

    /// A hold.
    pub fn hold(&self, id: HoldId) -> Result<&Hold, LedgerError> {
        self.holds.get(&id).ok_or(LedgerError::NoHold(id))
    }

    /// Every account in memory, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// How many holds are open.
    pub fn open_holds(&self) -> usize {
        self.holds.len()
    }

    /// What the balances of a currency add up to: zero if all its accounts are in memory.
    pub fn total(&self, currency: Currency) -> i128 {
        self.accounts.values().filter(|account| account.currency == currency).map(|account| i128::from(account.balance.get())).sum()
    }

    fn decide(&self, command: Command) -> Result<Event, LedgerError> {
        match command {
            Command::Open(account) => self.decide_open(account),
            Command::SetFloor { account, floor } => self.decide_floor(account, floor),
            Command::Place(hold) => self.decide_place(hold),
            Command::Settle { hold, transfer } => self.decide_settle(hold, transfer),
            Command::Void { hold } => self.hold(hold).map(|_| Event::Voided { hold }),
            Command::Post(transfer) => self.decide_post(transfer),
        }
    }

    fn decide_open(&self, account: Account) -> Result<Event, LedgerError> {
        match self.accounts.get(&account.id) {
            None => Ok(Event::Opened(Account { held: NanoUnits::ZERO, ..account })),
            Some(known) if known.same_account(&account) => Ok(Event::Already),
            Some(_) => Err(LedgerError::Conflict(account.id.to_string())),
        }
    }

    fn decide_floor(&self, id: AccountId, floor: Option<NanoUnits>) -> Result<Event, LedgerError> {
        let account = self.account(id)?;
        match floor {
            _ if floor == account.floor => Ok(Event::Already),
            Some(floor) if account.owned()? < floor => Err(LedgerError::FloorTooHigh { account: id, owned: account.owned()?, floor }),
            _ => Ok(Event::FloorSet { account: id, floor }),
        }
    }

    fn decide_place(&self, hold: Hold) -> Result<Event, LedgerError> {
        if let Some(known) = self.holds.get(&hold.id) {
            return if *known == hold { Ok(Event::Already) } else { Err(LedgerError::Conflict(hold.id.to_string())) };
        }
        if hold.amount.is_negative() {
            return Err(LedgerError::BadAmount(hold.amount));
        }
        self.account(hold.account)?.can_spend(hold.amount)?;
        Ok(Event::Placed(hold))
    }

    fn decide_settle(&self, id: HoldId, transfer: Transfer) -> Result<Event, LedgerError> {
        if let Some(already) = self.repeated(&transfer)? {
            return Ok(already);
        }
        let hold = self.hold(id)?;
        if transfer.amount.is_negative() {
            return Err(LedgerError::BadAmount(transfer.amount));
        }
        if transfer.amount > hold.amount {
            return Err(LedgerError::AboveHold { hold: id, held: hold.amount, asked: transfer.amount });
        }
        if transfer.from != hold.account {
            return Err(LedgerError::Conflict(id.to_string()));
        }
        self.fits(&transfer)?;
        Ok(Event::Settled { hold: id, transfer })
    }

    fn decide_post(&self, transfer: Transfer) -> Result<Event, LedgerError> {
        if let Some(already) = self.repeated(&transfer)? {
            return Ok(already);
        }
        if transfer.amount <= NanoUnits::ZERO {
            return Err(LedgerError::BadAmount(transfer.amount));
        }
        self.fits(&transfer)?;
        self.account(transfer.from)?.can_spend(transfer.amount)?;
        Ok(Event::Posted(transfer))
    }

    fn repeated(&self, transfer: &Transfer) -> Result<Option<Event>, LedgerError> {
        match self.recent.get(&transfer.id) {
            None => Ok(None),
            Some(known) if known.same_content(transfer) => Ok(Some(Event::Already)),
            Some(_) => Err(LedgerError::Conflict(transfer.id.to_string())),
        }
    }

    fn fits(&self, transfer: &Transfer) -> Result<(), LedgerError> {
        let (from, to) = (self.account(transfer.from)?, self.account(transfer.to)?);
        if from.id == to.id {
            return Err(LedgerError::SameAccount(from.id));
        }
        if from.currency != to.currency {
            return Err(LedgerError::TwoCurrencies { from: from.id, from_currency: from.currency, to: to.id, to_currency: to.currency });
        }
        Ok(())
    }

    fn evolve(&mut self, event: &Event) -> Result<(), LedgerError> {
        match event {
            Event::Opened(account) => {
                self.accounts.insert(account.id, account.clone());
            }
            Event::FloorSet { account, floor } => self.account_mut(*account)?.floor = *floor,
            Event::Placed(hold) => {
                let account = self.account_mut(hold.account)?;
                account.held = account.held.plus(hold.amount)?;
                self.holds.insert(hold.id, hold.clone());
            }
            Event::Settled { hold, transfer } => {
                self.move_money(transfer)?;
                self.release(*hold)?;
                self.remember(transfer);
            }
            Event::Voided { hold } => self.release(*hold)?,
            Event::Posted(transfer) => {
                self.move_money(transfer)?;
                self.remember(transfer);
            }
            Event::Already => {}
        }
        Ok(())
    }

    fn move_money(&mut self, transfer: &Transfer) -> Result<(), LedgerError> {
        let from = self.account(transfer.from)?.balance.minus(transfer.amount)?;
        let to = self.account(transfer.to)?.balance.plus(transfer.amount)?;
        self.account_mut(transfer.from)?.balance = from;
        self.account_mut(transfer.to)?.balance = to;
        Ok(())
    }

    fn release(&mut self, id: HoldId) -> Result<(), LedgerError> {
        let hold = self.holds.remove(&id).ok_or(LedgerError::NoHold(id))?;
        let account = self.account_mut(hold.account)?;
        account.held = account.held.minus(hold.amount)?;
        Ok(())
    }

    fn remember(&mut self, transfer: &Transfer) {
        self.recent.insert(transfer.id, transfer.clone());
        self.recent_order.push_back(transfer.id);
        while self.recent_order.len() > self.recent_max {
            if let Some(oldest) = self.recent_order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    fn account_mut(&mut self, id: AccountId) -> Result<&mut Account, LedgerError> {
        self.accounts.get_mut(&id).ok_or(LedgerError::NoAccount(id))
    }
}
