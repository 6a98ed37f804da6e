//! Answers in OpenAI's shapes.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use freehold_dialects::openai;
use freehold_domain::Error;
use http::{HeaderValue, StatusCode, header};

/// An error on its way out; converts from the domain's.
#[derive(Debug)]
pub(super) struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(code = %error.code, context = error.context, "{error}");
        }
        let mut response = json(openai::error::encode(&error).to_string().into_bytes());
        *response.status_mut() = status;
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON body.
pub(super) fn json(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Server-sent events.
pub(super) fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Says how many tokens the prompt has, for whoever does not wait for the account.
pub(super) fn with_prompt_tokens(mut response: Response, tokens: usize) -> Response {
    response.headers_mut().insert("x-freehold-prompt-tokens", HeaderValue::from(tokens));
    response
}
