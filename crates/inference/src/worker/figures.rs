//! `GET /v1/models`, `/health` and `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use freehold_dialects::canonical::ModelCard;
use freehold_dialects::openai;
use http::header;

use super::app::App;
use super::reply;

const OWNER: &str = "freehold";

pub(super) async fn models(State(app): State<Arc<App>>) -> Response {
    let adapters = app.engine.adapters().into_iter().map(|adapter| format!("{}:{adapter}", app.model_name));
    let cards: Vec<ModelCard> = std::iter::once(app.model_name.clone())
        .chain(adapters)
        .map(|id| ModelCard { id, created_s: app.started_s, owned_by: OWNER.to_owned() })
        .collect();
    reply::json(openai::models::encode_list(&cards).to_string().into_bytes())
}

pub(super) async fn health() -> Response {
    reply::json(b"{\"status\":\"ok\"}".to_vec())
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(&app.model_name, &app.engine.stats());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
