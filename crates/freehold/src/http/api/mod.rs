//! Freehold's own API, described by an OpenAPI document.

mod credit;
mod document;
mod invoices;
mod keys;
mod models;
mod operations;
mod prices;
mod responses;
mod service;
mod session;
mod tenants;
mod usage;
mod users;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::extract::rejection::QueryRejection;
use axum::http::request::Parts;
use freehold_control::once::IdempotencyKey;
use freehold_control::page::PageRequest;
use freehold_domain::{Error, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::reply::Refusal;

/// The routes, and the document that describes them.
pub fn routes() -> (Router<App>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(document::head())
        .nest(
            "/api/v1",
            OpenApiRouter::new()
                .merge(credit::routes())
                .merge(invoices::routes())
                .merge(keys::routes())
                .merge(models::routes())
                .merge(operations::routes())
                .merge(prices::routes())
                .merge(responses::routes())
                .merge(service::routes())
                .merge(session::routes())
                .merge(tenants::routes())
                .merge(usage::routes())
                .merge(users::routes()),
        )
        .split_for_parts();
    document::add_headers(&mut document);
    (router, document)
}

/// The query of a request: unknown parameters are refused by the type.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(misfit(&rejection).into()),
        }
    }
}

/// Part of a list of what a tenant has.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageOf {
    /// The tenant, by id or name; left out: the caller's own, or all for an operator where the list knows all.
    tenant: Option<String>,
    /// How many, 1 to 1000; 100 when it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

impl PageOf {
    fn split(self) -> (Option<String>, PageRequest) {
        (self.tenant, PageRequest { limit: self.limit, after: self.after })
    }
}

fn misfit(rejection: &QueryRejection) -> Error {
    let text = rejection.body_text();
    let what = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what);
    Error::new(ErrorCode::InvalidRequest, format!("The query does not fit: {what}."))
}

/// The header that makes a creating call repeatable.
pub struct Once(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        Ok(Self(Some(IdempotencyKey::parse(value.to_str().unwrap_or_default())?)))
    }
}
