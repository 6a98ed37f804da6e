//! Usage records: what was served, what the provider says, what is billed.
//!
//! A record is made pending before the client sees the end of its answer, is delivered once the end was handed over,
//! and is posted when its transfer stands. After a crash a pending record is void and a delivered one is posted.
//!
//! **Invariant:** `billable` and `amount` are set by [`bill`] alone, and `amount` is rounded there, once. Only
//! [`UsageRecord::capped`] makes it less, and says so in the record.

use freehold_domain::{AccountId, Currency, KeyId, NanoUnits, PriceListId, RequestId, TenantId, Timestamp, UsageId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::book::{Reason, Transfer};
use crate::derive;
use crate::prices::{PriceError, Prices};

/// The tag of the JSON form.
pub const FORMAT: &str = "freehold.usage/2";

/// Version 1 had no `uncapped_amount`, which may be left out.
const OLDER: &[(&str, derive::Upgrade)] = &[("freehold.usage/1", |_| {})];

/// What is metered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// Tokens of a model.
    Model {
        /// Its name in the catalogue.
        model: String,
    },
    /// Seconds of a sku.
    Sku {
        /// Its name.
        sku: String,
        /// The instance or volume that ran.
        resource: String,
    },
}

impl Subject {
    /// The model's name or the sku's.
    pub fn name(&self) -> &str {
        match self {
            Self::Model { model } => model,
            Self::Sku { sku, .. } => sku,
        }
    }

    /// What is counted: `tokens` or `seconds`.
    pub const fn meter(&self) -> &'static str {
        match self {
            Self::Model { .. } => "tokens",
            Self::Sku { .. } => "seconds",
        }
    }
}

/// How much of what. `input` and `cached` are apart: the prompt is both together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantities {
    /// Tokens of the prompt that had to be computed.
    pub input: u64,
    /// Tokens of the prompt that a cache had.
    pub cached: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Seconds that a sku ran.
    pub seconds: u64,
}

impl Quantities {
    /// Tokens of a request.
    pub const fn tokens(input: u64, cached: u64, output: u64) -> Self {
        Self { input, cached, output, seconds: 0 }
    }

    /// Seconds of a sku.
    pub const fn seconds(seconds: u64) -> Self {
        Self { input: 0, cached: 0, output: 0, seconds }
    }

    /// All tokens, prompt and answer.
    pub const fn all_tokens(&self) -> u64 {
        self.input.saturating_add(self.cached).saturating_add(self.output)
    }

    /// What is more here than there, of each.
    #[must_use]
    pub const fn less(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_sub(other.input),
            cached: self.cached.saturating_sub(other.cached),
            output: self.output.saturating_sub(other.output),
            seconds: self.seconds.saturating_sub(other.seconds),
        }
    }

    /// Both together, as much as fits.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
            seconds: self.seconds.saturating_add(other.seconds),
        }
    }
}

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOutcome {
    /// As asked.
    Complete,
    /// The client cancelled.
    Cancelled,
    /// The client went away.
    ClientGone,
    /// The provider failed; the client pays nothing.
    Failed,
}

impl UsageOutcome {
    /// Whether what was served is billed.
    pub const fn is_billable(self) -> bool {
        !matches!(self, Self::Failed)
    }

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::ClientGone => "client_gone",
            Self::Failed => "failed",
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageState {
    /// Durable; the client may not have the end of its answer yet.
    Pending,
    /// The end was handed over.
    Delivered,
    /// Its transfer stands.
    Posted,
    /// The client did not get the end: nothing is charged.
    Void,
}

impl UsageState {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Posted => "posted",
            Self::Void => "void",
        }
    }

    /// The state with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Posted, Self::Void].into_iter().find(|state| state.as_str() == text)
    }

    /// Whether a record in this state can go on to another.
    pub const fn can_become(self, next: Self) -> bool {
        matches!((self, next), (Self::Pending, Self::Delivered | Self::Void) | (Self::Delivered, Self::Posted))
    }

    /// What becomes of a record that a crash left behind.
    #[must_use]
    pub const fn after_crash(self) -> Self {
        match self {
            Self::Pending | Self::Void => Self::Void,
            Self::Delivered | Self::Posted => Self::Posted,
        }
    }
}

