//! A hub and its content network, on two ports of the loopback, speaking the Hugging Face protocol as far as
//! downloads need it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

pub const REPO: &str = "owner/model-GGUF";
const SIGNATURE: &str = "signature=not-for-messages";

/// What the content network does with one request instead of sending everything.
pub enum Script {
    /// Sends so many bytes, waits until told, and breaks the connection.
    CutAt(usize, Arc<Notify>),
    /// Sends so many bytes and then nothing more.
    StallAt(usize),
    /// Refuses.
    Refuse(StatusCode),
    /// Sends other bytes of the same length.
    Damage,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub is_hub: bool,
    pub method: Method,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// How the hub behaves. The default is a hub in good order.
#[derive(Default)]
pub struct Behaviour {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths that are listed but are not there.
    pub also_listed: Vec<String>,
    /// Only this token may read.
    pub token: Option<String>,
    /// Answers to the next requests to the hub: status and `X-Error-Code`.
    pub refusals: VecDeque<(StatusCode, &'static str)>,
    pub scripts: VecDeque<Script>,
    pub ignores_ranges: bool,
    /// No content network and no `X-Linked-` headers, like a plain mirror.
    pub is_mirror: bool,
    /// Entries of the list in a page; 0: all.
    pub page_length: usize,
    /// Where to redirect instead.
    pub redirect: Option<String>,
    /// The tree is not there, only the list in the model's description.
    pub has_no_tree: bool,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    content_endpoint: Mutex<String>,
}

pub struct HubServer {
    pub endpoint: String,
    shared: Arc<Shared>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl HubServer {
    pub async fn start(behaviour: Behaviour) -> Self {
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            seen: Mutex::new(Vec::new()),
            content_endpoint: Mutex::new(String::new()),
        });
        let (content_endpoint, content) = listen(Router::new().fallback(content).with_state(Arc::clone(&shared))).await;
        let (endpoint, hub) = listen(Router::new().fallback(hub).with_state(Arc::clone(&shared))).await;
        *shared.content_endpoint.lock().expect("the endpoint") = content_endpoint;
        Self { endpoint, shared, servers: vec![content, hub] }
    }

    /// A hub with one repository that has these files.
    pub async fn with_files(files: &[(&str, &[u8])]) -> Self {
        Self::start(Behaviour { files: table(files), ..Behaviour::default() }).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("requests").clone()
    }

    pub fn forget(&self) {
        self.shared.seen.lock().expect("requests").clear();
    }

    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().expect("behaviour"));
    }

    /// The ranges that were asked of the content network (of the hub, if it is a mirror).
    pub fn ranges(&self) -> Vec<Option<String>> {
        let is_body = |seen: &&Seen| seen.method == Method::GET && (seen.path.contains("/blob/") || seen.path.contains("/resolve/"));
        let has_content = self.seen().iter().any(|seen| !seen.is_hub);
        self.seen().iter().filter(is_body).filter(|seen| seen.is_hub != has_content).map(|seen| seen.range.clone()).collect()
    }
}

pub fn table(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn listen(router: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
    (endpoint, server)
}

impl Shared {
    fn note(&self, is_hub: bool, request: &Request) {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.seen.lock().expect("requests").push(Seen {
            is_hub,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            range: text(header::RANGE),
            authorization: text(header::AUTHORIZATION),
        });
    }
}

async fn hub(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.note(true, &request);
    let mut behaviour = shared.behaviour.lock().expect("behaviour");
    if let Some((status, code)) = behaviour.refusals.pop_front() {
        return refusal(status, code);
    }
    if let Some(token) = &behaviour.token {
        let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if sent != Some(&format!("Bearer {token}")) {
            let status = if sent.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            return refusal(status, "GatedRepo");
        }
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Some(rest) = path.strip_prefix("/api/models/") {
        return listing(&behaviour, rest, &query);
    }
    let Some(file) = path.strip_prefix(&format!("/{REPO}/resolve/main/")) else {
        return refusal(StatusCode::UNAUTHORIZED, "RepoNotFound");
    };
    let Some(bytes) = behaviour.files.get(file).cloned() else {
        return refusal(StatusCode::NOT_FOUND, "EntryNotFound");
    };
    if let Some(target) = &behaviour.redirect {
        return (StatusCode::FOUND, [(header::LOCATION, target.clone())]).into_response();
    }
    if behaviour.is_mirror {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, format!("\"{}\"", &sha256(&bytes)[..20]).parse().expect("a header"));
        return send(&mut behaviour, &request, bytes, headers);
    }
    let location = format!("{}/blob/{file}?{SIGNATURE}", shared.content_endpoint.lock().expect("the endpoint"));
    let headers = [
        ("location", location),
        ("x-linked-size", bytes.len().to_string()),
        ("x-linked-etag", format!("\"{}\"", sha256(&bytes))),
        ("x-repo-commit", "0123456789abcdef0123456789abcdef01234567".to_owned()),
    ];
    (StatusCode::FOUND, headers).into_response()
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, [("x-error-code", code), ("x-error-message", "as the test wants it")]).into_response()
}

