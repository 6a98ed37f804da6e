//! Who asks: the key in the request's head, or the session in its cookie, checked before anything else is read.
//!
//! **Invariant:** a request that a browser sends by itself, because it has the cookie, changes nothing: every method but
//! GET and HEAD takes the session's CSRF token too. A request with a key needs none: no browser adds a key by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use freehold_control::Actor;
use freehold_control::people::Origin;
use freehold_control::people::session::LoggedIn;
use freehold_control::serve::Call;
use freehold_domain::{Error, ErrorCode};

use super::App;
use super::reply::Refusal;

/// The cookie that holds a session's token.
pub const SESSION_COOKIE: &str = "freehold_session";
const CSRF_HEADER: &str = "x-csrf-token";
const TENANT_HEADER: &str = "x-freehold-tenant";

/// The key's owner, or who is logged in.
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
        if let Some(secret) = secret(&parts.headers) {
            return Ok(Self(app.control.authenticate(secret?).await?));
        }
        let Some(token) = cookie(&parts.headers, SESSION_COOKIE) else { return Err(no_key().into()) };
        let session = logged_in(&app, parts, &token).await?;
        Ok(Self(session.actor(text(&parts.headers, TENANT_HEADER))?))
    }
}

/// Who is logged in; a key does not count.
pub struct Session(pub LoggedIn);

impl<S> FromRequestParts<S> for Session
where
    App: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let app = App::from_ref(state);
        let token = cookie(&parts.headers, SESSION_COOKIE).unwrap_or_default();
        Ok(Self(logged_in(&app, parts, &token).await?))
    }
}

/// Whose session this is, once it is clear that the request is meant: every use of a cookie comes through here.
async fn logged_in(app: &App, parts: &Parts, token: &str) -> Result<LoggedIn, Error> {
    let session = app.control.session(token).await?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        session.check_csrf(text(&parts.headers, CSRF_HEADER))?;
    }
    Ok(session)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The key's secret; `None` when the request shows none at all.
fn secret(headers: &HeaderMap) -> Option<Result<&str, Error>> {
    if !headers.contains_key("authorization") && !headers.contains_key("x-api-key") {
        return None;
    }
    let bearer = text(headers, "authorization").and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(rest.trim())
    });
    Some(bearer.or_else(|| text(headers, "x-api-key")).filter(|secret| !secret.is_empty()).ok_or_else(no_key))
}

fn no_key() -> Error {
    Error::new(ErrorCode::InvalidApiKey, "No API key was sent. Send `Authorization: Bearer KEY`; create a key with `freehold key create`.")
}

/// The cookie with this name.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut found = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(key, _)| *key == name);
    found.next().map(|(_, value)| value.trim_matches('"').to_owned())
}

/// Where a request comes from, and that no other site's page sent it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// For limits.
    pub origin: Origin,
    /// The session that the request came with, good or not.
    pub session: Option<String>,
}

impl<S> FromRequestParts<S> for Visit
where
    App: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let app = App::from_ref(state);
        // Browsers say so themselves (Fetch Metadata); other programs leave it out.
        let from_elsewhere = text(&parts.headers, "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
        if from_elsewhere && parts.method != Method::GET {
            let message = "Another site's page sent this. Use the service's own pages.";
            return Err(Error::new(ErrorCode::InvalidCsrfToken, message).into());
        }
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let address = if app.facts.behind_proxy { forwarded(&parts.headers).unwrap_or(peer) } else { peer };
        Ok(Self { origin: Origin::new(address), session: cookie(&parts.headers, SESSION_COOKIE) })
    }
}

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The address that the nearest proxy saw: the last one, since a client may write what it likes before it.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; freehold_session=abc".parse().expect("a value"));
        headers.append(COOKIE, "xfreehold_session=no;freehold_oidc=\"d=e\"".parse().expect("a value"));
        assert_eq!(cookie(&headers, SESSION_COOKIE).as_deref(), Some("abc"));
        assert_eq!(cookie(&headers, "freehold_oidc").as_deref(), Some("d=e"));
        assert_eq!(cookie(&headers, "nothing"), None);
    }

    #[test]
    fn the_nearest_proxy_is_believed() {
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded(&headers), None);
        headers.append("x-forwarded-for", "6.6.6.6, 10.0.0.1".parse().expect("a value"));
        assert_eq!(forwarded(&headers), "10.0.0.1".parse().ok());
    }
}
