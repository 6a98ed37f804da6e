//! The protocol of a Hugging Face hub: listing files, asking for a file's size and hash, and getting its bytes.
//!
//! It must not know of files on this machine. **Invariant:** the access token goes to the hub's own origin
//! (scheme, host and port) and nowhere else; redirects are followed here, by hand, for that reason. URLs are kept
//! out of messages, because those of a content network carry signatures.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, ETAG, LINK, LOCATION, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{FetchError, FetchOptions};
use crate::source::{HubFile, HubRepo};

const REDIRECTS_MAX: usize = 8;
const PAGES_MAX: usize = 20;
const LISTING_BYTES_MAX: usize = 32 << 20;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may work later.
    Passing { problem: FetchError, wait: Option<Duration> },
    /// It will not.
    Lasting(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Trouble::Lasting(error)
    }
}

/// What the hub says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) etag: String,
    pub(super) sha256: Option<String>,
    pub(super) bytes: u64,
}

/// A file in the hub's list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) file: HubFile,
    pub(super) sha256: Option<String>,
}

/// An answer with the bytes of a file.
pub(super) struct Body {
    pub(super) response: Response,
    /// The mark of the version that the bytes are of, if the hub gave one.
    pub(super) etag: Option<String>,
    /// Who sends them.
    pub(super) host: String,
}

pub(super) struct Hub {
    client: Client,
    endpoint: Url,
    authorization: Option<HeaderValue>,
    idle_timeout: Duration,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    lfs: Option<TreeLfs>,
}

#[derive(Deserialize)]
struct TreeLfs {
    oid: String,
}

