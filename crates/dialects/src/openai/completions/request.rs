//! The request, read and written.

use freehold_domain::Error;
use serde_json::{Map, json};

use crate::canonical::{CHOICES_MAX, CompletionRequest};
use crate::openai::prompt;
use crate::openai::sampling::{self, Extensions, TOP_LOGPROBS_MAX};
use crate::shape::body::{self, Fields, unsupported};
use crate::shape::write;

/// Reads a client's request.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_parameter` or `unsupported_feature`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<CompletionRequest, Error> {
    let mut fields = body::parse(bytes)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok(request)
}

/// Reads a request that the service sends to its worker: a client's, and the [`Extensions`].
///
/// # Errors
/// As [`decode_request`].
pub fn decode_worker_request(bytes: &[u8]) -> Result<(CompletionRequest, Extensions), Error> {
    let mut fields = body::parse(bytes)?;
    let extensions = Extensions::decode(&mut fields)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok((request, extensions))
}

fn decode(fields: &mut Fields) -> Result<CompletionRequest, Error> {
    let model = sampling::decode_model(fields)?;
    let prompts = prompt::decode(fields, "prompt", CHOICES_MAX as usize)?;
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let suffix = fields.string("suffix")?;
    let response_format = sampling::decode_format(fields)?;
    let mut sampling = sampling::decode(fields)?;
    sampling.max_tokens = fields.count("max_tokens", 1, u32::MAX)?;
    sampling.logprobs = fields.count("logprobs", 0, TOP_LOGPROBS_MAX)?.and_then(|top| u8::try_from(top).ok());
    if fields.count("best_of", 1, 128)?.is_some_and(|best_of| best_of != sampling.n) {
        return Err(unsupported("best_of", "`best_of` is not supported here unless it equals `n`: ask for `n` answers and choose."));
    }
    let choices = prompts.len() * sampling.n as usize;
    if choices > CHOICES_MAX as usize {
        let message =
            format!("{} prompts with {} answers each are {choices} answers: at most {CHOICES_MAX} are made.", prompts.len(), sampling.n);
        return Err(Error::invalid("n", message));
    }
    let (stream, include_usage) = sampling::decode_stream(fields)?;
    let user = sampling::decode_user(fields)?;
    Ok(CompletionRequest { model, prompts, echo, suffix, response_format, sampling, stream, include_usage, user })
}

/// Writes a request for a worker or another server.
pub fn encode_request(request: &CompletionRequest, extensions: &Extensions) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("prompt".into(), prompt::encode(&request.prompts));
    if request.echo {
        body.insert("echo".into(), json!(true));
    }
    if let Some(suffix) = &request.suffix {
        body.insert("suffix".into(), json!(suffix));
    }
    sampling::encode_format(&request.response_format, &mut body);
    sampling::encode(&request.sampling, &mut body);
    if let Some(max) = request.sampling.max_tokens {
        body.insert("max_tokens".into(), json!(max));
    }
    if let Some(top) = request.sampling.logprobs {
        body.insert("logprobs".into(), json!(top));
    }
    sampling::encode_stream(request.stream, request.include_usage, &mut body);
    if let Some(user) = &request.user {
        body.insert("user".into(), json!(user));
    }
    extensions.encode(&mut body);
    write::bytes(&body)
}
