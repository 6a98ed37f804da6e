//! Which models are loaded and who makes room for whom: decisions only, no waiting, no processes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_inference::order::ReadyReport;
use tokio::sync::Notify;

use super::{ModelSpec, WorkerClient, WorkerStatus};

/// How long a model that could not be loaded is not tried again.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// How long a model that was loaded waits for whoever asked for it.
const UNCLAIMED_MAX: Duration = Duration::from_secs(1);
/// So many losses within the window, and the model is paused.
const CRASHES_MAX: u32 = 5;
const CRASH_WINDOW: Duration = Duration::from_secs(60);

/// What a look at the pool says.
pub(super) enum Turn {
    Yours(WorkerClient, Arc<AtomicU32>),
    Wait,
    /// The model was changed since it was looked up.
    Outdated,
}

#[derive(Debug)]
pub(super) struct Pool {
    budget_bytes: u64,
    slots: BTreeMap<ModelName, Slot>,
    /// Models that wait for memory, first come first served.
    queue: VecDeque<(ModelSpec, u64)>,
    /// Models that were given memory and whose processes must be started.
    starts: Vec<(ModelSpec, Arc<Notify>)>,
    serial: u64,
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Tells it from earlier workers of the model.
    serial: u64,
    pinned: bool,
    /// Takes no new leases: another model's turn, or told to unload.
    draining: bool,
    /// Told to unload: who asks now waits for the worker after it.
    must_end: bool,
    /// Has given a lease since it was loaded.
    served: bool,
    users: Arc<AtomicU32>,
    last_used: Instant,
    memory_bytes: u64,
    stop: Arc<Notify>,
    crashes: u32,
    recent_crashes: VecDeque<Instant>,
}

#[derive(Debug)]
enum State {
    Starting,
    Ready { client: WorkerClient, pid: Option<u32>, report: ReadyReport },
    Stopping,
    Failed { until: Instant, message: String },
}

impl Slot {
    fn is_unused(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }

    fn holds_memory(&self) -> bool {
        !matches!(self.state, State::Failed { .. })
    }

    fn begin_stop(&mut self) {
        self.state = State::Stopping;
        self.stop.notify_one();
    }
}

/// What the supervisor does after a worker was lost.
pub(super) enum AfterLoss {
    Restart(Duration),
    GiveUp,
}

