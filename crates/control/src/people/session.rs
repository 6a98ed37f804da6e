//! Logging in and out, and who a session's cookie stands for.
//!
//! A session's token is random, new at each log-in, and kept as its hash; the CSRF token is derived from it, so a page
//! that may read the answer to `GET /session` knows it, and nobody else.
//!
//! **Invariant:** a session that was ended is refused on the next request: each one asks the store.

use std::fmt;
use std::sync::Arc;

use freehold_domain::{Error, ErrorCode, Role, TenantId, TenantName, Timestamp};
use freehold_store::{OpenedWith, SessionFound, SessionRow, StoreError, TenantRow, UserRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::limits::Limited;
use super::password::Password;
use super::token::Token;
use super::{Origin, Person, read_email};
use crate::auth::{Actor, By, UserCaller, not_found};
use crate::facade::Control;

/// The most sessions of one user; the oldest go.
const SESSIONS_MAX: u32 = 50;
/// How often it is written down that a session was used.
const SEEN_EVERY_MS: i64 = 60 * 1000;

/// The form of a log-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The address.
    #[schema(max_length = 254, example = "ada@example.org")]
    pub email: String,
    /// The password.
    pub password: Password,
}

/// A tenant of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantOfUser {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TenantId,
    /// Its name.
    #[schema(value_type = String)]
    pub name: TenantName,
    /// What the user is there.
    #[schema(value_type = String, example = "owner")]
    pub role: Role,
}

/// Who is logged in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The user.
    pub user: Person,
    /// Its tenants, the oldest membership first.
    pub tenants: Vec<TenantOfUser>,
    /// The place on the waiting list, from 1, for who has no tenant yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// What to send as `x-csrf-token` with every method but GET and HEAD.
    pub csrf_token: String,
    /// When the session ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl fmt::Debug for SessionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionView").field("user", &self.user).field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

/// A new session, with the token that goes into a cookie.
pub struct NewSession {
    /// What to show.
    pub view: SessionView,
    /// What to keep in the cookie.
    pub token: String,
}

/// A good session.
pub struct LoggedIn {
    found: SessionFound,
    token: Token,
}

impl LoggedIn {
    /// Who is logged in.
    pub(crate) fn user(&self) -> &UserRow {
        &self.found.user
    }

    /// By what the store knows the session.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.found.session.hash
    }

    fn csrf(&self) -> String {
        self.token.derive("csrf")
    }

    /// Refuses a request that does not come from a page that knows the session's CSRF token.
    ///
    /// # Errors
    /// `invalid_csrf_token`.
    pub fn check_csrf(&self, shown: Option<&str>) -> Result<(), Error> {
        let good = shown.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(self.csrf().as_bytes())));
        if good {
            return Ok(());
        }
        let message = "This takes the header `x-csrf-token` with the `csrf_token` of GET /api/v1/session.";
        Err(Error::new(ErrorCode::InvalidCsrfToken, message))
    }

    /// Whom the session acts for: the tenant that is named, or the user's first. An operator acts as one unless a tenant
    /// is named.
    ///
    /// # Errors
    /// `not_found` for a tenant that is not the user's.
    pub fn actor(&self, tenant: Option<&str>) -> Result<Actor, Error> {
        let user = &self.found.user;
        let memberships = &self.found.memberships;
        let chosen = match tenant {
            Some(text) => {
                let id = text.parse::<TenantId>().ok();
                let is_meant = |row: &TenantRow| id.map_or_else(|| row.name.as_str().eq_ignore_ascii_case(text), |id| row.id == id);
                Some(memberships.iter().find(|(row, _)| is_meant(row)).ok_or_else(|| not_found("tenant"))?)
            }
            None if user.operator => return Ok(Actor::Operator { by: By::User(user.id, user.email.clone()) }),
            None => memberships.first(),
        };
        let membership = chosen.map(|(row, role)| (row.clone().into(), *role));
        Ok(Actor::User(Arc::new(UserCaller { user: user.id, email: user.email.clone(), membership })))
    }
}

pub(crate) fn invalid_session() -> Error {
    Error::new(ErrorCode::InvalidSession, "You are not logged in, or your session has ended: log in.")
}

fn invalid_credentials() -> Error {
    let message = "The address and the password do not fit together, or the address is not confirmed yet.";
    Error::new(ErrorCode::InvalidCredentials, message)
}

