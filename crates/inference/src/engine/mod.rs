//! The engine: tokens in, tokens out, for many requests at once.
//!
//! [`Engine`] is what the worker's HTTP side sees. Its one implementation drives llama.cpp from a single thread
//! that owns the context; requests and answers cross to it over channels. The engine knows tokens, text, shares and
//! salts; it does not know messages, tools, HTTP or tenants' names beyond an opaque share key.
//!
//! **Invariant:** dropping the [`Generation`] ends the work within one step and frees what it held.

mod answers;
mod constraint;
mod driver;
mod embed;
mod gate;
mod llama;
mod load;
pub(crate) mod native;
mod sampler;
mod schedule;
mod text;
#[cfg(tiles)]
mod tiles;

use std::sync::Arc;
use std::time::Instant;

use freehold_dialects::canonical::{FinishReason, TokenLogprob, Usage};
use freehold_domain::Error;
use tokio::sync::{mpsc, oneshot};

pub use llama::LlamaEngine;
pub use load::{LoadError, devices};
pub use native::backend;

/// Environment that a worker process should be started with, unless its variables are set already; the threads'
/// runtime reads it before `main`.
///
/// llama.cpp's threads meet some hundred times for each token. Spinning for long at each meeting is no faster on a
/// quiet machine, and on a busy one it takes the time that the thread waited for would need: 16 tokens took 18 s by
/// default and 1 to 2 s with little spinning, on two cores beside ten compilers. Not spinning at all halves the speed
/// of one answer on a quiet machine. Buffers in huge pages are sooner made: a model is loaded in two thirds of the time.
pub const PROCESS_ENVIRONMENT: &[(&str, &str)] = &[("GOMP_SPINCOUNT", "10000"), ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")];

/// What the engine's thread will answer; closed without an answer only if the engine fails.
pub type Later<T> = oneshot::Receiver<Result<T, Error>>;

/// A token of the model's vocabulary.
pub type Token = i32;

/// A model that is loaded and can be asked.
pub trait Engine: Send + Sync {
    /// Facts about the loaded model.
    fn info(&self) -> &EngineInfo;

    /// Text to tokens. `special` reads control tokens (`<|im_start|>`) as such; the beginning-of-text token is
    /// added only if `begin` is set and the model wants one.
    ///
    /// # Errors
    /// The text holds what the tokenizer cannot take.
    fn tokenize(&self, text: &str, special: bool, begin: bool) -> Result<Vec<Token>, Error>;

    /// Queues a request. A constraint is compiled on the calling thread: milliseconds, and some tenths of a second
    /// for the first one after the start, so an asynchronous caller hands such requests to a blocking thread.
    ///
    /// # Errors
    /// `rate_limited` when the queue is full, `context_length_exceeded` naming both numbers, `invalid_request`,
    /// `model_not_found` for an adapter that is not loaded.
    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error>;

    /// Turns texts into vectors of length 1. Resolves when all are done.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    fn embed(&self, request: EmbedRequest) -> Result<Later<Vec<Vec<f32>>>, Error>;

    /// Loads a LoRA adapter under a name. Replaces nothing: a name in use is a conflict.
    ///
    /// # Errors
    /// The file cannot be read or does not fit the model.
    fn load_adapter(&self, name: &str, path: &std::path::Path) -> Result<Later<()>, Error>;

    /// Unloads an adapter once no request uses it; its cached prefixes go with it.
    ///
    /// # Errors
    /// `not_found`.
    fn unload_adapter(&self, name: &str) -> Result<Later<()>, Error>;

    /// Names of the adapters that are loaded.
    fn adapters(&self) -> Vec<String>;

    /// What is going on now, for metrics.
    fn stats(&self) -> EngineStats;
}

/// Facts about a loaded model.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// Longest prompt and answer of one sequence.
    pub sequence_tokens_max: u32,
    /// Tokens of KV cache for all sequences together.
    pub context_tokens: u32,
    /// Bytes of the weights.
    pub weights_bytes: u64,
    /// Bytes of the KV cache.
    pub cache_bytes: u64,
    /// The chat template of the file, if it has one.
    pub chat_template: Option<String>,
    /// Text of the beginning-of-text token, as templates want it.
    pub bos_text: String,
    /// Text of the end-of-text token.
    pub eos_text: String,
    /// Texts of all control tokens (`<|im_end|>`, `<|python_tag|>`): what a message must not smuggle in.
    pub control_texts: Vec<String>,
    /// The file's `general.architecture`.
    pub architecture: String,
    /// Where the layers are.
    pub placement: Vec<crate::order::Placement>,
    /// Size of the vocabulary.
    pub vocabulary_size: u32,
}

