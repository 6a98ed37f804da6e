//! Models, the catalogue of known ones, and adapters.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use freehold_control::adapters::{AdapterView, NewAdapter};
use freehold_control::models::{CatalogueView, ModelChange, ModelView, NewModel};
use freehold_control::operations::OperationView;
use freehold_control::page::{Page, PageRequest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Refused;
use super::{Once, Query};
use crate::http::App;
use crate::http::body::Json;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, change, remove))
        .routes(routes!(unload))
        .routes(routes!(revert))
        .routes(routes!(list_adapters, add_adapter))
        .routes(routes!(remove_adapter))
        .routes(routes!(catalogue))
}

/// Lists the models that the caller may use.
#[utoipa::path(get, path = "/models", tag = "models", params(PageRequest), responses((status = 200, body = Page<ModelView>), (status = "default", body = Refused)))]
async fn list(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<ModelView>>, Refusal> {
    Ok(JsonBody(app.control.list_models(&actor, &page).await?))
}

/// Adds a model. The answer is the operation that does it; its result is the model.
#[utoipa::path(post, path = "/models", tag = "models", request_body = NewModel, responses((status = 202, body = OperationView), (status = "default", body = Refused)))]
async fn add(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewModel>,
) -> Result<(StatusCode, JsonBody<OperationView>), Refusal> {
    Ok((StatusCode::ACCEPTED, JsonBody(app.control.add_model(&actor, new, once.as_ref()).await?)))
}

/// Shows a model.
#[utoipa::path(get, path = "/models/{model}", tag = "models", params(("model" = String, Path, description = "Name.")), responses((status = 200, body = ModelView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<JsonBody<ModelView>, Refusal> {
    Ok(JsonBody(app.control.model(&actor, &model).await?))
}

/// Pins or unpins a model.
#[utoipa::path(patch, path = "/models/{model}", tag = "models", params(("model" = String, Path, description = "Name.")), request_body = ModelChange, responses((status = 200, body = ModelView), (status = "default", body = Refused)))]
async fn change(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(model): Path<String>,
    Json(change): Json<ModelChange>,
) -> Result<JsonBody<ModelView>, Refusal> {
    Ok(JsonBody(app.control.change_model(&actor, &model, change).await?))
}

/// Removes a model, its adapters and its files.
#[utoipa::path(delete, path = "/models/{model}", tag = "models", params(("model" = String, Path, description = "Name.")), responses((status = 200, body = ModelView), (status = "default", body = Refused)))]
async fn remove(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<JsonBody<ModelView>, Refusal> {
    Ok(JsonBody(app.control.remove_model(&actor, &model).await?))
}

/// Unloads a model when its answers have ended; the next request loads it again.
#[utoipa::path(post, path = "/models/{model}/unload", tag = "models", params(("model" = String, Path, description = "Name.")), responses((status = 200, body = ModelView), (status = "default", body = Refused)))]
async fn unload(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<JsonBody<ModelView>, Refusal> {
    Ok(JsonBody(app.serving.unload_model(&actor, &model).await?))
}

/// Serves the original of an optimized or quantized model again, and removes the representation that was made of it.
#[utoipa::path(post, path = "/models/{model}/revert", tag = "models", params(("model" = String, Path, description = "Name.")), responses((status = 200, body = ModelView), (status = "default", body = Refused)))]
async fn revert(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<JsonBody<ModelView>, Refusal> {
    Ok(JsonBody(app.control.revert_model(&actor, &model).await?))
}

/// Lists the adapters of a model.
#[utoipa::path(get, path = "/models/{model}/adapters", tag = "models", params(("model" = String, Path, description = "Name.")), responses((status = 200, body = Page<AdapterView>), (status = "default", body = Refused)))]
async fn list_adapters(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(model): Path<String>,
) -> Result<JsonBody<Page<AdapterView>>, Refusal> {
    Ok(JsonBody(Page { data: app.control.list_adapters(&actor, &model).await?, next: None }))
}

/// Adds a LoRA adapter to a model.
#[utoipa::path(post, path = "/models/{model}/adapters", tag = "models", params(("model" = String, Path, description = "Name.")), request_body = NewAdapter, responses((status = 201, body = AdapterView), (status = "default", body = Refused)))]
async fn add_adapter(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(model): Path<String>,
    Once(once): Once,
    Json(new): Json<NewAdapter>,
) -> Result<(StatusCode, JsonBody<AdapterView>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.add_adapter(&actor, &model, new, once.as_ref()).await?)))
}

/// Removes an adapter.
#[utoipa::path(delete, path = "/models/{model}/adapters/{adapter}", tag = "models", params(("model" = String, Path, description = "Name."), ("adapter" = String, Path, description = "Name.")), responses((status = 200, body = AdapterView), (status = "default", body = Refused)))]
async fn remove_adapter(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((model, adapter)): Path<(String, String)>,
) -> Result<JsonBody<AdapterView>, Refusal> {
    Ok(JsonBody(app.control.remove_adapter(&actor, &model, &adapter).await?))
}

/// Lists the models that can be added by name, and whether they fit this machine.
#[utoipa::path(get, path = "/catalogue", tag = "models", responses((status = 200, body = Page<CatalogueView>), (status = "default", body = Refused)))]
async fn catalogue(State(app): State<App>, Caller(actor): Caller) -> Result<JsonBody<Page<CatalogueView>>, Refusal> {
    Ok(JsonBody(Page { data: app.control.list_catalogue(&actor)?, next: None }))
}
