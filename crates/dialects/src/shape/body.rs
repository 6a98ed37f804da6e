//! Reading foreign JSON strictly: each field is asked for by name, and what nobody asked for is an error.
//!
//! Must not know any dialect. **Invariant:** an error names the field by its path from the body's root, and quotes
//! no more than a few dozen bytes of what the client sent.

use freehold_domain::{Error, ErrorCode};
use serde_json::{Map, Value};

/// Deepest nesting of arrays and objects that a body may have.
pub(crate) const DEPTH_MAX: usize = 64;
/// Longest name that is quoted back to a client, in characters.
const QUOTED_CHARS_MAX: usize = 64;

/// Reads a body as one JSON object.
pub(crate) fn parse(bytes: &[u8]) -> Result<Fields, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|fault| Error::new(ErrorCode::InvalidJson, format!("The body is not valid UTF-8 at byte {}.", fault.valid_up_to())))?;
    if text.trim_ascii().is_empty() {
        return Err(Error::new(ErrorCode::InvalidJson, "The body is empty: send a JSON object."));
    }
    if nested_deeper_than(bytes, DEPTH_MAX) {
        let message = format!("The body nests arrays or objects more than {DEPTH_MAX} deep.");
        return Err(Error::new(ErrorCode::InvalidJson, message));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|fault| Error::new(ErrorCode::InvalidJson, format!("The body is not valid JSON: {fault}.")))?;
    match value {
        Value::Object(map) => Ok(Fields { path: String::new(), map, asked: Vec::new() }),
        other => Err(Error::new(ErrorCode::InvalidRequest, format!("The body must be a JSON object, but is {}.", kind(&other)))),
    }
}

fn nested_deeper_than(bytes: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What a value is, for a sentence.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A client's word, cut to a length that is fit to be quoted.
pub(crate) fn quoted(text: &str) -> String {
    if text.chars().nth(QUOTED_CHARS_MAX).is_none() {
        return text.to_owned();
    }
    text.chars().take(QUOTED_CHARS_MAX).chain(['…']).collect()
}

/// A field of the wrong type.
pub(crate) fn wrong_type(path: &str, wanted: &str, value: &Value) -> Error {
    Error::invalid(path, format!("`{path}` must be {wanted}, but is {}.", kind(value)))
}

/// A field that must be there.
pub(crate) fn missing(path: &str) -> Error {
    Error::invalid(path, format!("`{path}` is required."))
}

/// A field that the dialect has and this service does not.
pub(crate) fn unsupported(path: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorCode::UnsupportedFeature, message).with_param(path)
}

/// A value that is none of the words that are allowed.
pub(crate) fn not_one_of(path: &str, word: &str, allowed: &[&str]) -> Error {
    let list = allowed.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
    Error::invalid(path, format!("`{path}` must be one of {list}, but is `{}`.", quoted(word)))
}

/// A string, or an error that names the path.
pub(crate) fn as_string(value: Value, path: &str) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(path, "a string", &other)),
    }
}

/// Where a number may lie.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    min: f32,
    max: f32,
    open: bool,
}

impl Bounds {
    /// From `min` to `max`, both included.
    pub(crate) const fn closed(min: f32, max: f32) -> Self {
        Self { min, max, open: false }
    }

    /// Over `min`, up to `max`.
    pub(crate) const fn over(min: f32, max: f32) -> Self {
        Self { min, max, open: true }
    }

    /// The number, if it lies inside.
    pub(crate) fn check(self, value: &Value, path: &str) -> Result<f32, Error> {
        let number = value.as_f64().ok_or_else(|| wrong_type(path, "a number", value))?;
        #[expect(clippy::cast_possible_truncation, reason = "samplers compute in f32, and the bounds are checked after the rounding")]
        let rounded = number as f32;
        let above = if self.open { rounded > self.min } else { rounded >= self.min };
        if above && rounded <= self.max {
            return Ok(rounded);
        }
        let range =
            if self.open { format!("over {} and at most {}", self.min, self.max) } else { format!("from {} to {}", self.min, self.max) };
        Err(Error::invalid(path, format!("`{path}` must be {range}, but is {number}.")))
    }
}

