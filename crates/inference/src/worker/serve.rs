//! Serving a model: from the order to the end of the process.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use freehold_domain::{Error, ErrorCode};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::app::{App, Stop};
use super::reply::Refusal;
use super::report::say;
use super::{adapters, completions, conversations, embeddings, failed, figures, on_input_closed, tokens};
use crate::engine::{Engine, EngineInfo, LlamaEngine};
use crate::order::{ReadyReport, Report, ServeOrder};

/// How long streams have to write their error when the process ends at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(conversations::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/tokenize", post(tokens::create))
        .route("/v1/load_lora_adapter", post(adapters::load))
        .route("/v1/unload_lora_adapter", post(adapters::unload))
        .route("/v1/models", get(figures::models))
        .route("/health", get(figures::health))
        .route("/metrics", get(figures::metrics))
        .fallback(async || Refusal::from(Error::new(ErrorCode::NotFound, "A worker has no such route.")))
        .method_not_allowed_fallback(async || {
            Refusal::from(Error::new(ErrorCode::MethodNotAllowed, "This route does not take this method."))
        })
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// Serves until `stop` says [`Stop::Drain`] and all answers are complete, or [`Stop::Now`].
///
/// # Errors
/// The socket fails.
pub async fn serve(listener: UnixListener, app: Arc<App>, mut stop: watch::Receiver<Stop>) -> std::io::Result<()> {
    let mut draining = stop.clone();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        let _ = draining.wait_for(|stop| *stop != Stop::Run).await;
    });
    let now = async move {
        let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        result = std::future::IntoFuture::into_future(server) => result,
        () = now => Ok(()),
    }
}

/// Carries out the order.
pub(super) fn run(order: ServeOrder) -> ExitCode {
    let begun = Instant::now();
    let (sender, stop) = watch::channel(Stop::Run);
    let sender = Arc::new(sender);
    // From here on the service may go away at any moment, also while the model loads.
    let closed = Arc::clone(&sender);
    on_input_closed(move || {
        closed.send_replace(Stop::Now);
        std::thread::sleep(LAST_WORDS * 4);
        // Still here: the model is loading, or the last words take too long.
        std::process::exit(1);
    });
    let engine = match LlamaEngine::start(&order) {
        Ok(engine) => Arc::new(engine),
        Err(error) => return failed(&error.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("The worker cannot start its event loop: {error}.")),
    };
    runtime.block_on(async {
        let listener = match listen(&order.socket) {
            Ok(listener) => listener,
            Err(error) => return failed(&format!("The worker cannot listen on {}: {error}.", order.socket.display())),
        };
        let terminate = match signal(SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(error) => return failed(&format!("The worker cannot receive signals: {error}.")),
        };
        let deadline = Duration::from_millis(order.deadline_ms);
        let app = App::new(Arc::clone(&engine) as Arc<dyn Engine>, order.model_name.clone(), deadline, order.log_prompts, stop.clone());
        say(&Report::Ready(ready(engine.info(), begun.elapsed())));
        tokio::select! {
            result = serve(listener, Arc::new(app), stop) => match result {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&format!("The worker's socket failed: {error}.")),
            },
            fault = engine.failed() => {
                // Requests have been told; let the answers out before the process ends.
                tokio::time::sleep(LAST_WORDS).await;
                failed(&format!("The engine failed: {fault}."))
            }
            never = drain_on(terminate, sender) => match never {},
        }
    })
}

fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Ok(()) => tracing::debug!("a socket that an earlier worker left was removed"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    UnixListener::bind(socket)
}

/// Starts the end when the process is asked to terminate; never resolves.
async fn drain_on(mut terminate: Signal, sender: Arc<watch::Sender<Stop>>) -> std::convert::Infallible {
    terminate.recv().await;
    sender.send_if_modified(|stop| {
        let running = *stop == Stop::Run;
        if running {
            *stop = Stop::Drain;
        }
        running
    });
    std::future::pending().await
}

fn ready(info: &EngineInfo, elapsed: Duration) -> ReadyReport {
    ReadyReport {
        context_tokens: info.context_tokens,
        sequence_tokens_max: info.sequence_tokens_max,
        weights_bytes: info.weights_bytes,
        cache_bytes: info.cache_bytes,
        placement: info.placement.clone(),
        load_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}
