//! Engines with the starter model, and short ways to ask them.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use freehold_dialects::canonical::{FinishReason, TokenLogprob, Usage};
use freehold_domain::Error;
use freehold_inference::engine::{Engine, GenerateRequest, Generation, GenerationEvent, LlamaEngine, SamplingParams, Share, Token};
use freehold_inference::order::ServeOrder;

/// The starter model's file.
pub fn starter() -> PathBuf {
    let path = std::env::var_os("FREEHOLD_STARTER_GGUF").map_or_else(
        || {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/starter");
            folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is missing: run make starter first", path.display());
    path
}

/// An order for one thread, so that tests do not wait for each other's threads.
pub fn order(context_tokens: u32, sequences_max: u32, queue_max: u32) -> ServeOrder {
    ServeOrder {
        model_name: "starter".to_owned(),
        model_path: starter(),
        socket: PathBuf::new(),
        adapters: Vec::new(),
        context_tokens: Some(context_tokens),
        sequences_max,
        queue_max,
        threads: Some(1),
        memory_max_bytes: None,
        gpu_layers: None,
        deadline_ms: 600_000,
        log_prompts: false,
    }
}

/// An engine of the test's own.
pub fn start(context_tokens: u32, sequences_max: u32, queue_max: u32) -> LlamaEngine {
    LlamaEngine::start(&order(context_tokens, sequences_max, queue_max)).expect("the starter model loads")
}

/// The engine that most tests share, one test at a time.
pub fn shared() -> (&'static LlamaEngine, MutexGuard<'static, ()>) {
    static ENGINE: OnceLock<LlamaEngine> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (ENGINE.get_or_init(|| start(2048, 8, 64)), turn)
}

/// A question in the model's chat format.
pub fn prompt(engine: &LlamaEngine, question: &str) -> Vec<Token> {
    let text = format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
    engine.tokenize(&text, true, true).expect("plain text")
}

/// So many tokens of text.
pub fn filler(engine: &LlamaEngine, tokens: usize) -> Vec<Token> {
    let text = "The quick brown fox jumps over the lazy dog and runs away. ".repeat(tokens / 8 + 1);
    let mut all = engine.tokenize(&text, false, false).expect("plain text");
    all.truncate(tokens);
    assert_eq!(all.len(), tokens);
    all
}

/// Takes the likeliest token always.
pub fn greedy() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        repetition_penalty: 1.0,
        seed: 0,
        logit_bias: Vec::new(),
    }
}

/// A greedy request under a salt, which is also its share.
pub fn request(salt: &str, prompt: Vec<Token>, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        request_id: salt.to_owned(),
        share: Share { key: salt.into(), weight: 100 },
        cache_salt: salt.to_owned(),
        prompt,
        adapter: None,
        sampling: greedy(),
        max_tokens: Some(max_tokens),
        stop: Vec::new(),
        constraint: None,
        n: 1,
        logprobs: None,
        deadline: Instant::now() + Duration::from_secs(600),
        show_special: false,
    }
}

/// A whole answer.
#[derive(Debug, Default)]
pub struct Answer {
    pub texts: Vec<String>,
    pub reasons: Vec<Option<FinishReason>>,
    pub logprobs: Vec<TokenLogprob>,
    pub usage: Usage,
}

impl Answer {
    /// The text of the only choice.
    pub fn text(&self) -> &str {
        assert_eq!(self.texts.len(), 1);
        &self.texts[0]
    }
}

impl Answer {
    /// The text of the only choice, or nothing if it has none.
    pub fn text_or_empty(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }
}

/// Waits for the end of an answer.
pub fn collect(mut generation: Generation) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    while let Some(event) = generation.events.blocking_recv() {
        match event {
            GenerationEvent::Text { choice, text, logprobs, .. } => {
                choice_of(&mut answer, choice).push_str(&text);
                answer.logprobs.extend(logprobs);
            }
            GenerationEvent::Finish { choice, reason } => {
                choice_of(&mut answer, choice);
                let before = answer.reasons[choice as usize].replace(reason);
                assert_eq!(before, None, "an answer finishes once");
            }
            GenerationEvent::Done(usage) => {
                answer.usage = usage;
                assert!(generation.events.blocking_recv().is_none(), "nothing follows");
                assert!(answer.reasons.iter().all(Option::is_some));
                return Ok(answer);
            }
            GenerationEvent::Failed(error) => {
                assert!(generation.events.blocking_recv().is_none(), "nothing follows");
                return Err(error);
            }
        }
    }
    panic!("the events ended without Done or Failed");
}

fn choice_of(answer: &mut Answer, choice: u32) -> &mut String {
    let needed = choice as usize + 1;
    if answer.texts.len() < needed {
        answer.texts.resize(needed, String::new());
        answer.reasons.resize(needed, None);
    }
    &mut answer.texts[choice as usize]
}

/// Asks and waits.
pub fn ask(engine: &LlamaEngine, request: GenerateRequest) -> Answer {
    collect(engine.generate(request).expect("accepted")).expect("answered")
}

/// Waits until something holds; gives up after a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}
