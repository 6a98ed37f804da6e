//! What was used: sums by day, model and key, and single records.

use freehold_domain::{Currency, Error, KeyId, NanoUnits, RequestId, TenantId, Timestamp, UsageId};
use freehold_ledger::usage::Quantities;
use freehold_ledger::{Month, UsageState, calendar};
use freehold_store::{SplitBy, UsageSum};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// Most rows of one answer.
const ROWS_MAX: u32 = 10_000;

/// Which usage is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageRequest {
    /// The first day (UTC), such as `2026-11-01`; left out: the first of this month.
    #[param(format = Date)]
    pub from: Option<String>,
    /// The last day (UTC); left out: today.
    #[param(format = Date)]
    pub to: Option<String>,
    /// By what to split: `day`, `model`, `key`, or several of them with commas.
    pub by: Option<String>,
    /// The tenant, by id or name; left out: the caller's own.
    pub tenant: Option<String>,
}

/// Which revenue is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevenueRequest {
    /// The first day (UTC), such as `2026-11-01`; left out: the first of this month.
    #[param(format = Date)]
    pub from: Option<String>,
    /// The last day (UTC); left out: today.
    #[param(format = Date)]
    pub to: Option<String>,
    /// By what to split: `day`, `model`, `tenant`, or several of them with commas.
    pub by: Option<String>,
}

/// A sum of usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The day (UTC), where it is split by day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The model or sku, where it is split by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The key, where it is split by that; empty: without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The tenant, where it is split by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Requests that were answered, wholly or in part.
    pub requests: u64,
    /// Those of them that failed by the service's fault, for which nothing is charged.
    pub failed: u64,
    /// Tokens of prompts that had to be computed.
    pub input_tokens: u64,
    /// Tokens of prompts that a cache had.
    pub cached_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Seconds of skus.
    pub seconds: u64,
    /// What it cost, in nano-units.
    #[schema(value_type = String, example = "1500000000")]
    pub amount: NanoUnits,
}

/// Sums of usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// The sums.
    pub data: Vec<UsageRow>,
    /// The currency of the amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
}

/// Tokens and seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuantitiesView {
    /// Tokens of the prompt that had to be computed.
    pub input_tokens: u64,
    /// Tokens of the prompt that a cache had.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Seconds of a sku.
    pub seconds: u64,
}

/// A usage record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: UsageId,
    /// The request, as its answer named it (`x-request-id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request: Option<RequestId>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// The model or sku.
    pub model: String,
    /// Who served it: `own` is the operator.
    pub provider: String,
    /// When it began; the price is that of this moment.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// When the end of the answer was handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// `posted`: charged. `pending`: the end is on its way. `void`: not charged.
    pub state: String,
    /// `complete`, `cancelled`, `client_gone` or `failed`.
    pub outcome: String,
    /// What was served.
    pub served: QuantitiesView,
    /// What the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reported: Option<QuantitiesView>,
    /// What is charged for.
    pub billable: QuantitiesView,
    /// The version of the price list; 0: none was published.
    pub price_number: u32,
    /// What was charged, in nano-units.
    #[schema(value_type = String)]
    pub amount: NanoUnits,
    /// What `billable` costs by the price list. It is there only where that is more than `amount`: the request cost more
    /// than was held for it when it was let in, and no more than that is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uncapped_amount: Option<NanoUnits>,
    /// The currency.
    #[schema(value_type = String)]
    pub currency: Currency,
}

fn quantities(from: &Quantities) -> QuantitiesView {
    QuantitiesView { input_tokens: from.input, cached_tokens: from.cached, output_tokens: from.output, seconds: from.seconds }
}

fn record_view(row: freehold_store::UsageRow) -> RecordView {
    let mut record = row.record;
    if record.state == UsageState::Void {
        // What it would have cost is nobody's business: nothing was charged.
        (record.billable, record.amount, record.uncapped_amount) = (Quantities::default(), NanoUnits::ZERO, None);
    }
    RecordView {
        id: record.id,
        request: record.request,
        key: record.key,
        model: record.subject.name().to_owned(),
        provider: record.provider,
        started_at: record.started,
        ended_at: record.ended,
        delivered_at: row.delivered_at,
        state: record.state.as_str().to_owned(),
        outcome: record.outcome.as_str().to_owned(),
        served: quantities(&record.served),
        provider_reported: record.provider_reported.as_ref().map(quantities),
        billable: quantities(&record.billable),
        price_number: record.price_number,
        amount: record.amount,
        uncapped_amount: record.uncapped_amount,
        currency: record.currency,
    }
}

