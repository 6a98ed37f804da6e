//! From canonical messages to what a chat template reads.
//!
//! Templates differ in what they can show. What one cannot show is said in words it can: functions as an
//! instruction in the system message, calls and results as ordinary turns, the system message as the beginning of
//! the first user turn.
//!
//! **Invariant:** every string of the request leaves here neutralized, and none is dropped.

use freehold_dialects::canonical::{ChatRequest, ContentPart, Message, Role, Tool, ToolCall, ToolChoice};
use freehold_domain::{Error, ErrorCode};
use serde_json::{Map, Value, json};

use super::neutral::Neutralizer;
use super::python::json_line;
use super::template::Abilities;
use super::tools::instruction;

/// What a template is rendered from.
#[derive(Debug, PartialEq)]
pub struct Shown {
    /// The messages.
    pub messages: Value,
    /// The functions, or null.
    pub tools: Value,
}

/// All strings of a request that reach a prompt.
pub fn strings(request: &ChatRequest) -> Vec<&str> {
    let mut strings = Vec::new();
    for message in &request.messages {
        for part in &message.content {
            match part {
                ContentPart::Text(text) | ContentPart::ImageUrl(text) => strings.push(text.as_str()),
            }
        }
        for call in &message.tool_calls {
            strings.extend([call.id.as_str(), &call.name, &call.arguments]);
        }
        strings.extend(message.tool_call_id.as_deref());
        strings.extend(message.name.as_deref());
    }
    for tool in &request.tools {
        strings.extend([tool.name.as_str(), tool.description.as_deref().unwrap_or_default()]);
        if let Some(parameters) = &tool.parameters {
            strings_in(parameters, &mut strings);
        }
    }
    strings
}

