//! A prompt, or several: text or tokens.

use freehold_domain::Error;
use serde_json::{Value, json};

use crate::canonical::Prompt;
use crate::shape::body::{Fields, wrong_type};

/// Most tokens of one prompt: more than any context that is served.
const TOKENS_MAX: usize = 1 << 24;

/// Reads a string, an array of token ids, or an array of either.
pub(super) fn decode(fields: &mut Fields, name: &'static str, prompts_max: usize) -> Result<Vec<Prompt>, Error> {
    match fields.require(name)? {
        Value::String(text) => Ok(vec![Prompt::Text(text)]),
        Value::Array(items) if items.is_empty() => Err(Error::invalid(name, format!("`{name}` must not be empty."))),
        Value::Array(items) if items[0].is_number() => Ok(vec![Prompt::Tokens(tokens(items, name)?)]),
        Value::Array(items) if items.len() > prompts_max => {
            Err(Error::invalid(name, format!("`{name}` must have at most {prompts_max} items, but has {}.", items.len())))
        }
        Value::Array(items) => items.into_iter().enumerate().map(|(index, item)| one(item, &format!("{name}[{index}]"))).collect(),
        other => Err(wrong_type(name, "a string or an array", &other)),
    }
}

fn one(value: Value, path: &str) -> Result<Prompt, Error> {
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(items) if items.is_empty() => Err(Error::invalid(path, format!("`{path}` must not be empty."))),
        Value::Array(items) => Ok(Prompt::Tokens(tokens(items, path)?)),
        other => Err(wrong_type(path, "a string or an array of token ids", &other)),
    }
}

fn tokens(items: Vec<Value>, path: &str) -> Result<Vec<u32>, Error> {
    if items.len() > TOKENS_MAX {
        return Err(Error::invalid(path, format!("`{path}` must have at most {TOKENS_MAX} tokens.")));
    }
    let token = |(index, item): (usize, &Value)| {
        let token = item.as_u64().and_then(|token| u32::try_from(token).ok());
        token.ok_or_else(|| wrong_type(&format!("{path}[{index}]"), "a token id (a whole number from 0)", item))
    };
    items.iter().enumerate().map(token).collect()
}

pub(super) fn encode(prompts: &[Prompt]) -> Value {
    let one = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => json!(text),
        Prompt::Tokens(tokens) => json!(tokens),
    };
    match prompts {
        [single] => one(single),
        several => Value::Array(several.iter().map(one).collect()),
    }
}
