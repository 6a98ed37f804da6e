//! What the service is run with: `freehold.toml`, then the environment, then flags; later wins.
//!
//! The table below is the only place that names an option: the struct, the reader, the check for unknown keys and the
//! reference page (docs/configuration.md) come from it.
//!
//! **Invariant:** an unknown key or a value that does not fit is refused with what would be right; nothing is ignored.

use std::fmt;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod billing;
mod people;

use freehold_control::people::SignupMode;
use freehold_domain::Currency;
pub use people::{OidcProviders, PublicUrl};

/// Why the options cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {why}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// There is no such option.
    #[error("{origin}: there is no option `{key}`.{hint} All options are in docs/configuration.md.")]
    Unknown {
        /// Where it was set.
        origin: String,
        /// The key as it was written.
        key: String,
        /// ` Did you mean ...?`
        hint: String,
    },
    /// The value does not fit the option.
    #[error("{origin}: `{key}` cannot be `{value}`: {why}")]
    BadValue {
        /// Where it was set.
        origin: String,
        /// The option.
        key: String,
        /// The value as it was written.
        value: String,
        /// What would be right.
        why: String,
    },
}

/// One row of the reference page.
#[derive(Debug)]
pub struct OptionRow {
    /// The key in `freehold.toml`.
    pub key: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// The default, as it would be written.
    pub default: String,
}

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr;)*) => {
        /// Every option, with its value.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Options { $($(#[doc = $doc])+ pub $key: $type,)* }

        impl Default for Options {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Options {
            const KEYS: &'static [&'static str] = &[$(stringify!($key),)*];

            fn set(&mut self, origin: &str, key: &str, value: &str) -> Result<(), OptionsError> {
                let bad = |why: String| OptionsError::BadValue { origin: origin.to_owned(), key: key.to_owned(), value: value.to_owned(), why };
                match key {
                    $(stringify!($key) => self.$key = Setting::read(value).map_err(bad)?,)*
                    _ => return Err(OptionsError::Unknown { origin: origin.to_owned(), key: key.to_owned(), hint: nearest(key, Self::KEYS) }),
                }
                Ok(())
            }

            /// The rows of the reference page.
            pub fn rows() -> Vec<OptionRow> {
                let defaults = Self::default();
                vec![$(OptionRow { key: stringify!($key), doc: concat!($($doc),+).trim_start(), default: defaults.$key.show() },)*]
            }
        }
    };
}

