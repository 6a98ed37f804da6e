//! The one thread that lets answers end: what has come in while it wrote goes into the log with the next write, with
//! one flush (or, as the operator allows, with one soon after).
//!
//! **Invariant:** a [`Receipt`] exists only for a record that is in the log; it is confirmed when the end was handed
//! over, and a receipt that goes without that says that the client has gone.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use freehold_domain::{Error, HoldId, Timestamp};
use freehold_ledger::{UsageOutcome, UsageRecord};
use tokio::sync::oneshot;

use super::journal::{Journal, Mark};
use super::log::{Appended, Kind, UsageLog};
use super::posting::{Event, Queue};
use crate::clock::Clock;
use crate::facade::Shared;
use crate::lane::{self, Mailbox};

/// Most jobs of one write.
const BATCH_MAX: usize = 1024;

/// Between the beginnings of two flushes. A flush costs processor time that the requests of a busy service have better use
/// for; who comes alone does not wait.
const FLUSH_PACE: Duration = Duration::from_micros(400);

/// How long records wait for places in the journal.
const MARK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for one.
const MARK_PAUSE: Duration = Duration::from_millis(5);

/// What the thread is asked to do.
pub(super) enum Job {
    /// Write a record and end its hold. With `reply` it is pending until its receipt says more; without, it is final.
    Record { record: Box<UsageRecord>, hold: HoldId, reply: Option<Reply> },
    /// Say when everything before is settled, and whether it could be.
    Settle(oneshot::Sender<bool>),
}

/// Whom to tell that a record is written.
pub(super) struct Reply {
    to: oneshot::Sender<Result<Receipt, Error>>,
    /// The lane that he waits on, if he does on one.
    lane: Option<Mailbox>,
}

impl Reply {
    /// To whoever waits for what comes with it, on this thread.
    pub fn here() -> (Self, oneshot::Receiver<Result<Receipt, Error>>) {
        let (to, written) = oneshot::channel();
        (Self { to, lane: lane::mailbox() }, written)
    }
}

/// What somebody is to be told.
#[derive(Debug)]
pub(crate) struct Ended {
    to: oneshot::Sender<Result<Receipt, Error>>,
    written: Result<Receipt, Error>,
}

impl Ended {
    /// Tells it. A client that has gone meanwhile drops the receipt, which says so.
    pub fn tell(self) {
        let _gone = self.to.send(self.written);
    }
}

/// Tells everybody, with one letter to each lane.
fn tell_all(replies: impl Iterator<Item = (Reply, Result<Receipt, Error>)>) {
    let mut letters: Vec<(Mailbox, Vec<Ended>)> = Vec::new();
    for (Reply { to, lane }, written) in replies {
        let ended = Ended { to, written };
        let Some(lane) = lane else {
            ended.tell();
            continue;
        };
        match letters.iter_mut().find(|(to, _)| to.is(&lane)) {
            Some((_, letter)) => letter.push(ended),
            None => letters.push((lane, vec![ended])),
        }
    }
    letters.into_iter().for_each(|(lane, letter)| lane.send(letter));
}

/// The ways to the threads and to the journal.
pub(super) struct Link {
    jobs: Sender<Job>,
    posting: Arc<Queue>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
}

impl Link {
    pub fn new(jobs: Sender<Job>, posting: Arc<Queue>, journal: Journal, clock: Arc<dyn Clock>) -> Self {
        Self { jobs, posting, journal: Arc::new(journal), clock }
    }

    pub fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the thread that writes usage is gone");
        }
    }

    pub fn posting(&self) -> &Arc<Queue> {
        &self.posting
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.posting.close();
    }
}

/// A record is written. Keep this until the end of the answer was handed to the client, then [`Receipt::confirm`].
pub struct Receipt {
    record: Arc<UsageRecord>,
    link: Arc<Link>,
    /// Where the delivery is noted; taken when it is confirmed.
    mark: Option<Mark>,
}

