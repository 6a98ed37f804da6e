//! People: who signs up, logs in, and belongs to which tenant.
//!
//! It must not know HTTP: it is handed e-mail addresses, passwords, tokens and the address that a request came from,
//! and gives back what to show and what to keep in a cookie.
//!
//! **Invariant:** nobody learns whether an address has an account, neither from an answer nor from the time that it
//! takes, unless he has proved that it is his.

pub mod invites;
mod letters;
mod limits;
pub mod mail;
pub mod members;
pub mod oidc;
mod oidc_client;
pub mod password;
pub mod recovery;
pub mod session;
pub mod signup;
pub(crate) mod token;
pub mod waiting;

use std::fmt;
use std::str::FromStr;

use freehold_domain::{Email, Error, TenantName, UserId};
use freehold_store::UserRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::facade::Control;
use crate::tenants::new_tenant_name;
use limits::Limits;
use mail::{MailSettings, Mailer};
use oidc_client::Providers;
pub use oidc_client::{ProviderSettings, ProviderSettingsError};
use password::Passwords;

/// The most users that a service has.
pub const USERS_MAX: u32 = 100_000;
/// The most of them who have not verified their address; the oldest who does not wait goes.
const UNVERIFIED_MAX: u32 = 10_000;
/// The most who wait. There is always room for some more who have not verified their address.
pub const WAITING_MAX: u32 = 5_000;
/// The most characters of a person's name.
const NAME_CHARS_MAX: usize = 96;
/// Rows of one kind that one round of forgetting removes.
const FORGET_BATCH: u32 = 1000;
/// How long an account whose address nobody has verified, and that does not wait, is kept.
const UNVERIFIED_KEPT_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Who may sign up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignupMode {
    /// Everybody.
    Open,
    /// Everybody, onto a waiting list; who has an invitation, at once.
    Preview,
    /// Who has an invitation.
    #[default]
    Closed,
}

impl SignupMode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Preview => "preview",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for SignupMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Open, Self::Preview, Self::Closed]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| "expected open, preview or closed".to_owned())
    }
}

/// What is set about people.
#[derive(Clone, Debug)]
pub struct PeopleSettings {
    /// Who may sign up.
    pub signup: SignupMode,
    /// Where people reach the service, without a slash at the end.
    pub public_url: String,
    /// How long a session lasts, in seconds.
    pub session_s: u32,
    /// How mail is sent.
    pub mail: MailSettings,
    /// Whom mail is from.
    pub mail_from: String,
    /// Who else may say who somebody is.
    pub providers: Vec<ProviderSettings>,
    /// Credit of a tenant that is made by signing up, in nano-units.
    pub signup_credit_nano: i64,
    /// How many days the trail is kept.
    pub trail_days: u32,
}

impl Default for PeopleSettings {
    fn default() -> Self {
        Self {
            signup: SignupMode::default(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            session_s: 14 * 24 * 60 * 60,
            mail: MailSettings::None,
            mail_from: "Freehold <freehold@localhost>".to_owned(),
            providers: Vec::new(),
            signup_credit_nano: 0,
            trail_days: 400,
        }
    }
}

impl PeopleSettings {
    /// Whether people reach the service over TLS, so that cookies are sent over it only.
    pub fn is_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}

/// What is in memory about people.
pub(crate) struct People {
    pub(crate) limits: Limits,
    pub(crate) passwords: Passwords,
    pub(crate) mailer: Mailer,
    pub(crate) providers: Providers,
}

impl People {
    pub(crate) fn new(settings: &PeopleSettings) -> Result<Self, Error> {
        Ok(Self {
            limits: Limits::default(),
            passwords: Passwords::new()?,
            mailer: Mailer::new(&settings.mail, &settings.mail_from)?,
            providers: Providers::new(settings)?,
        })
    }
}

/// A user, as it is shown to itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Its id; left out where the account is not known to be the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "usr_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: Option<UserId>,
    /// Its address.
    #[schema(value_type = String, example = "ada@example.org")]
    pub email: Email,
    /// What it is called.
    pub name: String,
    /// Whether it manages the service.
    pub operator: bool,
}

impl From<&UserRow> for Person {
    fn from(row: &UserRow) -> Self {
        Self { id: Some(row.id), email: row.email.clone(), name: row.name.clone(), operator: row.operator }
    }
}

/// Where a request comes from, for limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    address: String,
    network: String,
}

impl Origin {
    /// The address of a client. Of IPv6, the first 64 bits: one client has as many addresses as it likes behind them.
    pub fn new(address: std::net::IpAddr) -> Self {
        match address.to_canonical() {
            std::net::IpAddr::V4(address) => Self { address: address.to_string(), network: format!("{:?}", &address.octets()[..3]) },
            std::net::IpAddr::V6(address) => {
                let segments = address.segments();
                Self { address: format!("{:x?}", &segments[..4]), network: format!("{:x?}", &segments[..3]) }
            }
        }
    }

    /// The network around it, which somebody may have whole: the first 24 bits of IPv4, the first 48 of IPv6.
    pub(crate) fn network(&self) -> &str {
        &self.network
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

pub(crate) fn read_email(text: &str) -> Result<Email, Error> {
    text.trim().parse().map_err(|error| Error::invalid("email", format!("`email` is {error}.")))
}

pub(crate) fn read_person_name(name: Option<&str>) -> Result<String, Error> {
    let name = name.unwrap_or_default().trim();
    if name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(Error::invalid("name", format!("A name is at most {NAME_CHARS_MAX} characters, without control characters.")))
    }
}

/// The name that a tenant is to have: as asked for, or after the address.
pub(crate) fn read_tenant_name(wanted: Option<&str>, email: &Email) -> Result<TenantName, Error> {
    let wanted = wanted.map(str::trim).filter(|name| !name.is_empty());
    match wanted {
        Some(name) => new_tenant_name("tenant", name),
        None => {
            let kept = email.local().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            let name: String = kept.skip_while(|c| !c.is_ascii_alphanumeric()).collect();
            new_tenant_name("tenant", &name).or_else(|_| "tenant".parse()).map_err(Error::internal)
        }
    }
}

impl Control {
    pub(crate) fn people(&self) -> &People {
        &self.shared.people
    }

    /// What is set about people.
    pub fn people_settings(&self) -> &PeopleSettings {
        &self.settings().people
    }

    /// Forgets sessions, tokens, invitations, log-ins under way and events that have ended. Called now and then.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn forget_ended(&self) -> Result<(), Error> {
        let now = self.now();
        let settings = self.people_settings();
        let trail_before = now.plus_ms(-i64::from(settings.trail_days) * DAY_MS);
        let unverified_before = now.plus_ms(-UNVERIFIED_KEPT_MS);
        self.people().providers.forget_ended();
        self.store(move |store| store.forget_ended(now, unverified_before, trail_before, FORGET_BATCH)).await?;
        Ok(())
    }
}
