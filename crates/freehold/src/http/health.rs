//! For operations: is it alive, does it take requests, what does it count.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use freehold_control::models::INSTANCE_HEADER;
use freehold_domain::{Error, ErrorCode};

use super::App;
use super::reply::Refusal;

/// The process is alive. Which one it is, is for a service that is about to ask itself.
pub async fn alive(State(app): State<App>) -> Response {
    ([(INSTANCE_HEADER, app.control.instance())], "ok\n").into_response()
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
