//! Usage, its records and exports; revenue.

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use freehold_control::billing::{ExportFormat, LedgerView, RecordView, RevenueRequest, UsageRequest, UsageView};
use freehold_control::page::Page;
use freehold_domain::Error;
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
    OpenApiRouter::new()
        .routes(routes!(usage))
        .routes(routes!(records))
        .routes(routes!(focus))
        .routes(routes!(revenue))
        .routes(routes!(ledger))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Export {
    /// The month: `2026-11`.
    #[param(pattern = "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])$", example = "2026-11")]
    month: String,
    /// `csv` or `parquet`; `csv` when it is left out.
    #[param(pattern = "^(csv|parquet)$")]
    format: Option<String>,
    /// The tenant, by id or name; left out: the caller's own.
    tenant: Option<String>,
}

/// Shows what a tenant used and what it cost, split by day, model and key.
#[utoipa::path(get, path = "/usage", tag = "billing", params(UsageRequest), responses((status = 200, body = UsageView), (status = "default", body = Refused)))]
async fn usage(State(app): State<App>, Caller(actor): Caller, Query(request): Query<UsageRequest>) -> Result<JsonBody<UsageView>, Refusal> {
    Ok(JsonBody(app.control.usage(&actor, &request).await?))
}

/// Lists usage records, newest first.
#[utoipa::path(get, path = "/usage/records", tag = "billing", params(PageOf), responses((status = 200, body = Page<RecordView>), (status = "default", body = Refused)))]
async fn records(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(which): Query<PageOf>,
) -> Result<JsonBody<Page<RecordView>>, Refusal> {
    let (tenant, page) = which.split();
    Ok(JsonBody(app.control.usage_records(&actor, tenant.as_deref(), &page).await?))
}

/// Exports a month's usage and cost as FOCUS 1.2.
#[utoipa::path(get, path = "/usage/focus", tag = "billing", params(Export), responses((status = 200, content((String = "text/csv"), (String = "application/vnd.apache.parquet"))), (status = "default", body = Refused)))]
async fn focus(State(app): State<App>, Caller(actor): Caller, Query(export): Query<Export>) -> Result<Response, Refusal> {
    let (format, kind, end) = match export.format.as_deref().unwrap_or("csv") {
        "csv" => (ExportFormat::Csv, "text/csv; charset=utf-8", "csv"),
        "parquet" => (ExportFormat::Parquet, "application/vnd.apache.parquet", "parquet"),
        _ => return Err(Error::invalid("format", "`format` is `csv` or `parquet`.").into()),
    };
    let pieces = app.control.export_usage(&actor, export.tenant.as_deref(), &export.month, format).await?;
    let stream = futures::stream::unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // The month was read, so it is plain text.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"focus-{}.{end}\"", export.month)) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Shows what all tenants were charged.
#[utoipa::path(get, path = "/revenue", tag = "billing", params(RevenueRequest), responses((status = 200, body = UsageView), (status = "default", body = Refused)))]
async fn revenue(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(request): Query<RevenueRequest>,
) -> Result<JsonBody<UsageView>, Refusal> {
    Ok(JsonBody(app.control.revenue(&actor, &request).await?))
}

/// Shows all accounts together, to see that they add up to zero.
#[utoipa::path(get, path = "/ledger", tag = "billing", responses((status = 200, body = LedgerView), (status = "default", body = Refused)))]
async fn ledger(State(app): State<App>, Caller(actor): Caller) -> Result<JsonBody<LedgerView>, Refusal> {
    Ok(JsonBody(app.control.ledger(&actor).await?))
}
