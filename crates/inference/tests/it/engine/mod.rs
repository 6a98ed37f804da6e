//! The engine with the real starter model.

mod adapters;
mod embeddings;
mod formats;
mod generation;
mod lora;
mod scheduling;
mod support;
