//! The workers: which models are loaded, within which memory, and who may use them now.
//!
//! A request takes a [`Lease`] on a model and keeps it until its answer has ended. A model that is not loaded is
//! loaded on demand; models that nobody uses make room, the one unused the longest first; a model that is idle for
//! long enough is unloaded; a worker that dies is started again.
//!
//! Memory is reserved before a worker starts, from the model's file and cache sizes, so the budget holds at every
//! moment. When a model must make room while it is busy, it takes no new leases until the other has had its turn:
//! two busy models under a budget for one take turns and neither starves.
//!
//! Nothing here is durable: after a restart no worker runs (they end with the service) and models are loaded again
//! as they are asked for.
//!
//! **Invariant:** [`pool`] decides and never waits; [`supervisor`] waits and never decides.

mod client;
mod pool;
mod process;
mod supervisor;
mod upstream;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_inference::order::{AdapterFile, Order, ReadyReport, Report};
use tokio::sync::Notify;

pub use client::{ANSWER_BYTES_MAX, ClientError, WorkerClient, read_whole};
use pool::{Pool, Turn};
use process::Launcher;
pub use upstream::UpstreamSpec;
use upstream::{Place, Upstreams};
pub use wire::WireBody;

/// Most requests that wait for a model to be loaded.
const WAITING_MAX: u32 = 4096;
/// After so many losses within a minute a request is not tried again.
const LOSSES_FORGIVEN: usize = 2;
/// How long a worker that does not answer may take to be known as lost.
const LOSS_PATIENCE: Duration = Duration::from_secs(2);

/// What the workers are run with.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The program that takes orders, and its arguments.
    pub program: PathBuf,
    /// Arguments that make the program a worker.
    pub arguments: Vec<String>,
    /// Folder for the sockets.
    pub run_dir: PathBuf,
    /// Memory for all workers together, in bytes.
    pub memory_budget_bytes: u64,
    /// Unload a model after so long without a request; `None` keeps it.
    pub idle_unload: Option<Duration>,
    /// Most tokens of KV cache a worker.
    pub context_tokens_max: u32,
    /// Most sequences that a worker computes at once.
    pub sequences_max: u32,
    /// Most requests that wait in a worker.
    pub queue_max: u32,
    /// Threads a worker computes with; `None`: one for each core.
    pub threads: Option<u32>,
    /// Layers to put on a GPU; `None`: as many as fit.
    pub gpu_layers: Option<u32>,
    /// Most time from a request's arrival to its last token.
    pub deadline: Duration,
    /// Write prompts and answers to the log.
    pub log_prompts: bool,
    /// Keep a started process waiting for its order.
    pub keep_spare: bool,
    /// How long a worker may take to end its streams when it is stopped.
    pub stop_grace: Duration,
}

/// Whether something has changed since it was read. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Outdated(Arc<AtomicBool>);

impl Outdated {
    /// It has.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the pool must know of a model.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Its name.
    pub name: ModelName,
    /// The GGUF file to load.
    pub path: PathBuf,
    /// The file's size.
    pub file_bytes: u64,
    /// The model's own context, in tokens.
    pub context_length: u32,
    /// KV cache of one token, in bytes.
    pub kv_bytes_per_token: u64,
    /// Keep it loaded.
    pub pinned: bool,
    /// Its adapters.
    pub adapters: Vec<AdapterFile>,
    /// The server that serves it; there is no file then, and no worker is started.
    pub upstream: Option<Arc<UpstreamSpec>>,
    /// The model was changed or removed since: no worker is started from this any more.
    pub outdated: Outdated,
}

impl ModelSpec {
    /// Who fulfils, as usage records name it.
    pub fn provider(&self) -> &str {
        self.upstream.as_ref().map_or("own", |upstream| &upstream.provider)
    }
}

/// The worker of a model, as `status` shows it.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// The model.
    pub model: ModelName,
    /// `starting`, `ready`, `draining`, `stopping` or `failed`; of a model that another server serves `ready` or
    /// `unreachable`.
    pub state: &'static str,
    /// The process.
    pub pid: Option<u32>,
    /// Requests that use it now.
    pub requests: u32,
    /// Memory that is reserved for it, in bytes.
    pub memory_bytes: u64,
    /// What it reported when it was ready.
    pub ready: Option<ReadyReport>,
    /// Why it failed.
    pub failure: Option<String>,
    /// How often it was lost since it was first loaded.
    pub crashes: u32,
}

/// The pool of workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: WorkerSettings,
    launcher: Launcher,
    pool: Mutex<Pool>,
    upstreams: Upstreams,
    waiting: AtomicU32,
    changed: Notify,
}

/// The right to use a loaded model. Dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    client: WorkerClient,
    held: Held,
}

/// What a lease holds.
#[derive(Debug)]
enum Held {
    #[expect(dead_code, reason = "it is given back when it goes")]
    Worker(Use),
    Upstream(Place),
}

