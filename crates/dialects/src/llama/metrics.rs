//! The account of tokens, as a list of metrics.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::canonical::Usage;

const PROMPT: &str = "num_prompt_tokens";
const COMPLETION: &str = "num_completion_tokens";
const TOTAL: &str = "num_total_tokens";
/// Not Meta's: the tokens of the prompt that were found in the prefix cache. Left out when there are none.
const CACHED: &str = "num_cached_prompt_tokens";

#[derive(Serialize, Deserialize)]
pub(super) struct Metric<'a> {
    #[serde(borrow)]
    metric: Cow<'a, str>,
    value: Number,
    #[serde(default, borrow)]
    unit: Option<Cow<'a, str>>,
}

pub(super) fn encode(usage: &Usage) -> Vec<Metric<'static>> {
    let total = u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens);
    let mut counts = vec![(COMPLETION, usage.completion_tokens.into()), (PROMPT, usage.prompt_tokens.into()), (TOTAL, total)];
    if usage.cached_tokens > 0 {
        counts.push((CACHED, usage.cached_tokens.into()));
    }
    let metric = |(name, count): (&'static str, u64)| Metric { metric: name.into(), value: count.into(), unit: Some("tokens".into()) };
    counts.into_iter().map(metric).collect()
}

pub(super) fn decode(metrics: &[Metric<'_>]) -> Usage {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and fractions of tokens do not exist")]
    let count =
        |name: &str| metrics.iter().find(|one| one.metric == name).and_then(|one| one.value.as_f64()).map_or(0, |value| value as u32);
    Usage { prompt_tokens: count(PROMPT), cached_tokens: count(CACHED), completion_tokens: count(COMPLETION) }
}
