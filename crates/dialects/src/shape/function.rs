//! Functions that a model may call: their definitions, the choice among them, and the calls.

use std::collections::HashSet;

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use super::body::{Fields, as_string, missing, not_one_of, quoted, unsupported, wrong_type};
use crate::canonical::{Tool, ToolCall, ToolChoice};

/// Most functions of one request.
pub(crate) const TOOLS_MAX: usize = 128;
/// Most calls of one message.
pub(crate) const CALLS_MAX: usize = 128;
/// Longest name of a function or a schema.
const NAME_CHARS_MAX: usize = 64;

/// Checks a name: 1 to 64 of `[a-zA-Z0-9_-]`.
pub(crate) fn check_name(name: &str, path: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let message = format!("`{path}` must be 1 to {NAME_CHARS_MAX} letters, digits, `_` or `-`, but is `{}`.", quoted(name));
    Err(Error::invalid(path, message))
}

/// Reads `tools`, each as `{"type": "function", "function": {…}}`.
pub(crate) fn decode_tools(fields: &mut Fields) -> Result<Vec<Tool>, Error> {
    let path = fields.path("tools");
    let items = fields.array("tools", TOOLS_MAX)?.unwrap_or_default();
    let tools: Vec<Tool> =
        items.into_iter().enumerate().map(|(index, item)| tool(item, format!("{path}[{index}]"))).collect::<Result<_, _>>()?;
    check_distinct(&tools, |index| format!("{path}[{index}].function.name"))?;
    Ok(tools)
}

fn tool(value: Value, path: String) -> Result<Tool, Error> {
    let mut fields = Fields::of(value, path)?;
    check_function_type(&mut fields)?;
    let mut function = fields.object("function")?.ok_or_else(|| missing(&fields.path("function")))?;
    let tool = decode_function(&mut function)?;
    function.finish()?;
    fields.finish()?;
    Ok(tool)
}

/// A tool's `type` must be `function`.
pub(crate) fn check_function_type(fields: &mut Fields) -> Result<(), Error> {
    let kind = fields.require_string("type")?;
    if kind == "function" {
        return Ok(());
    }
    let path = fields.path("type");
    Err(unsupported(&path, format!("Tools of type `{}` are not supported here: use `function`.", quoted(&kind))))
}

/// Reads the definition of one function; the caller finishes the fields.
pub(crate) fn decode_function(fields: &mut Fields) -> Result<Tool, Error> {
    let name = fields.require_string("name")?;
    check_name(&name, &fields.path("name"))?;
    let description = fields.string("description")?;
    let parameters = fields.take("parameters");
    if let Some(other) = parameters.as_ref().filter(|value| !value.is_object()) {
        return Err(wrong_type(&fields.path("parameters"), "a JSON Schema (an object)", other));
    }
    let strict = fields.boolean("strict")?.unwrap_or(false);
    Ok(Tool { name, description, parameters, strict })
}

/// Every function has a name of its own.
pub(crate) fn check_distinct(tools: &[Tool], path: impl Fn(usize) -> String) -> Result<(), Error> {
    let mut names = HashSet::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        if !names.insert(tool.name.as_str()) {
            return Err(Error::invalid(path(index), format!("Two tools are named `{}`: every name must be used once.", tool.name)));
        }
    }
    Ok(())
}

/// Reads `tool_choice`, a named function as `{"type": "function", "function": {"name": …}}`.
pub(crate) fn decode_choice(fields: &mut Fields, tools: &[Tool]) -> Result<ToolChoice, Error> {
    let path = fields.path("tool_choice");
    let choice = match fields.take("tool_choice") {
        None => ToolChoice::Auto,
        Some(Value::String(word)) => choice_word(&word, &path)?,
        Some(value @ Value::Object(_)) => {
            let mut choice = Fields::of(value, path.as_str())?;
            check_function_type(&mut choice)?;
            let mut function = choice.object("function")?.ok_or_else(|| missing(&choice.path("function")))?;
            let name = function.require_string("name")?;
            function.finish()?;
            choice.finish()?;
            ToolChoice::Function(name)
        }
        Some(other) => return Err(wrong_type(&path, "a string or an object", &other)),
    };
    check_choice(&choice, tools, &path)?;
    Ok(choice)
}

/// A choice that is one word.
pub(crate) fn choice_word(word: &str, path: &str) -> Result<ToolChoice, Error> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(not_one_of(path, other, &["auto", "none", "required"])),
    }
}

/// What must be called must be among the tools.
pub(crate) fn check_choice(choice: &ToolChoice, tools: &[Tool], path: &str) -> Result<(), Error> {
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(Error::invalid(path, format!("`{path}` is `required`, but the request has no `tools`.")))
        }
        ToolChoice::Function(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Error::invalid(path, format!("`{path}` names `{}`, which is not among the `tools`.", quoted(name))))
        }
        _ => Ok(()),
    }
}

/// Reads the `tool_calls` of a message.
pub(crate) fn decode_calls(fields: &mut Fields) -> Result<Vec<ToolCall>, Error> {
    let path = fields.path("tool_calls");
    let items = fields.array("tool_calls", CALLS_MAX)?.unwrap_or_default();
    items.into_iter().enumerate().map(|(index, item)| call(item, format!("{path}[{index}]"))).collect()
}

fn call(value: Value, path: String) -> Result<ToolCall, Error> {
    let mut fields = Fields::of(value, path)?;
    let id = fields.require_string("id")?;
    fields.word("type", &["function"])?;
    fields.ignore(&["index"]);
    let mut function = fields.object("function")?.ok_or_else(|| missing(&fields.path("function")))?;
    let name = as_string(function.require("name")?, &function.path("name"))?;
    check_name(&name, &function.path("name"))?;
    let arguments = function.require_string("arguments")?;
    function.finish()?;
    fields.finish()?;
    Ok(ToolCall { id, name, arguments })
}

/// The definition of a function.
pub(crate) fn encode_function(tool: &Tool) -> Map<String, Value> {
    let mut function = Map::new();
    function.insert("name".into(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".into(), json!(description));
    }
    if let Some(parameters) = &tool.parameters {
        function.insert("parameters".into(), parameters.clone());
    }
    if tool.strict {
        function.insert("strict".into(), json!(true));
    }
    function
}

/// Writes `tools` and a `tool_choice` that is not the default.
pub(crate) fn encode_tools(tools: &[Tool], choice: &ToolChoice, body: &mut Map<String, Value>) {
    if !tools.is_empty() {
        let tools = tools.iter().map(|tool| json!({"type": "function", "function": encode_function(tool)})).collect();
        body.insert("tools".into(), Value::Array(tools));
    }
    let choice = match choice {
        ToolChoice::Auto => return,
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "function": {"name": name}}),
    };
    body.insert("tool_choice".into(), choice);
}
