//! Conversations: templates, tool formats, grammars.

mod answer;
mod grammar;
mod prompt;
mod tools;

use std::sync::Arc;
use std::time::{Duration, Instant};

use freehold_dialects::canonical::{ChatRequest, Message, ResponseFormat, Role, Sampling, Tool, ToolCall, ToolChoice};
use freehold_domain::Error;
use freehold_inference::chat::{Chat, Envelope};
use freehold_inference::engine::{EngineInfo, Share, Token};
use serde_json::json;

const CONTROLS: [&str; 9] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<s>",
];

/// 2026-03-05T12:00:00Z
const MOMENT: i64 = 1_772_712_000;

fn info(template: Option<&str>, controls: &[&str], bos: &str) -> EngineInfo {
    EngineInfo {
        sequence_tokens_max: 4096,
        context_tokens: 4096,
        weights_bytes: 0,
        cache_bytes: 0,
        chat_template: template.map(str::to_owned),
        bos_text: bos.to_owned(),
        eos_text: String::new(),
        control_texts: controls.iter().map(|text| (*text).to_owned()).collect(),
        architecture: "llama".to_owned(),
        placement: Vec::new(),
        vocabulary_size: 300,
    }
}

/// Bytes are tokens; control tokens are negative. Like llama.cpp, it reads control tokens if told to.
fn tokenize(text: &str, special: bool, begin: bool) -> Result<Vec<Token>, Error> {
    let mut tokens = if begin { vec![-100] } else { Vec::new() };
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let control = CONTROLS.iter().position(|control| special && rest.starts_with(control));
        let length = match control {
            Some(index) => {
                tokens.push(-1 - i32::try_from(index).unwrap());
                CONTROLS[index].len()
            }
            None => {
                let length = rest.chars().next().unwrap().len_utf8();
                tokens.extend(rest.as_bytes()[..length].iter().map(|&byte| Token::from(byte)));
                let _ = first;
                length
            }
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Tokens as text, control tokens in guillemets: `«|im_end|»`.
fn show(tokens: &[Token]) -> String {
    let mut bytes = Vec::new();
    for &token in tokens {
        match token {
            -100 => bytes.extend_from_slice("«begin»".as_bytes()),
            control if control < 0 => {
                let name = CONTROLS[usize::try_from(-1 - control).unwrap()];
                bytes.extend_from_slice(format!("«{}»", &name[1..name.len() - 1]).as_bytes());
            }
            byte => bytes.push(u8::try_from(byte).unwrap()),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn prompt(template: Option<&str>, request: &ChatRequest) -> Result<String, Error> {
    let chat = Chat::new(&info(template, &CONTROLS, "<|begin_of_text|>"));
    chat.tokens(request, MOMENT, &tokenize).map(|tokens| show(&tokens))
}

fn request(messages: Vec<Message>) -> ChatRequest {
    ChatRequest {
        model: "m".to_owned(),
        messages,
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        parallel_tool_calls: true,
        response_format: ResponseFormat::Text,
        sampling: Sampling::default(),
        stream: false,
        include_usage: false,
        user: None,
    }
}

fn weather() -> Tool {
    Tool {
        name: "get_weather".to_owned(),
        description: Some("Current weather".to_owned()),
        parameters: Some(json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})),
        strict: false,
    }
}

fn time_of_day() -> Tool {
    Tool { name: "get_time".to_owned(), description: None, parameters: None, strict: false }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

fn calls(calls: Vec<ToolCall>) -> Message {
    Message { tool_calls: calls, content: Vec::new(), ..Message::text(Role::Assistant, "") }
}

fn result(id: &str, text: &str) -> Message {
    Message { tool_call_id: Some(id.to_owned()), ..Message::text(Role::Tool, text) }
}

fn envelope() -> Envelope {
    Envelope {
        request_id: "req".to_owned(),
        share: Share { key: Arc::from("t"), weight: 100 },
        cache_salt: String::new(),
        adapter: None,
        deadline: Instant::now() + Duration::from_secs(60),
        seed: 7,
        moment_unix_s: MOMENT,
    }
}
