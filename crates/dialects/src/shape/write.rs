//! Writing JSON straight into a buffer, for what is written once a token.
//!
//! **Invariant:** what is written is valid JSON, whatever the text or the number.

use std::io::Write as _;

use serde::Serialize;
use serde_json::{Number, Value};

/// What stands for a logarithm that JSON cannot hold.
const LOGPROB_MIN: f32 = -9999.0;

/// Appends a value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("plain data with string keys always becomes JSON in memory");
}

/// Appends a whole number.
pub(crate) fn integer(out: &mut Vec<u8>, number: u32) {
    write!(out, "{number}").expect("writing to memory does not fail");
}

/// A value as JSON.
pub(crate) fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json(&mut out, value);
    out
}

/// A number as its shortest decimal, so that 0.7 stays 0.7.
pub(crate) fn number(value: f32) -> Value {
    let shortest = value.to_string().parse::<f64>().ok().and_then(Number::from_f64);
    shortest.map_or(Value::Null, Value::Number)
}

/// A log-probability that JSON can hold.
pub(crate) fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { LOGPROB_MIN }
}
