//! Limits and budgets of tenants and keys.

use std::sync::Arc;

use freehold_domain::{Currency, Error, KeyId, NanoUnits, TenantId};
use freehold_ledger::Limits;
use freehold_store::{KeyOwner, LimitsRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::credit::said;
use super::webhooks;
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;

const URL_LEN_MAX: usize = 2000;

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// An address of `http` or `https`.
    #[schema(max_length = 2000, example = "https://example.com/alerts")]
    pub url: String,
}

/// Limits to set. What is left out is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsChange {
    /// Requests in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens, prompt and answer together, in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Bytes that are stored: responses, with what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// Money in a day (UTC), in nano-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$", example = "5000000000")]
    pub budget_day: Option<NanoUnits>,
    /// Money in a month (UTC), in nano-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$", example = "100000000000")]
    pub budget_month: Option<NanoUnits>,
    /// At which parts of a budget to tell, in percent, 1 to 100; at most 10.
    #[schema(max_items = 10)]
    pub alert_at_percent: Vec<u8>,
    /// Where to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// Limits that are set. What is left out is not limited. Not [`LimitsChange`], which has no other fields beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LimitsShown {
    /// Requests in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens, prompt and answer together, in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Bytes that are stored: responses, with what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// Money in a day (UTC), in nano-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "5000000000")]
    pub budget_day: Option<NanoUnits>,
    /// Money in a month (UTC), in nano-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "100000000000")]
    pub budget_month: Option<NanoUnits>,
    /// At which parts of a budget to tell, in percent.
    pub alert_at_percent: Vec<u8>,
    /// Where to tell; shown to who may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// Limits, and what is used of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// The tenant.
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// The key, where these are a key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// The limits.
    #[serde(flatten)]
    pub limits: LimitsShown,
    /// What alerts are signed with; for who may change the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// What holds for a tenant that has no `storage_bytes` of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_bytes_default: Option<u64>,
    /// What is used now.
    pub in_use: InUseView,
    /// The currency of the budgets.
    #[schema(value_type = String)]
    pub currency: Currency,
}

/// What is used of limits and budgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InUseView {
    /// Requests in the last minute.
    pub requests: u64,
    /// Tokens in the last minute; the most that they can be for requests that are running.
    pub tokens: u64,
    /// Requests that are running.
    pub parallel: u32,
    /// Bytes that are stored.
    pub storage_bytes: u64,
    /// Spent today.
    #[schema(value_type = String)]
    pub day_spent: NanoUnits,
    /// Spent this month.
    #[schema(value_type = String)]
    pub month_spent: NanoUnits,
    /// Held for requests that are running.
    #[schema(value_type = String)]
    pub held: NanoUnits,
}

/// The limits of a tenant, and of a key that has some.
type InForce = (Arc<Limits>, Option<Arc<Limits>>);

fn read(change: &LimitsChange) -> Result<LimitsRow, Error> {
    let limits = Limits {
        requests_per_minute: change.requests_per_minute,
        tokens_per_minute: change.tokens_per_minute,
        parallel: change.parallel,
        storage_bytes: change.storage_bytes,
        budget_day: change.budget_day,
        budget_month: change.budget_month,
        alert_at_percent: change.alert_at_percent.clone(),
    };
    limits.check().map_err(|error| Error::invalid("limits", format!("{error}.")))?;
    let webhook = change.webhook.as_ref().map(|webhook| webhook.url.clone());
    if let Some(url) = &webhook {
        if url.len() > URL_LEN_MAX {
            return Err(Error::invalid("webhook.url", format!("`webhook.url` has at most {URL_LEN_MAX} characters.")));
        }
        webhooks::read_url(url)?;
    }
    Ok(LimitsRow { limits, webhook })
}

fn show(row: LimitsRow) -> LimitsShown {
    LimitsShown {
        requests_per_minute: row.limits.requests_per_minute,
        tokens_per_minute: row.limits.tokens_per_minute,
        parallel: row.limits.parallel,
        storage_bytes: row.limits.storage_bytes,
        budget_day: row.limits.budget_day,
        budget_month: row.limits.budget_month,
        alert_at_percent: row.limits.alert_at_percent,
        webhook: row.webhook.map(|url| Webhook { url }),
    }
}

