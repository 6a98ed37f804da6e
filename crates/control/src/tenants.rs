//! Tenants: create, list, show, change.

use freehold_domain::{Error, ErrorCode, TenantId, TenantName, Timestamp};
use freehold_store::{Created, Note, StoreError, TenantRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::auth::{Action, Actor, not_found, own_tenant, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::page::{Page, PageRequest};

/// The most tenants that a service has.
pub const TENANTS_MAX: u32 = 10_000;
/// The weight of a tenant that nobody gave one.
pub const WEIGHT_DEFAULT: u16 = 100;
const WEIGHT_MAX: u16 = 1000;

/// A tenant, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    #[schema(value_type = String, example = "ten_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: TenantId,
    /// Its name.
    #[schema(value_type = String, example = "main")]
    pub name: TenantName,
    /// Its share of the machine against other tenants when it is busy, 1 to 1000.
    pub weight: u16,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<TenantRow> for TenantView {
    fn from(row: TenantRow) -> Self {
        Self { id: row.id, name: row.name, weight: row.weight, created_at: row.created_at }
    }
}

/// A tenant to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Its name: 1 to 96 letters, digits, `.`, `_` and `-`.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$", example = "acme")]
    pub name: String,
    /// Its share of the machine against other tenants when it is busy, 1 to 1000; 100 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u16>,
}

/// What to change of a tenant; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChange {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]
    pub name: Option<String>,
    /// Its new weight, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u16>,
}

/// A name for a tenant. One that reads like an id would be taken for it.
pub(crate) fn new_tenant_name(param: &str, text: &str) -> Result<TenantName, Error> {
    if text.parse::<TenantId>().is_ok() {
        return Err(Error::invalid(param, format!("`{text}` reads like the id of a tenant: choose another name.")));
    }
    text.parse().map_err(|error| Error::invalid(param, format!("{error}.")))
}

fn read_name(text: &str) -> Result<TenantName, Error> {
    new_tenant_name("name", text)
}

fn read_weight(weight: u16) -> Result<u16, Error> {
    if (1..=WEIGHT_MAX).contains(&weight) {
        Ok(weight)
    } else {
        Err(Error::invalid("weight", format!("`weight` is 1 to {WEIGHT_MAX}, not {weight}.")))
    }
}

fn name_taken(error: StoreError, name: &TenantName) -> Error {
    match error {
        StoreError::Exists(_) => {
            Error::new(ErrorCode::Conflict, format!("There is a tenant `{name}` already: choose another name.")).with_param("name")
        }
        other => other.into(),
    }
}

impl Control {
    /// Creates a tenant.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `conflict` for a name that is taken, `invalid_request`.
    pub async fn create_tenant(&self, actor: &Actor, new: NewTenant, once: Option<&IdempotencyKey>) -> Result<TenantView, Error> {
        permit(actor, Action::ManageTenants)?;
        let name = read_name(&new.name)?;
        let weight = read_weight(new.weight.unwrap_or(WEIGHT_DEFAULT))?;
        let now = self.now();
        let once = once.map(|once| once.once(actor, "create_tenant", &new, now)).transpose()?;
        let row = TenantRow { id: TenantId::from_uuid(self.new_uuid()), name, weight, created_at: now };
        let event = self.event(Some(&actor.by()), Some(row.id), "tenant.created", &row.id.to_string(), json!({"name": row.name.as_str()}));
        let created = {
            let row = row.clone();
            self.store(move |store| store.create_tenant(&row, TENANTS_MAX, Note { once: once.as_ref(), trail: Some(&event) })).await
        };
        match created.map_err(|error| name_taken(error, &row.name))? {
            Created::New => Ok(row.into()),
            Created::Before(id) => self.tenant_row(id).await.map(Into::into),
        }
    }

    /// All tenants, oldest first; a tenant sees only itself.
    ///
    /// # Errors
    /// `invalid_request` for a bad page.
    pub async fn list_tenants(&self, actor: &Actor, page: &PageRequest) -> Result<Page<TenantView>, Error> {
        let (limit, after) = page.read::<TenantId>()?;
        if !actor.is_operator() {
            let own = own_tenant(actor)?;
            permit(actor, Action::SeeTenant(own))?;
            let own = self.tenant_row(own).await?;
            let data = if after.is_none_or(|after| after < own.id) { vec![own.into()] } else { Vec::new() };
            return Ok(Page { data, next: None });
        }
        permit(actor, Action::ManageTenants)?;
        let rows = self.store(move |store| store.tenants(after, limit + 1)).await?;
        Ok(Page::of(rows, limit, |row| row.id.to_string(), Into::into))
    }

    /// One tenant, by id or name.
    ///
    /// # Errors
    /// `not_found` when there is none that the actor may see.
    pub async fn tenant(&self, actor: &Actor, id_or_name: &str) -> Result<TenantView, Error> {
        self.visible_tenant(actor, id_or_name).await.map(Into::into)
    }

    /// Changes a tenant's name (its owner may) or weight (operators).
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `conflict` for a name that is taken, `invalid_request`.
    pub async fn change_tenant(&self, actor: &Actor, id_or_name: &str, change: TenantChange) -> Result<TenantView, Error> {
        let row = self.visible_tenant(actor, id_or_name).await?;
        permit(actor, if change.weight.is_some() { Action::ManageTenants } else { Action::ChangeTenant(row.id) })?;
        let name = change.name.as_deref().map(read_name).transpose()?;
        let weight = change.weight.map(read_weight).transpose()?;
        let about = json!({"name": name.as_ref().map(TenantName::as_str), "weight": weight});
        let event = self.event(Some(&actor.by()), Some(row.id), "tenant.changed", &row.id.to_string(), about);
        let written = {
            let (id, name) = (row.id, name.clone());
            self.store(move |store| store.update_tenant(id, name.as_ref(), weight, Some(&event))).await
        };
        self.shared.keys.forget_tenant(row.id);
        written.map_err(|error| name_taken(error, name.as_ref().unwrap_or(&row.name)))?;
        self.tenant_row(row.id).await.map(Into::into)
    }

    /// The tenant that this text names, if the actor may see it.
    pub(crate) async fn visible_tenant(&self, actor: &Actor, id_or_name: &str) -> Result<TenantRow, Error> {
        let found = match (id_or_name.parse::<TenantId>(), id_or_name.parse::<TenantName>()) {
            (Ok(id), _) => self.store(move |store| store.tenant(id)).await?,
            (Err(_), Ok(name)) => self.store(move |store| store.tenant_by_name(&name)).await?,
            (Err(_), Err(_)) => None,
        };
        let row = found.ok_or_else(|| not_found("tenant"))?;
        permit(actor, Action::SeeTenant(row.id))?;
        Ok(row)
    }

    async fn tenant_row(&self, id: TenantId) -> Result<TenantRow, Error> {
        self.store(move |store| store.tenant(id)).await?.ok_or_else(|| not_found("tenant"))
    }
}
