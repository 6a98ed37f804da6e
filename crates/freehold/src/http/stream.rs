//! Answers on their way out: a whole body, or a stream of events as they come.
//!
//! **Invariant:** when the client goes away its stream is dropped, and with it the answer and its lease.

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use freehold_control::billing::Receipt;
use freehold_control::serve::Answer;
use freehold_dialects::canonical::ChatEvent;

use super::delivery::End;

/// JSON that a dialect has encoded.
pub fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A whole answer in JSON, which is charged when it was handed over.
pub fn ended(body: impl Into<Body>, receipt: Receipt) -> Response {
    let mut response = json(body);
    let end = End::default();
    end.leave(receipt);
    response.extensions_mut().insert(end);
    response
}

/// Server-sent events; `encode` writes what one event becomes.
pub fn events(answer: Answer, encode: impl FnMut(&ChatEvent, &mut Vec<u8>) + Send + 'static) -> Response {
    let end = End::default();
    let last = end.clone();
    let pieces = futures::stream::unfold((answer, encode, last), |(mut answer, mut encode, last)| async move {
        loop {
            let events = answer.next().await?;
            let mut piece = Vec::with_capacity(256 * events.len());
            for event in &events {
                log_failure(&answer, event);
                encode(event, &mut piece);
            }
            // Some events have no form of their own in a dialect.
            if let Some(receipt) = answer.take_receipt() {
                last.leave(receipt);
            }
            if !piece.is_empty() {
                return Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), (answer, encode, last)));
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.extensions_mut().insert(end);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn log_failure(answer: &Answer, event: &ChatEvent) {
    if let ChatEvent::Error(error) = event {
        let context = error.context.as_deref().unwrap_or_default();
        tracing::warn!(
            request_id = answer.head.id,
            code = error.code.as_str(),
            message = error.message,
            context,
            "an answer ended with an error"
        );
    }
}
