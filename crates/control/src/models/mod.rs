//! Models: list, show, add, change, remove, and the catalogue of those that can be added by name.
//!
//! **Invariant:** the store is the truth: a model's files are whole before its row is written, and its row is gone
//! before its files are removed.

mod add;
pub(crate) mod files;
mod name;
mod revert;
pub(crate) mod upstream;
mod view;

use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_models::catalogue;
use freehold_store::{AdapterRow, ModelRow, UpstreamRow};
use serde_json::json;

pub use upstream::{INSTANCE_HEADER, NewUpstream, UpstreamView};
pub use view::{CatalogueView, MeasurementView, ModelChange, ModelView, NewModel, Representation};

use crate::auth::{Action, Actor, model_not_found, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};
use files::Folder;

/// The most models that a service has.
pub const MODELS_MAX: usize = 1000;

/// A model as it is stored.
enum Stored {
    File(ModelRow),
    Upstream(UpstreamRow),
}

impl Stored {
    fn name(&self) -> &ModelName {
        match self {
            Self::File(row) => &row.name,
            Self::Upstream(row) => &row.name,
        }
    }
}

impl Control {
    /// The models that the actor may use, by name.
    ///
    /// # Errors
    /// `invalid_request` for a bad page.
    pub async fn list_models(&self, actor: &Actor, page: &PageRequest) -> Result<Page<ModelView>, Error> {
        let (limit, after) = page.read::<ModelName>()?;
        let (rows, adapters, upstreams) = self.store(|store| Ok((store.models()?, store.all_adapters()?, store.upstreams()?))).await?;
        let upstreams = upstreams.into_iter().map(Stored::Upstream);
        let mut stored: Vec<Stored> = rows.into_iter().map(Stored::File).chain(upstreams).collect();
        stored.sort_by_key(|stored| stored.name().as_str().to_ascii_lowercase());
        let is_after =
            |name: &ModelName| after.as_ref().is_none_or(|after| name.as_str().to_ascii_lowercase() > after.as_str().to_ascii_lowercase());
        let seen = |stored: &Stored| is_after(stored.name()) && permit(actor, Action::SeeModel(stored.name())).is_ok();
        let stored: Vec<Stored> = stored.into_iter().filter(seen).take(limit as usize + 1).collect();
        let view = |stored| match stored {
            Stored::Upstream(row) => Ok(self.upstream_view(row, actor.is_operator())),
            Stored::File(row) => {
                let own = adapters.iter().filter(|adapter| adapter.model_id == row.id).map(|adapter| adapter.name.clone()).collect();
                self.model_view(row, own)
            }
        };
        let page = Page::of(stored, limit, |stored| stored.name().to_string(), view);
        Ok(Page { data: page.data.into_iter().collect::<Result<_, _>>()?, next: page.next })
    }

    /// One model.
    ///
    /// # Errors
    /// `model_not_found` when there is none that the actor may see.
    pub async fn model(&self, actor: &Actor, name: &str) -> Result<ModelView, Error> {
        if let Some(row) = self.visible_upstream(actor, name).await? {
            return Ok(self.upstream_view(row, actor.is_operator()));
        }
        let (row, adapters) = self.visible_model(actor, name).await?;
        self.model_view(row, adapters.into_iter().map(|adapter| adapter.name).collect())
    }

    /// Pins or unpins a model.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`.
    pub async fn change_model(&self, actor: &Actor, name: &str, change: ModelChange) -> Result<ModelView, Error> {
        permit(actor, Action::ManageModels)?;
        let (row, adapters) = self.visible_model(actor, name).await?;
        let pinned = change.pinned.unwrap_or(row.pinned);
        let id = row.id;
        let event =
            self.event(Some(&actor.by()), None, "model.changed", &id.to_string(), json!({"name": row.name.as_str(), "pinned": pinned}));
        self.store(move |store| store.pin_model(id, pinned, Some(&event))).await?;
        self.shared.hooks.changed(&row.name);
        if let Some(host) = self.shared.hooks.host() {
            host.pinned(&row.name, pinned);
        }
        self.model_view(ModelRow { pinned, ..row }, adapters.into_iter().map(|adapter| adapter.name).collect())
    }

