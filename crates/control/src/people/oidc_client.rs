//! OpenID Connect, as the providers speak it: discovery, the authorization code flow with PKCE, state and nonce.
//!
//! **Invariant:** a provider costs a bounded amount of time and memory, and is never followed to another address.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use freehold_domain::{Email, Error, ErrorCode};
use futures::future::BoxFuture;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdTokenClaims, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::url::Url;
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenResponse,
};

use super::PeopleSettings;
use crate::auth::not_found;

/// How long one request to a provider may take.
const REQUEST_FOR: Duration = Duration::from_secs(10);
const CONNECT_FOR: Duration = Duration::from_secs(5);
/// Most bytes of a provider's answer.
const ANSWER_MAX: usize = 1 << 20;
/// How long what a provider says of itself is believed without asking again.
const METADATA_FOR: Duration = Duration::from_secs(300);
/// How long somebody may take to log in at the provider.
const LOGIN_FOR: Duration = Duration::from_secs(600);
/// Most log-ins under way; the oldest goes.
const UNDER_WAY_MAX: usize = 10_000;
const PROVIDERS_MAX: usize = 20;
const NAME_LEN_MAX: usize = 32;

/// Who else may say who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Its name in paths: 1 to 32 small letters, digits and `-`.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Its issuer URL; what discovery is at.
    pub issuer: String,
    /// The service's name there.
    pub client_id: String,
    /// The service's secret there; public clients have none.
    pub client_secret: Option<String>,
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("name", &self.name).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why a provider cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderSettingsError {
    /// The name is none.
    #[error("the provider name `{0}` is not 1 to 32 small letters, digits and `-`")]
    Name(String),
    /// Two have one name.
    #[error("two providers are called `{0}`")]
    Twice(String),
    /// The issuer is none.
    #[error("the issuer `{0}` is not an https URL (http only on this machine)")]
    Issuer(String),
    /// There are too many.
    #[error("there are more than {PROVIDERS_MAX} providers")]
    TooMany,
}

impl ProviderSettings {
    /// Checks the providers of a service.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(providers: &[Self]) -> Result<(), ProviderSettingsError> {
        if providers.len() > PROVIDERS_MAX {
            return Err(ProviderSettingsError::TooMany);
        }
        for (index, provider) in providers.iter().enumerate() {
            let name = &provider.name;
            let is_name = (1..=NAME_LEN_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !is_name {
                return Err(ProviderSettingsError::Name(name.clone()));
            }
            if providers[..index].iter().any(|other| other.name == *name) {
                return Err(ProviderSettingsError::Twice(name.clone()));
            }
            let is_safe = |url: &Url| match url.scheme() {
                "https" => true,
                "http" => matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
                _ => false,
            };
            if !provider.issuer.parse::<Url>().is_ok_and(|url| is_safe(&url)) {
                return Err(ProviderSettingsError::Issuer(provider.issuer.clone()));
            }
        }
        Ok(())
    }
}

/// A failed request to a provider.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Answer(#[from] http::Error),
    #[error("the answer is longer than {ANSWER_MAX} bytes")]
    TooLong,
}

/// Asks providers, within the limits.
struct Fetcher(reqwest::Client);

async fn fetch(client: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut builder = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        builder = builder.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(builder.body(body)?)
}

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = BoxFuture<'c, Result<HttpResponse, FetchError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(fetch(&self.0, request))
    }
}

/// A log-in that somebody began.
struct UnderWay {
    provider: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    invite: Option<String>,
    began: Instant,
}

/// What a provider says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// Only if the provider says that it is verified.
    pub(crate) email: Option<Email>,
    pub(crate) name: Option<String>,
}

/// Where to send somebody, and what to find the log-in by when he comes back.
pub(crate) struct Begun {
    pub(crate) url: String,
    pub(crate) state: String,
}

pub(crate) struct Providers {
    settings: Vec<ProviderSettings>,
    public_url: String,
    http: Fetcher,
    metadata: Mutex<HashMap<String, (CoreProviderMetadata, Instant)>>,
    under_way: Mutex<HashMap<String, UnderWay>>,
}

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

