//! The price list.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use freehold_control::billing::{NewPrices, PricesView};
use freehold_domain::Timestamp;
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
    OpenApiRouter::new().routes(routes!(show, publish))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// The moment whose prices to show; left out: now.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// Shows the prices that hold now, or at a time. Needs no key.
#[utoipa::path(get, path = "/prices", tag = "billing", params(When), security(()), responses((status = 200, body = PricesView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Query(when): Query<When>) -> JsonBody<PricesView> {
    JsonBody(app.control.prices(when.at))
}

/// Publishes a new version of the price list.
#[utoipa::path(post, path = "/prices", tag = "billing", request_body = NewPrices, responses((status = 201, body = PricesView), (status = "default", body = Refused)))]
async fn publish(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewPrices>,
) -> Result<(StatusCode, JsonBody<PricesView>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.publish_prices(&actor, new, once.as_ref()).await?)))
}