    /// Removes a model, its adapters and its files. Requests that it is answering may end first.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`, `conflict` while it is being worked on.
    pub async fn remove_model(&self, actor: &Actor, name: &str) -> Result<ModelView, Error> {
        permit(actor, Action::ManageModels)?;
        let _files = self.shared.model_files.lock().await;
        if let Some(row) = self.visible_upstream(actor, name).await? {
            return self.remove_upstream(actor, row).await;
        }
        let (row, adapters) = self.visible_model(actor, name).await?;
        self.check_no_operation(&row.name).await?;
        let view = self.model_view(row.clone(), adapters.into_iter().map(|adapter| adapter.name).collect())?;
        let event = self.event(Some(&actor.by()), None, "model.removed", &row.id.to_string(), json!({"name": row.name.as_str()}));
        self.store(move |store| store.delete_model(row.id, Some(&event))).await?;
        self.shared.hooks.changed(&row.name);
        if let Some(host) = self.shared.hooks.host()
            && let Err(error) = host.unload(&row.name).await
        {
            // Its files are removed all the same: who has them open keeps them until the end.
            tracing::warn!(model = %row.name, %error, "removed while it was in use");
        }
        let folder = Folder::of(self.settings(), &row.name);
        tokio::task::spawn_blocking(move || folder.remove()).await.map_err(Error::internal)?;
        Ok(view)
    }

    /// The models that can be added by name, and whether they fit this machine.
    ///
    /// # Errors
    /// `permission_denied` for a tenant.
    pub fn list_catalogue(&self, actor: &Actor) -> Result<Vec<CatalogueView>, Error> {
        permit(actor, Action::ManageModels)?;
        let budget = self.settings().memory_budget_bytes;
        Ok(catalogue::entries().iter().map(|entry| CatalogueView::new(entry, budget)).collect())
    }

    async fn check_no_operation(&self, model: &ModelName) -> Result<(), Error> {
        let open = self.store(|store| store.open_operations()).await?;
        if open.iter().any(|operation| operation.subject.eq_ignore_ascii_case(model.as_str())) {
            let message = format!("An operation works on `{model}`: wait for its end or cancel it (`freehold operation list`).");
            return Err(Error::new(ErrorCode::Conflict, message));
        }
        Ok(())
    }

    async fn visible_upstream(&self, actor: &Actor, name: &str) -> Result<Option<UpstreamRow>, Error> {
        let parsed: ModelName = name.parse().map_err(|_| model_not_found(name))?;
        permit(actor, Action::SeeModel(&parsed))?;
        self.find_upstream(&parsed).await
    }

    /// The model in a file of ours that this text names, and its adapters, if the actor may see it.
    pub(crate) async fn visible_model(&self, actor: &Actor, name: &str) -> Result<(ModelRow, Vec<AdapterRow>), Error> {
        let parsed: ModelName = name.parse().map_err(|_| model_not_found(name))?;
        permit(actor, Action::SeeModel(&parsed))?;
        let wanted = parsed.clone();
        let found = self
            .store(move |store| {
                let Some(row) = store.model(&wanted)? else { return Ok(None) };
                let adapters = store.adapters(row.id)?;
                Ok(Some((row, adapters)))
            })
            .await?;
        match found {
            Some(found) => Ok(found),
            None if self.find_upstream(&parsed).await?.is_some() => Err(Error::invalid(
                "model",
                format!("Another server serves `{parsed}`: there is nothing here to load, to keep loaded or to adapt."),
            )),
            None => Err(model_not_found(name)),
        }
    }

    pub(crate) fn model_view(&self, row: ModelRow, adapters: Vec<ModelName>) -> Result<ModelView, Error> {
        let state = self.shared.hooks.host().map_or_else(|| "unloaded".to_owned(), |host| host.state(&row.name));
        ModelView::new(row, adapters, state)
    }
}
