//! Mail: by SMTP, into a folder, or not at all.
//!
//! A mail is sent in the background and tried three times; who does not get it asks for another. What is under way is
//! not durable.
//!
//! **Invariant:** the time that a request takes says nothing of whether a mail was sent.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use freehold_domain::{Email, Error};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use openidconnect::url::Url;
use tokio::sync::Semaphore;

use super::letters::Letter;

/// Most mails under way; one more is dropped, and the log says so.
const UNDER_WAY_MAX: usize = 500;
/// Of these, so many are kept for mails that somebody asked for himself.
const KEPT_FREE: usize = 200;
/// How long one try may take.
const TRY_FOR: Duration = Duration::from_secs(30);
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// How mail is protected on its way to the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the start (`smtps://`).
    Wrapped,
    /// STARTTLS, or no mail.
    Required,
    /// STARTTLS where the server has it.
    Opportunistic,
    /// None.
    None,
}

/// A mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How mail is protected.
    pub tls: MailTls,
    /// Name and password to log in with.
    pub login: Option<(String, String)>,
    /// A certificate authority to trust beside the known ones, in PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("port", &self.port).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// How mail is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MailSettings {
    /// Not at all: the operator admits people.
    #[default]
    None,
    /// Into a folder, a file each.
    Folder(PathBuf),
    /// Through a mail server.
    Smtp(Smtp),
}

impl MailSettings {
    /// Reads `file:FOLDER`, `smtp://[USER@]HOST[:PORT][?tls=required|opportunistic|none]`, `smtps://[USER@]HOST[:PORT]`,
    /// or nothing.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str, password: Option<&str>, ca_pem: Option<Vec<u8>>) -> Result<Self, String> {
        const EXPECTED: &str = "expected file:FOLDER, smtp://USER@HOST:PORT?tls=required or smtps://USER@HOST";
        if text.is_empty() {
            return Ok(Self::None);
        }
        if let Some(folder) = text.strip_prefix("file:") {
            return if folder.is_empty() { Err(EXPECTED.to_owned()) } else { Ok(Self::Folder(folder.into())) };
        }
        let url: Url = text.parse().map_err(|_| EXPECTED.to_owned())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?.trim_matches(['[', ']']).to_owned();
        if url.password().is_some() {
            return Err("the password goes into the option mail_password".to_owned());
        }
        let asked = url.query_pairs().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
        let tls = match (url.scheme(), asked.as_str()) {
            ("smtps", "") => MailTls::Wrapped,
            ("smtp", "" | "tls=required") => MailTls::Required,
            ("smtp", "tls=opportunistic") => MailTls::Opportunistic,
            ("smtp", "tls=none") => MailTls::None,
            _ => return Err(EXPECTED.to_owned()),
        };
        let user = url.username();
        let login = match (user.is_empty(), password) {
            (true, None) => None,
            (false, Some(password)) => Some((user.replace("%40", "@"), password.to_owned())),
            (true, Some(_)) => return Err("mail_password is set, but the address of the mail server has no user".to_owned()),
            (false, None) => return Err("the address of the mail server has a user, but mail_password is not set".to_owned()),
        };
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if login.is_some() && !is_local && matches!(tls, MailTls::None | MailTls::Opportunistic) {
            return Err("a password is sent over TLS only: use tls=required or smtps".to_owned());
        }
        let port = url.port().unwrap_or(match tls {
            MailTls::Wrapped => 465,
            MailTls::Required if login.is_some() => 587,
            _ => 25,
        });
        Ok(Self::Smtp(Smtp { host, port, tls, login, ca_pem }))
    }
}

enum Way {
    None,
    Folder(PathBuf),
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
}

pub(crate) struct Mailer {
    way: Arc<Way>,
    from: Mailbox,
    under_way: Arc<Semaphore>,
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let parameters = || {
        let mut builder = TlsParameters::builder(smtp.host.clone());
        if let Some(pem) = &smtp.ca_pem {
            builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(|error| settings_error("mail_ca", error))?);
        }
        builder.build_rustls().map_err(|error| settings_error("mail", error))
    };
    let tls = match smtp.tls {
        MailTls::Wrapped => Tls::Wrapper(parameters()?),
        MailTls::Required => Tls::Required(parameters()?),
        MailTls::Opportunistic => Tls::Opportunistic(parameters()?),
        MailTls::None => Tls::None,
    };
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.clone()).port(smtp.port).tls(tls).timeout(Some(TRY_FOR));
    if let Some((user, password)) = &smtp.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

