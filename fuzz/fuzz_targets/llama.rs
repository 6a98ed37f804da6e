//! The Llama API's bodies: nothing panics, and what is accepted means the same when it is written and read again.

#![no_main]

use freehold_dialects::llama::{chat, error, moderations};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = chat::decode_request(bytes) {
        assert_eq!(chat::decode_request(&chat::encode_request(&request)), Ok(request));
    }
    if let Ok(request) = moderations::decode_request(bytes) {
        assert_eq!(moderations::decode_request(&moderations::encode_request(&request)), Ok(request));
    }
    let _ = chat::decode_answer(bytes);
    let _ = moderations::decode_answer(bytes);
    let _ = error::decode(500, bytes);
});