options! {
    /// Folder for everything that is kept: the database, models, credentials.
    data: PathBuf = default_data_dir();
    /// Address to serve HTTP on.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
    /// Memory for all loaded models together, such as `8GiB`; `auto` takes three quarters of what is free at the start.
    memory_budget: Auto<Bytes> = Auto(None);
    /// Unload a model after so many seconds without a request; 0 keeps it.
    idle_unload_s: u64 = 900;
    /// Most tokens of context a loaded model is given, for all its requests together.
    context_tokens: u32 = 16_384;
    /// Most sequences that a worker computes at once.
    sequences: u32 = 64;
    /// Most requests that wait in a worker; one more is answered with 429.
    queue: u32 = 512;
    /// Threads that a worker computes with; `auto` takes one for each core.
    threads: Auto<u32> = Auto(None);
    /// Layers to put on a GPU; `auto` takes as many as fit. Without effect in a build without a GPU feature.
    gpu_layers: Auto<u32> = Auto(None);
    /// Most seconds from a request's arrival to its last token.
    deadline_s: u64 = 600;
    /// Seconds that running answers may take to end when the service is stopped.
    stop_grace_s: u64 = 20;
    /// Most bytes of a request's body.
    body_limit: Bytes = Bytes(8 << 20);
    /// Most connections at once.
    connections: u32 = 4096;
    /// Fetch the starter model when the service starts and has no model.
    starter: bool = true;
    /// Keep a started worker process waiting, so that a model that is not loaded answers sooner.
    spare_worker: bool = true;
    /// Where Hugging Face's hub is.
    hf_endpoint: String = "https://huggingface.co".to_owned();
    /// Token for Hugging Face's hub; better set in the environment (`FREEHOLD_HF_TOKEN`) than in a file.
    hf_token: Secret = Secret(None);
    /// Where people reach the service, such as `https://ai.example.org`; `auto` takes the address that it listens on.
    public_url: Auto<PublicUrl> = Auto(None);
    /// Take a client's address from the last entry of `X-Forwarded-For`: the service is behind a proxy that sets it.
    behind_proxy: bool = false;
    /// Who may sign up: `open` (everybody), `preview` (everybody, onto a waiting list; at once with an invite code) or `closed` (who is invited).
    signup: SignupMode = SignupMode::Closed;
    /// Credit of a tenant that is made by signing up, in nano-units of the currency.
    signup_credit: u64 = 0;
    /// Seconds that a session lasts.
    session_s: u32 = 1_209_600;
    /// How mail is sent: `smtp://USER@HOST:PORT?tls=required` (or `tls=opportunistic`, `tls=none`), `smtps://USER@HOST`, `file:FOLDER`, or nothing: then the operator admits people.
    mail: String = String::new();
    /// Password for the mail server; better set in the environment (`FREEHOLD_MAIL_PASSWORD`) than in a file.
    mail_password: Secret = Secret(None);
    /// Whom mail is from.
    mail_from: String = "Freehold <freehold@localhost>".to_owned();
    /// PEM file with a certificate authority to trust for the mail server, beside the known ones.
    mail_ca: String = String::new();
    /// OpenID Connect providers to log in through: a list of `{name, title, issuer, client_id}`, each with `client_secret_file` or `client_secret_env`, which names a variable, or neither for a public client.
    oidc: OidcProviders = OidcProviders(Vec::new());
    /// Days that the audit trail is kept.
    trail_days: u32 = 400;
    /// The currency of prices and accounts (ISO 4217). It stays what it is once prices are published.
    currency: Currency = Currency::EUR;
    /// Who sells, as it stands on invoices: the name, and further lines behind `\n`, your tax id among them.
    seller: String = "Freehold".to_owned();
    /// What stands at the end of every invoice: a bank account. Taxes and their notes are set with `freehold tax`.
    invoice_note: String = String::new();
    /// Days that a tenant has to pay an invoice.
    invoice_due_days: u32 = 14;
    /// Issue the invoices of each month by itself, an hour after its end (UTC); `false`: when the operator runs the month.
    invoice_monthly: bool = true;
    /// Milliseconds, 1000 at most, within which what an answer costs is flushed to the disk; 0: before its end goes out, which takes as long as the disk does. A killed process loses nothing either way; a loss of power gives the answers of so long away.
    usage_flush_ms: u32 = 0;
    /// Days that single usage records are kept, 62 at least; sums by day and invoices stay.
    usage_retention_days: u32 = 400;
    /// Most bytes that a tenant stores (responses, with what was asked), where no limit `storage_bytes` of its own is set.
    storage_bytes_default: Bytes = Bytes(1 << 30);
    /// Days that a response is stored, 1 at least; those that are stored already keep the time that they were given.
    response_retention_days: u32 = 30;
    /// Send budget alerts to addresses of this machine and of private networks too.
    webhook_private: bool = false;
    /// Write prompts and answers to the log.
    log_prompts: bool = false;
    /// How the log is written: `auto` (for people on a terminal, JSON otherwise), `human` or `json`.
    log_format: LogFormat = LogFormat::Auto;
    /// What the log holds: `error`, `warn`, `info`, `debug`, or a filter such as `info,freehold_control=debug`.
    log_level: String = "info".to_owned();
}

impl Options {
    /// The defaults, over them the file, over it the environment, over it `flags`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its origin.
    pub fn gather(file: Option<&Path>, environment: &[(String, String)], flags: &[(String, String)]) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        let elsewhere = [environment_of(environment), flags.to_vec()];
        if let Some((_, data)) = elsewhere.iter().flatten().rev().find(|(key, _)| key == "data") {
            options.set("the data folder", "data", data)?;
        }
        match file {
            Some(path) => options.read_file(path)?,
            None => {
                let path = options.data.join("freehold.toml");
                if path.exists() {
                    options.read_file(&path)?;
                }
            }
        }
        for (origin, values) in [("the environment", &elsewhere[0]), ("the command line", &elsewhere[1])] {
            for (key, value) in values {
                options.set(origin, key, value)?;
            }
        }
        Ok(options)
    }

    /// Whether the log is written as JSON.
    pub fn log_json(&self) -> bool {
        match self.log_format {
            LogFormat::Auto => !std::io::stderr().is_terminal(),
            LogFormat::Human => false,
            LogFormat::Json => true,
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), OptionsError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| OptionsError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| OptionsError::NotToml { path: path.to_owned(), why: error.to_string() })?;
        let origin = path.display().to_string();
        for (key, value) in &table {
            let value = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                list @ toml::Value::Array(_) if STRUCTURED.contains(&key.as_str()) => list.to_string(),
                other if Self::KEYS.contains(&key.as_str()) => {
                    let why = "expected text, a whole number, or true or false".to_owned();
                    return Err(OptionsError::BadValue { origin, key: key.clone(), value: other.to_string(), why });
                }
                _ => String::new(),
            };
            self.set(&origin, key, &value)?;
        }
        Ok(())
    }
}

