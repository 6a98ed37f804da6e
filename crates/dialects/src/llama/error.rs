//! The shape of errors: a problem document (RFC 9457, section 3) with `code` and `param` as extensions.
//!
//! The SDK reads the HTTP status and hands the body on as it is.
//!
//! **Invariant:** what an error carries for the operator is never written.

use freehold_domain::{Error, ErrorCode};
use serde_json::{Value, json};

use crate::shape::write;

/// An error as the body of an answer.
pub fn encode(error: &Error) -> Value {
    let status = error.code.http_status();
    json!({
        "title": title(status),
        "detail": error.message,
        "status": status,
        "code": error.code.as_str(),
        "param": error.param,
    })
}

/// Appends an error as an event of a stream: `event: error`.
pub fn encode_event(error: &Error, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    write::json(out, &encode(error));
    out.extend_from_slice(b"\n\n");
}

/// Reads an error of this dialect. A body of any other shape becomes an internal error, with the body for the log.
pub fn decode(status: u16, body: &[u8]) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let code = text("code").and_then(ErrorCode::from_text);
    match (code, text("detail")) {
        (Some(code), Some(detail)) => Error { param: text("param").map(str::to_owned), ..Error::new(code, detail) },
        _ => Error::internal(format!("status {status}, body: {}", String::from_utf8_lossy(&body[..body.len().min(4096)]))),
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}
