//! Who asks: the key in the request's head, checked before anything else is read.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use freehold_control::Actor;
use freehold_control::serve::Call;
use freehold_domain::{Error, ErrorCode};

use super::App;
use super::reply::Refusal;

/// The key's owner.
#[derive(Clone, Debug)]
pub struct Caller(pub Actor);

impl<S> FromRequestParts<S> for Caller
where
    App: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let app = App::from_ref(state);
        let secret = secret(parts)?;
        Ok(Self(app.control.authenticate(secret).await?))
    }
}

fn secret(parts: &Parts) -> Result<&str, Error> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bearer = text("authorization").and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(rest.trim())
    });
    bearer.or_else(|| text("x-api-key")).filter(|secret| !secret.is_empty()).ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidApiKey,
            "No API key was sent. Send `Authorization: Bearer KEY`; create a key with `freehold key create`.",
        )
    })
}

/// A request that a model is to answer: its id and the moment it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival(pub Call);

impl<S: Send + Sync> FromRequestParts<S> for Arrival {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Call>().copied().map(Self).ok_or_else(|| Error::internal("a request without an id").into())
    }
}
