//! A new password for who forgot the old one.
//!
//! **Invariant:** a new password ends every session and every other link of a mail.

use freehold_domain::{Email, Error, Timestamp};
use freehold_store::{StoreError, TokenPurpose, TokenRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::limits::Limited;
use super::password::Password;
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
    /// The new password.
    pub password: Password,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(..)")
    }
}

impl Control {
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
        self.people().mailer.send(&email, letters::reset(&self.people_settings().public_url, &token));
        Ok(())
    }

    /// Sets a new password with the token of a mail, and logs the user out everywhere.
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
        let tenant = self.store(move |store| store.memberships(id)).await?.first().map(|(row, _)| row.id);
        let by = By::User(user.id, user.email.clone());
        let event = self.event(Some(&by), tenant, "user.password_changed", &user.id.to_string(), json!({}));
        let written = self.store(move |store| store.reset_password(&hash, id, &password_hash, now, Some(&event))).await;
        written.map_err(|error| if matches!(error, StoreError::Missing) { invalid_token() } else { error.into() })
    }
}
