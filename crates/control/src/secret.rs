//! The text of an API key's secret.
//!
//! `fh-` (an operator's: `fho-`), the 26 characters of the key's id, 43 random characters (256 bits), and 6
//! characters that check the rest. The id makes the lookup one read by primary key; the check tells a cut-off or
//! mistyped secret from a wrong one without asking the store, and lets scanners recognise leaked secrets.
//!
//! Only the SHA-256 of a secret is kept. A slow password hash would add nothing: nobody can search 256 random bits.
//!
//! **Invariant:** a secret is never shown by `Debug`.

use std::fmt;
use std::str::FromStr;

use freehold_domain::KeyId;
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LEN: usize = 26;
const RANDOM_LEN: usize = 43;
const CHECK_LEN: usize = 6;

/// What kind of key a secret says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `fho-`
    Operator,
    /// `fh-`
    Tenant,
}

impl SecretKind {
    const fn prefix(self) -> &'static str {
        match self {
            SecretKind::Operator => "fho-",
            SecretKind::Tenant => "fh-",
        }
    }
}

/// A secret of the right form.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    kind: SecretKind,
    key: KeyId,
}

/// The text is not a secret: cut off, mistyped or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API key is not of the right form: it starts with `fh-` or `fho-`; check that it was copied whole")]
pub struct MalformedSecret;

impl Secret {
    /// Makes a new secret for a key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate(kind: SecretKind, key: KeyId) -> Result<Self, getrandom::Error> {
        let id = key.to_string();
        let id = id.strip_prefix(KeyId::PREFIX).and_then(|rest| rest.strip_prefix('_')).unwrap_or(&id);
        let body = format!("{}{id}{}", kind.prefix(), random_text()?);
        Ok(Self { text: format!("{body}{}", check_of(&body)), kind, key })
    }

    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The kind that the secret says that it is; the stored key decides.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The key that it says that it belongs to.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// What a person recognises it by: the start and the last four characters, which are of the check.
    pub fn hint(&self) -> String {
        let start = self.kind.prefix().len() + 4;
        format!("{}…{}", &self.text[..start], &self.text[self.text.len() - 4..])
    }
}

impl FromStr for Secret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let (kind, rest) = [SecretKind::Operator, SecretKind::Tenant]
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
            .ok_or(MalformedSecret)?;
        if rest.len() != ID_LEN + RANDOM_LEN + CHECK_LEN || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(MalformedSecret);
        }
        let (body, check) = text.split_at(text.len() - CHECK_LEN);
        if check_of(body) != check {
            return Err(MalformedSecret);
        }
        let key = format!("{}_{}", KeyId::PREFIX, &rest[..ID_LEN]).parse().map_err(|_| MalformedSecret)?;
        Ok(Self { text: text.to_owned(), kind, key })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("hint", &self.hint()).finish_non_exhaustive()
    }
}

/// 43 letters, each of the 62 equally likely: bytes past the largest multiple of 62 are drawn again.
pub(crate) fn random_text() -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(RANDOM_LEN);
    let mut bytes = [0_u8; 64];
    while text.len() < RANDOM_LEN {
        getrandom::fill(&mut bytes)?;
        let letters = bytes.iter().filter(|&&byte| byte < 248).map(|byte| char::from(LETTERS[usize::from(byte % 62)]));
        text.extend(letters.take(RANDOM_LEN - text.len()));
    }
    Ok(text)
}

fn check_of(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut value = digest[..8].iter().fold(0_u64, |value, &byte| (value << 8) | u64::from(byte));
    let mut check = String::with_capacity(CHECK_LEN);
    for _ in 0..CHECK_LEN {
        check.push(char::from(LETTERS[(value % 62) as usize]));
        value /= 62;
    }
    check
}