impl Pool {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self { budget_bytes, slots: BTreeMap::new(), queue: VecDeque::new(), starts: Vec::new(), serial: 0, closed: false }
    }

    pub(super) fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    pub(super) fn reserved_bytes(&self) -> u64 {
        self.slots.values().filter(|slot| slot.holds_memory()).map(|slot| slot.memory_bytes).sum()
    }

    /// A lease, or a place in the queue.
    pub(super) fn turn(&mut self, spec: &ModelSpec, memory_bytes: u64, now: Instant) -> Result<Turn, Error> {
        if self.closed {
            return Err(Error::new(ErrorCode::Unavailable, "The service is stopping.").with_retry_after_s(10));
        }
        if spec.outdated.is_set() {
            return Ok(Turn::Outdated);
        }
        if let Some(slot) = self.slots.get_mut(&spec.name) {
            match &slot.state {
                State::Ready { client, .. } if !slot.draining => {
                    slot.users.fetch_add(1, Ordering::AcqRel);
                    slot.last_used = now;
                    slot.served = true;
                    return Ok(Turn::Yours(client.clone(), Arc::clone(&slot.users)));
                }
                State::Failed { until, message } if now < *until => {
                    return Err(Error::new(ErrorCode::Unavailable, message.clone()).with_retry_after_s(retry_after_s(*until - now)));
                }
                State::Failed { .. } => {
                    self.slots.remove(&spec.name);
                }
                State::Starting => return Ok(Turn::Wait),
                State::Ready { .. } | State::Stopping => {}
            }
        }
        match self.queue.iter_mut().find(|(queued, _)| queued.name == spec.name) {
            Some(place) if place.0.outdated.is_set() => *place = (spec.clone(), memory_bytes),
            Some(_) => {}
            None => self.queue.push_back((spec.clone(), memory_bytes)),
        }
        self.advance(now);
        match self.slots.get(&spec.name).map(|slot| &slot.state) {
            Some(State::Failed { message, .. }) => Err(Error::new(ErrorCode::Unavailable, message.clone())),
            _ => Ok(Turn::Wait),
        }
    }

    /// Gives memory to those who wait for it, in order, as far as it goes; makes models that are in the way give up theirs.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((spec, memory_bytes)) = self.queue.front().cloned() {
            if spec.outdated.is_set() {
                // Who waits for it looks it up again.
                self.queue.pop_front();
                continue;
            }
            if let Some(slot) = self.slots.get_mut(&spec.name) {
                match slot.state {
                    State::Stopping => return,
                    State::Ready { .. } if !slot.must_end => slot.draining = false,
                    // Its answers can take long yet. Who waits for its next worker asks again when this one has gone.
                    State::Ready { .. } | State::Starting | State::Failed { .. } => {}
                }
                self.queue.pop_front();
                continue;
            }
            if self.reserved_bytes() + memory_bytes <= self.budget_bytes {
                self.queue.pop_front();
                self.reserve(spec, memory_bytes, now);
            } else if self.make_room(memory_bytes, now) {
                return;
            } else {
                self.queue.pop_front();
                let message = self.does_not_fit(&spec.name, memory_bytes);
                self.insert(&spec, State::Failed { until: now + FAILURE_PAUSE, message }, memory_bytes, now);
            }
        }
    }

    /// Someone waits for memory.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The processes to be started now, each with the signal that stops it.
    pub(super) fn take_starts(&mut self) -> Vec<(ModelSpec, Arc<Notify>)> {
        std::mem::take(&mut self.starts)
    }

    fn reserve(&mut self, spec: ModelSpec, memory_bytes: u64, now: Instant) {
        self.insert(&spec, State::Starting, memory_bytes, now);
        let stop = Arc::clone(&self.slots[&spec.name].stop);
        self.starts.push((spec, stop));
    }

    fn insert(&mut self, spec: &ModelSpec, state: State, memory_bytes: u64, now: Instant) {
        self.serial += 1;
        let slot = Slot {
            state,
            serial: self.serial,
            pinned: spec.pinned,
            draining: false,
            must_end: false,
            served: false,
            users: Arc::new(AtomicU32::new(0)),
            last_used: now,
            memory_bytes,
            stop: Arc::new(Notify::new()),
            crashes: 0,
            recent_crashes: VecDeque::new(),
        };
        self.slots.insert(spec.name.clone(), slot);
    }

    /// Marks models to give up their memory, the one unused the longest first. False if even all of them do not do.
    ///
    /// A model that was loaded for someone is left alone until it has served once, or nobody came for it: two models
    /// that want the same memory take turns, and every turn gets something done.
    fn make_room(&mut self, memory_bytes: u64, now: Instant) -> bool {
        let mut kept: u64 = self.reserved_bytes();
        let mut candidates: Vec<(bool, bool, Instant, ModelName)> = Vec::new();
        for (name, slot) in &self.slots {
            if matches!(slot.state, State::Stopping) || (slot.holds_memory() && slot.draining) {
                kept -= slot.memory_bytes;
            } else if slot.holds_memory() && !slot.pinned {
                let is_ready = matches!(slot.state, State::Ready { .. });
                let had_its_turn = is_ready && (slot.served || now.saturating_duration_since(slot.last_used) > UNCLAIMED_MAX);
                candidates.push((!had_its_turn, !slot.is_unused(), slot.last_used, name.clone()));
            }
        }
        candidates.sort();
        let mut chosen = Vec::new();
        for (must_wait, _, _, name) in candidates {
            if kept + memory_bytes <= self.budget_bytes {
                break;
            }
            kept -= self.slots[&name].memory_bytes;
            if !must_wait {
                chosen.push(name);
            }
        }
        if kept + memory_bytes > self.budget_bytes {
            return false;
        }
        for name in chosen {
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.draining = true;
                if slot.is_unused() {
                    slot.begin_stop();
                }
            }
        }
        true
    }

    fn does_not_fit(&self, name: &ModelName, memory_bytes: u64) -> String {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let pinned: u64 = self.slots.values().filter(|slot| slot.pinned && slot.holds_memory()).map(|slot| slot.memory_bytes).sum();
        let pins = if pinned > 0 { format!(", of which pinned models hold {} MiB", mib(pinned)) } else { String::new() };
        format!(
            "The model `{name}` needs {} MiB and the budget is {} MiB{pins}. The operator can raise `memory_budget`, lower `context_tokens`, or add a smaller representation (`freehold model add --quantize q4_0`).",
            mib(memory_bytes),
            mib(self.budget_bytes)
        )
    }

    /// A lease was given back.
    pub(super) fn released(&mut self, model: &ModelName, now: Instant) {
        if let Some(slot) = self.slots.get_mut(model) {
            slot.last_used = now;
            if slot.draining && slot.is_unused() && matches!(slot.state, State::Ready { .. }) {
                slot.begin_stop();
            }
        }
    }

    /// The worker serves. False if it should stop instead.
    pub(super) fn ready(&mut self, model: &ModelName, client: WorkerClient, pid: Option<u32>, report: ReadyReport, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(model) else { return false };
        if matches!(slot.state, State::Stopping) {
            return false;
        }
        slot.state = State::Ready { client, pid, report };
        slot.last_used = now;
        let wanted_elsewhere = slot.draining && slot.is_unused();
        if wanted_elsewhere {
            slot.begin_stop();
        }
        !wanted_elsewhere
    }

    /// The worker could not be loaded.
    pub(super) fn failed(&mut self, model: &ModelName, message: String, now: Instant) {
        let Some(slot) = self.slots.get_mut(model) else { return };
        if slot.must_end {
            // Whoever comes next wants another file.
            self.slots.remove(model);
        } else {
            slot.state = State::Failed { until: now + FAILURE_PAUSE, message };
        }
    }

    /// The worker served and is gone without having been told to.
    pub(super) fn lost(&mut self, model: &ModelName, now: Instant) -> AfterLoss {
        let Some(slot) = self.slots.get_mut(model) else { return AfterLoss::GiveUp };
        slot.crashes += 1;
        if matches!(slot.state, State::Stopping) || slot.draining {
            return AfterLoss::GiveUp;
        }
        slot.recent_crashes.push_back(now);
        while slot.recent_crashes.front().is_some_and(|&crash| now.duration_since(crash) > CRASH_WINDOW) {
            slot.recent_crashes.pop_front();
        }
        let recent = u32::try_from(slot.recent_crashes.len()).unwrap_or(u32::MAX);
        if recent > CRASHES_MAX {
            slot.state = State::Failed {
                until: now + CRASH_WINDOW,
                message: format!(
                    "The worker of `{model}` was lost {recent} times within a minute and rests for a minute. Its log says why."
                ),
            };
            return AfterLoss::GiveUp;
        }
        slot.state = State::Starting;
        AfterLoss::Restart(Duration::from_millis(if recent <= 1 { 0 } else { 250 << recent.min(4) }))
    }

    /// How often the worker was lost within the last minute.
    pub(super) fn recent_losses(&self, model: &ModelName, now: Instant) -> usize {
        let recent = |slot: &Slot| slot.recent_crashes.iter().filter(|crash| now.duration_since(**crash) <= CRASH_WINDOW).count();
        self.slots.get(model).map_or(0, recent)
    }

    /// The worker's process has ended and its memory is free.
    pub(super) fn gone(&mut self, model: &ModelName) {
        if self.slots.get(model).is_some_and(Slot::holds_memory) {
            self.slots.remove(model);
        }
    }

    /// Stops models that have not been used since `idle` ago.
    pub(super) fn unload_idle(&mut self, idle: Duration, now: Instant) {
        for slot in self.slots.values_mut() {
            if matches!(slot.state, State::Ready { .. })
                && !slot.pinned
                && slot.is_unused()
                && now.saturating_duration_since(slot.last_used) >= idle
            {
                slot.begin_stop();
            }
        }
    }

    /// Drains the worker of a model, if it has one, and says which that is.
    pub(super) fn unload(&mut self, model: &ModelName) -> Option<u64> {
        let slot = self.slots.get_mut(model)?;
        let serial = slot.serial;
        match slot.state {
            State::Failed { .. } => {
                self.slots.remove(model);
                return None;
            }
            State::Ready { .. } | State::Starting => {
                (slot.draining, slot.must_end) = (true, true);
                if slot.is_unused() && matches!(slot.state, State::Ready { .. }) {
                    slot.begin_stop();
                }
            }
            State::Stopping => {}
        }
        Some(serial)
    }

    /// Whether a model's worker with this serial is gone; there may be one after it.
    pub(super) fn has_ended(&self, model: &ModelName, serial: u64) -> bool {
        self.slots.get(model).is_none_or(|slot| slot.serial != serial || !slot.holds_memory())
    }

    pub(super) fn pin(&mut self, model: &ModelName, pinned: bool) {
        if let Some(slot) = self.slots.get_mut(model) {
            slot.pinned = pinned;
        }
    }

    pub(super) fn client(&self, model: &ModelName) -> Option<WorkerClient> {
        match &self.slots.get(model)?.state {
            State::Ready { client, .. } => Some(client.clone()),
            _ => None,
        }
    }

    pub(super) fn clients(&self) -> Vec<(ModelName, WorkerClient)> {
        self.slots.keys().filter_map(|name| Some((name.clone(), self.client(name)?))).collect()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.queue.clear();
        self.slots.retain(|_, slot| slot.holds_memory());
        for slot in self.slots.values_mut() {
            slot.begin_stop();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.values().all(|slot| !slot.holds_memory())
    }

    pub(super) fn status(&self) -> Vec<WorkerStatus> {
        let status = |(name, slot): (&ModelName, &Slot)| {
            let (state, pid, ready, failure) = match &slot.state {
                State::Starting => ("starting", None, None, None),
                State::Ready { pid, report, .. } => (if slot.draining { "draining" } else { "ready" }, *pid, Some(report.clone()), None),
                State::Stopping => ("stopping", None, None, None),
                State::Failed { message, .. } => ("failed", None, None, Some(message.clone())),
            };
            WorkerStatus {
                model: name.clone(),
                state,
                pid,
                requests: slot.users.load(Ordering::Acquire),
                memory_bytes: if slot.holds_memory() { slot.memory_bytes } else { 0 },
                ready,
                failure,
                crashes: slot.crashes,
            }
        };
        self.slots.iter().map(status).collect()
    }
}

