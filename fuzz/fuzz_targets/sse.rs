//! Streams: the first byte says how the rest is cut, and the cuts make no difference to the events.

#![no_main]

use freehold_dialects::canonical::ChatEvent;
use freehold_dialects::{llama, openai};
use libfuzzer_sys::fuzz_target;

macro_rules! events {
    ($decoder:expr, $pieces:expr) => {{
        let (mut decoder, mut events) = ($decoder, Vec::<ChatEvent>::new());
        for piece in $pieces {
            decoder.push(piece, &mut events);
        }
        decoder.finish(&mut events);
        events
    }};
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, stream)) = bytes.split_first() else { return };
    let length = usize::from(length).max(1);
    let whole = events!(openai::chat::StreamDecoder::new(), [stream]);
    assert_eq!(events!(openai::chat::StreamDecoder::new(), stream.chunks(length)), whole);
    let whole = events!(openai::completions::StreamDecoder::new(), [stream]);
    assert_eq!(events!(openai::completions::StreamDecoder::new(), stream.chunks(length)), whole);
    let whole = events!(llama::chat::StreamDecoder::new(), [stream]);
    assert_eq!(events!(llama::chat::StreamDecoder::new(), stream.chunks(length)), whole);
});
