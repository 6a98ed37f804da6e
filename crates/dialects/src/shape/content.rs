//! The content of a message: a string, or an array of typed parts.

use freehold_domain::Error;
use serde_json::{Value, json};

use super::body::{Fields, as_string, missing, not_one_of, unsupported, wrong_type};
use crate::canonical::ContentPart;

/// Most parts of one message.
const PARTS_MAX: usize = 4096;

/// What parts a message may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Text only.
    Text,
    /// Text and the refusals that a client sends back.
    TextAndRefusal,
    /// Text and pictures.
    TextAndImage,
}

impl Parts {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text"],
            Self::TextAndRefusal => &["text", "refusal"],
            Self::TextAndImage => &["text", "image_url"],
        }
    }
}

/// The parts of a content that is there.
pub(crate) fn decode(value: Value, path: &str, parts: Parts) -> Result<Vec<ContentPart>, Error> {
    match value {
        Value::String(text) => Ok(vec![ContentPart::Text(text)]),
        Value::Array(items) if items.len() > PARTS_MAX => {
            Err(Error::invalid(path, format!("`{path}` must have at most {PARTS_MAX} parts, but has {}.", items.len())))
        }
        Value::Array(items) => items.into_iter().enumerate().map(|(index, item)| part(item, format!("{path}[{index}]"), parts)).collect(),
        other => Err(wrong_type(path, "a string or an array of parts", &other)),
    }
}

fn part(value: Value, path: String, parts: Parts) -> Result<ContentPart, Error> {
    let mut fields = Fields::of(value, path)?;
    let kind = fields.require_string("type")?;
    fields.ignore(&["prompt_cache_breakpoint"]);
    let part = match kind.as_str() {
        "text" => ContentPart::Text(fields.require_string("text")?),
        "refusal" if parts == Parts::TextAndRefusal => ContentPart::Text(fields.require_string("refusal")?),
        "image_url" if parts == Parts::TextAndImage => {
            let mut image = fields.object("image_url")?.ok_or_else(|| missing(&fields.path("image_url")))?;
            let url = as_string(image.require("url")?, &image.path("url"))?;
            image.ignore(&["detail"]);
            image.finish()?;
            ContentPart::ImageUrl(url)
        }
        "input_audio" | "file" | "video_url" => {
            let path = fields.path("type");
            return Err(unsupported(&path, format!("Parts of type `{kind}` are not supported here: send text.")));
        }
        other => return Err(not_one_of(&fields.path("type"), other, parts.names())),
    };
    fields.finish()?;
    Ok(part)
}

/// A content as it is written: a lone text as a string, everything else as parts.
pub(crate) fn encode(parts: &[ContentPart]) -> Value {
    if let [ContentPart::Text(text)] = parts {
        return Value::String(text.clone());
    }
    let part = |part: &ContentPart| match part {
        ContentPart::Text(text) => json!({"type": "text", "text": text}),
        ContentPart::ImageUrl(url) => json!({"type": "image_url", "image_url": {"url": url}}),
    };
    Value::Array(parts.iter().map(part).collect())
}
