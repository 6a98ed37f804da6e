//! One task for each worker: starts its process, tells the pool what becomes of it, starts it again when it is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use freehold_domain::{Error, ErrorCode};
use freehold_inference::order::{Order, ReadyReport, Report, ServeOrder};
use tokio::sync::Notify;

use super::pool::AfterLoss;
use super::process::{Launcher, WorkerProcess};
use super::{ModelSpec, Shared, WorkerClient};

/// How often idle models are looked for.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// How long after a load the next spare process is started.
const SPARE_PAUSE: Duration = Duration::from_secs(1);

/// How a worker's life ended.
enum End {
    Stopped,
    LoadFailed(String),
    Lost(String),
}

/// Runs the worker of a model until it is stopped or given up.
pub(super) async fn supervise(shared: Arc<Shared>, spec: ModelSpec, stop: Arc<Notify>) {
    loop {
        let end = live(&shared, &spec, &stop).await;
        let now = Instant::now();
        match end {
            End::Stopped => shared.pool().gone(&spec.name),
            End::LoadFailed(message) => {
                tracing::error!(model = %spec.name, message, "the model could not be loaded");
                shared.pool().failed(&spec.name, format!("The model `{}` could not be loaded: {message}", spec.name), now);
            }
            End::Lost(status) => {
                let after = shared.pool().lost(&spec.name, now);
                shared.changed.notify_waiters();
                tracing::error!(model = %spec.name, status, "the worker was lost");
                match after {
                    AfterLoss::Restart(pause) => {
                        tokio::time::sleep(pause).await;
                        if !spec.outdated.is_set() {
                            continue;
                        }
                        // The next worker is started as the model is then.
                        shared.pool().gone(&spec.name);
                    }
                    AfterLoss::GiveUp => shared.pool().gone(&spec.name),
                }
            }
        }
        shared.start_next();
        return;
    }
}

/// One process, from its start to its end.
async fn live(shared: &Arc<Shared>, spec: &ModelSpec, stop: &Notify) -> End {
    static GENERATION: AtomicU64 = AtomicU64::new(0);
    let socket = shared.settings.socket(&spec.name, GENERATION.fetch_add(1, Ordering::Relaxed));
    let order = Order::Serve(serve_order(shared, spec, &socket));
    let mut process = match shared.launcher.start(&order).await {
        Ok(process) => process,
        Err(error) => return End::LoadFailed(format!("its worker cannot be started ({error})")),
    };
    let report = tokio::select! {
        report = wait_until_ready(&mut process) => report,
        () = stop.notified() => {
            process.stop(shared.settings.stop_grace).await;
            return End::Stopped;
        }
    };
    let report = match report {
        Ok(report) => report,
        Err(message) => return End::LoadFailed(message),
    };
    tracing::info!(model = %spec.name, load_ms = report.load_ms, context_tokens = report.context_tokens, "the model is loaded");
    let serves = shared.pool().ready(&spec.name, WorkerClient::new(&socket), process.pid(), report, Instant::now());
    shared.changed.notify_waiters();
    tokio::spawn(prepare_spare_later(Arc::downgrade(shared)));
    let end = if serves {
        tokio::select! {
            status = process.ended() => Some(End::Lost(status)),
            () = stop.notified() => None,
        }
    } else {
        None
    };
    let end = match end {
        Some(end) => end,
        None => {
            process.stop(shared.settings.stop_grace).await;
            End::Stopped
        }
    };
    if let Err(error) = std::fs::remove_file(&socket) {
        tracing::debug!(%error, "the worker's socket was gone");
    }
    end
}

/// The request that the model was loaded for has the processor first.
async fn prepare_spare_later(shared: Weak<Shared>) {
    tokio::time::sleep(SPARE_PAUSE).await;
    if let Some(shared) = shared.upgrade() {
        shared.launcher.prepare_spare();
    }
}

async fn wait_until_ready(process: &mut WorkerProcess) -> Result<ReadyReport, String> {
    while let Some(report) = process.next_report().await {
        match report {
            Report::Ready(ready) => return Ok(ready),
            Report::Failed { message } => return Err(message),
            _ => {}
        }
    }
    Err(format!("its worker ended while loading ({})", process.ended().await))
}

fn serve_order(shared: &Shared, spec: &ModelSpec, socket: &std::path::Path) -> ServeOrder {
    let settings = &shared.settings;
    ServeOrder {
        model_name: spec.name.to_string(),
        model_path: spec.path.clone(),
        socket: socket.to_owned(),
        adapters: spec.adapters.clone(),
        context_tokens: Some(settings.context_tokens(spec)),
        sequences_max: settings.sequences_max,
        queue_max: settings.queue_max,
        threads: settings.threads,
        memory_max_bytes: Some(settings.memory_of(spec)),
        gpu_layers: settings.gpu_layers,
        deadline_ms: u64::try_from(settings.deadline.as_millis()).unwrap_or(u64::MAX),
        log_prompts: settings.log_prompts,
    }
}

/// Unloads models that nobody has used for long and looks after the queue, until the pool is gone.
pub(super) async fn unload_idle(shared: Weak<Shared>) {
    let mut look = tokio::time::interval(IDLE_LOOK);
    loop {
        look.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if let Some(idle) = shared.settings.idle_unload {
            shared.pool().unload_idle(idle, Instant::now());
        }
        if shared.pool().has_queue() {
            shared.start_next();
        }
    }
}

/// Carries out an order that ends by itself.
pub(super) async fn run_order(launcher: &Launcher, order: &Order, on_report: &(dyn Fn(&Report) + Send + Sync)) -> Result<Report, Error> {
    let mut process = launcher.start(order).await.map_err(|error| Error::internal(format!("a worker cannot be started: {error}")))?;
    let lost =
        |status: String| Error::new(ErrorCode::WorkerLost, "The process that did the work was lost. Try again.").with_context(status);
    while let Some(report) = process.next_report().await {
        match report {
            Report::Failed { message } => return Err(Error::new(ErrorCode::InvalidRequest, message)),
            Report::Progress { .. } | Report::Measured(_) => on_report(&report),
            last => return Ok(last),
        }
    }
    Err(lost(process.ended().await))
}