/// Options whose value may be a list of tables in the file.
const STRUCTURED: &[&str] = &["oidc"];

/// `FREEHOLD_*` variables that name options. Others of the program's own are left alone.
fn environment_of(environment: &[(String, String)]) -> Vec<(String, String)> {
    const OTHER: &[&str] = &["key", "url", "config", "starter_gguf"];
    environment
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("FREEHOLD_")?.to_ascii_lowercase(), value.clone())))
        .filter(|(key, _)| !OTHER.contains(&key.as_str()) && !key.starts_with("test_"))
        .collect()
}

fn nearest(key: &str, keys: &[&str]) -> String {
    keys.iter()
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| format!(" Did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// `~/.local/share/freehold`, or as `XDG_DATA_HOME` says.
pub fn default_data_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    std::env::var_os("XDG_DATA_HOME").map_or_else(|| home().join(".local/share"), PathBuf::from).join("freehold")
}

/// A value that is written as text.
trait Setting: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

macro_rules! plain_setting {
    ($($type:ty, $what:literal;)*) => {$(
        impl Setting for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("expected {}", $what))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain_setting! {
    bool, "true or false";
    u32, "a whole number";
    u64, "a whole number";
    SocketAddr, "an address and a port, such as 127.0.0.1:8080 or [::]:8080";
    String, "text";
}

impl Setting for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
    }

    fn show(&self) -> String {
        match std::env::var("HOME") {
            Ok(home) => self.display().to_string().replacen(&home, "~", 1),
            Err(_) => self.display().to_string(),
        }
    }
}

/// A value, or what the service finds best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auto<T>(pub Option<T>);

impl<T: Setting> Setting for Auto<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text == "auto" {
            Ok(Self(None))
        } else {
            T::read(text).map(|value| Self(Some(value))).map_err(|why| format!("{why}, or `auto`"))
        }
    }

    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| "auto".to_owned(), Setting::show)
    }
}

/// An amount of memory or disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Setting for Bytes {
    fn read(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            _ => return Err("expected bytes with a unit, such as 512MiB or 8GiB".to_owned()),
        };
        let number: u64 = digits.trim().parse().map_err(|_| "expected bytes with a unit, such as 512MiB or 8GiB".to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| "too large".to_owned())
    }

    fn show(&self) -> String {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
            bytes => bytes.to_string(),
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Option<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "unset" })
    }
}

impl Setting for Secret {
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }

    fn show(&self) -> String {
        String::new()
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("expected auto, human or json".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flags_win_over_the_environment_and_it_over_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("freehold.toml");
        std::fs::write(&file, "queue = 1\nsequences = 1\nthreads = 1\nmemory_budget = \"2GiB\"\n").expect("written");
        let environment = pairs(&[("FREEHOLD_SEQUENCES", "2"), ("FREEHOLD_THREADS", "2"), ("FREEHOLD_KEY", "x"), ("PATH", "y")]);
        let options = Options::gather(Some(&file), &environment, &pairs(&[("threads", "3")])).expect("good options");
        assert_eq!((options.queue, options.sequences, options.threads), (1, 2, Auto(Some(3))));
        assert_eq!(options.memory_budget, Auto(Some(Bytes(2 << 30))));
    }

    #[test]
    fn what_is_wrong_is_refused_with_what_would_be_right() {
        let check = |key: &str, value: &str, expect: &str| {
            let error = Options::gather(None, &[], &pairs(&[("data", "/nonexistent"), (key, value)])).expect_err("refused").to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("lisen", "x", "Did you mean `listen`?");
        check("zzz", "x", "there is no option `zzz`. All options");
        check("listen", "8080", "such as 127.0.0.1:8080");
        check("memory_budget", "8 parsecs", "such as 512MiB or 8GiB, or `auto`");
        check("memory_budget", "99999999999TiB", "too large");
        check("queue", "-1", "a whole number");
        check("log_format", "xml", "auto, human or json");
    }

    #[test]
    fn a_file_with_tables_or_without_toml_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("freehold.toml");
        for (text, expect) in
            [("[server]\nport=1", "there is no option `server`"), ("listen = [1]", "expected text"), ("listen", "is not TOML")]
        {
            std::fs::write(&file, text).expect("written");
            let error = Options::gather(Some(&file), &[], &[]).expect_err("refused").to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
