//! YAML, document by document, so that a mistake in one does not hide the others.
//!
//! **Invariant:** lines are those of the file; after an error, the tree of what came before is still returned.

use std::borrow::Cow;

use memchr::memchr;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::tree::{Builder, Data, Node};

/// One document of a YAML text.
pub(crate) struct Document<'a> {
    /// The document's text.
    pub text: &'a str,
    /// Lines of the file before the document's first.
    pub lines_before: u32,
    /// The value, as far as it was read.
    pub root: Option<Node<'a>>,
    /// Line and reason of the first place that was not understood or left out.
    pub trouble: Option<(u32, String)>,
    /// Whether the parser gave up, so that text behind the error was not read.
    pub broken: bool,
}

/// Iterates over the documents of a text; empty ones are left out.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    Pieces { text, at: 0, line: 0 }.filter(|(piece, _)| has_content(piece)).map(|(piece, before)| parse(piece, before))
}

/// Pieces of a text that begin with a `---` line, each with the number of lines before it.
struct Pieces<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a str, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        if self.at >= bytes.len() {
            return None;
        }
        let (start, before) = (self.at, self.line);
        loop {
            let rest = &bytes[self.at..];
            self.at += memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
            self.line = self.line.saturating_add(1);
            if self.at >= bytes.len() || is_marker(&bytes[self.at..]) {
                return Some((&self.text[start..self.at], before));
            }
        }
    }
}

fn is_marker(rest: &[u8]) -> bool {
    rest.starts_with(b"---") && rest.get(3).is_none_or(u8::is_ascii_whitespace)
}

fn has_content(piece: &str) -> bool {
    piece.lines().any(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with('%') && line != "---" && line != "..."
    })
}

fn parse(text: &str, lines_before: u32) -> Document<'_> {
    let mut builder = Builder::default();
    let mut error = None;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX).saturating_add(lines_before);
                feed(&mut builder, event, line);
            }
            Err(scan) => {
                let line = u32::try_from(scan.marker().line()).unwrap_or(u32::MAX).saturating_add(lines_before);
                error = Some((line, format!("not valid YAML: {}", scan.info())));
                break;
            }
        }
    }
    let (root, cut) = builder.finish();
    let broken = error.is_some();
    let trouble = error.or(cut.map(|(line, why)| (line, why.to_owned())));
    Document { text, lines_before, root, trouble, broken }
}

fn feed<'a>(builder: &mut Builder<'a>, event: Event<'a>, line: u32) {
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let tag = local_tag(tag);
            let data = if style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null") && tag.is_none() {
                Data::Null
            } else {
                Data::Text(text)
            };
            // A key is text whatever it looks like.
            let data = match data {
                Data::Null if builder.wants_key() => Data::Text(Cow::Borrowed("null")),
                data => data,
            };
            builder.scalar(Node { line, tag, data }, anchor);
        }
        Event::SequenceStart(anchor, tag) => {
            builder.start(Node { line, tag: local_tag(tag), data: Data::List(Vec::new()) }, anchor);
        }
        Event::MappingStart(anchor, tag) => {
            builder.start(Node { line, tag: local_tag(tag), data: Data::Map(Vec::new()) }, anchor);
        }
        Event::SequenceEnd | Event::MappingEnd => builder.end(),
        Event::Alias(anchor) => builder.alias(anchor, line),
        Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
    }
}

/// A tag of the application (`!Ref`), not one of YAML's own.
fn local_tag(tag: Option<Cow<'_, Tag>>) -> Option<Box<str>> {
    tag.filter(|tag| tag.handle == "!" && !tag.suffix.is_empty()).map(|tag| tag.suffix.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tags_and_documents() {
        let text = "# head\n---\na: !Ref X\nb:\n  - 1\n---\nc: {d: e}\n--- \n";
        let docs: Vec<_> = documents(text).collect();
        assert_eq!(docs.len(), 2);
        let first = docs[0].root.as_ref().expect("a tree");
        assert_eq!(first.entry("a").map(|e| (e.line, e.value.tag.as_deref())), Some((3, Some("Ref"))));
        assert_eq!(first.entry("b").map(|e| e.line), Some(4));
        assert_eq!(docs[1].root.as_ref().and_then(|r| r.entry("c")).map(|e| e.line), Some(7));
    }

    #[test]
    fn a_broken_document_keeps_what_came_before() {
        let docs: Vec<_> = documents("a: 1\nb: {{ x }}-y\nc: 2\n---\nd: 3\n").collect();
        assert!(docs[0].broken);
        assert_eq!(docs[0].root.as_ref().and_then(|r| r.text_at("a")), Some("1"));
        assert_eq!(docs[1].root.as_ref().and_then(|r| r.text_at("d")), Some("3"));
    }

    #[test]
    fn aliases_expand_within_bounds() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        text.push_str("end: here\n");
        let docs: Vec<_> = documents(&text).collect();
        assert!(docs[0].trouble.is_some());
        assert_eq!(docs[0].root.as_ref().and_then(|r| r.text_at("end")), Some("here"));
    }

    #[test]
    fn merge_keys_are_filled_in() {
        let docs: Vec<_> = documents("x: &x {image: a, cpu: 1}\ny:\n  <<: *x\n  image: b\n").collect();
        let y = docs[0].root.as_ref().and_then(|r| r.get("y")).expect("y");
        assert_eq!((y.text_at("image"), y.text_at("cpu")), (Some("b"), Some("1")));
    }
}
