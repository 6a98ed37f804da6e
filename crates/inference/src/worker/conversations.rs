//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freehold_dialects::openai;
use http::Request;

use super::app::App;
use super::pump::{Encoder, Merged, Pump};
use super::reply::{self, Refusal};
use super::request::Received;

pub(super) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let received = Received::read(&app, request).await?;
    let (request, extensions) = openai::chat::decode_worker_request(&received.body)?;
    let running_usage = extensions.running_usage;
    let envelope = received.envelope(&app, &request.model, extensions)?;
    let head = received.head(&request.model);
    if app.log_prompts {
        tracing::info!(request_id = envelope.request_id, messages = ?request.messages, "asked");
    }
    let prepared = app.chat.prepare(&request, envelope, &|text, special, begin| app.tokenize(text, special, begin))?;
    let n = prepared.generate.n;
    let prompt_tokens = prepared.generate.prompt.len();
    let generation = app.engine.generate(prepared.generate)?;
    let pump = Pump::new(&app, received.arrived, Merged::new(vec![generation], n), prepared.reader, n);
    if request.stream {
        let encoder = Encoder::chat(&head, request.include_usage, running_usage);
        return Ok(reply::with_prompt_tokens(pump.stream(encoder).await?, prompt_tokens));
    }
    Ok(reply::json(openai::chat::encode_answer(&head, &pump.gather().await?)))
}
