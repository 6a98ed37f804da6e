//! Models that can be served: what is known of each and where its files are.

use freehold_domain::{ModelId, ModelName, OperationId, Timestamp};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, change_one, one, signed};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::operations::{self, Outcome};
use crate::trail::{self, TrailRow};
use crate::upstreams::check_free;

/// A model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRow {
    /// Its id.
    pub id: ModelId,
    /// Its name, unique without regard to case.
    pub name: ModelName,
    /// The GGUF file that is served.
    pub path: String,
    /// The file as it came, where `path` is another representation of it.
    pub original_path: Option<String>,
    /// SHA-256 of the file that is served, in hex.
    pub sha256: String,
    /// The size of the file that is served, in bytes.
    pub size_bytes: u64,
    /// Where it came from, as a person would write it: `hf:owner/repo:file`.
    pub source: String,
    /// The licence that the file names.
    pub licence: Option<String>,
    /// llama.cpp's name of the architecture.
    pub architecture: String,
    /// How many weights.
    pub parameter_count: u64,
    /// How the weights are written: `Q4_1`.
    pub quantization: String,
    /// Longest prompt and answer together that the model was made for, in tokens.
    pub context_length: u32,
    /// Whether the file brings a chat template.
    pub chat_template: bool,
    /// Bytes of KV cache for one token.
    pub kv_bytes_per_token: u64,
    /// Every representation that was tried on this machine, as a JSON array.
    pub measurements_json: String,
    /// Loaded at the start and never unloaded for being idle.
    pub pinned: bool,
    /// When it was added.
    pub added_at: Timestamp,
}

const COLUMNS: &str = "id, name, path, original_path, sha256, size, source, licence, architecture, parameter_count, quantization, \
                       context_length, chat_template, kv_bytes_per_token, measurements, pinned, added_at";

fn read(row: &Columns<'_>) -> Result<ModelRow, StoreError> {
    Ok(ModelRow {
        id: row.parsed("id")?,
        name: row.parsed("name")?,
        path: row.plain("path")?,
        original_path: row.plain("original_path")?,
        sha256: row.plain("sha256")?,
        size_bytes: row.size("size")?,
        source: row.plain("source")?,
        licence: row.plain("licence")?,
        architecture: row.plain("architecture")?,
        parameter_count: row.size("parameter_count")?,
        quantization: row.plain("quantization")?,
        context_length: row.plain("context_length")?,
        chat_template: row.plain("chat_template")?,
        kv_bytes_per_token: row.size("kv_bytes_per_token")?,
        measurements_json: row.plain("measurements")?,
        pinned: row.plain("pinned")?,
        added_at: row.time("added_at")?,
    })
}

fn insert(connection: &Connection, model: &ModelRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO models ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)");
    connection.prepare_cached(&sql)?.execute(params![
        model.id.to_string(),
        model.name.as_str(),
        model.path,
        model.original_path,
        model.sha256,
        signed(model.size_bytes),
        model.source,
        model.licence,
        model.architecture,
        signed(model.parameter_count),
        model.quantization,
        model.context_length,
        model.chat_template,
        signed(model.kv_bytes_per_token),
        model.measurements_json,
        model.pinned,
        model.added_at.unix_ms(),
    ])?;
    Ok(())
}

impl Store {
    /// Adds a model and ends the operation that fetched it, together.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name that is taken, [`StoreError::Missing`] when the operation has ended.
    pub fn create_model(&self, model: &ModelRow, operation: OperationId, result_json: &str, now: Timestamp) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            check_free(transaction, "upstreams", &model.name)?;
            insert(transaction, model)?;
            operations::finish(transaction, operation, &Outcome::Done { result_json: result_json.to_owned() }, now)
        })
    }

    /// The model with this name, compared without regard to case.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn model(&self, name: &ModelName) -> Result<Option<ModelRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE name = ?1");
        self.read(|connection| one(connection, &sql, [name.as_str()], read))
    }

    /// All models, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn models(&self) -> Result<Vec<ModelRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models ORDER BY name");
        self.read(|connection| all(connection, &sql, [], read))
    }

    /// Keeps a model loaded, or no longer.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn pin_model(&self, id: ModelId, pinned: bool, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            change_one(transaction, "UPDATE models SET pinned = ?2 WHERE id = ?1", params![id.to_string(), pinned])?;
            trail::insert(transaction, event)
        })
    }

    /// Another file of a model is served from now on: what the row says of files, weights and measurements is written.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn change_model_file(&self, model: &ModelRow, event: Option<&TrailRow>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE models SET path = ?2, original_path = ?3, sha256 = ?4, size = ?5, quantization = ?6, \
                           parameter_count = ?7, kv_bytes_per_token = ?8, measurements = ?9 WHERE id = ?1";
        self.write(Durability::Full, |transaction| {
            let values = params![
                model.id.to_string(),
                model.path,
                model.original_path,
                model.sha256,
                signed(model.size_bytes),
                model.quantization,
                signed(model.parameter_count),
                signed(model.kv_bytes_per_token),
                model.measurements_json,
            ];
            change_one(transaction, SQL, values)?;
            trail::insert(transaction, event)
        })
    }

    /// Removes a model and its adapters.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn delete_model(&self, id: ModelId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            change_one(transaction, "DELETE FROM models WHERE id = ?1", [id.to_string()])?;
            trail::insert(transaction, event)
        })
    }
}