fn strings_in<'v>(value: &'v Value, strings: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => strings.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings_in(item, strings)),
        Value::Object(members) => {
            for (name, member) in members {
                strings.push(name);
                strings_in(member, strings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One turn on its way into the template.
#[derive(Clone, Debug, Default)]
struct Turn {
    role: &'static str,
    content: String,
    calls: Vec<ToolCall>,
    call_id: Option<String>,
    name: Option<String>,
}

/// The conversation as a template with these abilities reads it. With `split_calls` a turn with several calls
/// becomes several turns with one call each, for templates that show only one.
///
/// # Errors
/// `unsupported_feature` for pictures.
pub fn shown(request: &ChatRequest, abilities: Abilities, neutral: &Neutralizer<'_>, split_calls: bool) -> Result<Shown, Error> {
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    for (index, message) in request.messages.iter().enumerate() {
        turns.push(turn(message, index, &turns)?);
    }
    let offered = offered(request);
    if !offered.is_empty() && !abilities.tools {
        instruct(&mut turns, &instruction::text(offered, &request.tool_choice, request.parallel_tool_calls));
    }
    if !abilities.tool_turns {
        turns = turns_in_words(turns);
    } else if split_calls {
        turns = turns_with_one_call(turns);
    }
    if !abilities.system {
        turns = turns_without_system(turns);
    }
    let tools = match abilities.tools && !offered.is_empty() {
        true => Value::Array(offered.iter().map(|tool| neutral.value(&tool_value(tool))).collect()),
        false => Value::Null,
    };
    Ok(Shown { messages: Value::Array(turns.iter().map(|turn| turn_value(turn, neutral)).collect()), tools })
}

/// The functions that the model learns of: with `tool_choice: none`, no function.
pub fn offered(request: &ChatRequest) -> &[Tool] {
    match request.tool_choice {
        ToolChoice::None => &[],
        ToolChoice::Auto | ToolChoice::Required | ToolChoice::Function(_) => &request.tools,
    }
}

/// Whether any turn holds more than one call.
pub fn has_parallel_calls(request: &ChatRequest) -> bool {
    request.messages.iter().any(|message| message.tool_calls.len() > 1)
}

fn turn(message: &Message, index: usize, before: &[Turn]) -> Result<Turn, Error> {
    let mut content = String::new();
    for (part_index, part) in message.content.iter().enumerate() {
        match part {
            ContentPart::Text(text) => {
                if part_index > 0 {
                    content.push('\n');
                }
                content.push_str(text);
            }
            ContentPart::ImageUrl(_) => {
                return Err(Error::new(ErrorCode::UnsupportedFeature, "This model reads text only. Remove the image from the message.")
                    .with_param(format!("messages[{index}].content[{part_index}]")));
            }
        }
    }
    let answered = |id: &String| before.iter().rev().flat_map(|turn| &turn.calls).find(|call| call.id == *id).map(|call| call.name.clone());
    let name = message.name.clone().or_else(|| message.tool_call_id.as_ref().and_then(answered));
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    Ok(Turn { role, content, calls: message.tool_calls.clone(), call_id: message.tool_call_id.clone(), name })
}

/// Adds a paragraph to the first system turn, or makes one.
fn instruct(turns: &mut Vec<Turn>, text: &str) {
    match turns.first_mut().filter(|turn| turn.role == "system") {
        Some(system) => append(&mut system.content, text),
        None => turns.insert(0, Turn { role: "system", content: text.to_owned(), ..Turn::default() }),
    }
}

fn append(content: &mut String, text: &str) {
    if !content.is_empty() && !text.is_empty() {
        content.push_str("\n\n");
    }
    content.push_str(text);
}

/// Calls as the text the model was told to write, results as a user's turn. Neighbouring results are one turn.
fn turns_in_words(turns: Vec<Turn>) -> Vec<Turn> {
    let mut said: Vec<Turn> = Vec::with_capacity(turns.len());
    let mut results_open = false;
    for mut turn in turns {
        let is_result = turn.role == "tool";
        if is_result {
            let text = instruction::result_text(turn.name.as_deref(), &turn.content);
            match said.last_mut().filter(|_| results_open) {
                Some(last) => append(&mut last.content, &text),
                None => said.push(Turn { role: "user", content: text, ..Turn::default() }),
            }
        } else {
            let calls: Vec<String> = std::mem::take(&mut turn.calls).iter().map(call_text).collect();
            append(&mut turn.content, &calls.join("\n"));
            said.push(turn);
        }
        results_open = is_result;
    }
    said
}

fn call_text(call: &ToolCall) -> String {
    json_line(&json!({ "name": call.name, "parameters": arguments_value(call) }))
}

/// `assistant(a, b), tool(a), tool(b)` becomes `assistant(a), tool(a), assistant(b), tool(b)`.
fn turns_with_one_call(turns: Vec<Turn>) -> Vec<Turn> {
    let mut split = Vec::with_capacity(turns.len());
    let mut turns = turns.into_iter().peekable();
    while let Some(mut turn) = turns.next() {
        if turn.calls.len() < 2 {
            split.push(turn);
            continue;
        }
        let mut results = Vec::new();
        while let Some(result) = turns.next_if(|next| next.role == "tool") {
            results.push(result);
        }
        for call in std::mem::take(&mut turn.calls) {
            let id = Some(call.id.clone());
            split.push(Turn { role: turn.role, content: std::mem::take(&mut turn.content), calls: vec![call], ..Turn::default() });
            let (own, others): (Vec<_>, Vec<_>) = results.into_iter().partition(|result| result.call_id == id);
            split.extend(own);
            results = others;
        }
        split.extend(results);
    }
    split
}

fn turns_without_system(turns: Vec<Turn>) -> Vec<Turn> {
    let mut kept = Vec::with_capacity(turns.len());
    let mut pending = String::new();
    for mut turn in turns {
        if turn.role == "system" {
            append(&mut pending, &turn.content);
            continue;
        }
        if turn.role == "user" && !pending.is_empty() {
            let mut content = std::mem::take(&mut pending);
            append(&mut content, &turn.content);
            turn.content = content;
        }
        kept.push(turn);
    }
    if !pending.is_empty() {
        kept.push(Turn { role: "user", content: pending, ..Turn::default() });
    }
    kept
}

fn turn_value(turn: &Turn, neutral: &Neutralizer<'_>) -> Value {
    let mut value = Map::new();
    value.insert("role".to_owned(), Value::String(turn.role.to_owned()));
    value.insert("content".to_owned(), Value::String(neutral.text(&turn.content)));
    if !turn.calls.is_empty() {
        let calls = turn.calls.iter().map(|call| {
            json!({
                "id": neutral.text(&call.id),
                "type": "function",
                "function": { "name": neutral.text(&call.name), "arguments": neutral.value(&arguments_value(call)) },
            })
        });
        value.insert("tool_calls".to_owned(), Value::Array(calls.collect()));
    }
    for (field, text) in [("tool_call_id", &turn.call_id), ("name", &turn.name)] {
        if let Some(text) = text {
            value.insert(field.to_owned(), Value::String(neutral.text(text)));
        }
    }
    Value::Object(value)
}

/// Arguments as a value, so that a template can write them its own way; text that is not JSON stays text.
fn arguments_value(call: &ToolCall) -> Value {
    match call.arguments.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(call.arguments.clone())),
    }
}

/// A function as templates expect it.
pub fn tool_value(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".to_owned(), Value::String(tool.name.clone()));
    if let Some(description) = &tool.description {
        function.insert("description".to_owned(), Value::String(description.clone()));
    }
    let parameters = tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    function.insert("parameters".to_owned(), parameters);
    json!({ "type": "function", "function": function })
}
