//! API keys.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use freehold_control::keys::{KeyView, KeyWithSecret, NewKey, Rotation};
use freehold_control::page::Page;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Refused;
use super::{Once, PageOf, Query};
use crate::http::App;
use crate::http::body::Json;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, revoke)).routes(routes!(rotate))
}

/// Lists keys.
#[utoipa::path(get, path = "/keys", tag = "keys", params(PageOf), responses((status = 200, body = Page<KeyView>), (status = "default", body = Refused)))]
async fn list(State(app): State<App>, Caller(actor): Caller, Query(whose): Query<PageOf>) -> Result<JsonBody<Page<KeyView>>, Refusal> {
    let (tenant, page) = whose.split();
    Ok(JsonBody(app.control.list_keys(&actor, tenant.as_deref(), &page).await?))
}

/// Creates a key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = NewKey, responses((status = 201, body = KeyWithSecret), (status = "default", body = Refused)))]
async fn create(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, JsonBody<KeyWithSecret>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.create_key(&actor, new, once.as_ref()).await?)))
}

/// Shows a key, never its secret.
#[utoipa::path(get, path = "/keys/{key}", tag = "keys", params(("key" = String, Path, description = "Id.")), responses((status = 200, body = KeyView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Caller(actor): Caller, Path(key): Path<String>) -> Result<JsonBody<KeyView>, Refusal> {
    Ok(JsonBody(app.control.key(&actor, &key).await?))
}

/// Revokes a key: the next request with it is refused.
#[utoipa::path(delete, path = "/keys/{key}", tag = "keys", params(("key" = String, Path, description = "Id.")), responses((status = 200, body = KeyView), (status = "default", body = Refused)))]
async fn revoke(State(app): State<App>, Caller(actor): Caller, Path(key): Path<String>) -> Result<JsonBody<KeyView>, Refusal> {
    Ok(JsonBody(app.control.revoke_key(&actor, &key).await?))
}

/// Gives a key a new secret.
#[utoipa::path(post, path = "/keys/{key}/rotate", tag = "keys", params(("key" = String, Path, description = "Id.")), request_body = Rotation, responses((status = 200, body = KeyWithSecret), (status = "default", body = Refused)))]
async fn rotate(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(key): Path<String>,
    Json(rotation): Json<Rotation>,
) -> Result<JsonBody<KeyWithSecret>, Refusal> {
    Ok(JsonBody(app.control.rotate_key(&actor, &key, rotation).await?))
}
