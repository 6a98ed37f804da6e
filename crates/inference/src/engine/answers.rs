//! Requests and answers that are under way: from a row of logits to events for the client.
//!
//! Knows sampling, text and grammars; does not know the cache or who is served when.
//!
//! **Invariant:** a request gets one `Finish` for each answer and then `Done`, or one `Failed`; nothing follows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use freehold_dialects::canonical::{FinishReason, TokenLogprob, Usage};
use freehold_domain::{Error, ErrorCode};
use tokio::sync::mpsc::UnboundedSender;

use super::constraint::Grammar;
use super::gate::{Figures, Ticket};
use super::native::Model;
use super::sampler::{Mask, Sampler, Scratch, log_probabilities};
use super::schedule::SequenceKey;
use super::text::{Assembler, Piece};
use super::{GenerateRequest, GenerationEvent, Token};

/// A request as it reaches the engine's thread.
#[derive(Debug)]
pub(crate) struct Submission {
    pub request: GenerateRequest,
    pub adapter: Option<u32>,
    pub grammar: Option<Grammar>,
    pub events: UnboundedSender<GenerationEvent>,
    pub ticket: Ticket,
}

/// Names a request on the engine's thread.
pub(crate) type RequestKey = usize;

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Request {
    events: UnboundedSender<GenerationEvent>,
    deadline: Instant,
    began: Instant,
    usage: Usage,
    /// Answers that are not finished.
    pub open: Vec<SequenceKey>,
    logprobs: Option<u8>,
    show_special: bool,
    /// A sequence of it has had a slot.
    pub started: bool,
    _ticket: Ticket,
}

/// One of a request's answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub request: RequestKey,
    choice: u32,
    sampler: Sampler,
    grammar: Option<Grammar>,
    text: Assembler,
    /// Tokens that may still be generated.
    room: u32,
}

/// What becomes of an answer after a token.
#[derive(Debug)]
pub(crate) enum Next {
    /// It goes on with this token.
    Continue(Token),
    /// It is finished.
    Finished,
    /// The whole request failed.
    Failed(Error),
}

/// Buffers for choosing tokens.
#[derive(Debug, Default)]
pub(crate) struct Workbench {
    scratch: Scratch,
    bytes: Vec<u8>,
}

impl Request {
    /// Splits a submission into the request and its answers.
    pub fn begin(submission: Submission, sequence_tokens_max: u32, now: Instant) -> (Self, Vec<Answer>) {
        let Submission { request, grammar, events, ticket, .. } = submission;
        let prompt_tokens = u32::try_from(request.prompt.len()).unwrap_or(u32::MAX);
        let room = sequence_tokens_max.saturating_sub(prompt_tokens).min(request.max_tokens.unwrap_or(u32::MAX));
        let stops: Vec<Vec<u8>> = request.stop.iter().map(|stop| stop.as_bytes().to_vec()).collect();
        let stops: Arc<[Vec<u8>]> = stops.into();
        let answers = (0..request.n.max(1)).map(|choice| Answer {
            request: 0,
            choice,
            sampler: Sampler::new(&request.sampling, choice, &request.prompt),
            grammar: grammar.as_ref().map(Grammar::fork),
            text: Assembler::new(Arc::clone(&stops)),
            room,
        });
        let answers = answers.collect();
        let begun = Self {
            events,
            deadline: request.deadline,
            began: now,
            usage: Usage { prompt_tokens, ..Usage::default() },
            open: Vec::new(),
            logprobs: request.logprobs,
            show_special: request.show_special,
            started: false,
            _ticket: ticket,
        };
        (begun, answers)
    }

    /// Nobody listens any more.
    pub fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// The deadline has passed.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// The first sequence got its slot.
    pub fn start(&mut self, cached_tokens: u32, figures: &Figures) {
        self.started = true;
        self.usage.cached_tokens = cached_tokens;
        let prompt_tokens = u64::from(self.usage.prompt_tokens);
        figures.prompt_tokens.fetch_add(prompt_tokens, Relaxed);
        figures.prefix_queries.fetch_add(prompt_tokens, Relaxed);
        figures.prefix_hits.fetch_add(u64::from(cached_tokens), Relaxed);
    }

    /// The request cannot be answered.
    pub fn fail(self, error: Error) {
        self.send(GenerationEvent::Failed(error));
    }

    /// Every answer is finished.
    pub fn done(self, figures: &Figures) {
        figures.answered(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.send(GenerationEvent::Done(self.usage));
    }

    /// A client that has gone is noticed before the next step.
    fn send(&self, event: GenerationEvent) {
        let _ = self.events.send(event);
    }

    fn send_piece(&self, choice: u32, piece: Piece) {
        if !piece.text.is_empty() || !piece.logprobs.is_empty() {
            self.send(GenerationEvent::Text { choice, text: piece.text, logprobs: piece.logprobs, usage: self.usage });
        }
    }
}

impl Answer {
    /// Chooses the next token and says what follows from it.
    pub fn next(&mut self, request: &mut Request, logits: &[f32], model: &Model, bench: &mut Workbench) -> Next {
        let mask = self.grammar.as_mut().map(|grammar| grammar as &mut dyn Mask);
        let token = self.sampler.sample(logits, mask, &mut bench.scratch);
        if let Some(fault) = self.grammar.as_ref().and_then(Grammar::fault) {
            return Next::Failed(grammar_fault(fault));
        }
        request.usage.completion_tokens += 1;
        self.room = self.room.saturating_sub(1);
        if model.is_end(token) {
            return self.finish(request, Piece::default(), FinishReason::Stop);
        }
        if let Some(grammar) = &mut self.grammar
            && let Err(fault) = grammar.advance(token)
        {
            return Next::Failed(grammar_fault(fault));
        }
        let logprob = request.logprobs.map(|top| token_logprob(logits, token, top, model));
        bench.bytes.clear();
        model.piece(token, request.show_special, &mut bench.bytes);
        let piece = self.text.push(&bench.bytes, logprob);
        if piece.stopped || self.grammar.as_ref().is_some_and(Grammar::is_complete) {
            return self.finish(request, piece, FinishReason::Stop);
        }
        if self.room == 0 {
            return self.finish(request, piece, FinishReason::Length);
        }
        request.send_piece(self.choice, piece);
        Next::Continue(token)
    }

    fn finish(&mut self, request: &Request, mut piece: Piece, reason: FinishReason) -> Next {
        if !piece.stopped {
            let rest = self.text.finish();
            piece.text.push_str(&rest.text);
            piece.logprobs.extend(rest.logprobs);
        }
        request.send_piece(self.choice, piece);
        request.send(GenerationEvent::Finish { choice: self.choice, reason });
        Next::Finished
    }
}

fn grammar_fault(fault: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, "The answer's format is too complex to be enforced.")
        .with_param("response_format")
        .with_context(fault)
}

fn token_logprob(logits: &[f32], token: Token, top: u8, model: &Model) -> TokenLogprob {
    let bytes = |token| {
        let mut bytes = Vec::new();
        model.piece(token, true, &mut bytes);
        bytes
    };
    let (logprob, top) = log_probabilities(logits, token, usize::from(top));
    TokenLogprob { bytes: bytes(token), logprob, top: top.into_iter().map(|(token, logprob)| (bytes(token), logprob)).collect() }
}