fn settings_error(option: &str, error: impl fmt::Display) -> Error {
    Error::invalid(option, format!("The option `{option}` cannot be used: {error}."))
}

impl Mailer {
    pub(crate) fn new(settings: &MailSettings, from: &str) -> Result<Self, Error> {
        let way = match settings {
            MailSettings::None => Way::None,
            MailSettings::Folder(folder) => Way::Folder(folder.clone()),
            MailSettings::Smtp(smtp) => Way::Smtp(Box::new(transport(smtp)?)),
        };
        let from: Mailbox = from.parse().map_err(|error| settings_error("mail_from", error))?;
        Ok(Self { way: Arc::new(way), from, under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)) })
    }

    /// Whether there is a way to send mail at all.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(*self.way, Way::None)
    }

    /// Whether a mail can be sent that its reader did not ask for.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.available_permits() > KEPT_FREE
    }

    /// Sends a letter in the background.
    pub(crate) fn send(&self, to: &Email, letter: Letter) {
        if !self.is_on() {
            return;
        }
        let Ok(place) = Arc::clone(&self.under_way).try_acquire_owned() else {
            tracing::error!(subject = letter.subject, "a mail was dropped: too many are under way");
            return;
        };
        let message = match self.message(to, &letter) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(context = error.context, "a mail could not be written");
                return;
            }
        };
        let way = Arc::clone(&self.way);
        tokio::spawn(async move {
            deliver(&way, message, letter.subject).await;
            drop(place);
        });
    }

    fn message(&self, to: &Email, letter: &Letter) -> Result<Message, Error> {
        let to: Mailbox = to.as_str().parse().map_err(Error::internal)?;
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body.clone())
            .map_err(Error::internal)
    }
}

async fn deliver(way: &Way, message: Message, subject: &'static str) {
    let mut pauses = PAUSES.into_iter();
    loop {
        let why = match try_once(way, &message).await {
            Ok(()) => return,
            Err(why) => why,
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(subject, why, "a mail was not delivered");
            return;
        };
        tracing::warn!(subject, why, "a mail is tried again");
        tokio::time::sleep(pause).await;
    }
}

async fn try_once(way: &Way, message: &Message) -> Result<(), String> {
    match way {
        Way::None => Ok(()),
        Way::Folder(folder) => {
            let (folder, bytes) = (folder.clone(), message.formatted());
            let written = tokio::task::spawn_blocking(move || write(&folder, &bytes)).await;
            written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
        Way::Smtp(transport) => match tokio::time::timeout(TRY_FOR, transport.send(message.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the mail server did not answer in time".to_owned()),
        },
    }
}

/// Writes a mail for the owner alone, whole or not at all.
fn write(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let name = uuid::Uuid::now_v7();
    let temporary = folder.join(format!(".{name}"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(temporary, folder.join(format!("{name}.eml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_mail_servers() {
        let parse = |text: &str, password: Option<&str>| MailSettings::parse(text, password, None);
        assert_eq!(parse("", None), Ok(MailSettings::None));
        assert_eq!(parse("file:/tmp/mail", None), Ok(MailSettings::Folder("/tmp/mail".into())));
        let smtp = |text: &str, password: Option<&str>| match parse(text, password) {
            Ok(MailSettings::Smtp(smtp)) => (smtp.host, smtp.port, smtp.tls, smtp.login.map(|(user, _)| user)),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(smtp("smtp://mx.example.org", None), ("mx.example.org".to_owned(), 25, MailTls::Required, None));
        assert_eq!(
            smtp("smtps://me@mx.example.org", Some("x")),
            ("mx.example.org".to_owned(), 465, MailTls::Wrapped, Some("me".to_owned()))
        );
        assert_eq!(smtp("smtp://a%40b@mx.example.org", Some("x")).3.as_deref(), Some("a@b"));
        assert_eq!(smtp("smtp://me@127.0.0.1:2525?tls=none", Some("x")).1, 2525);
        for (bad, password) in [
            ("smtp://", None),
            ("http://x", None),
            ("file:", None),
            ("smtp://x?tls=maybe", None),
            ("smtp://me:secret@x", None),
            ("smtp://me@x", None),
            ("smtp://x", Some("y")),
            ("smtp://me@x?tls=none", Some("y")),
        ] {
            assert!(parse(bad, password).is_err(), "{bad}");
        }
    }
}
