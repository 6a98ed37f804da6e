//! What every request has around its body: who asks, how urgent, how large.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody as _};
use freehold_dialects::canonical::AnswerHead;
use freehold_dialects::openai::Extensions;
use freehold_domain::{Error, ErrorCode};
use http::{HeaderMap, Request};

use super::app::{App, now_unix_s};
use crate::chat::Envelope;
use crate::engine::Share;

/// Most bytes of a body: a context of a million tokens has about four.
const BODY_BYTES_MAX: usize = 32 << 20;
const WEIGHT_DEFAULT: u32 = 100;
const WEIGHT_MAX: u32 = 1000;
const TENANT: &str = "x-freehold-tenant";
const WEIGHT: &str = "x-freehold-weight";
const REQUEST_ID: &str = "x-request-id";
const DEADLINE_MS: &str = "x-freehold-deadline-ms";

/// A request whose body was read.
#[derive(Debug)]
pub(super) struct Received {
    pub body: Bytes,
    pub arrived: Instant,
    id: String,
    share: Share,
    deadline: Instant,
    seed: u64,
    moment_unix_s: i64,
}

impl Received {
    /// Reads head and body.
    pub async fn read(app: &App, request: Request<Body>) -> Result<Self, Error> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let too_large = || Error::new(ErrorCode::PayloadTooLarge, format!("The body has more than {BODY_BYTES_MAX} bytes."));
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
            if std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                return too_large();
            }
            Error::new(ErrorCode::InvalidRequest, "The body broke off.").with_context(error)
        })?;
        let seed = getrandom::u64().map_err(Error::internal)?;
        let headers = &head.headers;
        let id = text(headers, REQUEST_ID).map_or_else(|| format!("{seed:016x}"), str::to_owned);
        let weight =
            number(headers, WEIGHT)?.map_or(WEIGHT_DEFAULT, |weight| u32::try_from(weight).unwrap_or(WEIGHT_MAX).clamp(1, WEIGHT_MAX));
        let share = Share { key: Arc::from(text(headers, TENANT).unwrap_or_default()), weight };
        let patience = number(headers, DEADLINE_MS)?.map_or(app.deadline_max, Duration::from_millis).min(app.deadline_max);
        Ok(Self { body, arrived, id, share, deadline: arrived + patience, seed, moment_unix_s: now_unix_s() })
    }

    /// What the engine needs to know beside the request itself.
    pub fn envelope(&self, app: &App, model: &str, extensions: Extensions) -> Result<Envelope, Error> {
        Ok(Envelope {
            request_id: self.id.clone(),
            share: self.share.clone(),
            cache_salt: extensions.cache_salt.unwrap_or_default(),
            adapter: app.adapter(model)?,
            deadline: self.deadline,
            seed: self.seed,
            moment_unix_s: self.moment_unix_s,
        })
    }

    /// What names the answer.
    pub fn head(&self, model: &str) -> AnswerHead {
        AnswerHead { id: self.id.clone(), model: model.to_owned(), created_s: self.moment_unix_s }
    }

    /// Now, in seconds since the Unix epoch.
    pub fn moment_unix_s(&self) -> i64 {
        self.moment_unix_s
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| Error::invalid(name, format!("The header {name} must be a whole number.")))
}
