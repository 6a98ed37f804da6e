//! What the use cases of models need of whoever serves them.

use std::time::{Duration, Instant};

use freehold_domain::{Error, ModelName};
use freehold_inference::order::{AdapterFile, Order, Report};
use futures::future::BoxFuture;
use serde_json::json;

use super::Serving;
use crate::auth::{Action, Actor, permit};
use crate::hooks::{ModelHost, OnReport, TaskRunner};
use crate::models::ModelView;

/// How long a model that is removed or unloaded may take to end its answers.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(30);

impl TaskRunner for Serving {
    fn run<'a>(&'a self, order: &'a Order, on_report: OnReport<'a>) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(self.workers().run_order(order, on_report))
    }
}

impl ModelHost for Serving {
    fn changed(&self, model: &ModelName) {
        self.forget(model);
    }

    fn pinned(&self, model: &ModelName, pinned: bool) {
        self.workers().pin(model, pinned);
        if pinned {
            let (serving, model) = (self.clone(), model.clone());
            tokio::spawn(async move { serving.load(&model).await });
        }
    }

    fn state(&self, model: &ModelName) -> String {
        let workers = self.workers().status();
        workers.iter().find(|worker| worker.model == *model).map_or("unloaded", |worker| worker.state).to_owned()
    }

    fn unload<'a>(&'a self, model: &'a ModelName) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.workers().unload(model, Instant::now() + UNLOAD_PATIENCE))
    }

    fn load_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a AdapterFile) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.tell_worker(model, "/v1/load_lora_adapter", &json!({"lora_name": adapter.name, "lora_path": adapter.path})).await
        })
    }

    fn unload_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a ModelName) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.tell_worker(model, "/v1/unload_lora_adapter", &json!({"lora_name": adapter})).await })
    }
}

impl Serving {
    /// Unloads a model once its answers have ended; the next request loads it again.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `model_not_found`, `deadline_exceeded` while it is answering.
    pub async fn unload_model(&self, actor: &Actor, name: &str) -> Result<ModelView, Error> {
        permit(actor, Action::ManageModels)?;
        let (row, _) = self.control.visible_model(actor, name).await?;
        self.unload(&row.name).await?;
        self.control.model(actor, name).await
    }
}
