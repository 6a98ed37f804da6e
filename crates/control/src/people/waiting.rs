//! The waiting list: who is on it, and letting people in.

use freehold_domain::{Email, Error, TenantName, Timestamp, WaitingId};
use freehold_store::{Account, Consumed, Place, Store, StoreError, UserRow, WaitingRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::letters;
use super::signup::{Newcomer, SignedUp};
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// A place on the waiting list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingView {
    /// Its id.
    #[schema(value_type = String, example = "wait_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: WaitingId,
    /// Who waits.
    #[schema(value_type = String)]
    pub email: Email,
    /// The name that the tenant is to have.
    #[schema(value_type = String)]
    pub tenant_name: TenantName,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

fn view(row: WaitingRow, email: Email) -> WaitingView {
    WaitingView { id: row.id, email, tenant_name: row.tenant_name, created_at: row.created_at }
}

fn not_waiting() -> Error {
    not_found("place on the waiting list")
}

impl Control {
    /// The waiting list, the next first.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_request` for a bad page.
    pub async fn list_waiting(&self, actor: &Actor, page: &PageRequest) -> Result<Page<WaitingView>, Error> {
        permit(actor, Action::ManageUsers)?;
        let (limit, after) = page.read::<WaitingId>()?;
        let rows = self.store(move |store| store.waiting(after, limit + 1)).await?;
        Ok(Page::of(rows, limit, |(row, _)| row.id.to_string(), |(row, email)| view(row, email)))
    }

    /// Takes somebody off the list, and the account with it if its address was never verified.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`.
    pub async fn remove_waiting(&self, actor: &Actor, id: &str) -> Result<WaitingView, Error> {
        let (row, user) = self.waiting_place(actor, id).await?;
        let id = row.id;
        let data = json!({"email": user.email.as_str()});
        let event = self.event(Some(&actor.by()), None, "waiting.removed", &id.to_string(), data);
        match self.store(move |store| store.remove_waiting(id, Some(&event))).await {
            Err(StoreError::Missing) => return Err(not_waiting()),
            written => written?,
        }
        Ok(view(row, user.email))
    }

    /// A place on the list and whose it is, for operators.
    async fn waiting_place(&self, actor: &Actor, id: &str) -> Result<(WaitingRow, UserRow), Error> {
        permit(actor, Action::ManageUsers)?;
        let id: WaitingId = id.parse().map_err(|_| not_waiting())?;
        let find = move |store: &Store| {
            let Some(row) = store.waiting_entry(id)? else { return Ok(None) };
            Ok(store.user(row.user_id)?.map(|user| (row, user)))
        };
        self.store(find).await?.ok_or_else(not_waiting)
    }

    /// Lets somebody in: makes the tenant, and where the service sends no mail opens the account. Whose the address is,
    /// that does not prove.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `conflict` at the limit of tenants.
    pub async fn admit(&self, actor: &Actor, id: &str) -> Result<SignedUp, Error> {
        let (row, user) = self.waiting_place(actor, id).await?;
        let id = row.id;
        let email = user.email.clone();
        let account = if user.verified_at.is_some() { Account::Kept } else { Account::Admitted };
        let user = UserRow { verified_at: user.verified_at.or(Some(self.now())), ..user };
        let place = Place::NewTenant(self.new_tenant_row(&row.tenant_name));
        let (consumed, by) = (Consumed::Waiting(id), Some(actor.by()));
        let admitted = self.arrive(Newcomer { consumed, by, ..Newcomer::new(user, account, place) }).await?;
        self.people().mailer.send(&email, letters::admitted(&self.people_settings().public_url));
        Ok(admitted)
    }
}
