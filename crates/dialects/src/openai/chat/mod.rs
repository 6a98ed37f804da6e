//! Chat completions: `POST /v1/chat/completions`.
//!
//! Request and answer in both directions, whole and as a stream.

mod answer;
mod decoder;
mod encoder;
mod request;

pub use answer::{decode_answer, encode_answer};
pub use decoder::StreamDecoder;
pub use encoder::StreamEncoder;
pub use request::{decode_request, decode_worker_request, encode_request};

/// What stands before an answer's id.
const ID_PREFIX: &str = "chatcmpl-";
