//! The thread that brings usage from the log into the database, many records at a time.
//!
//! Nobody waits for it but who asks for everything to be settled ([`Event::Settle`]). A record is written when it is
//! posted. One whose client takes long is written pending, so that its file of the log is free for its next turn.
//!
//! Durable is nothing here before the database is flushed, which is at the end of each round; until then the records
//! are in the log and the marks of their deliveries in the journal.
//!
//! **Invariant:** a file of the log and a mark are given back after what they are for is on the disk in the database.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use freehold_domain::{TenantId, Timestamp, UsageId};
use freehold_ledger::{Alert, UsageOutcome, UsageRecord};
use freehold_store::{Store, UsageWrite};
use tokio::sync::oneshot;

use super::journal::Mark;
use super::log::{Segment, Spare};
use super::webhooks;
use crate::facade::Shared;

/// How long events are gathered, where the log is flushed at once.
const GATHER: Duration = Duration::from_millis(50);
/// Most milliseconds that the operator can allow for a flush: as long, every answer keeps its place in the journal.
const ALLOWED_MS_MAX: u32 = 1000;
/// Events that are not waited for any longer.
const MANY: usize = 4096;
/// Events that have piled up so high that the next write waits a little.
const TOO_MANY: usize = 8 * MANY;
/// How long it waits at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// Most records of one transaction, which other writers wait for.
const WRITTEN_AT_ONCE: usize = 1024;
/// Pause before what could not be written is tried again, and between looks at what is open for long.
const RETRY: Duration = Duration::from_millis(500);
/// A record that has been open for so long is written pending.
const OPEN_MAX: Duration = Duration::from_secs(2);

/// What the thread is told.
pub(super) enum Event {
    /// A record is in the log.
    Logged { record: Arc<UsageRecord>, text: String, turn: u64, is_final: bool },
    /// A record that was told of is to be posted. Its mark is kept until that is on the disk.
    Post { record: Arc<UsageRecord>, outcome: UsageOutcome, delivered_at: Option<Timestamp>, mark: Option<Mark> },
    /// No more comes into this file of the log.
    Full(Segment),
    /// Budgets that are nearly used up are to be told of.
    Alerts(Vec<(TenantId, Alert)>, Timestamp),
    /// Say when everything before is on the disk in the database, posted or pending; false if it cannot be brought there now.
    Settle(oneshot::Sender<bool>),
}

#[derive(Default)]
struct Waiting {
    events: Vec<Event>,
    is_urgent: bool,
    is_closed: bool,
}

/// The way to the thread.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    taken: Condvar,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.waiting();
        let (was_empty, was_urgent) = (waiting.events.is_empty(), waiting.is_urgent);
        for event in events {
            waiting.is_urgent |= matches!(event, Event::Settle(_));
            waiting.events.push(event);
        }
        waiting.is_urgent |= waiting.events.len() >= MANY;
        if (was_empty && !waiting.events.is_empty()) || waiting.is_urgent != was_urgent {
            self.changed.notify_one();
        }
    }

    /// Waits a little if more comes than is taken, so that whoever is to take it gets to work.
    pub fn hold_back(&self) {
        let piled_up = |waiting: &mut Waiting| waiting.events.len() >= TOO_MANY;
        // However it ends, the write goes on.
        let _waited = self.taken.wait_timeout_while(self.waiting(), PATIENCE, piled_up);
    }

    /// Nobody pushes any more.
    pub fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_one();
    }

    /// The next events, gathered for a while; none after `idle`. `None` when nothing more comes.
    fn next(&self, gather: Duration, idle: Duration) -> Option<Vec<Event>> {
        let waiting = self.waiting();
        let nothing = |waiting: &mut Waiting| waiting.events.is_empty() && !waiting.is_closed;
        let (waiting, _) = self.changed.wait_timeout_while(waiting, idle, nothing).unwrap_or_else(PoisonError::into_inner);
        let wait = if waiting.events.is_empty() { Duration::ZERO } else { gather };
        let patient = |waiting: &mut Waiting| !waiting.is_urgent && !waiting.is_closed;
        let (mut waiting, _) = self.changed.wait_timeout_while(waiting, wait, patient).unwrap_or_else(PoisonError::into_inner);
        if waiting.events.is_empty() && waiting.is_closed {
            return None;
        }
        waiting.is_urgent = false;
        self.taken.notify_all();
        Some(std::mem::take(&mut waiting.events))
    }
}

/// How long a record may be in memory only: nothing where `allowed_ms` is 0, which is told by `None`.
pub(super) fn allowance(allowed_ms: u32) -> Option<Duration> {
    (allowed_ms > 0).then(|| Duration::from_millis(allowed_ms.min(ALLOWED_MS_MAX).into()))
}

/// Writes until nobody can tell anything any more.
pub(super) fn run(shared: &Weak<Shared>, queue: &Queue, spare: &Spare, allowed: Option<Duration>) {
    let mut desk = Desk::default();
    loop {
        let idle = if desk.is_clear() { Duration::MAX } else { RETRY };
        let Some(events) = queue.next(allowed.unwrap_or(GATHER), idle) else { return };
        // Without the service there is nothing to write to.
        let Some(shared) = shared.upgrade() else { return };
        desk.round(&shared, events, spare);
    }
}

