//! The one place that reads the clock, and the one that makes ids.
//!
//! **Invariant:** ids made by one service sort by the time of their creation, also within one millisecond.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use freehold_domain::Timestamp;
use uuid::{ContextV7, Uuid};

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Makes the 128 bits of ids, as UUIDv7 (RFC 9562, section 5.7).
#[derive(Debug)]
pub(crate) struct Ids(Mutex<ContextV7>);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(ContextV7::new()))
    }

    pub(crate) fn next(&self, now: Timestamp) -> Uuid {
        let context = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unix_ms = u64::try_from(now.unix_ms()).unwrap_or(0);
        let subsec_ns = (unix_ms % 1000) as u32 * 1_000_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(&*context, unix_ms / 1000, subsec_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_millisecond_sort_by_creation() {
        let ids = Ids::new();
        let now = Timestamp::from_unix_ms(1_700_000_000_000);
        let made: Vec<Uuid> = (0..10_000).map(|_| ids.next(now)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(ids.next(now.plus_ms(1)) > made[9_999]);
    }
}
