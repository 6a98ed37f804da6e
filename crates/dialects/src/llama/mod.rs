//! Meta's Llama API.
