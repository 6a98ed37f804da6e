//! How good and how fast a model file is on this machine.
//!
//! Perplexity on a built-in text (from the Declaration of Independence, 1776, and Lincoln's second inaugural address,
//! 1865), speed of 8 answers at once, speed of a prompt. Takes a few seconds for a small model.
//!
//! **Invariant:** the same text, the same tokens and the same computation for every file, so that figures of two
//! files of one model differ only by their weights.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TaskError;
use crate::engine::Token;
use crate::engine::native::{Batch, Context, ContextOptions, Model, ModelOptions};
use crate::order::Measurement;

const TEXT: &str = include_str!("../../text/english.txt");
/// Tokens whose likelihood is computed in one step.
const SCORED_ROWS: usize = 128;
const TEXT_TOKENS_MAX: usize = 1024;
/// The first tokens of a text say little about the model.
const UNSCORED_TOKENS: usize = 16;
const STREAMS: u32 = 8;
const STREAM_PROMPT_TOKENS: usize = 32;
const DECODE_STEPS: usize = 24;
/// Which of the steps, sorted by their time, counts: not the very first, which may be a fault of the clock.
const FAST_STEP: usize = 2;
const PROMPT_TOKENS: usize = 256;

/// Measures a file.
pub(super) fn measure(name: &str, path: &Path, threads: u32) -> Result<Measurement, TaskError> {
    let unreadable = |error| TaskError::File { action: "read", path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    let model = Model::load(path, &ModelOptions { gpu_layers: 0 }).ok_or_else(|| TaskError::Refused { path: path.to_owned() })?;
    let failed = |reason: String| TaskError::Measurement { path: path.to_owned(), reason };
    let mut bench = Bench::new(&model, threads).map_err(failed)?;
    let prompt_tokens_per_s = bench.prompt_speed().map_err(failed)?;
    let decode_tokens_per_s = bench.decode_speed().map_err(failed)?;
    let perplexity = bench.perplexity().map_err(failed)?;
    Ok(Measurement { name: name.to_owned(), path: path.to_owned(), bytes, perplexity, decode_tokens_per_s, prompt_tokens_per_s })
}

/// The kind of weights that a file says it has: llama.cpp's number in `general.file_type`.
pub(super) fn file_type(path: &Path) -> Result<(Option<u32>, u64), TaskError> {
    let model = Model::load(path, &ModelOptions { gpu_layers: 0 }).ok_or_else(|| TaskError::Refused { path: path.to_owned() })?;
    Ok((model.metadata("general.file_type").and_then(|text| text.parse().ok()), model.weights_bytes()))
}

struct Bench {
    context: Context,
    batch: Batch,
    text: Vec<Token>,
}

impl Bench {
    fn new(model: &Arc<Model>, threads: u32) -> Result<Self, String> {
        let mut text = Vec::new();
        if let (Some(begin), true) = model.begin_token() {
            text.push(begin);
        }
        model.tokenize(TEXT, false, &mut text).ok_or("its tokenizer fails")?;
        let trained = model.trained_context() as usize;
        text.truncate(TEXT_TOKENS_MAX.min(trained));
        if text.len() < PROMPT_TOKENS {
            return Err(format!("its context of {trained} tokens is too short"));
        }
        let options = ContextOptions {
            cells: u32::try_from(TEXT_TOKENS_MAX).unwrap_or(u32::MAX) + 256,
            batch_tokens_max: 512,
            outputs_max: u32::try_from(SCORED_ROWS).unwrap_or(u32::MAX),
            sequences: STREAMS,
            threads,
            embeddings: false,
        };
        let context = Context::new(model, &options).ok_or("no memory is left for its cache")?;
        Ok(Self { context, batch: Batch::default(), text })
    }

    fn compute(&mut self) -> Result<Duration, String> {
        let begun = Instant::now();
        self.context.compute(&mut self.batch).map_err(|error| error.to_string())?;
        // Reading a logit waits for the result where computing goes on behind the call.
        let rows = self.context.logits(0).is_some();
        let elapsed = begun.elapsed();
        if rows { Ok(elapsed) } else { Err("it gave no result".to_owned()) }
    }

    /// Tokens a second of a prompt, after a short one that brings the file into memory.
    fn prompt_speed(&mut self) -> Result<f64, String> {
        let mut elapsed = Duration::MAX;
        for length in [STREAM_PROMPT_TOKENS, PROMPT_TOKENS] {
            self.batch.clear();
            for (position, &token) in (0..).zip(&self.text[..length]) {
                self.batch.push(token, position, 0, position == 0);
            }
            elapsed = self.compute()?;
            self.context.clear(0);
        }
        Ok(per_second(PROMPT_TOKENS, elapsed))
    }

    /// Tokens a second of all streams together, by the fastest steps: what else the machine does makes steps slower,
    /// never faster.
    fn decode_speed(&mut self) -> Result<f64, String> {
        let prompt = self.text[..STREAM_PROMPT_TOKENS].to_vec();
        self.batch.clear();
        for sequence in 0..STREAMS {
            for (position, &token) in (0..).zip(&prompt) {
                self.batch.push(token, position, sequence, position == 0);
            }
        }
        self.compute()?;
        let mut steps = Vec::with_capacity(DECODE_STEPS);
        for position in (u32::try_from(STREAM_PROMPT_TOKENS).unwrap_or(0)..).take(DECODE_STEPS) {
            self.batch.clear();
            for sequence in 0..STREAMS {
                let token = self.text[(position as usize + sequence as usize * 16) % self.text.len()];
                self.batch.push(token, position, sequence, true);
            }
            steps.push(self.compute()?);
        }
        for sequence in 0..STREAMS {
            self.context.clear(sequence);
        }
        steps.sort_unstable();
        Ok(per_second(STREAMS as usize, steps[FAST_STEP]))
    }

    fn perplexity(&mut self) -> Result<f64, String> {
        let text = self.text.clone();
        let (mut sum, mut count) = (0.0, 0_u32);
        let places: Vec<usize> = (0..text.len() - 1).collect();
        for chunk in places.chunks(SCORED_ROWS) {
            self.batch.clear();
            for &place in chunk {
                self.batch.push(text[place], u32::try_from(place).unwrap_or(u32::MAX), 0, true);
            }
            self.compute()?;
            for (row, &place) in chunk.iter().enumerate().filter(|(_, place)| **place >= UNSCORED_TOKENS) {
                let logits = self.context.logits(row).ok_or("it gave no result")?;
                sum += surprise(logits, text[place + 1]).ok_or("its tokens are out of range")?;
                count += 1;
            }
        }
        self.context.clear(0);
        let perplexity = (sum / f64::from(count)).exp();
        if perplexity.is_finite() { Ok(perplexity) } else { Err("its answers are not numbers".to_owned()) }
    }
}

/// The negative logarithm of a token's probability.
fn surprise(logits: &[f32], token: Token) -> Option<f64> {
    let target = *logits.get(usize::try_from(token).ok()?)?;
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - max).exp())).sum();
    Some(sum.ln() - f64::from(target - max))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few hundred tokens")]
fn per_second(tokens: usize, elapsed: Duration) -> f64 {
    tokens as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
}
