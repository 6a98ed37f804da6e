//! Opening the database, and the two ways into it: reading and writing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::StoreError;
use crate::migrate::migrate;

/// The database's file in the data directory.
pub const DATABASE_FILE: &str = "freehold.sqlite3";
/// The file that is locked while a service runs; it holds the service's process id.
pub const LOCK_FILE: &str = "service.lock";

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENTS_CACHED: usize = 64;
/// Pages of the database that the writer keeps, in KiB: what usage is added to all the time should be among them.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Pages in the log before they are taken over into the database. A page that changes all the time is then taken over once
/// for many changes; the log has 4 KiB for each.
const CHECKPOINT_PAGES: i64 = 8 << 10;

/// The open database of one data directory.
#[derive(Debug)]
pub struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// SQLite's write-ahead log.
    log: PathBuf,
    _lock: File,
}

/// When a write is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Before the call returns.
    Full,
    /// Soon: a loss of power may undo it.
    Lazy,
}

impl Store {
    /// Opens the database in `dir`, which exists, and makes or migrates it where needed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another service has it, [`StoreError::Newer`] when a later Freehold wrote it,
    /// [`StoreError::Foreign`] when it is another program's.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let lock = lock(dir)?;
        let path = dir.join(DATABASE_FILE);
        private_file(&path)?;
        let mut writer = connect(&path)?;
        writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        migrate(&mut writer, &path)?;
        let reader = connect(&path)?;
        reader.pragma_update(None, "query_only", true)?;
        let log = dir.join(format!("{DATABASE_FILE}-wal"));
        Ok(Store { writer: Mutex::new(writer), reader: Mutex::new(reader), log, _lock: lock })
    }

    /// Brings everything that was written to the disk. It stops nobody from writing.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn flush(&self) -> Result<(), StoreError> {
        let io = |error| StoreError::Io { path: self.log.clone(), error };
        // SQLite locks the database's file and never the log, so closing this takes no lock away from it.
        File::open(&self.log).and_then(|log| log.sync_data()).map_err(io)
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = locked(&self.reader);
        // One snapshot for all statements of the call.
        let transaction = connection.unchecked_transaction()?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write_as(durability, work)
    }

    /// The same for work that can fail by its caller's rules too.
    pub(crate) fn write_as<T, E: From<StoreError>>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = locked(&self.writer);
        let mode = if durability == Durability::Full { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", mode).map_err(StoreError::from)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let value = work(&transaction)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(value)
    }

    /// Checks the whole database: the file's structure and every reference between rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with what SQLite found.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            let integrity: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if integrity != "ok" {
                return Err(StoreError::Corrupt { column: "(file)".to_owned(), why: integrity });
            }
            let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
            let mut rows = statement.query([])?;
            match rows.next()? {
                Some(row) => Err(StoreError::Corrupt { column: row.get(0)?, why: "refers to a row that is not there".to_owned() }),
                None => Ok(()),
            }
        })
    }

    /// The SQL of every table and index, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn schema(&self) -> Result<String, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name")?;
            let texts = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(texts.iter().map(|text| format!("{text};\n")).collect())
        })
    }
}

/// A panic under the lock leaves a rolled-back transaction, so the connection can be used again.
fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |error| StoreError::Io { path, error }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = (&file).take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::InUse { dir: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io(&path)(error)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io(&path))?;
    Ok(file)
}

/// SQLite gives its side files the database's mode, so only the owner may read any of them.
fn private_file(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop).map_err(io(path))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
