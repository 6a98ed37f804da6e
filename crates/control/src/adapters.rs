//! LoRA adapters of models: add, list, remove. Requests use them as `model:adapter`.
//!
//! **Invariant:** an adapter's file is whole and of the model's architecture before its row is written, and a model
//! that is loaded has taken it before the call succeeds.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use freehold_domain::{AdapterId, Error, ErrorCode, ModelName, Timestamp};
use freehold_inference::order::AdapterFile;
use freehold_models::gguf;
use freehold_store::{AdapterRow, Created, ModelRow, Note, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::models::files::{self, Folder};
use crate::once::IdempotencyKey;

/// The most adapters that a model has.
pub const ADAPTERS_MAX: u32 = 64;
/// The largest file of an adapter, in bytes.
const BYTES_MAX: u64 = 8 << 30;

/// An adapter, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdapterView {
    /// Its id.
    #[schema(value_type = String, example = "ada_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: AdapterId,
    /// The model that it belongs to.
    #[schema(value_type = String)]
    pub model: ModelName,
    /// The part after the colon in `model:adapter`.
    #[schema(value_type = String)]
    pub name: ModelName,
    /// The size of its file, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its file.
    pub sha256: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub added_at: Timestamp,
}

/// An adapter to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdapter {
    /// The part after the colon in `model:adapter`.
    pub name: String,
    /// The absolute path of the adapter's GGUF file on the service's machine.
    pub path: String,
}

fn view(row: AdapterRow, model: &ModelName) -> AdapterView {
    AdapterView { id: row.id, model: model.clone(), name: row.name, size_bytes: row.size_bytes, sha256: row.sha256, added_at: row.added_at }
}

/// The file itself is wrong, not the service.
fn bad_file(message: impl Into<String>) -> Error {
    Error::invalid("path", message)
}

/// Checks the file and copies it to its place. Blocks.
fn take_over(source: &Path, folder: &Path, name: &ModelName, architecture: &str) -> Result<PathBuf, Error> {
    if !source.is_absolute() {
        return Err(bad_file("Give the file as an absolute path on the service's machine."));
    }
    let summary = gguf::summarise(source).map_err(|error| bad_file(format!("The file cannot be used: {error}.")))?;
    if summary.adapter.is_none() {
        return Err(bad_file("This GGUF file is a model, not a LoRA adapter: add it with `freehold model add`."));
    }
    if summary.architecture != architecture {
        let message = format!("The adapter is for models of the architecture `{}`; this one is `{architecture}`.", summary.architecture);
        return Err(bad_file(message));
    }
    let target = folder.join(format!("{name}.gguf"));
    let copied = fs::create_dir_all(folder).and_then(|()| copy(source, &target));
    copied.map_err(|error| bad_file(format!("`{}` cannot be copied: {error}.", source.display())))?;
    Ok(target)
}

/// A copy and not a link: adapters are small, and whoever trains one writes over it.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let partial = target.with_extension("gguf.new");
    let mut reader = fs::File::open(source)?.take(BYTES_MAX + 1);
    let mut writer = fs::File::create(&partial)?;
    let copied = io::copy(&mut reader, &mut writer).and_then(|bytes| {
        if bytes > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {BYTES_MAX} bytes")));
        }
        writer.flush()?;
        writer.sync_all()?;
        fs::rename(&partial, target)
    });
    if copied.is_err() {
        remove_file(&partial);
    }
    copied
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot be removed");
    }
}

