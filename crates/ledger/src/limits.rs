//! Limits and budgets of tenants and keys: what may begin now.
//!
//! A request is admitted for the most that it can use, against its key's limits and its tenant's, both or none; what
//! it used in truth replaces the guess when it ends. Requests and tokens count in a sliding minute. A budget is for a
//! day or a month of the UTC calendar, and what a request costs belongs to the day and month in which it was admitted.
//!
//! **Invariant:** what is spent and held in a window never goes above the budget that was in force at admission.

mod window;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use freehold_domain::{HoldId, KeyId, NanoUnits, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use window::{Minute, Spending};

use crate::calendar::{Month, day_of, day_start};

/// Most thresholds for alerts in one set of limits.
pub const ALERTS_MAX: usize = 10;

/// What a tenant or a key may use. What is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u64>,
    /// Tokens, prompt and answer together, in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    pub parallel: Option<u32>,
    /// Bytes that are stored.
    pub storage_bytes: Option<u64>,
    /// Money in a day (UTC).
    pub budget_day: Option<NanoUnits>,
    /// Money in a month (UTC).
    pub budget_month: Option<NanoUnits>,
    /// At which parts of a budget to tell, in percent, 1 to 100.
    pub alert_at_percent: Vec<u8>,
}

/// Why limits are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A budget below zero.
    #[error("`{field}` is {amount}; a budget is zero or more")]
    Negative {
        /// Which field.
        field: &'static str,
        /// Its value.
        amount: NanoUnits,
    },
    /// A threshold out of range.
    #[error("`alert_at_percent` has {0}; use whole percents from 1 to 100")]
    Percent(u8),
    /// Too many thresholds.
    #[error("`alert_at_percent` has {0} entries; at most 10 are kept")]
    TooManyAlerts(usize),
}

impl Limits {
    /// Whether they make sense.
    pub fn check(&self) -> Result<(), LimitsError> {
        for (field, budget) in [("budget_day", self.budget_day), ("budget_month", self.budget_month)] {
            if let Some(amount) = budget.filter(|amount| amount.is_negative()) {
                return Err(LimitsError::Negative { field, amount });
            }
        }
        if self.alert_at_percent.len() > ALERTS_MAX {
            return Err(LimitsError::TooManyAlerts(self.alert_at_percent.len()));
        }
        self.alert_at_percent.iter().find(|percent| !(1..=100).contains(*percent)).map_or(Ok(()), |&bad| Err(LimitsError::Percent(bad)))
    }
}

/// Whose limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scope", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// All of a tenant.
    Tenant(TenantId),
    /// One of its keys.
    Key(KeyId),
}

/// A limit that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Requests in a minute.
    RequestsPerMinute,
    /// Tokens in a minute.
    TokensPerMinute,
    /// Requests at the same time.
    Parallel,
    /// Bytes stored.
    StorageBytes,
    /// Money in a day.
    BudgetDay,
    /// Money in a month.
    BudgetMonth,
}

impl LimitKind {
    /// As the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::Parallel => "parallel",
            Self::StorageBytes => "storage_bytes",
            Self::BudgetDay => "budget_day",
            Self::BudgetMonth => "budget_month",
        }
    }

    /// Whether it is about money: such a refusal is the dialect's quota error, not its rate limit.
    pub const fn is_budget(self) -> bool {
        matches!(self, Self::BudgetDay | Self::BudgetMonth)
    }
}

/// What a request asks for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The id under which it is settled.
    pub hold: HoldId,
    /// Whose request.
    pub tenant: TenantId,
    /// With which key, if with one.
    pub key: Option<KeyId>,
    /// Prompt and the longest answer, in tokens.
    pub tokens: u64,
    /// The most it can cost.
    pub amount: NanoUnits,
}

/// The request may begin; settle or void the hold on every way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What was asked for.
    pub hold: HoldId,
}

