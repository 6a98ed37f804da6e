//! The request, read.

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use super::answer::Echo;
use super::{input, stored};
use crate::canonical::{ChatRequest, Message, ResponseFormat, Role, Tool, ToolChoice};
use crate::openai::sampling::{self, TOP_LOGPROBS_MAX};
use crate::shape::body::{self, Fields, as_string, not_one_of, unsupported, wrong_type};
use crate::shape::format::decode_schema;
use crate::shape::function::{self, TOOLS_MAX};

/// Fields of the API that make no difference to what this service answers.
const IGNORED: &[&str] = &[
    "access_programs",
    "background_options",
    "image",
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
];
const LOGPROBS: &str = "message.output_text.logprobs";
const METADATA_MAX: usize = 16;
/// Characters of a key, and of a value.
const METADATA_KEY_MAX: usize = 64;
const METADATA_VALUE_MAX: usize = 512;
const INCLUDES_MAX: usize = 32;
/// Longest id of a response that is looked for, in characters.
const ID_CHARS_MAX: usize = 128;

/// A client's request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The conversation to be continued, as far as it is in the request itself.
    pub request: ChatRequest,
    /// What the answer is to repeat.
    pub echo: Echo,
    /// Whether to store the answer; `None`: if there is room.
    pub store: Option<bool>,
    /// The response that it goes on from.
    pub previous: Option<String>,
    /// The items of `input`, if they may be stored.
    items: Vec<Value>,
}

impl Asked {
    /// Puts the conversation so far before the input, and behind the instructions of this request.
    pub fn follow(&mut self, so_far: Vec<Message>) {
        let place = usize::from(self.echo.has_instructions());
        self.request.messages.splice(place..place, so_far);
    }

    /// The items of `input` as they are stored: each with an id, its content in parts. `answer` is the id of the answer.
    pub fn stored_items(&mut self, answer: &str) -> Vec<Value> {
        stored::normalize(std::mem::take(&mut self.items), answer)
    }
}

/// Reads a client's request.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_parameter` or `unsupported_feature`, with the path of the field.
pub fn decode_request(bytes: &[u8]) -> Result<Asked, Error> {
    let mut fields = body::parse(bytes)?;
    let model = sampling::decode_model(&mut fields)?;
    refuse(&mut fields)?;
    fields.ignore(IGNORED);
    let store = fields.boolean("store")?;
    let previous = fields.short_string("previous_response_id", ID_CHARS_MAX)?;
    let (mut messages, items) = input::decode(&mut fields, store != Some(false))?;
    let instructions = fields.string("instructions")?;
    if let Some(text) = &instructions {
        messages.insert(0, Message::text(Role::System, text.as_str()));
    }
    let tools = decode_tools(&mut fields)?;
    let tool_choice = decode_choice(&mut fields, &tools)?;
    let parallel_tool_calls = fields.boolean("parallel_tool_calls")?.unwrap_or(true);
    let response_format = decode_text(&mut fields)?;
    let mut sampling = sampling::decode_core(&mut fields)?;
    sampling.max_tokens = fields.count("max_output_tokens", 1, u32::MAX)?;
    sampling.logprobs = decode_logprobs(&mut fields)?;
    let (stream, _) = sampling::decode_stream(&mut fields)?;
    let user = sampling::decode_user(&mut fields)?;
    let metadata = decode_metadata(&mut fields)?;
    fields.finish()?;
    let request = ChatRequest {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        sampling,
        stream,
        include_usage: true,
        user,
    };
    let echo = Echo::new(&request, instructions, metadata, previous.as_deref());
    Ok(Asked { request, echo, store, previous, items })
}

fn refuse(fields: &mut Fields) -> Result<(), Error> {
    fields.refuse("conversation", "Go on from an earlier response with `previous_response_id`.")?;
    if fields.boolean("background")? == Some(true) {
        return Err(unsupported("background", "Answers in the background are not supported here: use `stream`."));
    }
    fields.refuse("prompt", "There are no stored prompts: send the text as `instructions` and `input`.")?;
    fields.refuse("moderation", "Judge the answer with a guard model in a request of its own.")?;
    fields.refuse("context_management", "Shorten the conversation before it is sent.")?;
    if fields.word("truncation", &["auto", "disabled"])?.is_some_and(|word| word == "auto") {
        return Err(unsupported("truncation", "Nothing is left out silently here: shorten the conversation before it is sent."));
    }
    Ok(())
}

