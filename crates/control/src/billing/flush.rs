//! Flushes what was written without waiting for the disk, soon after.
//!
//! What is written is safe from the end of the process at once, and from a loss of power when it is flushed. Posts of
//! records never wait for that; the records themselves do, unless the operator has allowed some milliseconds.
//!
//! **Invariant:** after a write that was asked for nothing stays unflushed for longer than the interval and one flush.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::facade::Shared;

/// How soon posts are flushed where records are flushed at once.
const POSTS: Duration = Duration::from_millis(50);

/// The way to the thread that flushes. The thread ends with it.
pub(super) struct Flusher {
    asked: Arc<AtomicBool>,
    wake: Sender<()>,
    is_strict: bool,
}

impl Flusher {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let allowed_ms = shared.settings.billing.usage_flush_ms;
        let is_strict = allowed_ms == 0;
        let interval = if is_strict { POSTS } else { Duration::from_millis(allowed_ms.into()) };
        let (wake, asks) = channel();
        let asked = Arc::new(AtomicBool::new(false));
        let (weak, flag) = (Arc::downgrade(shared), Arc::clone(&asked));
        std::thread::Builder::new().name("ledger-flush".to_owned()).spawn(move || run(&weak, &asks, &flag, interval))?;
        Ok(Self { asked, wake, is_strict })
    }

    /// Records are on the disk before the ends of their answers go out.
    pub fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Something was written.
    pub fn ask(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) && self.wake.send(()).is_err() {
            tracing::error!("the thread that flushes usage is gone");
        }
    }
}

fn run(shared: &Weak<Shared>, asks: &Receiver<()>, asked: &AtomicBool, interval: Duration) {
    while asks.recv().is_ok() {
        std::thread::sleep(interval);
        // What is written from here on asks again.
        asked.store(false, Ordering::Release);
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = shared.store.flush() {
            tracing::error!(%error, "usage cannot be flushed to the disk");
        }
    }
}
