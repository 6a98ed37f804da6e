//! Invitations: to a tenant by its owner, to the service by the operator.
//!
//! **Invariant:** only who may vouch for an address sees the code of an invitation to it: its reader, by mail, and
//! operators.

use freehold_domain::{Email, Error, ErrorCode, InviteId, Role, TenantId, TenantName, Timestamp};
use freehold_store::{InviteRow, InviteTo};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::token::Token;
use super::{letters, read_email};
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// The most invitations to one tenant, and to the service, that can be used.
const INVITES_MAX: u32 = 1000;
const USES_MAX: u32 = 100_000;
const NOTE_CHARS_MAX: usize = 200;
/// How long an invitation is good when nobody says.
const GOOD_FOR_MS: i64 = 7 * super::DAY_MS;
const GOOD_FOR_MAX_MS: i64 = 366 * super::DAY_MS;

/// An invitation, as it is shown: never its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteView {
    /// Its id.
    #[schema(value_type = String, example = "inv_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: InviteId,
    /// The address that it is for; left out: whoever has the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Email>,
    /// The tenant that it is to; left out: the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// As what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub role: Option<Role>,
    /// What the inviter wrote to remember it by.
    pub note: String,
    /// How often it was used.
    pub uses: u32,
    /// How often it can be used.
    pub uses_max: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It is good before this time.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// An invitation, with its code where the caller may see it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteWithCode {
    /// The invitation.
    #[serde(flatten)]
    pub invite: InviteView,
    /// What to sign up with, shown this once, to operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether a mail was sent.
    pub mailed: bool,
}

impl std::fmt::Debug for InviteWithCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InviteWithCode").field("invite", &self.invite).finish_non_exhaustive()
    }
}

/// An invitation to the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// The address that it is for, which gets a mail; left out: whoever has the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// How often it can be used; once when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// It is good before this time, at most a year away; a week when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Something to remember it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

fn view(row: InviteRow) -> InviteView {
    let role = match &row.to {
        InviteTo::Service(_) => None,
        InviteTo::Tenant { role, .. } => Some(*role),
    };
    InviteView {
        id: row.id,
        email: row.to.email().cloned(),
        tenant: row.to.tenant(),
        role,
        note: row.note,
        uses: row.uses,
        uses_max: row.uses_max,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

fn action(tenant: Option<TenantId>) -> Action<'static> {
    tenant.map_or(Action::ManageUsers, Action::ManageMembers)
}

impl Control {
    /// Invitations: to the caller's tenant, or all for an operator.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_request` for a bad page.
    pub async fn list_invites(&self, actor: &Actor, page: &PageRequest) -> Result<Page<InviteView>, Error> {
        let (limit, after) = page.read::<InviteId>()?;
        let tenant = actor.tenant().map(|tenancy| tenancy.tenant);
        permit(actor, action(tenant))?;
        let rows = self.store(move |store| store.invites(tenant, after, limit + 1)).await?;
        Ok(Page::of(rows, limit, |row| row.id.to_string(), view))
    }

    /// Invites to the service.
    ///
    /// # Errors
    /// `permission_denied`, `conflict` at the limit, `invalid_request`.
    pub async fn create_invite(&self, actor: &Actor, new: NewInvite) -> Result<InviteWithCode, Error> {
        permit(actor, Action::ManageUsers)?;
        let email = new.email.as_deref().map(read_email).transpose()?;
        let uses = new.uses.unwrap_or(1);
        if !(1..=USES_MAX).contains(&uses) || (email.is_some() && uses > 1) {
            let message = format!("`uses` is 1 to {USES_MAX}, and 1 for one address.");
            return Err(Error::invalid("uses", message));
        }
        let note = new.note.unwrap_or_default();
        if note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
            return Err(Error::invalid("note", format!("A note is at most {NOTE_CHARS_MAX} characters, without control characters.")));
        }
        self.invite(actor, InviteTo::Service(email), None, note, uses, new.expires_at).await
    }

    /// Writes an invitation and sends it, once it is clear that the actor may.
    pub(crate) async fn invite(
        &self,
        actor: &Actor,
        to: InviteTo,
        tenant_name: Option<&TenantName>,
        note: String,
        uses_max: u32,
        expires_at: Option<Timestamp>,
    ) -> Result<InviteWithCode, Error> {
        let now = self.now();
        let expires_at = expires_at.unwrap_or(now.plus_ms(GOOD_FOR_MS));
        if expires_at <= now || expires_at > now.plus_ms(GOOD_FOR_MAX_MS) {
            return Err(Error::invalid("expires_at", "`expires_at` must be in the future, at most a year away."));
        }
        let mailer = &self.people().mailer;
        if !mailer.is_on() && !actor.is_operator() {
            let message = "This service sends no mail, so only its operator can invite: ask there.";
            return Err(Error::new(ErrorCode::Unavailable, message));
        }
        let code = Token::generate()?;
        let id = InviteId::from_uuid(self.new_uuid());
        let row = InviteRow { id, hash: code.hash(), to, note, uses: 0, uses_max, created_at: now, expires_at };
        let about = json!({"email": row.to.email().map(Email::as_str), "uses": uses_max});
        let event = self.event(Some(&actor.by()), row.to.tenant(), "invite.created", &id.to_string(), about);
        {
            let row = row.clone();
            self.store(move |store| store.create_invite(&row, INVITES_MAX, Some(&event))).await?;
        }
        let mailed = mailer.is_on() && row.to.email().is_some();
        if let Some(email) = row.to.email() {
            let url = &self.people_settings().public_url;
            let letter = match tenant_name {
                Some(name) => letters::invite_to_tenant(url, name, &code),
                None => letters::invite_to_service(url, &code),
            };
            mailer.send(email, letter);
        }
        let code = actor.is_operator().then(|| code.reveal().to_owned());
        Ok(InviteWithCode { invite: view(row), code, mailed })
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`.
    pub async fn delete_invite(&self, actor: &Actor, id: &str) -> Result<InviteView, Error> {
        let id: InviteId = id.parse().map_err(|_| not_found("invitation"))?;
        let row = self.store(move |store| store.invite(id)).await?.ok_or_else(|| not_found("invitation"))?;
        let tenant = row.to.tenant();
        if tenant.is_none() && !actor.is_operator() {
            return Err(not_found("invitation"));
        }
        permit(actor, action(tenant))?;
        let event = self.event(Some(&actor.by()), tenant, "invite.deleted", &id.to_string(), json!({}));
        self.store(move |store| store.delete_invite(id, Some(&event))).await?;
        Ok(view(row))
    }
}