fn row(sum: UsageSum) -> UsageRow {
    UsageRow {
        day: sum.day.map(|day| calendar::date_text(calendar::day_start(day))),
        model: sum.name,
        key: sum.key,
        tenant: sum.tenant,
        requests: sum.requests,
        failed: sum.failed,
        input_tokens: sum.billable.input,
        cached_tokens: sum.billable.cached,
        output_tokens: sum.billable.output,
        seconds: sum.billable.seconds,
        amount: sum.amount,
    }
}

/// A day of the calendar, in days since 1970-01-01.
pub(super) fn read_day(param: &str, text: &str) -> Result<i64, Error> {
    let wrong =
        || Error::invalid(param, format!("`{param}` is a day such as 2026-11-23, not `{}`.", text.chars().take(40).collect::<String>()));
    if text.len() != 10 || !text.is_ascii() {
        return Err(wrong());
    }
    let moment: Timestamp = serde_json::from_value(serde_json::Value::String(format!("{text}T00:00:00Z"))).map_err(|_| wrong())?;
    Ok(calendar::day_of(moment))
}

fn read_by(by: Option<&str>, words: &[&str]) -> Result<SplitBy, Error> {
    let mut split = SplitBy::default();
    for word in by.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            word if !words.contains(&word) => {
                let word: String = word.chars().take(40).collect();
                return Err(Error::invalid("by", format!("`by` has {}, not `{word}`.", words.join(", "))));
            }
            "day" => split.day = true,
            "model" => split.name = true,
            "key" => split.key = true,
            _ => split.tenant = true,
        }
    }
    Ok(split)
}

impl Control {
    /// What a tenant used.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `invalid_request` for a span or a split that makes no sense.
    pub async fn usage(&self, actor: &Actor, request: &UsageRequest) -> Result<UsageView, Error> {
        let tenant = self.billed_tenant(actor, request.tenant.as_deref()).await?;
        permit(actor, Action::SeeBilling(tenant))?;
        let by = read_by(request.by.as_deref(), &["day", "model", "key"])?;
        self.usage_view(Some(tenant), (request.from.as_deref(), request.to.as_deref()), by).await
    }

    /// What all tenants were charged.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request`.
    pub async fn revenue(&self, actor: &Actor, request: &RevenueRequest) -> Result<UsageView, Error> {
        permit(actor, Action::ManagePrices)?;
        let by = read_by(request.by.as_deref(), &["day", "model", "tenant"])?;
        self.usage_view(None, (request.from.as_deref(), request.to.as_deref()), by).await
    }

    async fn usage_view(
        &self,
        tenant: Option<TenantId>,
        (from, to): (Option<&str>, Option<&str>),
        by: SplitBy,
    ) -> Result<UsageView, Error> {
        let now = self.now();
        let first = match from {
            Some(text) => read_day("from", text)?,
            None => calendar::day_of(Month::of(now).start()),
        };
        let last = to.map_or(Ok(calendar::day_of(now)), |text| read_day("to", text))?;
        if last < first {
            return Err(Error::invalid("to", "`to` is before `from`."));
        }
        self.settle_usage().await;
        let sums = self.store(move |store| store.usage_sums(tenant, (first, last + 1), by, ROWS_MAX + 1)).await?;
        if sums.len() > ROWS_MAX as usize {
            return Err(Error::invalid("from", format!("That is more than {ROWS_MAX} rows: ask for fewer days, or split by less.")));
        }
        let text = |day| calendar::date_text(calendar::day_start(day));
        Ok(UsageView {
            data: sums.into_iter().map(row).collect(),
            currency: self.shared.billing.currency,
            from: text(first),
            to: text(last),
        })
    }

    /// A tenant's records, newest first.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `invalid_request` for a bad page.
    pub async fn usage_records(&self, actor: &Actor, tenant: Option<&str>, page: &PageRequest) -> Result<Page<RecordView>, Error> {
        let tenant = self.billed_tenant(actor, tenant).await?;
        permit(actor, Action::SeeBilling(tenant))?;
        let (limit, after) = page.read::<UsageId>()?;
        self.settle_usage().await;
        let span = (Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX));
        let rows = self.store(move |store| store.usage_records(tenant, span, after, limit + 1)).await?;
        Ok(Page::of(rows, limit, |row| row.record.id.to_string(), record_view))
    }
}
