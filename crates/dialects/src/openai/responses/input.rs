//! The items of `input`: messages, calls and their results; and those of a stored turn.

use freehold_domain::Error;
use serde_json::{Value, json};

use crate::canonical::{ContentPart, Message, Role, ToolCall};
use crate::shape::body::{Fields, not_one_of, quoted, unsupported, wrong_type};
use crate::shape::function::{CALLS_MAX, check_name};

/// Most items of one input, and most parts of one item.
const ITEMS_MAX: usize = 16_384;

/// Reads `input`: a string, or items. With `keep`, the items too, as they came.
pub(super) fn decode(fields: &mut Fields, keep: bool) -> Result<(Vec<Message>, Vec<Value>), Error> {
    let items = match fields.require("input")? {
        Value::String(text) => {
            let kept = if keep { vec![json!({"role": "user", "content": text})] } else { Vec::new() };
            return Ok((vec![Message::text(Role::User, text)], kept));
        }
        Value::Array(items) if items.is_empty() => return Err(Error::invalid("input", "`input` must not be empty.")),
        Value::Array(items) if items.len() <= ITEMS_MAX => items,
        Value::Array(items) => {
            return Err(Error::invalid("input", format!("`input` must have at most {ITEMS_MAX} items, but has {}.", items.len())));
        }
        other => return Err(wrong_type("input", "a string or an array of items", &other)),
    };
    let kept = if keep { items.clone() } else { Vec::new() };
    let mut messages = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        decode_item(item, format!("input[{index}]"), &mut messages)?;
    }
    if messages.is_empty() {
        return Err(Error::invalid("input", "`input` must have at least one message."));
    }
    Ok((messages, kept))
}

/// Reads a stored turn, its input and its output, behind the messages before it.
///
/// # Errors
/// `internal`: what is stored is not what was written.
pub fn decode_turn(input: &str, output: &str, messages: &mut Vec<Message>) -> Result<(), Error> {
    for (name, text) in [("input", input), ("output", output)] {
        let items: Vec<Value> = serde_json::from_str(text).map_err(|fault| Error::internal(format!("a stored {name}: {fault}")))?;
        for (index, item) in items.into_iter().enumerate() {
            let decoded = decode_item(item, format!("{name}[{index}]"), messages);
            decoded.map_err(|error| Error::internal(format!("a stored {name}: {error}")))?;
        }
    }
    Ok(())
}

fn decode_item(item: Value, path: String, messages: &mut Vec<Message>) -> Result<(), Error> {
    let mut fields = Fields::of(item, path)?;
    let kind = fields.string("type")?;
    fields.ignore(&["id", "status"]);
    match kind.as_deref().unwrap_or("message") {
        "message" => messages.push(message(&mut fields)?),
        "function_call" => add_call(call(&mut fields)?, &fields, messages)?,
        "function_call_output" => messages.push(call_output(&mut fields)?),
        // Thoughts of a model elsewhere: these models have no use for them.
        "reasoning" => return Ok(()),
        "item_reference" => {
            return Err(unsupported(
                &fields.path("type"),
                "Items cannot be referred to: send the item itself, or its response as `previous_response_id`.",
            ));
        }
        other => return Err(unsupported(&fields.path("type"), format!("Items of type `{}` are not supported here.", quoted(other)))),
    }
    fields.finish()
}

fn message(fields: &mut Fields) -> Result<Message, Error> {
    let role = match fields.require_string("role")?.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => return Err(not_one_of(&fields.path("role"), other, &["system", "developer", "user", "assistant"])),
    };
    fields.ignore(&["phase"]);
    let path = fields.path("content");
    let content = decode_content(fields.require("content")?, &path, role == Role::User)?;
    if content.is_empty() {
        return Err(Error::invalid(&path, format!("`{path}` must not be an empty array.")));
    }
    Ok(Message { content, ..Message::text(role, "") })
}

fn decode_content(value: Value, path: &str, images: bool) -> Result<Vec<ContentPart>, Error> {
    match value {
        Value::String(text) => Ok(vec![ContentPart::Text(text)]),
        Value::Array(items) if items.len() <= ITEMS_MAX => {
            items.into_iter().enumerate().map(|(index, item)| part(item, format!("{path}[{index}]"), images)).collect()
        }
        other => Err(wrong_type(path, "a string or an array of parts", &other)),
    }
}

fn part(item: Value, path: String, images: bool) -> Result<ContentPart, Error> {
    let mut fields = Fields::of(item, path)?;
    let kind = fields.require_string("type")?;
    fields.ignore(&["prompt_cache_breakpoint"]);
    let part = match kind.as_str() {
        "input_text" | "output_text" | "text" => {
            fields.ignore(&["annotations", "logprobs"]);
            ContentPart::Text(fields.require_string("text")?)
        }
        "refusal" => ContentPart::Text(fields.require_string("refusal")?),
        "input_image" if images => {
            fields.refuse("file_id", "Send the picture as `image_url`.")?;
            fields.ignore(&["detail"]);
            ContentPart::ImageUrl(fields.require_string("image_url")?)
        }
        "input_file" | "input_audio" => {
            return Err(unsupported(&fields.path("type"), format!("Parts of type `{kind}` are not supported here: send text.")));
        }
        other => return Err(not_one_of(&fields.path("type"), other, &["input_text", "output_text", "input_image"])),
    };
    fields.finish()?;
    Ok(part)
}

fn call(fields: &mut Fields) -> Result<ToolCall, Error> {
    let id = fields.require_string("call_id")?;
    let name = fields.require_string("name")?;
    check_name(&name, &fields.path("name"))?;
    let arguments = fields.require_string("arguments")?;
    fields.ignore(&["caller"]);
    Ok(ToolCall { id, name, arguments })
}

/// Calls belong to the assistant's turn that they follow.
fn add_call(call: ToolCall, fields: &Fields, messages: &mut Vec<Message>) -> Result<(), Error> {
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => {
            if last.tool_calls.len() >= CALLS_MAX {
                return Err(Error::invalid(fields.path("type"), format!("A turn must have at most {CALLS_MAX} calls.")));
            }
            last.tool_calls.push(call);
        }
        _ => messages.push(Message { content: Vec::new(), tool_calls: vec![call], ..Message::text(Role::Assistant, "") }),
    }
    Ok(())
}

fn call_output(fields: &mut Fields) -> Result<Message, Error> {
    let id = fields.require_string("call_id")?;
    let path = fields.path("output");
    let content = decode_content(fields.require("output")?, &path, false)?;
    fields.ignore(&["caller", "name"]);
    Ok(Message { content, tool_call_id: Some(id), ..Message::text(Role::Tool, "") })
}
