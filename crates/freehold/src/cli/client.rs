//! The service's public API, as the commands call it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Common;
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

/// A client with one key.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    key: String,
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

    fn new(common: &Common, choose: impl Fn(Credentials) -> String) -> anyhow::Result<Self> {
        let (base, key) = match (&common.url, &common.key) {
            (Some(url), Some(key)) => (url.clone(), key.clone()),
            (url, key) => {
                let kept = credentials(common)?;
                (url.clone().unwrap_or_else(|| kept.base_url.clone()), key.clone().unwrap_or_else(|| choose(kept)))
            }
        };
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("`{base}` is not an address of a service. Expected something like http://127.0.0.1:8080");
        }
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), key, json: common.json, http })
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Sends a body.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
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
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
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
