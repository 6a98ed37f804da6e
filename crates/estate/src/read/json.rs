//! JSON as people and tools write it: comments, trailing commas and line breaks in strings are accepted.
//!
//! **Invariant:** without recursion, and in one pass; after an error, the tree of what came before is still returned.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memmem};

use super::tree::{Builder, Data, Node};

/// What was read of a JSON text.
pub(crate) struct Json<'a> {
    /// The value, as far as it was read.
    pub root: Option<Node<'a>>,
    /// Line and reason of the first place that was not understood or left out.
    pub trouble: Option<(u32, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: u32,
    counted: usize,
    open: Vec<u8>,
    builder: Builder<'a>,
}

/// Parses a JSON text.
pub(crate) fn parse(text: &str) -> Json<'_> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, line: 1, counted: 0, open: Vec::new(), builder: Builder::default() };
    let error = parser.run().err().map(|why| (parser.line_here(), why));
    let (root, cut) = parser.builder.finish();
    Json { root, trouble: error.or(cut) }
}

impl<'a> Parser<'a> {
    fn line_here(&mut self) -> u32 {
        let at = self.at.min(self.bytes.len());
        if at > self.counted {
            let lines = memchr_iter(b'\n', &self.bytes[self.counted..at]).count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.counted = at;
        }
        self.line
    }

    fn run(&mut self) -> Result<(), &'static str> {
        let mut expect = Expect::Value;
        loop {
            self.skip_blank()?;
            let Some(&b) = self.bytes.get(self.at) else {
                return if self.open.is_empty() { Ok(()) } else { Err("the JSON text ends too early") };
            };
            expect = match (expect, b) {
                (Expect::Value | Expect::ValueOrEnd, b'{') => self.start(b'}', Data::Map(Vec::new())),
                (Expect::Value | Expect::ValueOrEnd, b'[') => self.start(b']', Data::List(Vec::new())),
                (Expect::ValueOrEnd | Expect::CommaOrEnd, b']') => self.end(b']')?,
                (Expect::KeyOrEnd | Expect::CommaOrEnd, b'}') => self.end(b'}')?,
                (Expect::Value | Expect::ValueOrEnd, _) => {
                    self.scalar()?;
                    Expect::CommaOrEnd
                }
                (Expect::KeyOrEnd, b'"') => {
                    self.scalar()?;
                    Expect::Colon
                }
                (Expect::Colon, b':') => {
                    self.at += 1;
                    Expect::Value
                }
                (Expect::CommaOrEnd, b',') => {
                    self.at += 1;
                    if self.open.last() == Some(&b'}') { Expect::KeyOrEnd } else { Expect::ValueOrEnd }
                }
                (Expect::KeyOrEnd, _) => return Err("expected a key in quotes or `}`"),
                (Expect::Colon, _) => return Err("expected `:` after a key"),
                (Expect::CommaOrEnd, _) => return Err("expected `,` or a closing bracket"),
            };
            if self.open.is_empty() {
                return self.behind();
            }
        }
    }

    /// Behind the value there is nothing but blanks.
    fn behind(&mut self) -> Result<(), &'static str> {
        self.skip_blank()?;
        if self.at < self.bytes.len() {
            return Err("there is text behind the end of the JSON value");
        }
        Ok(())
    }

    fn start(&mut self, close: u8, data: Data<'a>) -> Expect {
        let line = self.line_here();
        self.at += 1;
        self.open.push(close);
        self.builder.start(Node { line, tag: None, data }, 0);
        if close == b'}' { Expect::KeyOrEnd } else { Expect::ValueOrEnd }
    }

    fn end(&mut self, close: u8) -> Result<Expect, &'static str> {
        if self.open.pop() != Some(close) {
            return Err("a closing bracket does not match the opening one");
        }
        self.at += 1;
        self.builder.end();
        Ok(Expect::CommaOrEnd)
    }

    fn scalar(&mut self) -> Result<(), &'static str> {
        let line = self.line_here();
        let data = if self.bytes[self.at] == b'"' {
            Data::Text(self.string()?)
        } else {
            let start = self.at;
            while self.bytes.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)) {
                self.at += 1;
            }
            match &self.text[start..self.at] {
                "" => return Err("expected a value"),
                "null" => Data::Null,
                word => Data::Text(Cow::Borrowed(word)),
            }
        };
        self.builder.scalar(Node { line, tag: None, data }, 0);
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            match memchr::memchr2(b'"', b'\\', self.bytes.get(at..).unwrap_or_default()) {
                Some(n) if self.bytes[at + n] == b'"' => {
                    at += n;
                    break;
                }
                Some(n) => {
                    escaped = true;
                    at += n + 2;
                }
                None => return Err("a string is not closed with a quote"),
            }
        }
        self.at = at + 1;
        let raw = &self.text[start..at];
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    fn skip_blank(&mut self) -> Result<(), &'static str> {
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            match rest {
                [b' ' | b'\t' | b'\r' | b'\n', ..] => self.at += 1,
                [b'/', b'/', ..] | [b'#', ..] => self.at += memchr(b'\n', rest).unwrap_or(rest.len()),
                [b'/', b'*', ..] => match memmem::find(&rest[2..], b"*/") {
                    Some(n) => self.at += n + 4,
                    None => return Err("a comment is not closed"),
                },
                [0xef, 0xbb, 0xbf, ..] => self.at += 3,
                _ => return Ok(()),
            }
        }
    }
}

/// Resolves the escapes of a JSON string; wrong ones are kept as written.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut after = rest[at + 1..].chars();
        match after.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let (found, used) = unicode(after.as_str());
                text.push(found);
                rest = &after.as_str()[used..];
                continue;
            }
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
        rest = after.as_str();
    }
    text.push_str(rest);
    text
}

/// The character of the digits behind `\u`, a second half included, and how many bytes it took.
fn unicode(digits: &str) -> (char, usize) {
    let unit = |from: &str| from.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let Some(first) = unit(digits) else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    if let Some(single) = char::from_u32(first) {
        return (single, 4);
    }
    let second = digits.get(4..).and_then(|rest| rest.strip_prefix("\\u")).and_then(unit);
    match second {
        Some(low) if (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&low) => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas() {
        let json = parse("// c\n{ /* x */ \"a\": [1, 2,],\n \"b\\u00e9\\ud83d\\ude00\": null, }");
        assert!(json.trouble.is_none());
        let root = json.root.expect("a value");
        assert_eq!(root.get("a").map(|a| a.list().len()), Some(2));
        assert_eq!(root.entry("bé😀").map(|e| e.line), Some(3));
    }

    #[test]
    fn an_error_keeps_what_came_before() {
        let json = parse("{\"a\": {\"b\": 1}, \"c\": {\"d\": ]");
        assert_eq!(json.root.as_ref().and_then(|r| r.at(&["a", "b"])).and_then(Node::text), Some("1"));
        assert!(json.trouble.is_some());
    }

    #[test]
    fn deep_text_is_cut() {
        let deep = "[".repeat(200_000);
        let json = parse(&deep);
        assert!(json.trouble.is_some());
        let closed = format!("{{\"a\": {}{}, \"b\": 1}}", "[".repeat(5000), "]".repeat(5000));
        let json = parse(&closed);
        assert_eq!(json.root.as_ref().and_then(|r| r.text_at("b")), Some("1"));
        assert!(json.trouble.is_some());
    }
}
