//! What the use cases need of whoever runs models: work done in a process of its own, and models in use told of
//! changes.
//!
//! **Invariant:** nothing here is durable; the store is told first, then the host.

use std::sync::{Arc, OnceLock};

use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_inference::order::{AdapterFile, Order, Report};
use futures::future::BoxFuture;

/// Hears every report of an order but the last.
pub type OnReport<'a> = &'a (dyn Fn(&Report) + Send + Sync);

/// Carries out orders that end by themselves.
pub trait TaskRunner: Send + Sync {
    /// Carries out an order in a process of its own and returns its last report. Dropping the future ends the
    /// process.
    fn run<'a>(&'a self, order: &'a Order, on_report: OnReport<'a>) -> BoxFuture<'a, Result<Report, Error>>;
}

/// Has models loaded.
pub trait ModelHost: Send + Sync {
    /// A model was added, changed or removed: what is remembered of it no longer holds.
    fn changed(&self, model: &ModelName);

    /// A model is to be kept loaded, or no longer.
    fn pinned(&self, model: &ModelName, pinned: bool);

    /// How a model stands, for people: `unloaded`, `loading`, `ready`.
    fn state(&self, model: &ModelName) -> String;

    /// Unloads a model once its requests have ended, and waits for that as long as it sees fit.
    fn unload<'a>(&'a self, model: &'a ModelName) -> BoxFuture<'a, Result<(), Error>>;

    /// Lets a model that is loaded load an adapter; does nothing for one that is not.
    fn load_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a AdapterFile) -> BoxFuture<'a, Result<(), Error>>;

    /// Lets a model that is loaded drop an adapter; does nothing for one that is not.
    fn unload_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a ModelName) -> BoxFuture<'a, Result<(), Error>>;
}

/// Those who are told, once they are there.
#[derive(Default)]
pub(crate) struct Hooks {
    runner: OnceLock<Arc<dyn TaskRunner>>,
    host: OnceLock<Arc<dyn ModelHost>>,
}

impl Hooks {
    pub(crate) fn attach(&self, runner: Arc<dyn TaskRunner>, host: Arc<dyn ModelHost>) {
        if self.runner.set(runner).is_err() || self.host.set(host).is_err() {
            tracing::error!("the workers were attached twice; the first stay");
        }
    }

    pub(crate) fn runner(&self) -> Result<&Arc<dyn TaskRunner>, Error> {
        self.runner.get().ok_or_else(|| Error::new(ErrorCode::Unavailable, "The service is starting: try again.").with_retry_after_s(1))
    }

    pub(crate) fn host(&self) -> Option<&Arc<dyn ModelHost>> {
        self.host.get()
    }

    pub(crate) fn changed(&self, model: &ModelName) {
        if let Some(host) = self.host() {
            host.changed(model);
        }
    }
}
