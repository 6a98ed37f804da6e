//! Admission: a hold and its place in the limits, before work begins; and the ways out.
//!
//! How many tokens a prompt has is not known before the worker reads it, so the bound is its bytes: a token has at
//! least one. A request whose most expensive course does not fit is refused, with both numbers, not cut short: the
//! client knows best how to ask for less.
//!
//! **Invariant:** a [`Ticket`] ends its hold when it goes, whatever became of the request.

use freehold_domain::{Error, ErrorCode, HoldId, KeyId, ModelName, NanoUnits, RequestId, TenantId, Timestamp};
use freehold_ledger::limits::{LimitKind, Spent};
use freehold_ledger::usage::{Quantities, Subject, Usage};
use freehold_ledger::{Account, AccountKind, Limits, Month, Refusal, UsageOutcome, UsageRecord, calendar, derive};

use freehold_store::StoreError;

use super::commit::{Job, Receipt, Reply};
use super::meter::{Loaded, NotAdmitted, Wish};
use super::price_error;
use crate::facade::Control;

/// A request that wants to begin.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// With which key.
    pub key: Option<KeyId>,
    /// Of which model.
    pub model: &'a ModelName,
    /// Which request.
    pub request: RequestId,
    /// Who fulfils: `own`, or the provider of an upstream.
    pub provider: &'a str,
    /// What is metered: `chat`, `completion`, `embedding`.
    pub meter: &'a str,
    /// The most tokens that the prompt can have.
    pub prompt_max: u64,
    /// The most tokens that the answer can have, all choices together.
    pub output_max: u64,
}

/// A request that was let in.
pub struct Ticket {
    control: Control,
    hold: HoldId,
    held: NanoUnits,
    output_max: u64,
    draft: Usage,
    open: bool,
}

impl Control {
    /// Lets a request begin: holds the most that it can cost and takes its place in every limit, or refuses.
    ///
    /// # Errors
    /// `rate_limited`, `budget_exhausted`, `insufficient_credit`, and `model_not_found` for a model without a price.
    pub async fn admit_request(&self, ask: Ask<'_>) -> Result<Ticket, Error> {
        let now = self.now();
        let hold = HoldId::from_uuid(ask.request.to_uuid());
        let held = loop {
            let admitted = self.shared.billing.meter().admit(now, wish(&ask, hold));
            match admitted {
                Ok(held) => break held,
                Err(NotAdmitted::Unknown) => self.load_account(ask.tenant, ask.key).await?,
                Err(NotAdmitted::Price(error)) => return Err(price_error(error)),
                Err(NotAdmitted::Refused(refusal)) => return Err(refused(&refusal)),
            }
        };
        let draft = Usage {
            id: derive::request_usage_id(ask.tenant, ask.meter, ask.request),
            tenant: ask.tenant,
            key: ask.key,
            request: Some(ask.request),
            subject: Subject::Model { model: ask.model.to_string() },
            provider: ask.provider.to_owned(),
            started: now,
            ended: now,
            outcome: UsageOutcome::Failed,
            served: Quantities::default(),
            provider_reported: None,
        };
        Ok(Ticket { control: self.clone(), hold, held, output_max: ask.output_max, draft, open: true })
    }

    /// Brings a tenant's account and limits into memory, and a key's.
    pub(super) async fn load_account(&self, tenant: TenantId, key: Option<KeyId>) -> Result<(), Error> {
        let _changing = self.shared.billing.changing.lock().await;
        self.load_under_lock(tenant, key).await
    }

    /// The same for who has `changing` already.
    pub(super) async fn load_under_lock(&self, tenant: TenantId, key: Option<KeyId>) -> Result<(), Error> {
        let (now, currency) = (self.now(), self.shared.billing.currency);
        if self.shared.billing.meter().knows(tenant, key) {
            return Ok(());
        }
        let (today, month) = (calendar::day_of(now), calendar::day_of(Month::of(now).start()));
        let loaded = self
            .store(move |store| {
                let spent = |key: Option<KeyId>, limits: &Limits| {
                    let (day, month) = (store.spent(tenant, key, today)?, store.spent(tenant, key, month)?);
                    Ok::<_, StoreError>(Spent {
                        day,
                        month,
                        day_alerted_percent: told(limits, limits.budget_day, day),
                        month_alerted_percent: told(limits, limits.budget_month, month),
                    })
                };
                let empty = Account::new(AccountKind::Customer, Some(tenant), currency);
                let account = store.account(empty.id)?.unwrap_or(empty).with_floor(store.terms(tenant)?.floor());
                let limits = store.limits(tenant, None)?.unwrap_or_default().limits;
                let key = match key {
                    Some(key) => {
                        let limits = store.limits(tenant, Some(key))?.map(|row| row.limits);
                        let spent = spent(Some(key), &limits.clone().unwrap_or_default())?;
                        Some((key, limits, spent))
                    }
                    None => None,
                };
                let spent = spent(None, &limits)?;
                Ok(Loaded { tenant, account, limits, spent, key })
            })
            .await?;
        self.shared.billing.meter().load(now, loaded).map_err(Error::internal)
    }
}