fn lost(provider: &ProviderSettings, context: impl fmt::Display) -> Error {
    let message = format!("{} does not answer as it should: try again, or log in another way.", provider.title);
    Error::new(ErrorCode::Unavailable, message).with_retry_after_s(10).with_context(format!("{}: {context}", provider.name))
}

fn refused(context: impl fmt::Display) -> Error {
    Error::new(ErrorCode::InvalidCredentials, "The log-in at the provider did not succeed: try again.").with_context(context)
}

/// Forgets the oldest log-ins until there is room for one more.
fn make_room(under_way: &mut HashMap<String, UnderWay>, count_max: usize) {
    while under_way.len() >= count_max {
        let Some(oldest) = under_way.iter().min_by_key(|(_, login)| login.began).map(|(state, _)| state.clone()) else { return };
        under_way.remove(&oldest);
    }
}

impl Providers {
    pub(crate) fn new(settings: &PeopleSettings) -> Result<Self, Error> {
        ProviderSettings::check(&settings.providers).map_err(|error| Error::invalid("oidc", error.to_string()))?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_FOR)
            .timeout(REQUEST_FOR)
            .build()
            .map_err(Error::internal)?;
        Ok(Self {
            settings: settings.providers.clone(),
            public_url: settings.public_url.clone(),
            http: Fetcher(http),
            metadata: Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn provider(&self, name: &str) -> Result<&ProviderSettings, Error> {
        self.settings.iter().find(|provider| provider.name == name).ok_or_else(|| not_found("provider"))
    }

    async fn metadata(&self, provider: &ProviderSettings, fresh: bool) -> Result<CoreProviderMetadata, Error> {
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).get(&provider.name).cloned();
        match known {
            Some((metadata, at)) if !fresh && at.elapsed() < METADATA_FOR => return Ok(metadata),
            _ => {}
        }
        let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(|error| lost(provider, error))?;
        let found = CoreProviderMetadata::discover_async(issuer, &self.http).await.map_err(|error| lost(provider, chain(&error)))?;
        let entry = (found.clone(), Instant::now());
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.name.clone(), entry);
        Ok(found)
    }

    async fn client(&self, provider: &ProviderSettings, fresh: bool) -> Result<Client, Error> {
        let metadata = self.metadata(provider, fresh).await?;
        let secret = provider.client_secret.clone().map(ClientSecret::new);
        let redirect = format!("{}/api/v1/oidc/{}/callback", self.public_url, provider.name);
        let redirect = RedirectUrl::new(redirect).map_err(Error::internal)?;
        let auth = auth_type(&metadata);
        let client = CoreClient::from_provider_metadata(metadata, ClientId::new(provider.client_id.clone()), secret);
        Ok(client.set_auth_type(auth).set_redirect_uri(redirect))
    }

    /// Forgets log-ins that were not ended in time.
    pub(crate) fn forget_ended(&self) {
        self.under_way().retain(|_, login| login.began.elapsed() < LOGIN_FOR);
    }

    /// Begins a log-in.
    pub(crate) async fn begin(&self, name: &str, invite: Option<String>) -> Result<Begun, Error> {
        let provider = self.provider(name)?;
        let client = self.client(provider, false).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        let state = state.secret().clone();
        let mut under_way = self.under_way();
        make_room(&mut under_way, UNDER_WAY_MAX);
        let login = UnderWay { provider: name.to_owned(), nonce, verifier, invite, began: Instant::now() };
        under_way.insert(state.clone(), login);
        Ok(Begun { url: url.to_string(), state })
    }