/// A request with everything resolved.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// For logs.
    pub request_id: String,
    /// Whose turn it is: requests of one key share what that key gets.
    pub share: Share,
    /// Cached prefixes are found only under the same salt (and adapter).
    pub cache_salt: String,
    /// The prompt; not empty.
    pub prompt: Vec<Token>,
    /// The adapter to use.
    pub adapter: Option<String>,
    /// How tokens are chosen. Every field is final.
    pub sampling: SamplingParams,
    /// Most tokens of each answer; `None`: as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Each answer ends before any of these.
    pub stop: Vec<String>,
    /// What each answer must look like.
    pub constraint: Option<Constraint>,
    /// How many answers; at least 1.
    pub n: u32,
    /// Report log-probabilities and so many alternatives.
    pub logprobs: Option<u8>,
    /// Answers after this moment are `deadline_exceeded`.
    pub deadline: Instant,
    /// Show control tokens (such as `<|python_tag|>`) as text, for the tool parser.
    pub show_special: bool,
}

/// A share of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Opaque: who.
    pub key: Arc<str>,
    /// How much, against others: 1 to 1000, usually 100.
    pub weight: u32,
}

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the likeliest token always.
    pub temperature: f32,
    /// 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// 0 keeps all.
    pub min_p: f32,
    /// 0 does nothing.
    pub presence_penalty: f32,
    /// 0 does nothing.
    pub frequency_penalty: f32,
    /// 1 does nothing.
    pub repetition_penalty: f32,
    /// The seed of the first answer; answer `i` uses `seed + i`.
    pub seed: u64,
    /// Added to logits.
    pub logit_bias: Vec<(Token, f32)>,
}

/// What an answer must look like, in the notation of the grammar engine (llguidance).
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// A JSON Schema.
    JsonSchema(serde_json::Value),
    /// A Lark grammar.
    Lark(String),
}

/// A request that is being answered. Dropping it ends the work.
#[derive(Debug)]
pub struct Generation {
    /// What happens, in order; closed after `Done` or `Failed`.
    pub events: mpsc::UnboundedReceiver<GenerationEvent>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationEvent {
    /// Text of an answer, never cut inside a character, never a part of a stop string.
    Text {
        /// Which answer.
        choice: u32,
        /// May be empty when only log-probabilities are carried.
        text: String,
        /// One entry a token, if asked for.
        logprobs: Vec<TokenLogprob>,
        /// What the request has used so far.
        usage: Usage,
    },
    /// An answer is complete: `Stop` or `Length`.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        reason: FinishReason,
    },
    /// Every answer is complete.
    Done(Usage),
    /// The request failed; nothing follows.
    Failed(Error),
}

/// Texts to be turned into vectors.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// For logs.
    pub request_id: String,
    /// Whose turn it is.
    pub share: Share,
    /// One vector each.
    pub inputs: Vec<Vec<Token>>,
    /// Answers after this moment are `deadline_exceeded`.
    pub deadline: Instant,
}

/// Gauges and counters since the start.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// Requests being computed.
    pub requests_running: u32,
    /// Requests in the queue.
    pub requests_waiting: u32,
    /// KV cells in use, as a share of all: 0 to 1.
    pub cache_usage: f64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Those that were found.
    pub prefix_hits: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Sequences that gave way and were computed again later.
    pub preemptions: u64,
    /// Steps of the engine.
    pub steps: u64,
}
