//! The shape of errors: `{"error": {"message", "type", "param", "code"}}`.
//!
//! **Invariant:** what an error carries for the operator is never written.

use freehold_domain::{Error, ErrorCode};
use serde_json::{Value, json};

/// Longest message that is taken over from another server, in characters.
const MESSAGE_CHARS_MAX: usize = 4096;

/// The dialect's `type` and `code` for an error. Where OpenAI has a code of its own, that one; otherwise ours.
pub fn kind(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::InvalidRequest => ("invalid_request_error", "invalid_value"),
        ErrorCode::InvalidApiKey => ("authentication_error", "invalid_api_key"),
        ErrorCode::PermissionDenied => ("permission_error", "permission_denied"),
        ErrorCode::InsufficientCredit | ErrorCode::BudgetExhausted => (code.as_str(), "insufficient_quota"),
        ErrorCode::RateLimited => ("rate_limit_error", "rate_limit_exceeded"),
        ErrorCode::Internal => ("server_error", "server_error"),
        ErrorCode::WorkerLost | ErrorCode::UpstreamFailed | ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => {
            ("server_error", code.as_str())
        }
        _ => ("invalid_request_error", code.as_str()),
    }
}

/// An error as the body of an answer.
pub fn encode(error: &Error) -> Value {
    let (kind, code) = kind(error.code);
    json!({"error": {"message": error.message, "type": kind, "param": error.param, "code": code}})
}

/// Appends an error as an event of a stream.
pub fn encode_event(error: &Error, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    crate::shape::write::json(out, &encode(error));
    out.extend_from_slice(b"\n\n");
}

/// Reads the error of a worker or another server: our own, OpenAI's and vLLM's shapes. A body of any other shape
/// becomes an error by its HTTP status, with the body for the log.
pub fn decode(status: u16, body: &[u8]) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    from_value(status, &value).unwrap_or_else(|| {
        let text = shortened(&String::from_utf8_lossy(&body[..body.len().min(MESSAGE_CHARS_MAX)]));
        by_status(status).with_context(format!("status {status}, body: {text}"))
    })
}

/// Reads an error that is already parsed: an object with `error`, or the error's own object.
pub(crate) fn from_value(status: u16, value: &Value) -> Option<Error> {
    let inner = value.get("error").unwrap_or(value);
    let message = inner.as_str().or_else(|| inner.get("message")?.as_str())?;
    let text = |name: &str| inner.get(name).and_then(Value::as_str);
    let status = inner.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(status);
    let code = quota(text("code"), text("type"))
        .or_else(|| text("code").and_then(code_of_text))
        .or_else(|| code_of_type(text("type")?, status))
        .unwrap_or_else(|| code_of_status(status));
    let mut error = Error::new(code, shortened(message));
    error.param = text("param").map(shortened);
    Some(error)
}

/// Both codes of ours that OpenAI's dialect calls `insufficient_quota`; with other servers it is a rate limit.
fn quota(code: Option<&str>, kind: Option<&str>) -> Option<ErrorCode> {
    code.filter(|code| *code == "insufficient_quota")?;
    ErrorCode::from_text(kind?).filter(|kind| matches!(kind, ErrorCode::InsufficientCredit | ErrorCode::BudgetExhausted))
}

fn code_of_text(code: &str) -> Option<ErrorCode> {
    match code {
        "invalid_value" | "invalid_type" | "missing_required_parameter" => Some(ErrorCode::InvalidRequest),
        "unsupported_parameter" | "unsupported_value" => Some(ErrorCode::UnsupportedFeature),
        "rate_limit_exceeded" | "insufficient_quota" => Some(ErrorCode::RateLimited),
        "server_error" => Some(ErrorCode::Internal),
        other => ErrorCode::from_text(other),
    }
}

fn code_of_type(kind: &str, status: u16) -> Option<ErrorCode> {
    match kind {
        "authentication_error" => Some(ErrorCode::InvalidApiKey),
        "permission_error" => Some(ErrorCode::PermissionDenied),
        "rate_limit_error" => Some(ErrorCode::RateLimited),
        "NotFoundError" => Some(ErrorCode::ModelNotFound),
        "invalid_request_error" | "BadRequestError" if !(400..500).contains(&status) => Some(ErrorCode::InvalidRequest),
        "server_error" if status < 500 => Some(ErrorCode::Internal),
        _ => None,
    }
}

fn code_of_status(status: u16) -> ErrorCode {
    match status {
        401 => ErrorCode::InvalidApiKey,
        402 => ErrorCode::InsufficientCredit,
        403 => ErrorCode::PermissionDenied,
        404 => ErrorCode::NotFound,
        405 => ErrorCode::MethodNotAllowed,
        408 | 504 => ErrorCode::DeadlineExceeded,
        409 => ErrorCode::Conflict,
        413 => ErrorCode::PayloadTooLarge,
        415 => ErrorCode::UnsupportedMediaType,
        429 => ErrorCode::RateLimited,
        400..=499 => ErrorCode::InvalidRequest,
        502 => ErrorCode::WorkerLost,
        503 => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    }
}

fn by_status(status: u16) -> Error {
    let code = code_of_status(status);
    if code == ErrorCode::Internal {
        return Error::internal("an answer that is not in the protocol");
    }
    Error::new(code, format!("The server of the model answered with HTTP status {status} and no message."))
}

fn shortened(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}
