//! Calls and answers that are enforced: grammars for the constraint engine.
//!
//! A call is enforced in the form that the model writes by itself, so that [`super::stream`] reads both alike.
//! JSON is enforced on one line with Python's separators: that is how models were trained to write calls, and a
//! model cannot then lose itself in white space.
//!
//! **Invariant:** a schema of a request is placed only inside `%json`, never into the grammar's own text.

use freehold_dialects::canonical::{ChatRequest, ResponseFormat, Tool, ToolChoice};
use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::chat::conversation::offered;
use crate::engine::Constraint;

/// Most calls in one enforced answer.
pub const CALLS_MAX: u32 = 16;

/// How a model writes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallForm {
    /// `{"name": …, "parameters": {…}}`, one a line.
    Llama,
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.
    Tagged,
}

impl CallForm {
    /// The form that a model with this chat template was trained on.
    pub fn of(template: Option<&str>) -> Self {
        if template.is_some_and(|source| source.contains("<tool_call>")) { Self::Tagged } else { Self::Llama }
    }
}

/// What the answer to a request must look like, if anything.
///
/// # Errors
/// `invalid_request` if `tool_choice` demands what `tools` does not offer.
pub fn constraint(request: &ChatRequest, form: CallForm) -> Result<Option<Constraint>, Error> {
    let tools = offered(request);
    let response = response_schema(&request.response_format);
    let named: Vec<&Tool>;
    match &request.tool_choice {
        ToolChoice::Function(name) => {
            named = tools.iter().filter(|tool| tool.name == *name).take(1).collect();
            if named.is_empty() {
                return Err(Error::invalid("tool_choice", format!("The function `{name}` is not among `tools`. Add it or name another.")));
            }
        }
        ToolChoice::Required if tools.is_empty() => {
            return Err(Error::invalid("tool_choice", "`tool_choice` is `required`, but `tools` is empty. Add a function."));
        }
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => named = tools.iter().collect(),
    }
    let must_call = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Function(_));
    if must_call {
        return Ok(Some(Constraint::Lark(lark(&named, form, request.parallel_tool_calls, "calls", None))));
    }
    match response {
        None if named.iter().any(|tool| tool.strict) => {
            let mut grammar = lark(&named, form, request.parallel_tool_calls, "calls | FREE |", None);
            // Text that the reader of calls cannot take for one.
            grammar.push_str("FREE: /[^{\\[<\\s](.|\\n)*/ & ~/(.|\\n)*<(tool_call|\\|python)(.|\\n)*/\n");
            Ok(Some(Constraint::Lark(grammar)))
        }
        None => Ok(None),
        Some(schema) if named.is_empty() => Ok(Some(Constraint::JsonSchema(schema))),
        Some(schema) => Ok(Some(Constraint::Lark(lark(&named, form, request.parallel_tool_calls, "calls | response", Some(schema))))),
    }
}

/// The schema of a format that is not plain text.
pub fn response_schema(format: &ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(on_one_line(&json!({ "type": "object" }), true)),
        ResponseFormat::JsonSchema { schema, strict, .. } => Some(on_one_line(schema, *strict)),
    }
}

/// The schema with our own options for the constraint engine; a request's are dropped.
fn on_one_line(schema: &Value, strict: bool) -> Value {
    let mut members = match schema {
        Value::Object(members) => members.clone(),
        Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    members.insert(
        "x-guidance".to_owned(),
        json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "lenient": !strict }),
    );
    Value::Object(members)
}

fn lark(tools: &[&Tool], form: CallForm, parallel: bool, start: &str, response: Option<Value>) -> String {
    let mut grammar = format!("start: {start}\n");
    let repeat = if parallel { format!(" (SEPARATOR call){{0,{}}}", CALLS_MAX - 1) } else { String::new() };
    let separator = match form {
        CallForm::Llama => "\"\\n\" | \"; \"",
        CallForm::Tagged => "\"\\n\"",
    };
    grammar.push_str(&format!("calls: call{repeat}\n"));
    if parallel {
        grammar.push_str(&format!("SEPARATOR: {separator}\n"));
    }
    let alternatives: Vec<String> = (0..tools.len()).map(|index| format!("call_{index}")).collect();
    grammar.push_str(&format!("call: {}\n", alternatives.join(" | ")));
    for (index, tool) in tools.iter().enumerate() {
        // One lexeme for each JSON token, so that a call and another object can begin alike.
        let quoted = |text: &str| Value::String(Value::String(text.to_owned()).to_string()).to_string();
        let name = quoted(&tool.name);
        let (open, arguments, close) = match form {
            CallForm::Llama => ("\"{\"", quoted("parameters"), "\"}\""),
            CallForm::Tagged => ("\"<tool_call>\\n\" \"{\"", quoted("arguments"), "\"}\" \"\\n</tool_call>\""),
        };
        let key = quoted("name");
        grammar.push_str(&format!("call_{index}: {open} {key} \": \" {name} \", \" {arguments} \": \" arguments_{index} {close}\n"));
        grammar.push_str(&format!("arguments_{index}: %json {}\n", arguments_schema(tool)));
    }
    if let Some(schema) = response {
        grammar.push_str(&format!("response: %json {schema}\n"));
    }
    grammar
}

/// The schema of a function's arguments, which are an object whatever the schema says.
fn arguments_schema(tool: &Tool) -> Value {
    let mut schema = tool.parameters.clone().filter(Value::is_object).unwrap_or_else(|| json!({ "properties": {} }));
    if let Value::Object(members) = &mut schema
        && !members.contains_key("$ref")
    {
        members.insert("type".to_owned(), json!("object"));
    }
    on_one_line(&schema, tool.strict)
}
