//! The threads that serve connections, as the service sees them: each runs a runtime of its own.
//!
//! What another thread has for many requests of a lane comes in one letter. The lane wakes for it once, and whom it is for
//! is told there, without a call of the system for each.
//!
//! **Invariant:** a letter that the lane does not read any more is dropped, with the receipts in it.

use std::cell::{Cell, RefCell};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::billing::Ended;

/// Most lanes that have something of their own; the others share theirs with the threads that are none.
pub(crate) const LANES_MAX: usize = 9;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static MAILBOX: RefCell<Option<Mailbox>> = const { RefCell::new(None) };
}

/// The number of this thread's lane; 0 on threads that are none.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// Where letters to this thread's lane go.
pub(crate) fn mailbox() -> Option<Mailbox> {
    MAILBOX.with_borrow(Clone::clone)
}

/// Where letters to a lane go.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(UnboundedSender<Vec<Ended>>);

impl Mailbox {
    /// Both lead to the same lane.
    pub fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// Nobody reads it when the lane has ended; neither is anybody there whom it is for.
    pub fn send(&self, letter: Vec<Ended>) {
        let _ended = self.0.send(letter);
    }
}

/// A lane, on its own thread.
#[derive(Debug)]
pub struct Lane(UnboundedReceiver<Vec<Ended>>);

impl Lane {
    /// Makes this thread, which runs a runtime of its own, a lane. It gets connections of its own to every worker and
    /// server: who waits for an answer is who reads its connection then.
    pub fn enter(number: usize) -> Self {
        let (sender, letters) = unbounded_channel();
        NUMBER.set((number + 1) % LANES_MAX);
        MAILBOX.set(Some(Mailbox(sender)));
        Self(letters)
    }

    /// Gives out what comes for the lane's requests; it does not end.
    pub async fn run(mut self) {
        while let Some(letter) = self.0.recv().await {
            letter.into_iter().for_each(Ended::tell);
        }
    }
}
