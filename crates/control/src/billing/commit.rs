//! The one thread that writes usage: what has come in while it wrote goes into the next write, with one flush (or, as
//! the operator allows, with one soon after).
//!
//! **Invariant:** a [`Receipt`] exists only for a record that is on the disk; it is confirmed when the end was handed
//! over, and a receipt that goes without that says that the client has gone.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use freehold_domain::{Error, HoldId, Timestamp};
use freehold_ledger::{UsageOutcome, UsageRecord};
use freehold_store::{Store, UsageWrite};
use tokio::sync::oneshot;

use super::flush::Flusher;
use super::journal::{Journal, Mark};
use super::webhooks;
use crate::clock::Clock;
use crate::facade::Shared;

/// Most jobs of one write.
const BATCH_MAX: usize = 1024;
/// Pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the thread is asked to do.
pub(super) enum Job {
    /// Write a record and end its hold. With `reply` it is pending until its receipt says more; without, it is final.
    Record { record: Box<UsageRecord>, hold: HoldId, reply: Option<oneshot::Sender<Result<Receipt, Error>>> },
    /// Post a pending record. Its mark is kept until the post is on the disk.
    Post { record: Arc<UsageRecord>, outcome: UsageOutcome, delivered_at: Option<Timestamp>, mark: Option<Mark> },
    /// Say when everything before is done.
    Flush(oneshot::Sender<()>),
}

/// The way to the thread and to the journal.
pub(super) struct Link {
    jobs: Sender<Job>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
}

impl Link {
    pub fn new(jobs: Sender<Job>, journal: Journal, clock: Arc<dyn Clock>) -> Self {
        Self { jobs, journal: Arc::new(journal), clock }
    }

    pub fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the thread that writes usage is gone");
        }
    }
}

/// A record is written. Keep this until the end of the answer was handed to the client, then [`Receipt::confirm`].
pub struct Receipt {
    record: Arc<UsageRecord>,
    link: Arc<Link>,
    mark: Option<Mark>,
    settled: bool,
}

impl Receipt {
    /// Gives the last bytes of the answer to a socket that does not block, so that a crash of this process cannot come
    /// between the socket's taking them and the note of it. How many it took; `None` if there is no room for a note: send
    /// them in another way then.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` among them.
    pub fn hand_over(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Option<io::Result<usize>> {
        if self.mark.is_none() {
            self.mark = self.link.journal.mark(self.record.id, self.link.clock.now());
        }
        self.mark.as_ref().map(|mark| mark.send(socket, bytes))
    }

    /// The bytes of the end are with the kernel.
    pub fn confirm(mut self) {
        let now = self.link.clock.now();
        let mark = self.mark.take().or_else(|| self.link.journal.mark(self.record.id, now));
        if let Some(mark) = &mark {
            mark.note();
        }
        self.settled = true;
        self.link.send(Job::Post { record: Arc::clone(&self.record), outcome: self.record.outcome, delivered_at: Some(now), mark });
    }

    /// The record.
    pub fn record(&self) -> &UsageRecord {
        &self.record
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt").field("record", &self.record.id).finish_non_exhaustive()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.settled {
            let outcome = match self.record.outcome {
                UsageOutcome::Failed => UsageOutcome::Failed,
                _ => UsageOutcome::ClientGone,
            };
            self.link.send(Job::Post { record: Arc::clone(&self.record), outcome, delivered_at: None, mark: None });
        }
    }
}

/// Writes until nobody can send any more.
pub(super) fn run(shared: &Weak<Shared>, jobs: &Receiver<Job>, flusher: &Flusher) {
    // Posts that could not be written. They are tried again on their own.
    let mut late: Vec<Post> = Vec::new();
    let mut tried = Instant::now();
    loop {
        let wait = if late.is_empty() { Duration::MAX } else { RETRY };
        let job = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // Without the service there is nothing to write to.
        let Some(shared) = shared.upgrade() else { return };
        if let Some(job) = job {
            let mut batch = Batch::default();
            batch.add(job);
            while batch.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                batch.add(job);
            }
            late.extend(batch.write(&shared, flusher));
        }
        if tried.elapsed() >= RETRY {
            late = one_by_one(late, |post| write(&shared.store, &[post.write()], true), Post::done).0;
            tried = Instant::now();
        }
    }
}

/// Why something was not written.
struct Fault {
    why: String,
    /// It is the database's, not the record's: the next record would meet it too.
    is_general: bool,
}

