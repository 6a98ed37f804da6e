//! The whole answer, written: the `response` object, which the stream's first and last events carry too.

use serde_json::{Map, Value, json};

use super::request::encode_tool;
use crate::canonical::{AnswerHead, ChatAnswer, ChatChoice, ChatRequest, FinishReason, ResponseFormat, TokenLogprob, ToolChoice, Usage};
use crate::openai::logprobs;
use crate::shape::write::{self, number};

/// What an answer repeats of its request.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo(Map<String, Value>);

/// How an answer stands.
pub(super) struct Standing<'a> {
    pub(super) status: &'static str,
    pub(super) error: Value,
    pub(super) incomplete: bool,
    pub(super) output: Vec<Value>,
    pub(super) usage: Option<&'a Usage>,
}

impl Echo {
    pub(super) fn new(request: &ChatRequest, instructions: Option<String>, metadata: Value, previous: Option<&str>) -> Self {
        let sampling = &request.sampling;
        let format = match &request.response_format {
            ResponseFormat::Text => json!({"type": "text"}),
            ResponseFormat::JsonObject => json!({"type": "json_object"}),
            ResponseFormat::JsonSchema { name, schema, strict } => {
                json!({"type": "json_schema", "name": name, "schema": schema, "strict": strict})
            }
        };
        let choice = match &request.tool_choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Function(name) => json!({"type": "function", "name": name}),
        };
        let fields = [
            ("background", json!(false)),
            ("instructions", json!(instructions)),
            ("max_output_tokens", json!(sampling.max_tokens)),
            ("metadata", metadata),
            ("parallel_tool_calls", json!(request.parallel_tool_calls)),
            ("previous_response_id", json!(previous)),
            ("reasoning", json!({"effort": null, "summary": null})),
            ("service_tier", json!("default")),
            ("store", json!(false)),
            ("temperature", sampling.temperature.map_or(Value::Null, number)),
            ("text", json!({"format": format})),
            ("tool_choice", choice),
            ("tools", request.tools.iter().map(encode_tool).collect()),
            ("top_logprobs", json!(sampling.logprobs.unwrap_or(0))),
            ("top_p", sampling.top_p.map_or(Value::Null, number)),
            ("truncation", json!("disabled")),
            ("user", json!(request.user)),
        ];
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Says whether the answer is stored. It is not, as long as nobody says so.
    pub fn set_store(&mut self, store: bool) {
        self.0.insert("store".to_owned(), json!(store));
    }

    pub(super) fn has_instructions(&self) -> bool {
        self.0.get("instructions").is_some_and(Value::is_string)
    }

    /// The `response` object.
    pub(super) fn response(&self, head: &AnswerHead, standing: Standing<'_>) -> Value {
        let mut object = Map::new();
        object.insert("id".into(), json!(format!("resp_{}", head.id)));
        object.insert("object".into(), json!("response"));
        object.insert("created_at".into(), json!(head.created_s));
        object.insert("status".into(), json!(standing.status));
        object.insert("error".into(), standing.error);
        let details = if standing.incomplete { json!({"reason": "max_output_tokens"}) } else { Value::Null };
        object.insert("incomplete_details".into(), details);
        object.insert("model".into(), json!(head.model));
        object.insert("output".into(), Value::Array(standing.output));
        object.extend(self.0.clone());
        object.insert("usage".into(), standing.usage.map_or(Value::Null, encode_usage));
        Value::Object(object)
    }
}

/// How an answer ended: its status, and whether something is missing.
pub(super) fn ending(finish: Option<FinishReason>) -> (&'static str, bool) {
    if finish == Some(FinishReason::Length) { ("incomplete", true) } else { ("completed", false) }
}

/// Writes a whole answer: its first choice, as the API has only one.
pub fn encode_answer(head: &AnswerHead, echo: &Echo, answer: &ChatAnswer) -> Vec<u8> {
    let nothing = ChatChoice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    let (status, incomplete) = ending(choice.finish);
    let mut output = Vec::new();
    let mut calls = choice.tool_calls.iter().peekable();
    if !choice.text.is_empty() || choice.tool_calls.is_empty() {
        let status = if choice.tool_calls.is_empty() { status } else { "completed" };
        output.push(message_item(&message_id(head, 0), status, Some((&choice.text, &choice.logprobs))));
    }
    while let Some(call) = calls.next() {
        let id = call_item_id(head, output.len());
        let status = if calls.peek().is_none() { status } else { "completed" };
        output.push(call_item(&id, status, &call.id, &call.name, &call.arguments));
    }
    let standing = Standing { status, error: Value::Null, incomplete, output, usage: Some(&answer.usage) };
    write::bytes(&echo.response(head, standing))
}

fn encode_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

pub(super) fn message_id(head: &AnswerHead, index: usize) -> String {
    format!("msg_{}_{index}", head.id)
}

pub(super) fn call_item_id(head: &AnswerHead, index: usize) -> String {
    format!("fc_{}_{index}", head.id)
}

pub(super) fn text_part(text: &str, tokens: &[TokenLogprob]) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs::list(tokens)})
}

/// A message of the assistant; without a text, one that has only begun.
pub(super) fn message_item(id: &str, status: &str, text: Option<(&str, &[TokenLogprob])>) -> Value {
    let content: Vec<Value> = text.map(|(text, tokens)| text_part(text, tokens)).into_iter().collect();
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

pub(super) fn call_item(id: &str, status: &str, call_id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name, "arguments": arguments})
}