/// The highest threshold of a budget that was passed, and so was told, before.
fn told(limits: &Limits, budget: Option<NanoUnits>, spent: NanoUnits) -> u8 {
    let Some(budget) = budget.filter(|budget| *budget > NanoUnits::ZERO) else { return 0 };
    let reached = |percent: u8| i128::from(spent.get()) * 100 >= i128::from(budget.get()) * i128::from(percent);
    limits.alert_at_percent.iter().copied().filter(|percent| reached(*percent)).max().unwrap_or(0)
}

fn wish<'a>(ask: &Ask<'a>, hold: HoldId) -> Wish<'a> {
    let tokens = ask.prompt_max.saturating_add(ask.output_max);
    let limits = freehold_ledger::limits::Ask { hold, tenant: ask.tenant, key: ask.key, tokens, amount: NanoUnits::ZERO };
    Wish { ask: limits, model: ask.model.as_str(), prompt_max: ask.prompt_max, output_max: ask.output_max }
}

fn refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Money { available, needed } => {
            let message = format!(
                "The request can cost up to {needed} and the credit that is left is {available}: add credit, or ask for fewer tokens \
                 (`max_tokens`)."
            );
            Error::new(ErrorCode::InsufficientCredit, message)
        }
        Refusal::Limit(limit) if limit.kind.is_budget() => {
            let error = Error::new(ErrorCode::BudgetExhausted, format!("{limit}."));
            limit.retry_after_s.map_or(error.clone(), |seconds| error.with_retry_after_s(seconds))
        }
        Refusal::Limit(limit) => {
            let error = Error::new(ErrorCode::RateLimited, format!("{limit}."));
            match (limit.kind, limit.retry_after_s) {
                (LimitKind::TokensPerMinute | LimitKind::RequestsPerMinute | LimitKind::Parallel, Some(seconds)) => {
                    error.with_retry_after_s(seconds.max(1))
                }
                _ => error.with_retry_after_s(60),
            }
        }
        Refusal::Ledger(error) => Error::internal(error),
    }
}

impl Ticket {
    /// Ends the request with its usage on the disk; the client may have the end of its answer then.
    ///
    /// # Errors
    /// The record cannot be written: the answer must not be given as complete.
    pub async fn settle(mut self, outcome: UsageOutcome, served: Quantities, reported: Option<Quantities>) -> Result<Receipt, Error> {
        let record = self.record(outcome, served, reported)?;
        let (reply, written) = Reply::here();
        self.open = false;
        self.control.shared.billing.link.send(Job::Record { record: Box::new(record), hold: self.hold, reply: Some(reply) });
        written.await.map_err(|_| Error::internal("the thread that writes usage is gone"))?
    }

    /// Ends a request whose client does not get, or does not wait for, an end.
    pub fn end(mut self, outcome: UsageOutcome, served: Quantities, reported: Option<Quantities>) {
        match self.record(outcome, served, reported) {
            Ok(record) => {
                self.open = false;
                self.control.shared.billing.link.send(Job::Record { record: Box::new(record), hold: self.hold, reply: None });
            }
            Err(error) => tracing::error!(context = error.context, message = error.message, "usage cannot be recorded"),
        }
    }

    fn record(&self, outcome: UsageOutcome, served: Quantities, reported: Option<Quantities>) -> Result<UsageRecord, Error> {
        let ended = self.control.now().max(self.draft.started);
        let usage = Usage { outcome, served, provider_reported: reported, ended, ..self.draft.clone() };
        let record = self.control.shared.billing.meter().record(usage).map_err(Error::internal)?;
        if record.amount > self.held {
            // The prompt was longer than its bytes allow: a model's template adds more than it should. The bound that
            // the customer was admitted with holds.
            tracing::error!(usage = %record.id, amount = %record.amount, held = %self.held, "a request cost more than its bound");
        }
        Ok(record.capped(self.held))
    }

    /// The most tokens that the answer can have.
    pub fn output_max(&self) -> u64 {
        self.output_max
    }

    /// When the request was let in.
    pub fn started(&self) -> Timestamp {
        self.draft.started
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            let now = self.control.now();
            self.control.shared.billing.meter().void(now, self.hold);
        }
    }
}
