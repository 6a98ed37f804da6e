//! Passwords: argon2id (RFC 9106; 19 MiB, two passes, as OWASP recommends), a few at a time on threads that may block.
//!
//! **Invariant:** a check takes the same work whether there is a hash to check against or not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use freehold_domain::{Error, ErrorCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Fewest characters of a password.
pub const CHARS_MIN: usize = 10;
/// Most characters of a password.
pub const CHARS_MAX: usize = 200;
/// Most passwords that wait to be hashed; one more is told to come back.
const WAITING_MAX: usize = 64;

/// A password as somebody typed it. Never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct Password(String);

impl Password {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Refuses what is too short to be safe or too long to be a password.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<(), Error> {
        if self.fits() {
            Ok(())
        } else {
            Err(Error::invalid("password", format!("A password is {CHARS_MIN} to {CHARS_MAX} characters long.")))
        }
    }

    fn fits(&self) -> bool {
        (CHARS_MIN..=CHARS_MAX).contains(&self.0.chars().take(CHARS_MAX + 1).count())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

pub(crate) struct Passwords {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// The hash of a password that nobody has.
    nobodys: String,
}

fn hash(password: &str) -> Result<String, Error> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| Error::internal(format!("no randomness for a salt: {error}")))?;
    let salt = SaltString::encode_b64(&salt).map_err(Error::internal)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(Error::internal)?.to_string())
}

fn verify(password: &str, phc: &str) -> Result<bool, Error> {
    let parsed = PasswordHash::new(phc).map_err(|error| Error::internal(format!("a stored password hash: {error}")))?;
    match Argon2::default().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(Error::internal(format!("a stored password hash: {error}"))),
    }
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Half of the cores stay for everything else.
        let places = Arc::new(Semaphore::new(cores.div_ceil(2)));
        Ok(Self { places, waiting: AtomicUsize::new(0), nobodys: hash("nobody's")? })
    }

    /// The hash to keep.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, Error> {
        let text = password.0.clone();
        self.work(move || hash(&text)).await
    }

    /// Whether the password is the one that was hashed; never when there is no hash.
    pub(crate) async fn verify(&self, password: &Password, phc: Option<&str>) -> Result<bool, Error> {
        if !password.fits() {
            return Ok(false);
        }
        let (text, phc, is_real) = (password.0.clone(), phc.unwrap_or(&self.nobodys).to_owned(), phc.is_some());
        Ok(self.work(move || verify(&text, &phc)).await? && is_real)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let _turn = Turn::take(&self.waiting)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        done.await.map_err(Error::internal)?
    }
}

/// One of those who wait; gives the turn back also when the request is given up.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Error> {
        let turn = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            let message = "Too many people log in at this moment: try again.";
            return Err(Error::new(ErrorCode::RateLimited, message).with_retry_after_s(2));
        }
        Ok(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::new().expect("randomness");
        let kept = passwords.hash(&Password::new("correct horse")).await.expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(passwords.verify(&Password::new("correct horse"), Some(&kept)).await.expect("checked"));
        for wrong in ["correct horsf", "", "Correct horse", &"x".repeat(10_000)] {
            assert!(!passwords.verify(&Password::new(wrong), Some(&kept)).await.expect("checked"));
        }
        assert!(!passwords.verify(&Password::new("nobody's.."), None).await.expect("checked"), "nobody's is nobody's");
        assert!(passwords.verify(&Password::new("correct horse"), Some("damaged")).await.is_err());
    }

    #[test]
    fn the_length_is_what_counts() {
        for (text, fits) in [("123456789", false), ("1234567890", true), ("ääääääääää", true)] {
            assert_eq!(Password::new(text).check().is_ok(), fits, "{text}");
        }
        assert!(Password::new("x".repeat(200)).check().is_ok() && Password::new("x".repeat(201)).check().is_err());
        assert_eq!(format!("{:?}", Password::new("correct horse")), "Password(..)");
    }
}
