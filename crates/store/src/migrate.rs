//! Brings a database to the schema that this program knows.
//!
//! The version is SQLite's `user_version`, which changes in the same transaction as the schema; `application_id`
//! tells our file from another program's.
//!
//! **Invariant:** a migration that has been released never changes: the golden test holds its outcome.

use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

use crate::error::StoreError;

/// `FRHD` in ASCII.
const APPLICATION_ID: i32 = 0x4652_4844;

/// The migrations in order; the first makes version 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_start.sql"),
    include_str!("../migrations/sqlite/0002_people.sql"),
    include_str!("../migrations/sqlite/0003_billing.sql"),
    include_str!("../migrations/sqlite/0004_upstreams.sql"),
    include_str!("../migrations/sqlite/0005_sell.sql"),
    include_str!("../migrations/sqlite/0006_responses.sql"),
];

/// The schema version that this program writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application_id: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id != APPLICATION_ID && (application_id != 0 || tables > 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { found, known: SCHEMA_VERSION });
    }
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration)?;
    }
    if found < SCHEMA_VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}
