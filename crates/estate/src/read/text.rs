//! From bytes to text, and from offsets to lines.
//!
//! **Invariant:** no bytes are refused; what is not text is replaced, and line numbers stay those of the file.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr};

/// A file's text and what had to be done to get it.
pub(crate) struct Decoded<'a> {
    /// The text without a byte order mark.
    pub text: Cow<'a, str>,
    /// Line and description of what is not as it should be.
    pub note: Option<(u32, String)>,
}

/// Decodes UTF-8 (with or without mark), UTF-16 with a mark, and anything else with replacement characters.
pub(crate) fn decode(bytes: &[u8]) -> Decoded<'_> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Decoded<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded { text: Cow::Borrowed(text), note: None },
        Err(error) => {
            let line = line_of(bytes, error.valid_up_to());
            let why = "not valid UTF-8: the wrong bytes were replaced; save the file as UTF-8".to_owned();
            Decoded { text: Cow::Owned(String::from_utf8_lossy(bytes).into_owned()), note: Some((line, why)) }
        }
    }
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Decoded<'_> {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Decoded { text: Cow::Owned(text), note: None }
}

/// 1-based line of an offset.
pub(crate) fn line_of(bytes: &[u8], offset: usize) -> u32 {
    let end = offset.min(bytes.len());
    u32::try_from(memchr_iter(b'\n', &bytes[..end]).count()).unwrap_or(u32::MAX - 1) + 1
}

/// The prefix of at most `bytes_max` bytes that ends at a line's end where there is one.
pub(crate) fn whole_lines(bytes: &[u8], bytes_max: usize) -> &[u8] {
    if bytes.len() <= bytes_max {
        return bytes;
    }
    let head = &bytes[..bytes_max];
    &head[..memrchr(b'\n', head).map_or(bytes_max, |at| at + 1)]
}

/// Lines of a text with their 1-based numbers, without their ends.
pub(crate) struct Lines<'a> {
    text: &'a str,
    at: usize,
    number: u32,
}

/// Iterates over the lines of a text.
pub(crate) fn lines(text: &str) -> Lines<'_> {
    Lines { text, at: 0, number: 0 }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u32, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.text.len() {
            return None;
        }
        let rest = &self.text.as_bytes()[self.at..];
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &self.text[self.at..self.at + length];
        self.at += length + 1;
        self.number = self.number.saturating_add(1);
        Some((self.number, line.strip_suffix('\r').unwrap_or(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        assert_eq!(decode(b"\xef\xbb\xbfa").text, "a");
        assert_eq!(decode(b"\xff\xfea\0\n\0").text, "a\n");
        assert_eq!(decode(b"\xfe\xff\0a").text, "a");
        let broken = decode(b"a\nb\xff\nc");
        assert_eq!(broken.text, "a\nb\u{fffd}\nc");
        assert_eq!(broken.note.map(|note| note.0), Some(2));
    }

    #[test]
    fn lines_are_numbered_from_one() {
        assert_eq!(lines("a\r\n\nb").collect::<Vec<_>>(), [(1, "a"), (2, ""), (3, "b")]);
        assert_eq!(whole_lines(b"ab\ncd", 4), b"ab\n");
    }
}
