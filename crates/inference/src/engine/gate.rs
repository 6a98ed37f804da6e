//! The gate: how many requests are inside, and the figures that both sides of the engine see.
//!
//! A request passes the gate on the caller's thread and holds a [`Ticket`] until it is answered, so a full engine
//! refuses at once and without asking the engine's thread. A part of the room is kept for shares that hold little.
//!
//! **Invariant:** as many are counted as there are tickets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use freehold_domain::{Error, ErrorCode};

use super::EngineStats;

/// Figures of the engine's thread, read by others.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub running: AtomicU32,
    pub waiting: AtomicU32,
    /// Cells in use, in millionths.
    pub usage_ppm: AtomicU32,
    pub prefix_queries: AtomicU64,
    pub prefix_hits: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub generation_tokens: AtomicU64,
    pub preemptions: AtomicU64,
    pub steps: AtomicU64,
    /// How long a request takes, in milliseconds, as a moving mean.
    pub request_ms: AtomicU64,
}

impl Figures {
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            requests_running: self.running.load(Relaxed),
            requests_waiting: self.waiting.load(Relaxed),
            cache_usage: f64::from(self.usage_ppm.load(Relaxed)) / 1e6,
            prefix_queries: self.prefix_queries.load(Relaxed),
            prefix_hits: self.prefix_hits.load(Relaxed),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            generation_tokens: self.generation_tokens.load(Relaxed),
            preemptions: self.preemptions.load(Relaxed),
            steps: self.steps.load(Relaxed),
        }
    }

    /// Notes how long a request took.
    pub fn answered(&self, milliseconds: u64) {
        let mean = self.request_ms.load(Relaxed);
        let mean = if mean == 0 { milliseconds } else { (mean * 7 + milliseconds) / 8 };
        self.request_ms.store(mean, Relaxed);
    }
}

/// Counts the requests that are inside.
#[derive(Debug)]
pub(crate) struct Gate {
    capacity: u32,
    sequences_max: u32,
    inside: Mutex<Inside>,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Inside {
    all: u32,
    shares: HashMap<Arc<str>, u32>,
}

/// A request that is inside.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    share: Arc<str>,
}

impl Gate {
    /// Room for requests that run and `queue_max` that wait.
    pub fn new(sequences_max: u32, queue_max: u32, figures: Arc<Figures>) -> Arc<Self> {
        let capacity = sequences_max.saturating_add(queue_max).max(1);
        Arc::new(Self { capacity, sequences_max, inside: Mutex::default(), figures })
    }

    /// Most requests of one share: an eighth of the room, but at most 16 places, is kept for others.
    fn share_max(&self) -> u32 {
        self.capacity - (self.capacity / 8).min(16)
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `rate_limited` with the time after which there should be room.
    pub fn enter(self: &Arc<Self>, share: &Arc<str>) -> Result<Ticket, Error> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let own = inside.shares.get(share).copied().unwrap_or(0);
        if inside.all >= self.capacity || own >= self.share_max() {
            return Err(self.refusal(inside.all));
        }
        inside.all += 1;
        *inside.shares.entry(Arc::clone(share)).or_insert(0) += 1;
        Ok(Ticket { gate: Arc::clone(self), share: Arc::clone(share) })
    }

    fn refusal(&self, inside: u32) -> Error {
        // The next place is free when the first of those that run is done.
        let request_ms = self.figures.request_ms.load(Relaxed).max(1000);
        let at_once = u64::from(self.sequences_max.min(inside).max(1));
        let seconds = u32::try_from(request_ms.div_ceil(1000 * at_once)).unwrap_or(60).clamp(1, 60);
        Error::new(ErrorCode::RateLimited, format!("The model's queue is full. Try again in {seconds} s.")).with_retry_after_s(seconds)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(own) = inside.shares.get_mut(&self.share) {
            *own -= 1;
            if *own == 0 {
                inside.shares.remove(&self.share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_share_cannot_take_every_place() {
        let gate = Gate::new(8, 8, Arc::default());
        let (noisy, quiet): (Arc<str>, Arc<str>) = ("noisy".into(), "quiet".into());
        let tickets: Vec<Ticket> = std::iter::from_fn(|| gate.enter(&noisy).ok()).collect();
        assert_eq!(tickets.len(), 14);
        let others: Vec<Ticket> = std::iter::from_fn(|| gate.enter(&quiet).ok()).collect();
        assert_eq!(others.len(), 2);
        let refused = gate.enter(&quiet).expect_err("full");
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert!(refused.retry_after_s.is_some());
        drop(tickets);
        drop(others);
        assert!(gate.enter(&noisy).is_ok());
        assert_eq!(gate.inside.lock().expect("not poisoned").all, 0);
    }
}
