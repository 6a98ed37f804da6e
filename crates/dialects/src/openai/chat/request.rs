//! The request, read and written.

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::canonical::{ChatRequest, Sampling};
use crate::openai::message;
use crate::openai::sampling::{self, Extensions, TOP_LOGPROBS_MAX};
use crate::shape::body::{self, Fields, as_string, unsupported, wrong_type};
use crate::shape::function;
use crate::shape::write;

/// Fields of the API that make no difference to what this service answers.
const IGNORED: &[&str] = &[
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
];

/// Reads a client's request.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_parameter` or `unsupported_feature`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<ChatRequest, Error> {
    let mut fields = body::parse(bytes)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok(request)
}

/// Reads a request that the service sends to its worker: a client's, and the [`Extensions`].
///
/// # Errors
/// As [`decode_request`].
pub fn decode_worker_request(bytes: &[u8]) -> Result<(ChatRequest, Extensions), Error> {
    let mut fields = body::parse(bytes)?;
    let extensions = Extensions::decode(&mut fields)?;
    let request = decode(&mut fields)?;
    fields.finish()?;
    Ok((request, extensions))
}

fn decode(fields: &mut Fields) -> Result<ChatRequest, Error> {
    let model = sampling::decode_model(fields)?;
    let messages = message::decode_all(fields)?;
    refuse(fields)?;
    fields.ignore(IGNORED);
    let tools = function::decode_tools(fields)?;
    let tool_choice = function::decode_choice(fields, &tools)?;
    let parallel_tool_calls = fields.boolean("parallel_tool_calls")?.unwrap_or(true);
    let response_format = sampling::decode_format(fields)?;
    let mut sampling = sampling::decode(fields)?;
    sampling.max_tokens = max_tokens(fields)?;
    sampling.logprobs = logprobs(fields)?;
    let (stream, include_usage) = sampling::decode_stream(fields)?;
    let user = sampling::decode_user(fields)?;
    Ok(ChatRequest { model, messages, tools, tool_choice, parallel_tool_calls, response_format, sampling, stream, include_usage, user })
}

fn refuse(fields: &mut Fields) -> Result<(), Error> {
    fields.refuse("functions", "It is deprecated: use `tools`.")?;
    fields.refuse("function_call", "It is deprecated: use `tool_choice`.")?;
    fields.refuse("audio", "The models answer in text.")?;
    fields.refuse("web_search_options", "The models have no access to the web: give them a tool that searches.")?;
    fields.refuse("moderation", "Judge the answer with a guard model in a request of its own.")?;
    if fields.word("verbosity", &["low", "medium", "high"])?.is_some_and(|word| word != "medium") {
        return Err(unsupported("verbosity", "`verbosity` can only be `medium` here: ask for shorter or longer answers in a message."));
    }
    for (index, item) in fields.array("modalities", 8)?.unwrap_or_default().into_iter().enumerate() {
        let path = format!("modalities[{index}]");
        match as_string(item, &path)?.as_str() {
            "text" => {}
            other => return Err(unsupported(&path, format!("The models answer in text, not in `{}`.", body::quoted(other)))),
        }
    }
    Ok(())
}

fn max_tokens(fields: &mut Fields) -> Result<Option<u32>, Error> {
    let old = fields.count("max_tokens", 1, u32::MAX)?;
    let new = fields.count("max_completion_tokens", 1, u32::MAX)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => {
            let message = "`max_tokens` and `max_completion_tokens` mean the same and differ here: send only `max_completion_tokens`.";
            Err(Error::invalid("max_tokens", message))
        }
        (old, new) => Ok(new.or(old)),
    }
}

fn logprobs(fields: &mut Fields) -> Result<Option<u8>, Error> {
    let wanted = match fields.take("logprobs") {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(other) => return Err(wrong_type("logprobs", "true or false", &other)),
    };
    let top = fields.count("top_logprobs", 0, TOP_LOGPROBS_MAX)?;
    if !wanted && top.is_some_and(|top| top > 0) {
        return Err(Error::invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true."));
    }
    Ok(wanted.then(|| u8::try_from(top.unwrap_or(0)).unwrap_or(0)))
}

/// Writes a request for a worker or another server.
pub fn encode_request(request: &ChatRequest, extensions: &Extensions) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("messages".into(), request.messages.iter().map(message::encode).collect());
    function::encode_tools(&request.tools, &request.tool_choice, &mut body);
    if !request.parallel_tool_calls {
        body.insert("parallel_tool_calls".into(), json!(false));
    }
    sampling::encode_format(&request.response_format, &mut body);
    encode_sampling(&request.sampling, &mut body);
    sampling::encode_stream(request.stream, request.include_usage, &mut body);
    if let Some(user) = &request.user {
        body.insert("user".into(), json!(user));
    }
    extensions.encode(&mut body);
    write::bytes(&body)
}

fn encode_sampling(sampling: &Sampling, body: &mut Map<String, Value>) {
    sampling::encode(sampling, body);
    if let Some(max) = sampling.max_tokens {
        body.insert("max_completion_tokens".into(), json!(max));
    }
    if let Some(top) = sampling.logprobs {
        body.insert("logprobs".into(), json!(true));
        body.insert("top_logprobs".into(), json!(top));
    }
}
