//! Requests to a model that another server serves: what it is told, and what its failures mean to a client.
//!
//! The server is another's: it learns neither who asks nor with which of our keys, and what is wrong between it and us
//! (our key, our account, its faults) is not the client's error.
//!
//! **Invariant:** no header and no field of Freehold's own leaves to a server that was not said to take it.

use std::time::Instant;

use bytes::Bytes;
use freehold_dialects::openai;
use freehold_dialects::openai::Extensions;
use freehold_domain::{Error, ErrorCode, ModelName, TenantId};
use http::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::answer::Decoder;
use super::{Call, Serving};
use crate::models::upstream::causes;
use crate::workers::{ClientError, Lease, ModelSpec, UpstreamSpec, WireBody, read_whole};

/// Seconds after which to try again, where a server that is busy does not say.
const RETRY_AFTER_S: u32 = 1;

/// To whom a request goes.
pub(super) struct Recipient {
    /// Its name of the model.
    pub model: String,
    /// What it is told beyond the dialect.
    pub extensions: Extensions,
    /// It is no worker of ours.
    pub foreign: bool,
}

impl Recipient {
    /// Whether it is asked for a stream. Our workers always are; another server is asked for what the client wants.
    pub(super) fn is_to_stream(&self, wanted: bool) -> bool {
        wanted || !self.foreign
    }
}

impl Serving {
    /// The other server that is to answer.
    pub(super) fn recipient(&self, upstream: &UpstreamSpec, tenant: TenantId) -> Recipient {
        let cache_salt = upstream.cache_salt.then(|| self.control.pseudonym(tenant));
        // Who takes vLLM's salt takes its options too. OpenAI itself refuses the old name that others heed.
        let extensions = Extensions { cache_salt, running_usage: upstream.cache_salt, old_max_tokens: !is_openai(&upstream.url) };
        Recipient { model: upstream.model.clone(), extensions, foreign: true }
    }

    /// Asks the server behind a lease. What it refuses is refused; what comes back is an answer that has begun.
    pub(super) async fn post_upstream(
        &self,
        lease: &Lease,
        model: &ModelName,
        path: &str,
        body: Vec<u8>,
        call: Call,
    ) -> Result<Response<WireBody>, Error> {
        let headers = [("x-request-id", call.id.to_string())];
        let deadline = call.received + self.deadline;
        let sent = within(deadline, model, lease.client().post(path, &headers, Bytes::from(body))).await?;
        let response = sent.map_err(|error| {
            lease.note_reachable(false);
            lost(model, &error)
        })?;
        lease.note_reachable(true);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after_s = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = within(deadline, model, read_whole(response.into_body())).await?.unwrap_or_default();
        Err(refusal(model, status, retry_after_s, &body))
    }
}

fn is_openai(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase)).unwrap_or_default();
    ["openai.com", "openai.azure.com"].iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

/// Waits for the server until the request's deadline.
pub(super) async fn within<T>(deadline: Instant, model: &ModelName, work: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| late(model))
}

/// The request's deadline passed while the server was at it.
pub(super) fn late(model: &ModelName) -> Error {
    Error::new(ErrorCode::DeadlineExceeded, format!("The server of `{model}` did not answer before the request's deadline."))
        .with_retry_after_s(RETRY_AFTER_S)
}

/// How an answer is to be read, by what the server says that it is.
pub(super) fn decoder(spec: &ModelSpec, response: &Response<WireBody>, chat: bool) -> Result<Decoder, Error> {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/event-stream" => Ok(if chat { Decoder::foreign_chat() } else { Decoder::foreign_completion() }),
        "application/json" => Ok(Decoder::whole(chat)),
        other => {
            Err(rubbish(&spec.name).with_context(format!("the answer's media type is `{}`", other.chars().take(100).collect::<String>())))
        }
    }
}

fn failed(model: &ModelName, what: &str) -> Error {
    Error::new(ErrorCode::UpstreamFailed, format!("The server that serves `{model}` {what}."))
}

fn lost(model: &ModelName, error: &ClientError) -> Error {
    failed(model, "cannot be reached. Try again later").with_retry_after_s(RETRY_AFTER_S).with_context(causes(error))
}

