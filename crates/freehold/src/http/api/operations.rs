//! Long-running operations.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use freehold_control::operations::OperationView;
use freehold_control::page::{Page, PageRequest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Query;
use super::document::Refused;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, cancel))
}

/// Lists the operations, the newest first.
#[utoipa::path(get, path = "/operations", tag = "operations", params(PageRequest), responses((status = 200, body = Page<OperationView>), (status = "default", body = Refused)))]
async fn list(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<OperationView>>, Refusal> {
    Ok(JsonBody(app.control.list_operations(&actor, &page).await?))
}

/// Shows an operation.
#[utoipa::path(get, path = "/operations/{operation}", tag = "operations", params(("operation" = String, Path, description = "Id.")), responses((status = 200, body = OperationView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Caller(actor): Caller, Path(operation): Path<String>) -> Result<JsonBody<OperationView>, Refusal> {
    Ok(JsonBody(app.control.operation(&actor, &operation).await?))
}

/// Cancels an operation.
#[utoipa::path(delete, path = "/operations/{operation}", tag = "operations", params(("operation" = String, Path, description = "Id.")), responses((status = 200, body = OperationView), (status = "default", body = Refused)))]
async fn cancel(State(app): State<App>, Caller(actor): Caller, Path(operation): Path<String>) -> Result<JsonBody<OperationView>, Refusal> {
    Ok(JsonBody(app.control.cancel_operation(&actor, &operation).await?))
}
