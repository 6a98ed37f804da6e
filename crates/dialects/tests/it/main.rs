//! Tests of the wire formats.

mod arbitrary;
mod openai_chat;
