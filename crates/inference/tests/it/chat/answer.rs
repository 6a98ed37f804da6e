use freehold_dialects::canonical::{ChatEvent, FinishReason, Message, Role, TokenLogprob, Usage};
use freehold_domain::{Error, ErrorCode};
use freehold_inference::chat::Chat;
use freehold_inference::engine::GenerationEvent;

use super::{envelope, info, request, tokenize, weather};

fn text(choice: u32, text: &str) -> GenerationEvent {
    GenerationEvent::Text { choice, text: text.to_owned(), logprobs: Vec::new(), usage: Default::default() }
}

fn said(choice: u32, text: &str) -> ChatEvent {
    ChatEvent::Text { choice, text: text.to_owned(), logprobs: Vec::new() }
}

fn read(with_tools: bool, n: u32, events: Vec<GenerationEvent>) -> Vec<ChatEvent> {
    let mut talk = request(vec![Message::text(Role::User, "?")]);
    if with_tools {
        talk.tools = vec![weather()];
    }
    talk.sampling.n = n;
    let chat = Chat::new(&info(None, &[], ""));
    let mut prepared = chat.prepare(&talk, envelope(), &tokenize).unwrap();
    assert_eq!(prepared.generate.show_special, with_tools);
    let mut out = Vec::new();
    for event in events {
        prepared.reader.read(event, &mut out);
    }
    out
}

#[test]
fn calls_become_events_with_distinct_ids() {
    let usage = Usage { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 9 };
    let finish = |choice| GenerationEvent::Finish { choice, reason: FinishReason::Stop };
    let events = read(
        true,
        2,
        vec![
            text(0, "{\"name\": \"get_weather\", \"para"),
            text(1, "Hi"),
            finish(1),
            text(0, "meters\": {\"city\": \"Oslo\"}}\n{\"name\": \"get_weather\"}"),
            finish(0),
            GenerationEvent::Done(usage),
        ],
    );
    let start = |call, id: &str| ChatEvent::ToolCallStart { choice: 0, call, id: id.to_owned(), name: "get_weather".to_owned() };
    let arguments = |call, fragment: &str| ChatEvent::ToolCallArguments { choice: 0, call, fragment: fragment.to_owned() };
    assert_eq!(
        events,
        [
            ChatEvent::Start,
            said(1, "Hi"),
            ChatEvent::Finish { choice: 1, reason: FinishReason::Stop },
            start(0, "call_0000000000000007000000"),
            arguments(0, "{\"city\": \"Oslo\"}"),
            start(1, "call_0000000000000007000001"),
            arguments(1, "{}"),
            ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls },
            ChatEvent::Usage(usage),
        ]
    );
}

#[test]
fn held_back_text_keeps_its_log_probabilities() {
    let logprob = |bytes: &[u8]| TokenLogprob { bytes: bytes.to_vec(), logprob: -0.5, top: Vec::new() };
    let part = |text: &str| GenerationEvent::Text {
        choice: 0,
        text: text.to_owned(),
        logprobs: vec![logprob(text.as_bytes())],
        usage: Default::default(),
    };
    let events = read(true, 1, vec![part("{"), part("x"), part("y")]);
    assert_eq!(
        events[1..],
        [
            ChatEvent::Text { choice: 0, text: "{x".to_owned(), logprobs: vec![logprob(b"{"), logprob(b"x")] },
            ChatEvent::Text { choice: 0, text: "y".to_owned(), logprobs: vec![logprob(b"y")] },
        ]
    );
}

#[test]
fn a_failure_is_the_last_event() {
    let error = Error::new(ErrorCode::DeadlineExceeded, "Too late.");
    let events = read(false, 1, vec![text(0, "a"), GenerationEvent::Failed(error.clone()), text(0, "b")]);
    assert_eq!(events, [ChatEvent::Start, said(0, "a"), ChatEvent::Error(error.clone())]);
    assert_eq!(read(false, 1, vec![GenerationEvent::Failed(error.clone())]), [ChatEvent::Error(error)]);
}
