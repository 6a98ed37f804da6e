//! The audit trail: administrative actions as events in CloudEvents 1.0 (JSON format), written with the change.
//!
//! Context attributes: `type` is `freehold.` and what was done (`freehold.key.created`), `subject` the id of what it
//! was done to, `source` the service's name. The extension `tenant` says whose event it is. `data.by` says who did it.
//!
//! **Invariant:** no event holds a secret: not a key, a password, a token or an address that failed to log in.

use freehold_domain::{Error, EventId, TenantId};
use freehold_store::TrailRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Action, Actor, By, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// Where events say that they come from.
const SOURCE: &str = "/freehold";

/// An event of the trail: CloudEvents 1.0, JSON format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// Its id.
    pub id: String,
    /// Always `/freehold`.
    pub source: String,
    /// What was done: `freehold.key.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id of what it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When, in RFC 3339.
    #[schema(format = DateTime)]
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Whose event it is; left out for what concerns the service as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who did it (`by`), and what else there is to say.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// Which part of the trail is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrailRequest {
    /// The tenant, by id or name; for operators, who see the trail of the whole service without it.
    pub tenant: Option<String>,
    /// How many, 1 to 1000; 100 when it is left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before. The newest events come first.
    pub after: Option<String>,
}

fn by(by: Option<&By>) -> Value {
    match by {
        None => json!({"kind": "anybody"}),
        Some(By::Key(key)) => json!({"kind": "key", "id": key.to_string()}),
        Some(By::User(user, email)) => json!({"kind": "user", "id": user.to_string(), "email": email.as_str()}),
    }
}

impl Control {
    /// An event for the store to write. `data` is an object; who did it is added.
    pub(crate) fn event(&self, actor: Option<&By>, tenant: Option<TenantId>, kind: &str, subject: &str, mut data: Value) -> TrailRow {
        let (id, now) = (EventId::from_uuid(self.new_uuid()), self.now());
        if let Some(fields) = data.as_object_mut() {
            fields.insert("by".to_owned(), by(actor));
        }
        let mut event = json!({
            "specversion": "1.0", "id": id.to_string(), "source": SOURCE, "type": format!("freehold.{kind}"), "subject": subject,
            "time": now.to_string(), "datacontenttype": "application/json", "data": data,
        });
        if let Some(tenant) = tenant {
            event["tenant"] = json!(tenant.to_string());
        }
        TrailRow { id, tenant_id: tenant, at: now, event_json: event.to_string() }
    }

    /// The trail, newest first: of the caller's tenant, or for an operator of any tenant or of all.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `permission_denied`, `invalid_request` for a bad page.
    pub async fn trail(&self, actor: &Actor, request: &TrailRequest) -> Result<Page<Event>, Error> {
        let page = PageRequest { limit: request.limit, after: request.after.clone() };
        let (limit, before) = page.read::<EventId>()?;
        let tenant = match (&request.tenant, actor.tenant()) {
            (Some(text), _) => Some(self.visible_tenant(actor, text).await?.id),
            (None, tenancy) => tenancy.map(|tenancy| tenancy.tenant),
        };
        permit(actor, tenant.map_or(Action::SeeService, Action::SeeTrail))?;
        let rows = self.store(move |store| store.trail(tenant, before, limit + 1)).await?;
        let page = Page::of(rows, limit, |row| row.id.to_string(), |row| read(&row));
        Ok(Page { data: page.data.into_iter().collect::<Result<_, _>>()?, next: page.next })
    }
}

fn read(row: &TrailRow) -> Result<Event, Error> {
    serde_json::from_str(&row.event_json).map_err(|error| Error::internal(format!("the event {}: {error}", row.id)))
}
