//! A new password: for who forgot the old one, and for who knows it.
//!
//! **Invariant:** a new password ends every other link of a mail and every session, but the one that chose it while it was
//! logged in. One that proves the address for the first time ends the keys too that the account has made.

use freehold_domain::{Email, Error, ErrorCode, Timestamp};
use freehold_store::{StoreError, TokenPurpose, TokenRow, UserRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::limits::Limited;
use super::password::Password;
use super::session::LoggedIn;
use super::signup::{Addressee, invalid_token};
use super::token::Token;
use super::{Origin, letters, read_email};
use crate::auth::By;
use crate::facade::Control;

const RESET_MS: i64 = 60 * 60 * 1000;
/// As many as are sent while they are good, so that those which others ask for do not use up one's own.
const TOKENS_MAX: u32 = super::limits::RESET_MAILS_MAX;

/// The form of a new password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The token of the mail.
    pub token: String,
    /// The new password, 10 to 200 characters.
    #[schema(min_length = 10, max_length = 200)]
    pub password: Password,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(..)")
    }
}

/// The form of a new password for who is logged in.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password until now.
    pub current: Password,
    /// The new password, 10 to 200 characters.
    #[schema(min_length = 10, max_length = 200)]
    pub new: Password,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange(..)")
    }
}

/// Whether what the account has opened is its owner's: the address was proved, or an operator made it for an operator.
fn is_known(user: &UserRow) -> bool {
    user.address_proved || user.operator
}

fn wrong_password(has_one: bool) -> Error {
    let message = match has_one {
        true => "This is not your password until now: type that one first.",
        false => "Your account has no password yet: log out and choose one with `Forgot your password?`.",
    };
    Error::new(ErrorCode::InvalidCredentials, message).with_param("current")
}

impl Control {
    /// Sets a new password for who is logged in and knows the old one. Every other session of the user ends.
    ///
    /// # Errors
    /// `invalid_credentials` for a wrong password, `invalid_request` for a new one that is too short, `rate_limited` as
    /// a log-in is.
    pub async fn change_password(&self, session: &LoggedIn, form: &PasswordChange, origin: &Origin) -> Result<(), Error> {
        form.new.check().map_err(|error| error.with_param("new"))?;
        let (now, user) = (self.now(), session.user());
        let (limits, origin) = (&self.people().limits, origin.to_string());
        limits.take(Limited::LoginFrom, &origin, now)?;
        limits.take(Limited::LoginTo, user.email.as_str(), now)?;
        let before = user.password_hash.clone();
        if !self.people().passwords.verify(&form.current, before.as_deref()).await? {
            return Err(wrong_password(before.is_some()));
        }
        limits.give_back(Limited::LoginFrom, &origin);
        limits.give_back(Limited::LoginTo, user.email.as_str());
        let after = self.people().passwords.hash(&form.new).await?;
        let (id, kept) = (user.id, session.hash());
        let tenant = self.store(move |store| store.memberships(id)).await?.first().map(|(row, _)| row.id);
        let by = By::User(id, user.email.clone());
        let event = self.event(Some(&by), tenant, "user.password_changed", &id.to_string(), json!({}));
        let change = move |store: &freehold_store::Store| store.change_password(id, (before.as_deref(), &after), &kept, Some(&event));
        let written = self.store(change).await;
        written.map_err(|error| if matches!(error, StoreError::Missing) { wrong_password(true) } else { error.into() })
    }

    /// Sends a mail with which a new password can be chosen, if the address has an account. Says nothing of whether.
    ///
    /// # Errors
    /// `invalid_request`, `rate_limited`.
    pub fn forgot_password(&self, to: &Addressee, origin: &Origin) -> Result<(), Error> {
        let now = self.now();
        self.people().limits.take(Limited::FormFrom, &origin.to_string(), now)?;
        let email = read_email(&to.email)?;
        self.people().limits.take(Limited::ResetMailTo, email.as_str(), now)?;
        let control = self.clone();
        tokio::spawn(async move {
            if let Err(error) = control.send_reset(email, now).await {
                tracing::error!(message = error.message, context = error.context, "a mail for a new password was not sent");
            }
        });
        Ok(())
    }

    async fn send_reset(&self, email: Email, now: Timestamp) -> Result<(), Error> {
        let address = email.clone();
        let found = self.store(move |store| store.user_by_email(&address)).await?;
        let Some(user) = found.filter(|user| user.verified_at.is_some() && self.people().mailer.is_on()) else { return Ok(()) };
        let token = Token::generate()?;
        let row = TokenRow {
            hash: token.hash(),
            purpose: TokenPurpose::Reset,
            user_id: user.id,
            data_json: "{}".to_owned(),
            created_at: now,
            expires_at: now.plus_ms(RESET_MS),
        };
        match self.store(move |store| store.create_token(&row, TOKENS_MAX, None)).await {
            Err(StoreError::Missing) => return Ok(()),
            written => written?,
        }
        self.people().mailer.send(&email, letters::reset(&self.people_settings().public_url, &token, is_known(&user)));
        Ok(())
    }

    /// Sets a new password with the token of a mail, and logs the user out everywhere. If nobody had proved the address
    /// before, the keys that were made with the account end too: they may be a stranger's.
    ///
    /// # Errors
    /// `invalid_token`, `invalid_request`, `rate_limited`.
    pub async fn reset_password(&self, form: &NewPassword, origin: &Origin) -> Result<(), Error> {
        let now = self.now();
        self.people().limits.take(Limited::TokenFrom, &origin.to_string(), now)?;
        form.password.check()?;
        let hash = Token::read(&form.token).ok_or_else(invalid_token)?.hash();
        let found = self.store(move |store| store.token(&hash, TokenPurpose::Reset, now)).await?;
        let (_, user) = found.ok_or_else(invalid_token)?;
        let password_hash = self.people().passwords.hash(&form.password).await?;
        let id = user.id;
        let tenants = self.tenants_of(id).await?;
        let by = By::User(user.id, user.email.clone());
        let mut events = if is_known(&user) { Vec::new() } else { self.proved_events(&by, id, &tenants) };
        events.push(self.event(Some(&by), tenants.first().copied(), "user.password_changed", &id.to_string(), json!({})));
        let written = self.store(move |store| store.reset_password(&hash, id, &password_hash, now, &events)).await;
        if !is_known(&user) {
            // Also keys of tenants that the user has left.
            self.shared.keys.forget_all();
        }
        written.map_err(|error| if matches!(error, StoreError::Missing) { invalid_token() } else { error.into() })
    }
}
