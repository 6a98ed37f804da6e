//! Tenants.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use freehold_control::page::{Page, PageRequest};
use freehold_control::tenants::{NewTenant, TenantChange, TenantView};
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
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change))
}

/// Lists the tenants; a tenant sees itself.
#[utoipa::path(get, path = "/tenants", tag = "tenants", params(PageRequest), responses((status = 200, body = Page<TenantView>), (status = "default", body = Refused)))]
async fn list(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<TenantView>>, Refusal> {
    Ok(JsonBody(app.control.list_tenants(&actor, &page).await?))
}

/// Creates a tenant.
#[utoipa::path(post, path = "/tenants", tag = "tenants", request_body = NewTenant, responses((status = 201, body = TenantView), (status = "default", body = Refused)))]
async fn create(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, JsonBody<TenantView>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.create_tenant(&actor, new, once.as_ref()).await?)))
}

/// Shows a tenant, by id or name.
#[utoipa::path(get, path = "/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path, description = "Id or name.")), responses((status = 200, body = TenantView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Caller(actor): Caller, Path(tenant): Path<String>) -> Result<JsonBody<TenantView>, Refusal> {
    Ok(JsonBody(app.control.tenant(&actor, &tenant).await?))
}

/// Changes a tenant's name or weight.
#[utoipa::path(patch, path = "/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path, description = "Id or name.")), request_body = TenantChange, responses((status = 200, body = TenantView), (status = "default", body = Refused)))]
async fn change(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(tenant): Path<String>,
    Json(change): Json<TenantChange>,
) -> Result<JsonBody<TenantView>, Refusal> {
    Ok(JsonBody(app.control.change_tenant(&actor, &tenant, change).await?))
}
