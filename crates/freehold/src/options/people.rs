//! The values of options about people that are more than a word or a number.

use freehold_control::people::mail::MailSettings;
use freehold_control::people::{PeopleSettings, ProviderSettings, SignupMode};
use serde::{Deserialize, Serialize};

use super::{Options, OptionsError, Setting};

/// Most bytes of a file with a secret or a certificate.
const FILE_LEN_MAX: u64 = 1 << 20;

impl Setting for SignupMode {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

/// An address of the service, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(pub String);

impl Setting for PublicUrl {
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        if host.is_some_and(is_host) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected an address such as https://ai.example.org".to_owned())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A provider, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcProvider {
    name: String,
    title: Option<String>,
    issuer: String,
    client_id: String,
    client_secret_file: Option<String>,
    client_secret_env: Option<String>,
}

/// Providers to log in through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProviders(pub Vec<OidcProvider>);

#[derive(Deserialize)]
struct Table {
    oidc: Vec<OidcProvider>,
}

impl OidcProvider {
    fn settings(&self, secret: Option<String>) -> ProviderSettings {
        ProviderSettings {
            name: self.name.clone(),
            title: self.title.clone().unwrap_or_else(|| self.name.clone()),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: secret,
        }
    }

    fn secret(&self) -> Result<Option<String>, String> {
        match (&self.client_secret_file, &self.client_secret_env) {
            (Some(_), Some(_)) => Err("a provider has client_secret_file or client_secret_env, not both".to_owned()),
            (Some(path), None) => read_file(path).map(|text| Some(text.trim().to_owned())),
            (None, Some(name)) => std::env::var(name).map(Some).map_err(|_| format!("the variable {name} is not set")),
            (None, None) => Ok(None),
        }
    }
}

impl Setting for OidcProviders {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let table: Table = toml::from_str(&format!("oidc = {text}")).map_err(|error| {
            format!("expected [{{name = \"...\", issuer = \"https://...\", client_id = \"...\"}}]: {}", error.message())
        })?;
        let settings: Vec<_> = table.oidc.iter().map(|provider| provider.settings(None)).collect();
        ProviderSettings::check(&settings).map_err(|error| error.to_string())?;
        Ok(Self(table.oidc))
    }

    fn show(&self) -> String {
        String::new()
    }
}

fn read_file(path: &str) -> Result<String, String> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text)).map_err(unreadable)?;
    Ok(text)
}

impl Options {
    /// What is set about people. Reads the files and variables that options name.
    ///
    /// # Errors
    /// The first thing that cannot be used.
    pub fn people(&self, address: &str) -> Result<PeopleSettings, OptionsError> {
        let bad = |key: &str, value: &str| {
            let (key, value) = (key.to_owned(), value.to_owned());
            move |why: String| OptionsError::BadValue { origin: "the options".to_owned(), key, value, why }
        };
        let ca_pem = if self.mail_ca.is_empty() {
            None
        } else {
            Some(read_file(&self.mail_ca).map_err(bad("mail_ca", &self.mail_ca))?.into_bytes())
        };
        let mail = MailSettings::parse(&self.mail, self.mail_password.0.as_deref(), ca_pem).map_err(bad("mail", &self.mail))?;
        let provider = |provider: &OidcProvider| {
            let secret = provider.secret().map_err(bad("oidc", &provider.name))?;
            Ok(provider.settings(secret))
        };
        Ok(PeopleSettings {
            signup: self.signup,
            public_url: self.public_url.0.as_ref().map_or_else(|| address.to_owned(), |url| url.0.clone()),
            session_s: self.session_s,
            mail,
            mail_from: self.mail_from.clone(),
            providers: self.oidc.0.iter().map(provider).collect::<Result<_, _>>()?,
            signup_credit_nano: i64::try_from(self.signup_credit).unwrap_or(i64::MAX),
            trail_days: self.trail_days,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_and_addresses() {
        let providers = OidcProviders::read("[{name = \"a\", issuer = \"https://id.example.org\", client_id = \"c\"}]").expect("good");
        assert_eq!(providers.0.len(), 1);
        for bad in ["x", "[{name = \"a\"}]", "[{name = \"a\", issuer = \"http://id.example.org\", client_id = \"c\"}]", "[{nam = 1}]"] {
            assert!(OidcProviders::read(bad).is_err(), "{bad}");
        }
        assert_eq!(PublicUrl::read("https://a.example.org/").map(|url| url.0), Ok("https://a.example.org".to_owned()));
        for bad in ["", "a.example.org", "https://", "https://a/b", "ftp://x", "https://a b", "http://a\r\nx: y"] {
            assert!(PublicUrl::read(bad).is_err(), "{bad}");
        }
    }
}
