//! `POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter`, as vLLM has them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freehold_domain::{Error, ErrorCode};
use http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::app::App;
use super::reply::{self, Refusal};
use super::request::Received;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    lora_name: String,
    lora_path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unload {
    lora_name: String,
}

pub(super) async fn load(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let Load { lora_name, lora_path } = body(&app, request).await?;
    if lora_name.is_empty() || lora_name.contains(':') {
        return Err(Error::invalid("lora_name", "An adapter's name must not be empty and must not contain a colon.").into());
    }
    app.engine.load_adapter(&lora_name, &lora_path)?.await.map_err(|_| lost())??;
    Ok(done(&lora_name))
}

pub(super) async fn unload(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let Unload { lora_name } = body(&app, request).await?;
    app.engine.unload_adapter(&lora_name)?.await.map_err(|_| lost())??;
    Ok(done(&lora_name))
}

async fn body<T: DeserializeOwned>(app: &App, request: Request<Body>) -> Result<T, Error> {
    let received = Received::read(app, request).await?;
    serde_json::from_slice(&received.body).map_err(|error| Error::new(ErrorCode::InvalidJson, format!("The body is wrong: {error}.")))
}

fn lost() -> Error {
    Error::new(ErrorCode::WorkerLost, "The model's engine failed. Try again.")
}

fn done(name: &str) -> Response {
    reply::json(json!({ "lora_name": name, "success": true }).to_string().into_bytes())
}
