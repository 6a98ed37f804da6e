//! Log-probabilities in the older shape: parallel arrays.
//!
//! A token that is not UTF-8 is written as OpenAI writes it: `bytes:\xe2\x80`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::TokenLogprob;
use crate::shape::write::{finite, number};

const ESCAPED: &str = "bytes:";

#[derive(Serialize, Deserialize)]
pub(super) struct WireLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
    #[serde(default)]
    text_offset: Vec<usize>,
}

impl WireLogprobs {
    /// `None` where there is nothing to report. `offset` is where the first token begins in the choice's text, in
    /// characters, and is moved to where the next one will.
    pub(super) fn of(tokens: &[TokenLogprob], offset: &mut usize) -> Option<Self> {
        if tokens.is_empty() {
            return None;
        }
        let mut wire = Self { tokens: Vec::new(), token_logprobs: Vec::new(), top_logprobs: None, text_offset: Vec::new() };
        for token in tokens {
            wire.tokens.push(text_of(&token.bytes).into_owned());
            wire.token_logprobs.push(Some(finite(token.logprob)));
            wire.text_offset.push(*offset);
            *offset += String::from_utf8_lossy(&token.bytes).chars().count();
        }
        if tokens.iter().any(|token| !token.top.is_empty()) {
            wire.top_logprobs = Some(tokens.iter().map(|token| top(&token.top)).collect());
        }
        Some(wire)
    }

    /// The tokens. One without a probability (the first of an echoed prompt) has the probability 1.
    pub(super) fn into_tokens(self) -> Vec<TokenLogprob> {
        let mut tops = self.top_logprobs.unwrap_or_default().into_iter();
        let mut logprobs = self.token_logprobs.into_iter();
        let token = |text: String| TokenLogprob {
            bytes: bytes_of(text),
            logprob: logprobs.next().flatten().unwrap_or(0.0),
            top: tops.next().flatten().unwrap_or_default().into_iter().map(|(text, value)| (bytes_of(text), logprob(&value))).collect(),
        };
        self.tokens.into_iter().map(token).collect()
    }
}

fn top(tokens: &[(Vec<u8>, f32)]) -> Option<Map<String, Value>> {
    let entry = |(bytes, logprob): &(Vec<u8>, f32)| (text_of(bytes).into_owned(), number(finite(*logprob)));
    (!tokens.is_empty()).then(|| tokens.iter().map(entry).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "log-probabilities are f32 everywhere here")]
fn logprob(value: &Value) -> f32 {
    value.as_f64().unwrap_or(0.0) as f32
}

fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = ESCAPED.to_owned();
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("writing to memory does not fail");
    }
    Cow::Owned(text)
}

fn bytes_of(text: String) -> Vec<u8> {
    let escaped = |text: &str| -> Option<Vec<u8>> {
        let digits = text.strip_prefix(ESCAPED)?.strip_prefix("\\x")?;
        digits.split("\\x").map(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2)).collect()
    };
    escaped(&text).unwrap_or_else(|| text.into_bytes())
}
