//! The folders of models: `DIR/models/NAME/`, with `work/` in it for what a task writes before it is chosen and
//! `adapters/` for LoRA adapters.
//!
//! **Invariant:** only folders under `DIR/models` are ever removed, and their names are parsed names: no path that a
//! caller gave is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use freehold_domain::{Error, ModelName};
use freehold_store::Store;
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// How long the folder of a model that was never added is kept, so that a download can go on.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folder of one model.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn of(settings: &Settings, model: &ModelName) -> Self {
        Self(settings.models_dir().join(model.as_str()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where tasks write.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(crate) fn adapters(&self) -> PathBuf {
        self.0.join("adapters")
    }

    /// Takes a file that a task wrote over into the folder.
    pub(super) fn keep(&self, file: &Path) -> io::Result<PathBuf> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let kept = self.0.join(name);
        fs::rename(file, &kept)?;
        fs::File::open(&self.0)?.sync_all()?;
        Ok(kept)
    }

    /// Removes what tasks left.
    pub(super) fn clear_work(&self) {
        remove(&self.work());
    }

    /// Removes a file if it lies in the folder itself.
    pub(super) fn remove_file(&self, file: &Path) {
        if file.parent() != Some(&self.0) {
            return;
        }
        if let Err(error) = fs::remove_file(file) {
            tracing::warn!(path = %file.display(), %error, "cannot be removed");
        }
    }

    /// Removes the folder and all that is in it.
    pub(super) fn remove(&self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot be removed"),
    }
}

/// SHA-256 of a file in hex, and its size.
pub(crate) fn digest(path: &Path) -> Result<(String, u64), Error> {
    let hash = || {
        let mut file = fs::File::open(path)?;
        let mut hasher = Sha256::new();
        let bytes = io::copy(&mut file, &mut hasher)?;
        io::Result::Ok((hex::encode(hasher.finalize()), bytes))
    };
    hash().map_err(|error| Error::internal(format!("{}: {error}", path.display())))
}

/// After a start: removes what tasks left, and folders of models that were never added. Blocks.
pub(crate) fn reconcile(settings: &Settings, store: &Store, now: SystemTime) {
    let entries = match fs::read_dir(settings.models_dir()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, "the models' folder cannot be read");
            return;
        }
    };
    for entry in entries.flatten() {
        // What has no model's name is not ours.
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<ModelName>().ok()) else { continue };
        let folder = Folder::of(settings, &name);
        folder.clear_work();
        match store.model(&name) {
            Ok(Some(row)) if row.name == name => {}
            Ok(_) if newest(folder.path()).is_some_and(|newest| newest + ABANDONED_AFTER < now) => {
                tracing::info!(model = %name, "removed the files of a model that was never added");
                folder.remove();
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(model = %name, %error, "cannot be looked up"),
        }
    }
}

/// When anything in a folder last changed.
fn newest(folder: &Path) -> Option<SystemTime> {
    let inside = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok());
    inside.chain(fs::metadata(folder).ok()?.modified().ok()).max()
}
