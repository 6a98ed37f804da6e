//! Meta's Llama API, as the official SDK `llama-api-client` 0.6 speaks it: chat completions, models, moderations.
//!
//! The dialect has one choice, no log-probabilities and no seed: what it cannot express is left out when written.
//!
//! **Invariant:** for what the dialect can express, canonical to wire to canonical is the identity.

pub mod chat;
pub mod error;
mod message;
mod metrics;
pub mod models;
pub mod moderations;
