//! Invitations: to a tenant by its owner, to the service by the operator.
//!
//! **Invariant:** only who may vouch for an address sees the code of an invitation to it: its reader, by mail, and
//! operators.

use freehold_domain::{Email, Error, ErrorCode, InviteId, Role, TenantId, TenantName, Timestamp};
use freehold_store::{Created, InviteRow, InviteTo, Note, Once};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::limits::Limited;
use super::token::Token;
use super::{letters, read_email};
use crate::auth::{Action, Actor, By, not_found, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
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
    #[schema(value_type = String, example = "ivt_01jz8v6w9qf3s8s4k2m1n0p7rt")]
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
    #[schema(minimum = 1, maximum = 100000)]
    pub uses: Option<u32>,
    /// It is good before this time, at most a year away; a week when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Something to remember it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub note: Option<String>,
}

/// An invitation that is to be made.
pub(crate) struct Wanted<'a> {
    pub(crate) to: InviteTo,
    pub(crate) tenant_name: Option<&'a TenantName>,
    pub(crate) note: String,
    pub(crate) uses_max: u32,
    pub(crate) expires_at: Option<Timestamp>,
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
    /// `permission_denied`, `conflict` at the limit, `invalid_request`, `rate_limited`, `unavailable` when there is more
    /// mail than can be sent.
    pub async fn create_invite(&self, actor: &Actor, new: NewInvite, once: Option<&IdempotencyKey>) -> Result<InviteWithCode, Error> {
        permit(actor, Action::ManageUsers)?;
        let once = once.map(|once| once.once(actor, "create_invite", &new, self.now())).transpose()?;
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
        let wanted = Wanted { to: InviteTo::Service(email), tenant_name: None, note, uses_max: uses, expires_at: new.expires_at };
        self.invite(actor, wanted, once).await
    }

    /// Refuses more mail to an address that did not ask for it, or by a tenant, than anybody needs.
    fn may_mail_invite(&self, actor: &Actor, to: &InviteTo) -> Result<(), Error> {
        let people = self.people();
        let Some(email) = to.email().filter(|_| people.mailer.is_on()) else { return Ok(()) };
        if !people.mailer.has_room() {
            let message = "There is more mail under way than can be sent: try again.";
            return Err(Error::new(ErrorCode::Unavailable, message).with_retry_after_s(60));
        }
        let now = self.now();
        if let (false, Some(tenant)) = (actor.is_operator(), to.tenant()) {
            people.limits.take(Limited::InviteMailBy, &tenant.to_string(), now)?;
        }
        people.limits.take(Limited::InviteMailTo, email.as_str(), now)
    }

    /// Writes an invitation and sends it, once it is clear that the actor may.
    pub(crate) async fn invite(&self, actor: &Actor, wanted: Wanted<'_>, once: Option<Once>) -> Result<InviteWithCode, Error> {
        let now = self.now();
        let expires_at = wanted.expires_at.unwrap_or(now.plus_ms(GOOD_FOR_MS));
        if expires_at <= now || expires_at > now.plus_ms(GOOD_FOR_MAX_MS) {
            return Err(Error::invalid("expires_at", "`expires_at` must be in the future, at most a year away."));
        }
        let mailer = &self.people().mailer;
        if !mailer.is_on() && !actor.is_operator() {
            let message = "This service sends no mail, so only its operator can invite: ask there.";
            return Err(Error::new(ErrorCode::Unavailable, message));
        }
        self.may_mail_invite(actor, &wanted.to)?;
        let code = Token::generate()?;
        let row = self.invite_row(actor, &wanted, &code, expires_at);
        let about = json!({"email": row.to.email().map(Email::as_str), "uses": row.uses_max});
        let event = self.event(Some(&actor.by()), row.to.tenant(), "invite.created", &row.id.to_string(), about);
        if once.is_some() && actor.is_operator() {
            // Before the row can be found by a repeated call.
            self.shared.shown_codes.keep(row.id, code.clone(), now);
        }
        let created = {
            let row = row.clone();
            self.store(move |store| store.create_invite(&row, INVITES_MAX, Note { once: once.as_ref(), trail: Some(&event) })).await
        };
        if !matches!(created, Ok(Created::New)) {
            self.shared.shown_codes.forget(row.id);
        }
        if let Created::Before(id) = created? {
            return self.invite_again(actor, id).await;
        }
        let mailed = mailer.is_on() && row.to.email().is_some();
        if let Some(email) = row.to.email() {
            let url = &self.people_settings().public_url;
            let letter = match wanted.tenant_name {
                Some(name) => letters::invite_to_tenant(url, name, &code),
                None => letters::invite_to_service(url, &code),
            };
            mailer.send(email, letter);
        }
        let code = actor.is_operator().then(|| code.reveal().to_owned());
        Ok(InviteWithCode { invite: view(row), code, mailed })
    }

    fn invite_row(&self, actor: &Actor, wanted: &Wanted<'_>, code: &Token, expires_at: Timestamp) -> InviteRow {
        let inviter = match actor.by() {
            By::User(user, _) => Some(user),
            By::Key(_) => None,
        };
        InviteRow {
            id: InviteId::from_uuid(self.new_uuid()),
            hash: code.hash(),
            to: wanted.to.clone(),
            inviter,
            note: wanted.note.clone(),
            uses: 0,
            uses_max: wanted.uses_max,
            created_at: self.now(),
            expires_at,
        }
    }

    /// What an earlier call with the same idempotency key made.
    async fn invite_again(&self, actor: &Actor, id: InviteId) -> Result<InviteWithCode, Error> {
        let row = self.store(move |store| store.invite(id)).await?.ok_or_else(|| not_found("invitation"))?;
        let code = self.shared.shown_codes.find(id, self.now()).filter(|_| actor.is_operator());
        if actor.is_operator() && code.is_none() {
            let message = format!("This call made the invitation {id} before; its code is not shown again. Make another one.");
            return Err(Error::new(ErrorCode::Conflict, message));
        }
        let mailed = self.people().mailer.is_on() && row.to.email().is_some();
        Ok(InviteWithCode { invite: view(row), code: code.map(|code| code.reveal().to_owned()), mailed })
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
