//! For operations: is it alive, does it take requests, what does it count.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use freehold_domain::{Error, ErrorCode};

use super::App;
use super::reply::Refusal;

/// The process is alive.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// The service takes requests.
pub async fn ready(State(app): State<App>) -> Result<&'static str, Refusal> {
    if *app.facts.stopping.borrow() {
        return Err(Error::new(ErrorCode::Unavailable, "The service is stopping.").into());
    }
    Ok("ready\n")
}

/// Prometheus' text format.
pub async fn metrics(State(app): State<App>) -> Response {
    let text = app.serving.render_metrics().await;
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