impl Control {
    /// Logs somebody in. `before` is the token of a session that the request came with; it ends.
    ///
    /// # Errors
    /// `invalid_credentials`, `invalid_request`, `rate_limited`.
    pub async fn log_in(&self, form: &LogIn, origin: &Origin, before: Option<&str>) -> Result<NewSession, Error> {
        let now = self.now();
        let email = read_email(&form.email)?;
        let (limits, origin) = (&self.people().limits, origin.to_string());
        limits.take(Limited::LoginFrom, &origin, now)?;
        limits.take(Limited::LoginTo, email.as_str(), now)?;
        let address = email.clone();
        let found = self.store(move |store| store.user_by_email(&address)).await?.filter(|user| user.verified_at.is_some());
        let hash = found.as_ref().and_then(|user| user.password_hash.as_deref());
        let is_right = self.people().passwords.verify(&form.password, hash).await?;
        let hash = hash.filter(|_| is_right).map(str::to_owned);
        let (Some(user), Some(hash)) = (found, hash) else { return Err(invalid_credentials()) };
        limits.give_back(Limited::LoginFrom, &origin);
        limits.give_back(Limited::LoginTo, email.as_str());
        self.open_session(&user, OpenedWith::Password(hash), before, json!({"with": "password"})).await
    }

    /// A session for somebody who has proved who he is, if that still holds when it is written.
    pub(crate) async fn open_session(
        &self,
        user: &UserRow,
        with: OpenedWith,
        before: Option<&str>,
        how: serde_json::Value,
    ) -> Result<NewSession, Error> {
        let now = self.now();
        let token = Token::generate()?;
        let row = SessionRow {
            hash: token.hash(),
            user_id: user.id,
            created_at: now,
            expires_at: now.plus_ms(i64::from(self.people_settings().session_s) * 1000),
            seen_at: now,
        };
        let event = self.session_event(user, "session.created", how).await?;
        let before = before.and_then(Token::read).map(|token| token.hash());
        let written = self.store(move |store| store.create_session(&row, &with, before.as_ref(), SESSIONS_MAX, Some(&event))).await;
        written.map_err(|error| if matches!(error, StoreError::Missing) { invalid_credentials() } else { error.into() })?;
        let logged_in = self.session(token.reveal()).await?;
        Ok(NewSession { view: self.session_view(&logged_in).await?, token: token.reveal().to_owned() })
    }

    /// An event about a user's session, for the user's first tenant to see.
    async fn session_event(&self, user: &UserRow, kind: &str, data: serde_json::Value) -> Result<freehold_store::TrailRow, Error> {
        let id = user.id;
        let tenant = self.store(move |store| store.memberships(id)).await?.first().map(|(row, _)| row.id);
        Ok(self.event(Some(&By::User(user.id, user.email.clone())), tenant, kind, &user.id.to_string(), data))
    }

    /// The session with this token.
    ///
    /// # Errors
    /// `invalid_session`.
    pub async fn session(&self, token: &str) -> Result<LoggedIn, Error> {
        let token = Token::read(token).ok_or_else(invalid_session)?;
        let (hash, now) = (token.hash(), self.now());
        let found = self.store(move |store| store.session(&hash, now)).await?.ok_or_else(invalid_session)?;
        if found.session.seen_at.plus_ms(SEEN_EVERY_MS) <= now {
            self.store(move |store| store.touch_session(&hash, now)).await?;
        }
        Ok(LoggedIn { found, token })
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn session_view(&self, session: &LoggedIn) -> Result<SessionView, Error> {
        let found = &session.found;
        let view = |(row, role): &(TenantRow, Role)| TenantOfUser { id: row.id, name: row.name.clone(), role: *role };
        let user = found.user.id;
        let waiting = match found.memberships.is_empty() {
            true => self.store(move |store| store.waiting_position(user)).await?,
            false => None,
        };
        Ok(SessionView {
            user: Person::from(&found.user),
            tenants: found.memberships.iter().map(view).collect(),
            waiting,
            csrf_token: session.csrf(),
            expires_at: found.session.expires_at,
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn log_out(&self, session: &LoggedIn) -> Result<(), Error> {
        let event = self.session_event(&session.found.user, "session.ended", json!({})).await?;
        let hash = session.found.session.hash;
        Ok(self.store(move |store| store.delete_session(&hash, Some(&event))).await?)
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn log_out_everywhere(&self, session: &LoggedIn) -> Result<(), Error> {
        let event = self.session_event(&session.found.user, "session.all_ended", json!({})).await?;
        let user = session.found.user.id;
        Ok(self.store(move |store| store.delete_sessions(user, Some(&event))).await?)
    }
}
