//! `POST /tokenize`, as vLLM has it: how many tokens a prompt or a conversation is.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode};
use http::Request;
use serde_json::{Map, Value, json};

use super::app::App;
use super::reply::{self, Refusal};
use super::request::Received;

pub(super) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let received = Received::read(&app, request).await?;
    let mut body: Map<String, Value> = serde_json::from_slice(&received.body)
        .map_err(|error| Error::new(ErrorCode::InvalidJson, format!("The body must be a JSON object: {error}.")))?;
    let special = body.remove("add_special_tokens").and_then(|value| value.as_bool());
    let tokens = match body.remove("prompt") {
        Some(Value::String(prompt)) => app.tokenize(&prompt, true, special.unwrap_or(true))?,
        Some(_) => return Err(Error::invalid("prompt", "`prompt` must be a string.").into()),
        None if body.contains_key("messages") => {
            body.remove("add_generation_prompt");
            body.remove("return_token_strs");
            body.entry("model").or_insert_with(|| Value::String(app.model_name.clone()));
            let bytes = Value::Object(body).to_string();
            let (conversation, _) = openai::chat::decode_worker_request(bytes.as_bytes())?;
            app.chat.tokens(&conversation, received.moment_unix_s(), &|text, special, begin| app.tokenize(text, special, begin))?
        }
        None => return Err(Error::invalid("prompt", "Send `prompt` or `messages`.").into()),
    };
    let answer = json!({ "count": tokens.len(), "max_model_len": app.engine.info().sequence_tokens_max, "tokens": tokens });
    Ok(reply::json(answer.to_string().into_bytes()))
}