fn tell(shared: &Arc<Shared>, alerts: &[(TenantId, Alert)], now: Timestamp) {
    let work = AssertUnwindSafe(|| webhooks::queue(shared, alerts, now));
    if std::panic::catch_unwind(work).is_err() {
        tracing::error!(alerts = alerts.len(), "alerts are lost; the reason stands before this");
    }
}

/// A record that waits for the end of its answer.
struct Open {
    record: Arc<UsageRecord>,
    text: String,
    turn: u64,
    since: Instant,
}

/// What is to be written of a record.
enum Step {
    /// It is new in the database, and waits for its end.
    Pending,
    /// It is new in the database.
    Posted { outcome: UsageOutcome, delivered_at: Option<Timestamp> },
    /// It is pending in the database.
    Post { outcome: UsageOutcome, delivered_at: Option<Timestamp> },
}

/// A write that is due.
struct Due {
    step: Step,
    record: Arc<UsageRecord>,
    text: String,
    /// Where it is in the log, until it is in the database.
    turn: Option<u64>,
    mark: Option<Mark>,
}

impl Due {
    fn write(&self) -> UsageWrite<'_> {
        let (record, text) = (&*self.record, Cow::Borrowed(self.text.as_str()));
        match self.step {
            Step::Pending => UsageWrite::Pending { record, text },
            Step::Posted { outcome, delivered_at } => UsageWrite::Posted { record, text, outcome, delivered_at },
            Step::Post { outcome, delivered_at } => UsageWrite::Post { record, outcome, delivered_at },
        }
    }
}

#[derive(Default)]
struct Desk {
    open: HashMap<UsageId, Open>,
    /// What could not be written yet.
    late: Vec<Due>,
    tried: Option<Instant>,
    /// What was written and is not flushed yet.
    unflushed: Vec<Due>,
    /// A flush has failed.
    is_broken: bool,
    /// How many records of a turn are not in the database.
    unwritten: HashMap<u64, usize>,
    /// Files of the log that are full.
    full: Vec<Segment>,
}

impl Desk {
    /// There is nothing to do unless something is told.
    fn is_clear(&self) -> bool {
        self.open.is_empty() && self.late.is_empty() && self.unflushed.is_empty()
    }