fn decode_tools(fields: &mut Fields) -> Result<Vec<Tool>, Error> {
    let items = fields.array("tools", TOOLS_MAX)?.unwrap_or_default();
    let mut tools = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut tool = Fields::of(item, format!("tools[{index}]"))?;
        function::check_function_type(&mut tool)?;
        tool.ignore(&["allowed_callers", "async", "defer_loading", "output_schema"]);
        tools.push(function::decode_function(&mut tool)?);
        tool.finish()?;
    }
    function::check_distinct(&tools, |index| format!("tools[{index}].name"))?;
    Ok(tools)
}

fn decode_choice(fields: &mut Fields, tools: &[Tool]) -> Result<ToolChoice, Error> {
    let choice = match fields.take("tool_choice") {
        None => ToolChoice::Auto,
        Some(Value::String(word)) => function::choice_word(&word, "tool_choice")?,
        Some(value @ Value::Object(_)) => {
            let mut choice = Fields::of(value, "tool_choice")?;
            function::check_function_type(&mut choice)?;
            let name = choice.require_string("name")?;
            choice.finish()?;
            ToolChoice::Function(name)
        }
        Some(other) => return Err(wrong_type("tool_choice", "a string or an object", &other)),
    };
    function::check_choice(&choice, tools, "tool_choice")?;
    Ok(choice)
}

fn decode_text(fields: &mut Fields) -> Result<ResponseFormat, Error> {
    let Some(mut text) = fields.object("text")? else { return Ok(ResponseFormat::Text) };
    if text.word("verbosity", &["low", "medium", "high"])?.is_some_and(|word| word != "medium") {
        let message = "`text.verbosity` can only be `medium` here: ask for shorter or longer answers in `instructions`.";
        return Err(unsupported("text.verbosity", message));
    }
    let format = text.object("format")?;
    text.finish()?;
    let Some(mut format) = format else { return Ok(ResponseFormat::Text) };
    let decoded = match format.require_string("type")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => {
            let named = decode_schema(&mut format)?;
            let strict = format.boolean("strict")?.unwrap_or(false);
            format.ignore(&["description"]);
            ResponseFormat::JsonSchema { name: named.name, schema: named.schema, strict }
        }
        other => return Err(not_one_of("text.format.type", other, &["text", "json_object", "json_schema"])),
    };
    format.finish()?;
    Ok(decoded)
}

fn decode_logprobs(fields: &mut Fields) -> Result<Option<u8>, Error> {
    let mut wanted = false;
    for (index, item) in fields.array("include", INCLUDES_MAX)?.unwrap_or_default().into_iter().enumerate() {
        // The others add details of tools that this service does not have.
        wanted |= as_string(item, &format!("include[{index}]"))? == LOGPROBS;
    }
    let top = fields.count("top_logprobs", 0, TOP_LOGPROBS_MAX)?;
    if !wanted && top.is_some_and(|top| top > 0) {
        return Err(Error::invalid("top_logprobs", format!("`top_logprobs` needs `include` to hold `{LOGPROBS}`.")));
    }
    Ok(wanted.then(|| u8::try_from(top.unwrap_or(0)).unwrap_or(0)))
}

fn decode_metadata(fields: &mut Fields) -> Result<Value, Error> {
    match fields.take("metadata") {
        None => Ok(json!({})),
        Some(Value::Object(map)) if map.len() <= METADATA_MAX && map.iter().all(|(key, value)| is_metadata(key, value)) => {
            Ok(Value::Object(map))
        }
        Some(_) => {
            let message = format!(
                "`metadata` must be an object with at most {METADATA_MAX} strings of up to {METADATA_VALUE_MAX} characters, and keys of up \
                 to {METADATA_KEY_MAX}."
            );
            Err(Error::invalid("metadata", message))
        }
    }
}

fn is_metadata(key: &str, value: &Value) -> bool {
    let is_short = |text: &str, max: usize| text.chars().count() <= max;
    is_short(key, METADATA_KEY_MAX) && value.as_str().is_some_and(|value| is_short(value, METADATA_VALUE_MAX))
}

/// A tool in the shape of this API: flat.
pub(super) fn encode_tool(tool: &Tool) -> Value {
    let mut flat = Map::new();
    flat.insert("type".into(), json!("function"));
    flat.insert("name".into(), json!(tool.name));
    flat.insert("description".into(), json!(tool.description));
    flat.insert("parameters".into(), json!(tool.parameters));
    flat.insert("strict".into(), json!(tool.strict));
    Value::Object(flat)
}
