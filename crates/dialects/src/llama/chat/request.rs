//! The request, read and written.

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::canonical::{ChatRequest, ResponseFormat, Sampling};
use crate::llama::message;
use crate::shape::body::{self, Bounds, Fields, missing, not_one_of};
use crate::shape::format::decode_schema;
use crate::shape::{function, write};

const MODEL_CHARS_MAX: usize = 256;
const USER_CHARS_MAX: usize = 1024;

/// Reads a client's request. Its stream always ends with the account: the dialect has no other way.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_parameter` or `unsupported_feature`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<ChatRequest, Error> {
    let mut fields = body::parse(bytes)?;
    let model = fields.short_string("model", MODEL_CHARS_MAX)?.ok_or_else(|| missing("model"))?;
    let messages = message::decode_all(&mut fields)?;
    let tools = function::decode_tools(&mut fields)?;
    let tool_choice = function::decode_choice(&mut fields, &tools)?;
    let response_format = decode_format(&mut fields)?;
    let sampling = Sampling {
        temperature: fields.number("temperature", Bounds::closed(0.0, 2.0))?,
        top_p: fields.number("top_p", Bounds::over(0.0, 1.0))?,
        top_k: fields.count("top_k", 0, u32::MAX)?,
        repetition_penalty: fields.number("repetition_penalty", Bounds::over(0.0, 2.0))?,
        max_tokens: fields.count("max_completion_tokens", 1, u32::MAX)?,
        n: 1,
        ..Sampling::default()
    };
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let user = fields.string("user")?;
    if user.as_ref().is_some_and(|user| user.chars().nth(USER_CHARS_MAX).is_some()) {
        return Err(Error::invalid("user", format!("`user` must have at most {USER_CHARS_MAX} characters.")));
    }
    fields.finish()?;
    Ok(ChatRequest {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: true,
        response_format,
        sampling,
        stream,
        include_usage: true,
        user,
    })
}

/// A schema is always enforced: the dialect promises that the answer matches it.
fn decode_format(fields: &mut Fields) -> Result<ResponseFormat, Error> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(ResponseFormat::Text) };
    let decoded = match format.require_string("type")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_schema" => {
            let mut schema = format.object("json_schema")?.ok_or_else(|| missing(&format.path("json_schema")))?;
            let named = decode_schema(&mut schema)?;
            schema.finish()?;
            ResponseFormat::JsonSchema { name: named.name, schema: named.schema, strict: true }
        }
        other => return Err(not_one_of(&format.path("type"), other, &["text", "json_schema"])),
    };
    format.finish()?;
    Ok(decoded)
}

/// Writes a request. What the dialect does not have is left out.
pub fn encode_request(request: &ChatRequest) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("messages".into(), request.messages.iter().map(message::encode).collect());
    function::encode_tools(&request.tools, &request.tool_choice, &mut body);
    encode_format(&request.response_format, &mut body);
    let sampling = &request.sampling;
    let numbers = [("temperature", sampling.temperature), ("top_p", sampling.top_p), ("repetition_penalty", sampling.repetition_penalty)];
    for (name, value) in numbers {
        if let Some(value) = value {
            body.insert(name.into(), write::number(value));
        }
    }
    for (name, value) in [("top_k", sampling.top_k), ("max_completion_tokens", sampling.max_tokens)] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value));
        }
    }
    if request.stream {
        body.insert("stream".into(), json!(true));
    }
    if let Some(user) = &request.user {
        body.insert("user".into(), json!(user));
    }
    write::bytes(&body)
}

fn encode_format(format: &ResponseFormat, body: &mut Map<String, Value>) {
    let (name, schema) = match format {
        ResponseFormat::Text => return,
        ResponseFormat::JsonObject => ("object", json!({"type": "object"})),
        ResponseFormat::JsonSchema { name, schema, .. } => (name.as_str(), schema.clone()),
    };
    body.insert("response_format".into(), json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema}}));
}
