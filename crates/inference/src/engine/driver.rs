//! The engine's thread: it owns the context and turns the scheduler's plans into tokens.
//!
//! Between two steps it takes commands, drops requests whose client has gone or whose deadline has passed, and lets
//! embeddings have a step of their own. Nothing in the loop waits for another thread while there is work.
//!
//! **Invariant:** the cache of the context is what the scheduler believes it is: every operation of a plan is
//! carried out, in order, before its rows are computed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use freehold_domain::{Error, ErrorCode};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::answers::{Answer, Next, Request, RequestKey, Submission, Workbench};
use super::embed::{Embedder, Job};
use super::gate::Figures;
use super::native::{Adapter, Batch, Context, StepError};
use super::schedule::{AdapterKey, Operation, Plan, Scheduler, Scope, SequenceKey, Ticket, Work};

/// When a request may be sent again for which there was no memory.
const RETRY_AFTER_S: u32 = 10;

/// What the engine's thread is asked to do.
pub(crate) enum Command {
    Generate(Box<Submission>),
    Embed(Job),
    LoadAdapter {
        key: u32,
        path: PathBuf,
        /// Told whether the adapter is loaded, before the reply is sent.
        done: Box<dyn FnOnce(bool) + Send>,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    UnloadAdapter {
        key: u32,
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// Everything that belongs to the engine's thread.
pub(crate) struct Driver {
    pub commands: Receiver<Command>,
    pub context: Context,
    pub scheduler: Scheduler,
    pub figures: Arc<Figures>,
    pub sequence_tokens_max: u32,
    pub embedding_tokens_max: u32,
    pub threads: u32,
    pub state: State,
}

/// What the thread builds up itself.
#[derive(Default)]
pub(crate) struct State {
    plan: Plan,
    batch: Batch,
    bench: Workbench,
    requests: Vec<Option<Request>>,
    unused: Vec<RequestKey>,
    /// By sequence.
    answers: Vec<Option<Answer>>,
    /// Copies of cached prefixes.
    parked: HashMap<Ticket, Vec<u8>>,
    adapters: BTreeMap<u32, Adapter>,
    adapter: AdapterKey,
    unloading: Vec<(u32, oneshot::Sender<Result<(), Error>>)>,
    embedder: Embedder,
    failures: u32,
}

impl Driver {
    /// Works until every handle of the engine is gone.
    ///
    /// # Errors
    /// A fault of the native code that the process should not go on with; every request has been told.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            if !self.take_commands() {
                self.fail_all(&Error::new(ErrorCode::Unavailable, "The model is being unloaded. Try again."));
                return Ok(());
            }
            let now = Instant::now();
            self.sweep(now);
            let result = self.step().and_then(|()| self.step_embeddings(now));
            self.finish_unloading();
            self.report();
            if let Err(fault) = result {
                self.fail_all(&Error::internal(fault));
                return Err(fault.to_string());
            }
        }
    }

    /// False when nobody can send commands any more.
    fn take_commands(&mut self) -> bool {
        while !self.scheduler.has_work() && !self.state.embedder.has_work() {
            match self.commands.recv() {
                Ok(command) => self.take(command),
                Err(_) => return false,
            }
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Generate(submission) => self.generate(*submission),
            Command::Embed(job) => self.state.embedder.submit(job),
            Command::LoadAdapter { key, path, done, reply } => {
                let result = Adapter::load(self.context.model(), &path).map(|adapter| {
                    self.state.adapters.insert(key, adapter);
                });
                let result = result.ok_or_else(|| {
                    let message = "The file is not a LoRA adapter in GGUF form that fits this model.";
                    Error::invalid("lora_path", message).with_context(path.display())
                });
                done(result.is_ok());
                let _ = reply.send(result);
            }
            Command::UnloadAdapter { key, reply } => {
                self.state.unloading.push((key, reply));
                self.finish_unloading();
            }
        }
    }

    fn generate(&mut self, submission: Submission) {
        let adapter = submission.adapter;
        if adapter.is_some_and(|key| !self.state.adapters.contains_key(&key)) {
            let name = submission.request.adapter.clone().unwrap_or_default();
            let (request, _) = Request::begin(submission, self.sequence_tokens_max, Instant::now());
            request.fail(Error::new(ErrorCode::ModelNotFound, format!("The adapter {name} was unloaded.")).with_param("model"));
            return;
        }
        let share = submission.request.share.clone();
        let scope = scope(&submission.request.cache_salt, adapter);
        let prompt = submission.request.prompt.clone();
        let (mut request, answers) = Request::begin(submission, self.sequence_tokens_max, Instant::now());
        let state = &mut self.state;
        let request_key = state.unused.pop().unwrap_or(state.requests.len());
        for mut answer in answers {
            let work = Work { share: share.clone(), scope, adapter, tokens: prompt.clone() };
            let key = self.scheduler.submit(work);
            answer.request = request_key;
            request.open.push(key);
            if state.answers.len() <= key {
                state.answers.resize_with(key + 1, || None);
            }
            state.answers[key] = Some(answer);
        }
        if request_key == state.requests.len() {
            state.requests.push(Some(request));
        } else {
            state.requests[request_key] = Some(request);
        }
    }

