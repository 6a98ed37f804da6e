//! Framing of event streams.

use freehold_dialects::sse::{Decoder, FRAME_BYTES_MAX, Frame, FrameTooLong};
use proptest::prelude::*;

use crate::arbitrary as any_;

fn frames(pieces: &[&[u8]]) -> Vec<(String, String)> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(piece, &mut frames).unwrap();
    }
    frames.into_iter().map(|Frame { event, data }| (event, String::from_utf8_lossy(&data).into_owned())).collect()
}

#[track_caller]
fn check(stream: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(event, data)| ((*event).to_owned(), (*data).to_owned())).collect();
    assert_eq!(frames(&[stream.as_bytes()]), expected, "{stream:?}");
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(frames(&bytes), expected, "byte by byte: {stream:?}");
}

#[test]
fn framing() {
    check("data: a\n\n", &[("", "a")]);
    check("data:a\r\n\r\ndata: b\r\rdata: c\n\n", &[("", "a"), ("", "b"), ("", "c")]);
    check("\u{feff}data: a\n\n", &[("", "a")]);
    check(": ping\n\n: ping\r\n\r\ndata: a\n\n", &[("", "a")]);
    check("event: error\ndata: a\ndata:  b\nid: 5\nretry: 1\n\n", &[("error", "a\n b")]);
    check("event: error\n\ndata: a\n\n", &[("", "a")]);
    check("data\n\ndata: x", &[("", "")]);
    check("data: \n\n", &[("", "")]);
    check("dat: a\ndatax: b\n\n", &[]);
}

#[test]
fn a_frame_that_is_too_long_is_refused() {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    let line = vec![b'x'; FRAME_BYTES_MAX / 2 + 1];
    decoder.push(&line, &mut frames).unwrap();
    assert_eq!(decoder.push(&line, &mut frames), Err(FrameTooLong));
    let mut decoder = Decoder::new();
    let line = [b"data: ", vec![b'x'; FRAME_BYTES_MAX / 2].as_slice(), b"\n"].concat();
    decoder.push(&line, &mut frames).unwrap();
    decoder.push(&line, &mut frames).unwrap();
    assert_eq!(decoder.push(&line, &mut frames), Err(FrameTooLong));
    assert!(frames.is_empty());
}

proptest! {
    #[test]
    fn cuts_make_no_difference(bytes in "[dat: \r\n\u{e9}e]{0,80}", cuts in any_::cuts()) {
        let cut = frames(&any_::pieces(bytes.as_bytes(), &cuts));
        prop_assert_eq!(frames(&[bytes.as_bytes()]), cut);
    }
}
