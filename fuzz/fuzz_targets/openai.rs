//! OpenAI's bodies: nothing panics, and what is accepted means the same when it is written and read again.

#![no_main]

use freehold_dialects::openai::{Extensions, chat, completions, embeddings, error, responses};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let none = Extensions::default();
    if let Ok(request) = chat::decode_request(bytes) {
        assert_eq!(chat::decode_request(&chat::encode_request(&request, &none)), Ok(request));
    }
    if let Ok(request) = completions::decode_request(bytes) {
        assert_eq!(completions::decode_request(&completions::encode_request(&request, &none)), Ok(request));
    }
    if let Ok(request) = embeddings::decode_request(bytes) {
        assert_eq!(embeddings::decode_request(&embeddings::encode_request(&request, &none)), Ok(request));
    }
    if let Ok(mut asked) = responses::decode_request(bytes) {
        let (items, mut read) = (serde_json::Value::Array(asked.stored_items("req_1")).to_string(), Vec::new());
        assert_eq!(responses::decode_turn(&items, "[]", &mut read), Ok(()));
        assert!(asked.store == Some(false) || asked.request.messages.ends_with(&read));
    }
    let _ = chat::decode_answer(bytes);
    let _ = completions::decode_answer(bytes);
    let _ = embeddings::decode_answer(bytes);
    let _ = error::decode(500, bytes);
});
