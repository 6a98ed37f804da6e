//! Creating calls that may be repeated: the same key and the same request give the thing that was made the first
//! time.
//!
//! **Invariant:** what a call made and the note that it was made are written in one transaction.

use freehold_domain::Timestamp;
use rusqlite::{Connection, params};

use crate::columns::{all, corrupt, one};
use crate::error::StoreError;

/// How long a key is remembered, in milliseconds: one day.
pub const IDEMPOTENCY_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// Makes a creating call repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The caller and the call, so that two callers never share a key.
    pub scope: String,
    /// What the caller sent as its idempotency key.
    pub key: String,
    /// SHA-256 of the request.
    pub request_hash: [u8; 32],
    /// The time of the call.
    pub now: Timestamp,
}

/// What a creating call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created<T> {
    /// It made the thing.
    New,
    /// An earlier call made this one.
    Before(T),
}

/// What an earlier call with this key made.
pub(crate) fn earlier<T>(connection: &Connection, once: Option<&Once>) -> Result<Option<T>, StoreError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(once) = once else { return Ok(None) };
    let oldest = once.now.plus_ms(-IDEMPOTENCY_KEPT_MS).unix_ms();
    connection.prepare_cached("DELETE FROM idempotency WHERE created_at < ?1")?.execute([oldest])?;
    let found = one(
        connection,
        "SELECT request_hash, response_id FROM idempotency WHERE scope = ?1 AND key = ?2",
        params![once.scope, once.key],
        |row| Ok((row.plain::<[u8; 32]>("request_hash")?, row.plain::<String>("response_id")?)),
    )?;
    match found {
        None => Ok(None),
        Some((hash, _)) if hash != once.request_hash => Err(StoreError::KeyReused),
        Some((_, id)) => id.parse().map(Some).map_err(|error: T::Err| corrupt("response_id", error)),
    }
}

/// Notes what this call made.
pub(crate) fn note(connection: &Connection, once: Option<&Once>, id: &impl ToString) -> Result<(), StoreError> {
    let Some(once) = once else { return Ok(()) };
    connection
        .prepare_cached("INSERT INTO idempotency (scope, key, request_hash, response_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![once.scope, once.key, once.request_hash, id.to_string(), once.now.unix_ms()])?;
    Ok(())
}

/// How many rows of a query there are, for limits.
pub(crate) fn count(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<u32, StoreError> {
    let counts = all(connection, sql, params, |row| row.plain::<u32>("count"))?;
    Ok(counts.into_iter().next().unwrap_or(0))
}
