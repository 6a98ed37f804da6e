//! A server with an API of OpenAI's shape, as another process would be: its models are the ways in which it behaves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub const KEY: &str = "sk-far-0123456789abcdef";
/// Every way to behave; each is a model.
pub const WAYS: [&str; 14] =
    ["good", "no-usage", "no-account", "401", "402", "404", "429", "500", "rubbish", "broken", "cut", "slow", "hold", "bad-request"];
pub const TEXT: [&str; 4] = ["The sky", " is", " blue", "."];

/// What it was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Vec<Seen>>>,
    go: Arc<Notify>,
}

/// The server. It ends with the test.
pub struct Far {
    pub address: SocketAddr,
    shared: Shared,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Far {
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// Behind TLS, with this certificate and this key.
    pub fn start_tls(certificate: &FilePath, key: &FilePath) -> Self {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(certificate).expect("a file").collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        Self::serve(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }

    fn serve(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let shared = Shared { seen: Arc::default(), go: Arc::default() };
        let router = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/completions", post(complete))
            .route("/v1/embeddings", post(embed))
            .with_state(shared.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (service, tls) = (hyper_util::service::TowerToHyperService::new(router.clone()), tls.clone());
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that leaves, or that does not believe the certificate, is part of the tests.
                    let _left = match tls {
                        None => http.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await.is_ok(),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => http.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await.is_ok(),
                            Err(_) => false,
                        },
                    };
                });
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What came since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lets one request to `hold` be answered.
    pub fn let_go(&self) {
        self.shared.go.notify_one();
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn refusal(status: u16, message: &str, code: &str) -> Response {
    let body = json!({"error": {"message": message, "type": "error", "param": null, "code": code}}).to_string();
    (axum::http::StatusCode::from_u16(status).expect("a status"), [("content-type", "application/json")], body).into_response()
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {KEY}"))
}

async fn models(headers: HeaderMap) -> Response {
    if !is_known(&headers) {
        return refusal(401, "Incorrect API key provided", "invalid_api_key");
    }
    let data: Vec<Value> = WAYS.iter().map(|way| json!({"id": way, "object": "model", "max_model_len": 4096})).collect();
    axum::Json(json!({"object": "list", "data": data})).into_response()
}

/// Notes a request; its model and whether it wants a stream.
fn note(shared: &Shared, path: &str, headers: HeaderMap, body: &Bytes) -> (String, bool) {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let (way, stream) = (body["model"].as_str().expect("a model").to_owned(), body["stream"] == true);
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { path: path.to_owned(), headers, body });
    (way, stream)
}

fn usage() -> Value {
    json!({"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16, "prompt_tokens_details": {"cached_tokens": 3}})
}

/// The answers that are the same for both kinds.
async fn misbehave(shared: &Shared, way: &str) -> Option<Response> {
    Some(match way {
        "401" => refusal(401, &format!("Incorrect API key provided: {KEY}"), "invalid_api_key"),
        "402" => refusal(402, "You exceeded your current quota", "insufficient_quota"),
        "404" => refusal(404, "The model does not exist", "model_not_found"),
        "429" => {
            let mut response = refusal(429, "Slow down", "rate_limit_exceeded");
            response.headers_mut().insert("retry-after", "17".parse().expect("a value"));
            response
        }
        "500" => refusal(500, "the far server's own trouble", "server_error"),
        "bad-request" => refusal(400, "This model takes no images.", "invalid_value"),
        "rubbish" => ([("content-type", "text/html")], "<html>It works!</html>").into_response(),
        "slow" => std::future::pending().await,
        "hold" => {
            shared.go.notified().await;
            return None;
        }
        _ => return None,
    })
}

async fn chat(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, stream) = note(&shared, "chat", headers, &body);
    if let Some(response) = misbehave(&shared, &way).await {
        return response;
    }
    if stream { streamed(&way, |text| json!({"index": 0, "delta": {"role": "assistant", "content": text}})) } else { whole(&way) }
}

async fn complete(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, stream) = note(&shared, "completions", headers, &body);
    if let Some(response) = misbehave(&shared, &way).await {
        return response;
    }
    assert!(stream, "the tests ask for streams only");
    streamed(&way, |text| json!({"index": 0, "text": text}))
}

async fn embed(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (way, _) = note(&shared, "embeddings", headers, &body);
    if let Some(response) = misbehave(&shared, &way).await {
        return response;
    }
    axum::Json(json!({
        "object": "list", "model": way, "usage": {"prompt_tokens": 7, "total_tokens": 7},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
    }))
    .into_response()
}

fn whole(way: &str) -> Response {
    let message = json!({"role": "assistant", "content": TEXT.concat()});
    let mut answer = json!({
        "id": "chatcmpl-far", "object": "chat.completion", "created": 1, "model": way,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage(),
    });
    if way.starts_with("no-") {
        answer.as_object_mut().expect("an object").remove("usage");
    }
    let text = answer.to_string();
    let headers = [("content-type", "application/json")];
    match way {
        "broken" => (headers, text[..text.len() / 2].to_owned()).into_response(),
        "cut" => (headers, broken_off(vec![text[..text.len() / 2].to_owned()])).into_response(),
        _ => (headers, text).into_response(),
    }
}

fn streamed(way: &str, choice: impl Fn(&str) -> Value) -> Response {
    let event = |value: Value| format!("data: {value}\n\n");
    let chunk = |choices: Value, usage: Value| {
        event(json!({"id": "chatcmpl-far", "object": "chunk", "created": 1, "model": way, "choices": choices, "usage": usage}))
    };
    let mut pieces: Vec<String> = TEXT.iter().map(|text| chunk(json!([choice(text)]), Value::Null)).collect();
    let mut last = choice("");
    last["finish_reason"] = json!("stop");
    if let Some(fields) = last.as_object_mut() {
        fields.remove("delta");
    }
    pieces.push(chunk(json!([last]), Value::Null));
    if !way.starts_with("no-") {
        pieces.push(chunk(json!([]), usage()));
    }
    pieces.push("data: [DONE]\n\n".to_owned());
    let headers = [("content-type", "text/event-stream; charset=utf-8")];
    match way {
        // It ends, but not as the protocol says.
        "broken" => (headers, pieces[..2].concat()).into_response(),
        "cut" => (headers, broken_off(pieces[..2].to_vec())).into_response(),
        _ => {
            let pieces = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
            (headers, Body::from_stream(futures::stream::iter(pieces))).into_response()
        }
    }
}

/// A body whose connection is cut.
fn broken_off(pieces: Vec<String>) -> Body {
    Body::from_stream(futures::stream::unfold(pieces.into_iter(), |mut rest| async move {
        match rest.next() {
            Some(piece) => Some((Ok(Bytes::from(piece)), rest)),
            None => {
                // What was given out before has left by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(std::io::Error::other("cut")), rest))
            }
        }
    }))
}