/// The request may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// Whose limit.
    pub scope: Scope,
    /// Which one.
    pub kind: LimitKind,
    /// The limit: a count, or nano-units.
    pub max: u64,
    /// What is used of it now, holds included.
    pub used: u64,
    /// What the request asked for at most.
    pub asked: u64,
    /// After how many seconds it would fit if nothing else comes; none if it never does.
    pub retry_after_s: Option<u32>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.scope {
            Scope::Tenant(_) => "tenant",
            Scope::Key(_) => "key",
        };
        let amount = |value: u64| match self.kind.is_budget() {
            true => NanoUnits::new(i64::try_from(value).unwrap_or(i64::MAX)).to_string(),
            false => value.to_string(),
        };
        write!(f, "The {who}'s limit `{}` is {}, ", self.kind.as_str(), amount(self.max))?;
        write!(f, "{} is in use and the request needs up to {}", amount(self.used), amount(self.asked))?;
        match self.retry_after_s {
            Some(seconds) => write!(f, "; try again in {seconds} s"),
            None => f.write_str(": it can never fit, ask for less or have the limit raised"),
        }
    }
}

/// Why an admission cannot be ended as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// No such hold.
    #[error("there is no admission {0}; it was settled or voided before")]
    NoHold(HoldId),
    /// It cost more than was held.
    #[error("admission {hold} is for {held}; it cannot cost {asked}")]
    AboveHold {
        /// Which.
        hold: HoldId,
        /// What was held.
        held: NanoUnits,
        /// What it is said to have cost.
        asked: NanoUnits,
    },
}

/// The day or the month of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A day of the UTC calendar.
    Day,
    /// A month of the UTC calendar.
    Month,
}

/// A budget's threshold was passed, for the first time in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Whose budget.
    pub scope: Scope,
    /// Of which period.
    pub period: Period,
    /// When the window began.
    pub window_start: Timestamp,
    /// The threshold, in percent of the budget.
    pub percent: u8,
    /// What is spent.
    pub spent: NanoUnits,
    /// The budget.
    pub budget: NanoUnits,
}

/// What a store knows about the windows that are running, to go on after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Spent on requests admitted today.
    pub day: NanoUnits,
    /// Spent on requests admitted this month.
    pub month: NanoUnits,
    /// The highest threshold reported today, in percent.
    pub day_alerted_percent: u8,
    /// The highest threshold reported this month, in percent.
    pub month_alerted_percent: u8,
}

/// What a tenant or a key uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// Requests in the last minute.
    pub requests: u64,
    /// Tokens in the last minute, guesses for running requests included.
    pub tokens: u64,
    /// Requests running.
    pub parallel: u32,
    /// Spent today.
    pub day_spent: NanoUnits,
    /// Held today.
    pub day_held: NanoUnits,
    /// Spent this month.
    pub month_spent: NanoUnits,
    /// Held this month.
    pub month_held: NanoUnits,
}

#[derive(Clone, Debug)]
struct Meter {
    limits: Arc<Limits>,
    requests: Option<Minute>,
    tokens: Option<Minute>,
    parallel: u32,
    day: Spending,
    month: Spending,
    touched: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Admission {
    ask: Ask,
    second: i64,
    day: i64,
    month: i64,
}

/// The limits in force and what is used of them.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    meters: HashMap<Scope, Meter>,
    admissions: HashMap<HoldId, Admission>,
    now: Option<Timestamp>,
}

impl Limiter {
    /// Nothing in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a tenant or a key is in memory. If not, [`Limiter::restore`] it before it is admitted.
    pub fn knows(&self, scope: Scope) -> bool {
        self.meters.contains_key(&scope)
    }

    /// Takes over what the store knows was spent. Does nothing if the scope is in memory already.
    pub fn restore(&mut self, now: Timestamp, scope: Scope, spent: Spent) {
        let now = self.tick(now);
        self.meters.entry(scope).or_insert_with(|| {
            let mut meter = Meter::new(now);
            (meter.day.spent, meter.day.alerted_percent) = (spent.day, spent.day_alerted_percent);
            (meter.month.spent, meter.month.alerted_percent) = (spent.month, spent.month_alerted_percent);
            meter
        });
    }

