//! Secrets that the service must be able to read again, sealed with a key that lies beside the database and not in it.
//!
//! A copy of the database alone, a backup or an export, gives none of them away.
//!
//! **Invariant:** what was sealed for one thing opens for no other: the thing's id is part of what is authenticated.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use freehold_domain::Error;
use hmac::{Hmac, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

const FILE: &str = "seal.key";
/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;

/// A key of the service that lies in a file of its own: made at the first start, readable by the owner alone.
pub(crate) fn key_of_file(dir: &Path, name: &str) -> io::Result<[u8; KEY_LEN]> {
    let path = dir.join(name);
    let mut key = [0; KEY_LEN];
    match File::open(&path) {
        Ok(mut file) => {
            file.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
            let temporary = dir.join(format!("{name}.new"));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&key).and_then(|()| file.sync_all())?;
            std::fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// The service's seal.
pub(crate) struct Seal {
    key: LessSafeKey,
    names: [u8; KEY_LEN],
}

impl Seal {
    /// The seal of a data directory.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Self::new(&key_of_file(dir, FILE)?)
    }

    fn new(key: &[u8; KEY_LEN]) -> io::Result<Self> {
        let sealing = UnboundKey::new(&CHACHA20_POLY1305, &mac(key, &[b"seal"]))
            .map_err(|_| io::Error::other("the key for secrets cannot be used"))?;
        Ok(Self { key: LessSafeKey::new(sealing), names: mac(key, &[b"names"]) })
    }

    /// Seals a secret of the thing with this id.
    pub(crate) fn close(&self, id: &str, secret: &str) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(Error::internal)?;
        let mut text = secret.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id), &mut text)
            .map_err(|_| Error::internal("a secret cannot be sealed"))?;
        Ok([&nonce[..], &text].concat())
    }

    /// Reads a sealed secret again.
    ///
    /// # Errors
    /// `internal`: another key sealed it, or it is another thing's, or damaged.
    pub(crate) fn read(&self, id: &str, sealed: &[u8]) -> Result<String, Error> {
        let unreadable =
            || Error::internal(format!("the sealed secret of {id} cannot be read: is `{FILE}` the one that it was sealed with?"));
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(unreadable)?;
        let mut text = text.to_vec();
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(id), &mut text).map_err(|_| unreadable())?;
        String::from_utf8(plain.to_vec()).map_err(|_| unreadable())
    }

    /// Another name for something, which says nothing of it to who does not have the key.
    pub(crate) fn pseudonym(&self, name: &str) -> String {
        hex::encode(&mac(&self.names, &[name.as_bytes()])[..16])
    }
}

/// HMAC-SHA256 of the parts, one after the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    // A key of any length is good for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; KEY_LEN] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_thing_with_its_key_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let seal = Seal::open(dir.path()).expect("made");
        let sealed = seal.close("mod_1", "sk-secret").expect("sealed");
        assert!(!sealed.windows(9).any(|window| window == b"sk-secret"));
        assert_eq!(Seal::open(dir.path()).expect("read").read("mod_1", &sealed).expect("opens"), "sk-secret");
        assert!(seal.read("mod_2", &sealed).is_err());
        assert!(seal.read("mod_1", &sealed[..8]).is_err());
        let mut damaged = sealed.clone();
        damaged[NONCE_LEN] ^= 1;
        assert!(seal.read("mod_1", &damaged).is_err());
        let other = tempfile::tempdir().expect("a folder");
        assert!(Seal::open(other.path()).expect("made").read("mod_1", &sealed).is_err());
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_pseudonym_is_the_same_every_time_and_another_for_another() {
        let seal = Seal::new(&[7; KEY_LEN]).expect("a seal");
        assert_eq!(seal.pseudonym("a"), seal.pseudonym("a"));
        assert_ne!(seal.pseudonym("a"), seal.pseudonym("b"));
        assert_ne!(seal.pseudonym("a"), Seal::new(&[8; KEY_LEN]).expect("a seal").pseudonym("a"));
    }
}
