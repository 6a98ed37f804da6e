//! From the bytes of tokens to text that may be shown.
//!
//! A token may hold part of a character, and a stop string may lie across tokens. Text is held back until it is
//! known to be whole characters and no beginning of a stop string. Bytes that are not UTF-8 become U+FFFD.
//!
//! **Invariant:** what was given out is never taken back, and never holds a stop string or a part of one that came.

use freehold_dialects::canonical::TokenLogprob;

/// Assembles the text of one answer.
#[derive(Debug)]
pub(crate) struct Assembler {
    stops: std::sync::Arc<[Vec<u8>]>,
    pending: Vec<u8>,
    /// Bytes given out or dropped before `pending`.
    emitted: usize,
    /// Log-probabilities of tokens, with the place where each token ends.
    logprobs: std::collections::VecDeque<(usize, TokenLogprob)>,
}

/// Text that may be shown now.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Piece {
    /// The text.
    pub text: String,
    /// The log-probabilities of tokens that end in it.
    pub logprobs: Vec<TokenLogprob>,
    /// A stop string came: the answer ends here.
    pub stopped: bool,
}

impl Assembler {
    /// For an answer that ends before any of these; empty strings are ignored.
    pub fn new(stops: std::sync::Arc<[Vec<u8>]>) -> Self {
        Self { stops, pending: Vec::new(), emitted: 0, logprobs: std::collections::VecDeque::new() }
    }

    /// Adds a token's bytes.
    pub fn push(&mut self, bytes: &[u8], logprob: Option<TokenLogprob>) -> Piece {
        let searched = self.pending.len();
        self.pending.extend_from_slice(bytes);
        if let Some(logprob) = logprob {
            self.logprobs.push_back((self.emitted + self.pending.len(), logprob));
        }
        if let Some(place) = self.find_stop(searched) {
            let text = decode(&self.pending[..place]);
            let begun = self.take_logprobs(self.emitted + place);
            self.pending.clear();
            return Piece { text, logprobs: begun, stopped: true };
        }
        let held = self.held_for_stop();
        let free = whole_characters(&self.pending[..self.pending.len() - held]);
        self.give(free)
    }

    /// The answer ends: gives out what was held back.
    pub fn finish(&mut self) -> Piece {
        self.give(self.pending.len())
    }

    fn give(&mut self, length: usize) -> Piece {
        let text = decode(&self.pending[..length]);
        self.pending.drain(..length);
        self.emitted += length;
        let logprobs = self.take_logprobs(self.emitted);
        Piece { text, logprobs, stopped: false }
    }

    fn take_logprobs(&mut self, end: usize) -> Vec<TokenLogprob> {
        let count = self.logprobs.iter().take_while(|(token_end, _)| *token_end <= end).count();
        self.logprobs.drain(..count).map(|(_, logprob)| logprob).collect()
    }

    /// The first place where a stop string begins; only those that end in the new bytes are looked for.
    fn find_stop(&self, searched: usize) -> Option<usize> {
        let stops = self.stops.iter().filter(|stop| !stop.is_empty());
        let places = stops.filter_map(|stop| {
            let from = (searched + 1).saturating_sub(stop.len());
            let rest = &self.pending[from.min(self.pending.len())..];
            rest.windows(stop.len()).position(|window| window == stop.as_slice()).map(|place| from + place)
        });
        places.min()
    }

    /// Bytes at the end that may be the beginning of a stop string.
    fn held_for_stop(&self) -> usize {
        let longest = |stop: &Vec<u8>| {
            let most = stop.len().saturating_sub(1).min(self.pending.len());
            (1..=most).rev().find(|&length| self.pending.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

fn decode(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Length without an unfinished character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for start in (tail..bytes.len()).rev() {
        let byte = bytes[start];
        if byte & 0b1100_0000 == 0b1000_0000 {
            continue;
        }
        return match std::str::from_utf8(&bytes[start..]) {
            Err(error) if error.error_len().is_none() => start + error.valid_up_to(),
            _ => bytes.len(),
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assemble(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let stops: Vec<Vec<u8>> = stops.iter().map(|stop| stop.as_bytes().to_vec()).collect();
        let mut assembler = Assembler::new(stops.into());
        let mut texts = Vec::new();
        for token in tokens {
            let piece = assembler.push(token, None);
            texts.push(piece.text);
            if piece.stopped {
                return (texts, true);
            }
        }
        texts.push(assembler.finish().text);
        (texts, false)
    }

    #[test]
    fn characters_are_not_cut() {
        let smile = "😀".as_bytes();
        let (texts, _) = assemble(&[], &[b"a", &smile[..1], &smile[1..3], &smile[3..], b"b"]);
        assert_eq!(texts, ["a", "", "", "😀", "b", ""]);
        let (texts, _) = assemble(&[], &[b"a", &smile[..2], b"b", &smile[..2]]);
        assert_eq!(texts, ["a", "", "\u{FFFD}b", "", "\u{FFFD}"]);
    }

    #[test]
    fn stop_strings_across_tokens() {
        assert_eq!(assemble(&["END"], &[b"go E", b"N", b"D more"]), (vec!["go ".into(), String::new(), String::new()], true));
        assert_eq!(
            assemble(&["END"], &[b"go E", b"N", b"ough"]),
            (vec!["go ".into(), String::new(), "ENough".into(), String::new()], false)
        );
        assert_eq!(assemble(&["aab"], &[b"aaa", b"ab"]), (vec!["a".into(), "a".into()], true));
        assert_eq!(assemble(&["bc", "abcd"], &[b"xab", b"c"]), (vec!["x".into(), "a".into()], true));
    }

    #[test]
    fn log_probabilities_come_with_their_text() {
        let logprob = |bytes: &[u8]| TokenLogprob { bytes: bytes.to_vec(), logprob: -1.0, top: Vec::new() };
        let mut assembler = Assembler::new(vec![b"STOP".to_vec()].into());
        assert_eq!(assembler.push(b"a", Some(logprob(b"a"))).logprobs.len(), 1);
        assert_eq!(assembler.push(b"S", Some(logprob(b"S"))).logprobs.len(), 0);
        assert_eq!(assembler.push(b"x", Some(logprob(b"x"))).logprobs.len(), 2);
        assert_eq!(assembler.push(b"ST", Some(logprob(b"ST"))).logprobs.len(), 0);
        let end = assembler.push(b"OP", Some(logprob(b"OP")));
        assert!(end.stopped && end.logprobs.is_empty());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(text in "[abé😀]{0,24}", cuts in proptest::collection::vec(1_usize..5, 0..32), stop in "[abé]{1,3}") {
            let bytes = text.as_bytes();
            let mut tokens = Vec::new();
            let mut at = 0;
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                tokens.push(&bytes[at..end]);
                at = end;
            }
            tokens.push(&bytes[at..]);
            let (texts, stopped) = assemble(&[&stop], &tokens);
            // A token that holds both ends of the answer: the stop string that ends first wins.
            let expect = text.find(&stop).map_or(text.as_str(), |place| &text[..place]);
            prop_assert_eq!(texts.concat(), expect);
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
