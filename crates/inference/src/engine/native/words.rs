//! What has to be known of a GGUF file before llama.cpp loads it: how many words its vocabulary has, found without reading
//! them, since another thread does that while the weights are loaded, and of which kind most of its weights are.
//!
//! **Invariant:** nothing of the file is trusted: what is not as expected gives no answer, and llama.cpp judges the file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const NUMBER: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const ENTRIES_MAX: u64 = 65_536;
/// Longest key that is believed, and longest name of an architecture, in bytes.
const KEY_BYTES_MAX: u64 = 1024;

/// What a file says of its vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// `general.architecture`.
    pub architecture: String,
    /// Entries of the vocabulary.
    pub count: u32,
    /// `general.file_type`: the kind of most weights, as llama.cpp numbers them.
    pub file_type: Option<u32>,
}

impl Words {
    /// Reads the beginning of a file, up to its vocabulary.
    pub fn of(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        Start { file: BufReader::with_capacity(64 << 10, file), length }.words()
    }
}

struct Start {
    file: BufReader<File>,
    length: u64,
}

impl Start {
    fn words(mut self) -> Option<Words> {
        let (magic, version) = (self.u32()?, self.u32()?);
        if magic != u32::from_le_bytes(*b"GGUF") || !(2..=3).contains(&version) {
            return None;
        }
        let _tensors = self.u64()?;
        let entries = self.u64()?;
        let (mut architecture, mut file_type) = (None, None);
        for _ in 0..entries.min(ENTRIES_MAX) {
            let (key, kind) = (self.text()?, self.u32()?);
            match (key.as_str(), kind) {
                ("general.architecture", TEXT) => architecture = Some(self.text()?),
                ("general.file_type", NUMBER) => file_type = Some(self.u32()?),
                ("tokenizer.ggml.tokens", ARRAY) => {
                    let (_, count) = (self.u32()?, self.u64()?);
                    return Some(Words { architecture: architecture?, count: u32::try_from(count).ok()?, file_type });
                }
                _ => self.skip(kind)?,
            }
        }
        None
    }

    fn skip(&mut self, kind: u32) -> Option<()> {
        match kind {
            TEXT => {
                let bytes = self.u64()?;
                self.over(bytes)
            }
            ARRAY => {
                let (kind, count) = (self.u32()?, self.u64()?);
                match kind {
                    TEXT => (0..count).try_for_each(|_| self.skip(TEXT)),
                    _ => self.over(bytes_of(kind)?.checked_mul(count)?),
                }
            }
            _ => self.over(bytes_of(kind)?),
        }
    }

    fn over(&mut self, bytes: u64) -> Option<()> {
        let bytes = i64::try_from(bytes).ok().filter(|_| bytes <= self.length)?;
        self.file.seek_relative(bytes).ok()
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.u64().filter(|bytes| *bytes <= KEY_BYTES_MAX)?;
        let mut text = vec![0; usize::try_from(bytes).ok()?];
        self.file.read_exact(&mut text).ok()?;
        String::from_utf8(text).ok()
    }

    fn u32(&mut self) -> Option<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

/// Bytes of a number or a truth value.
fn bytes_of(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [&text(key)[..], &kind.to_le_bytes(), value].concat()
    }

    fn array(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &count.to_le_bytes(), items].concat()
    }

    fn file(entries: &[Vec<u8>]) -> Vec<u8> {
        let start = [&b"GGUF"[..], &3_u32.to_le_bytes(), &0_u64.to_le_bytes(), &(entries.len() as u64).to_le_bytes()].concat();
        [start, entries.concat()].concat()
    }

    fn read(bytes: &[u8]) -> Option<(String, u32, Option<u32>)> {
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), bytes).expect("written");
        Words::of(path.path()).map(|words| (words.architecture, words.count, words.file_type))
    }

    #[test]
    fn the_vocabulary_is_counted_and_not_read() {
        let architecture = entry("general.architecture", TEXT, &text("llama"));
        let others = [
            entry("a", 0, &[1]),
            entry("b", 12, &[0; 8]),
            entry("general.file_type", NUMBER, &3_u32.to_le_bytes()),
            entry("c", TEXT, &text("some text")),
            entry("d", ARRAY, &array(5, 3, &[0; 12])),
            entry("e", ARRAY, &array(TEXT, 2, &[text("x"), text("")].concat())),
        ];
        // The words themselves are not there.
        let words = entry("tokenizer.ggml.tokens", ARRAY, &array(TEXT, 49_152, &[]));
        let whole = file(&[std::slice::from_ref(&architecture), &others[..], std::slice::from_ref(&words)].concat());
        assert_eq!(read(&whole), Some(("llama".to_owned(), 49_152, Some(3))));
        assert_eq!(read(&file(&[architecture.clone(), words.clone()])), Some(("llama".to_owned(), 49_152, None)));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end} bytes");
        }
        let huge = [
            file(std::slice::from_ref(&words)),
            file(std::slice::from_ref(&architecture)),
            file(&[entry("x", ARRAY, &array(TEXT, u64::MAX, &[])), words.clone()]),
            file(&[entry("x", ARRAY, &array(10, u64::MAX, &[])), words.clone()]),
            file(&[entry("x", ARRAY, &array(ARRAY, 1, &[])), words.clone()]),
            file(&[entry("x", TEXT, &u64::MAX.to_le_bytes()), words.clone()]),
            file(&[entry("x", 99, &[]), words.clone()]),
            file(&[architecture, entry("tokenizer.ggml.tokens", ARRAY, &array(TEXT, u64::MAX, &[]))]),
        ];
        for (index, bytes) in huge.iter().enumerate() {
            assert_eq!(read(bytes), None, "{index}");
        }
    }
}
