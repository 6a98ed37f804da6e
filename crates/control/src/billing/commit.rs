//! The one thread that writes usage: what has come in while it wrote goes into the next write, with one flush.
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
    /// Post a pending record. Its mark is kept until that is on the disk.
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

/// A record is on the disk. Keep this until the end of the answer was handed to the client, then [`Receipt::confirm`].
pub struct Receipt {
    record: Arc<UsageRecord>,
    link: Arc<Link>,
    mark: Option<Mark>,
    settled: bool,
}

impl Receipt {
    /// Gives the last bytes of the answer to a socket that does not block, so that a crash of this process cannot come
    /// between the socket's taking them and the note of it. How many it took.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` among them.
    pub fn hand_over(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        if self.mark.is_none() {
            self.mark = self.link.journal.mark(self.record.id, self.link.clock.now());
        }
        match &self.mark {
            Some(mark) => mark.send(socket, bytes),
            None => Err(io::Error::other("too many answers wait to be posted")),
        }
    }

    /// The bytes of the end are with the kernel.
    pub fn confirm(mut self) {
        let now = self.link.clock.now();
        let mark = self.mark.take().or_else(|| {
            let mark = self.link.journal.mark(self.record.id, now)?;
            mark.note();
            Some(mark)
        });
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
pub(super) fn run(shared: &Weak<Shared>, jobs: &Receiver<Job>) {
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
            late.extend(batch.write(&shared));
        }
        if tried.elapsed() >= RETRY {
            late.retain(|post| write(&shared.store, &[post.write()]).is_err());
            tried = Instant::now();
        }
    }
}

/// Writes, and takes a fault of the code below for one of the disk: the thread must outlive it.
fn write(store: &Store, writes: &[UsageWrite<'_>]) -> Result<(), String> {
    let work = AssertUnwindSafe(|| if writes.is_empty() { Ok(()) } else { store.write_usage(writes) });
    match std::panic::catch_unwind(work) {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the store failed; its own message stands before this one".to_owned()),
    }
}

struct Post {
    record: UsageRecord,
    delivered_at: Option<Timestamp>,
    _mark: Option<Mark>,
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
                self.posts.push(Post { record: UsageRecord { outcome, ..UsageRecord::clone(&record) }, delivered_at, _mark: mark });
            }
            Job::Flush(done) => self.flushes.push(done),
        }
    }

    /// Writes everything at once; if that fails, each on its own, so that what cannot be written costs nobody else.
    /// The posts that must be tried again.
    fn write(self, shared: &Arc<Shared>) -> Vec<Post> {
        let Self { entries, posts, flushes } = self;
        let writes: Vec<UsageWrite<'_>> = posts.iter().map(Post::write).chain(entries.iter().map(Entry::write)).collect();
        let written = write(&shared.store, &writes);
        let now = shared.billing.link.clock.now();
        let left = match written {
            Ok(()) => {
                settle(shared, entries, now);
                Vec::new()
            }
            Err(error) => {
                tracing::error!(error, records = writes.len(), "usage cannot be written; each record is tried on its own");
                drop(writes);
                let left = posts.into_iter().filter(|post| write(&shared.store, &[post.write()]).is_err()).collect();
                for entry in entries {
                    match write(&shared.store, &[entry.write()]) {
                        Ok(()) => settle(shared, vec![entry], now),
                        Err(error) => refuse(shared, entry, &error, now),
                    }
                }
                left
            }
        };
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _waiting = done.send(());
        }
        left
    }
}

impl Post {
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

/// The records are on the disk: ends their holds, and lets their answers end.
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
        webhooks::queue(shared, &alerts, now);
    }
}

fn refuse(shared: &Arc<Shared>, entry: Entry, why: &str, now: Timestamp) {
    tracing::error!(usage = %entry.record.id, error = why, "a record cannot be written");
    shared.billing.meter().void(now, entry.hold);
    if let Some(reply) = entry.reply {
        let _gone = reply.send(Err(Error::internal(format!("the usage of this answer cannot be written: {why}"))));
    }
}
