//! Random text that proves something to whoever shows it: sessions, links of mails, invite codes.
//!
//! 43 characters, 256 bits. Only the SHA-256 is kept.
//!
//! **Invariant:** a token is never shown by `Debug` and never written to a log.

use std::fmt;

use freehold_domain::Error;
use sha2::{Digest, Sha256};

use crate::secret::random_text;

/// Longest text that is looked up at all.
const LEN_MAX: usize = 128;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn generate() -> Result<Self, Error> {
        random_text().map(Self).map_err(|error| Error::internal(format!("no randomness for a token: {error}")))
    }

    /// What somebody shows as a token; `None` when it cannot be one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        ((1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Another text that only who has the token can make, and that does not give it away.
    pub(crate) fn derive(&self, purpose: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(purpose.as_bytes());
        hasher.update([0]);
        hasher.update(self.0.as_bytes());
        hex::encode(hasher.finalize())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
