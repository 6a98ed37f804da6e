//! OpenAI's API: chat completions, completions, embeddings, models and responses.
//!
//! Also the protocol between the service and its workers, with the extra fields that vLLM has.
//!
//! **Invariant:** for what the dialect can express, canonical to wire to canonical is the identity.

pub mod chat;
mod chunk;
pub mod completions;
pub mod embeddings;
pub mod error;
mod logprobs;
mod message;
pub mod models;
mod prompt;
pub mod responses;
mod sampling;
mod usage;

pub use sampling::Extensions;
