//! Takes over a file that is on this machine already.
//!
//! A hard link costs no room and survives that the original is removed; it shares later changes of the original's
//! content, which its recorded hash then shows. Across file systems the file is copied.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::download::require_room;
use super::partial::Partial;
use super::work::{self, BLOCK_BYTES, Reporter, name_of};
use super::{FetchError, FetchOptions, Fetched, FetchedPart, Progress, ProgressFn, Step};
use crate::gguf;

/// How a local file is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// A hard link if both are on one file system, else a copy.
    #[default]
    Link,
    /// Always a copy.
    Copy,
}

/// Takes over the file at `path`, and the other parts if it is the first of several.
pub(super) async fn fetch(path: &Path, options: &FetchOptions, progress: ProgressFn<'_>) -> Result<Fetched, FetchError> {
    let absolute = canonical(path)?;
    let mut parts = Vec::new();
    for part in parts_of(&absolute)? {
        let room = options.disk_reserve_bytes;
        parts.push(import_as(&part, &options.folder.join(name_of(&part)), options.import_mode, room, progress).await?);
    }
    Fetched::new(absolute.display().to_string(), parts).ok_or_else(|| FetchError::NotFound { path: path.to_owned() })
}

/// Puts the file at `path` into `folder` under its own name, and computes its SHA-256.
///
/// # Errors
/// The file cannot be read or written, or another file has its name there.
pub async fn import(path: &Path, folder: &Path, mode: ImportMode, progress: ProgressFn<'_>) -> Result<FetchedPart, FetchError> {
    let path = canonical(path)?;
    import_as(&path, &folder.join(name_of(&path)), mode, 0, progress).await
}

fn canonical(path: &Path) -> Result<PathBuf, FetchError> {
    let absolute = fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FetchError::NotFound { path: path.to_owned() },
        _ => FetchError::disk("open", path, error),
    })?;
    let facts = fs::metadata(&absolute).map_err(|source| FetchError::disk("open", path, source))?;
    match facts.is_file() {
        true => Ok(absolute),
        false => Err(FetchError::disk("read", path, io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))),
    }
}

/// The other parts of `NAME-00001-of-0000N.gguf`, by their names.
fn parts_of(path: &Path) -> Result<Vec<PathBuf>, FetchError> {
    let name = name_of(path);
    let count = name.rsplit_once("-of-").and_then(|(_, rest)| rest.strip_suffix(".gguf")?.parse::<u32>().ok());
    let Some(count) = count.filter(|count| (2..=1000).contains(count)) else { return Ok(vec![path.to_owned()]) };
    let names: Option<Vec<String>> = (0..count).map(|index| gguf::part_name(&name, index, count)).collect();
    let Some(names) = names else { return Ok(vec![path.to_owned()]) };
    names.iter().map(|name| canonical(&path.with_file_name(name))).collect()
}

/// Puts the file at `path` to `target`.
pub(super) async fn import_as(
    path: &Path,
    target: &Path,
    mode: ImportMode,
    reserve: u64,
    progress: ProgressFn<'_>,
) -> Result<FetchedPart, FetchError> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|source| FetchError::disk("make the folder", folder, source))?;
    let target = target.to_owned();
    let facts = fs::metadata(path).map_err(|source| FetchError::disk("open", path, source))?;
    let file = name_of(&target);
    let template = |step: Step| Progress { step, file: file.clone(), bytes_done: 0, bytes_total: Some(facts.len()) };
    let is_linked = match fs::metadata(&target) {
        Ok(there) => {
            let is_same = (there.ino(), there.dev()) == (facts.ino(), facts.dev());
            if !is_same && !has_same_content(path, &target, template(Step::Verifying), progress).await? {
                return Err(FetchError::Exists { path: target });
            }
            true
        }
        Err(_) => mode == ImportMode::Link && fs::hard_link(path, &target).is_ok(),
    };
    if is_linked {
        let hashed = target.clone();
        let (sha256, bytes) = work::run(template(Step::Verifying), progress, move |reporter| work::hash_file(&hashed, reporter)).await?;
        return Ok(FetchedPart { path: target, sha256, bytes, is_verified: false });
    }
    require_room(folder, facts.len(), reserve)?;
    let original = path.to_owned();
    work::run(template(Step::Copying), progress, move |reporter| copy(&original, &target, reporter)).await
}

async fn has_same_content(one: &Path, other: &Path, template: Progress, progress: ProgressFn<'_>) -> Result<bool, FetchError> {
    let (one, other) = (one.to_owned(), other.to_owned());
    let length = |path: &Path| fs::metadata(path).map_or(0, |facts| facts.len());
    if length(&one) != length(&other) {
        return Ok(false);
    }
    work::run(template, progress, move |reporter| Ok(work::hash_file(&one, reporter)? == work::hash_file(&other, reporter)?)).await
}

fn copy(original: &Path, target: &Path, reporter: &Reporter) -> Result<FetchedPart, FetchError> {
    let mut partial = Partial::fresh(target)?;
    let file = File::open(original).map_err(|source| FetchError::disk("open", original, source))?;
    let copied = append_all(&mut partial, file, original, u64::MAX, reporter);
    match copied {
        Ok(()) => Ok(FetchedPart { is_verified: false, ..partial.finish(None)? }),
        Err(error) => {
            partial.discard()?;
            Err(error)
        }
    }
}

/// Appends what `reader` gives, at most `bytes_max`, to the partial file.
pub(super) fn append_all(
    partial: &mut Partial,
    reader: impl Read,
    path: &Path,
    bytes_max: u64,
    reporter: &Reporter,
) -> Result<(), FetchError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut reader = reader.take(bytes_max);
    loop {
        let read = reader.read(&mut block).map_err(|source| FetchError::disk("read", path, source))?;
        if read == 0 {
            return Ok(());
        }
        partial.append(&block[..read])?;
        if !reporter.report(partial.bytes()) {
            return Err(work::cancelled());
        }
    }
}
