//! OpenAI chat completions: canonical to wire to canonical is the identity.

use freehold_dialects::canonical::{ChatEvent, ChatRequest, Usage};
use freehold_dialects::openai::{Extensions, chat, error};
use freehold_domain::{Error, ErrorCode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::arbitrary as any_;

prop_compose! {
    fn request()(
        model in any_::model(),
        messages in vec(any_::message(true, true), 1..5),
        (tools, tool_choice) in any_::tools(),
        parallel_tool_calls in any::<bool>(),
        response_format in any_::format(),
        mut sampling in any_::sampling(),
        logprobs in option::of(0u8..=20),
        stream in any::<bool>(),
        include_usage in any::<bool>(),
        user in any_::user(),
    ) -> ChatRequest {
        sampling.logprobs = logprobs;
        ChatRequest { model, messages, tools, tool_choice, parallel_tool_calls, response_format, sampling, stream, include_usage, user }
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
    fn requests_survive_the_wire(request in request(), salt in option::of("[a-z0-9]{1,64}"), running_usage in any::<bool>()) {
        let extensions = Extensions { cache_salt: salt, running_usage };
        let wire = chat::encode_request(&request, &extensions);
        prop_assert_eq!(chat::decode_worker_request(&wire), Ok((request.clone(), extensions)));
        let wire = chat::encode_request(&request, &Extensions::default());
        prop_assert_eq!(chat::decode_request(&wire), Ok(request));
    }

    #[test]
    fn answers_survive_the_wire(head in any_::head(), answer in any_::answer(0..4, true)) {
        let wire = chat::encode_answer(&head, &answer);
        prop_assert_eq!(chat::decode_answer(&wire), Ok((head, answer)));
    }

    #[test]
    fn a_stream_that_says_what_was_used_so_far_is_the_same(head in any_::head(), mut events in any_::events(1..4, true), used in any::<u32>()) {
        events.retain(|event| !matches!(event, ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. }));
        let (mut encoder, mut decoder) = (chat::StreamEncoder::new(&head, true), chat::StreamDecoder::new());
        let (mut wire, mut read) = (Vec::new(), Vec::new());
        for (index, event) in events.iter().enumerate() {
            let usage = Usage { prompt_tokens: used, cached_tokens: used / 2, completion_tokens: u32::try_from(index).expect("few") };
            encoder.set_running_usage(&usage);
            wire.clear();
            encoder.encode(event, &mut wire);
            decoder.push(&wire, &mut read);
            if matches!(event, ChatEvent::Text { .. }) {
                prop_assert_eq!(decoder.running_usage(), Some(usage));
            }
        }
        decoder.finish(&mut read);
        prop_assert_eq!(read, events);
    }

    #[test]
    fn streams_survive_the_wire(head in any_::head(), events in any_::events(1..4, true), cuts in any_::cuts()) {
        let (mut encoder, mut wire) = (chat::StreamEncoder::new(&head, true), Vec::new());
        for event in &events {
            encoder.encode(event, &mut wire);
        }
        prop_assert!(wire.ends_with(b"data: [DONE]\n\n"));
        prop_assert_eq!(decode_stream(&wire, &cuts), events);
    }

    #[test]
    fn errors_survive_the_wire(code in 0..ErrorCode::ALL.len(), message in any_::some_text(), param in option::of(any_::some_text())) {
        let code = ErrorCode::ALL[code];
        let mut fault = Error::new(code, message);
        fault.param = param;
        let body = serde_json::to_vec(&error::encode(&fault)).unwrap();
        prop_assert_eq!(error::decode(code.http_status(), &body), fault.clone());
        let mut event = Vec::new();
        error::encode_event(&fault, &mut event);
        prop_assert_eq!(decode_stream(&event, &[]), vec![ChatEvent::Error(fault)]);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..256), cuts in any_::cuts()) {
        let _ = chat::decode_request(&bytes);
        let _ = chat::decode_answer(&bytes);
        let _ = error::decode(500, &bytes);
        let events = decode_stream(&bytes, &cuts);
        prop_assert_eq!(events.iter().filter(|event| matches!(event, ChatEvent::Error(_) | ChatEvent::Usage(_))).count(), 1);
    }
}