fn retry_after_s(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Outdated;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn spec(name: &str, pinned: bool) -> ModelSpec {
        ModelSpec {
            name: name.parse().expect("a name"),
            path: "/nowhere".into(),
            file_bytes: 0,
            context_length: 0,
            kv_bytes_per_token: 0,
            pinned,
            adapters: Vec::new(),
            upstream: None,
            outdated: Outdated::default(),
        }
    }

    fn report() -> ReadyReport {
        ReadyReport { context_tokens: 0, sequence_tokens_max: 0, weights_bytes: 0, cache_bytes: 0, placement: Vec::new(), load_ms: 0 }
    }

    /// Everything that was given memory gets ready; everything that was told to stop ends.
    fn settle(pool: &mut Pool, now: Instant) {
        for (spec, _) in pool.take_starts() {
            pool.ready(&spec.name, WorkerClient::new(std::path::Path::new("/nowhere")), None, report(), now);
        }
        let stopping: Vec<ModelName> =
            pool.slots.iter().filter(|(_, slot)| matches!(slot.state, State::Stopping)).map(|(name, _)| name.clone()).collect();
        for name in stopping {
            pool.gone(&name);
        }
        pool.advance(now);
    }

    fn lease(pool: &mut Pool, spec: &ModelSpec, now: Instant) -> Option<Arc<AtomicU32>> {
        match pool.turn(spec, 60 * MIB, now).expect("no refusal") {
            Turn::Yours(_, users) => Some(users),
            Turn::Wait => None,
            Turn::Outdated => panic!("it was changed"),
        }
    }

    fn give_back(pool: &mut Pool, spec: &ModelSpec, users: &AtomicU32, now: Instant) {
        users.fetch_sub(1, Ordering::AcqRel);
        pool.released(&spec.name, now);
    }

    #[test]
    fn two_models_that_want_the_same_memory_take_turns_and_both_get_on() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let specs = [spec("one", false), spec("two", false)];
        let mut served = [0, 0];
        for _ in 0..40 {
            for (index, spec) in specs.iter().enumerate() {
                if let Some(users) = lease(&mut pool, spec, now) {
                    served[index] += 1;
                    give_back(&mut pool, spec, &users, now);
                }
                settle(&mut pool, now);
                assert!(pool.reserved_bytes() <= pool.budget_bytes());
            }
        }
        assert!(served.iter().all(|&count| count >= 5), "{served:?}");
    }

    #[test]
    fn a_busy_model_gives_way_when_its_answers_have_ended() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let (one, two) = (spec("one", false), spec("two", false));
        assert!(lease(&mut pool, &one, now).is_none());
        settle(&mut pool, now);
        let users = lease(&mut pool, &one, now).expect("loaded");
        assert!(lease(&mut pool, &two, now).is_none());
        assert!(lease(&mut pool, &one, now).is_none(), "it is the other's turn");
        settle(&mut pool, now);
        assert!(pool.client(&one.name).is_some(), "its answer goes on");
        give_back(&mut pool, &one, &users, now);
        settle(&mut pool, now);
        settle(&mut pool, now);
        assert!(lease(&mut pool, &two, now).is_some());
    }

    #[test]
    fn a_model_that_is_changed_while_it_is_waited_for_is_served_from_its_new_file() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let (old, two) = (spec("one", false), spec("two", false));
        let new = ModelSpec { path: "/original".into(), outdated: Outdated::default(), ..old.clone() };
        assert!(lease(&mut pool, &old, now).is_none());
        settle(&mut pool, now);
        let users = lease(&mut pool, &old, now).expect("loaded");
        // It is busy, another model waits for its memory, and a request for it waits behind that one.
        assert!(lease(&mut pool, &two, now).is_none());
        assert!(lease(&mut pool, &old, now).is_none());
        old.outdated.set();
        let worker = pool.unload(&old.name).expect("its answer goes on");
        assert!(matches!(pool.turn(&old, 60 * MIB, now), Ok(Turn::Outdated)));
        assert!(lease(&mut pool, &new, now).is_none(), "the new file waits for the end of the old one");
        give_back(&mut pool, &old, &users, now);
        let mut started = Vec::new();
        for _ in 0..4 {
            started.extend(pool.starts.iter().map(|(spec, _)| (spec.name.to_string(), spec.path.clone())));
            settle(&mut pool, now);
            let _done = lease(&mut pool, &two, now).inspect(|users| give_back(&mut pool, &two, users, now));
            let _waits = lease(&mut pool, &new, now);
        }
        assert!(pool.has_ended(&old.name, worker));
        assert!(started.contains(&("one".to_owned(), "/original".into())), "{started:?}");
        assert!(!started.contains(&("one".to_owned(), old.path.clone())), "{started:?}");
    }

    #[test]
    fn a_worker_that_must_end_ends_when_its_answers_have_and_who_asks_waits_for_the_next() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let one = spec("one", false);
        assert_eq!(pool.unload(&one.name), None, "it is not loaded");
        assert!(lease(&mut pool, &one, now).is_none());
        settle(&mut pool, now);
        let users = lease(&mut pool, &one, now).expect("loaded");
        let worker = pool.unload(&one.name).expect("it is loaded");
        for _ in 0..3 {
            assert!(lease(&mut pool, &one, now).is_none(), "it gives no answer any more");
            settle(&mut pool, now);
            assert!(!pool.has_ended(&one.name, worker));
        }
        give_back(&mut pool, &one, &users, now);
        settle(&mut pool, now);
        assert!(pool.has_ended(&one.name, worker));
        assert!(lease(&mut pool, &one, now).is_none(), "who waited asks again");
        settle(&mut pool, now);
        assert!(lease(&mut pool, &one, now).is_some());
        assert!(pool.has_ended(&one.name, worker), "that is another one");
    }

    #[test]
    fn nobody_else_waits_for_the_answers_of_a_worker_that_must_end() {
        let now = Instant::now();
        let mut pool = Pool::new(200 * MIB);
        let (one, two) = (spec("one", false), spec("two", false));
        assert!(lease(&mut pool, &one, now).is_none());
        settle(&mut pool, now);
        let _answers = lease(&mut pool, &one, now).expect("loaded");
        pool.unload(&one.name).expect("it is loaded");
        assert!(lease(&mut pool, &one, now).is_none());
        assert!(lease(&mut pool, &two, now).is_none());
        settle(&mut pool, now);
        assert!(lease(&mut pool, &two, now).is_some(), "there is memory for it");
    }

    #[test]
    fn a_worker_that_was_given_up_while_it_loaded_leaves_no_failure_behind() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let one = spec("one", false);
        assert!(lease(&mut pool, &one, now).is_none());
        let worker = pool.unload(&one.name).expect("it is loading");
        pool.failed(&one.name, "the old file".to_owned(), now);
        assert!(pool.has_ended(&one.name, worker));
        assert!(matches!(pool.turn(&one, 60 * MIB, now), Ok(Turn::Wait)), "the next one is tried at once");
    }

    #[test]
    fn a_pinned_model_is_left_alone_and_what_cannot_fit_is_refused_with_numbers() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let (one, two) = (spec("one", true), spec("two", false));
        assert!(lease(&mut pool, &one, now).is_none());
        settle(&mut pool, now);
        assert!(lease(&mut pool, &one, now).is_some());
        let Err(error) = pool.turn(&two, 60 * MIB, now) else { panic!("it cannot fit") };
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.contains("60 MiB") && error.message.contains("100 MiB"), "{}", error.message);
    }

    #[test]
    fn a_worker_that_is_lost_again_and_again_rests() {
        let now = Instant::now();
        let mut pool = Pool::new(100 * MIB);
        let one = spec("one", false);
        assert!(lease(&mut pool, &one, now).is_none());
        settle(&mut pool, now);
        for loss in 1..=CRASHES_MAX {
            assert!(matches!(pool.lost(&one.name, now), AfterLoss::Restart(_)), "loss {loss}");
        }
        assert!(matches!(pool.lost(&one.name, now), AfterLoss::GiveUp));
        assert!(pool.turn(&one, 60 * MIB, now).is_err());
        assert!(lease(&mut pool, &one, now + CRASH_WINDOW).is_none(), "after its rest it is tried again");
    }
}
