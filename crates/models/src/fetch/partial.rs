//! A file that is not whole yet: `NAME.partial`, with `NAME.partial.json` beside it saying what it is part of.
//!
//! **Invariant:** whoever holds a [`Partial`] holds the lock on it; there is one at a time for a name, in all
//! processes. The hash is always that of the bytes written so far.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::work::{self, Reporter};
use super::{FetchError, FetchedPart};

/// What a partial file is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The source's mark of this version of the file.
    pub(super) etag: String,
    /// Its whole length.
    pub(super) bytes_total: u64,
}

pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

impl Partial {
    /// Opens and locks the partial file of `target`, and goes on from what is there.
    ///
    /// What is there is kept only if it is of the same `origin`; it is then hashed.
    pub(super) fn resume(target: &Path, origin: &Origin, reporter: &Reporter) -> Result<Self, FetchError> {
        let mut partial = Self::open(target)?;
        let sidecar = beside(target, ".partial.json");
        let known = fs::read(&sidecar).ok().and_then(|text| serde_json::from_slice::<Origin>(&text).ok());
        let length = partial.file.metadata().map_err(|source| FetchError::disk("read", &partial.path, source))?.len();
        if known.as_ref() == Some(origin) && length <= origin.bytes_total {
            let Self { file, path, hasher, bytes, .. } = &mut partial;
            *bytes = work::hash_rest(file, path, length, hasher, reporter)?;
        } else {
            partial.restart()?;
            let text = serde_json::to_vec(origin).map_err(|error| FetchError::Internal { problem: error.to_string() })?;
            fs::write(&sidecar, text).map_err(|source| FetchError::disk("write", &sidecar, source))?;
        }
        Ok(partial)
    }

    /// Opens, locks and empties the partial file of `target`.
    pub(super) fn fresh(target: &Path) -> Result<Self, FetchError> {
        let mut partial = Self::open(target)?;
        partial.restart()?;
        Ok(partial)
    }

    fn open(target: &Path) -> Result<Self, FetchError> {
        let path = beside(target, ".partial");
        loop {
            let fail = |source| FetchError::disk("open", &path, source);
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { file: target.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(FetchError::disk("lock", &path, source)),
            }
            let opened = file.metadata().map_err(fail)?;
            let is_still_there = fs::metadata(&path).is_ok_and(|named| (named.ino(), named.dev()) == (opened.ino(), opened.dev()));
            if is_still_there {
                return Ok(Self { target: target.to_owned(), path, file, hasher: Sha256::new(), bytes: 0 });
            }
        }
    }

    /// Bytes that are there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Drops what is there.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| FetchError::disk("write", &self.path, source))?;
        self.hasher = Sha256::new();
        self.bytes = 0;
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if let Err(source) = self.file.write_all(bytes) {
            // What was written of `bytes` is unknown to the hash: cut it off, so that both agree again.
            let cut = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            return Err(FetchError::disk("write", &self.path, cut.err().unwrap_or(source)));
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Verifies the hash, makes the file durable and gives it its name. A wrong hash removes it.
    pub(super) fn finish(self, expected_sha256: Option<&str>) -> Result<FetchedPart, FetchError> {
        let sha256 = hex::encode(self.hasher.clone().finalize());
        if let Some(expected) = expected_sha256.filter(|expected| !expected.eq_ignore_ascii_case(&sha256)) {
            self.discard()?;
            let file = self.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(FetchError::WrongHash { file, expected: expected.to_owned(), got: sha256 });
        }
        self.file.sync_all().map_err(|source| FetchError::disk("write", &self.path, source))?;
        fs::rename(&self.path, &self.target).map_err(|source| FetchError::disk("name", &self.target, source))?;
        remove_if_there(&beside(&self.target, ".partial.json"))?;
        if let Some(folder) = self.target.parent() {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| FetchError::disk("write", folder, source))?;
        }
        Ok(FetchedPart { path: self.target, sha256, bytes: self.bytes, is_verified: expected_sha256.is_some() })
    }

    /// Removes what is there.
    pub(super) fn discard(&self) -> Result<(), FetchError> {
        remove_if_there(&beside(&self.target, ".partial.json"))?;
        remove_if_there(&self.path)
    }
}

fn remove_if_there(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::disk("remove", path, error)),
        _ => Ok(()),
    }
}
