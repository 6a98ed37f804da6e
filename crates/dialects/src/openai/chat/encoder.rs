//! The stream, written: each canonical event becomes the chunks that it needs.

use std::borrow::Cow;

use super::ID_PREFIX;
use crate::canonical::{AnswerHead, ChatEvent, TokenLogprob, Usage};
use crate::openai::chunk::finish_word;
use crate::openai::error;
use crate::openai::logprobs::WireLogprobs;
use crate::openai::usage::{WireUsage, running_tail};
use crate::shape::write;

/// Writes the events of one answer as server-sent events.
///
/// After the canonical `Usage` comes `data: [DONE]`; after an `Error`, nothing.
#[derive(Debug)]
pub struct StreamEncoder {
    /// Everything of a chunk up to the value of `choices`.
    head: Vec<u8>,
    /// Everything of a chunk after the value of `choices`.
    tail: Cow<'static, [u8]>,
    include_usage: bool,
    /// One bit for each choice whose role was sent.
    roles_sent: u128,
}

impl StreamEncoder {
    /// An encoder for one answer. `include_usage` is the client's wish for a chunk with the account.
    pub fn new(head: &AnswerHead, include_usage: bool) -> Self {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(b"data: {\"id\":");
        write::json(&mut bytes, &format!("{ID_PREFIX}{}", head.id));
        bytes.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        write::json(&mut bytes, &head.created_s);
        bytes.extend_from_slice(b",\"model\":");
        write::json(&mut bytes, &head.model);
        bytes.extend_from_slice(b",\"choices\":");
        let tail: &[u8] = if include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { head: bytes, tail: Cow::Borrowed(tail), include_usage, roles_sent: 0 }
    }

    /// The chunks that follow say that so many tokens were used so far.
    pub fn set_running_usage(&mut self, usage: &Usage) {
        self.tail = running_tail(b",\"usage\":", usage).into();
    }

    /// Appends what one event becomes.
    pub fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start => self.role(0, out),
            ChatEvent::Text { choice, text, logprobs } => self.text(*choice, text, logprobs, out),
            ChatEvent::ToolCallStart { choice, call, id, name } => {
                self.open_call(*choice, *call, out);
                out.extend_from_slice(b",\"id\":");
                write::json(out, id);
                out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                write::json(out, name);
                out.extend_from_slice(b",\"arguments\":\"\"}}]");
                self.close(None, out);
            }
            ChatEvent::ToolCallArguments { choice, call, fragment } => {
                self.open_call(*choice, *call, out);
                out.extend_from_slice(b",\"function\":{\"arguments\":");
                write::json(out, fragment);
                out.extend_from_slice(b"}}]");
                self.close(None, out);
            }
            ChatEvent::Finish { choice, reason } => {
                self.role(*choice, out);
                self.open(*choice, out);
                self.close(Some(finish_word(*reason)), out);
            }
            ChatEvent::Usage(usage) => self.end(usage, out),
            ChatEvent::Error(fault) => error::encode_event(fault, out),
        }
    }

    fn role(&mut self, choice: u32, out: &mut Vec<u8>) {
        let bit = 1u128.checked_shl(choice).unwrap_or(0);
        if self.roles_sent & bit != bit {
            self.roles_sent |= bit;
            self.open(choice, out);
            out.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\"");
            self.close(None, out);
        }
    }

    fn text(&mut self, choice: u32, text: &str, logprobs: &[TokenLogprob], out: &mut Vec<u8>) {
        self.role(choice, out);
        self.open(choice, out);
        out.extend_from_slice(b"\"content\":");
        write::json(out, text);
        if logprobs.is_empty() {
            return self.close(None, out);
        }
        out.extend_from_slice(b"},\"logprobs\":");
        write::json(out, &WireLogprobs::of(logprobs));
        out.extend_from_slice(b",\"finish_reason\":null}]");
        out.extend_from_slice(&self.tail);
    }

    fn open(&self, choice: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[{\"index\":");
        write::integer(out, choice);
        out.extend_from_slice(b",\"delta\":{");
    }

    fn open_call(&mut self, choice: u32, call: u32, out: &mut Vec<u8>) {
        self.role(choice, out);
        self.open(choice, out);
        out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
        write::integer(out, call);
    }

    fn close(&self, finish: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        write::json(out, &finish);
        out.extend_from_slice(b"}]");
        out.extend_from_slice(&self.tail);
    }

    fn end(&self, usage: &Usage, out: &mut Vec<u8>) {
        if self.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"[],\"usage\":");
            write::json(out, &WireUsage::from(usage));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
