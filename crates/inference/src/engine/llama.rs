//! The handle of the engine: checks requests on the caller's thread and passes them to the engine's.
//!
//! **Invariant:** whatever can be refused is refused here, before it costs the engine's thread anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use freehold_domain::{Error, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::answers::Submission;
use super::constraint::Compiler;
use super::driver::{Command, Driver, State};
use super::embed::{self, Job};
use super::gate::{Figures, Gate};
use super::load::{BATCH_TOKENS_MAX, LoadError, Loaded, load};
use super::native::Model;
use super::schedule::{Limits, Scheduler};
use super::{EmbedRequest, Engine, EngineInfo, EngineStats, GenerateRequest, Generation, Later, Token};
use crate::order::ServeOrder;

/// Prompt tokens of a step while answers are running, for each share that has prompts. On two cores and the
/// starter model 0.1 to 0.2 s, the longest that running answers pause for one newcomer.
const BUSY_PROMPT_TOKENS_MAX: u32 = 128;

/// Most answers to one request.
const ANSWERS_MAX: u32 = 128;

/// Most inputs of one embedding request.
const INPUTS_MAX: usize = 2048;

/// Most adapters that are loaded at once.
const ADAPTERS_MAX: usize = 64;

/// The engine on llama.cpp. Dropping it ends its thread; requests under way fail with `unavailable`.
#[derive(Debug)]
pub struct LlamaEngine {
    info: EngineInfo,
    model: Arc<Model>,
    compiler: Compiler,
    commands: Option<mpsc::Sender<Command>>,
    figures: Arc<Figures>,
    gate: Arc<Gate>,
    adapters: Arc<Mutex<BTreeMap<String, AdapterState>>>,
    adapter_keys: AtomicU32,
    embedding_tokens_max: u32,
    fault: watch::Receiver<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdapterState {
    Loading,
    Ready(u32),
}

impl LlamaEngine {
    /// Loads the model of an order, with its adapters, and starts the engine's thread.
    ///
    /// # Errors
    /// The model or an adapter cannot be served; the message is for the operator.
    pub fn start(order: &ServeOrder) -> Result<Self, LoadError> {
        let Loaded { model, context, cells_start, info, sequences_max, slots, threads } = load(order)?;
        let figures = Arc::new(Figures::default());
        let limits = Limits {
            cells: info.context_tokens,
            cells_start,
            sequences_max,
            slots,
            batch_tokens_max: BATCH_TOKENS_MAX,
            busy_prompt_tokens_max: BUSY_PROMPT_TOKENS_MAX,
        };
        let embedding_tokens_max = info.sequence_tokens_max.min(embed::INPUT_TOKENS_MAX);
        let (sender, commands) = mpsc::channel();
        let mut driver = Driver {
            commands,
            context,
            scheduler: Scheduler::new(limits),
            figures: Arc::clone(&figures),
            sequence_tokens_max: info.sequence_tokens_max,
            embedding_tokens_max,
            threads,
            state: State::default(),
        };
        let (report, fault) = watch::channel(None);
        let work = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.run()));
            let fault = match result {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => fault,
                Err(_) => "the engine's thread panicked".to_owned(),
            };
            tracing::error!(fault, "the engine has failed");
            report.send_replace(Some(fault));
        };
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(work).map_err(LoadError::Thread)?;
        let engine = Self {
            gate: Gate::new(sequences_max, order.queue_max, Arc::clone(&figures)),
            info,
            model,
            compiler: Compiler::default(),
            commands: Some(sender),
            figures,
            adapters: Arc::default(),
            adapter_keys: AtomicU32::new(0),
            embedding_tokens_max,
            fault,
            thread: Some(thread),
        };
        for adapter in &order.adapters {
            let failed = |error: Error| LoadError::Adapter { name: adapter.name.clone(), reason: error.message };
            let loaded = engine.load_adapter(&adapter.name, &adapter.path).map_err(failed)?;
            loaded.blocking_recv().unwrap_or_else(|_| Err(unavailable())).map_err(failed)?;
        }
        Ok(engine)
    }

    /// Resolves when the engine has failed for good, with the reason; the process should then end. All requests
    /// have been told.
    pub async fn failed(&self) -> String {
        let mut fault = self.fault.clone();
        loop {
            if let Some(fault) = fault.borrow_and_update().clone() {
                return fault;
            }
            if fault.changed().await.is_err() {
                // The thread ended without a fault, which it does only when this handle is gone.
                std::future::pending::<()>().await;
            }
        }
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        if sent { Ok(()) } else { Err(unavailable()) }
    }

    fn adapter_states(&self) -> MutexGuard<'_, BTreeMap<String, AdapterState>> {
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adapter_key(&self, name: Option<&str>) -> Result<Option<u32>, Error> {
        let Some(name) = name else { return Ok(None) };
        match self.adapter_states().get(name) {
            Some(&AdapterState::Ready(key)) => Ok(Some(key)),
            _ => Err(Error::new(ErrorCode::ModelNotFound, format!("The adapter {name} is not loaded.")).with_param("model")),
        }
    }

    fn check_tokens(&self, tokens: &[Token], param: &str) -> Result<(), Error> {
        let size = self.info.vocabulary_size;
        match tokens.iter().find(|&&token| u32::try_from(token).map_or(true, |token| token >= size)) {
            Some(token) => Err(Error::invalid(param, format!("The token {token} does not exist; the model has {size}."))),
            None if tokens.is_empty() => Err(Error::invalid(param, "The text is empty: send at least one token.")),
            None => Ok(()),
        }
    }

    fn check(&self, request: &GenerateRequest) -> Result<(), Error> {
        self.check_tokens(&request.prompt, "prompt")?;
        let (tokens, max) = (request.prompt.len(), self.info.sequence_tokens_max);
        if tokens >= max as usize {
            let message = format!(
                "The prompt has {tokens} tokens, and the model's context of {max} tokens must hold it and at least one token of the answer. Shorten the prompt."
            );
            return Err(Error::new(ErrorCode::ContextLengthExceeded, message).with_param("messages"));
        }
        if request.n == 0 || request.n > ANSWERS_MAX {
            return Err(Error::invalid("n", format!("Ask for 1 to {ANSWERS_MAX} answers.")));
        }
        if request.max_tokens == Some(0) {
            return Err(Error::invalid("max_tokens", "Ask for at least one token."));
        }
        let sampling = &request.sampling;
        let numbers = [
            ("temperature", sampling.temperature, 0.0, 100.0),
            ("top_p", sampling.top_p, 0.0, 1.0),
            ("min_p", sampling.min_p, 0.0, 1.0),
            ("presence_penalty", sampling.presence_penalty, -100.0, 100.0),
            ("frequency_penalty", sampling.frequency_penalty, -100.0, 100.0),
            ("repetition_penalty", sampling.repetition_penalty, 0.01, 100.0),
        ];
        for (name, value, low, high) in numbers {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(name, format!("{name} is {value}; it must be from {low} to {high}.")));
            }
        }
        if let Some((token, _)) = sampling.logit_bias.iter().find(|(_, bias)| bias.is_nan()) {
            return Err(Error::invalid("logit_bias", format!("The bias of token {token} is not a number.")));
        }
        Ok(())
    }
}