/// It does not heed the length that it was asked for.
pub(super) fn too_much(model: &ModelName) -> Error {
    failed(model, "gave more than it was asked for. The operator has to look")
}

fn rubbish(model: &ModelName) -> Error {
    failed(model, "answered with something that is not in the protocol. Try again, or tell the operator")
}

/// What the refusal of a server means to a client.
fn refusal(model: &ModelName, status: u16, retry_after_s: Option<u32>, body: &[u8]) -> Error {
    let said = openai::error::decode(status, body);
    let context = match status {
        // Some servers repeat the key in what they say about it.
        401 | 403 => format!("status {status}"),
        _ => format!("status {status}: {}{}", said.message, said.context.as_deref().map(|more| format!(" ({more})")).unwrap_or_default()),
    };
    let error = match status {
        400 | 413 | 422 => match said.code {
            ErrorCode::InvalidRequest
            | ErrorCode::UnknownParameter
            | ErrorCode::UnsupportedFeature
            | ErrorCode::ContextLengthExceeded
            | ErrorCode::PayloadTooLarge => Error { context: None, ..said },
            _ => Error::new(ErrorCode::InvalidRequest, said.message),
        },
        401 | 403 => failed(model, "refuses the key of this service. The operator has to look"),
        402 => failed(model, "wants to be paid by this service. The operator has to look"),
        404 => failed(model, "no longer has it. The operator has to look"),
        408 | 504 => late(model),
        429 => Error::new(ErrorCode::RateLimited, format!("The server that serves `{model}` has too much to do. Try again later."))
            .with_retry_after_s(RETRY_AFTER_S),
        503 => Error::new(ErrorCode::Unavailable, format!("The server that serves `{model}` cannot serve it now. Try again later."))
            .with_retry_after_s(RETRY_AFTER_S),
        _ => failed(model, &format!("failed (HTTP status {status}). Try again")),
    };
    Error { retry_after_s: retry_after_s.or(error.retry_after_s), ..error.with_context(context) }
}

/// What an error inside of a server's answer means to a client.
pub(super) fn blame(model: &ModelName, error: Error) -> Error {
    match error.code {
        ErrorCode::DeadlineExceeded | ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::ContextLengthExceeded => error,
        ErrorCode::UpstreamFailed => error,
        ErrorCode::WorkerLost => failed(model, "broke its answer off. Try again").with_context(error.context.unwrap_or(error.message)),
        _ => rubbish(model).with_context(error.context.unwrap_or(error.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_is_known_by_its_host() {
        for (url, expect) in [
            ("https://api.openai.com/v1", true),
            ("https://some.openai.azure.com/openai/v1", true),
            ("http://gpu1:8000/v1", false),
            ("https://notopenai.com/v1", false),
        ] {
            assert_eq!(is_openai(url), expect, "{url}");
        }
    }

    #[test]
    fn what_is_between_the_server_and_us_is_not_the_clients_error() {
        let model: ModelName = "m".parse().expect("a name");
        let openai = |message: &str, code: &str| format!(r#"{{"error":{{"message":"{message}","type":"x","code":"{code}"}}}}"#);
        for (status, body, code) in [
            (400, openai("bad", "invalid_value"), ErrorCode::InvalidRequest),
            (400, openai("long", "context_length_exceeded"), ErrorCode::ContextLengthExceeded),
            (400, openai("odd", "invalid_api_key"), ErrorCode::InvalidRequest),
            (401, openai("Incorrect API key sk-secret", "invalid_api_key"), ErrorCode::UpstreamFailed),
            (402, String::new(), ErrorCode::UpstreamFailed),
            (404, openai("no such model", "model_not_found"), ErrorCode::UpstreamFailed),
            (429, openai("slow down", "insufficient_quota"), ErrorCode::RateLimited),
            (500, "<html>".to_owned(), ErrorCode::UpstreamFailed),
            (503, String::new(), ErrorCode::Unavailable),
            (418, String::new(), ErrorCode::UpstreamFailed),
        ] {
            let error = refusal(&model, status, None, body.as_bytes());
            assert_eq!(error.code, code, "{status} {body}: {error:?}");
            assert!(!format!("{error:?}").contains("sk-secret"));
        }
        assert_eq!(refusal(&model, 429, Some(17), b"").retry_after_s, Some(17));
    }
}
