//! Tests of the wire formats.

mod arbitrary;
mod openai_chat;
mod openai_completions;
