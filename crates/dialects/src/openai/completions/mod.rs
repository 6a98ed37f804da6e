//! Completions without a chat template: `POST /v1/completions`.
//!
//! The answers to several prompts are the choices of one answer: prompt `p` has the choices `p * n` to `p * n + n - 1`.

mod answer;
mod logprobs;
mod request;
mod stream;

pub use answer::{decode_answer, encode_answer};
pub use request::{decode_request, decode_worker_request, encode_request};
pub use stream::{StreamDecoder, StreamEncoder};

/// What stands before an answer's id.
const ID_PREFIX: &str = "cmpl-";
