//! The one thread that writes usage: what has come in while it wrote goes into the next write, with one flush.
//!
//! **Invariant:** a [`Receipt`] exists only for a record that is on the disk; it is confirmed when the end was handed
//! over, and a receipt that goes without that says that the client has gone.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Weak};

use freehold_domain::{Error, HoldId, Timestamp};
use freehold_ledger::{UsageOutcome, UsageRecord};
use freehold_store::UsageWrite;
use tokio::sync::oneshot;

use super::journal::{Journal, Mark};
use super::webhooks;
use crate::clock::Clock;
use crate::facade::Shared;

/// Most jobs of one write.
const BATCH_MAX: usize = 1024;
/// Pause before what could not be written is tried again.
const RETRY: std::time::Duration = std::time::Duration::from_millis(500);

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
    let mut posts: Vec<Post> = Vec::new();
    while let Ok(first) = jobs.recv() {
        let mut batch = Batch { posts: std::mem::take(&mut posts), ..Batch::default() };
        batch.add(first);
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.add(job);
        }
        // Without the service there is nothing to write to.
        let Some(shared) = shared.upgrade() else { return };
        posts = batch.write(&shared);
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

    /// Writes everything, or nothing. The posts that must be tried again.
    fn write(self, shared: &Arc<Shared>) -> Vec<Post> {
        let posts = self.posts.iter().map(|post| UsageWrite::Post { record: &post.record, delivered_at: post.delivered_at });
        let entries = self.entries.iter().map(|entry| match entry.reply {
            Some(_) => UsageWrite::Pending(&entry.record),
            None => UsageWrite::Final(&entry.record),
        });
        let writes: Vec<UsageWrite<'_>> = posts.chain(entries).collect();
        let written = if writes.is_empty() { Ok(()) } else { shared.store.write_usage(&writes) };
        let now = shared.billing.link.clock.now();
        let left = match written {
            Ok(()) => {
                settle(shared, self.entries, now);
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, "usage cannot be written");
                refuse(shared, self.entries, &error.to_string(), now);
                std::thread::sleep(RETRY);
                self.posts
            }
        };
        for done in self.flushes {
            // Whoever asked may have stopped waiting.
            let _waiting = done.send(());
        }
        left
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

fn refuse(shared: &Arc<Shared>, entries: Vec<Entry>, why: &str, now: Timestamp) {
    for entry in entries {
        shared.billing.meter().void(now, entry.hold);
        if let Some(reply) = entry.reply {
            let _gone = reply.send(Err(Error::internal(format!("the usage of this answer cannot be written: {why}"))));
        }
    }
}
