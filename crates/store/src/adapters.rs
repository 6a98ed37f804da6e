//! LoRA adapters of models.

use freehold_domain::{AdapterId, ModelId, ModelName, Timestamp};
use rusqlite::params;

use crate::columns::{Columns, all, change_one, signed};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, count, earlier, note};
use crate::trail::{self, Note, TrailRow};

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterRow {
    /// Its id.
    pub id: AdapterId,
    /// The model it belongs to.
    pub model_id: ModelId,
    /// The part after the colon in `model:adapter`; unique in its model without regard to case.
    pub name: ModelName,
    /// The GGUF file.
    pub path: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// When it was added.
    pub added_at: Timestamp,
}

fn read(row: &Columns<'_>) -> Result<AdapterRow, StoreError> {
    Ok(AdapterRow {
        id: row.parsed("id")?,
        model_id: row.parsed("model_id")?,
        name: row.parsed("name")?,
        path: row.plain("path")?,
        sha256: row.plain("sha256")?,
        size_bytes: row.size("size")?,
        added_at: row.time("added_at")?,
    })
}

impl Store {
    /// Adds an adapter, if its model has fewer than `adapters_max`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name that is taken, [`StoreError::NoParent`] when there is no such model,
    /// [`StoreError::LimitReached`], [`StoreError::KeyReused`].
    pub fn create_adapter<'a>(
        &self,
        adapter: &AdapterRow,
        adapters_max: u32,
        told: impl Into<Note<'a>>,
    ) -> Result<Created<AdapterId>, StoreError> {
        let told = told.into();
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, told.once)? {
                return Ok(Created::Before(id));
            }
            let sql = "SELECT count(*) AS count FROM adapters WHERE model_id = ?1";
            if count(transaction, sql, [adapter.model_id.to_string()])? >= adapters_max {
                return Err(StoreError::LimitReached { limit: adapters_max });
            }
            let sql = "INSERT INTO adapters (id, model_id, name, path, sha256, size, added_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            transaction.prepare_cached(sql)?.execute(params![
                adapter.id.to_string(),
                adapter.model_id.to_string(),
                adapter.name.as_str(),
                adapter.path,
                adapter.sha256,
                signed(adapter.size_bytes),
                adapter.added_at.unix_ms(),
            ])?;
            note(transaction, told.once, &adapter.id)?;
            trail::insert(transaction, told.trail)?;
            Ok(Created::New)
        })
    }

    /// The adapters of a model, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn adapters(&self, model: ModelId) -> Result<Vec<AdapterRow>, StoreError> {
        let sql = "SELECT id, model_id, name, path, sha256, size, added_at FROM adapters WHERE model_id = ?1 ORDER BY name";
        self.read(|connection| all(connection, sql, [model.to_string()], read))
    }

    /// The adapters of all models, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all_adapters(&self) -> Result<Vec<AdapterRow>, StoreError> {
        let sql = "SELECT id, model_id, name, path, sha256, size, added_at FROM adapters ORDER BY name, id";
        self.read(|connection| all(connection, sql, [], read))
    }

    /// Removes an adapter.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn delete_adapter(&self, id: AdapterId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            change_one(transaction, "DELETE FROM adapters WHERE id = ?1", [id.to_string()])?;
            trail::insert(transaction, event)
        })
    }
}
