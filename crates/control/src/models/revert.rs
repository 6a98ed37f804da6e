//! Back to the file as it came, for a model that is served in another representation.
//!
//! **Invariant:** the representation's file is removed only after the row that names the original is on the disk, and only
//! when nothing serves it any more. A crash in between, or a worker that does not end, leaves it in the model's folder.

use std::path::PathBuf;

use freehold_domain::{Error, ErrorCode};
use freehold_store::ModelRow;
use serde_json::json;

use super::add::summarise;
use super::files::{Folder, digest};
use super::view::{MeasurementView, ModelView};
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;

impl Control {
    /// Serves a model's original file again and removes the representation that was made of it. Requests that the model
    /// is answering may end first; those that come meanwhile, or wait already, are answered from the original. Its adapters
    /// stay.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`, `conflict` when the original is what is served or is gone,
    /// or while an operation works on the model.
    pub async fn revert_model(&self, actor: &Actor, name: &str) -> Result<ModelView, Error> {
        permit(actor, Action::ManageModels)?;
        let _files = self.shared.model_files.lock().await;
        let (row, adapters) = self.visible_model(actor, name).await?;
        self.check_no_operation(&row.name).await?;
        let Some(original) = row.original_path.clone() else {
            return Err(Error::new(ErrorCode::Conflict, format!("`{}` is served from the file as it came.", row.name)));
        };
        let left = PathBuf::from(&row.path);
        let row = with_original(row, original).await?;
        let details = json!({"name": row.name.as_str(), "quantization": row.quantization});
        let event = self.event(Some(&actor.by()), None, "model.reverted", &row.id.to_string(), details);
        let (control, written) = (self.clone(), row.clone());
        // A client that goes away does not leave it half done.
        let done = tokio::spawn(async move {
            let changed = written.clone();
            control.store(move |store| store.change_model_file(&changed, Some(&event))).await?;
            control.shared.hooks.changed(&written.name);
            control.leave_representation(&written, left).await
        });
        done.await.map_err(Error::internal)??;
        self.model_view(row, adapters.into_iter().map(|adapter| adapter.name).collect())
    }

    /// Ends the worker that serves a representation, and removes its file. Only what lies in the model's own folder is ours to
    /// remove.
    async fn leave_representation(&self, row: &ModelRow, file: PathBuf) -> Result<(), Error> {
        if let Some(host) = self.shared.hooks.host() {
            let unloaded = host.unload(&row.name).await;
            if row.pinned {
                host.pinned(&row.name, true);
            }
            if let Err(error) = unloaded {
                tracing::warn!(model = %row.name, %error, path = %file.display(), "its answers take long: they end with the other representation, whose file stays");
                return Ok(());
            }
        }
        let folder = Folder::of(self.settings(), &row.name);
        tokio::task::spawn_blocking(move || folder.remove_file(&file)).await.map_err(Error::internal)
    }
}

/// The row as it is when the original is served.
async fn with_original(row: ModelRow, original: String) -> Result<ModelRow, Error> {
    let path = PathBuf::from(&original);
    if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
        let message = format!("The original of `{}` is gone ({original}). Remove the model and add it again.", row.name);
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    let summary = summarise(&path).await?;
    // The size is that of all parts.
    let (sha256, _) = tokio::task::spawn_blocking(move || digest(&path)).await.map_err(Error::internal)??;
    let mut measurements: Vec<MeasurementView> = serde_json::from_str(&row.measurements_json).map_err(Error::internal)?;
    for (index, measured) in measurements.iter_mut().enumerate() {
        // The original is measured first.
        measured.served = index == 0;
    }
    Ok(ModelRow {
        path: original,
        original_path: None,
        sha256,
        size_bytes: summary.file_bytes,
        quantization: summary.quantization,
        parameter_count: summary.parameter_count,
        kv_bytes_per_token: summary.kv_bytes_per_token.unwrap_or(0),
        measurements_json: serde_json::to_string(&measurements).map_err(Error::internal)?,
        ..row
    })
}