    /// Ends requests that nobody waits for and those that are too late.
    fn sweep(&mut self, now: Instant) {
        for key in 0..self.state.requests.len() {
            let Some(request) = &self.state.requests[key] else { continue };
            if request.is_abandoned() {
                self.remove(key);
            } else if request.is_overdue(now)
                && let Some(request) = self.remove(key)
            {
                request.fail(Error::new(ErrorCode::DeadlineExceeded, "The request's deadline passed before its answer was complete."));
            }
        }
    }

    /// Takes a request and all its sequences out.
    fn remove(&mut self, key: RequestKey) -> Option<Request> {
        let request = self.state.requests[key].take()?;
        self.state.unused.push(key);
        for &sequence in &request.open {
            self.state.answers[sequence] = None;
            self.scheduler.finish(sequence);
        }
        Some(request)
    }

    fn fail_all(&mut self, error: &Error) {
        for key in 0..self.state.requests.len() {
            if let Some(request) = self.remove(key) {
                request.fail(error.clone());
            }
        }
        self.state.embedder.fail_all(error);
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Generate(submission) = command {
                let (request, _) = Request::begin(*submission, self.sequence_tokens_max, Instant::now());
                request.fail(error.clone());
            }
        }
    }

    /// Computes one step of the answers.
    fn step(&mut self) -> Result<(), StepError> {
        if !self.scheduler.has_work() {
            return Ok(());
        }
        self.refuse_too_long();
        let mut plan = std::mem::take(&mut self.state.plan);
        self.scheduler.plan(&mut plan);
        let result = self.compute(&plan);
        if result == Ok(true) {
            self.scheduler.commit(&plan);
            for &(sequence, cached_tokens) in &plan.admitted {
                self.started(sequence, cached_tokens);
            }
            self.figures.steps.fetch_add(1, Relaxed);
            for &(row, sequence) in &plan.outputs {
                self.choose(row, sequence)?;
            }
        }
        self.state.plan = plan;
        result.map(|_| ())
    }

    /// False if there was no room and everything starts again.
    fn compute(&mut self, plan: &Plan) -> Result<bool, StepError> {
        let is_whole = match self.change_cache(&plan.operations) {
            Err(StepError::NoMemory(cells)) => return Ok(self.stay_small(plan, cells)),
            result => result?,
        };
        if plan.rows.is_empty() {
            return Ok(true);
        }
        if !is_whole {
            return self.start_again(plan, StepError::NoRoom);
        }
        if plan.adapter != self.state.adapter {
            let adapter = plan.adapter.and_then(|key| self.state.adapters.get(&key));
            if !self.context.set_adapter(adapter) {
                return Err(StepError::Fatal(-1));
            }
            self.state.adapter = plan.adapter;
        }
        let batch = &mut self.state.batch;
        batch.clear();
        for row in &plan.rows {
            batch.push(row.token, row.position, row.slot, row.output);
        }
        match self.context.compute(batch) {
            Ok(()) => {
                self.state.failures = 0;
                Ok(true)
            }
            Err(error) => self.start_again(plan, error),
        }
    }

    /// Carries out the operations of a plan. False if a copy could not be put back: its sequence lacks its beginning.
    fn change_cache(&mut self, operations: &[Operation]) -> Result<bool, StepError> {
        let mut is_whole = true;
        for &operation in operations {
            match operation {
                Operation::Clear(slot) => self.context.clear(slot),
                Operation::ClearAll => {
                    self.context.clear_all();
                    self.state.parked.clear();
                }
                Operation::Share { source, target, length } => self.context.share(source, target, length),
                Operation::Resize(cells) => {
                    // A new context has no adapter; one that has to stay as it is must have none either.
                    if self.state.adapter.take().is_some() && !self.context.set_adapter(None) {
                        return Err(StepError::Fatal(-1));
                    }
                    self.context.resize(cells)?;
                }
                Operation::Park { slot, ticket } => drop(self.state.parked.insert(ticket, self.context.copy_out(slot))),
                Operation::Restore { ticket, target, length } => {
                    let copy = self.state.parked.get(&ticket);
                    is_whole &= copy.is_some_and(|copy| self.context.copy_in(copy, target, length));
                }
                Operation::Drop(ticket) => drop(self.state.parked.remove(&ticket)),
            }
        }
        Ok(is_whole)
    }

    /// Lets everything start again after a step for which there was no room, a few times.
    fn start_again(&mut self, plan: &Plan, error: StepError) -> Result<bool, StepError> {
        if error != StepError::NoRoom || self.state.failures >= 3 {
            return Err(error);
        }
        tracing::warn!(rows = plan.rows.len(), "the cache had no room for a step; all sequences start again");
        self.state.failures += 1;
        for &(sequence, cached_tokens) in &plan.admitted {
            self.started(sequence, cached_tokens);
        }
        self.scheduler.restart();
        Ok(false)
    }

    /// Goes on with the cache as it is, from the beginning: there is no memory for a larger one.
    fn stay_small(&mut self, plan: &Plan, cells: u32) -> bool {
        let has = self.context.cells();
        tracing::warn!(wanted = cells, has, "there is no memory for a larger cache; all sequences start again in the one there is");
        for &(sequence, cached_tokens) in &plan.admitted {
            self.started(sequence, cached_tokens);
        }
        self.scheduler.stay_at(has);
        false
    }

    /// Fails the requests that alone are too long for a cache that could not grow.
    fn refuse_too_long(&mut self) {
        while let Some((sequence, tokens_max)) = self.scheduler.too_long() {
            let request = self.state.answers[sequence].as_ref().map(|answer| answer.request);
            match request.and_then(|request| self.remove(request)) {
                Some(request) => {
                    let message = format!(
                        "There is not enough memory for a context this long now: {tokens_max} tokens fit. Try again later or shorten the prompt."
                    );
                    request.fail(Error::new(ErrorCode::Unavailable, message).with_retry_after_s(RETRY_AFTER_S));
                }
                None => self.scheduler.finish(sequence),
            }
        }
    }

    fn started(&mut self, sequence: SequenceKey, cached_tokens: u32) {
        let Some(answer) = &self.state.answers[sequence] else { return };
        if let Some(request) = &mut self.state.requests[answer.request]
            && !request.started
        {
            request.start(cached_tokens, &self.figures);
        }
    }

    /// Chooses the token that follows a row.
    fn choose(&mut self, row: usize, sequence: SequenceKey) -> Result<(), StepError> {
        let state = &mut self.state;
        let Some(answer) = &mut state.answers[sequence] else { return Ok(()) };
        let request_key = answer.request;
        let Some(request) = &mut state.requests[request_key] else { return Ok(()) };
        let model = Arc::clone(self.context.model());
        let logits = self.context.logits(row).ok_or(StepError::Fatal(-1))?;
        self.figures.generation_tokens.fetch_add(1, Relaxed);
        match answer.next(request, logits, &model, &mut state.bench) {
            Next::Continue(token) => self.scheduler.push(sequence, token),
            Next::Finished => {
                request.open.retain(|&open| open != sequence);
                let done = request.open.is_empty();
                state.answers[sequence] = None;
                self.scheduler.finish(sequence);
                if done && let Some(request) = self.remove(request_key) {
                    request.done(&self.figures);
                }
            }
            Next::Failed(error) => {
                if let Some(request) = self.remove(request_key) {
                    request.fail(error);
                }
            }
        }
        Ok(())
    }

    fn step_embeddings(&mut self, now: Instant) -> Result<(), StepError> {
        if !self.state.embedder.has_work() {
            return Ok(());
        }
        let model = Arc::clone(self.context.model());
        let charged = self.state.embedder.step(&model, self.threads, self.embedding_tokens_max, now)?;
        if let Some((share, tokens)) = charged {
            self.scheduler.charge(&share, tokens);
            self.figures.prompt_tokens.fetch_add(u64::from(tokens), Relaxed);
            self.figures.steps.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Frees adapters that nobody uses any more.
    fn finish_unloading(&mut self) {
        let mut waiting = Vec::new();
        for (key, reply) in std::mem::take(&mut self.state.unloading) {
            if self.scheduler.uses_adapter(Some(key)) {
                waiting.push((key, reply));
                continue;
            }
            self.scheduler.forget_adapter(Some(key));
            if self.state.adapter == Some(key) {
                self.context.set_adapter(None);
                self.state.adapter = None;
            }
            self.state.adapters.remove(&key);
            let _ = reply.send(Ok(()));
        }
        self.state.unloading = waiting;
    }

    fn report(&self) {
        let requests = self.state.requests.iter().flatten();
        let (mut running, mut waiting) = (0, self.state.embedder.waiting());
        for request in requests {
            if request.started { running += 1 } else { waiting += 1 }
        }
        let figures = &self.figures;
        figures.running.store(running, Relaxed);
        figures.waiting.store(waiting, Relaxed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10^6")]
        figures.usage_ppm.store((self.scheduler.usage() * 1e6) as u32, Relaxed);
        figures.preemptions.store(self.scheduler.preemptions(), Relaxed);
    }
}

/// Who may share a prefix: those with equal salt and equal adapter.
fn scope(salt: &str, adapter: AdapterKey) -> Scope {
    let mut digest = Sha256::new();
    digest.update(adapter.map_or(0, |key| u64::from(key) + 1).to_le_bytes());
    digest.update(salt.as_bytes());
    digest.finalize().into()
}
