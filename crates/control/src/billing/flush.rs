//! Flushes what was written without waiting for the disk, soon after.
//!
//! What is written is safe from the end of the process at once, and from a loss of power when it is flushed. Posts of
//! records never wait for that; the records themselves do, unless the operator has allowed some milliseconds.
//!
//! **Invariant:** after a write that was asked for nothing stays unflushed for longer than the interval and one flush.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::journal::Mark;
use crate::facade::Shared;

/// How soon posts are flushed where records are flushed at once.
const POSTS: Duration = Duration::from_millis(50);
/// Pause before a flush that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Most milliseconds that the operator can allow: as long, every answer keeps its place in the journal.
const ALLOWED_MS_MAX: u32 = 1000;

/// The way to the thread that flushes. The thread ends with it.
pub(super) struct Flusher {
    /// What is posted, and noted as delivered until the post is on the disk.
    marks: Arc<Mutex<Vec<Mark>>>,
    asked: Arc<AtomicBool>,
    wake: Sender<()>,
    is_strict: bool,
}

impl Flusher {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let allowed_ms = shared.settings.billing.usage_flush_ms.min(ALLOWED_MS_MAX);
        let is_strict = allowed_ms == 0;
        let interval = if is_strict { POSTS } else { Duration::from_millis(allowed_ms.into()) };
        let (wake, asks) = channel();
        let flusher = Self { marks: Arc::default(), asked: Arc::default(), wake, is_strict };
        let (weak, marks, asked) = (Arc::downgrade(shared), Arc::clone(&flusher.marks), Arc::clone(&flusher.asked));
        std::thread::Builder::new()
            .name("ledger-flush".to_owned())
            .spawn(move || while asks.recv().is_ok() && flush(&weak, &marks, &asked, interval) {})?;
        Ok(flusher)
    }

    /// Records are on the disk before the ends of their answers go out.
    pub fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Something was written; these marks were for it.
    pub fn ask(&self, marks: impl Iterator<Item = Mark>) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).extend(marks);
        if !self.asked.swap(true, Ordering::AcqRel) && self.wake.send(()).is_err() {
            tracing::error!("the thread that flushes usage is gone");
        }
    }
}

/// Flushes once, however often that has to be tried. After a failure the marks stay in the journal until the next start: the
/// system may have given up what it could not write, and say so once only. False when there is nothing to flush to any more.
fn flush(shared: &Weak<Shared>, marks: &Mutex<Vec<Mark>>, asked: &AtomicBool, interval: Duration) -> bool {
    std::thread::sleep(interval);
    // What is written from here on asks again.
    asked.store(false, Ordering::Release);
    let posted = std::mem::take(&mut *marks.lock().unwrap_or_else(PoisonError::into_inner));
    let mut has_failed = false;
    loop {
        let Some(shared) = shared.upgrade() else { return false };
        match shared.store.flush() {
            Ok(()) => break,
            Err(error) => tracing::error!(%error, "usage cannot be flushed to the disk; it is tried again"),
        }
        has_failed = true;
        drop(shared);
        std::thread::sleep(RETRY);
    }
    if !has_failed {
        posted.into_iter().for_each(Mark::posted);
    }
    true
}