fn listing(behaviour: &Behaviour, path: &str, query: &str) -> Response {
    let all: Vec<&String> = behaviour.files.keys().chain(&behaviour.also_listed).collect();
    if path == REPO {
        let siblings: Vec<_> = all.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
        return axum::Json(serde_json::json!({ "id": REPO, "siblings": siblings })).into_response();
    }
    if path != format!("{REPO}/tree/main") || behaviour.has_no_tree {
        return refusal(StatusCode::NOT_FOUND, "RepoNotFound");
    }
    let start = query.split("cursor=").nth(1).and_then(|cursor| cursor.parse::<usize>().ok()).unwrap_or(0);
    let length = if behaviour.page_length == 0 { all.len() } else { behaviour.page_length };
    let entry = |name: &&String| {
        let bytes = behaviour.files.get(*name).cloned().unwrap_or_default();
        let lfs = serde_json::json!({ "oid": sha256(&bytes), "size": bytes.len() });
        serde_json::json!({ "type": "file", "path": name, "size": bytes.len(), "lfs": lfs })
    };
    let mut entries: Vec<_> = all.iter().skip(start).take(length).map(entry).collect();
    if start == 0 {
        entries.push(serde_json::json!({ "type": "directory", "path": "folder" }));
    }
    let mut answer = axum::Json(entries).into_response();
    if start + length < all.len() {
        let next = format!("</api/models/{path}?recursive=true&cursor={}>; rel=\"next\"", start + length);
        answer.headers_mut().insert(header::LINK, next.parse().expect("a header"));
    }
    answer
}

async fn content(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.note(false, &request);
    let mut behaviour = shared.behaviour.lock().expect("behaviour");
    assert_eq!(request.uri().query(), Some(SIGNATURE), "the redirect's query is kept");
    let file = request.uri().path().strip_prefix("/blob/").map(str::to_owned);
    let Some(bytes) = file.and_then(|file| behaviour.files.get(&file).cloned()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, "\"the-content-network-s-own\"".parse().expect("a header"));
    send(&mut behaviour, &request, bytes, headers)
}

fn send(behaviour: &mut Behaviour, request: &Request, bytes: Vec<u8>, mut headers: HeaderMap) -> Response {
    let is_get = request.method() == Method::GET;
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok()).filter(|_| !behaviour.ignores_ranges);
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let total = bytes.len();
    let script = if is_get { behaviour.scripts.pop_front() } else { None };
    if let Some(Script::Refuse(status)) = script {
        return status.into_response();
    }
    let mut rest = bytes[start.unwrap_or(0).min(total)..].to_vec();
    headers.insert(header::CONTENT_LENGTH, rest.len().into());
    let status = match start {
        Some(start) => {
            let range = format!("bytes {start}-{}/{total}", total - 1);
            headers.insert(header::CONTENT_RANGE, range.parse().expect("a header"));
            StatusCode::PARTIAL_CONTENT
        }
        None => StatusCode::OK,
    };
    let body = match script {
        None | Some(Script::Refuse(_)) => Body::from(rest),
        Some(Script::Damage) => {
            rest.iter_mut().for_each(|byte| *byte = !*byte);
            Body::from(rest)
        }
        Some(Script::StallAt(at)) => {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(rest[..at].to_vec()))]);
            Body::from_stream(first.chain(stream::pending()))
        }
        Some(Script::CutAt(at, told)) => {
            let first = stream::iter([Ok(Bytes::from(rest[..at].to_vec()))]);
            let cut = stream::once(async move {
                told.notified().await;
                Err::<Bytes, _>(std::io::Error::other("cut by the test"))
            });
            Body::from_stream(first.chain(cut))
        }
    };
    (status, headers, body).into_response()
}
