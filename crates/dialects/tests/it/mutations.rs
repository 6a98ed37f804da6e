//! Good messages with one value replaced: nothing panics, and what is still accepted means the same when it is
//! written and read again. The short form of the fuzz targets.

use freehold_dialects::openai::{Extensions, chat, completions, embeddings, error, responses};
use freehold_dialects::{llama, openai};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::arbitrary as any_;

const REQUESTS: [&str; 6] = [
    include_str!("../golden/openai.chat.request.json"),
    include_str!("../golden/openai.completions.request.json"),
    include_str!("../golden/openai.embeddings.request.json"),
    include_str!("../golden/openai.responses.request.json"),
    include_str!("../golden/llama.chat.request.json"),
    include_str!("../golden/llama.moderations.request.json"),
];

const ANSWERS: [&str; 6] = [
    include_str!("../golden/openai.chat.text.answer.json"),
    include_str!("../golden/openai.chat.calls.answer.json"),
    include_str!("../golden/openai.completions.answer.json"),
    include_str!("../golden/openai.embeddings.base64.json"),
    include_str!("../golden/llama.chat.calls.answer.json"),
    include_str!("../golden/llama.moderations.answer.json"),
];

const STREAMS: [&str; 5] = [
    include_str!("../golden/openai.chat.calls.sse"),
    include_str!("../golden/openai.chat.failed.sse"),
    include_str!("../golden/openai.completions.sse"),
    include_str!("../golden/llama.chat.calls.sse"),
    include_str!("../golden/llama.chat.failed.sse"),
];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (-3i32..300).prop_map(Value::from),
        any_::text().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}, [[]], "x", 1])),
        Just(json!({"type": "text", "text": "x"})),
    ]
}

/// Every place of a value, as JSON pointers.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, format!("{at}/{index}"), found)),
        Value::Object(map) => map.iter().for_each(|(name, item)| places(item, format!("{at}/{name}"), found)),
        _ => {}
    }
    found.push(at);
}

fn mutated(text: &str, place: usize, value: Value) -> Vec<u8> {
    let mut whole: Value = serde_json::from_str(text).unwrap();
    let mut found = Vec::new();
    places(&whole, String::new(), &mut found);
    *whole.pointer_mut(&found[place % found.len()]).unwrap() = value;
    serde_json::to_vec(&whole).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn requests(which in 0..REQUESTS.len(), place in any::<usize>(), value in value()) {
        let bytes = mutated(REQUESTS[which], place, value);
        let none = Extensions::default();
        if let Ok((request, extensions)) = chat::decode_worker_request(&bytes) {
            prop_assert_eq!(chat::decode_worker_request(&chat::encode_request(&request, &extensions)), Ok((request, extensions)));
        }
        if let Ok(request) = completions::decode_request(&bytes) {
            prop_assert_eq!(completions::decode_request(&completions::encode_request(&request, &none)), Ok(request));
        }
        if let Ok(request) = embeddings::decode_request(&bytes) {
            prop_assert_eq!(embeddings::decode_request(&embeddings::encode_request(&request, &none)), Ok(request));
        }
        if let Ok(request) = llama::chat::decode_request(&bytes) {
            prop_assert_eq!(llama::chat::decode_request(&llama::chat::encode_request(&request)), Ok(request));
        }
        if let Ok(request) = llama::moderations::decode_request(&bytes) {
            prop_assert_eq!(llama::moderations::decode_request(&llama::moderations::encode_request(&request)), Ok(request));
        }
        if let Ok(mut asked) = responses::decode_request(&bytes) {
            // What is stored of it is read back as it was asked.
            let (items, mut read) = (serde_json::Value::Array(asked.stored_items("req_1")).to_string(), Vec::new());
            prop_assert_eq!(responses::decode_turn(&items, "[]", &mut read), Ok(()));
            if asked.store != Some(false) {
                prop_assert!(asked.request.messages.ends_with(&read), "{:?} and {:?}", asked.request.messages, read);
                prop_assert!(asked.request.messages.len() - read.len() <= 1, "the instructions at most");
            }
        }
    }

    #[test]
    fn answers(which in 0..ANSWERS.len(), place in any::<usize>(), value in value()) {
        let bytes = mutated(ANSWERS[which], place, value);
        let _ = (chat::decode_answer(&bytes), completions::decode_answer(&bytes), embeddings::decode_answer(&bytes));
        let _ = (llama::chat::decode_answer(&bytes), llama::moderations::decode_answer(&bytes), openai::models::decode_list(&bytes));
        let _ = (error::decode(500, &bytes), llama::error::decode(500, &bytes));
    }

    #[test]
    fn streams(which in 0..STREAMS.len(), place in any::<usize>(), byte in any::<u8>(), cuts in any_::cuts()) {
        let mut bytes = STREAMS[which].as_bytes().to_vec();
        let place = place % bytes.len();
        bytes[place] = byte;
        prop_assert_eq!(crate::openai_chat::decode_stream(&bytes, &cuts), crate::openai_chat::decode_stream(&bytes, &[]));
        prop_assert_eq!(crate::openai_completions::decode_stream(&bytes, &cuts), crate::openai_completions::decode_stream(&bytes, &[]));
        prop_assert_eq!(crate::llama::decode_stream(&bytes, &cuts), crate::llama::decode_stream(&bytes, &[]));
    }
}
