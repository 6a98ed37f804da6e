//! OpenAI's API.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use freehold_control::serve::Finished;
use freehold_dialects::openai;

use super::App;
use super::body::JsonBytes;
use super::caller::{Arrival, Caller};
use super::reply::Refusal;
use super::{responses, stream};

/// The routes under a prefix.
pub fn routes(prefix: &str) -> Router<App> {
    // Whole paths: a nested router would take each request's path apart again.
    let path = |rest: &str| format!("{prefix}{rest}");
    Router::new()
        .route(&path("/chat/completions"), post(chat))
        .route(&path("/completions"), post(complete))
        .route(&path("/embeddings"), post(embed))
        .route(&path("/responses"), post(responses::create))
        .route(&path("/responses/{response}"), get(responses::show).delete(responses::remove))
        .route(&path("/responses/{response}/input_items"), get(responses::items))
        .route(&path("/models"), get(list_models))
        .route(&path("/models/{model}"), get(show_model))
}

async fn chat(State(app): State<App>, Caller(actor): Caller, arrival: Arrival, JsonBytes(body): JsonBytes) -> Result<Response, Refusal> {
    let request = openai::chat::decode_request(&body)?;
    let (streams, include_usage) = (request.stream, request.include_usage);
    let answer = app.serving.chat(&actor, request, arrival.0).await?;
    if streams {
        let mut encoder = openai::chat::StreamEncoder::new(&answer.head, include_usage);
        return Ok(stream::events(answer, move |event, out| encoder.encode(event, out)));
    }
    let Finished { head, answer, receipt, .. } = Box::pin(answer.whole()).await?;
    Ok(stream::ended(openai::chat::encode_answer(&head, &answer), receipt))
}

async fn complete(
    State(app): State<App>,
    Caller(actor): Caller,
    arrival: Arrival,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Refusal> {
    let request = openai::completions::decode_request(&body)?;
    let (streams, include_usage) = (request.stream, request.include_usage);
    let answer = app.serving.complete(&actor, request, arrival.0).await?;
    if streams {
        let mut encoder = openai::completions::StreamEncoder::new(&answer.head, include_usage);
        return Ok(stream::events(answer, move |event, out| encoder.encode(event, out)));
    }
    let Finished { head, answer, receipt, .. } = Box::pin(answer.whole()).await?;
    Ok(stream::ended(openai::completions::encode_answer(&head, &answer), receipt))
}

async fn embed(State(app): State<App>, Caller(actor): Caller, arrival: Arrival, JsonBytes(body): JsonBytes) -> Result<Response, Refusal> {
    let request = openai::embeddings::decode_request(&body)?;
    let (answer, receipt) = app.serving.embed(&actor, &request, arrival.0).await?;
    Ok(stream::ended(openai::embeddings::encode_answer(&answer, request.base64), receipt))
}

async fn list_models(State(app): State<App>, Caller(actor): Caller) -> Result<Response, Refusal> {
    Ok(stream::json(openai::models::encode_list(&app.serving.cards(&actor).await?).to_string()))
}

async fn show_model(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<Response, Refusal> {
    Ok(stream::json(openai::models::encode(&app.serving.card(&actor, &model).await?).to_string()))
}
