//! What the chunks of chat completions and of completions have in common, read.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::Deserialize;
use serde_json::Value;

use super::error;
use super::usage::WireUsage;
use crate::canonical::{AnswerHead, CHOICES_MAX, ChatEvent, FinishReason, Usage};
use crate::shape::stream::Next;
use crate::sse;

#[derive(Deserialize)]
#[serde(bound(deserialize = "C: Deserialize<'de>"))]
struct Chunk<'a, C> {
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    created: Option<i64>,
    #[serde(default, borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    choices: Option<Vec<C>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

/// What has been seen of an answer, apart from its choices.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) head: Option<AnswerHead>,
    pub(super) usage: Option<Usage>,
    /// An end without an account of the tokens is an end all the same, with an account of nothing.
    tolerant: bool,
}

impl Account {
    pub(super) fn tolerant() -> Self {
        Self { tolerant: true, ..Self::default() }
    }

    /// Reads one frame and hands its choices on.
    pub(super) fn frame<'a, C: Deserialize<'a>>(
        &mut self,
        frame: &'a sse::Frame,
        id_prefix: &str,
        events: &mut Vec<ChatEvent>,
        choice: impl FnMut(C, &mut Vec<ChatEvent>) -> Result<(), Error>,
    ) -> Result<Next, Error> {
        if frame.data == b"[DONE]" {
            let usage = self.usage.or(self.tolerant.then(Usage::default));
            let usage = usage.ok_or_else(|| Error::internal("the model's server ended an answer without an account of its tokens"))?;
            events.push(ChatEvent::Usage(usage));
            return Ok(Next::Done);
        }
        let chunk: Chunk<'a, C> =
            serde_json::from_slice(&frame.data).map_err(|fault| Error::internal(format!("a chunk of the model's server: {fault}")))?;
        if let Some(fault) = chunk.error {
            return Err(error::from_value(500, &fault).unwrap_or_else(|| Error::internal(format!("a chunk with the error {fault}"))));
        }
        if self.head.is_none() {
            let id = chunk.id.unwrap_or_default();
            let id = id.strip_prefix(id_prefix).unwrap_or(&id).to_owned();
            let (model, created_s) = (chunk.model.unwrap_or_default().into_owned(), chunk.created.unwrap_or(0));
            self.head = Some(AnswerHead { id, model, created_s });
            events.push(ChatEvent::Start);
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        let mut choice = choice;
        chunk.choices.unwrap_or_default().into_iter().try_for_each(|one| choice(one, events))?;
        Ok(Next::More)
    }
}

/// The index of a choice, if it is one that can be.
pub(super) fn check_choice(index: u32) -> Result<u32, Error> {
    if index < CHOICES_MAX { Ok(index) } else { Err(Error::internal(format!("the model's server sent a choice with the index {index}"))) }
}

pub(super) fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
    }
}

pub(super) fn finish_of_word(word: &str) -> FinishReason {
    match word {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