impl Receipt {
    /// Gives the last bytes of the answer to a socket that does not block, so that a crash of this process cannot come
    /// between the socket's taking them and the note of it. How many it took; `None` only of what is confirmed.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` among them.
    pub fn hand_over(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Option<io::Result<usize>> {
        self.mark.as_ref().map(|mark| mark.send(socket, bytes))
    }

    /// The bytes of the end are with the kernel.
    pub fn confirm(mut self) {
        let now = self.link.clock.now();
        let mark = self.mark.take();
        if let Some(mark) = &mark {
            mark.note();
        }
        let (record, outcome) = (Arc::clone(&self.record), self.record.outcome);
        self.link.posting.push([Event::Post { record, outcome, delivered_at: Some(now), mark }]);
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
        if self.mark.is_some() {
            let outcome = match self.record.outcome {
                UsageOutcome::Failed => UsageOutcome::Failed,
                _ => UsageOutcome::ClientGone,
            };
            self.link.posting.push([Event::Post { record: Arc::clone(&self.record), outcome, delivered_at: None, mark: None }]);
        }
    }
}

/// Writes until nobody can send any more; flushes each write if `flush` says so.
pub(super) fn run(shared: &Weak<Shared>, jobs: &Receiver<Job>, mut log: UsageLog, flush: bool) {
    let mut flushed: Option<Instant> = None;
    while let Ok(job) = jobs.recv() {
        if flush {
            if let Some(rest) = flushed.and_then(|at| FLUSH_PACE.checked_sub(at.elapsed())) {
                std::thread::sleep(rest);
            }
            flushed = Some(Instant::now());
        }
        // Without the service there is nobody to write for.
        let Some(shared) = shared.upgrade() else { return };
        let mut batch = Batch::default();
        batch.add(job);
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.add(job);
        }
        shared.billing.link.posting.hold_back();
        batch.write(&shared, &mut log, flush);
    }
}

struct Entry {
    record: Arc<UsageRecord>,
    text: String,
    /// Where its delivery will be noted, if there is one.
    mark: Option<Mark>,
    hold: HoldId,
    reply: Option<Reply>,
}

impl Entry {
    fn kind(&self) -> Kind {
        if self.reply.is_some() { Kind::Pending } else { Kind::Final }
    }
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    askers: Vec<oneshot::Sender<bool>>,
}

impl Batch {
    fn len(&self) -> usize {
        self.entries.len() + self.askers.len()
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Record { record, hold, reply } => {
                self.entries.push(Entry { text: record.to_json_text(), record: record.into(), mark: None, hold, reply });
            }
            Job::Settle(asker) => self.askers.push(asker),
        }
    }

    fn write(mut self, shared: &Arc<Shared>, log: &mut UsageLog, flush: bool) {
        let (entries, unmarked) = mark_all(shared, std::mem::take(&mut self.entries));
        self.entries = entries;
        let appended = log.append(self.entries.iter().map(|entry| (entry.kind(), entry.text.as_str())), flush);
        let now = shared.billing.link.clock.now();
        match appended {
            Ok(appended) => {
                shared.billing.link.posting.push(logged(&mut self.entries, appended));
                settle(shared, self.entries, now);
            }
            Err((error, full)) => {
                tracing::error!(%error, records = self.entries.len(), "usage cannot be written");
                shared.billing.link.posting.push(full.into_iter().map(Event::Full));
                let why = error.to_string();
                self.entries.into_iter().for_each(|entry| refuse(shared, entry, &why, now));
            }
        }
        unmarked.into_iter().for_each(|entry| refuse(shared, entry, "the database does not keep up", now));
        if !self.askers.is_empty() {
            let ended = log.end_turn().map(Event::Full);
            shared.billing.link.posting.push(ended.into_iter().chain(self.askers.into_iter().map(Event::Settle)));
        }
    }
}

