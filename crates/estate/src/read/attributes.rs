//! The bounded set of scalar attributes that a declaration keeps.
//!
//! **Invariant:** a literal that looks like a secret is never kept, whatever the notation.

use std::collections::BTreeMap;

use super::facts::{ATTRIBUTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::resource::Value;

/// Bytes of an expression that is kept as [`Value::Unknown`]; a longer one is cut and can no longer be evaluated.
pub(crate) const UNKNOWN_BYTES_MAX: usize = 1024;

/// Mark at the end of an expression that was cut.
pub(crate) const CUT: char = '…';

/// Adds an attribute unless there are too many, it is already there or it looks like a secret. The first value of a
/// repeated block stands.
pub(crate) fn put(attributes: &mut BTreeMap<String, Value>, key: &str, value: Value) {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || attributes.len() >= ATTRIBUTES_MAX {
        return;
    }
    if let Value::Text(text) = &value
        && is_secret(key, text)
    {
        return;
    }
    if !attributes.contains_key(key) {
        attributes.insert(key.to_owned(), value);
    }
}

/// A known value, cut to the limit.
pub(crate) fn text(value: &str) -> Value {
    Value::Text(cut(value, VALUE_BYTES_MAX).to_owned())
}

/// An unknown value with its expression, cut to the limit.
pub(crate) fn unknown(expression: &str) -> Value {
    if expression.len() <= UNKNOWN_BYTES_MAX {
        return Value::Unknown(expression.to_owned());
    }
    Value::Unknown(format!("{}{CUT}", cut(expression, UNKNOWN_BYTES_MAX)))
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const SECRET_ENDINGS: [&str; 14] = [
    "password",
    "passwd",
    "secret",
    "secret_key",
    "secretkey",
    "secret_string",
    "secretstring",
    "access_key",
    "accesskey",
    "private_key",
    "privatekey",
    "api_key",
    "auth_token",
    "connection_string",
];

/// Whether a literal under this key may be a secret. Flags (`manage_password = true`) and identifiers of secrets
/// (`arn:`, paths) are not.
fn is_secret(key: &str, value: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).as_bytes();
    let ends = |ending: &str| last.len() >= ending.len() && last[last.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes());
    // Cheap first look: every ending has one of these as its last letter.
    if !matches!(last.last(), Some(b'd' | b'D' | b't' | b'T' | b'y' | b'Y' | b'g' | b'G' | b'n' | b'N')) {
        return false;
    }
    SECRET_ENDINGS.iter().any(|ending| ends(ending))
        && !matches!(value, "true" | "false" | "")
        && !value.starts_with("arn:")
        && !value.starts_with('[')
        && !value.starts_with("{{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_dropped_and_flags_kept() {
        let mut attributes = BTreeMap::new();
        put(&mut attributes, "master_password", text("hunter2"));
        put(&mut attributes, "manage_master_user_password", text("true"));
        put(&mut attributes, "Properties.ClientSecret", text("x"));
        put(&mut attributes, "http_tokens", text("required"));
        assert_eq!(attributes.into_keys().collect::<Vec<_>>(), ["http_tokens", "manage_master_user_password"]);
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
