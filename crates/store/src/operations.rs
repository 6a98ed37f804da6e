//! Long-running operations: what was asked, how far it is, how it ended.
//!
//! **Invariant:** an operation that has ended never changes again, and at most one that has not ended works on a
//! subject.

use std::fmt;
use std::str::FromStr;

use freehold_domain::{OperationId, Timestamp};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, change_one, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, earlier, note};
use crate::trail::{self, Note};

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationState {
    /// Asked for, not begun.
    Pending,
    /// At work.
    Running,
    /// Ended well.
    Done,
    /// Ended with an error.
    Failed,
    /// Ended because someone asked.
    Cancelled,
}

impl OperationState {
    const ALL: [OperationState; 5] =
        [OperationState::Pending, OperationState::Running, OperationState::Done, OperationState::Failed, OperationState::Cancelled];

    /// The state as it stands in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationState::Pending => "pending",
            OperationState::Running => "running",
            OperationState::Done => "done",
            OperationState::Failed => "failed",
            OperationState::Cancelled => "cancelled",
        }
    }

    /// Whether it has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, OperationState::Done | OperationState::Failed | OperationState::Cancelled)
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperationState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("`{text}` is not a state of an operation"))
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A code of the table of errors.
    pub code: String,
    /// For a person: what is wrong and what to do.
    pub message: String,
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well, with this result as JSON.
    Done {
        /// What came of it.
        result_json: String,
    },
    /// With an error.
    Failed(Failure),
    /// Because someone asked.
    Cancelled,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// What it does: `add_model`.
    pub kind: String,
    /// What it works on: the name of a model.
    pub subject: String,
    /// Where it stands.
    pub state: OperationState,
    /// Done, in thousandths.
    pub progress_permille: u16,
    /// What is being done, for a person.
    pub step: String,
    /// What came of it, as JSON.
    pub result_json: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, kind, subject, state, progress_permille, step, result, error_code, error_message, created_at, updated_at";

fn read(row: &Columns<'_>) -> Result<OperationRow, StoreError> {
    let failure = match (row.plain::<Option<String>>("error_code")?, row.plain::<Option<String>>("error_message")?) {
        (Some(code), Some(message)) => Some(Failure { code, message }),
        _ => None,
    };
    Ok(OperationRow {
        id: row.parsed("id")?,
        kind: row.plain("kind")?,
        subject: row.plain("subject")?,
        state: row.parsed("state")?,
        progress_permille: row.plain("progress_permille")?,
        step: row.plain("step")?,
        result_json: row.plain("result")?,
        failure,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// Ends an operation that has not ended.
pub(crate) fn finish(connection: &Connection, id: OperationId, outcome: &Outcome, now: Timestamp) -> Result<(), StoreError> {
    let (state, result, failure) = match outcome {
        Outcome::Done { result_json } => (OperationState::Done, Some(result_json), None),
        Outcome::Failed(failure) => (OperationState::Failed, None, Some(failure)),
        Outcome::Cancelled => (OperationState::Cancelled, None, None),
    };
    let sql = "UPDATE operations SET state = ?2, result = ?3, error_code = ?4, error_message = ?5, updated_at = ?6, \
               progress_permille = CASE WHEN ?2 = 'done' THEN 1000 ELSE progress_permille END \
               WHERE id = ?1 AND state IN ('pending', 'running')";
    let (code, message) = failure.map(|failure| (&failure.code, &failure.message)).unzip();
    change_one(connection, sql, params![id.to_string(), state.as_str(), result, code, message, now.unix_ms()])
}

impl Store {
    /// Adds an operation, and forgets the oldest that have ended beyond `ended_kept`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another one works on the subject, [`StoreError::KeyReused`].
    pub fn create_operation<'a>(
        &self,
        operation: &OperationRow,
        ended_kept: u32,
        told: impl Into<Note<'a>>,
    ) -> Result<Created<OperationId>, StoreError> {
        let told = told.into();
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, told.once)? {
                return Ok(Created::Before(id));
            }
            let forget = "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE state NOT IN ('pending', 'running') \
                          ORDER BY id DESC LIMIT -1 OFFSET ?1)";
            transaction.prepare_cached(forget)?.execute([ended_kept])?;
            let sql = format!("INSERT INTO operations ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
            transaction.prepare_cached(&sql)?.execute(params![
                operation.id.to_string(),
                operation.kind,
                operation.subject,
                operation.state.as_str(),
                operation.progress_permille,
                operation.step,
                operation.result_json,
                operation.failure.as_ref().map(|failure| &failure.code),
                operation.failure.as_ref().map(|failure| &failure.message),
                operation.created_at.unix_ms(),
                operation.updated_at.unix_ms(),
            ])?;
            note(transaction, told.once, &operation.id)?;
            trail::insert(transaction, told.trail)?;
            Ok(Created::New)
        })
    }

    /// The operation with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operations WHERE id = ?1");
        self.read(|connection| one(connection, &sql, [id.to_string()], read))
    }

    /// Up to `limit` operations that were asked for before the operation `before`, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn operations(&self, before: Option<OperationId>, limit: u32) -> Result<Vec<OperationRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operations WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2");
        self.read(|connection| all(connection, &sql, params![before.map(|id| id.to_string()), limit], read))
    }

    /// The operations that have not ended, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open_operations(&self) -> Result<Vec<OperationRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operations WHERE state IN ('pending', 'running') ORDER BY id");
        self.read(|connection| all(connection, &sql, [], read))
    }

    /// Notes how far an operation is, which thereby runs. Not flushed to disk at once.
    ///
    /// # Errors
    /// [`StoreError::Missing`], also when it has ended.
    pub fn update_operation(&self, id: OperationId, permille: u16, step: &str, now: Timestamp) -> Result<(), StoreError> {
        self.write(Durability::Lazy, |transaction| {
            let sql = "UPDATE operations SET state = 'running', progress_permille = ?2, step = ?3, updated_at = ?4 \
                       WHERE id = ?1 AND state IN ('pending', 'running')";
            change_one(transaction, sql, params![id.to_string(), permille.min(1000), step, now.unix_ms()])
        })
    }

    /// Ends an operation.
    ///
    /// # Errors
    /// [`StoreError::Missing`], also when it has ended.
    pub fn finish_operation(&self, id: OperationId, outcome: &Outcome, now: Timestamp) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| finish(transaction, id, outcome, now))
    }
}
