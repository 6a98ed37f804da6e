//! Responses: `POST /v1/responses`, text and function calls; and what is stored of them.
//!
//! An answer repeats much of its request; [`Echo`] carries that from the one to the other. What an answer that is stored
//! becomes is gathered by [`Gathering`], with the code that writes it as a stream. A stored turn is read back as messages by
//! [`decode_turn`].

mod answer;
mod encoder;
mod input;
mod request;
mod stored;

pub use answer::{Echo, encode_answer};
pub use encoder::{Gathering, StreamEncoder};
pub use input::decode_turn;
pub use request::{Asked, decode_request};
pub use stored::{ItemsRequest, encode_deleted, encode_items};
