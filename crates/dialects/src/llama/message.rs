//! Messages of a conversation.

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::canonical::{ContentPart, Message, Role};
use crate::shape::body::{Fields, missing, not_one_of};
use crate::shape::content::{self, Parts};
use crate::shape::function::decode_calls;

/// Most messages of one request.
const MESSAGES_MAX: usize = 16_384;

/// Reads `messages`.
pub(super) fn decode_all(fields: &mut Fields) -> Result<Vec<Message>, Error> {
    let items = fields.array("messages", MESSAGES_MAX)?.ok_or_else(|| missing("messages"))?;
    if items.is_empty() {
        return Err(Error::invalid("messages", "`messages` must have at least one message."));
    }
    items.into_iter().enumerate().map(|(index, item)| decode(item, format!("messages[{index}]"))).collect()
}

fn decode(value: Value, path: String) -> Result<Message, Error> {
    let mut fields = Fields::of(value, path)?;
    let role = match fields.require_string("role")?.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => return Err(not_one_of(&fields.path("role"), other, &["system", "user", "assistant", "tool"])),
    };
    let path = fields.path("content");
    let content = fields.take("content");
    let (mut tool_calls, mut tool_call_id) = (Vec::new(), None);
    let content = match role {
        Role::Assistant => {
            tool_calls = decode_calls(&mut fields)?;
            fields.word("stop_reason", &["stop", "tool_calls", "length"])?;
            content.map(|value| assistant_content(value, &path)).transpose()?.unwrap_or_default()
        }
        Role::Tool => {
            tool_call_id = Some(fields.require_string("tool_call_id")?);
            content.map(|value| content::decode(value, &path, Parts::Text)).transpose()?.unwrap_or_default()
        }
        Role::System => content.map(|value| content::decode(value, &path, Parts::Text)).transpose()?.unwrap_or_default(),
        Role::User => content.map(|value| content::decode(value, &path, Parts::TextAndImage)).transpose()?.unwrap_or_default(),
    };
    fields.finish()?;
    if content.is_empty() && tool_calls.is_empty() {
        return Err(Error::invalid(&path, format!("`{path}` is required and must not be an empty array.")));
    }
    Ok(Message { role, content, tool_calls, tool_call_id, name: None })
}

/// What the assistant said: a string, or one text item that stands alone.
fn assistant_content(value: Value, path: &str) -> Result<Vec<ContentPart>, Error> {
    if !value.is_object() {
        return content::decode(value, path, Parts::Text);
    }
    let mut fields = Fields::of(value, path)?;
    fields.word("type", &["text"])?;
    let text = fields.require_string("text")?;
    fields.finish()?;
    Ok(vec![ContentPart::Text(text)])
}

pub(super) fn encode(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut fields = Map::new();
    fields.insert("role".into(), json!(role));
    if !message.content.is_empty() {
        fields.insert("content".into(), content::encode(&message.content));
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter();
        let calls = calls.map(|call| json!({"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}));
        fields.insert("tool_calls".into(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        fields.insert("tool_call_id".into(), json!(id));
    }
    Value::Object(fields)
}