#[derive(Deserialize)]
struct ModelInfo {
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    pub(super) fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        let bad_endpoint = || FetchError::Endpoint { endpoint: options.hub_endpoint.chars().take(200).collect() };
        let endpoint = Url::parse(&options.hub_endpoint).map_err(|_| bad_endpoint())?;
        if !is_http(&endpoint) || endpoint.host_str().is_none() {
            return Err(bad_endpoint());
        }
        let bearer = |token: &super::Token| -> Result<HeaderValue, FetchError> {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret())).map_err(|_| FetchError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let authorization = options.token.as_ref().map(bearer).transpose()?;
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout);
        let is_this_machine = matches!(endpoint.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if is_this_machine { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| FetchError::Internal { problem: error.to_string() })?;
        Ok(Self { client, endpoint, authorization, idle_timeout: options.idle_timeout })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments.iter().flat_map(|segment| segment.split('/')));
        }
        url
    }

    /// The GGUF files of a repository.
    pub(super) async fn list(&self, repo: &HubRepo) -> Result<Vec<Listed>, Trouble> {
        match self.list_tree(repo).await {
            Err(Trouble::Lasting(FetchError::NoRepository { .. })) => self.list_siblings(repo).await,
            result => result,
        }
    }

    async fn list_tree(&self, repo: &HubRepo) -> Result<Vec<Listed>, Trouble> {
        let mut url = self.url(&["api", "models", repo.as_str(), "tree", "main"]);
        url.set_query(Some("recursive=true"));
        let mut listed = Vec::new();
        for _ in 0..PAGES_MAX {
            let (entries, next): (Vec<TreeEntry>, _) = self.json(repo, url.clone()).await?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                listed.extend(self.listed(repo, &entry.path, entry.lfs.map(|lfs| lfs.oid))?);
            }
            match next {
                None => return Ok(listed),
                Some(next) => url = next,
            }
        }
        Err(self.protocol(&url, "its list of files has no end").into())
    }

    async fn list_siblings(&self, repo: &HubRepo) -> Result<Vec<Listed>, Trouble> {
        let url = self.url(&["api", "models", repo.as_str()]);
        let (info, _): (ModelInfo, _) = self.json(repo, url).await?;
        let listed = info.siblings.iter().map(|sibling| self.listed(repo, &sibling.rfilename, None));
        Ok(listed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn listed(&self, repo: &HubRepo, path: &str, oid: Option<String>) -> Result<Option<Listed>, FetchError> {
        if !path.to_ascii_lowercase().ends_with(".gguf") {
            return Ok(None);
        }
        let file = path.parse().map_err(|reason| FetchError::UnsafeName { repo: repo.to_string(), reason })?;
        Ok(Some(Listed { file, sha256: oid.filter(|oid| is_sha256(oid)) }))
    }

    /// Gets a JSON document, and the address of the next page of it.
    async fn json<T: DeserializeOwned>(&self, repo: &HubRepo, url: Url) -> Result<(T, Option<Url>), Trouble> {
        let mut hop = self.follow(Method::GET, url, None, repo, None).await?;
        let next = self.next_page(&hop.url, hop.response.headers())?;
        let mut text = Vec::new();
        while let Some(chunk) = self.chunk(&mut hop.response, &host(&hop.url)).await? {
            if text.len() + chunk.len() > LISTING_BYTES_MAX {
                return Err(self.protocol(&hop.url, "its list of files is too long").into());
            }
            text.extend_from_slice(&chunk);
        }
        let value = serde_json::from_slice(&text)
            .map_err(|error| self.protocol(&hop.url, &format!("its list of files cannot be read ({error})")))?;
        Ok((value, next))
    }

    fn next_page(&self, url: &Url, headers: &HeaderMap) -> Result<Option<Url>, FetchError> {
        let link = headers.get(LINK).and_then(|link| link.to_str().ok()).unwrap_or_default();
        let target = link.split(',').find_map(|part| {
            let (target, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
            parameters.contains("rel=\"next\"").then_some(target)
        });
        match target.map(|target| url.join(target)) {
            None => Ok(None),
            Some(Ok(next)) if next.origin() == self.endpoint.origin() => Ok(Some(next)),
            Some(_) => Err(self.protocol(url, "the next page of its list of files is elsewhere")),
        }
    }

    /// Asks for a file's length and hash.
    pub(super) async fn metadata(&self, repo: &HubRepo, file: &HubFile) -> Result<RemoteFile, Trouble> {
        let url = self.url(&[repo.as_str(), "resolve", "main", file.as_str()]);
        let hop = self.follow(Method::HEAD, url, None, repo, Some(file)).await?;
        let headers = hop.response.headers();
        let etag = hop.etag.or_else(|| etag(headers, ETAG.as_str()));
        let bytes = hop.size.or_else(|| number(headers, CONTENT_LENGTH.as_str()));
        match (etag, bytes) {
            (Some(etag), Some(bytes)) => {
                Ok(RemoteFile { sha256: Some(etag.to_ascii_lowercase()).filter(|etag| is_sha256(etag)), etag, bytes })
            }
            _ => Err(self.protocol(&hop.url, "it does not say how long the file is or which version").into()),
        }
    }

    /// Gets a file's bytes from `start` on, or from the beginning if the other side cannot do that.
    pub(super) async fn body(&self, repo: &HubRepo, file: &HubFile, start: u64) -> Result<Body, Trouble> {
        let url = self.url(&[repo.as_str(), "resolve", "main", file.as_str()]);
        let range = (start > 0).then_some(start);
        let hop = self.follow(Method::GET, url, range, repo, Some(file)).await?;
        let final_etag = etag(hop.response.headers(), ETAG.as_str());
        // The mark that a content network gives its copy is its own; the hub's is what counts.
        let etag = match hop.is_hub {
            true => hop.etag.or(final_etag),
            false => hop.etag,
        };
        Ok(Body { etag, host: host(&hop.url), response: hop.response })
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response, host: &str) -> Result<Option<ByteChunk>, Trouble> {
        match tokio::time::timeout(self.idle_timeout, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(passing(host, &cause(&error.without_url()), None)),
            Err(_) => Err(passing(host, "nothing arrived for too long", None)),
        }
    }

    /// Sends a request and follows redirects. A HEAD request ends at the first answer that says all there is to
    /// know of the file.
    async fn follow(
        &self,
        method: Method,
        mut url: Url,
        range: Option<u64>,
        repo: &HubRepo,
        file: Option<&HubFile>,
    ) -> Result<Hop, Trouble> {
        let (mut etag, mut size) = (None, None);
        for _ in 0..REDIRECTS_MAX {
            let is_hub = url.origin() == self.endpoint.origin();
            let response = self.send(&method, &url, range, is_hub).await?;
            if is_hub {
                etag = etag.or_else(|| linked_etag(response.headers()));
                size = size.or_else(|| linked_size(response.headers()));
            }
            let status = response.status();
            let is_known = method == Method::HEAD && etag.is_some() && size.is_some();
            if status.is_success() || (status.is_redirection() && is_known) {
                return Ok(Hop { response, url, is_hub, etag, size });
            }
            if !status.is_redirection() {
                return Err(self.refused(&response, &url, is_hub, repo, file));
            }
            url = self.redirect(&url, response.headers())?;
        }
        Err(self.protocol(&url, "it redirects without end").into())
    }

    async fn send(&self, method: &Method, url: &Url, range: Option<u64>, is_hub: bool) -> Result<Response, Trouble> {
        let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = self.authorization.as_ref().filter(|_| is_hub) {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(start) = range {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let host = host(url);
        match tokio::time::timeout(self.idle_timeout + self.idle_timeout / 4, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(passing(&host, &cause(&error.without_url()), None)),
            Err(_) => Err(passing(&host, "no answer came for too long", None)),
        }
    }

    fn redirect(&self, from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| from.join(location).ok());
        match target {
            Some(target) if !is_http(&target) => Err(self.protocol(from, "it redirects to something that is not HTTP")),
            Some(target) if from.scheme() == "https" && target.scheme() != "https" => {
                Err(self.protocol(from, "it redirects from https to plain http"))
            }
            Some(target) => Ok(target),
            None => Err(self.protocol(from, "it redirects to nowhere")),
        }
    }

    fn refused(&self, response: &Response, url: &Url, is_hub: bool, repo: &HubRepo, file: Option<&HubFile>) -> Trouble {
        let status = response.status();
        let headers = response.headers();
        let refusal = FetchError::Status { host: host(url), status: status.as_u16(), message: error_message(headers) };
        let is_expired_link = !is_hub && matches!(status.as_u16(), 401 | 403 | 410);
        if is_expired_link || status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
            let wait = number(headers, RETRY_AFTER.as_str()).map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
            return Trouble::Passing { problem: refusal, wait };
        }
        if !is_hub {
            return Trouble::Lasting(refusal);
        }
        let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        Trouble::Lasting(match (code, status) {
            ("GatedRepo", _) => self.gated(repo),
            ("EntryNotFound", _) => no_file(repo, file),
            ("RepoNotFound" | "RevisionNotFound", _) => self.no_repository(repo),
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => self.gated(repo),
            (_, StatusCode::NOT_FOUND) if file.is_some() => no_file(repo, file),
            (_, StatusCode::NOT_FOUND) => self.no_repository(repo),
            _ => refusal,
        })
    }

    fn gated(&self, repo: &HubRepo) -> FetchError {
        let mut page = self.url(&[repo.as_str()]);
        let is_clean = page.set_username("").is_ok() && page.set_password(None).is_ok();
        FetchError::Gated {
            repo: repo.to_string(),
            page: if is_clean { page.to_string() } else { host(&page) },
            has_token: self.authorization.is_some(),
        }
    }

    fn no_repository(&self, repo: &HubRepo) -> FetchError {
        FetchError::NoRepository { repo: repo.to_string(), endpoint: host(&self.endpoint) }
    }

    fn protocol(&self, url: &Url, problem: &str) -> FetchError {
        FetchError::Protocol { host: host(url), problem: problem.to_owned() }
    }
}

/// The last answer of a chain of redirects, and what the hub said on the way.
struct Hop {
    response: Response,
    url: Url,
    is_hub: bool,
    etag: Option<String>,
    size: Option<u64>,
}

/// Bytes as they arrive.
pub(super) type ByteChunk = bytes::Bytes;

pub(super) fn passing(host: &str, problem: &str, wait: Option<Duration>) -> Trouble {
    Trouble::Passing { problem: FetchError::Connection { host: host.to_owned(), problem: problem.to_owned() }, wait }
}

fn no_file(repo: &HubRepo, file: Option<&HubFile>) -> FetchError {
    FetchError::NoFile { repo: repo.to_string(), file: file.map(HubFile::to_string).unwrap_or_default() }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost reason of an error, which says most ("connection refused").
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn etag(headers: &HeaderMap, name: &str) -> Option<String> {
    const ETAG_BYTES_MAX: usize = 256;
    let text = headers.get(name)?.to_str().ok()?.trim();
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    (!text.is_empty() && text.len() <= ETAG_BYTES_MAX).then(|| text.to_owned())
}

fn linked_etag(headers: &HeaderMap) -> Option<String> {
    etag(headers, "x-linked-etag")
}

fn linked_size(headers: &HeaderMap) -> Option<u64> {
    number(headers, "x-linked-size")
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn error_message(headers: &HeaderMap) -> String {
    let text = headers.get("x-error-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