    /// Admits a request under its tenant's limits and its key's, or says which limit stands in the way.
    pub fn admit(&mut self, now: Timestamp, ask: Ask, tenant: &Arc<Limits>, key: Option<&Arc<Limits>>) -> Result<Admitted, Refused> {
        let now = self.tick(now);
        let limits = [Some(tenant), key];
        for (scope, limits) in scopes(&ask).zip(limits) {
            let Some(scope) = scope else { continue };
            let meter = self.meters.entry(scope).or_insert_with(|| Meter::new(now));
            meter.advance(now, limits);
            meter.check(now, scope, &ask)?;
        }
        for scope in scopes(&ask).flatten() {
            if let Some(meter) = self.meters.get_mut(&scope) {
                meter.take(&ask);
            }
        }
        let admission = Admission { ask, second: now.unix_s(), day: day_of(now), month: month_of(now) };
        self.admissions.insert(ask.hold, admission);
        Ok(Admitted { hold: ask.hold })
    }

    /// Ends an admission with what it used. The alerts are reported here and never again in their windows.
    pub fn settle(&mut self, now: Timestamp, hold: HoldId, tokens: u64, amount: NanoUnits) -> Result<Vec<Alert>, SettleError> {
        let now = self.tick(now);
        let admission = *self.admissions.get(&hold).ok_or(SettleError::NoHold(hold))?;
        if amount > admission.ask.amount {
            return Err(SettleError::AboveHold { hold, held: admission.ask.amount, asked: amount });
        }
        self.admissions.remove(&hold);
        let mut alerts = Vec::new();
        for scope in scopes(&admission.ask).flatten() {
            if let Some(meter) = self.meters.get_mut(&scope) {
                meter.advance(now, None);
                meter.settle(&admission, tokens, amount);
                meter.alerts(scope, &mut alerts);
            }
        }
        Ok(alerts)
    }

    /// Ends an admission that used nothing. The request itself still counts in its minute.
    pub fn void(&mut self, now: Timestamp, hold: HoldId) -> Result<(), SettleError> {
        self.settle(now, hold, 0, NanoUnits::ZERO).map(drop)
    }

    /// Whose requests that were admitted before a moment are still open.
    pub fn open_before(&self, moment: Timestamp) -> HashSet<TenantId> {
        let early = self.admissions.values().filter(|admission| admission.second < moment.unix_s());
        early.map(|admission| admission.ask.tenant).collect()
    }

    /// How many admissions are open.
    pub fn open(&self) -> usize {
        self.admissions.len()
    }

    /// What a tenant or a key uses now.
    pub fn in_use(&mut self, now: Timestamp, scope: Scope) -> InUse {
        let now = self.tick(now);
        let Some(meter) = self.meters.get_mut(&scope) else { return InUse::default() };
        meter.advance(now, None);
        InUse {
            requests: meter.requests.as_ref().map_or(0, Minute::total),
            tokens: meter.tokens.as_ref().map_or(0, Minute::total),
            parallel: meter.parallel,
            day_spent: meter.day.spent,
            day_held: meter.day.held,
            month_spent: meter.month.spent,
            month_held: meter.month.held,
        }
    }

    /// Forgets who has no open request and made none for `idle_ms` (at least two minutes). The store has what they
    /// spent.
    pub fn sweep(&mut self, now: Timestamp, idle_ms: i64) {
        let oldest = self.tick(now).unix_ms().saturating_sub(idle_ms.max(120_000));
        self.meters.retain(|_, meter| meter.parallel > 0 || meter.touched.unix_ms() > oldest);
    }

    /// Time never runs backwards, whatever the clock does.
    fn tick(&mut self, now: Timestamp) -> Timestamp {
        let latest = self.now.map_or(now, |before| before.max(now));
        self.now = Some(latest);
        latest
    }
}

fn scopes(ask: &Ask) -> impl Iterator<Item = Option<Scope>> {
    [Some(Scope::Tenant(ask.tenant)), ask.key.map(Scope::Key)].into_iter()
}

fn month_of(moment: Timestamp) -> i64 {
    i64::from(Month::of(moment).index())
}

impl Meter {
    fn new(now: Timestamp) -> Self {
        let day = Spending { window: day_of(now), ..Spending::default() };
        let month = Spending { window: month_of(now), ..Spending::default() };
        Self { limits: Arc::default(), requests: None, tokens: None, parallel: 0, day, month, touched: now }
    }

