//! The account of tokens.

use serde::{Deserialize, Serialize};

use crate::canonical::Usage;
use crate::shape::write;

#[derive(Serialize, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u32>,
    #[serde(default)]
    total_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Details>,
}

#[derive(Serialize, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl WireUsage {
    /// The account of a request that has no answer in tokens.
    pub(super) fn of_prompt(prompt_tokens: u32) -> Self {
        Self { prompt_tokens, completion_tokens: None, total_tokens: prompt_tokens, prompt_tokens_details: None }
    }
}

/// The end of a chunk, from what stands before its account on.
pub(super) fn running_tail(before: &[u8], usage: &Usage) -> Vec<u8> {
    let mut tail = before.to_vec();
    write::json(&mut tail, &WireUsage::from(usage));
    tail.extend_from_slice(b"}\n\n");
    tail
}

impl From<&Usage> for WireUsage {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: Some(usage.completion_tokens),
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            prompt_tokens_details: Some(Details { cached_tokens: Some(usage.cached_tokens) }),
        }
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens.unwrap_or(0),
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
        }
    }
}
