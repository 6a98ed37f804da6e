//! Long-running operations: started by a use case, listed, watched and cancelled.
//!
//! How far one is lives in memory and is written down now and then; how it ended is written once.
//!
//! **Invariant:** what an operation made exists if and only if its row says `done`; whoever loses the race between
//! an end and a cancellation changes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freehold_domain::{Error, ErrorCode, OperationId, Timestamp};
use freehold_store::{Created, Failure, Note, Once, OperationRow, OperationState, Outcome, StoreError, TrailRow};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// The most operations that have not ended.
pub const OPEN_MAX: usize = 32;
/// How many are at work at the same time; the others are pending.
const RUNNING_MAX: usize = 2;
/// How many that have ended are remembered.
const ENDED_KEPT: u32 = 1000;
/// How often progress is written down.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Said of an operation that a stop or a crash of the service ended.
const INTERRUPTED: &str = "The service stopped while this was running: run the command again; a download goes on where it stopped.";

/// An operation, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationView {
    /// Its id.
    #[schema(value_type = String, example = "op_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: OperationId,
    /// What it does: `add_model`.
    pub kind: String,
    /// What it works on: the name of a model.
    pub subject: String,
    /// `pending`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running")]
    pub state: String,
    /// Done, in thousandths.
    pub progress_permille: u16,
    /// What is being done, for a person.
    pub step: String,
    /// What came of it: for `add_model`, the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationError>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationError {
    /// A code of the table of errors.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl OperationView {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.state.parse::<OperationState>().is_ok_and(OperationState::is_final)
    }
}

/// An operation that has not ended.
pub(crate) struct Live {
    told: Mutex<Told>,
    cancel: CancellationToken,
    ended: CancellationToken,
}

#[derive(Clone, PartialEq, Eq)]
struct Told {
    state: OperationState,
    permille: u16,
    step: String,
}

impl Live {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far the work is; never goes back.
    pub(crate) fn tell(&self, permille: u16, step: impl Into<String>) {
        let mut told = self.told();
        told.permille = told.permille.max(permille.min(999));
        told.step = step.into();
    }
}

/// The operations that have not ended.
pub(crate) struct LiveOperations {
    by_id: Mutex<HashMap<OperationId, Arc<Live>>>,
    turns: Arc<Semaphore>,
}

impl Default for LiveOperations {
    fn default() -> Self {
        Self { by_id: Mutex::default(), turns: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }
}

impl LiveOperations {
    fn by_id(&self) -> MutexGuard<'_, HashMap<OperationId, Arc<Live>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: OperationId) -> Option<Arc<Live>> {
        self.by_id().get(&id).cloned()
    }

    /// Takes a place among the open ones.
    fn enter(&self, id: OperationId, live: &Arc<Live>) -> Result<(), Error> {
        let mut by_id = self.by_id();
        if by_id.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} operations are waiting or running: try again when one has ended.");
            return Err(Error::new(ErrorCode::RateLimited, message).with_retry_after_s(30));
        }
        by_id.insert(id, Arc::clone(live));
        Ok(())
    }

    fn leave(&self, id: OperationId) {
        if let Some(live) = self.by_id().remove(&id) {
            live.ended.cancel();
        }
    }
}

/// How an operation ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Failed,
    Cancelled,
}

/// The work of an operation, once it is its turn.
pub(crate) type Work = Box<dyn FnOnce(OperationId, Arc<Live>) -> BoxFuture<'static, Result<(), Error>> + Send>;

/// What an operation does.
pub(crate) struct Job {
    pub(crate) kind: &'static str,
    pub(crate) subject: String,
    /// The work. It ends the operation itself, in the transaction that writes what it made.
    pub(crate) work: Work,
    /// Undoes what the work left outside the store, when it did not come to its end. May block.
    pub(crate) clean_up: Box<dyn FnOnce(Broken) + Send>,
}

