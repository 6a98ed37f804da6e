//! What decides about a request, in memory: accounts with holds, limits in use, prices.
//!
//! **Invariant:** everything that a decision needs is here before it is made, and every change to it goes through here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use freehold_domain::{Currency, KeyId, NanoUnits, PriceListId, TenantId, Timestamp};
use freehold_ledger::gate::{Entry, GateError, Settled, Settlement};
use freehold_ledger::limits::{InUse, Scope, Spent};
use freehold_ledger::prices::{PriceError, Prices};
use freehold_ledger::usage::Usage;
use freehold_ledger::{Account, AccountKind, Alert, Command, Gate, LedgerError, Limits, Refusal, Transfer, UsageRecord, bill, derive};
use freehold_store::account_id;

/// Transfers that are remembered to recognize repetitions.
const RECENT_MAX: usize = 100_000;

/// The number of the list that holds when none was published: everything is free.
pub(super) const FREE_NUMBER: u32 = 0;

pub(super) struct Meter {
    gate: Gate,
    currency: Currency,
    prices: Arc<Prices>,
    tenants: HashMap<TenantId, Arc<Limits>>,
    keys: HashMap<KeyId, Option<Arc<Limits>>>,
}

/// What the store knows of a tenant or a key that comes into memory.
pub(super) struct Loaded {
    pub tenant: TenantId,
    pub account: Account,
    pub limits: Limits,
    pub spent: Spent,
    pub key: Option<(KeyId, Option<Limits>, Spent)>,
}

/// What a request is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub ask: freehold_ledger::limits::Ask,
    pub model: &'a str,
    pub prompt_max: u64,
    pub output_max: u64,
}

/// Why a request may not begin.
pub(super) enum NotAdmitted {
    /// The tenant or the key is not in memory.
    Unknown,
    /// It has no price.
    Price(PriceError),
    /// No limit, budget or account allows it.
    Refused(Refusal),
}

impl Meter {
    pub fn new(currency: Currency, prices: Prices) -> Self {
        let mut gate = Gate::new(RECENT_MAX);
        for kind in AccountKind::ALL.into_iter().filter(|kind| *kind != AccountKind::Customer) {
            // An empty book takes every account.
            if let Err(error) = gate.book.apply(Command::Open(Account::new(kind, None, currency))) {
                tracing::error!(%error, "an account cannot be opened");
            }
        }
        Self { gate, currency, prices: Arc::new(prices), tenants: HashMap::new(), keys: HashMap::new() }
    }

    /// Takes over an operator's account as it is stored.
    pub fn open_operator(&mut self, account: Account) -> Result<(), LedgerError> {
        self.gate.book.evict(account.id)?;
        self.gate.book.apply(Command::Open(account)).map(drop)
    }

    pub fn prices(&self) -> Arc<Prices> {
        Arc::clone(&self.prices)
    }

    pub fn set_prices(&mut self, prices: Prices) {
        self.prices = Arc::new(prices);
    }

    pub fn knows(&self, tenant: TenantId, key: Option<KeyId>) -> bool {
        let knows = |scope| self.gate.limiter.knows(scope);
        self.tenants.contains_key(&tenant)
            && knows(Scope::Tenant(tenant))
            && key.is_none_or(|key| self.keys.contains_key(&key) && knows(Scope::Key(key)))
    }

    /// The limits of a tenant and a key, if they are in memory.
    pub fn limits(&self, tenant: TenantId, key: Option<KeyId>) -> Option<(Arc<Limits>, Option<Arc<Limits>>)> {
        let of_key = key.map(|key| self.keys.get(&key)).map_or(Some(None), |found| found.cloned())?;
        Some((Arc::clone(self.tenants.get(&tenant)?), of_key))
    }

    /// Brings a tenant, and a key of it, into memory. What is there already stays.
    pub fn load(&mut self, now: Timestamp, loaded: Loaded) -> Result<(), LedgerError> {
        if self.gate.book.account(loaded.account.id).is_err() {
            self.gate.book.apply(Command::Open(loaded.account))?;
        }
        self.tenants.entry(loaded.tenant).or_insert_with(|| Arc::new(loaded.limits));
        self.gate.limiter.restore(now, Scope::Tenant(loaded.tenant), loaded.spent);
        if let Some((key, limits, spent)) = loaded.key {
            self.keys.entry(key).or_insert_with(|| limits.map(Arc::new));
            self.gate.limiter.restore(now, Scope::Key(key), spent);
        }
        Ok(())
    }

