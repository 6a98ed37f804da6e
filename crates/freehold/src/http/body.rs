//! Bodies of requests: read whole up to the limit, JSON where JSON is due.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use freehold_domain::{Error, ErrorCode};
use serde::de::DeserializeOwned;

use super::reply::Refusal;

/// The bytes of a JSON body; a dialect reads them.
#[derive(Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            let message = format!(
                "The body must be JSON (`Content-Type: application/json`), not `{}`.",
                essence.chars().take(100).collect::<String>()
            );
            return Err(Error::new(ErrorCode::UnsupportedMediaType, message).into());
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(unreadable(&rejection).into()),
        }
    }
}

fn unreadable(rejection: &BytesRejection) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Error::new(ErrorCode::PayloadTooLarge, "The body is larger than this service takes (option `body_limit`).")
    } else {
        Error::new(ErrorCode::InvalidRequest, "The body broke off.").with_context(rejection)
    }
}

/// A JSON body of Freehold's own API: unknown fields are refused by the type.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        // Read as a struct, a list would be taken for the fields in their order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Error::new(ErrorCode::InvalidRequest, "The body does not fit: it must be a JSON object, not a list.").into());
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| misfit(&error).into())
    }
}

fn misfit(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let code = match error.classify() {
        serde_json::error::Category::Data if text.starts_with("unknown field") => ErrorCode::UnknownParameter,
        serde_json::error::Category::Data => ErrorCode::InvalidRequest,
        _ => ErrorCode::InvalidJson,
    };
    let message = match code {
        ErrorCode::InvalidJson => format!("The body is not JSON: {text}."),
        _ => format!("The body does not fit: {text}."),
    };
    Error::new(code, message)
}
