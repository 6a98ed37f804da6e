//! Moderations: `POST /moderations`.

use freehold_domain::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::message;
use crate::canonical::{ModerationRequest, ModerationResponse, Verdict};
use crate::shape::{body, write};

const MODEL_CHARS_MAX: usize = 256;

/// Reads a client's request.
///
/// # Errors
/// `invalid_json`, `invalid_request` or `unknown_parameter`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<ModerationRequest, Error> {
    let mut fields = body::parse(bytes)?;
    let model = fields.short_string("model", MODEL_CHARS_MAX)?;
    let messages = message::decode_all(&mut fields)?;
    fields.finish()?;
    Ok(ModerationRequest { model, messages })
}

/// Writes a request.
pub fn encode_request(request: &ModerationRequest) -> Vec<u8> {
    let mut body = Map::new();
    if let Some(model) = &request.model {
        body.insert("model".into(), json!(model));
    }
    body.insert("messages".into(), request.messages.iter().map(message::encode).collect());
    write::bytes(&body)
}

/// Writes the answer.
pub fn encode_answer(answer: &ModerationResponse) -> Value {
    let verdict = |verdict: &Verdict| json!({"flagged": verdict.flagged, "flagged_categories": verdict.categories});
    json!({"model": answer.model, "results": answer.results.iter().map(verdict).collect::<Vec<_>>()})
}

/// Reads an answer.
///
/// # Errors
/// `internal`, with the reason for the log, if the body is not such an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<ModerationResponse, Error> {
    #[derive(Deserialize)]
    struct Answer {
        model: String,
        results: Vec<Flags>,
    }
    #[derive(Deserialize)]
    struct Flags {
        flagged: bool,
        flagged_categories: Vec<String>,
    }
    let answer: Answer = serde_json::from_slice(bytes).map_err(|fault| Error::internal(format!("the answer of a guard model: {fault}")))?;
    let verdict = |flags: Flags| Verdict { flagged: flags.flagged, categories: flags.flagged_categories };
    Ok(ModerationResponse { model: answer.model, results: answer.results.into_iter().map(verdict).collect() })
}
