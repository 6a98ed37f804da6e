//! The stream, read: chunks of a worker or another server become canonical events.

use std::borrow::Cow;

use freehold_domain::{Error, ErrorCode};
use serde::Deserialize;
use serde_json::Value;

use super::{ID_PREFIX, finish_of_word};
use crate::canonical::{AnswerHead, CHOICES_MAX, ChatEvent, Usage};
use crate::openai::error;
use crate::openai::logprobs::WireLogprobs;
use crate::openai::usage::WireUsage;
use crate::shape::function::CALLS_MAX;
use crate::sse;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    created: Option<i64>,
    #[serde(default, borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(default, borrow)]
    delta: Option<Delta<'a>>,
    #[serde(default, borrow)]
    logprobs: Option<WireLogprobs<'a>>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default, borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    tool_calls: Option<Vec<DeltaCall<'a>>>,
}

#[derive(Deserialize)]
struct DeltaCall<'a> {
    index: u32,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    function: Option<DeltaFunction<'a>>,
}

#[derive(Deserialize)]
struct DeltaFunction<'a> {
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    arguments: Option<Cow<'a, str>>,
}

/// Reads the server-sent events of one answer, piece by piece.
///
/// Yields what [`ChatEvent`] promises: a fault of the stream itself becomes one `Error`, and nothing after it.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    sse: sse::Decoder,
    frames: Vec<sse::Frame>,
    head: Option<AnswerHead>,
    usage: Option<Usage>,
    /// For each choice, how many calls have begun.
    calls_begun: Vec<u32>,
    done: bool,
}

impl StreamDecoder {
    /// A decoder at the start of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What names the answer, once its first chunk was read.
    pub fn head(&self) -> Option<&AnswerHead> {
        self.head.as_ref()
    }

    /// The last event was given out: `Usage` or `Error`.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Reads the next piece and appends the events that it completes.
    pub fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        if self.done {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        let framing = self.sse.push(piece, &mut frames);
        for frame in frames.drain(..) {
            if self.done {
                break;
            }
            if let Err(fault) = self.frame(&frame, events) {
                self.fail(fault, events);
            }
        }
        self.frames = frames;
        if let Err(fault) = framing {
            self.fail(Error::internal(fault), events);
        }
    }

    /// The stream has ended. If it ended too early, appends the error that says so.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        let fault = Error::new(ErrorCode::WorkerLost, "The model's worker stopped before the answer was complete. Try again.");
        self.fail(fault, events);
    }

    fn fail(&mut self, fault: Error, events: &mut Vec<ChatEvent>) {
        if !self.done {
            self.done = true;
            events.push(ChatEvent::Error(fault));
        }
    }

    fn frame(&mut self, frame: &sse::Frame, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if frame.data == b"[DONE]" {
            let usage = self.usage.ok_or_else(|| Error::internal("the model's server ended an answer without an account of its tokens"))?;
            events.push(ChatEvent::Usage(usage));
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk<'_> =
            serde_json::from_slice(&frame.data).map_err(|fault| Error::internal(format!("a chunk of the model's server: {fault}")))?;
        if let Some(fault) = chunk.error {
            return Err(error::from_value(500, &fault).unwrap_or_else(|| Error::internal(format!("a chunk with the error {fault}"))));
        }
        if self.head.is_none() {
            let id = chunk.id.unwrap_or_default();
            let id = id.strip_prefix(ID_PREFIX).unwrap_or(&id).to_owned();
            let (model, created_s) = (chunk.model.unwrap_or_default().into_owned(), chunk.created.unwrap_or(0));
            self.head = Some(AnswerHead { id, model, created_s });
            events.push(ChatEvent::Start);
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        chunk.choices.unwrap_or_default().into_iter().try_for_each(|choice| self.choice(choice, events))
    }

    fn choice(&mut self, wire: ChunkChoice<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let choice = wire.index;
        if choice >= CHOICES_MAX {
            return Err(Error::internal(format!("a chunk for the choice {choice}")));
        }
        let logprobs = wire.logprobs.map(WireLogprobs::into_tokens).unwrap_or_default();
        let (content, calls) = wire.delta.map_or((None, None), |delta| (delta.content, delta.tool_calls));
        let text = content.unwrap_or_default().into_owned();
        if !text.is_empty() || !logprobs.is_empty() {
            events.push(ChatEvent::Text { choice, text, logprobs });
        }
        for call in calls.unwrap_or_default() {
            self.call(choice, call, events)?;
        }
        if let Some(word) = wire.finish_reason {
            events.push(ChatEvent::Finish { choice, reason: finish_of_word(&word) });
        }
        Ok(())
    }

    fn call(&mut self, choice: u32, wire: DeltaCall<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let slot = choice as usize;
        if slot >= self.calls_begun.len() {
            self.calls_begun.resize(slot + 1, 0);
        }
        let call = wire.index;
        let (name, arguments) = wire.function.map_or((None, None), |function| (function.name, function.arguments));
        if call == self.calls_begun[slot] && (call as usize) < CALLS_MAX {
            let name = name.ok_or_else(|| Error::internal(format!("the call {call} has no name")))?.into_owned();
            let id = wire.id.map_or_else(|| format!("call_{choice}_{call}"), Cow::into_owned);
            self.calls_begun[slot] += 1;
            events.push(ChatEvent::ToolCallStart { choice, call, id, name });
        } else if call >= self.calls_begun[slot] {
            return Err(Error::internal(format!("a chunk for the call {call}, of which {} have begun", self.calls_begun[slot])));
        }
        let fragment = arguments.unwrap_or_default().into_owned();
        if !fragment.is_empty() {
            events.push(ChatEvent::ToolCallArguments { choice, call, fragment });
        }
        Ok(())
    }
}
