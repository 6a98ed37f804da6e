//! Models that another server serves: where it is and how it is asked.
//!
//! **Invariant:** a name is in `models` or in `upstreams`, never in both: each looks into the other in the transaction
//! that writes.

use freehold_domain::{ModelId, ModelName, OperationId, Timestamp};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, change_one, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::operations::{self, Outcome};
use crate::trail::{self, TrailRow};

/// A model that another server serves.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamRow {
    /// Its id.
    pub id: ModelId,
    /// Its name, unique without regard to case among all models.
    pub name: ModelName,
    /// The address of the server's API, without a slash at the end.
    pub url: String,
    /// The server's own name of the model.
    pub model: String,
    /// Who fulfils, as usage records name it.
    pub provider: String,
    /// The key to the server, sealed.
    pub sealed_key: Option<Vec<u8>>,
    /// Certificates in PEM that the server may be signed by, beside the public ones.
    pub ca_pem: Option<String>,
    /// Longest prompt and answer together, in tokens.
    pub context_length: u32,
    /// Most requests at the same time.
    pub parallel_max: u32,
    /// Most requests that wait for their turn.
    pub queue_max: u32,
    /// Whether the server takes `cache_salt`.
    pub cache_salt: bool,
    /// When it was added.
    pub added_at: Timestamp,
}

impl std::fmt::Debug for UpstreamRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("url", &self.url)
            .field("model", &self.model)
            .field("has_key", &self.sealed_key.is_some())
            .finish_non_exhaustive()
    }
}

const COLUMNS: &str = "id, name, url, model, provider, sealed_key, ca_pem, context_length, parallel_max, queue_max, cache_salt, added_at";

fn read(row: &Columns<'_>) -> Result<UpstreamRow, StoreError> {
    Ok(UpstreamRow {
        id: row.parsed("id")?,
        name: row.parsed("name")?,
        url: row.plain("url")?,
        model: row.plain("model")?,
        provider: row.plain("provider")?,
        sealed_key: row.plain("sealed_key")?,
        ca_pem: row.plain("ca_pem")?,
        context_length: row.plain("context_length")?,
        parallel_max: row.plain("parallel_max")?,
        queue_max: row.plain("queue_max")?,
        cache_salt: row.plain("cache_salt")?,
        added_at: row.time("added_at")?,
    })
}

fn insert(connection: &Connection, upstream: &UpstreamRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO upstreams ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
    connection.prepare_cached(&sql)?.execute(params![
        upstream.id.to_string(),
        upstream.name.as_str(),
        upstream.url,
        upstream.model,
        upstream.provider,
        upstream.sealed_key,
        upstream.ca_pem,
        upstream.context_length,
        upstream.parallel_max,
        upstream.queue_max,
        upstream.cache_salt,
        upstream.added_at.unix_ms(),
    ])?;
    Ok(())
}

/// Fails when a table has a row of this name.
pub(crate) fn check_free(connection: &Connection, table: &str, name: &ModelName) -> Result<(), StoreError> {
    let found = one(connection, &format!("SELECT name FROM {table} WHERE name = ?1"), [name.as_str()], |row| row.plain::<String>("name"))?;
    found.map_or(Ok(()), |name| Err(StoreError::Exists(name)))
}

impl Store {
    /// Adds an upstream and ends the operation that looked at it, together.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name that is taken, [`StoreError::Missing`] when the operation has ended.
    pub fn create_upstream(
        &self,
        upstream: &UpstreamRow,
        operation: OperationId,
        result_json: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            check_free(transaction, "models", &upstream.name)?;
            insert(transaction, upstream)?;
            operations::finish(transaction, operation, &Outcome::Done { result_json: result_json.to_owned() }, now)
        })
    }

    /// The upstream with this name, compared without regard to case.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream(&self, name: &ModelName) -> Result<Option<UpstreamRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM upstreams WHERE name = ?1");
        self.read(|connection| one(connection, &sql, [name.as_str()], read))
    }

    /// All upstreams, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstreams(&self) -> Result<Vec<UpstreamRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM upstreams ORDER BY name");
        self.read(|connection| all(connection, &sql, [], read))
    }

    /// Removes an upstream.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn delete_upstream(&self, id: ModelId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            change_one(transaction, "DELETE FROM upstreams WHERE id = ?1", [id.to_string()])?;
            trail::insert(transaction, event)
        })
    }
}
