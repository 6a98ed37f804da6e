//! OpenAI's Responses API: answers that are stored, and what is stored of them.

use axum::extract::{Path, State};
use axum::response::Response;
use freehold_control::serve::Finished;
use freehold_dialects::openai::responses::{self, ItemsRequest, StreamEncoder};
use freehold_domain::{Error, ErrorCode};
use serde::Deserialize;

use super::App;
use super::api::Query;
use super::body::JsonBytes;
use super::caller::{Arrival, Caller};
use super::reply::Refusal;
use super::stream;

/// What the query of a stored response may say. What adds details of tools that this service does not have is let pass.
#[derive(Debug, Deserialize)]
pub struct Shown {
    #[serde(default)]
    stream: bool,
}

/// What the query of a list of items may say.
#[derive(Debug, Deserialize)]
pub struct Items {
    limit: Option<u32>,
    order: Option<String>,
    after: Option<String>,
}

/// Answers a request, and stores the answer.
pub async fn create(
    State(app): State<App>,
    Caller(actor): Caller,
    arrival: Arrival,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Refusal> {
    let asked = responses::decode_request(&body)?;
    let streams = asked.request.stream;
    let (answer, echo) = app.serving.respond(&actor, asked, arrival.0).await?;
    if streams {
        let mut encoder = StreamEncoder::new(answer.head.clone(), echo);
        return Ok(stream::events(answer, move |event, out| encoder.encode(event, out)));
    }
    let Finished { head, answer, kept, receipt } = answer.whole().await?;
    let body = kept.map_or_else(|| responses::encode_answer(&head, &echo, &answer), String::into_bytes);
    Ok(stream::ended(body, receipt))
}

/// Shows a stored response.
pub async fn show(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Response, Refusal> {
    if shown.stream {
        let message = "A stored response is not streamed again: leave `stream` out.";
        return Err(Error::new(ErrorCode::UnsupportedFeature, message).with_param("stream").into());
    }
    Ok(stream::json(app.control.response(&actor, &id).await?))
}

/// Deletes a stored response.
pub async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = app.control.delete_response(&actor, &id).await?;
    Ok(stream::json(responses::encode_deleted(&id.to_string()).to_string()))
}

/// Lists the input items of a stored response.
pub async fn items(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Query(items): Query<Items>,
) -> Result<Response, Refusal> {
    let request = ItemsRequest { limit: items.limit, order: items.order, after: items.after };
    Ok(stream::json(app.control.response_items(&actor, &id, request).await?))
}
