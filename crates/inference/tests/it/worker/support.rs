//! A worker's HTTP side on a socket of its own, with the starter model behind it, and a client.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use freehold_inference::engine::{Engine, LlamaEngine};
use freehold_inference::order::ServeOrder;
use freehold_inference::worker::{App, Stop, serve};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The starter model's file.
pub fn starter() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/starter/SmolLM2-135M-Instruct.Q4_1.gguf");
    let path = std::env::var_os("FREEHOLD_STARTER_GGUF").map_or_else(default, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run make starter first", path.display());
    path
}

fn engine() -> Arc<LlamaEngine> {
    static ENGINE: OnceLock<Arc<LlamaEngine>> = OnceLock::new();
    let start = || {
        let order = ServeOrder {
            model_name: "starter".to_owned(),
            model_path: starter(),
            socket: PathBuf::new(),
            adapters: Vec::new(),
            context_tokens: Some(4096),
            sequences_max: 8,
            queue_max: 64,
            threads: Some(1),
            memory_max_bytes: None,
            gpu_layers: None,
            deadline_ms: 600_000,
            log_prompts: false,
        };
        Arc::new(LlamaEngine::start(&order).expect("the starter model loads"))
    };
    Arc::clone(ENGINE.get_or_init(start))
}

/// A worker's HTTP side.
pub struct Worker {
    folder: tempfile::TempDir,
    stop: watch::Sender<Stop>,
    pub server: JoinHandle<std::io::Result<()>>,
}

/// An answer that was read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Worker {
    pub async fn start() -> Self {
        let engine = tokio::task::spawn_blocking(engine).await.unwrap();
        let (stop, receiver) = watch::channel(Stop::Run);
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("worker.sock")).unwrap();
        let app = App::new(engine as Arc<dyn Engine>, "starter".to_owned(), Duration::from_secs(600), true, receiver.clone());
        let server = tokio::spawn(serve(listener, Arc::new(app), receiver));
        Self { folder, stop, server }
    }

    pub fn stop(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// A connection; dropping it closes it.
    pub async fn connect(&self) -> std::io::Result<(SendRequest<Full<Bytes>>, JoinHandle<()>)> {
        let stream = UnixStream::connect(self.folder.path().join("worker.sock")).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(async move {
            // Ends with an error when a test cuts it.
            let _ = connection.await;
        });
        Ok((sender, task))
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let (mut sender, task) = self.connect().await.unwrap();
        let answer = read(sender.send_request(request(method, path, headers, body)).await.unwrap()).await;
        task.abort();
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], Bytes::from(body.to_string())).await
    }

    /// What comes back for these bytes until the connection ends.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.folder.path().join("worker.sock")).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A figure of `/metrics`.
    pub async fn figure(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let found = text.lines().find_map(|have| have.strip_prefix(line));
        found.unwrap_or_else(|| panic!("{line} in {text}")).trim().parse().unwrap()
    }

    /// Waits until a figure has a value.
    pub async fn wait_for(&self, line: &str, value: f64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while (self.figure(line).await - value).abs() > f64::EPSILON {
            assert!(Instant::now() < deadline, "{line} never was {value}");
            tokio::task::yield_now().await;
        }
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "worker");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

pub async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The data of a stream that ended as it should.
    pub fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.headers["content-type"], "text/event-stream; charset=utf-8");
        let text = self.text();
        let mut chunks: Vec<&str> = text.split_terminator("\n\n").map(|chunk| chunk.strip_prefix("data: ").expect("an event")).collect();
        assert_eq!(chunks.pop(), Some("[DONE]"));
        chunks.into_iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
    }

    /// Status, code and field of an error.
    pub fn error(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        (self.status, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
    }
}
