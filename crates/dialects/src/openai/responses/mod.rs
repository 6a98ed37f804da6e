//! Responses: `POST /v1/responses`, text and function calls.
//!
//! The service keeps no answers: what would need an earlier one is refused, and `store` is reported as false.
//! An answer repeats much of its request; [`Echo`] carries that from the one to the other.

mod answer;
mod encoder;
mod input;
mod request;

pub use answer::{Echo, encode_answer};
pub use encoder::StreamEncoder;
pub use request::decode_request;
