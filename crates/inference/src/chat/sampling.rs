//! How tokens are chosen when the request leaves it open.
//!
//! | field | default | why |
//! |---|---|---|
//! | `temperature` | 1 | OpenAI's default |
//! | `top_p` | 1 | OpenAI's default |
//! | `top_k`, `min_p` | 0 | keep all tokens |
//! | penalties | 0, 0 and 1 | do nothing |
//! | `seed` | handed in, fresh for each request | answers differ unless a seed is given |

use freehold_dialects::canonical::Sampling;
use freehold_domain::Error;

use crate::engine::SamplingParams;

/// Every field final.
///
/// # Errors
/// A token id in `logit_bias` that no model has.
pub fn params(sampling: &Sampling, fresh_seed: u64) -> Result<SamplingParams, Error> {
    let mut logit_bias = Vec::with_capacity(sampling.logit_bias.len());
    for (&token, &bias) in &sampling.logit_bias {
        let token = i32::try_from(token).map_err(|_| Error::invalid("logit_bias", format!("There is no token {token}.")))?;
        logit_bias.push((token, bias));
    }
    Ok(SamplingParams {
        temperature: sampling.temperature.unwrap_or(1.0),
        top_p: sampling.top_p.unwrap_or(1.0),
        top_k: sampling.top_k.unwrap_or(0),
        min_p: sampling.min_p.unwrap_or(0.0),
        presence_penalty: sampling.presence_penalty.unwrap_or(0.0),
        frequency_penalty: sampling.frequency_penalty.unwrap_or(0.0),
        repetition_penalty: sampling.repetition_penalty.unwrap_or(1.0),
        seed: sampling.seed.unwrap_or(fresh_seed),
        logit_bias,
    })
}
