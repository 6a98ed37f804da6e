//! The stream, written: each canonical event becomes at most one event of the dialect.

use super::stop_word;
use crate::canonical::{AnswerHead, ChatEvent};
use crate::llama::{error, metrics};
use crate::shape::write;

/// What every event must carry, where there is nothing to say.
const NO_DELTA: &[u8] = b"{\"type\":\"text\",\"text\":\"\"}";

/// Writes the events of one answer as server-sent events.
///
/// The last one is `metrics`, or `event: error`; `[DONE]` is never sent. Choices other than the first are left out.
#[derive(Debug)]
pub struct StreamEncoder {
    /// Everything of an event up to the value of `event_type`.
    head: Vec<u8>,
    /// The ids of the calls that have begun.
    calls: Vec<String>,
}

impl StreamEncoder {
    /// An encoder for one answer.
    pub fn new(head: &AnswerHead) -> Self {
        let mut bytes = Vec::with_capacity(80);
        bytes.extend_from_slice(b"data: {\"id\":");
        write::json(&mut bytes, &head.id);
        bytes.extend_from_slice(b",\"event\":{\"event_type\":\"");
        Self { head: bytes, calls: Vec::new() }
    }

    /// Appends what one event becomes.
    pub fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start => {
                self.open("start", out);
                out.extend_from_slice(NO_DELTA);
                out.extend_from_slice(b"}}\n\n");
            }
            ChatEvent::Text { choice: 0, text, .. } => {
                self.open("progress", out);
                out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
                write::json(out, text);
                out.extend_from_slice(b"}}}\n\n");
            }
            ChatEvent::ToolCallStart { choice: 0, id, name, .. } => {
                self.calls.push(id.clone());
                self.call(Some(id), ("name", name), out);
            }
            ChatEvent::ToolCallArguments { choice: 0, call, fragment } => {
                let call = *call as usize;
                let id = if call + 1 == self.calls.len() { None } else { self.calls.get(call) };
                self.call(id, ("arguments", fragment), out);
            }
            ChatEvent::Finish { choice: 0, reason } => {
                self.open("complete", out);
                out.extend_from_slice(NO_DELTA);
                out.extend_from_slice(b",\"stop_reason\":");
                write::json(out, stop_word(*reason));
                out.extend_from_slice(b"}}\n\n");
            }
            ChatEvent::Usage(usage) => {
                self.open("metrics", out);
                out.extend_from_slice(NO_DELTA);
                out.extend_from_slice(b",\"metrics\":");
                write::json(out, &metrics::encode(usage));
                out.extend_from_slice(b"}}\n\n");
            }
            ChatEvent::Error(fault) => error::encode_event(fault, out),
            ChatEvent::Text { .. } | ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. } | ChatEvent::Finish { .. } => {}
        }
    }

    fn open(&self, kind: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"delta\":");
    }

    /// One event of a call. The id stands only where it says something: at the start, and when a call is taken up again.
    fn call(&self, id: Option<&String>, (field, value): (&str, &str), out: &mut Vec<u8>) {
        self.open("progress", out);
        out.extend_from_slice(b"{\"type\":\"tool_call\"");
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            write::json(out, id);
        }
        out.extend_from_slice(b",\"function\":{\"");
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\":");
        write::json(out, value);
        out.extend_from_slice(b"}}}}\n\n");
    }
}
