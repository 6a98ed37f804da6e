//! The models as requests need them, remembered so that a request reads no database.
//!
//! **Invariant:** whoever changes or removes a model says so with `forget`, after the store has it; every spec that was given
//! out before says from then on that it is outdated.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use freehold_domain::{Error, ModelName};
use freehold_inference::order::AdapterFile;
use freehold_store::{AdapterRow, ModelRow, UpstreamRow};

use crate::facade::Control;
use crate::models::upstream;
use crate::workers::{ModelSpec, Outdated};

#[derive(Debug, Default)]
pub(super) struct Registry {
    specs: RwLock<HashMap<String, Arc<ModelSpec>>>,
    /// Counts what was forgotten, so that a slow reader does not remember what has changed meanwhile.
    generation: AtomicU64,
}

impl Registry {
    pub(super) async fn find(&self, control: &Control, model: &ModelName) -> Result<Option<Arc<ModelSpec>>, Error> {
        let key = model.as_str().to_ascii_lowercase();
        if let Some(spec) = self.specs.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(Arc::clone(spec)));
        }
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            let Some(spec) = read(control, model).await? else { return Ok(None) };
            let mut specs = self.specs.write().unwrap_or_else(PoisonError::into_inner);
            // What has changed meanwhile is read again: nothing would say of this one that it is outdated.
            if self.generation.load(Ordering::Acquire) == generation {
                return Ok(Some(Arc::clone(specs.entry(key).or_insert_with(|| Arc::new(spec)))));
            }
        }
    }

    pub(super) fn forget(&self, model: &ModelName) {
        let mut specs = self.specs.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        if let Some(spec) = specs.remove(&model.as_str().to_ascii_lowercase()) {
            spec.outdated.set();
        }
    }
}

/// A model as the store has it now.
async fn read(control: &Control, model: &ModelName) -> Result<Option<ModelSpec>, Error> {
    let name = model.clone();
    let found = control
        .store(move |store| {
            let Some(row) = store.model(&name)? else { return Ok(store.upstream(&name)?.map(Found::Upstream)) };
            let adapters = store.adapters(row.id)?;
            Ok(Some(Found::File(row, adapters)))
        })
        .await?;
    match found {
        None => Ok(None),
        Some(Found::File(row, adapters)) => Ok(Some(spec(&row, &adapters))),
        Some(Found::Upstream(row)) => upstream_spec(control, &row).map(Some),
    }
}

/// A model as it is stored.
enum Found {
    File(ModelRow, Vec<AdapterRow>),
    Upstream(UpstreamRow),
}

/// Every model that is a file of ours, with its adapters.
pub(super) async fn read_all(control: &Control) -> Result<Vec<(ModelRow, Vec<AdapterRow>)>, Error> {
    let read =
        control.store(|store| store.models()?.into_iter().map(|row| store.adapters(row.id).map(|adapters| (row, adapters))).collect());
    Ok(read.await?)
}

/// Who made a model, as far as its source says.
pub(super) fn owner(row: &ModelRow) -> String {
    row.source.strip_prefix("hf:").and_then(|rest| rest.split('/').next()).unwrap_or("freehold").to_owned()
}

fn spec(row: &ModelRow, adapters: &[AdapterRow]) -> ModelSpec {
    ModelSpec {
        name: row.name.clone(),
        path: PathBuf::from(&row.path),
        file_bytes: row.size_bytes,
        context_length: row.context_length,
        kv_bytes_per_token: row.kv_bytes_per_token,
        pinned: row.pinned,
        adapters: adapters
            .iter()
            .map(|adapter| AdapterFile { name: adapter.name.to_string(), path: PathBuf::from(&adapter.path) })
            .collect(),
        upstream: None,
        outdated: Outdated::default(),
    }
}

fn upstream_spec(control: &Control, row: &UpstreamRow) -> Result<ModelSpec, Error> {
    Ok(ModelSpec {
        name: row.name.clone(),
        path: PathBuf::new(),
        file_bytes: 0,
        context_length: row.context_length,
        kv_bytes_per_token: 0,
        pinned: false,
        adapters: Vec::new(),
        upstream: Some(Arc::new(upstream::spec(control, row)?)),
        outdated: Outdated::default(),
    })
}
