//! Bicep's tokens.
//!
//! **Invariant:** one pass without recursion; a string with templates is one token, whatever is inside.

use memchr::{memchr, memchr_iter, memmem};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// A number.
    Number(&'a str),
    /// A string, without its quotes, escapes and templates as written.
    Text(&'a str),
    /// Any other character.
    Mark(u8),
    /// The end of a line.
    Newline,
    /// The end of the text.
    End,
}

/// A place in a Bicep text.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    counted: usize,
    line: u32,
    /// Offset of the last token.
    pub start: usize,
}

impl<'a> Lexer<'a> {
    /// A lexer at the beginning of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { text, bytes: text.as_bytes(), at: 0, counted: 0, line: 1, start: 0 }
    }

    /// 1-based line of the last token.
    pub(super) fn line(&mut self) -> u32 {
        if self.start > self.counted {
            let lines = memchr_iter(b'\n', &self.bytes[self.counted..self.start]).count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.counted = self.start;
        }
        self.line
    }

    /// Whether the last token stands at the beginning of its line.
    pub(super) fn at_margin(&self) -> bool {
        self.start == 0 || self.bytes[self.start - 1] == b'\n'
    }

    /// The next token without moving.
    pub(super) fn peek(&self) -> Token<'a> {
        self.clone().next()
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token<'a> {
        self.skip_blank();
        self.start = self.at;
        let Some(&b) = self.bytes.get(self.at) else {
            return Token::End;
        };
        match b {
            b'\n' => {
                self.at += 1;
                Token::Newline
            }
            b'\'' => self.string(),
            b'0'..=b'9' => {
                self.skip_word();
                Token::Number(&self.text[self.start..self.at])
            }
            _ if is_name(b) => {
                self.skip_word();
                Token::Name(&self.text[self.start..self.at])
            }
            _ => {
                self.at += 1;
                Token::Mark(b)
            }
        }
    }

    fn skip_word(&mut self) {
        while self.bytes.get(self.at).is_some_and(|&b| is_name(b) || b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = &self.bytes[self.at..];
            match rest {
                [b' ' | b'\t' | b'\r', ..] => self.at += 1,
                [b'/', b'/', ..] => self.at += memchr(b'\n', rest).unwrap_or(rest.len()),
                [b'/', b'*', ..] => self.at += memmem::find(&rest[2..], b"*/").map_or(rest.len(), |n| n + 4),
                [0xef, 0xbb, 0xbf, ..] => self.at += 3,
                _ => return,
            }
        }
    }

    fn string(&mut self) -> Token<'a> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"'''") {
            let inside = self.at + 3;
            let length = memmem::find(&self.bytes[inside..], b"'''").unwrap_or(self.bytes.len() - inside);
            self.at = (inside + length + 3).min(self.bytes.len());
            return Token::Text(&self.text[inside..inside + length]);
        }
        let inside = self.at + 1;
        // Open strings and templates; `'` stands for a string.
        let mut open = vec![b'\''];
        self.at = inside;
        while let Some(&b) = self.bytes.get(self.at) {
            if b == b'\n' {
                break;
            }
            self.at += 1;
            let in_string = open.last() == Some(&b'\'');
            match b {
                b'\'' if in_string => {
                    open.pop();
                    if open.is_empty() {
                        return Token::Text(&self.text[inside..self.at - 1]);
                    }
                }
                b'\'' => open.push(b'\''),
                b'\\' if in_string => self.at += usize::from(self.bytes.get(self.at).is_some_and(|&b| b < 0x80 && b != b'\n')),
                b'$' if in_string && self.bytes.get(self.at) == Some(&b'{') => {
                    open.push(b'}');
                    self.at += 1;
                }
                b'{' if !in_string => open.push(b'}'),
                b'}' if !in_string => {
                    open.pop();
                }
                _ => {}
            }
        }
        // Not closed on its line: the line is lost, the next is not.
        Token::Text(&self.text[inside..self.at])
    }
}

/// Names in the templates of a string.
pub(super) fn template_names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).flat_map(|piece| {
        let code = piece.split('}').next().unwrap_or_default();
        code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
    })
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}