/// What was used, before it has a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Derived: [`derive::usage_id`].
    pub id: UsageId,
    /// Who used it.
    pub tenant: TenantId,
    /// With which key.
    pub key: Option<KeyId>,
    /// By which request, if by one.
    pub request: Option<RequestId>,
    /// What.
    pub subject: Subject,
    /// Who served it, by name (`own` for the operator's own workers).
    pub provider: String,
    /// When it began; the price is that of this moment.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: UsageOutcome,
    /// What was served, counted here.
    pub served: Quantities,
    /// What the provider says it served, if it says so.
    pub provider_reported: Option<Quantities>,
}

/// A usage record: what was used and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    /// Its id, the same whenever the same usage is recorded.
    pub id: UsageId,
    /// Who used it.
    pub tenant: TenantId,
    /// With which key.
    pub key: Option<KeyId>,
    /// By which request, if by one.
    pub request: Option<RequestId>,
    /// What.
    pub subject: Subject,
    /// Who served it.
    pub provider: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Where the record stands.
    pub state: UsageState,
    /// How the work ended.
    pub outcome: UsageOutcome,
    /// What was served.
    pub served: Quantities,
    /// What the provider says.
    pub provider_reported: Option<Quantities>,
    /// What is billed.
    pub billable: Quantities,
    /// The version of the price list, by id.
    pub price_list: PriceListId,
    /// The version of the price list, by number.
    pub price_number: u32,
    /// The currency of the amount.
    pub currency: Currency,
    /// What it costs.
    pub amount: NanoUnits,
    /// What `billable` costs by the price list, where that is more than what was held for the request when it was let in:
    /// `amount` is what was held then, and this says why it is not more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncapped_amount: Option<NanoUnits>,
}

/// Puts the price on what was used, rounded once, half to even. What failed by the provider's fault costs nothing.
pub fn bill(usage: Usage, prices: &Prices) -> Result<UsageRecord, PriceError> {
    let list = prices.at(usage.started)?;
    let free = UsageRecord::free(usage, list.id, list.number, list.currency);
    let amount = list.cost(&free.subject, &free.billable)?;
    Ok(UsageRecord { amount, ..free })
}

impl UsageRecord {
    /// A record of what was used that costs nothing: not yet, or because no price list was published.
    pub fn free(usage: Usage, price_list: PriceListId, price_number: u32, currency: Currency) -> Self {
        Self {
            id: usage.id,
            tenant: usage.tenant,
            key: usage.key,
            request: usage.request,
            subject: usage.subject,
            provider: usage.provider,
            started: usage.started,
            ended: usage.ended,
            state: UsageState::Pending,
            outcome: usage.outcome,
            served: usage.served,
            provider_reported: usage.provider_reported,
            billable: if usage.outcome.is_billable() { usage.served } else { Quantities::default() },
            price_list,
            price_number,
            currency,
            amount: NanoUnits::ZERO,
            uncapped_amount: None,
        }
    }

    /// The same record, charged with `most` at most: the bound that its request was let in with holds.
    #[must_use]
    pub fn capped(self, most: NanoUnits) -> Self {
        if self.amount <= most {
            return self;
        }
        Self { uncapped_amount: self.uncapped_amount.or(Some(self.amount)), amount: most, ..self }
    }

    /// The transfer that charges this record; its amount may be zero.
    pub fn charge(&self, customer: AccountId, revenue: AccountId) -> Transfer {
        let (id, reason) = (derive::charge_id(self.id), Reason::Usage(self.id));
        Transfer { id, from: customer, to: revenue, amount: self.amount, reason, at: self.ended }
    }

    /// The transfer that gives a posted charge back because the service failed after all. None if nothing was charged.
    /// Its id is derived, so giving back twice is once.
    pub fn fault_credit(&self, fault_credit: AccountId, customer: AccountId, at: Timestamp) -> Option<Transfer> {
        let charged = matches!(self.state, UsageState::Delivered | UsageState::Posted) && self.amount > NanoUnits::ZERO;
        let (id, reason) = (derive::fault_credit_id(self.id), Reason::FaultCredit(self.id));
        charged.then_some(Transfer { id, from: fault_credit, to: customer, amount: self.amount, reason, at })
    }

    /// The JSON form, with its version tag.
    pub fn to_json(&self) -> Value {
        derive::tag(self, FORMAT)
    }

    /// The text of [`Self::to_json`], made without the tree of values in between.
    pub fn to_json_text(&self) -> String {
        derive::tagged_text(self, FORMAT)
    }

    /// Reads any version of the JSON form. The error says what is wrong.
    pub fn from_json(value: Value) -> Result<Self, String> {
        derive::untag_chain(value, FORMAT, OLDER)
    }
}
