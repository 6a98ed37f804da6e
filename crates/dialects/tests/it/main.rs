//! Tests of the wire formats.

mod arbitrary;
mod golden;
mod hostile;
mod llama;
mod mutations;
mod openai_chat;
mod openai_completions;
mod sse;
