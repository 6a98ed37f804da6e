//! The HTTP surface: which path is answered by what, and nothing of how.
//!
//! Handlers are thin: decode in the dialect, call a use case, encode in the dialect. Errors leave through one layer
//! ([`reply`]), callers are known through one extractor ([`caller`]).
//!
//! **Invariant:** every route of `/api/v1` is in the OpenAPI document, because both come from one registration.

pub mod api;
mod body;
mod caller;
mod console;
mod delivery;
mod health;
mod lanes;
mod llama;
mod openai;
mod reply;
mod responses;
mod server;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use freehold_control::Control;
use freehold_control::serve::Serving;
use freehold_inference::order::Device;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

pub use lanes::Lanes;
pub use server::serve;

/// What every handler has at hand.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
pub struct Parts {
    /// The use cases.
    pub control: Control,
    /// Requests to models.
    pub serving: Serving,
    /// Facts about this process.
    pub facts: Facts,
}

impl App {
    /// Puts the parts together.
    pub fn new(control: Control, serving: Serving, facts: Facts) -> Self {
        Self(Arc::new(Parts { control, serving, facts }))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Facts about this process.
pub struct Facts {
    /// Where it listens, as a URL.
    pub address: String,
    /// Since when.
    pub started: Instant,
    /// The client's address is what the nearest proxy says.
    pub behind_proxy: bool,
    /// Most bytes of a body.
    pub body_limit: usize,
    /// Devices that models can be put on; empty until they are known.
    pub devices: watch::Receiver<Vec<Device>>,
    /// The service is stopping.
    pub stopping: watch::Receiver<bool>,
}

/// Every route.
pub fn router(app: App) -> Router {
    let body_limit = app.facts.body_limit;
    let (api, _) = api::routes();
    Router::new()
        .merge(openai::routes("/v1"))
        .merge(openai::routes("/llama/compat/v1"))
        .merge(llama::routes())
        .merge(api.layer(axum::middleware::from_fn(reply::to_its_end)))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(console::routes())
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(CatchPanicLayer::custom(reply::panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), reply::finish))
        .with_state(app)
}
