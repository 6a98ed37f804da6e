//! The stream, written and read.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::Deserialize;

use super::ID_PREFIX;
use super::logprobs::WireLogprobs;
use crate::canonical::{AnswerHead, CHOICES_MAX, ChatEvent, TokenLogprob, Usage};
use crate::openai::chunk::{Account, check_choice, finish_of_word, finish_word};
use crate::openai::error;
use crate::openai::usage::{WireUsage, running_tail};
use crate::shape::stream::Reader;
use crate::shape::write;

/// Writes the events of one answer as server-sent events.
///
/// After the canonical `Usage` comes `data: [DONE]`; after an `Error`, nothing. The dialect has no calls: events of
/// calls are left out.
#[derive(Debug)]
pub struct StreamEncoder {
    head: Vec<u8>,
    tail: Cow<'static, [u8]>,
    include_usage: bool,
    /// For each choice, characters of its text so far; kept where log-probabilities are reported.
    offsets: Vec<usize>,
}

impl StreamEncoder {
    /// An encoder for one answer. `include_usage` is the client's wish for a chunk with the account.
    pub fn new(head: &AnswerHead, include_usage: bool) -> Self {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(b"data: {\"id\":");
        write::json(&mut bytes, &format!("{ID_PREFIX}{}", head.id));
        bytes.extend_from_slice(b",\"object\":\"text_completion\",\"created\":");
        write::json(&mut bytes, &head.created_s);
        bytes.extend_from_slice(b",\"model\":");
        write::json(&mut bytes, &head.model);
        bytes.extend_from_slice(b",\"choices\":");
        let tail: &[u8] = if include_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" };
        Self { head: bytes, tail: Cow::Borrowed(tail), include_usage, offsets: Vec::new() }
    }

    /// The chunks that follow say that so many tokens were used so far.
    pub fn set_running_usage(&mut self, usage: &Usage) {
        self.tail = running_tail(b"}],\"usage\":", usage).into();
    }

    /// Appends what one event becomes.
    pub fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start | ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. } => {}
            ChatEvent::Text { choice, text, logprobs } => {
                self.text(*choice, text, logprobs, out);
                out.extend_from_slice(b",\"finish_reason\":null");
                out.extend_from_slice(&self.tail);
            }
            ChatEvent::Finish { choice, reason } => {
                self.text(*choice, "", &[], out);
                out.extend_from_slice(b",\"finish_reason\":");
                write::json(out, finish_word(*reason));
                out.extend_from_slice(&self.tail);
            }
            ChatEvent::Usage(usage) => {
                if self.include_usage {
                    out.extend_from_slice(&self.head);
                    out.extend_from_slice(b"[],\"usage\":");
                    write::json(out, &WireUsage::from(usage));
                    out.extend_from_slice(b"}\n\n");
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            ChatEvent::Error(fault) => error::encode_event(fault, out),
        }
    }

    fn text(&mut self, choice: u32, text: &str, logprobs: &[TokenLogprob], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[{\"text\":");
        write::json(out, text);
        out.extend_from_slice(b",\"index\":");
        write::integer(out, choice);
        out.extend_from_slice(b",\"logprobs\":");
        if logprobs.is_empty() {
            out.extend_from_slice(b"null");
            return;
        }
        let slot = choice.min(CHOICES_MAX) as usize;
        if slot >= self.offsets.len() {
            self.offsets.resize(slot + 1, 0);
        }
        write::json(out, &WireLogprobs::of(logprobs, &mut self.offsets[slot]));
    }
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default)]
    index: u32,
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// Reads the server-sent events of one answer, piece by piece.
///
/// Yields what [`ChatEvent`] promises: a fault of the stream itself becomes one `Error`, and nothing after it.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    reader: Reader,
    account: Account,
}

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
        let Self { reader, account } = self;
        reader.push(piece, events, |frame, events| account.frame(frame, ID_PREFIX, events, choice));
    }

    /// The stream has ended. If it ended too early, appends the error that says so.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        self.reader.finish(events);
    }
}

fn choice(wire: ChunkChoice<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
    let choice = check_choice(wire.index)?;
    let logprobs = wire.logprobs.map(WireLogprobs::into_tokens).unwrap_or_default();
    let text = wire.text.unwrap_or_default().into_owned();
    if !text.is_empty() || !logprobs.is_empty() {
        events.push(ChatEvent::Text { choice, text, logprobs });
    }
    if let Some(word) = wire.finish_reason {
        events.push(ChatEvent::Finish { choice, reason: finish_of_word(&word) });
    }
    Ok(())
}
