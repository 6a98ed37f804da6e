//! Logging in, and signing up, through an OpenID Connect provider.
//!
//! **Invariant:** a provider's word gives access to an account of the service only if the two were linked before, or the
//! provider says that the address is verified and the account is no operator's. An account whose address nobody has
//! proved loses its password, its sessions and its keys when it is linked.

use freehold_domain::{Email, Error, ErrorCode, UserId};
use freehold_store::{Account, Identity, OpenedWith, Place, TrailRow, UserRow};
use serde_json::json;

use super::oidc_client::Claims;
use super::session::NewSession;
use super::signup::{Newcomer, closed_account, invalid_token};
use super::token::Token;
use super::{Origin, limits::Limited, read_person_name, read_tenant_name};
use crate::auth::By;
use crate::facade::Control;

/// Longest names of a provider for somebody.
const SUBJECT_LEN_MAX: usize = 255;

/// Where to send a browser, and what to keep in it.
#[derive(Debug)]
pub struct OidcStart {
    /// The provider's page.
    pub url: String,
    /// What the browser must show when it comes back.
    pub state: String,
}

/// What a browser comes back with.
#[derive(Debug)]
pub struct OidcReturn<'a> {
    /// The provider's name in the path.
    pub provider: &'a str,
    /// What the provider gave back.
    pub state: &'a str,
    /// What the browser kept.
    pub kept_state: &'a str,
    /// The provider's code.
    pub code: &'a str,
}

impl Control {
    /// Begins a log-in at a provider. `invite` is an invite code, for who has no account yet.
    ///
    /// # Errors
    /// `not_found` for a provider that there is not, `invalid_token` for what cannot be an invite code, `unavailable` when
    /// the provider does not answer, `rate_limited`.
    pub async fn oidc_start(&self, provider: &str, invite: Option<&str>, origin: &Origin) -> Result<OidcStart, Error> {
        self.people().limits.take(Limited::OidcFrom, &origin.to_string(), self.now())?;
        let code = invite.map(|code| Token::read(code).ok_or_else(invalid_token)).transpose()?;
        let begun = self.people().providers.begin(provider, code.map(|code| code.reveal().to_owned())).await?;
        Ok(OidcStart { url: begun.url, state: begun.state })
    }

    /// Ends a log-in at a provider: with a session, and for a newcomer with an account first.
    ///
    /// # Errors
    /// `invalid_credentials` when the provider's word is not good, `permission_denied` for an address that the provider
    /// has not verified, a closed account and an operator's that is not linked, `signup_closed`, `invalid_token` for an
    /// invitation, `unavailable`.
    pub async fn oidc_finish(&self, back: OidcReturn<'_>, origin: &Origin, before: Option<&str>) -> Result<NewSession, Error> {
        if back.state.is_empty() || back.state != back.kept_state {
            let message = "The log-in did not begin in this browser: begin again.";
            return Err(Error::new(ErrorCode::InvalidCredentials, message));
        }
        let (claims, invite) = self.people().providers.finish(back.provider, back.state, back.code.to_owned()).await?;
        if claims.subject.is_empty() || claims.subject.len() > SUBJECT_LEN_MAX {
            return Err(Error::new(ErrorCode::InvalidCredentials, "The provider's name for you cannot be used."));
        }
        let identity = Identity { issuer: claims.issuer.clone(), subject: claims.subject.clone() };
        let user = self.user_of(&claims, &identity, invite.as_deref(), origin).await?;
        self.open_session(&user, OpenedWith::Identity(identity), before, json!({"with": "oidc", "provider": back.provider})).await
    }

    async fn user_of(&self, claims: &Claims, identity: &Identity, invite: Option<&str>, origin: &Origin) -> Result<UserRow, Error> {
        let known = {
            let identity = identity.clone();
            self.store(move |store| store.user_by_identity(&identity)).await?
        };
        if let Some(user) = known {
            return if user.verified_at.is_some() { Ok(user) } else { Err(closed_account()) };
        }
        let Some(email) = claims.email.clone() else {
            let message = "The provider does not say that your e-mail address is verified: verify it there, or sign up with a password.";
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        };
        let invite = match invite {
            Some(code) => Some(self.shown_invite(code, Some(&email), origin).await?),
            None => None,
        };
        let found = {
            let email = email.clone();
            self.store(move |store| store.user_by_email(&email)).await?
        };
        let tenant = read_tenant_name(None, &email)?;
        let (user, account) = match found {
            Some(user) if user.closed => return Err(closed_account()),
            Some(user) if user.operator => {
                let message = "The account with this address is an operator's, which no provider opens: log in with its password.";
                return Err(Error::new(ErrorCode::PermissionDenied, message));
            }
            Some(user) if user.verified_at.is_some() && user.address_proved => (user, Account::Kept),
            Some(unproved) => {
                let verified_at = unproved.verified_at.or(Some(self.now()));
                (UserRow { password_hash: None, verified_at, address_proved: true, ..unproved }, Account::Claimed)
            }
            None => (self.newcomer(email, claims.name.as_deref()), Account::New),
        };
        let has_place = account != Account::New && self.has_place(user.id).await?;
        let place = match &invite {
            Some(invite) => self.place_of(invite, &tenant),
            None if has_place => Place::Nowhere,
            None => self.place_by_mode(user.id, &tenant)?,
        };
        let also = if account == Account::New { None } else { Some(self.linked(&user, identity).await?) };
        let (identity, invite) = (Some(identity.clone()), invite.map(|invite| invite.id));
        self.arrive(Newcomer { identity, invite, also, ..Newcomer::new(user.clone(), account, place) }).await?;
        Ok(user)
    }

    /// The event that an account has one more way in, for the user's first tenant to see.
    async fn linked(&self, user: &UserRow, identity: &Identity) -> Result<TrailRow, Error> {
        let id = user.id;
        let tenant = self.store(move |store| store.memberships(id)).await?.first().map(|(row, _)| row.id);
        let by = By::User(user.id, user.email.clone());
        let about = json!({"email": user.email.as_str(), "issuer": identity.issuer});
        Ok(self.event(Some(&by), tenant, "identity.linked", &user.id.to_string(), about))
    }

    fn newcomer(&self, email: Email, name: Option<&str>) -> UserRow {
        UserRow {
            id: UserId::from_uuid(self.new_uuid()),
            email,
            name: read_person_name(name).unwrap_or_default(),
            password_hash: None,
            operator: false,
            verified_at: Some(self.now()),
            address_proved: true,
            closed: false,
            created_at: self.now(),
            last_login_at: None,
        }
    }

    /// Whether a user is somewhere already: in a tenant, on the waiting list, or an operator.
    async fn has_place(&self, user: UserId) -> Result<bool, Error> {
        Ok(self
            .store(move |store| {
                let is_operator = store.user(user)?.is_some_and(|row| row.operator);
                Ok(is_operator || !store.memberships(user)?.is_empty() || store.waiting_position(user)?.is_some())
            })
            .await?)
    }
}