    /// Lets a request begin, with its hold. The hold's amount.
    pub fn admit(&mut self, now: Timestamp, wish: Wish<'_>) -> Result<NanoUnits, NotAdmitted> {
        if !self.knows(wish.ask.tenant, wish.ask.key) {
            return Err(NotAdmitted::Unknown);
        }
        let Some(tenant_limits) = self.tenants.get(&wish.ask.tenant) else { return Err(NotAdmitted::Unknown) };
        let key_limits = wish.ask.key.and_then(|key| self.keys.get(&key)).and_then(Option::as_ref);
        let amount = match self.prices.at(now) {
            Ok(list) => list.worst_case(wish.model, wish.prompt_max, wish.output_max).map_err(NotAdmitted::Price)?,
            // Nothing was published: nothing costs anything.
            Err(_) => NanoUnits::ZERO,
        };
        let ask = freehold_ledger::limits::Ask { amount, ..wish.ask };
        let account = AccountKind::Customer.id(Some(wish.ask.tenant), self.currency);
        self.gate.admit(now, Entry { ask, account, tenant_limits, key_limits }).map_err(NotAdmitted::Refused)?;
        Ok(amount)
    }

    /// The record of what was used, at the price of its beginning.
    pub fn record(&self, usage: Usage) -> Result<UsageRecord, PriceError> {
        match bill(usage.clone(), &self.prices) {
            Err(PriceError::NoList(_)) => Ok(free(usage, self.currency)),
            other => other,
        }
    }

    /// Ends a request with its record.
    pub fn settle(&mut self, now: Timestamp, hold: freehold_domain::HoldId, record: &UsageRecord) -> Result<Settled, GateError> {
        let customer = account_id(AccountKind::Customer, record.tenant, self.currency);
        let revenue = account_id(AccountKind::Revenue, record.tenant, self.currency);
        let transfer = record.charge(customer, revenue);
        self.gate.settle(now, Settlement { hold, tokens: record.served.all_tokens(), transfer })
    }

    pub fn void(&mut self, now: Timestamp, hold: freehold_domain::HoldId) {
        if let Err(error) = self.gate.void(now, hold) {
            tracing::error!(%error, "a hold cannot be ended");
        }
    }

    /// Takes over a transfer that is on the disk. A customer that is not in memory is left to be loaded.
    pub fn post(&mut self, transfer: Transfer) {
        let book = &mut self.gate.book;
        if book.account(transfer.from).is_err() || book.account(transfer.to).is_err() {
            tracing::debug!(id = %transfer.id, "a transfer of an account that is not in memory");
            return;
        }
        if let Err(error) = book.apply(Command::Post(transfer)) {
            tracing::error!(%error, "a stored transfer does not fit the book in memory");
        }
    }

    pub fn account(&self, tenant: TenantId) -> Option<Account> {
        self.gate.book.account(AccountKind::Customer.id(Some(tenant), self.currency)).ok().cloned()
    }

    pub fn set_floor(&mut self, tenant: TenantId, floor: Option<NanoUnits>) -> Result<(), LedgerError> {
        let account = AccountKind::Customer.id(Some(tenant), self.currency);
        self.gate.book.apply(Command::SetFloor { account, floor }).map(drop)
    }

    pub fn set_limits(&mut self, tenant: TenantId, key: Option<KeyId>, limits: Limits) {
        match key {
            Some(key) => {
                self.keys.insert(key, Some(Arc::new(limits)));
            }
            None => {
                self.tenants.insert(tenant, Arc::new(limits));
            }
        }
    }

    pub fn in_use(&mut self, now: Timestamp, tenant: TenantId, key: Option<KeyId>) -> InUse {
        self.gate.limiter.in_use(now, key.map_or(Scope::Tenant(tenant), Scope::Key))
    }

    pub fn open_before(&self, moment: Timestamp) -> HashSet<TenantId> {
        self.gate.limiter.open_before(moment)
    }

    pub fn open_holds(&self) -> usize {
        self.gate.book.open_holds()
    }

    pub fn sweep(&mut self, now: Timestamp, idle_ms: i64) {
        self.gate.limiter.sweep(now, idle_ms);
        let limiter = &self.gate.limiter;
        self.keys.retain(|key, _| limiter.knows(Scope::Key(*key)));
    }
}

/// What an alert is about, for its receiver.
pub(super) fn alert_scope(alert: &Alert) -> Option<KeyId> {
    match alert.scope {
        Scope::Tenant(_) => None,
        Scope::Key(key) => Some(key),
    }
}

/// A record of what nobody pays for, because no price list was published.
fn free(usage: Usage, currency: Currency) -> UsageRecord {
    UsageRecord::free(usage, PriceListId::from_uuid(derive::uuid("freehold.prices", &["none"])), FREE_NUMBER, currency)
}
