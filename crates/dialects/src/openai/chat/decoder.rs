//! The stream, read: chunks of a worker or another server become canonical events.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::Deserialize;

use super::ID_PREFIX;
use crate::canonical::{AnswerHead, ChatEvent, Usage};
use crate::openai::chunk::{Account, check_choice, finish_of_word};
use crate::openai::logprobs::WireLogprobs;
use crate::shape::function::CALLS_MAX;
use crate::shape::stream::Reader;

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
    reader: Reader,
    account: Account,
    calls: CallsBegun,
}

/// For each choice, how many calls have begun.
#[derive(Debug, Default)]
struct CallsBegun(Vec<u32>);

impl StreamDecoder {
    /// A decoder at the start of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder for servers that may leave out the account of the tokens: the last event is then an account of none.
    #[must_use]
    pub fn tolerant() -> Self {
        Self { account: Account::tolerant(), ..Self::default() }
    }

    /// What names the answer, once its first chunk was read.
    pub fn head(&self) -> Option<&AnswerHead> {
        self.account.head.as_ref()
    }

    /// The tokens that were used so far, if the server says so before the end.
    pub fn running_usage(&self) -> Option<Usage> {
        self.account.usage
    }

    /// The last event was given out: `Usage` or `Error`.
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Reads the next piece and appends the events that it completes.
    pub fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        let Self { reader, account, calls } = self;
        reader.push(piece, events, |frame, events| {
            account.frame(frame, ID_PREFIX, events, |wire: ChunkChoice<'_>, events| calls.choice(wire, events))
        });
    }

    /// The stream has ended. If it ended too early, appends the error that says so.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        self.reader.finish(events);
    }
}

impl CallsBegun {
    fn choice(&mut self, wire: ChunkChoice<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let choice = check_choice(wire.index)?;
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
        if slot >= self.0.len() {
            self.0.resize(slot + 1, 0);
        }
        let call = wire.index;
        let (name, arguments) = wire.function.map_or((None, None), |function| (function.name, function.arguments));
        if call == self.0[slot] && (call as usize) < CALLS_MAX {
            let name = name.ok_or_else(|| Error::internal(format!("the call {call} has no name")))?.into_owned();
            let id = wire.id.map_or_else(|| format!("call_{choice}_{call}"), Cow::into_owned);
            self.0[slot] += 1;
            events.push(ChatEvent::ToolCallStart { choice, call, id, name });
        } else if call >= self.0[slot] {
            return Err(Error::internal(format!("a chunk for the call {call}, of which {} have begun", self.0[slot])));
        }
        let fragment = arguments.unwrap_or_default().into_owned();
        if !fragment.is_empty() {
            events.push(ChatEvent::ToolCallArguments { choice, call, fragment });
        }
        Ok(())
    }
}