/// The fields of one object, each to be asked for once.
pub(crate) struct Fields {
    path: String,
    map: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// The fields of a value that must be an object.
    pub(crate) fn of(value: Value, path: impl Into<String>) -> Result<Self, Error> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map, asked: Vec::new() }),
            other => Err(wrong_type(&path, "an object", &other)),
        }
    }

    /// The path of a field of this object.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The field; `null` counts as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.swap_remove(name).filter(|value| !value.is_null())
    }

    /// The flag `name` of the object `object`, which stays for who reads it whole.
    pub(crate) fn has_flag(&self, object: &str, name: &str) -> bool {
        self.map.get(object).and_then(|object| object.get(name)?.as_bool()).unwrap_or(false)
    }

    /// The field, which must be there.
    pub(crate) fn require(&mut self, name: &'static str) -> Result<Value, Error> {
        self.take(name).ok_or_else(|| missing(&self.path(name)))
    }

    /// A string.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        self.take(name).map(|value| as_string(value, &self.path(name))).transpose()
    }

    /// A string that must be there.
    pub(crate) fn require_string(&mut self, name: &'static str) -> Result<String, Error> {
        as_string(self.require(name)?, &self.path(name))
    }

    /// A string of 1 to `chars_max` characters.
    pub(crate) fn short_string(&mut self, name: &'static str, chars_max: usize) -> Result<Option<String>, Error> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        let path = self.path(name);
        if text.is_empty() {
            return Err(Error::invalid(&path, format!("`{path}` must not be empty.")));
        }
        if text.len() > chars_max && text.chars().count() > chars_max {
            return Err(Error::invalid(&path, format!("`{path}` must have at most {chars_max} characters.")));
        }
        Ok(Some(text))
    }

    /// One of a few words.
    pub(crate) fn word(&mut self, name: &'static str, allowed: &[&str]) -> Result<Option<String>, Error> {
        let Some(word) = self.string(name)? else { return Ok(None) };
        if allowed.contains(&word.as_str()) { Ok(Some(word)) } else { Err(not_one_of(&self.path(name), &word, allowed)) }
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(&self.path(name), "true or false", &other)),
        }
    }

    /// A number within bounds.
    pub(crate) fn number(&mut self, name: &'static str, bounds: Bounds) -> Result<Option<f32>, Error> {
        self.take(name).map(|value| bounds.check(&value, &self.path(name))).transpose()
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn integer(&mut self, name: &'static str, min: i64, max: i64) -> Result<Option<i64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        match value.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            None if !value.is_u64() => Err(wrong_type(&path, "a whole number", &value)),
            _ => Err(Error::invalid(&path, format!("`{path}` must be from {min} to {max}, but is {value}."))),
        }
    }

    /// A whole number from `min` to `max`, as `u32`.
    pub(crate) fn count(&mut self, name: &'static str, min: u32, max: u32) -> Result<Option<u32>, Error> {
        let number = self.integer(name, i64::from(min), i64::from(max))?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// An array of at most `items_max` items.
    pub(crate) fn array(&mut self, name: &'static str, items_max: usize) -> Result<Option<Vec<Value>>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        match value {
            Value::Array(items) if items.len() <= items_max => Ok(Some(items)),
            Value::Array(items) => {
                Err(Error::invalid(&path, format!("`{path}` must have at most {items_max} items, but has {}.", items.len())))
            }
            other => Err(wrong_type(&path, "an array", &other)),
        }
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Fields>, Error> {
        self.take(name).map(|value| Fields::of(value, self.path(name))).transpose()
    }

    /// Fields that make no difference here.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.take(name);
        }
    }

    /// A field that would change the answer and cannot be honoured.
    pub(crate) fn refuse(&mut self, name: &'static str, hint: &str) -> Result<(), Error> {
        if self.take(name).is_none() {
            return Ok(());
        }
        let path = self.path(name);
        Err(unsupported(&path, format!("`{path}` is not supported here. {hint}")))
    }

    /// Ends the reading: whatever nobody asked for is an error.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Some(name) = self.map.keys().next() else { return Ok(()) };
        let name = quoted(name);
        let path = self.path(&name);
        let near = self.asked.iter().map(|known| (strsim::jaro_winkler(known, &name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match near {
            Some((likeness, known)) if likeness > 0.85 => format!(" Did you mean `{known}`?"),
            _ => String::new(),
        };
        let place = if self.path.is_empty() { "this request".to_owned() } else { format!("`{}`", self.path) };
        Err(Error::new(ErrorCode::UnknownParameter, format!("`{name}` is not a field of {place}.{hint}")).with_param(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_inside_strings_do_not_count_as_nesting() {
        assert!(!nested_deeper_than(br#"{"a":"[[[[\"[[[["}"#, 2));
        assert!(nested_deeper_than(b"[[[", 2));
    }

    #[test]
    fn an_unknown_field_is_named_with_its_neighbour() {
        let mut fields = parse(br#"{"temprature":1}"#).unwrap();
        fields.take("temperature");
        let error = fields.finish().unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownParameter);
        assert_eq!(error.message, "`temprature` is not a field of this request. Did you mean `temperature`?");
    }
}
