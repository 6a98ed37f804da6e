//! Messages of a conversation.

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::canonical::{Message, Role};
use crate::shape::body::{Fields, missing, not_one_of, unsupported};
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
    let role = decode_role(&mut fields)?;
    let name = fields.string("name")?;
    let mut tool_calls = Vec::new();
    let mut tool_call_id = None;
    let parts = match role {
        Role::User => Parts::TextAndImage,
        Role::Assistant => Parts::TextAndRefusal,
        Role::System | Role::Tool => Parts::Text,
    };
    let path = fields.path("content");
    let mut content = fields.take("content").map(|value| content::decode(value, &path, parts)).transpose()?;
    match role {
        Role::Assistant => {
            tool_calls = decode_calls(&mut fields)?;
            fields.refuse("function_call", "It is deprecated: use `tool_calls`.")?;
            fields.refuse("audio", "Send the text of the answer as `content`.")?;
            fields.ignore(&["annotations"]);
            if let Some(refusal) = fields.string("refusal")? {
                content.get_or_insert_default().push(crate::canonical::ContentPart::Text(refusal));
            }
        }
        Role::Tool => tool_call_id = Some(fields.require_string("tool_call_id")?),
        Role::System | Role::User => {}
    }
    fields.finish()?;
    let content = content.unwrap_or_default();
    if content.is_empty() && tool_calls.is_empty() {
        return Err(Error::invalid(&path, format!("`{path}` is required and must not be an empty array.")));
    }
    Ok(Message { role, content, tool_calls, tool_call_id, name })
}

fn decode_role(fields: &mut Fields) -> Result<Role, Error> {
    let role = fields.require_string("role")?;
    let path = fields.path("role");
    match role.as_str() {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        "function" => Err(unsupported(&path, "The role `function` is deprecated: use `tool` with a `tool_call_id`.")),
        other => Err(not_one_of(&path, other, &["system", "developer", "user", "assistant", "tool"])),
    }
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
    let content = if message.content.is_empty() { Value::Null } else { content::encode(&message.content) };
    fields.insert("content".into(), content);
    if let Some(name) = &message.name {
        fields.insert("name".into(), json!(name));
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter();
        let calls =
            calls.map(|call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}));
        fields.insert("tool_calls".into(), calls.collect());
    }
    if let Some(id) = &message.tool_call_id {
        fields.insert("tool_call_id".into(), json!(id));
    }
    Value::Object(fields)
}