fn unavailable() -> Error {
    Error::new(ErrorCode::Unavailable, "The model is being unloaded. Try again.")
}

impl Engine for LlamaEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn tokenize(&self, text: &str, special: bool, begin: bool) -> Result<Vec<Token>, Error> {
        let mut tokens = Vec::new();
        if begin && let (Some(token), true) = self.model.begin_token() {
            tokens.push(token);
        }
        let read = self.model.tokenize(text, special, &mut tokens);
        read.ok_or_else(|| Error::invalid("prompt", "The text is too long to be read."))?;
        Ok(tokens)
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        self.check(&request)?;
        let adapter = self.adapter_key(request.adapter.as_deref())?;
        let ticket = self.gate.enter(&request.share.key)?;
        let grammar = request.constraint.as_ref().map(|constraint| self.compiler.compile(&self.model, constraint)).transpose()?;
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.send(Command::Generate(Box::new(Submission { request, adapter, grammar, events, ticket })))?;
        Ok(Generation { events: receiver })
    }

    fn embed(&self, request: EmbedRequest) -> Result<Later<Vec<Vec<f32>>>, Error> {
        if request.inputs.is_empty() || request.inputs.len() > INPUTS_MAX {
            return Err(Error::invalid("input", format!("Send 1 to {INPUTS_MAX} inputs.")));
        }
        for (index, input) in request.inputs.iter().enumerate() {
            self.check_tokens(input, &format!("input[{index}]"))?;
            let (tokens, max) = (input.len(), self.embedding_tokens_max);
            if tokens > max as usize {
                let message = format!("The input has {tokens} tokens; the longest that is embedded has {max}. Split it.");
                return Err(Error::new(ErrorCode::ContextLengthExceeded, message).with_param(format!("input[{index}]")));
            }
        }
        let ticket = self.gate.enter(&request.share.key)?;
        let (reply, receiver) = oneshot::channel();
        self.send(Command::Embed(Job::new(request, reply, ticket)))?;
        Ok(receiver)
    }

    fn load_adapter(&self, name: &str, path: &Path) -> Result<Later<()>, Error> {
        let unreadable = |error| Error::invalid("lora_path", format!("The adapter's file cannot be read: {error}."));
        std::fs::File::open(path).map_err(unreadable)?;
        {
            let mut adapters = self.adapter_states();
            if adapters.contains_key(name) {
                return Err(Error::new(ErrorCode::Conflict, format!("An adapter {name} is loaded already. Unload it first.")));
            }
            if adapters.len() >= ADAPTERS_MAX {
                return Err(Error::new(ErrorCode::RateLimited, format!("{ADAPTERS_MAX} adapters are loaded. Unload one first.")));
            }
            adapters.insert(name.to_owned(), AdapterState::Loading);
        }
        let key = self.adapter_keys.fetch_add(1, Relaxed);
        let (adapters, name) = (Arc::clone(&self.adapters), name.to_owned());
        let done = Box::new(move |loaded: bool| {
            let mut adapters = adapters.lock().unwrap_or_else(PoisonError::into_inner);
            if loaded {
                adapters.insert(name, AdapterState::Ready(key));
            } else {
                adapters.remove(&name);
            }
        });
        let (reply, receiver) = oneshot::channel();
        self.send(Command::LoadAdapter { key, path: path.to_owned(), done, reply })?;
        Ok(receiver)
    }

    fn unload_adapter(&self, name: &str) -> Result<Later<()>, Error> {
        let key = {
            let mut adapters = self.adapter_states();
            match adapters.get(name) {
                Some(&AdapterState::Ready(key)) => {
                    adapters.remove(name);
                    key
                }
                _ => return Err(Error::new(ErrorCode::NotFound, format!("The adapter {name} is not loaded."))),
            }
        };
        let (reply, receiver) = oneshot::channel();
        self.send(Command::UnloadAdapter { key, reply })?;
        Ok(receiver)
    }

    fn adapters(&self) -> Vec<String> {
        let adapters = self.adapter_states();
        let ready = adapters.iter().filter(|(_, state)| matches!(state, AdapterState::Ready(_)));
        ready.map(|(name, _)| name.clone()).collect()
    }

    fn stats(&self) -> EngineStats {
        self.figures.stats()
    }
}

impl Drop for LlamaEngine {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was caught and reported there.
            let _ = thread.join();
        }
    }
}