/// A use of a worker.
#[derive(Debug)]
struct Use {
    users: Arc<AtomicU32>,
    shared: Arc<Shared>,
    model: ModelName,
}

impl Lease {
    /// The worker.
    pub fn client(&self) -> &WorkerClient {
        &self.client
    }

    fn of_upstream(client: WorkerClient, place: Place) -> Self {
        Self { client, held: Held::Upstream(place) }
    }

    /// Notes that the server behind it does not say how many tokens there were.
    pub fn note_no_account(&self) {
        if let Held::Upstream(place) = &self.held {
            place.note_no_account();
        }
    }

    /// Notes whether the server behind it could be reached.
    pub fn note_reachable(&self, reachable: bool) {
        if let Held::Upstream(place) = &self.held {
            place.note(reachable);
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.users.fetch_sub(1, Ordering::AcqRel);
        self.shared.pool().released(&self.model, Instant::now());
        self.shared.changed.notify_waiters();
    }
}

impl Workers {
    /// A pool without workers. Starts the spare process, and a task that unloads idle models.
    ///
    /// # Errors
    /// The folder for the sockets cannot be made.
    pub fn new(settings: WorkerSettings) -> std::io::Result<Self> {
        std::fs::create_dir_all(&settings.run_dir)?;
        let launcher = Launcher::new(settings.program.clone(), settings.arguments.clone(), settings.keep_spare);
        launcher.prepare_spare();
        let pool = Pool::new(settings.memory_budget_bytes);
        let shared = Arc::new(Shared {
            settings,
            launcher,
            pool: Mutex::new(pool),
            upstreams: Upstreams::default(),
            waiting: AtomicU32::new(0),
            changed: Notify::new(),
        });
        tokio::spawn(supervisor::unload_idle(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Takes a lease on a model, loading it if need be. `None` when it was changed since `spec` was read: look it up again.
    ///
    /// # Errors
    /// `unavailable` when it cannot be loaded, `deadline_exceeded`, `rate_limited` when too many wait already.
    pub async fn lease(&self, spec: &ModelSpec, deadline: Instant) -> Result<Option<Lease>, Error> {
        if let Some(upstream) = &spec.upstream {
            return self.shared.upstreams.lease(spec, upstream, deadline).await.map(Some);
        }
        let _waiting = Waiting::enter(&self.shared.waiting, WAITING_MAX).ok_or_else(|| {
            Error::new(ErrorCode::RateLimited, "Too many requests wait for models to be loaded. Try again later.").with_retry_after_s(10)
        })?;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            match self.shared.turn(spec)? {
                Turn::Yours(client, users) => {
                    let held = Held::Worker(Use { users, shared: Arc::clone(&self.shared), model: spec.name.clone() });
                    return Ok(Some(Lease { client, held }));
                }
                Turn::Outdated => return Ok(None),
                Turn::Wait => tokio::time::timeout_at(deadline.into(), changed).await.map_err(|_| {
                    Error::new(
                        ErrorCode::DeadlineExceeded,
                        format!("The model `{}` was not ready before the request's deadline. Try again.", spec.name),
                    )
                    .with_retry_after_s(5)
                })?,
            }
        }
    }

    /// Gives back a lease whose worker did not answer, and waits until that one is known to be gone. False when workers are
    /// lost one after the other: it may be this request that ends them.
    pub async fn may_ask_again(&self, spec: &ModelSpec, lost: Lease) -> bool {
        let client = lost.client.clone();
        drop(lost);
        // That a process has ended is known a moment after its sockets are closed.
        let patience = tokio::time::Instant::now() + LOSS_PATIENCE;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let is_known = self.loaded(&spec.name).is_none_or(|loaded| !loaded.is_of(&client));
            if is_known || tokio::time::timeout_at(patience, changed).await.is_err() {
                break;
            }
        }
        self.shared.pool().recent_losses(&spec.name, Instant::now()) <= LOSSES_FORGIVEN
    }

    /// Wakes all who wait for a model: one was changed.
    pub fn look_again(&self) {
        self.shared.changed.notify_waiters();
    }

    /// The client of a model that is loaded now, without a lease: for metrics and adapters.
    pub fn loaded(&self, model: &ModelName) -> Option<WorkerClient> {
        self.shared.pool().client(model)
    }

    /// Every model that is loaded now.
    pub fn all_loaded(&self) -> Vec<(ModelName, WorkerClient)> {
        self.shared.pool().clients()
    }

    /// Unloads a model when its requests have ended, and waits for that until the deadline. Requests that come meanwhile wait,
    /// and load it again.
    ///
    /// # Errors
    /// `deadline_exceeded`; it is unloaded later all the same.
    pub async fn unload(&self, model: &ModelName, deadline: Instant) -> Result<(), Error> {
        let Some(worker) = self.shared.pool().unload(model) else { return Ok(()) };
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if self.shared.pool().has_ended(model, worker) {
                return Ok(());
            }
            tokio::time::timeout_at(deadline.into(), changed).await.map_err(|_| {
                Error::new(ErrorCode::DeadlineExceeded, format!("`{model}` is still answering; it is unloaded when it is done."))
            })?;
        }
    }

