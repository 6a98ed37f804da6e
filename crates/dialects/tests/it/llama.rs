//! The Llama API: canonical to wire to canonical is the identity.

use freehold_dialects::canonical::{ChatEvent, ChatRequest, ModerationRequest, ModerationResponse, ResponseFormat, Verdict};
use freehold_dialects::llama::{chat, error, moderations};
use freehold_domain::{Error, ErrorCode};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary as any_;

prop_compose! {
    fn request()(
        model in any_::model(),
        messages in vec(any_::message(false, false), 1..5),
        (tools, tool_choice) in any_::tools(),
        format in any_::format(),
        sampling in any_::sampling(),
        stream in any::<bool>(),
        user in any_::user(),
    ) -> ChatRequest {
        let response_format = match format {
            ResponseFormat::JsonSchema { name, schema, .. } => ResponseFormat::JsonSchema { name, schema, strict: true },
            _ => ResponseFormat::Text,
        };
        let sampling = any_::plain_sampling(sampling);
        ChatRequest {
            model, messages, tools, tool_choice, parallel_tool_calls: true, response_format, sampling, stream, include_usage: true, user,
        }
    }
}

pub fn decode_stream(wire: &[u8], cuts: &[usize]) -> Vec<ChatEvent> {
    let (mut decoder, mut events) = (chat::StreamDecoder::new(), Vec::new());
    for piece in any_::pieces(wire, cuts) {
        decoder.push(piece, &mut events);
    }
    decoder.finish(&mut events);
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_survive_the_wire(request in request()) {
        prop_assert_eq!(chat::decode_request(&chat::encode_request(&request)), Ok(request));
    }

    #[test]
    fn answers_survive_the_wire(head in any_::head(), answer in any_::answer(1..2, false)) {
        prop_assert_eq!(chat::decode_answer(&chat::encode_answer(&head, &answer)), Ok((head.id, answer)));
    }

    #[test]
    fn streams_survive_the_wire(head in any_::head(), events in any_::events(1..2, false), cuts in any_::cuts()) {
        let (mut encoder, mut wire) = (chat::StreamEncoder::new(&head), Vec::new());
        for event in &events {
            encoder.encode(event, &mut wire);
        }
        prop_assert_eq!(decode_stream(&wire, &cuts), events);
    }

    #[test]
    fn moderations_survive_the_wire(
        model in any_::model(),
        messages in vec(any_::message(false, false), 1..4),
        results in vec((any::<bool>(), vec(any_::some_text(), 0..3)), 0..3),
    ) {
        let request = ModerationRequest { model: Some(model.clone()), messages };
        prop_assert_eq!(moderations::decode_request(&moderations::encode_request(&request)), Ok(request));
        let results = results.into_iter().map(|(flagged, categories)| Verdict { flagged, categories }).collect();
        let answer = ModerationResponse { model, results };
        let wire = serde_json::to_vec(&moderations::encode_answer(&answer)).unwrap();
        prop_assert_eq!(moderations::decode_answer(&wire), Ok(answer));
    }

    #[test]
    fn errors_survive_the_wire(code in 0..ErrorCode::ALL.len(), message in any_::text(), param in proptest::option::of(any_::text())) {
        let mut fault = Error::new(ErrorCode::ALL[code], message);
        fault.param = param;
        let mut event = Vec::new();
        error::encode_event(&fault, &mut event);
        prop_assert_eq!(decode_stream(&event, &[]), vec![ChatEvent::Error(fault)]);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..256), cuts in any_::cuts()) {
        let _ = chat::decode_request(&bytes);
        let _ = chat::decode_answer(&bytes);
        let _ = moderations::decode_request(&bytes);
        let _ = error::decode(500, &bytes);
        prop_assert_eq!(decode_stream(&bytes, &cuts).len(), 1);
    }
}

/// Arguments of two calls that come in turns are told apart by the id.
#[test]
fn calls_in_turns_are_told_apart() {
    let start = |call, id: &str| ChatEvent::ToolCallStart { choice: 0, call, id: id.to_owned(), name: "f".to_owned() };
    let more = |call, text: &str| ChatEvent::ToolCallArguments { choice: 0, call, fragment: text.to_owned() };
    let events = vec![
        ChatEvent::Start,
        start(0, "a"),
        start(1, "b"),
        more(0, "{"),
        more(1, "["),
        more(0, "}"),
        ChatEvent::Usage(Default::default()),
    ];
    let head = freehold_dialects::canonical::AnswerHead { id: "x".into(), model: "m".into(), created_s: 0 };
    let (mut encoder, mut wire) = (chat::StreamEncoder::new(&head), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut wire));
    assert_eq!(decode_stream(&wire, &[]), events);
}