    fn advance(&mut self, now: Timestamp, limits: Option<&Arc<Limits>>) {
        if let Some(limits) = limits.filter(|limits| !Arc::ptr_eq(limits, &self.limits)) {
            self.limits = Arc::clone(limits);
        }
        let minute = |slot: &mut Option<Minute>, limited: bool| match slot {
            Some(minute) => minute.advance(now.unix_s()),
            None if limited => *slot = Some(Minute::new(now.unix_s())),
            None => {}
        };
        minute(&mut self.requests, self.limits.requests_per_minute.is_some());
        minute(&mut self.tokens, self.limits.tokens_per_minute.is_some());
        self.day.advance(day_of(now));
        self.month.advance(month_of(now));
        self.touched = now;
    }

    fn check(&self, now: Timestamp, scope: Scope, ask: &Ask) -> Result<(), Refused> {
        let minutes = [
            (LimitKind::RequestsPerMinute, self.limits.requests_per_minute, &self.requests, 1),
            (LimitKind::TokensPerMinute, self.limits.tokens_per_minute, &self.tokens, ask.tokens),
        ];
        for (kind, max, minute, asked) in minutes {
            if let (Some(max), Some(minute)) = (max, minute) {
                let refused = |retry_after_s| Refused { scope, kind, max, used: minute.total(), asked, retry_after_s };
                minute.fits(asked, max).map_err(refused)?;
            }
        }
        if let Some(max) = self.limits.parallel.filter(|&max| self.parallel >= max) {
            let (max, used) = (u64::from(max), u64::from(self.parallel));
            return Err(Refused { scope, kind: LimitKind::Parallel, max, used, asked: 1, retry_after_s: (max > 0).then_some(1) });
        }
        let day_end = day_start(self.day.window + 1);
        let month_end = Month::of(now).end();
        let budgets = [
            (LimitKind::BudgetDay, self.limits.budget_day, &self.day, day_end),
            (LimitKind::BudgetMonth, self.limits.budget_month, &self.month, month_end),
        ];
        for (kind, budget, spending, end) in budgets {
            let Some(budget) = budget else { continue };
            if i128::from(spending.taken().get()) + i128::from(ask.amount.get()) > i128::from(budget.get()) {
                let wait_s = u32::try_from((end.unix_ms() - now.unix_ms() + 999) / 1000).unwrap_or(u32::MAX);
                let size = |amount: NanoUnits| u64::try_from(amount.get()).unwrap_or(0);
                let retry_after_s = (ask.amount <= budget).then_some(wait_s);
                return Err(Refused {
                    scope,
                    kind,
                    max: size(budget),
                    used: size(spending.taken()),
                    asked: size(ask.amount),
                    retry_after_s,
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, ask: &Ask) {
        if let Some(requests) = &mut self.requests {
            requests.add(1);
        }
        if let Some(tokens) = &mut self.tokens {
            tokens.add(ask.tokens);
        }
        self.parallel += 1;
        self.day.hold(ask.amount);
        self.month.hold(ask.amount);
    }

    fn settle(&mut self, admission: &Admission, tokens: u64, amount: NanoUnits) {
        if let Some(minute) = &mut self.tokens {
            minute.correct(admission.second, admission.ask.tokens, tokens);
        }
        self.parallel = self.parallel.saturating_sub(1);
        self.day.settle(admission.day, admission.ask.amount, amount);
        self.month.settle(admission.month, admission.ask.amount, amount);
    }

    fn alerts(&mut self, scope: Scope, alerts: &mut Vec<Alert>) {
        let month_start = Month::from_index(self.month.window).start();
        let periods = [
            (Period::Day, self.limits.budget_day, day_start(self.day.window), &mut self.day),
            (Period::Month, self.limits.budget_month, month_start, &mut self.month),
        ];
        for (period, budget, window_start, spending) in periods {
            let Some(budget) = budget.filter(|budget| *budget > NanoUnits::ZERO) else { continue };
            let reached = |percent: u8| i128::from(spending.spent.get()) * 100 >= i128::from(budget.get()) * i128::from(percent);
            let mut passed: Vec<u8> =
                self.limits.alert_at_percent.iter().copied().filter(|&p| p > spending.alerted_percent && reached(p)).collect();
            passed.sort_unstable();
            passed.dedup();
            spending.alerted_percent = passed.last().copied().unwrap_or(spending.alerted_percent);
            alerts.extend(passed.into_iter().map(|percent| Alert { scope, period, window_start, percent, spent: spending.spent, budget }));
        }
    }
}
