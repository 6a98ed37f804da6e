//! The service's public API, as the commands call it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Common;
use super::login::{self, KeptSession};
use crate::options::default_data_dir;

/// An error that the service answered with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    message: String,
    /// HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: Value,
}

/// What `freehold up` keeps for the commands.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    /// Where the service listens.
    pub base_url: String,
    /// The operator's key.
    pub operator_key: String,
    /// A key of the tenant `main`.
    pub key: String,
}

/// What a client shows of itself.
#[derive(Clone)]
enum Proof {
    /// Nothing.
    None,
    /// An API key.
    Key(String),
    /// The session that `freehold login` kept.
    Session(KeptSession),
}

/// A client that acts for somebody.
#[derive(Clone)]
pub struct Client {
    base: String,
    proof: Proof,
    /// Print JSON.
    pub json: bool,
    http: reqwest::Client,
}

/// The data folder that a command uses.
pub fn data_dir(common: &Common) -> PathBuf {
    common.data.clone().unwrap_or_else(default_data_dir)
}

fn credentials(common: &Common) -> anyhow::Result<Credentials> {
    let path = data_dir(common).join("credentials.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("no credentials at {}. Start the service with `freehold up`, or give --url and --key", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// The address of the service: as it is told, of the session, or of the data folder.
pub fn base_url(common: &Common) -> anyhow::Result<String> {
    let base = match (&common.url, session(common)) {
        (Some(url), _) => url.clone(),
        (None, Some(session)) => session.url,
        (None, None) => credentials(common)?.base_url,
    };
    if !base.starts_with("http://") && !base.starts_with("https://") {
        bail!("`{base}` is not an address of a service. Expected something like http://127.0.0.1:8080");
    }
    Ok(base.trim_end_matches('/').to_owned())
}

/// The session that `freehold login` kept, unless a key or a data folder is named.
fn session(common: &Common) -> Option<KeptSession> {
    if common.key.is_some() || common.data.is_some() {
        return None;
    }
    let is_there = |kept: &KeptSession| common.url.as_ref().is_none_or(|url| url.trim_end_matches('/') == kept.url);
    login::kept().filter(is_there)
}

impl Client {
    /// A client that acts as the operator.
    pub fn operator(common: &Common) -> anyhow::Result<Self> {
        Self::new(common, |credentials| credentials.operator_key)
    }

    /// A client that acts as the tenant.
    pub fn tenant(common: &Common) -> anyhow::Result<Self> {
        Self::new(common, |credentials| credentials.key)
    }

    /// The tenant's client, unless only the operator may.
    pub fn tenant_or_operator(common: &Common, operator: bool) -> anyhow::Result<Self> {
        if operator { Self::operator(common) } else { Self::tenant(common) }
    }

    /// A client that shows nothing of itself.
    pub fn anonymous(common: &Common) -> anyhow::Result<Self> {
        Self::at(base_url(common)?, Proof::None, common.json)
    }

    /// A client with a session.
    pub fn with_session(session: KeptSession, json: bool) -> anyhow::Result<Self> {
        Self::at(session.url.clone(), Proof::Session(session), json)
    }

    fn new(common: &Common, choose: impl Fn(Credentials) -> String) -> anyhow::Result<Self> {
        let proof = match (&common.key, session(common)) {
            (Some(key), _) => Proof::Key(key.clone()),
            (None, Some(session)) => Proof::Session(session),
            (None, None) => Proof::Key(choose(credentials(common)?)),
        };
        Self::at(base_url(common)?, proof, common.json)
    }

    fn at(base: String, proof: Proof, json: bool) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self { base, proof, json, http })
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Sends a body.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Sets a thing.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// Changes a thing.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// Removes a thing.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.send(method, path, body).await?;
        let bytes = answer.bytes().await.context("the service's answer broke off")?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("the service's answer is not JSON; is this a Freehold service?")
    }

    /// Sends a request and returns the answer's head, once it is known to be no error.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<reqwest::Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        match &self.proof {
            Proof::None => {}
            Proof::Key(key) => request = request.bearer_auth(key),
            Proof::Session(kept) => {
                request = request.header("cookie", format!("freehold_session={}", kept.session)).header("x-csrf-token", &kept.csrf_token);
                if let Some(tenant) = &kept.tenant {
                    request = request.header("x-freehold-tenant", tenant);
                }
            }
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            if error.is_connect() {
                anyhow::anyhow!("no service answers at {}. Start it with `freehold up`", self.base)
            } else {
                anyhow::Error::new(error).context(format!("the service at {} did not answer", self.base))
            }
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message =
            body["error"]["message"].as_str().map_or_else(|| format!("the service answered with HTTP status {status}"), str::to_owned);
        Err(ApiError { message, status, body }.into())
    }
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
