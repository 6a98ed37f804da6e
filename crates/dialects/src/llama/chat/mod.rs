//! Chat completions: `POST /chat/completions`.
//!
//! Request and answer in both directions, whole and as a stream.

mod answer;
mod decoder;
mod encoder;
mod request;

pub use answer::{decode_answer, encode_answer};
pub use decoder::StreamDecoder;
pub use encoder::StreamEncoder;
pub use request::{decode_request, encode_request};

use crate::canonical::FinishReason;

fn stop_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
    }
}

fn stop_of_word(word: &str) -> FinishReason {
    match word {
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