    /// Ends a log-in: asks the provider who it was. Also gives back the invitation that it began with.
    pub(crate) async fn finish(&self, name: &str, state: &str, code: String) -> Result<(Claims, Option<String>), Error> {
        let provider = self.provider(name)?;
        let login = self.under_way().remove(state).ok_or_else(|| refused("no such log-in is under way"))?;
        if login.provider != name || login.began.elapsed() >= LOGIN_FOR {
            return Err(refused("the log-in began elsewhere or too long ago"));
        }
        let client = self.client(provider, false).await?;
        let exchange = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| lost(provider, error))?;
        let answer = exchange.set_pkce_verifier(login.verifier).request_async(&self.http).await.map_err(|error| refused(chain(&error)))?;
        let id_token = answer.id_token().ok_or_else(|| lost(provider, "it sent no ID token"))?;
        let claims = match id_token.claims(&client.id_token_verifier(), &login.nonce) {
            Ok(claims) => claims.clone(),
            // The provider may have new keys.
            Err(ClaimsVerificationError::SignatureVerification(_)) => {
                let fresh = self.client(provider, true).await?;
                id_token.claims(&fresh.id_token_verifier(), &login.nonce).map_err(|error| refused(chain(&error)))?.clone()
            }
            Err(error) => return Err(refused(chain(&error))),
        };
        let mut known = read(&claims);
        if known.email.is_none()
            && claims.email().is_none()
            && let Ok(request) = client.user_info(answer.access_token().clone(), Some(claims.subject().clone()))
        {
            let more: CoreUserInfoClaims = request.request_async(&self.http).await.map_err(|error| lost(provider, chain(&error)))?;
            known.email = verified(more.email().map(|email| email.as_str()), more.email_verified());
            known.name = known.name.or_else(|| more.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
        }
        Ok((known, login.invite))
    }
}

/// How the provider wants to be shown the secret: in the head (the default of the standard), or in the body if that is all
/// it takes.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let has = |method: &CoreClientAuthMethod| metadata.token_endpoint_auth_methods_supported().is_some_and(|all| all.contains(method));
    if has(&CoreClientAuthMethod::ClientSecretPost) && !has(&CoreClientAuthMethod::ClientSecretBasic) {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    }
}

fn verified(email: Option<&str>, is_verified: Option<bool>) -> Option<Email> {
    email.filter(|_| is_verified == Some(true)).and_then(|email| email.parse().ok())
}

fn read(claims: &CoreIdTokenClaims) -> Claims {
    Claims {
        issuer: claims.issuer().to_string(),
        subject: claims.subject().to_string(),
        email: verified(claims.email().map(|email| email.as_str()), claims.email_verified()),
        name: claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
    }
}

/// An error and what it came from, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_log_in_makes_room() {
        let mut under_way = HashMap::new();
        let start = Instant::now();
        for n in 0..5_u64 {
            make_room(&mut under_way, 3);
            let (_, verifier) = PkceCodeChallenge::new_random_sha256();
            let began = start + Duration::from_secs(n);
            let login = UnderWay { provider: "p".to_owned(), nonce: Nonce::new_random(), verifier, invite: None, began };
            under_way.insert(n.to_string(), login);
        }
        let mut left: Vec<_> = under_way.into_keys().collect();
        left.sort();
        assert_eq!(left, ["2", "3", "4"]);
    }

    #[test]
    fn providers_that_cannot_be_used_are_refused() {
        let provider = |name: &str, issuer: &str| ProviderSettings {
            name: name.to_owned(),
            title: "T".to_owned(),
            issuer: issuer.to_owned(),
            client_id: "c".to_owned(),
            client_secret: Some("hidden".to_owned()),
        };
        let good = provider("a-1", "https://id.example.org");
        assert_eq!(ProviderSettings::check(&[good.clone(), provider("b", "http://127.0.0.1:9")]), Ok(()));
        assert!(!format!("{good:?}").contains("hidden"));
        for bad in [provider("", "https://x.org"), provider("A", "https://x.org"), provider("a/b", "https://x.org")] {
            assert!(matches!(ProviderSettings::check(&[bad]), Err(ProviderSettingsError::Name(_))));
        }
        for issuer in ["", "x", "http://id.example.org", "file:///etc/passwd"] {
            assert!(matches!(ProviderSettings::check(&[provider("a", issuer)]), Err(ProviderSettingsError::Issuer(_))), "{issuer}");
        }
        assert!(matches!(ProviderSettings::check(&[good.clone(), good]), Err(ProviderSettingsError::Twice(_))));
    }
}