    fn round(&mut self, shared: &Arc<Shared>, events: Vec<Event>, spare: &Spare) {
        let store = &shared.store;
        let (mut due, mut askers) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            match event {
                Event::Logged { record, text, turn, is_final } => due.extend(self.logged(record, text, turn, is_final)),
                Event::Post { record, outcome, delivered_at, mark } => due.push(self.ended(record, outcome, delivered_at, mark)),
                Event::Full(segment) => self.full.push(segment),
                Event::Alerts(alerts, now) => tell(shared, &alerts, now),
                Event::Settle(asker) => askers.push(asker),
            }
        }
        self.write_open(if askers.is_empty() { OPEN_MAX } else { Duration::ZERO }, &mut due);
        self.write(store, due);
        self.flush(store, spare);
        for asker in askers {
            // Whoever asked may have stopped waiting.
            let _waiting = asker.send(self.late.is_empty() && !self.is_broken);
        }
    }

    /// A record is in the log: what is to be written at once.
    fn logged(&mut self, record: Arc<UsageRecord>, text: String, turn: u64, is_final: bool) -> Option<Due> {
        *self.unwritten.entry(turn).or_default() += 1;
        if is_final {
            let step = Step::Posted { outcome: record.outcome, delivered_at: None };
            return Some(Due { step, record, text, turn: Some(turn), mark: None });
        }
        self.open.insert(record.id, Open { record, text, turn, since: Instant::now() });
        None
    }

    /// The answer of a record has ended.
    fn ended(&mut self, record: Arc<UsageRecord>, outcome: UsageOutcome, delivered_at: Option<Timestamp>, mark: Option<Mark>) -> Due {
        match self.open.remove(&record.id) {
            Some(Open { text, turn, .. }) => Due { step: Step::Posted { outcome, delivered_at }, record, text, turn: Some(turn), mark },
            None => Due { step: Step::Post { outcome, delivered_at }, record, text: String::new(), turn: None, mark },
        }
    }

    /// Lets go of records that have been open for so long.
    fn write_open(&mut self, since: Duration, due: &mut Vec<Due>) {
        let long = self.open.extract_if(|_, open| open.since.elapsed() >= since);
        due.extend(long.map(|(_, open)| Due {
            step: Step::Pending,
            record: open.record,
            text: open.text,
            turn: Some(open.turn),
            mark: None,
        }));
    }

    /// Writes everything at once; if that fails, each on its own, so that what cannot be written costs nobody else.
    fn write(&mut self, store: &Store, due: Vec<Due>) {
        let mut due = due.into_iter();
        while self.late.is_empty() {
            let some: Vec<Due> = due.by_ref().take(WRITTEN_AT_ONCE).collect();
            if some.is_empty() {
                return;
            }
            match write(store, &some) {
                Ok(()) => self.unflushed.extend(some),
                Err(fault) => {
                    tracing::error!(
                        error = fault.why,
                        records = some.len(),
                        "usage cannot be written into the database; it is tried again"
                    );
                    self.late.extend(some);
                }
            }
        }
        // In their order: a record is pending before it is posted.
        self.late.extend(due);
        if self.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
            let late = std::mem::take(&mut self.late);
            let unflushed = &mut self.unflushed;
            self.late = one_by_one(late, |due| due.record.id, |due| write(store, std::slice::from_ref(due)), |due| unflushed.push(due));
            self.tried = (!self.late.is_empty()).then(Instant::now);
        }
    }

    /// Brings what was written to the disk, and gives back what it needs no more.
    fn flush(&mut self, store: &Store, spare: &Spare) {
        if !self.unflushed.is_empty()
            && !self.is_broken
            && let Err(error) = store.flush()
        {
            // The system may have given up what it could not write, and says so once only. What is written after that may
            // not be readable either: from here on marks and files of the log are kept for the next start.
            tracing::error!(%error, "usage cannot be flushed to the disk: restart the service when the disk is well");
            self.is_broken = true;
        }
        if self.is_broken {
            self.unflushed.clear();
            return;
        }
        for due in self.unflushed.drain(..) {
            if let Some(mark) = due.mark {
                mark.posted();
            }
            if let Some(unwritten) = due.turn.and_then(|turn| self.unwritten.get_mut(&turn)) {
                *unwritten -= 1;
            }
        }
        self.unwritten.retain(|_, unwritten| *unwritten > 0);
        for segment in self.full.extract_if(.., |segment| !self.unwritten.contains_key(&segment.turn())) {
            if let Err(error) = spare.give_back(segment) {
                tracing::error!(%error, "a file of the usage log cannot be emptied");
            }
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
fn write(store: &Store, due: &[Due]) -> Result<(), Fault> {
    if due.is_empty() {
        return Ok(());
    }
    let writes: Vec<UsageWrite<'_>> = due.iter().map(Due::write).collect();
    match std::panic::catch_unwind(AssertUnwindSafe(|| store.write_usage(&writes))) {
        Ok(written) => written.map_err(|error| Fault { why: error.to_string(), is_general: error.is_of_the_database() }),
        Err(_) => Err(Fault { why: "the store failed; its own message stands before this one".to_owned(), is_general: false }),
    }
}

/// Does what can be done; stops at a fault that the next would meet too, and does nothing of an id of which something before
/// is left. What is left.
fn one_by_one<T, I: Eq + Hash>(
    all: Vec<T>,
    id: impl Fn(&T) -> I,
    write: impl Fn(&T) -> Result<(), Fault>,
    mut done: impl FnMut(T),
) -> Vec<T> {
    let (mut left, mut left_ids, mut is_stopped) = (Vec::new(), HashSet::new(), false);
    for one in all {
        if is_stopped || left_ids.contains(&id(&one)) {
            left.push(one);
            continue;
        }
        match write(&one) {
            Ok(()) => done(one),
            Err(fault) => {
                is_stopped = fault.is_general;
                left_ids.insert(id(&one));
                left.push(one);
            }
        }
    }
    left
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
        let left = one_by_one(vec![1, 2, 3, 4], |one| *one, |one| if one % 2 == 0 { fault(false) } else { Ok(()) }, |one| done.push(one));
        assert_eq!((left, done), (vec![2, 4], vec![1, 3]));
    }

    #[test]
    fn a_record_is_not_posted_before_it_is_there() {
        let (mut done, steps) = (Vec::new(), vec![("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
        let left = one_by_one(steps, |step| step.0, |step| if *step == ("a", 1) { fault(false) } else { Ok(()) }, |step| done.push(step));
        assert_eq!((left, done), (vec![("a", 1), ("a", 2)], vec![("b", 1), ("b", 2)]));
    }

    #[test]
    fn a_fault_of_the_disk_is_met_once() {
        let tries = std::cell::Cell::new(0);
        let write = |_: &i32| {
            tries.set(tries.get() + 1);
            fault(true)
        };
        let left = one_by_one(vec![1, 2, 3], |one| *one, write, |_| ());
        assert_eq!((left, tries.get()), (vec![1, 2, 3], 1));
    }

    #[test]
    fn who_asks_is_not_made_to_wait_and_who_is_closed_ends() {
        let queue = Queue::default();
        assert_eq!(queue.next(Duration::from_secs(600), Duration::ZERO).map(|events| events.len()), Some(0));
        let (asker, _answer) = oneshot::channel();
        queue.push([Event::Settle(asker)]);
        assert_eq!(queue.next(Duration::from_secs(600), Duration::MAX).map(|events| events.len()), Some(1));
        queue.close();
        assert!(queue.next(Duration::from_secs(600), Duration::MAX).is_none());
    }
}
