//! Whether a model will fit this machine's memory, said before it is downloaded.
//!
//! Pure: the memory is handed in.

use serde::Serialize;

use super::{CatalogueFile, Entry, Purpose, entries};
use crate::disk::human;

/// Tokens of KV cache that an estimate counts with.
pub const CONTEXT_TOKENS_DEFAULT: u64 = 8192;
/// Fewer tokens than this are not worth serving.
const CONTEXT_TOKENS_MIN: u64 = 2048;
/// Buffers of the engine beside weights and cache: a fixed part and a share of the weights.
const OVERHEAD_BYTES: u64 = 256 << 20;
const OVERHEAD_SHARE: u64 = 32;

/// The answer to "will it fit".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Yes, only with a short context, or no.
    pub verdict: Verdict,
    /// The conversion that was looked at.
    pub quantization: String,
    /// What it needs with `context_tokens`, in bytes.
    pub needed_bytes: u64,
    /// What there is, in bytes.
    pub available_bytes: u64,
    /// Tokens of KV cache that are counted in.
    pub context_tokens: u64,
    /// The same for a person, in one or two sentences.
    pub explanation: String,
}

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It fits with the usual context.
    Fits,
    /// It fits with a shorter context.
    FitsShortContext,
    /// It does not fit.
    TooLarge,
}

/// Memory for weights, the cache of `context_tokens` and the engine's buffers, in bytes.
pub fn needed_bytes(weights_bytes: u64, kv_bytes_per_token: u64, context_tokens: u64) -> u64 {
    weights_bytes
        .saturating_add(kv_bytes_per_token.saturating_mul(context_tokens))
        .saturating_add(OVERHEAD_BYTES)
        .saturating_add(weights_bytes / OVERHEAD_SHARE)
}

/// Whether the usual conversion of `entry` fits.
pub fn fits(entry: &Entry, memory_available_bytes: u64) -> Fit {
    match entry.files.first() {
        Some(file) => fits_file(entry, file, memory_available_bytes),
        None => Fit {
            verdict: Verdict::TooLarge,
            quantization: String::new(),
            needed_bytes: 0,
            available_bytes: memory_available_bytes,
            context_tokens: 0,
            explanation: format!("The catalogue knows no file of {}.", entry.title),
        },
    }
}

/// Whether one conversion of `entry` fits.
pub fn fits_file(entry: &Entry, file: &CatalogueFile, memory_available_bytes: u64) -> Fit {
    let usual = CONTEXT_TOKENS_DEFAULT.min(entry.context_tokens);
    let verdict = verdict(entry, file, memory_available_bytes);
    let context_tokens = match verdict {
        Verdict::FitsShortContext => longest_context(entry, file, memory_available_bytes).min(usual),
        Verdict::Fits | Verdict::TooLarge => usual,
    };
    let needed_bytes = needed_bytes(file.bytes, entry.kv_bytes_per_token, context_tokens);
    Fit {
        verdict,
        quantization: file.quantization.clone(),
        needed_bytes,
        available_bytes: memory_available_bytes,
        context_tokens,
        explanation: explain(entry, file, verdict, needed_bytes, memory_available_bytes, context_tokens),
    }
}

fn verdict(entry: &Entry, file: &CatalogueFile, available: u64) -> Verdict {
    let with = |tokens: u64| needed_bytes(file.bytes, entry.kv_bytes_per_token, tokens.min(entry.context_tokens));
    if with(CONTEXT_TOKENS_DEFAULT) <= available {
        Verdict::Fits
    } else if with(CONTEXT_TOKENS_MIN) <= available {
        Verdict::FitsShortContext
    } else {
        Verdict::TooLarge
    }
}

fn longest_context(entry: &Entry, file: &CatalogueFile, available: u64) -> u64 {
    let left = available.saturating_sub(needed_bytes(file.bytes, entry.kv_bytes_per_token, 0));
    left.checked_div(entry.kv_bytes_per_token).unwrap_or(entry.context_tokens)
}

fn explain(entry: &Entry, file: &CatalogueFile, verdict: Verdict, needed: u64, available: u64, context: u64) -> String {
    let about = if file.exact { "" } else { "about " };
    let facts = format!(
        "{} {} is a download of {about}{} and needs about {} of memory with a context of {context} tokens; {} are available here.",
        entry.title,
        file.quantization,
        human(file.bytes),
        human(needed),
        human(available),
    );
    let conclusion = match verdict {
        Verdict::Fits => "It fits.".to_owned(),
        Verdict::FitsShortContext => "It fits, but not with a longer context.".to_owned(),
        Verdict::TooLarge => match alternative(entry, available) {
            Some((name, quantization)) => format!("It does not fit. `{name}:{quantization}` would."),
            None => "It does not fit.".to_owned(),
        },
    };
    format!("{facts} {conclusion}")
}

/// The largest conversion that fits: of the same model, else of another one for the same purpose.
fn alternative(entry: &Entry, available: u64) -> Option<(&'static str, &'static str)> {
    let best = |is_candidate: &dyn Fn(&Entry) -> bool| {
        entries()
            .iter()
            .filter(|other| is_candidate(other) && other.source.is_some())
            .flat_map(|other| other.files.iter().map(move |file| (other, file)))
            .filter(|(other, file)| verdict(other, file, available) == Verdict::Fits)
            .max_by_key(|(other, file)| (other.parameters, file.bytes))
            .map(|(other, file)| (other.name.as_str(), file.quantization.as_str()))
    };
    let purpose: Purpose = entry.purpose;
    best(&|other| other.name == entry.name).or_else(|| best(&|other| other.purpose == purpose))
}
