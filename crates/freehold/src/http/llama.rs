//! Meta's Llama API, for the users of its hosted preview, which has closed.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use freehold_control::serve::{Finished, judgement_request};
use freehold_dialects::{canonical, llama};

use super::App;
use super::body::JsonBytes;
use super::caller::{Arrival, Caller};
use super::reply::Refusal;
use super::stream;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/llama/v1/chat/completions", post(chat))
        .route("/llama/v1/moderations", post(moderate))
        .route("/llama/v1/models", get(list_models))
        .route("/llama/v1/models/{model}", get(show_model))
}

async fn chat(State(app): State<App>, Caller(actor): Caller, arrival: Arrival, JsonBytes(body): JsonBytes) -> Result<Response, Refusal> {
    let request = llama::chat::decode_request(&body)?;
    let streams = request.stream;
    let answer = app.serving.chat(&actor, request, arrival.0).await?;
    if streams {
        let mut encoder = llama::chat::StreamEncoder::new(&answer.head);
        return Ok(stream::events(answer, move |event, out| encoder.encode(event, out)));
    }
    let Finished { head, answer, receipt, .. } = answer.whole().await?;
    Ok(stream::ended(llama::chat::encode_answer(&head, &answer), receipt))
}

async fn moderate(
    State(app): State<App>,
    Caller(actor): Caller,
    arrival: Arrival,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Refusal> {
    let request = llama::moderations::decode_request(&body)?;
    let model = match request.model {
        Some(model) => model,
        None => app.serving.guard_model(&actor).await?,
    };
    let judgement = app.serving.chat(&actor, judgement_request(model.clone(), request.messages), arrival.0).await?;
    let (verdict, receipt) = judgement.judge().await?;
    let response = canonical::ModerationResponse { model, results: vec![verdict] };
    Ok(stream::ended(llama::moderations::encode_answer(&response).to_string(), receipt))
}

async fn list_models(State(app): State<App>, Caller(actor): Caller) -> Result<Response, Refusal> {
    Ok(stream::json(llama::models::encode_list(&app.serving.cards(&actor).await?).to_string()))
}

async fn show_model(State(app): State<App>, Caller(actor): Caller, Path(model): Path<String>) -> Result<Response, Refusal> {
    Ok(stream::json(llama::models::encode(&app.serving.card(&actor, &model).await?).to_string()))
}
