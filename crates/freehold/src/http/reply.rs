//! How errors leave: every refusal is one [`Error`], and one layer renders it in the dialect of its path.
//!
//! **Invariant:** no handler writes an error's body, and nothing of an error's context reaches a client.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use freehold_control::serve::Call;
use freehold_dialects::{llama, openai};
use freehold_domain::{Error, ErrorCode, RequestId};
use serde_json::{Value, json};

use super::App;

/// Header that names a request, in both directions of the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An error on its way to the layer that renders it.
#[derive(Clone, Debug)]
pub struct Refusal(pub Arc<Error>);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Whose shapes a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OpenAi,
    Llama,
    Freehold,
}

impl Shape {
    fn of(path: &str) -> Self {
        if path.starts_with("/v1/") || path.starts_with("/llama/compat/v1/") {
            Self::OpenAi
        } else if path.starts_with("/llama/") {
            Self::Llama
        } else {
            Self::Freehold
        }
    }

    fn render(self, error: &Error, request: &str) -> Value {
        match self {
            Self::OpenAi => openai::error::encode(error),
            Self::Llama => llama::error::encode(error),
            Self::Freehold => json!({"error": {
                "code": error.code.as_str(),
                "message": error.message,
                "param": error.param,
                "docs": format!("docs/errors/{}.md", error.code),
                "request_id": request,
            }}),
        }
    }
}

/// The outermost layer: names the request, renders its refusal, logs and counts it.
pub async fn finish(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = app.serving.new_request_id();
    request.extensions_mut().insert(Call { id, received: started });
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let shape = Shape::of(&path);
    let mut response = next.run(request).await;
    if let Some(Refusal(error)) = response.extensions_mut().remove::<Refusal>() {
        log_refusal(&error, id, &path);
        response = refuse(shape, &error, id, response.status());
    }
    let id_text = id.to_string();
    if let Ok(value) = HeaderValue::from_str(&id_text) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    app.serving.metrics().answered(route_label(&path), status);
    tracing::debug!(%method, path, status, request_id = id_text, took_ms = started.elapsed().as_millis(), "answered");
    response
}

fn log_refusal(error: &Error, id: RequestId, path: &str) {
    let context = error.context.as_deref().unwrap_or_default();
    if error.code.http_status() >= 500 {
        tracing::error!(request_id = %id, path, code = error.code.as_str(), message = error.message, context, "refused");
    } else {
        tracing::debug!(request_id = %id, path, code = error.code.as_str(), message = error.message, context, "refused");
    }
}

fn refuse(shape: Shape, error: &Error, id: RequestId, status: StatusCode) -> Response {
    let body = shape.render(error, &id.to_string());
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
    }
    response
}

/// The first segments of a path, so that the number of labels is bounded.
fn route_label(path: &str) -> &'static str {
    const LABELS: &[&str] = &["/v1", "/llama", "/api", "/metrics", "/healthz", "/readyz"];
    LABELS.iter().find(|label| path.starts_with(*label)).copied().unwrap_or("/")
}

/// The answer to a panic in a handler: the log has its text, the client has not.
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text");
    Refusal::from(Error::internal(format!("a handler panicked: {text}"))).into_response()
}

/// Lets a call that changes something come to its end, also when its client has gone: what the store has is then in
/// memory too.
pub async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            error.try_into_panic().map_or_else(|_| Refusal::from(Error::internal("a call was cut off")).into_response(), panicked)
        }
    }
}

/// The answer for a path that is not there.
pub async fn no_such_path(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    Error::new(ErrorCode::NotFound, format!("There is nothing at `{path}`. /api/v1/openapi.json lists what there is.")).into()
}

/// The answer for a method that a path does not have.
pub async fn no_such_method(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    Error::new(ErrorCode::MethodNotAllowed, format!("`{path}` does not take {}.", request.method())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_decides_the_shape() {
        let error = Error::new(ErrorCode::ModelNotFound, "none").with_context("secret");
        for (path, pointer) in
            [("/v1/chat/completions", "/error/type"), ("/llama/compat/v1/models", "/error/type"), ("/api/v1/x", "/error/docs")]
        {
            let body = Shape::of(path).render(&error, "req_1");
            assert!(body.pointer(pointer).is_some(), "{path}: {body}");
            assert!(!body.to_string().contains("secret"));
        }
        assert_eq!(Shape::of("/llama/v1/models"), Shape::Llama);
    }
}
