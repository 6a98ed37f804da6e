//! Invoices and credit notes.

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use freehold_control::billing::{Document, InvoiceRun, InvoiceRunView, InvoiceView, LeftView, NewCreditNote, RunsView, TaxChange, TaxView};
use freehold_control::page::{Page, PageRequest};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::credit::Whose;
use super::document::Refused;
use super::{Once, PageOf, Query};
use crate::http::App;
use crate::http::body::Json;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(run))
        .routes(routes!(runs))
        .routes(routes!(left))
        .routes(routes!(show))
        .routes(routes!(credit))
        .routes(routes!(pay))
        .routes(routes!(tax, set_tax))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Shape {
    /// `json`, `html` or `pdf`; `json` when it is left out.
    #[param(pattern = "^(json|html|pdf)$")]
    format: Option<String>,
}

/// Lists invoices and credit notes, newest first.
#[utoipa::path(get, path = "/invoices", tag = "billing", params(PageOf), responses((status = 200, body = Page<InvoiceView>), (status = "default", body = Refused)))]
async fn list(State(app): State<App>, Caller(actor): Caller, Query(which): Query<PageOf>) -> Result<JsonBody<Page<InvoiceView>>, Refusal> {
    let (tenant, page) = which.split();
    Ok(JsonBody(app.control.list_invoices(&actor, tenant.as_deref(), &page).await?))
}

/// Invoices a month that is over. Doing it again makes nothing twice.
#[utoipa::path(post, path = "/invoices/run", tag = "billing", request_body = InvoiceRun, responses((status = 200, body = InvoiceRunView), (status = "default", body = Refused)))]
async fn run(State(app): State<App>, Caller(actor): Caller, Json(run): Json<InvoiceRun>) -> Result<JsonBody<InvoiceRunView>, Refusal> {
    Ok(JsonBody(app.control.run_invoices(&actor, &run).await?))
}

/// Shows how far the invoices of the last months are, and when the service makes the next ones.
#[utoipa::path(get, path = "/invoices/runs", tag = "billing", responses((status = 200, body = RunsView), (status = "default", body = Refused)))]
async fn runs(State(app): State<App>, Caller(actor): Caller) -> Result<JsonBody<RunsView>, Refusal> {
    Ok(JsonBody(app.control.invoice_runs(&actor).await?))
}

/// Lists the tenants that have no invoice of a month yet, and why.
#[utoipa::path(get, path = "/invoices/runs/{month}", tag = "billing", params(("month" = String, Path, description = "The month: `2026-11`."), PageRequest), responses((status = 200, body = Page<LeftView>), (status = "default", body = Refused)))]
async fn left(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(month): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<LeftView>>, Refusal> {
    Ok(JsonBody(app.control.invoice_run_left(&actor, &month, &page).await?))
}

/// Shows the tax on what a tenant buys; without a tenant, for operators, what holds for all.
#[utoipa::path(get, path = "/tax", tag = "billing", params(Whose), responses((status = 200, body = TaxView), (status = "default", body = Refused)))]
async fn tax(State(app): State<App>, Caller(actor): Caller, Query(whose): Query<Whose>) -> Result<JsonBody<TaxView>, Refusal> {
    Ok(JsonBody(app.control.tax(&actor, whose.tenant.as_deref()).await?))
}

/// Sets the tax on what a tenant buys; without a tenant, what holds for all. Documents that were issued stay as they are.
#[utoipa::path(put, path = "/tax", tag = "billing", params(Whose), request_body = TaxChange, responses((status = 200, body = TaxView), (status = "default", body = Refused)))]
async fn set_tax(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(whose): Query<Whose>,
    Json(change): Json<TaxChange>,
) -> Result<JsonBody<TaxView>, Refusal> {
    Ok(JsonBody(app.control.set_tax(&actor, whose.tenant.as_deref(), change).await?))
}

/// Shows an invoice or a credit note: in JSON, as a page or as a PDF.
#[utoipa::path(get, path = "/invoices/{invoice}", tag = "billing", params(("invoice" = String, Path, description = "Id."), Shape), responses((status = 200, content((serde_json::Value = "application/json"), (String = "text/html"), (String = "application/pdf"))), (status = "default", body = Refused)))]
async fn show(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(invoice): Path<String>,
    Query(form): Query<Shape>,
) -> Result<Response, Refusal> {
    let document = app.control.invoice(&actor, &invoice, form.format.as_deref()).await?;
    let (body, kind) = match document {
        Document::Json(value) => (Body::from(value.to_string()), "application/json"),
        Document::Html(page) => (Body::from(page), "text/html; charset=utf-8"),
        Document::Pdf(bytes) => (Body::from(bytes), "application/pdf"),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    if kind == "application/pdf"
        && let Ok(value) = HeaderValue::from_str(&format!("inline; filename=\"{}.pdf\"", invoice))
    {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Gives back part or all of an invoice, as credit.
#[utoipa::path(post, path = "/invoices/{invoice}/credit-note", tag = "billing", params(("invoice" = String, Path, description = "Id.")), request_body = NewCreditNote, responses((status = 201, body = InvoiceView), (status = "default", body = Refused)))]
async fn credit(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(invoice): Path<String>,
    Once(once): Once,
    Json(new): Json<NewCreditNote>,
) -> Result<(StatusCode, JsonBody<InvoiceView>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.credit_note(&actor, &invoice, new, once.as_ref()).await?)))
}

/// Notes that an invoice was paid.
#[utoipa::path(post, path = "/invoices/{invoice}/paid", tag = "billing", params(("invoice" = String, Path, description = "Id.")), responses((status = 200, body = InvoiceView), (status = "default", body = Refused)))]
async fn pay(State(app): State<App>, Caller(actor): Caller, Path(invoice): Path<String>) -> Result<JsonBody<InvoiceView>, Refusal> {
    Ok(JsonBody(app.control.pay_invoice(&actor, &invoice).await?))
}
