//! Balance, credit, vouchers and limits.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use freehold_control::billing::{
    BalanceView, LimitsChange, LimitsView, NewCredit, NewVoucher, Redemption, TermsChange, TransferView, VoucherView, VoucherWithCode,
};
use freehold_control::page::{Page, PageRequest};
use serde::Deserialize;
use utoipa::IntoParams;
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
        .routes(routes!(balance, set_terms))
        .routes(routes!(transfers, give))
        .routes(routes!(list_vouchers, create_voucher))
        .routes(routes!(redeem))
        .routes(routes!(limits, set_limits))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// The tenant, by id or name; left out: the caller's own.
    pub(super) tenant: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Limited {
    /// The tenant, by id or name; left out: the caller's own.
    tenant: Option<String>,
    /// One of its keys, by id; left out: the tenant as a whole.
    key: Option<String>,
}

/// Shows what a tenant has to spend.
#[utoipa::path(get, path = "/balance", tag = "billing", params(Whose), responses((status = 200, body = BalanceView), (status = "default", body = Refused)))]
async fn balance(State(app): State<App>, Caller(actor): Caller, Query(whose): Query<Whose>) -> Result<JsonBody<BalanceView>, Refusal> {
    Ok(JsonBody(app.control.balance(&actor, whose.tenant.as_deref()).await?))
}

/// Sets how a tenant pays: before, with credit, or after, by invoice.
#[utoipa::path(put, path = "/balance", tag = "billing", params(Whose), request_body = TermsChange, responses((status = 200, body = BalanceView), (status = "default", body = Refused)))]
async fn set_terms(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(whose): Query<Whose>,
    Json(change): Json<TermsChange>,
) -> Result<JsonBody<BalanceView>, Refusal> {
    Ok(JsonBody(app.control.set_terms(&actor, whose.tenant.as_deref(), change).await?))
}

/// Lists what moved on a tenant's account except for usage, newest first.
#[utoipa::path(get, path = "/credit", tag = "billing", params(Whose), responses((status = 200, body = Page<TransferView>), (status = "default", body = Refused)))]
async fn transfers(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(whose): Query<Whose>,
) -> Result<JsonBody<Page<TransferView>>, Refusal> {
    Ok(JsonBody(Page { data: app.control.transfers(&actor, whose.tenant.as_deref()).await?, next: None }))
}

/// Gives a tenant credit.
#[utoipa::path(post, path = "/credit", tag = "billing", request_body = NewCredit, responses((status = 201, body = BalanceView), (status = "default", body = Refused)))]
async fn give(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewCredit>,
) -> Result<(StatusCode, JsonBody<BalanceView>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.give_credit(&actor, new, once.as_ref()).await?)))
}

/// Lists vouchers.
#[utoipa::path(get, path = "/vouchers", tag = "billing", params(PageRequest), responses((status = 200, body = Page<VoucherView>), (status = "default", body = Refused)))]
async fn list_vouchers(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<VoucherView>>, Refusal> {
    Ok(JsonBody(app.control.list_vouchers(&actor, &page).await?))
}

/// Makes a voucher. Its code is in this answer and nowhere else.
#[utoipa::path(post, path = "/vouchers", tag = "billing", request_body = NewVoucher, responses((status = 201, body = VoucherWithCode), (status = "default", body = Refused)))]
async fn create_voucher(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewVoucher>,
) -> Result<(StatusCode, JsonBody<VoucherWithCode>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.create_voucher(&actor, new, once.as_ref()).await?)))
}

/// Turns a voucher's code into credit.
#[utoipa::path(post, path = "/vouchers/redeem", tag = "billing", request_body = Redemption, responses((status = 200, body = BalanceView), (status = "default", body = Refused)))]
async fn redeem(State(app): State<App>, Caller(actor): Caller, Json(code): Json<Redemption>) -> Result<JsonBody<BalanceView>, Refusal> {
    Ok(JsonBody(app.control.redeem_voucher(&actor, code).await?))
}

/// Shows the limits and budgets of a tenant or of a key, and what is used of them.
#[utoipa::path(get, path = "/limits", tag = "billing", params(Limited), responses((status = 200, body = LimitsView), (status = "default", body = Refused)))]
async fn limits(State(app): State<App>, Caller(actor): Caller, Query(whose): Query<Limited>) -> Result<JsonBody<LimitsView>, Refusal> {
    Ok(JsonBody(app.control.limits(&actor, whose.tenant.as_deref(), whose.key.as_deref()).await?))
}

/// Sets the limits and budgets of a tenant or of a key.
#[utoipa::path(put, path = "/limits", tag = "billing", params(Limited), request_body = LimitsChange, responses((status = 200, body = LimitsView), (status = "default", body = Refused)))]
async fn set_limits(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(whose): Query<Limited>,
    Json(change): Json<LimitsChange>,
) -> Result<JsonBody<LimitsView>, Refusal> {
    Ok(JsonBody(app.control.set_limits(&actor, whose.tenant.as_deref(), whose.key.as_deref(), change).await?))
}
