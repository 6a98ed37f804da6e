//! An answer that comes in one piece, as the events that it would have been.

use freehold_dialects::canonical::{ChatAnswer, ChatEvent, FinishReason};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode};

use crate::workers::ANSWER_BYTES_MAX;

/// Gathers an answer's bytes.
pub(super) struct Whole {
    chat: bool,
    body: Vec<u8>,
    done: bool,
}

impl Whole {
    pub(super) fn new(chat: bool) -> Self {
        Self { chat, body: Vec::new(), done: false }
    }

    pub(super) fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        if self.done {
            return;
        }
        if self.body.len() + piece.len() > ANSWER_BYTES_MAX {
            self.done = true;
            events.push(ChatEvent::Error(Error::internal(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"))));
            return;
        }
        self.body.extend_from_slice(piece);
    }

    pub(super) fn finish(&mut self, broken: bool, events: &mut Vec<ChatEvent>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if broken {
            events.push(ChatEvent::Error(Error::new(ErrorCode::WorkerLost, "the answer broke off")));
            return;
        }
        let decoded = if self.chat { openai::chat::decode_answer(&self.body) } else { openai::completions::decode_answer(&self.body) };
        match decoded {
            Ok((_, answer)) if !answer.choices.is_empty() => unfold(answer, events),
            Ok(_) => events.push(ChatEvent::Error(Error::internal("an answer without a choice"))),
            Err(error) => events.push(ChatEvent::Error(error)),
        }
    }
}

fn unfold(answer: ChatAnswer, events: &mut Vec<ChatEvent>) {
    events.push(ChatEvent::Start);
    for (choice, one) in (0..).zip(answer.choices) {
        if !one.text.is_empty() || !one.logprobs.is_empty() {
            events.push(ChatEvent::Text { choice, text: one.text, logprobs: one.logprobs });
        }
        for (call, made) in (0..).zip(one.tool_calls) {
            events.push(ChatEvent::ToolCallStart { choice, call, id: made.id, name: made.name });
            events.push(ChatEvent::ToolCallArguments { choice, call, fragment: made.arguments });
        }
        events.push(ChatEvent::Finish { choice, reason: one.finish.unwrap_or(FinishReason::Stop) });
    }
    events.push(ChatEvent::Usage(answer.usage));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], broken: bool) -> Vec<ChatEvent> {
        let (mut whole, mut events) = (Whole::new(true), Vec::new());
        body.chunks(7).for_each(|piece| whole.push(piece, &mut events));
        whole.finish(broken, &mut events);
        whole.finish(broken, &mut events);
        events
    }

    #[test]
    fn an_answer_becomes_its_events_and_rubbish_one_error() {
        let body = br#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let events = read(body, false);
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(matches!(&events[2], ChatEvent::Finish { reason: FinishReason::Length, .. }), "{events:?}");
        for (body, broken) in [(&body[..40], false), (&body[..], true), (b"{\"choices\":[]}", false), (b"<html>", false), (b"", false)] {
            let events = read(body, broken);
            assert!(matches!(&events[..], [ChatEvent::Error(_)]), "{events:?}");
        }
    }
}