impl Control {
    /// Adds an adapter to a model; one that is loaded takes it at once.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`, `conflict` for a name that is taken, `invalid_request`
    /// for a file that is no adapter of this model.
    pub async fn add_adapter(
        &self,
        actor: &Actor,
        model: &str,
        new: NewAdapter,
        once: Option<&IdempotencyKey>,
    ) -> Result<AdapterView, Error> {
        permit(actor, Action::ManageModels)?;
        let name: ModelName = new.name.parse().map_err(|error| Error::invalid("name", format!("{error}.")))?;
        let now = self.now();
        let once = once.map(|once| once.once(actor, &format!("add_adapter {model}"), &new, now)).transpose()?;
        let _files = self.shared.model_files.lock().await;
        let (model, adapters) = self.visible_model(actor, model).await?;
        let existing = adapters.into_iter().find(|adapter| adapter.name.as_str().eq_ignore_ascii_case(name.as_str()));
        let (row, is_new) = match (existing, &once) {
            // The store knows whether this call made it.
            (Some(existing), Some(_)) => (existing, false),
            (Some(_), None) => return Err(name_taken(&model.name, &name)),
            (None, _) => (self.prepare_adapter(&model, name, new.path, now).await?, true),
        };
        let written = row.clone();
        let about = json!({"model": model.name.as_str(), "name": row.name.as_str()});
        let event = self.event(Some(&actor.by()), None, "adapter.added", &row.id.to_string(), about);
        let created =
            self.store(move |store| store.create_adapter(&written, ADAPTERS_MAX, Note { once: once.as_ref(), trail: Some(&event) })).await;
        if is_new && !matches!(created, Ok(Created::New)) {
            remove_file(Path::new(&row.path));
        }
        match created {
            Ok(Created::New) => {}
            Ok(Created::Before(id)) if id == row.id => return Ok(view(row, &model.name)),
            Ok(Created::Before(_)) => return Err(Error::new(ErrorCode::Conflict, "This call added an adapter that was removed since.")),
            Err(StoreError::Exists(_)) => return Err(name_taken(&model.name, &row.name)),
            Err(error) => return Err(error.into()),
        }
        self.shared.hooks.changed(&model.name);
        self.load_adapter(&model, &row).await?;
        Ok(view(row, &model.name))
    }

    async fn prepare_adapter(&self, model: &ModelRow, name: ModelName, source: String, now: Timestamp) -> Result<AdapterRow, Error> {
        let folder = Folder::of(self.settings(), &model.name).adapters();
        let (architecture, model_id) = (model.architecture.clone(), model.id);
        let id = AdapterId::from_uuid(self.new_uuid());
        let work = move || {
            let path = take_over(Path::new(&source), &folder, &name, &architecture)?;
            let (sha256, size_bytes) = files::digest(&path)?;
            let path = path.to_str().ok_or_else(|| Error::internal(format!("{} is not UTF-8", path.display())))?.to_owned();
            Ok(AdapterRow { id, model_id, name, path, sha256, size_bytes, added_at: now })
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }

    /// A loaded model that refuses the adapter shows that the file is bad: it is taken back.
    async fn load_adapter(&self, model: &ModelRow, row: &AdapterRow) -> Result<(), Error> {
        let Some(host) = self.shared.hooks.host() else { return Ok(()) };
        let file = AdapterFile { name: row.name.to_string(), path: PathBuf::from(&row.path) };
        let Err(error) = host.load_adapter(&model.name, &file).await else { return Ok(()) };
        let id = row.id;
        self.store(move |store| store.delete_adapter(id, None)).await?;
        self.shared.hooks.changed(&model.name);
        remove_file(Path::new(&row.path));
        Err(error)
    }

    /// The adapters of a model, by name.
    ///
    /// # Errors
    /// `model_not_found` when there is no such model that the actor may see.
    pub async fn list_adapters(&self, actor: &Actor, model: &str) -> Result<Vec<AdapterView>, Error> {
        let (model, adapters) = self.visible_model(actor, model).await?;
        Ok(adapters.into_iter().map(|row| view(row, &model.name)).collect())
    }

    /// Removes an adapter; a model that is loaded drops it at once.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`, `not_found`.
    pub async fn remove_adapter(&self, actor: &Actor, model: &str, name: &str) -> Result<AdapterView, Error> {
        permit(actor, Action::ManageModels)?;
        let _files = self.shared.model_files.lock().await;
        let (model, adapters) = self.visible_model(actor, model).await?;
        let row =
            adapters.into_iter().find(|adapter| adapter.name.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| not_found("adapter"))?;
        let id = row.id;
        let about = json!({"model": model.name.as_str(), "name": row.name.as_str()});
        let event = self.event(Some(&actor.by()), None, "adapter.removed", &id.to_string(), about);
        self.store(move |store| store.delete_adapter(id, Some(&event))).await?;
        self.shared.hooks.changed(&model.name);
        if let Some(host) = self.shared.hooks.host()
            && let Err(error) = host.unload_adapter(&model.name, &row.name).await
        {
            tracing::warn!(model = %model.name, adapter = %row.name, %error, "the loaded model keeps the adapter until it is unloaded");
        }
        remove_file(Path::new(&row.path));
        Ok(view(row, &model.name))
    }
}

fn name_taken(model: &ModelName, name: &ModelName) -> Error {
    Error::new(ErrorCode::Conflict, format!("`{model}` has an adapter `{name}` already: choose another name or remove that one first."))
        .with_param("name")
}
