//! What all routes share.

use std::sync::Arc;
use std::time::Duration;

use freehold_domain::{Error, ErrorCode};
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::chat::Chat;
use crate::engine::{Engine, Token};

/// How far the worker is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It serves.
    Run,
    /// It takes no new connections and finishes what it has.
    Drain,
    /// It ends what it has with an error.
    Now,
}

/// One served model.
pub struct App {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) chat: Chat,
    pub(super) model_name: String,
    pub(super) deadline_max: Duration,
    pub(super) log_prompts: bool,
    pub(super) started_s: i64,
    pub(super) metrics: Metrics,
    pub(super) stop: watch::Receiver<Stop>,
}

impl App {
    /// A model under the name that requests use for it.
    pub fn new(
        engine: Arc<dyn Engine>,
        model_name: String,
        deadline_max: Duration,
        log_prompts: bool,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let chat = Chat::new(engine.info());
        if let Some(fault) = chat.fault() {
            tracing::warn!(%fault, "conversations with this model are refused");
        }
        Self { engine, chat, model_name, deadline_max, log_prompts, started_s: now_unix_s(), metrics: Metrics::default(), stop }
    }

    /// The adapter that a request names, as `model:adapter`.
    pub(super) fn adapter(&self, model: &str) -> Result<Option<String>, Error> {
        if model == self.model_name {
            return Ok(None);
        }
        let adapter = model.strip_prefix(&self.model_name).and_then(|rest| rest.strip_prefix(':'));
        match adapter {
            Some(adapter) if self.engine.adapters().iter().any(|name| name == adapter) => Ok(Some(adapter.to_owned())),
            _ => {
                let message = format!("The model `{model}` is not served here. Ask /v1/models for the names.");
                Err(Error::new(ErrorCode::ModelNotFound, message).with_param("model"))
            }
        }
    }

    pub(super) fn tokenize(&self, text: &str, special: bool, begin: bool) -> Result<Vec<Token>, Error> {
        self.engine.tokenize(text, special, begin)
    }
}

/// Now, in whole seconds since the Unix epoch.
pub(super) fn now_unix_s() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
