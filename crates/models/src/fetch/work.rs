//! Long work on files, done away from the async threads: it reports how far it is and stops when nobody waits.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{FetchError, Progress, ProgressFn};

/// Bytes that are read or written at once.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// What the work tells those who wait for it.
pub(super) struct Reporter {
    done: watch::Sender<u64>,
    is_cancelled: Arc<AtomicBool>,
}

impl Reporter {
    /// Says how many bytes are done. Returns whether to go on.
    pub(super) fn report(&self, bytes_done: u64) -> bool {
        self.done.send_replace(bytes_done);
        !self.is_cancelled.load(Ordering::Relaxed)
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread of its own and passes on its progress; `template` is what is reported, with the bytes
/// done filled in. Dropping the future tells the work to stop.
pub(super) async fn run<T: Send + 'static>(
    template: Progress,
    progress: ProgressFn<'_>,
    work: impl FnOnce(&Reporter) -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let (done, mut watched) = watch::channel(0);
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = CancelOnDrop(Arc::clone(&is_cancelled));
    let reporter = Reporter { done, is_cancelled };
    let handle = tokio::task::spawn_blocking(move || work(&reporter));
    while watched.changed().await.is_ok() {
        let bytes_done = template.bytes_done + *watched.borrow_and_update();
        progress(Progress { bytes_done, ..template.clone() });
    }
    handle.await.map_err(|error| FetchError::Internal { problem: error.to_string() })?
}

pub(super) fn cancelled() -> FetchError {
    FetchError::Internal { problem: "it was cancelled".to_owned() }
}

/// Feeds what is left of `file`, at most `bytes_max`, to `hasher`. Returns how many bytes there were.
pub(super) fn hash_rest(file: &mut File, path: &Path, bytes_max: u64, hasher: &mut Sha256, reporter: &Reporter) -> Result<u64, FetchError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut limited = file.take(bytes_max);
    let mut done = 0_u64;
    loop {
        let read = limited.read(&mut block).map_err(|source| FetchError::disk("read", path, source))?;
        if read == 0 {
            return Ok(done);
        }
        hasher.update(&block[..read]);
        done += read as u64;
        if !reporter.report(done) {
            return Err(cancelled());
        }
    }
}

/// The SHA-256 of a whole file in hexadecimal, and its length.
pub(super) fn hash_file(path: &Path, reporter: &Reporter) -> Result<(String, u64), FetchError> {
    let mut file = File::open(path).map_err(|source| FetchError::disk("open", path, source))?;
    let mut hasher = Sha256::new();
    let bytes = hash_rest(&mut file, path, u64::MAX, &mut hasher, reporter)?;
    Ok((hex::encode(hasher.finalize()), bytes))
}

/// The last part of a path, as text for people.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