/// Gives each record that waits for an end its place in the journal, so that no end goes out that cannot be noted. Those for
/// which there is none, though they were waited for, come second.
fn mark_all(shared: &Shared, entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let link = &shared.billing.link;
    let now = link.clock.now();
    let (mut marked, mut unmarked) = (Vec::with_capacity(entries.len()), Vec::new());
    let until = Instant::now() + MARK_PATIENCE;
    for mut entry in entries {
        if entry.reply.is_none() {
            marked.push(entry);
            continue;
        }
        entry.mark = link.journal.mark(entry.record.id, now);
        while entry.mark.is_none() && Instant::now() < until {
            std::thread::sleep(MARK_PAUSE);
            entry.mark = link.journal.mark(entry.record.id, now);
        }
        if entry.mark.is_some() { marked.push(entry) } else { unmarked.push(entry) }
    }
    (marked, unmarked)
}

/// What the thread that posts is told of a write.
fn logged(entries: &mut [Entry], appended: Appended) -> impl Iterator<Item = Event> {
    let logged = entries.iter_mut().zip(appended.turns).map(|(entry, turn)| Event::Logged {
        record: Arc::clone(&entry.record),
        text: std::mem::take(&mut entry.text),
        turn,
        is_final: entry.kind() == Kind::Final,
    });
    logged.chain(appended.full.into_iter().map(Event::Full))
}

/// The records are in the log: ends their holds, and lets their answers end.
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
    tell_all(entries.into_iter().filter_map(|Entry { record, mark, reply, .. }| {
        let reply = reply?;
        Some((reply, Ok(Receipt { record, link: Arc::clone(&shared.billing.link), mark })))
    }));
    if !alerts.is_empty() {
        shared.billing.link.posting.push([Event::Alerts(alerts, now)]);
    }
}

fn refuse(shared: &Arc<Shared>, entry: Entry, why: &str, now: Timestamp) {
    tracing::error!(usage = %entry.record.id, error = why, "a record cannot be written");
    shared.billing.meter().void(now, entry.hold);
    if let Some(reply) = entry.reply {
        tell_all(std::iter::once((reply, Err(Error::internal(format!("the usage of this answer cannot be written: {why}"))))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::lane::Lane;

    /// What is told comes as an error here: a receipt needs a service.
    fn told(number: u32) -> Result<Receipt, Error> {
        Err(Error::internal(number.to_string()))
    }

    fn number_of(written: Result<Result<Receipt, Error>, oneshot::error::RecvError>) -> Option<String> {
        written.ok()?.err().and_then(|error| error.context)
    }

    #[test]
    fn everybody_is_told_on_a_lane_and_off_it() {
        let (replies, all) = std::sync::mpsc::channel();
        let lanes: Vec<_> = (0..2)
            .map(|lane| {
                let replies = replies.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    let here = Lane::enter(lane);
                    let waiting: Vec<_> = (0..50)
                        .map(|n| {
                            let (reply, written) = Reply::here();
                            replies.send((reply, told(100 * lane as u32 + n))).expect("is taken");
                            written
                        })
                        .collect();
                    drop(replies);
                    let wait = async {
                        let mut found = Vec::new();
                        for written in waiting {
                            found.push(number_of(written.await));
                        }
                        found
                    };
                    let found = runtime.block_on(async {
                        tokio::select! { found = wait => found, () = here.run() => Vec::new() }
                    });
                    let expected: Vec<_> = (0..50).map(|n| Some((100 * lane as u32 + n).to_string())).collect();
                    assert_eq!(found, expected);
                })
            })
            .collect();
        let (off, written) = Reply::here();
        replies.send((off, told(7))).expect("is taken");
        drop(replies);
        tell_all(all.into_iter());
        assert_eq!(number_of(Ok(written.blocking_recv().expect("is told"))), Some("7".to_owned()));
        lanes.into_iter().for_each(|lane| lane.join().expect("ends"));
    }

    #[test]
    fn a_lane_that_has_ended_keeps_nobody() {
        let ended = Arc::new(Barrier::new(2));
        let (sender, reply) = std::sync::mpsc::channel();
        let lane = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let here = Lane::enter(0);
                let (reply, written) = Reply::here();
                sender.send(reply).expect("is taken");
                drop(here);
                ended.wait();
                written.blocking_recv().is_err()
            }
        });
        let reply = reply.recv().expect("a reply");
        ended.wait();
        tell_all(std::iter::once((reply, told(1))));
        assert!(lane.join().expect("ends"), "nobody is left waiting");
    }
}
