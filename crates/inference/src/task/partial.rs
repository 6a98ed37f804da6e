//! Files that are being written.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::TaskError;

/// What to remove if the process has to end now.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes a file if the process has to end while this exists.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// For a file that exists or is about to.
    pub fn new(path: &Path) -> Self {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Self { path: path.to_owned() }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = unfinished.iter().position(|path| *path == self.path) {
            unfinished.swap_remove(index);
        }
    }
}

/// A file that gets its name only when it is whole; dropped before that, it is removed.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    _unfinished: Unfinished,
}

impl Partial {
    /// Prepares to write `target`; what an earlier process left of it is removed.
    pub fn new(target: &Path) -> Result<Self, TaskError> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| TaskError::File { action: "create", path: folder.to_owned(), error })?;
        let mut path = target.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        remove(&path);
        let unfinished = Unfinished::new(&path);
        Ok(Self { path, target: target.to_owned(), _unfinished: unfinished })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, durably.
    pub fn finish(self) -> Result<(), TaskError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| TaskError::File { action, path, error }
        };
        let file = std::fs::File::open(&self.path).map_err(failed("open", &self.path))?;
        file.sync_all().map_err(failed("write", &self.path))?;
        std::fs::rename(&self.path, &self.target).map_err(failed("rename", &self.path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "a file could not be removed"),
    }
}

/// Removes everything that is being written: for the end of the process.
pub(super) fn remove_unfinished() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        remove(path);
    }
}
