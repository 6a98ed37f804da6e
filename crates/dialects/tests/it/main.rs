//! Tests of the wire formats.

mod arbitrary;
mod llama;
mod openai_chat;
mod openai_completions;
