//! What can go wrong with what is stored.

use std::path::PathBuf;

use freehold_domain::{Error, ErrorCode};
use rusqlite::ffi;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another service has this data directory open.
    #[error(
        "the data directory {} is in use by another service{}; stop that one first or choose another directory with --data",
        dir.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that has it, when it could be read.
        pid: Option<u32>,
    },
    /// The database was written by a later version of Freehold.
    #[error("the database has schema version {found} and this Freehold knows up to {known}: use the newer Freehold that wrote it")]
    Newer {
        /// The version in the file.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file is a SQLite database of some other program.
    #[error("{} is not a database of Freehold's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be opened or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A stored value is not what it must be.
    #[error("the database holds a bad value in column {column}: {why}")]
    Corrupt {
        /// The column.
        column: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something of this name, or this id, exists.
    #[error("it exists already ({0})")]
    Exists(String),
    /// What the row belongs to is not there.
    #[error("what it belongs to does not exist")]
    NoParent,
    /// There is no such row, or not in a state that allows the change.
    #[error("there is no such row")]
    Missing,
    /// One more would pass the limit.
    #[error("the limit of {limit} is reached")]
    LimitReached {
        /// The limit.
        limit: u32,
    },
    /// It would be more than may be stored.
    #[error("no more than {limit} bytes may be stored")]
    StorageFull {
        /// The limit.
        limit: u64,
    },
    /// Nobody more may wait.
    #[error("the waiting list has its {limit} places taken")]
    ListFull {
        /// How many may wait.
        limit: u32,
    },
    /// Without this key, nobody could manage the service.
    #[error("it is the last operator key that neither is revoked nor expires")]
    LastOperator,
    /// Without this user, nobody could manage the tenant.
    #[error("it is the last owner of the tenant")]
    LastOwner,
    /// The idempotency key was used before, with another request.
    #[error("the idempotency key was used before with a different request")]
    KeyReused,
    /// Anything else that SQLite reports.
    #[error("SQLite: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// It is the fault of the database or its disk as a whole: the next write would meet it too.
    pub fn is_of_the_database(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            StoreError::Io { .. } => true,
            StoreError::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    Code::DatabaseBusy
                        | Code::DatabaseLocked
                        | Code::OutOfMemory
                        | Code::ReadOnly
                        | Code::SystemIoFailure
                        | Code::DiskFull
                        | Code::CannotOpen
                        | Code::DatabaseCorrupt
                        | Code::NotADatabase
                )
            ),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return StoreError::Sqlite(error);
        };
        match failure.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => StoreError::Exists(message.clone().unwrap_or_default()),
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreError::NoParent,
            _ => StoreError::Sqlite(error),
        }
    }
}

/// The outside sees little of the store: use cases say more where they know more.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Exists(_) => Error::new(ErrorCode::Conflict, "It exists already: choose another name.").with_context(&error),
            StoreError::Missing | StoreError::NoParent => Error::new(ErrorCode::NotFound, "There is no such thing.").with_context(&error),
            StoreError::LimitReached { limit } => {
                Error::new(ErrorCode::Conflict, format!("There may be at most {limit}: remove one that is no longer used first."))
            }
            StoreError::StorageFull { limit } => Error::new(
                ErrorCode::StorageExhausted,
                format!("No more than {limit} bytes may be stored: delete stored responses, or have the limit `storage_bytes` raised."),
            ),
            StoreError::ListFull { .. } => Error::new(
                ErrorCode::SignupClosed,
                "The waiting list is full: try again when the operator has let people in, or ask there for an invitation.",
            ),
            StoreError::LastOperator => Error::new(
                ErrorCode::Conflict,
                "This is the last operator key that does not expire: create another one before you revoke it.",
            ),
            StoreError::LastOwner => {
                Error::new(ErrorCode::Conflict, "This is the last owner of a tenant: make another member owner first.")
            }
            StoreError::KeyReused => Error::new(
                ErrorCode::Conflict,
                "This Idempotency-Key was used before with a different request: use a new one for a new request.",
            ),
            _ => Error::internal(&error),
        }
    }
}