    /// Keeps a model loaded, or stops doing so.
    pub fn pin(&self, model: &ModelName, pinned: bool) {
        self.shared.pool().pin(model, pinned);
    }

    /// The workers, by model.
    pub fn status(&self) -> Vec<WorkerStatus> {
        let mut status = self.shared.pool().status();
        status.extend(self.shared.upstreams.status());
        status.sort_by(|one, other| one.model.cmp(&other.model));
        status
    }

    /// Lets go of the server of a model that was changed or removed.
    pub fn forget_upstream(&self, model: &ModelName) {
        self.shared.upstreams.forget(model);
    }

    /// Memory for all workers together, and what is reserved of it, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let pool = self.shared.pool();
        (pool.budget_bytes(), pool.reserved_bytes())
    }

    /// Carries out an order that is not `serve` in a process of its own; `on_report` hears everything but the last.
    ///
    /// # Errors
    /// The process cannot be started, is lost, or reports a failure.
    pub async fn run_order(&self, order: &Order, on_report: &(dyn Fn(&Report) + Send + Sync)) -> Result<Report, Error> {
        supervisor::run_order(&self.shared.launcher, order, on_report).await
    }

    /// Takes no more leases and stops every worker; resolves when all have ended.
    pub async fn shut_down(&self) {
        self.shared.launcher.drop_spare();
        self.shared.pool().close();
        self.shared.changed.notify_waiters();
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if self.shared.pool().is_empty() {
                break;
            }
            changed.await;
        }
        if let Err(error) = std::fs::remove_dir(&self.shared.settings.run_dir) {
            tracing::debug!(%error, "the folder of the sockets stays");
        }
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at the pool. Starts the workers whose turn it is.
    fn turn(self: &Arc<Self>, spec: &ModelSpec) -> Result<Turn, Error> {
        let mut pool = self.pool();
        let turn = pool.turn(spec, self.settings.memory_of(spec), Instant::now())?;
        for (spec, stop) in pool.take_starts() {
            tokio::spawn(supervisor::supervise(Arc::clone(self), spec, stop));
        }
        Ok(turn)
    }

    fn start_next(self: &Arc<Self>) {
        let starts = {
            let mut pool = self.pool();
            pool.advance(Instant::now());
            pool.take_starts()
        };
        for (spec, stop) in starts {
            tokio::spawn(supervisor::supervise(Arc::clone(self), spec, stop));
        }
        self.changed.notify_waiters();
    }
}

impl Workers {
    /// Tokens of context that a model is given.
    pub fn context_tokens(&self, spec: &ModelSpec) -> u32 {
        if spec.upstream.is_some() { spec.context_length } else { self.shared.settings.context_tokens(spec) }
    }
}

impl WorkerSettings {
    /// Tokens of KV cache that the model is given: its own context, but no more than the settings allow and no more
    /// than fit beside the weights.
    pub fn context_tokens(&self, spec: &ModelSpec) -> u32 {
        let wanted = spec.context_length.min(self.context_tokens_max).max(256);
        let room = self.memory_budget_bytes.saturating_sub(spec.file_bytes + WORKER_OVERHEAD_BYTES);
        let fits = room.checked_div(spec.kv_bytes_per_token.max(1)).unwrap_or(u64::MAX);
        wanted.min(u32::try_from(fits).unwrap_or(u32::MAX)).max(256)
    }

    fn memory_of(&self, spec: &ModelSpec) -> u64 {
        spec.file_bytes + u64::from(self.context_tokens(spec)) * spec.kv_bytes_per_token + WORKER_OVERHEAD_BYTES
    }

    fn socket(&self, model: &ModelName, generation: u64) -> PathBuf {
        self.run_dir.join(format!("{generation}-{}.sock", &model.as_str()[..model.as_str().len().min(24)]))
    }
}

/// Compute buffers and the process itself.
const WORKER_OVERHEAD_BYTES: u64 = 160 << 20;

/// A folder for sockets whose paths stay under the 107 bytes that a Unix socket's address holds.
pub fn run_dir(data_dir: &Path, process_id: u32) -> PathBuf {
    const FOLDER_BYTES_MAX: usize = 60;
    let beside_the_data = data_dir.join("run");
    if beside_the_data.as_os_str().len() <= FOLDER_BYTES_MAX {
        beside_the_data
    } else {
        std::env::temp_dir().join(format!("freehold-{process_id}"))
    }
}

/// Counts a request that waits for its lease.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    /// `None` when so many wait already.
    fn enter(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let one = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
