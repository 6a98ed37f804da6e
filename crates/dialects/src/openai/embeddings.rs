//! Embeddings: `POST /v1/embeddings`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freehold_domain::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::sampling::{self, Extensions};
use super::{prompt, usage::WireUsage};
use crate::canonical::{EmbeddingRequest, EmbeddingResponse, Prompt, Usage};
use crate::shape::body::{self, Fields};
use crate::shape::write;

/// Most texts of one request.
pub const INPUTS_MAX: usize = 2048;
/// Most numbers that a vector can be cut to.
const DIMENSIONS_MAX: u32 = 65_536;

/// Reads a client's request.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_parameter` or `unsupported_feature`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<EmbeddingRequest, Error> {
    let mut fields = body::parse(bytes)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok(request)
}

/// Reads a request that the service sends to its worker: a client's, and the [`Extensions`].
///
/// # Errors
/// As [`decode_request`].
pub fn decode_worker_request(bytes: &[u8]) -> Result<(EmbeddingRequest, Extensions), Error> {
    let mut fields = body::parse(bytes)?;
    let extensions = Extensions::decode(&mut fields)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok((request, extensions))
}

fn decode(fields: &mut Fields) -> Result<EmbeddingRequest, Error> {
    let model = sampling::decode_model(fields)?;
    let inputs = prompt::decode(fields, "input", INPUTS_MAX)?;
    if inputs.iter().any(|input| matches!(input, Prompt::Text(text) if text.is_empty())) {
        return Err(Error::invalid("input", "`input` must not hold an empty string: an empty text has no meaning to be measured."));
    }
    let dimensions = fields.count("dimensions", 1, DIMENSIONS_MAX)?;
    let base64 = fields.word("encoding_format", &["float", "base64"])?.is_some_and(|word| word == "base64");
    let user = sampling::decode_user(fields)?;
    Ok(EmbeddingRequest { model, inputs, dimensions, base64, user })
}

/// Writes a request for a worker or another server.
pub fn encode_request(request: &EmbeddingRequest, extensions: &Extensions) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("input".into(), prompt::encode(&request.inputs));
    if let Some(dimensions) = request.dimensions {
        body.insert("dimensions".into(), json!(dimensions));
    }
    body.insert("encoding_format".into(), json!(if request.base64 { "base64" } else { "float" }));
    if let Some(user) = &request.user {
        body.insert("user".into(), json!(user));
    }
    extensions.encode(&mut body);
    write::bytes(&body)
}

#[derive(Serialize, Deserialize)]
struct WireAnswer<'a> {
    #[serde(default, borrow)]
    object: Cow<'a, str>,
    #[serde(borrow)]
    data: Vec<WireVector<'a>>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    usage: WireUsage,
}

#[derive(Serialize, Deserialize)]
struct WireVector<'a> {
    #[serde(default, borrow)]
    object: Cow<'a, str>,
    index: usize,
    #[serde(borrow)]
    embedding: Numbers<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Base64(Cow<'a, str>),
    Floats(Vec<f32>),
}

/// Writes the answer, the vectors as the request wished: numbers, or base64 of little-endian `f32`.
pub fn encode_answer(answer: &EmbeddingResponse, base64: bool) -> Vec<u8> {
    let vector = |(index, vector): (usize, &Vec<f32>)| {
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Numbers::Base64(Cow::Owned(STANDARD.encode(bytes)))
        } else {
            Numbers::Floats(vector.clone())
        };
        WireVector { object: "embedding".into(), index, embedding }
    };
    write::bytes(&WireAnswer {
        object: "list".into(),
        data: answer.embeddings.iter().enumerate().map(vector).collect(),
        model: Cow::Borrowed(&answer.model),
        usage: WireUsage::of_prompt(answer.prompt_tokens),
    })
}

/// Reads the answer of a worker or another server.
///
/// # Errors
/// `internal`, with the reason for the log, if the body is not such an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<EmbeddingResponse, Error> {
    let malformed = |fault: String| Error::internal(format!("the embeddings of the model's server: {fault}"));
    let mut wire: WireAnswer<'_> = serde_json::from_slice(bytes).map_err(|fault| malformed(fault.to_string()))?;
    wire.data.sort_by_key(|vector| vector.index);
    if wire.data.iter().enumerate().any(|(place, vector)| vector.index != place) {
        return Err(malformed("the indices are not 0, 1, 2, …".to_owned()));
    }
    let numbers = |vector: WireVector<'_>| match vector.embedding {
        Numbers::Floats(numbers) => Ok(numbers),
        Numbers::Base64(text) => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|fault| malformed(fault.to_string()))?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if rest.is_empty() {
                Ok(numbers.iter().map(|four| f32::from_le_bytes(*four)).collect())
            } else {
                Err(malformed("the base64 does not hold whole numbers".to_owned()))
            }
        }
    };
    let embeddings = wire.data.into_iter().map(numbers).collect::<Result<_, _>>()?;
    Ok(EmbeddingResponse { model: wire.model.into_owned(), embeddings, prompt_tokens: Usage::from(wire.usage).prompt_tokens })
}