impl Control {
    /// The limits of a tenant, or of one of its keys.
    ///
    /// # Errors
    /// `not_found` for what the actor may not see.
    pub async fn limits(&self, actor: &Actor, tenant: Option<&str>, key: Option<&str>) -> Result<LimitsView, Error> {
        let (tenant, key) = self.limited(actor, tenant, key).await?;
        self.load_account(tenant, key).await?;
        let row = self.store(move |store| store.limits(tenant, key)).await?.unwrap_or_default();
        self.limits_view(actor, tenant, key, row).await
    }

    /// Sets the limits of a tenant, or of one of its keys. They hold for the next request.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `invalid_request`.
    pub async fn set_limits(
        &self,
        actor: &Actor,
        tenant: Option<&str>,
        key: Option<&str>,
        change: LimitsChange,
    ) -> Result<LimitsView, Error> {
        let (tenant, key) = self.limited(actor, tenant, key).await?;
        permit(actor, Action::ManageBilling(tenant))?;
        let row = read(&change)?;
        let subject = key.map_or_else(|| tenant.to_string(), |key| key.to_string());
        let event = self.event(Some(&actor.by()), Some(tenant), "limits.changed", &subject, json!({"limits": row.limits}));
        {
            let _changing = self.shared.billing.changing.lock().await;
            self.load_under_lock(tenant, key).await?;
            let (now, stored) = (self.now(), row.clone());
            self.store(move |store| store.set_limits(tenant, key, &stored, now, said(&event))).await?;
            self.shared.billing.meter().set_limits(tenant, key, row.limits.clone());
        }
        self.limits_view(actor, tenant, key, row).await
    }

    /// Whose limits are meant, once it is clear that the actor may see them.
    async fn limited(&self, actor: &Actor, tenant: Option<&str>, key: Option<&str>) -> Result<(TenantId, Option<KeyId>), Error> {
        let Some(text) = key else {
            let tenant = self.billed_tenant(actor, tenant).await?;
            permit(actor, Action::SeeBilling(tenant))?;
            return Ok((tenant, None));
        };
        let id: KeyId = text.parse().map_err(|_| not_found("key"))?;
        let row = self.store(move |store| store.key(id)).await?.ok_or_else(|| not_found("key"))?;
        permit(actor, Action::SeeKeys(row.owner))?;
        let KeyOwner::Tenant(owner) = row.owner else { return Err(not_found("key")) };
        if let Some(text) = tenant
            && self.visible_tenant(actor, text).await?.id != owner
        {
            return Err(not_found("key"));
        }
        Ok((owner, Some(id)))
    }

    /// The limits of a tenant and a key that hold now.
    pub(crate) async fn limits_in_force(&self, tenant: TenantId, key: Option<KeyId>) -> Result<InForce, Error> {
        loop {
            let found = self.shared.billing.meter().limits(tenant, key);
            match found {
                Some(limits) => return Ok(limits),
                None => self.load_account(tenant, key).await?,
            }
        }
    }

    async fn limits_view(&self, actor: &Actor, tenant: TenantId, key: Option<KeyId>, row: LimitsRow) -> Result<LimitsView, Error> {
        let stored = self.shelf(tenant, key).await?;
        let in_use = self.shared.billing.meter().in_use(self.now(), tenant, key);
        // An address can have a secret in it, as many services' webhooks do.
        let may_change = permit(actor, Action::ManageBilling(tenant)).is_ok();
        let row = LimitsRow { webhook: row.webhook.filter(|_| may_change), ..row };
        let has_webhook = row.webhook.is_some();
        Ok(LimitsView {
            tenant,
            key,
            limits: show(row),
            webhook_secret: has_webhook.then(|| webhooks::tenant_secret(&self.shared.billing.webhook_secret, tenant)),
            storage_bytes_default: key.is_none().then_some(self.settings().storage.bytes_default),
            in_use: InUseView {
                requests: in_use.requests,
                tokens: in_use.tokens,
                parallel: in_use.parallel,
                storage_bytes: stored.used,
                day_spent: in_use.day_spent,
                month_spent: in_use.month_spent,
                held: in_use.month_held,
            },
            currency: self.shared.billing.currency,
        })
    }
}