fn view(row: OperationRow, live: Option<&Live>) -> OperationView {
    let told = live.filter(|_| !row.state.is_final()).map(|live| live.told().clone());
    let told = told.unwrap_or(Told { state: row.state, permille: row.progress_permille, step: row.step });
    OperationView {
        id: row.id,
        kind: row.kind,
        subject: row.subject,
        state: told.state.to_string(),
        progress_permille: told.permille,
        step: told.step,
        result: row.result_json.and_then(|json| serde_json::from_str(&json).ok()),
        error: row.failure.map(|failure| OperationError { code: failure.code, message: failure.message }),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Ends the operations that an earlier service left open. Blocks.
pub(crate) fn end_interrupted(store: &freehold_store::Store, now: Timestamp) -> Result<(), StoreError> {
    for row in store.open_operations()? {
        tracing::warn!(operation = %row.id, subject = row.subject, "ended: the service stopped while it was running");
        let failure = Failure { code: ErrorCode::Unavailable.as_str().to_owned(), message: INTERRUPTED.to_owned() };
        store.finish_operation(row.id, &Outcome::Failed(failure), now)?;
    }
    Ok(())
}

impl Control {
    /// Writes an operation down, with what the trail says of it, and lets it begin.
    pub(crate) async fn start_operation(&self, job: Job, once: Option<Once>, event: TrailRow) -> Result<OperationView, Error> {
        let now = self.now();
        let id = OperationId::from_uuid(self.new_uuid());
        let told = Told { state: OperationState::Pending, permille: 0, step: "waiting for its turn".to_owned() };
        let row = OperationRow {
            id,
            kind: job.kind.to_owned(),
            subject: job.subject.clone(),
            state: told.state,
            progress_permille: 0,
            step: told.step.clone(),
            result_json: None,
            failure: None,
            created_at: now,
            updated_at: now,
        };
        let live = Arc::new(Live { told: Mutex::new(told), cancel: CancellationToken::new(), ended: CancellationToken::new() });
        self.shared.operations.enter(id, &live)?;
        let written = row.clone();
        let created =
            self.store(move |store| store.create_operation(&written, ENDED_KEPT, Note { once: once.as_ref(), trail: Some(&event) })).await;
        if !matches!(created, Ok(Created::New)) {
            self.shared.operations.leave(id);
        }
        match created {
            Ok(Created::New) => {
                let view = view(row, Some(&live));
                tokio::spawn(self.clone().drive(id, live, job));
                Ok(view)
            }
            Ok(Created::Before(earlier)) => self.operation_view(earlier).await,
            Err(StoreError::Exists(_)) => {
                let message = format!("An operation on `{}` is waiting or running already: see `freehold operation list`.", job.subject);
                Err(Error::new(ErrorCode::Conflict, message))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn drive(self, id: OperationId, live: Arc<Live>, job: Job) {
        let subject = job.subject;
        let outcome = self.work(id, &live, job.work).await;
        let end = match outcome {
            Ok(()) => None,
            Err(error) if live.cancel.is_cancelled() => {
                tracing::info!(operation = %id, subject, %error, "cancelled");
                Some((Broken::Cancelled, Outcome::Cancelled))
            }
            Err(error) => {
                tracing::warn!(operation = %id, subject, %error, context = error.context, "failed");
                let failure = Failure { code: error.code.as_str().to_owned(), message: error.message };
                Some((Broken::Failed, Outcome::Failed(failure)))
            }
        };
        if let Some((broken, outcome)) = end {
            let now = self.now();
            match self.store(move |store| store.finish_operation(id, &outcome, now)).await {
                Ok(()) => {
                    if let Err(error) = tokio::task::spawn_blocking(move || (job.clean_up)(broken)).await {
                        tracing::error!(operation = %id, %error, "cleaning up failed");
                    }
                }
                // It came to its end while it was being cancelled.
                Err(StoreError::Missing) => {}
                Err(error) => tracing::error!(operation = %id, %error, "the end cannot be written; the next start does"),
            }
        }
        self.shared.operations.leave(id);
    }

    /// Waits for a turn and works; a panic is an error, and a cancellation has stopped the work when this returns.
    async fn work(&self, id: OperationId, live: &Arc<Live>, work: Work) -> Result<(), Error> {
        let cancelled = || Error::new(ErrorCode::Conflict, "The operation was cancelled.");
        let _turn = tokio::select! {
            turn = self.shared.operations.turns.acquire() => turn.map_err(Error::internal)?,
            () = live.cancel.cancelled() => return Err(cancelled()),
        };
        live.told().state = OperationState::Running;
        let mut task = tokio::spawn(work(id, Arc::clone(live)));
        let mut writing = tokio::time::interval(WRITE_EVERY);
        let mut written = None;
        loop {
            tokio::select! {
                ended = &mut task => return ended.unwrap_or_else(|error| Err(Error::internal(error))),
                () = live.cancel.cancelled() => {
                    task.abort();
                    // Without this wait, cleaning up would race with the last steps of the work.
                    return match task.await {
                        Ok(ended) => ended,
                        Err(_) => Err(cancelled()),
                    };
                }
                _ = writing.tick() => {
                    let told = live.told().clone();
                    if written.as_ref() != Some(&told) {
                        self.write_progress(id, told.clone()).await;
                        written = Some(told);
                    }
                }
            }
        }
    }

    async fn write_progress(&self, id: OperationId, told: Told) {
        let now = self.now();
        match self.store(move |store| store.update_operation(id, told.permille, &told.step, now)).await {
            Ok(()) | Err(StoreError::Missing) => {}
            Err(error) => tracing::warn!(operation = %id, %error, "progress cannot be written"),
        }
    }

    async fn operation_view(&self, id: OperationId) -> Result<OperationView, Error> {
        // Taken before the read: an operation that ends in between is read as ended.
        let live = self.shared.operations.find(id);
        let row = self.store(move |store| store.operation(id)).await?.ok_or_else(|| not_found("operation"))?;
        Ok(view(row, live.as_deref()))
    }

    /// One operation.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`.
    pub async fn operation(&self, actor: &Actor, id: &str) -> Result<OperationView, Error> {
        permit(actor, Action::ManageOperations)?;
        self.operation_view(id.parse().map_err(|_| not_found("operation"))?).await
    }

    /// The operations, newest first.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request` for a bad page.
    pub async fn list_operations(&self, actor: &Actor, page: &PageRequest) -> Result<Page<OperationView>, Error> {
        permit(actor, Action::ManageOperations)?;
        let (limit, before) = page.read::<OperationId>()?;
        let live = self.shared.operations.by_id().clone();
        let rows = self.store(move |store| store.operations(before, limit + 1)).await?;
        Ok(Page::of(
            rows,
            limit,
            |row| row.id.to_string(),
            |row| {
                let live = live.get(&row.id);
                view(row, live.map(Arc::as_ref))
            },
        ))
    }

    /// Waits until an operation has ended, or for `wait`, and shows it.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`.
    pub async fn wait_for_operation(&self, actor: &Actor, id: &str, wait: Duration) -> Result<OperationView, Error> {
        permit(actor, Action::ManageOperations)?;
        let id = id.parse().map_err(|_| not_found("operation"))?;
        if let Some(live) = self.shared.operations.find(id) {
            // Not ended in time is an answer too.
            let _ = tokio::time::timeout(wait, live.ended.cancelled()).await;
        }
        self.operation_view(id).await
    }

    /// Cancels an operation, waits until it has stopped, and shows how it ended.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`, `conflict` for one that has ended.
    pub async fn cancel_operation(&self, actor: &Actor, id: &str) -> Result<OperationView, Error> {
        permit(actor, Action::ManageOperations)?;
        let id: OperationId = id.parse().map_err(|_| not_found("operation"))?;
        let Some(live) = self.shared.operations.find(id) else {
            let ended = self.operation_view(id).await?;
            return Err(Error::new(ErrorCode::Conflict, format!("The operation has ended already: it is {}.", ended.state)));
        };
        live.cancel.cancel();
        live.ended.cancelled().await;
        self.operation_view(id).await
    }
}
