//! Models that another server serves: a client of its address instead of a process of our own.
//!
//! A lease is a place among the requests that the server is asked at the same time. Who finds none waits in line, and
//! who finds the line full is refused.
//!
//! **Invariant:** never more than `parallel_max` requests are with the server, and a place is free again when the
//! answer that it was for is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use freehold_domain::{Error, ErrorCode, ModelName};
use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::{Server, WorkerClient};
use super::{Lease, ModelSpec, Waiting, WorkerStatus};

/// How another server is asked for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSpec {
    /// The address of its API, without a slash at the end.
    pub url: String,
    /// Its own name of the model.
    pub model: String,
    /// Who fulfils, as usage records name it.
    pub provider: String,
    /// The value of `Authorization`.
    pub authorization: Option<HeaderValue>,
    /// Certificates in PEM that it may be signed by, beside the public ones.
    pub ca_pem: Option<String>,
    /// Most requests at the same time.
    pub parallel_max: u32,
    /// Most requests that wait for their turn.
    pub queue_max: u32,
    /// Send `cache_salt`, another one for each tenant.
    pub cache_salt: bool,
}

impl UpstreamSpec {
    /// A client of the server.
    ///
    /// # Errors
    /// `invalid_request` for certificates that are none.
    pub fn client(&self) -> Result<WorkerClient, Error> {
        let server = Server {
            url: &self.url,
            authorization: self.authorization.as_ref(),
            ca_pem: self.ca_pem.as_deref(),
            idle_connections_max: self.parallel_max as usize,
        };
        WorkerClient::to_server(&server).map_err(|error| Error::invalid("upstream.ca_pem", format!("{error}.")))
    }
}

/// A server that is in use.
#[derive(Debug)]
pub(super) struct Upstream {
    spec: Arc<UpstreamSpec>,
    client: WorkerClient,
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    reachable: AtomicBool,
    /// It was said that it gives no account of the tokens.
    told_of_account: AtomicBool,
}

/// A place with a server.
#[derive(Debug)]
pub(super) struct Place {
    upstream: Arc<Upstream>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Notes that an answer came without an account of its tokens; the log hears of it once.
    pub fn note_no_account(&self) {
        if !self.upstream.told_of_account.swap(true, Ordering::Relaxed) {
            let url = &self.upstream.spec.url;
            tracing::warn!(url, "the upstream gives no account of tokens: the pieces of its answers are charged, the prompts are not");
        }
    }

    /// Notes whether the server could be reached.
    pub fn note(&self, reachable: bool) {
        if self.upstream.reachable.swap(reachable, Ordering::Relaxed) != reachable {
            let url = &self.upstream.spec.url;
            if reachable {
                tracing::info!(url, "the upstream can be reached again");
            } else {
                tracing::warn!(url, "the upstream cannot be reached");
            }
        }
    }
}

/// The servers that are in use.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<HashMap<ModelName, Arc<Upstream>>>);

impl Upstreams {
    fn table(&self) -> MutexGuard<'_, HashMap<ModelName, Arc<Upstream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, model: &ModelName, spec: &Arc<UpstreamSpec>) -> Result<Arc<Upstream>, Error> {
        let mut table = self.table();
        if let Some(found) = table.get(model)
            && (Arc::ptr_eq(&found.spec, spec) || found.spec == *spec)
        {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(Upstream {
            spec: Arc::clone(spec),
            client: spec.client()?,
            places: Arc::new(Semaphore::new(spec.parallel_max as usize)),
            waiting: AtomicU32::new(0),
            reachable: AtomicBool::new(true),
            told_of_account: AtomicBool::new(false),
        });
        table.insert(model.clone(), Arc::clone(&made));
        Ok(made)
    }

    /// A place with the server of a model.
    pub async fn lease(&self, spec: &ModelSpec, upstream: &Arc<UpstreamSpec>, deadline: Instant) -> Result<Lease, Error> {
        let upstream = self.find(&spec.name, upstream)?;
        let permit = match Arc::clone(&upstream.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => upstream.wait(&spec.name, deadline).await?,
        };
        Ok(Lease::of_upstream(upstream.client.clone(), Place { upstream, _permit: permit }))
    }

    /// Lets go of the server of a model; answers that it is making go on.
    pub fn forget(&self, model: &ModelName) {
        self.table().remove(model);
    }

    pub fn status(&self) -> Vec<WorkerStatus> {
        let status = |(model, upstream): (&ModelName, &Arc<Upstream>)| WorkerStatus {
            model: model.clone(),
            state: if upstream.reachable.load(Ordering::Relaxed) { "ready" } else { "unreachable" },
            pid: None,
            requests: upstream.spec.parallel_max - u32::try_from(upstream.places.available_permits()).unwrap_or(0),
            memory_bytes: 0,
            ready: None,
            failure: None,
            crashes: 0,
        };
        self.table().iter().map(status).collect()
    }
}

impl Upstream {
    async fn wait(&self, model: &ModelName, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let _waiting = Waiting::enter(&self.waiting, self.spec.queue_max).ok_or_else(|| {
            let message = format!("Too many requests wait for the model `{model}`. Try again later.");
            Error::new(ErrorCode::RateLimited, message).with_retry_after_s(1)
        })?;
        let place = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| {
            let message = format!("No place with the model `{model}` was free before the request's deadline. Try again.");
            Error::new(ErrorCode::DeadlineExceeded, message).with_retry_after_s(5)
        })?;
        place.map_err(Error::internal)
    }
}
