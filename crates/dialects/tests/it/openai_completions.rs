//! OpenAI completions and embeddings: canonical to wire to canonical is the identity.

use freehold_dialects::canonical::{ChatEvent, CompletionRequest, EmbeddingRequest, EmbeddingResponse, Prompt, Usage};
use freehold_dialects::openai::{Extensions, completions, embeddings};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary as any_;

fn prompts() -> impl Strategy<Value = Vec<Prompt>> {
    vec(prop_oneof![any_::some_text().prop_map(Prompt::Text), vec(any::<u32>(), 1..5).prop_map(Prompt::Tokens)], 1..5)
}

prop_compose! {
    fn request()(
        model in any_::model(),
        prompts in prompts(),
        echo in any::<bool>(),
        suffix in proptest::option::of(any_::text()),
        response_format in any_::format(),
        mut sampling in any_::sampling(),
        logprobs in proptest::option::of(0u8..=20),
        stream in any::<bool>(),
        include_usage in any::<bool>(),
        user in any_::user(),
    ) -> CompletionRequest {
        sampling.logprobs = logprobs;
        CompletionRequest { model, prompts, echo, suffix, response_format, sampling, stream, include_usage, user }
    }
}

pub fn decode_stream(wire: &[u8], cuts: &[usize]) -> Vec<ChatEvent> {
    let (mut decoder, mut events) = (completions::StreamDecoder::new(), Vec::new());
    for piece in any_::pieces(wire, cuts) {
        decoder.push(piece, &mut events);
    }
    decoder.finish(&mut events);
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_survive_the_wire(request in request(), salt in proptest::option::of("[a-z0-9]{1,64}"), running_usage in any::<bool>()) {
        let extensions = Extensions { cache_salt: salt, running_usage };
        let wire = completions::encode_request(&request, &extensions);
        prop_assert_eq!(completions::decode_worker_request(&wire), Ok((request, extensions)));
    }

    #[test]
    fn answers_survive_the_wire(head in any_::head(), mut answer in any_::answer(0..4, true)) {
        for choice in &mut answer.choices {
            choice.tool_calls.clear();
        }
        let wire = completions::encode_answer(&head, &answer);
        prop_assert_eq!(completions::decode_answer(&wire), Ok((head, answer)));
    }

    #[test]
    fn a_stream_that_says_what_was_used_so_far_is_the_same(head in any_::head(), mut events in any_::events(1..4, true), used in any::<u32>()) {
        events.retain(|event| !matches!(event, ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. }));
        let (mut encoder, mut decoder) = (completions::StreamEncoder::new(&head, true), completions::StreamDecoder::new());
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
    fn streams_survive_the_wire(head in any_::head(), mut events in any_::events(1..4, true), cuts in any_::cuts()) {
        events.retain(|event| !matches!(event, ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. }));
        let (mut encoder, mut wire) = (completions::StreamEncoder::new(&head, true), Vec::new());
        for event in &events {
            encoder.encode(event, &mut wire);
        }
        prop_assert_eq!(decode_stream(&wire, &cuts), events);
    }

    #[test]
    fn embedding_requests_survive_the_wire(
        model in any_::model(),
        inputs in prompts(),
        dimensions in proptest::option::of(1u32..=65_536),
        base64 in any::<bool>(),
        user in any_::user(),
        salt in proptest::option::of("[a-z0-9]{1,64}"),
    ) {
        let request = EmbeddingRequest { model, inputs, dimensions, base64, user };
        let extensions = Extensions { cache_salt: salt, running_usage: false };
        let wire = embeddings::encode_request(&request, &extensions);
        prop_assert_eq!(embeddings::decode_worker_request(&wire), Ok((request, extensions)));
    }

    #[test]
    fn embeddings_survive_the_wire(
        model in any_::model(),
        vectors in vec(vec(-1f32..=1.0, 0..6), 0..4),
        prompt_tokens in any::<u32>(),
        base64 in any::<bool>(),
    ) {
        let answer = EmbeddingResponse { model, embeddings: vectors, prompt_tokens };
        prop_assert_eq!(embeddings::decode_answer(&embeddings::encode_answer(&answer, base64)), Ok(answer));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..256), cuts in any_::cuts()) {
        let _ = completions::decode_request(&bytes);
        let _ = completions::decode_answer(&bytes);
        let _ = embeddings::decode_request(&bytes);
        let _ = embeddings::decode_answer(&bytes);
        let events = decode_stream(&bytes, &cuts);
        prop_assert_eq!(events.len(), 1);
    }
}
