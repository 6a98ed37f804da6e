//! A running service for a test: its own data folder, a free port, and a check at the end that nothing is left.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const MODEL: &str = "smol";

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The starter model.
pub fn starter() -> PathBuf {
    let path = std::env::var_os("FREEHOLD_STARTER_GGUF")
        .map_or_else(|| root().join("target/starter/SmolLM2-135M-Instruct.Q4_1.gguf"), PathBuf::from);
    assert!(path.exists(), "run make starter first");
    path
}

/// Waits for a condition, at most 60 seconds.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A service and its data folder.
pub struct Service {
    pub data: tempfile::TempDir,
    pub url: String,
    pub key: String,
    pub operator_key: String,
    child: Child,
    pub http: reqwest::blocking::Client,
}

impl Service {
    /// A service without models. `options` as for `--set`.
    pub fn start(options: &[&str]) -> Self {
        Self::start_on(tempfile::tempdir().expect("a folder"), options)
    }

    /// A service on an existing data folder.
    pub fn start_on(data: tempfile::TempDir, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freehold"));
        command.arg("--data").arg(data.path()).args(["up", "--listen", "127.0.0.1:0", "--set", "starter=false"]);
        // Tests run beside each other: one thread each computes faster than two that wait for one another.
        command.args(["--set", "threads=1"]);
        for option in options {
            command.args(["--set", option]);
        }
        command.env_remove("FREEHOLD_STARTER_GGUF");
        let log = std::fs::File::create(data.path().join("log")).expect("a log");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the service starts");
        let mut welcome = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("API key") {
            line.clear();
            let read = welcome.read_line(&mut line).expect("its output");
            assert!(read > 0, "the service ended: {}", std::fs::read_to_string(data.path().join("log")).unwrap_or_default());
        }
        std::thread::spawn(move || welcome.read_to_end(&mut Vec::new()));
        let credentials: Value =
            serde_json::from_slice(&std::fs::read(data.path().join("credentials.json")).expect("credentials")).expect("JSON");
        let text = |name: &str| credentials[name].as_str().expect("text").to_owned();
        let http = reqwest::blocking::Client::builder().timeout(Duration::from_secs(120)).tcp_nodelay(true).build().expect("a client");
        Self { url: text("base_url"), key: text("key"), operator_key: text("operator_key"), data, child, http }
    }

    /// A service with the starter model as it is, under the name [`MODEL`].
    pub fn with_model(options: &[&str]) -> Self {
        let service = Self::start(options);
        service.add_model(MODEL);
        service
    }

    pub fn add_model(&self, name: &str) -> Value {
        let done = self.cli(&["--json", "model", "add", starter().to_str().expect("UTF-8"), "--name", name]);
        serde_json::from_str(&done).expect("a model")
    }

    /// Runs a command against this service; it must succeed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command against this service.
    pub fn try_cli(&self, arguments: &[&str]) -> Output {
        cli(self.data.path(), arguments)
    }

    pub fn get(&self, key: &str, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(key))
    }

    pub fn post(&self, key: &str, path: &str, body: &Value) -> (u16, Value) {
        answer(self.http.post(format!("{}{path}", self.url)).bearer_auth(key).json(body))
    }

    pub fn delete(&self, key: &str, path: &str) -> (u16, Value) {
        answer(self.http.delete(format!("{}{path}", self.url)).bearer_auth(key))
    }

    /// Sends a body as it is.
    pub fn post_bytes(&self, path: &str, body: impl Into<reqwest::blocking::Body>) -> (u16, Value) {
        answer(self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key).header("content-type", "application/json").body(body))
    }

    /// A chat that streams; the answer's lines as they come.
    pub fn stream(&self, body: &Value) -> BufReader<reqwest::blocking::Response> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let response =
            self.http.post(format!("{}/v1/chat/completions", self.url)).bearer_auth(&self.key).json(&body).send().expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        BufReader::new(response)
    }

    /// The workers of `/api/v1/status`.
    pub fn workers(&self) -> Vec<Value> {
        let (status, body) = self.get(&self.operator_key, "/api/v1/status");
        assert_eq!(status, 200, "{body}");
        body["workers"].as_array().expect("workers").clone()
    }

    /// A counter or gauge of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http.get(format!("{}/metrics", self.url)).send().and_then(reqwest::blocking::Response::text).expect("metrics");
        let samples = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn signal(&self, signal: &str) {
        kill(self.child.id(), signal);
    }

    /// Waits for the end of a service that was told to stop.
    pub fn wait(mut self) -> (tempfile::TempDir, String) {
        let status = until("the service ends", || self.child.try_wait().expect("a child"));
        let log = self.log();
        assert!(status.success(), "{status}: {log}");
        let data = std::mem::replace(&mut self.data, tempfile::tempdir().expect("a folder"));
        (data, log)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let log = self.log();
            self.signal("TERM");
            let ended = (0..1000).any(|_| {
                std::thread::park_timeout(Duration::from_millis(20));
                matches!(self.child.try_wait(), Ok(Some(_)))
            });
            if !ended {
                self.signal("KILL");
            }
            if !std::thread::panicking() {
                assert!(ended, "the service did not end");
                assert!(!log.contains("panicked"), "{log}");
            }
        }
    }
}

/// Runs a command with a data folder.
pub fn cli(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freehold"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FREEHOLD_") {
            command.env_remove(name);
        }
    }
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null()).output().expect("the command runs")
}

pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null()).status().expect("kill runs");
    assert!(status.success() || signal == "TERM", "kill -{signal} {pid}");
}

fn answer(request: reqwest::blocking::RequestBuilder) -> (u16, Value) {
    let response = request.send().expect("an answer");
    let status = response.status().as_u16();
    let bytes = response.bytes().expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

/// A chat request.
pub fn ask(text: &str, max_tokens: u32) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0})
}

/// The text of a whole chat answer.
pub fn text_of(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}
