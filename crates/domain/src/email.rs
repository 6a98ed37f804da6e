//! E-mail addresses of people.
//!
//! A subset of RFC 5321 that every mail system delivers to: ASCII, no quoted local part, no address literal.
//!
//! **Invariant:** an address that has been parsed has no character that means something in a mail's head, a URL or a
//! shell, and two addresses that differ in case only are the same account.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest address, in bytes (RFC 5321, section 4.5.3.1.3).
pub const EMAIL_LEN_MAX: usize = 254;
const LOCAL_LEN_MAX: usize = 64;
const LABEL_LEN_MAX: usize = 63;

/// Why a text is not an address that mail can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: expected something like `name@example.org`, at most 254 characters")]
pub struct EmailError;

/// An e-mail address, in small letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(local, _)| local)
    }
}

fn is_local(text: &str) -> bool {
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_=~".contains(&b));
    text.len() <= LOCAL_LEN_MAX && text.split('.').all(is_atom)
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.split('.').all(is_label)
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        match text.split_once('@') {
            Some((local, domain)) if text.len() <= EMAIL_LEN_MAX && is_local(local) && is_domain(domain) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(EmailError),
        }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["a@b", "ada@example.org", "Ada.Lovelace+cloud@mail.example.org", "x_y-z@localhost"] {
            let email: Email = good.parse().expect(good);
            assert_eq!(email.as_str(), good.to_ascii_lowercase());
        }
        let long = format!("{}@example.org", "a".repeat(65));
        let deep = format!("a@{}", "b.".repeat(200));
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b@c",
            "a@b..c",
            ".a@b",
            "a.@b",
            "a@-b",
            "a@b-",
            "ä@b.org",
            "a@b.org\r\nBcc: x@y.org",
            "\"a b\"@c.org",
            "a@[127.0.0.1]",
            "<a@b.org>",
            "a@b.org,c@d.org",
            "a'--@b.org",
            &long,
            &deep,
        ] {
            assert_eq!(bad.parse::<Email>(), Err(EmailError), "{bad}");
        }
    }
}