/// Writes, and takes a fault of the code below for one of the record: the thread must outlive it.
fn write(store: &Store, writes: &[UsageWrite<'_>], on_disk: bool) -> Result<(), Fault> {
    let work = AssertUnwindSafe(|| if writes.is_empty() { Ok(()) } else { store.write_usage(writes, on_disk) });
    match std::panic::catch_unwind(work) {
        Ok(written) => written.map_err(|error| Fault { why: error.to_string(), is_general: error.is_of_the_database() }),
        Err(_) => Err(Fault { why: "the store failed; its own message stands before this one".to_owned(), is_general: false }),
    }
}

/// Does what can be done; stops at a fault that the next would meet too. What is left, and the last fault.
fn one_by_one<T>(all: Vec<T>, write: impl Fn(&T) -> Result<(), Fault>, mut done: impl FnMut(T)) -> (Vec<T>, Option<Fault>) {
    let (mut left, mut last) = (Vec::new(), None::<Fault>);
    for one in all {
        if last.as_ref().is_some_and(|fault| fault.is_general) {
            left.push(one);
            continue;
        }
        match write(&one) {
            Ok(()) => done(one),
            Err(fault) => {
                left.push(one);
                last = Some(fault);
            }
        }
    }
    (left, last)
}

struct Post {
    record: UsageRecord,
    delivered_at: Option<Timestamp>,
    mark: Option<Mark>,
}

struct Entry {
    record: UsageRecord,
    hold: HoldId,
    reply: Option<oneshot::Sender<Result<Receipt, Error>>>,
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    posts: Vec<Post>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn len(&self) -> usize {
        self.entries.len() + self.posts.len() + self.flushes.len()
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Record { record, hold, reply } => self.entries.push(Entry { record: *record, hold, reply }),
            Job::Post { record, outcome, delivered_at, mark } => {
                self.posts.push(Post { record: UsageRecord { outcome, ..Arc::unwrap_or_clone(record) }, delivered_at, mark });
            }
            Job::Flush(done) => self.flushes.push(done),
        }
    }

    /// Writes everything at once; if that fails, each on its own, so that what cannot be written costs nobody else.
    /// The posts that must be tried again.
    fn write(self, shared: &Arc<Shared>, flusher: &Flusher) -> Vec<Post> {
        let Self { entries, posts, flushes } = self;
        let writes: Vec<UsageWrite<'_>> = posts.iter().map(Post::write).chain(entries.iter().map(Entry::write)).collect();
        // Nobody waits for a post: it gets to the disk with the next record, or soon.
        let on_disk = flusher.is_strict() && !entries.is_empty();
        let written = write(&shared.store, &writes, on_disk);
        let now = shared.billing.link.clock.now();
        let left = match written {
            Ok(()) => {
                settle(shared, entries, now);
                match on_disk {
                    true => posts.into_iter().for_each(Post::done),
                    false => flusher.ask(posts.into_iter().filter_map(|post| post.mark)),
                }
                Vec::new()
            }
            Err(fault) if fault.is_general => {
                tracing::error!(error = fault.why, records = writes.len(), "usage cannot be written");
                drop(writes);
                entries.into_iter().for_each(|entry| refuse(shared, entry, &fault.why, now));
                posts
            }
            Err(fault) => {
                tracing::error!(error = fault.why, records = writes.len(), "usage cannot be written at once; each record is tried alone");
                drop(writes);
                let (left, _) = one_by_one(posts, |post| write(&shared.store, &[post.write()], true), Post::done);
                let done = |entry| settle(shared, vec![entry], now);
                let (refused, last) = one_by_one(entries, |entry| write(&shared.store, &[entry.write()], true), done);
                let why = last.map(|fault| fault.why).unwrap_or_default();
                refused.into_iter().for_each(|entry| refuse(shared, entry, &why, now));
                left
            }
        };
        if !flushes.is_empty()
            && let Err(error) = shared.store.flush()
        {
            tracing::error!(%error, "usage cannot be flushed to the disk");
        }
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _waiting = done.send(());
        }
        left
    }
}

impl Post {
    /// It is on the disk.
    fn done(self) {
        if let Some(mark) = self.mark {
            mark.posted();
        }
    }

    fn write(&self) -> UsageWrite<'_> {
        UsageWrite::Post { record: &self.record, delivered_at: self.delivered_at }
    }
}

impl Entry {
    fn write(&self) -> UsageWrite<'_> {
        match self.reply {
            Some(_) => UsageWrite::Pending(&self.record),
            None => UsageWrite::Final(&self.record),
        }
    }
}

/// The records are written: ends their holds, and lets their answers end.
fn settle(shared: &Arc<Shared>, entries: Vec<Entry>, now: Timestamp) {
    let mut alerts = Vec::new();
    {
        let mut meter = shared.billing.meter();
        for entry in &entries {
            match meter.settle(now, entry.hold, &entry.record) {
                Ok(settled) => alerts.extend(settled.alerts.into_iter().map(|alert| (entry.record.tenant, alert))),
                Err(error) => tracing::error!(%error, usage = %entry.record.id, "a hold cannot be settled"),
            }
        }
    }
    for entry in entries {
        if let Some(reply) = entry.reply {
            let receipt = Receipt { record: Arc::new(entry.record), link: Arc::clone(&shared.billing.link), mark: None, settled: false };
            // A client that has gone meanwhile drops the receipt, which says so.
            let _gone = reply.send(Ok(receipt));
        }
    }
    if !alerts.is_empty() {
        let work = AssertUnwindSafe(|| webhooks::queue(shared, &alerts, now));
        if std::panic::catch_unwind(work).is_err() {
            tracing::error!(alerts = alerts.len(), "alerts are lost; the reason stands before this");
        }
    }
}

fn refuse(shared: &Arc<Shared>, entry: Entry, why: &str, now: Timestamp) {
    tracing::error!(usage = %entry.record.id, error = why, "a record cannot be written");
    shared.billing.meter().void(now, entry.hold);
    if let Some(reply) = entry.reply {
        let _gone = reply.send(Err(Error::internal(format!("the usage of this answer cannot be written: {why}"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(is_general: bool) -> Result<(), Fault> {
        Err(Fault { why: "a fault".to_owned(), is_general })
    }

    #[test]
    fn what_cannot_be_written_costs_nobody_else() {
        let mut done = Vec::new();
        let (left, last) = one_by_one(vec![1, 2, 3, 4], |one| if one % 2 == 0 { fault(false) } else { Ok(()) }, |one| done.push(one));
        assert_eq!((left, done), (vec![2, 4], vec![1, 3]));
        assert!(last.is_some_and(|fault| !fault.is_general));
    }

    #[test]
    fn a_fault_of_the_disk_is_met_once() {
        let tries = std::cell::Cell::new(0);
        let write = |_: &i32| {
            tries.set(tries.get() + 1);
            fault(true)
        };
        let (left, _) = one_by_one(vec![1, 2, 3], write, |_| ());
        assert_eq!((left, tries.get()), (vec![1, 2, 3], 1));
    }
}
