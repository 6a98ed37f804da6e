//! Stored responses of a tenant, as a whole: what there is, how much of the limit it takes, and how to take it away.

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use freehold_control::responses::StoredResponses;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Refused;
use super::{PageOf, Query};
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export)).routes(routes!(remove))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// The tenant, by id or name; left out: the caller's own.
    tenant: Option<String>,
}

/// Lists stored responses, newest first, with what the tenant stores in all and may store.
#[utoipa::path(get, path = "/responses", tag = "responses", params(PageOf), responses((status = 200, body = StoredResponses), (status = "default", body = Refused)))]
async fn list(State(app): State<App>, Caller(actor): Caller, Query(which): Query<PageOf>) -> Result<JsonBody<StoredResponses>, Refusal> {
    let (tenant, page) = which.split();
    Ok(JsonBody(app.control.list_responses(&actor, tenant.as_deref(), &page).await?))
}

/// Exports all stored responses with their input items, oldest first: a JSON object a line.
#[utoipa::path(get, path = "/responses/export", tag = "responses", params(Whose), responses((status = 200, content((String = "application/x-ndjson"))), (status = "default", body = Refused)))]
async fn export(State(app): State<App>, Caller(actor): Caller, Query(whose): Query<Whose>) -> Result<Response, Refusal> {
    let stream = app.control.export_responses(&actor, whose.tenant.as_deref()).await?;
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"responses.ndjson\""));
    Ok(response)
}

/// Deletes a stored response.
#[utoipa::path(delete, path = "/responses/{response}", tag = "responses", params(("response" = String, Path, description = "Id.")), responses((status = 204, description = "It is deleted."), (status = "default", body = Refused)))]
async fn remove(State(app): State<App>, Caller(actor): Caller, Path(response): Path<String>) -> Result<StatusCode, Refusal> {
    app.control.delete_response(&actor, &response).await?;
    Ok(StatusCode::NO_CONTENT)
}
