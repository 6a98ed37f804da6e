//! From what the engine generates to canonical events: text as it is, calls where the model writes them.
//!
//! **Invariant:** the order that [`ChatEvent`] promises: `Start` first, one `Finish` for each choice, `Usage` or
//! `Error` last.

use freehold_dialects::canonical::{ChatEvent, FinishReason, TokenLogprob};
use freehold_domain::Error;

use super::tools::stream::{Piece, ToolStream};
use crate::engine::GenerationEvent;

/// Turns the events of one generation into those of one answer.
#[derive(Debug)]
pub struct AnswerReader {
    choices: Vec<Choice>,
    ids: CallIds,
    started: bool,
    over: bool,
}

#[derive(Debug)]
struct Choice {
    tools: Option<ToolStream>,
    /// Log-probabilities of text that is not handed out yet.
    logprobs: Vec<TokenLogprob>,
}

/// Makes the ids of calls.
#[derive(Clone, Copy, Debug)]
pub struct CallIds {
    /// Fresh for each request.
    pub seed: u64,
}

impl CallIds {
    fn id(self, choice: u32, call: u32) -> String {
        format!("call_{:016x}{choice:02x}{call:04x}", self.seed)
    }
}

/// What may be called in an answer.
#[derive(Clone, Debug)]
pub struct Callable {
    /// The functions.
    pub functions: Vec<String>,
    /// Most calls in one answer.
    pub calls_max: u32,
}

impl AnswerReader {
    /// For `n` answers. Without functions everything is text.
    pub fn new(n: u32, callable: Option<&Callable>, ids: CallIds) -> Self {
        let choice = || Choice {
            tools: callable.map(|callable| ToolStream::new(callable.functions.clone(), callable.calls_max)),
            logprobs: Vec::new(),
        };
        Self { choices: (0..n).map(|_| choice()).collect(), ids, started: false, over: false }
    }

    /// Whether the answer is complete or has failed.
    pub fn over(&self) -> bool {
        self.over
    }

    /// Takes the next event of the engine.
    pub fn read(&mut self, event: GenerationEvent, out: &mut Vec<ChatEvent>) {
        if self.over {
            return;
        }
        if !self.started && !matches!(event, GenerationEvent::Failed(_)) {
            self.started = true;
            out.push(ChatEvent::Start);
        }
        match event {
            GenerationEvent::Text { choice, text, logprobs, .. } => self.text(choice, text, logprobs, out),
            GenerationEvent::Finish { choice, reason } => self.finish(choice, reason, out),
            GenerationEvent::Done(usage) => {
                self.over = true;
                out.push(ChatEvent::Usage(usage));
            }
            GenerationEvent::Failed(error) => self.fail(error, out),
        }
    }

    /// Ends the answer with an error.
    pub fn fail(&mut self, error: Error, out: &mut Vec<ChatEvent>) {
        if !self.over {
            self.over = true;
            out.push(ChatEvent::Error(error));
        }
    }

    fn text(&mut self, index: u32, text: String, logprobs: Vec<TokenLogprob>, out: &mut Vec<ChatEvent>) {
        let Some(choice) = self.choices.get_mut(index as usize) else { return };
        let Some(tools) = &mut choice.tools else {
            out.push(ChatEvent::Text { choice: index, text, logprobs });
            return;
        };
        let mut pieces = Vec::new();
        let before = tools.calls();
        tools.push(&text, &mut pieces);
        choice.logprobs.extend(logprobs);
        self.hand_out(index, before, pieces, out);
    }

    fn finish(&mut self, index: u32, mut reason: FinishReason, out: &mut Vec<ChatEvent>) {
        let Some(choice) = self.choices.get_mut(index as usize) else { return };
        if let Some(tools) = &mut choice.tools {
            let mut pieces = Vec::new();
            let before = tools.calls();
            tools.finish(&mut pieces);
            if reason == FinishReason::Stop && tools.calls() > 0 {
                reason = FinishReason::ToolCalls;
            }
            self.hand_out(index, before, pieces, out);
        }
        out.push(ChatEvent::Finish { choice: index, reason });
    }

    /// `calls` is the number of calls that were announced before these pieces.
    fn hand_out(&mut self, index: u32, mut calls: u32, pieces: Vec<Piece>, out: &mut Vec<ChatEvent>) {
        let choice = &mut self.choices[index as usize];
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    let logprobs = std::mem::take(&mut choice.logprobs);
                    out.push(ChatEvent::Text { choice: index, text, logprobs });
                }
                Piece::Call { name } => {
                    // Log-probabilities are reported for text only.
                    choice.logprobs.clear();
                    out.push(ChatEvent::ToolCallStart { choice: index, call: calls, id: self.ids.id(index, calls), name });
                    calls += 1;
                }
                Piece::Arguments(fragment) => {
                    choice.logprobs.clear();
                    out.push(ChatEvent::ToolCallArguments { choice: index, call: calls.saturating_sub(1), fragment });
                }
            }
        }
    }
}
