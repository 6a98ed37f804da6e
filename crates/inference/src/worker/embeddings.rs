//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freehold_dialects::canonical::EmbeddingResponse;
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode};
use http::Request;

use super::app::App;
use super::completions::tokens;
use super::reply::{self, Refusal};
use super::request::Received;
use crate::engine::EmbedRequest;

pub(super) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let received = Received::read(&app, request).await?;
    let (request, extensions) = openai::embeddings::decode_worker_request(&received.body)?;
    let envelope = received.envelope(&app, &request.model, extensions)?;
    if envelope.adapter.is_some() {
        return Err(Error::new(
            ErrorCode::UnsupportedFeature,
            "Embeddings are made by the model itself. Leave the adapter out of `model`.",
        )
        .with_param("model")
        .into());
    }
    let inputs = request.inputs.iter().enumerate().map(|(index, input)| tokens(&app, input, index)).collect::<Result<Vec<_>, _>>();
    let inputs = inputs.map_err(|error| error.with_param("input"))?;
    let prompt_tokens = inputs.iter().map(|input| u32::try_from(input.len()).unwrap_or(u32::MAX)).fold(0, u32::saturating_add);
    let embed = EmbedRequest { request_id: envelope.request_id, share: envelope.share, inputs, deadline: envelope.deadline };
    let lost = |_| Error::new(ErrorCode::WorkerLost, "The model's engine failed. Try again.");
    let mut embeddings = app.engine.embed(embed)?.await.map_err(lost)??;
    if let Some(dimensions) = request.dimensions {
        for vector in &mut embeddings {
            shorten(vector, dimensions as usize)?;
        }
    }
    let answer = EmbeddingResponse { model: request.model, embeddings, prompt_tokens };
    Ok(reply::json(openai::embeddings::encode_answer(&answer, request.base64)))
}

/// Cuts a vector and gives it length 1 again.
fn shorten(vector: &mut Vec<f32>, dimensions: usize) -> Result<(), Error> {
    if dimensions == 0 || dimensions > vector.len() {
        return Err(Error::invalid("dimensions", format!("The model's vectors have {} dimensions. Ask for 1 to that many.", vector.len())));
    }
    vector.truncate(dimensions);
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    Ok(())
}
