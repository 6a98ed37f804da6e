//! A scanner of HCL that yields attributes and blocks with their lines and skips over expressions.
//!
//! It knows HCL's tokens (comments, strings, templates, heredocs, brackets) and nothing of Terraform. It goes
//! through the text once, without recursion and without building a tree, which is what makes a large estate cheap;
//! an expression is handed out as the text it spans, and parsed by [`crate::read::expr`] only where its value is wanted.
//!
//! **Invariant:** every call of [`Scanner::next_item`] moves forward or returns [`Item::End`]; wrong text yields
//! [`Item::Wrong`] and the scan goes on with the next line.

use memchr::{memchr, memchr_iter, memmem};

use super::super::facts::REFERENCES_MAX;

/// What the scanner found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// `name = expression`.
    Attribute {
        /// The name, without quotes.
        name: &'a str,
        /// The expression's text, trimmed.
        expression: &'a str,
    },
    /// `kind "label" ... {`; the labels are in [`Scanner::labels`].
    Open {
        /// The block's type.
        kind: &'a str,
        /// Whether the block's first token stands at the beginning of its line.
        at_margin: bool,
    },
    /// `}`.
    Close,
    /// Text that is not HCL, skipped to the end of the line.
    Wrong(&'static str),
    /// The end of the text.
    End,
}

/// The scanner's place in a text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    counted: usize,
    line: u32,
    /// 1-based line of the last item's first token.
    pub item_line: u32,
    /// Labels of the last opened block, without quotes.
    pub labels: Vec<&'a str>,
    /// Names that expressions mentioned since this was last cleared, each once: `var.x`, `aws_vpc.main`.
    pub mentions: Vec<&'a str>,
    stack: Vec<u8>,
    open_heredocs: u32,
}

/// Heredocs without an end that are searched to the end of the text; every further one is given up at once, or many of
/// them would take quadratic time.
const OPEN_HEREDOCS_MAX: u32 = 16;

const INCOMPLETE: &str = "an expression is not complete: a bracket or a quote is missing";

/// On the stack: a quoted string is open.
const QUOTE: u8 = b'"';
/// On the stack: a template's `${` or `%{` is open inside a string.
const TEMPLATE: u8 = b'$';

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at: 0,
            counted: 0,
            line: 1,
            item_line: 1,
            labels: Vec::new(),
            mentions: Vec::new(),
            stack: Vec::new(),
            open_heredocs: 0,
        }
    }

    /// 1-based line of an offset that is not before the last one asked for.
    fn line_at(&mut self, offset: usize) -> u32 {
        if offset > self.counted {
            let lines = memchr_iter(b'\n', &self.bytes[self.counted..offset]).count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.counted = offset;
        }
        self.line
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next item of the body that the scanner stands in.
    pub(crate) fn next_item(&mut self) -> Item<'a> {
        self.skip_blank();
        let start = self.at;
        self.item_line = self.line_at(start);
        let Some(first) = self.peek() else {
            return Item::End;
        };
        let name = match first {
            b'}' => {
                self.at += 1;
                return Item::Close;
            }
            b'"' => match self.quoted_label() {
                Some(name) => name,
                None => return self.wrong("a name is not closed with a quote"),
            },
            _ if is_name_start(first) => self.name(),
            _ => return self.wrong("expected an attribute or a block"),
        };
        self.skip_spaces();
        match self.peek() {
            Some(b'=' | b':') if self.bytes.get(self.at + 1) != Some(&b'=') => {
                self.at += 1;
                match self.expression() {
                    Some(expression) => Item::Attribute { name, expression },
                    // A brace that closes nothing in the expression closes the block around it.
                    None if self.peek() == Some(b'}') => Item::Wrong(INCOMPLETE),
                    None => self.wrong(INCOMPLETE),
                }
            }
            _ => self.block(name, start),
        }
    }

    fn block(&mut self, kind: &'a str, start: usize) -> Item<'a> {
        self.labels.clear();
        loop {
            self.skip_spaces();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    let at_margin = start == 0 || self.bytes[start - 1] == b'\n';
                    return Item::Open { kind, at_margin };
                }
                Some(b'"') if self.labels.len() < 8 => match self.quoted_label() {
                    Some(label) => self.labels.push(label),
                    None => return self.wrong("a label is not closed with a quote"),
                },
                Some(first) if is_name_start(first) && self.labels.len() < 8 => {
                    let label = self.name();
                    self.labels.push(label);
                }
                // Not HCL, but its meaning is plain: the brace stands on the next line.
                Some(b'\n' | b'\r') if !self.labels.is_empty() && self.brace_follows() => self.skip_blank(),
                _ => return self.wrong("expected `=` or `{` after a name"),
            }
        }
    }

    fn brace_follows(&self) -> bool {
        self.bytes[self.at..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
    }

    fn wrong(&mut self, why: &'static str) -> Item<'a> {
        let rest = &self.bytes[self.at..];
        self.at += memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        Item::Wrong(why)
    }

    fn name(&mut self) -> &'a str {
        let start = self.at;
        while self.at < self.bytes.len() && is_name(self.bytes[self.at]) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// A quoted name on one line, without its quotes; escapes are left as they are.
    fn quoted_label(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let mut at = start;
        while let Some(&b) = self.bytes.get(at) {
            match b {
                b'"' => {
                    self.at = at + 1;
                    return Some(&self.text[start..at]);
                }
                b'\\' => at += 2,
                b'\n' => break,
                _ => at += 1,
            }
        }
        None
    }

    fn skip_spaces(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'/') if self.bytes.get(self.at + 1) == Some(&b'*') => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | b';') => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(b'/') if self.bytes.get(self.at + 1) == Some(&b'/') => self.skip_line(),
                Some(b'/') if self.bytes.get(self.at + 1) == Some(&b'*') => self.skip_block_comment(),
                // A byte order mark, or a space that came with copied text.
                Some(0xef) if self.bytes[self.at..].starts_with(b"\xef\xbb\xbf") => self.at += 3,
                Some(0xc2) if self.bytes[self.at..].starts_with(b"\xc2\xa0") => self.at += 2,
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += memchr(b'\n', rest).unwrap_or(rest.len());
    }

    fn skip_block_comment(&mut self) {
        let body = self.at + 2;
        let rest = self.bytes.get(body..).unwrap_or_default();
        self.at = memmem::find(rest, b"*/").map_or(self.bytes.len(), |n| body + n + 2);
    }

    /// Skips an expression and returns its text; `None` if a bracket or a quote is left open, and then the scanner
    /// stands where it gave up.
    fn expression(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        let start = self.at;
        self.stack.clear();
        let mut end = start;
        while let Some(&b) = self.bytes.get(self.at) {
            if self.stack.last() == Some(&QUOTE) {
                if !self.string_part() {
                    return None;
                }
                end = self.at;
                continue;
            }
            match b {
                b'\n' if self.stack.is_empty() => break,
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.at += 1;
                    continue;
                }
                b'#' => {
                    self.skip_line();
                    continue;
                }
                b'/' if self.bytes.get(self.at + 1) == Some(&b'/') => {
                    self.skip_line();
                    continue;
                }
                b'/' if self.bytes.get(self.at + 1) == Some(&b'*') => {
                    self.skip_block_comment();
                    continue;
                }
                b'"' => self.open(QUOTE),
                b'{' => self.open(b'}'),
                b'(' => self.open(b')'),
                b'[' => self.open(b']'),
                b'}' if self.stack.is_empty() => break,
                b'}' | b')' | b']' => match self.stack.pop() {
                    Some(open) if open == b || (open == TEMPLATE && b == b'}') => self.at += 1,
                    _ => return None,
                },
                b'<' if self.bytes.get(self.at + 1) == Some(&b'<') => {
                    if !self.heredoc() {
                        return None;
                    }
                }
                _ if is_name_start(b) => self.traversal(),
                b'0'..=b'9' => {
                    while self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
                        self.at += 1;
                    }
                }
                b'.' => {
                    self.at += 1;
                    self.name();
                }
                _ => self.at += 1,
            }
            end = self.at;
        }
        (self.stack.is_empty() && end > start).then(|| &self.text[start..end])
    }

    fn open(&mut self, close: u8) {
        self.stack.push(close);
        self.at += 1;
    }

    /// Goes on inside a quoted string up to its end or the next template; false if the line ends first.
    fn string_part(&mut self) -> bool {
        while let Some(&b) = self.bytes.get(self.at) {
            match b {
                b'"' => {
                    self.stack.pop();
                    self.at += 1;
                    return true;
                }
                b'\\' => self.at += 2,
                b'\n' => return false,
                b'$' | b'%' => {
                    let run = self.bytes[self.at..].iter().take_while(|&&c| c == b).count();
                    self.at += run;
                    // `$${` is an escape for `${`.
                    if run == 1 && self.peek() == Some(b'{') {
                        self.open(TEMPLATE);
                        return true;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        false
    }

    /// Skips a heredoc to the end of its closing word; false if that word never comes. `<<` without a word is skipped.
    fn heredoc(&mut self) -> bool {
        let mut word = self.at + 2;
        if self.bytes.get(word) == Some(&b'-') {
            word += 1;
        }
        let mut body = word;
        while self.bytes.get(body).is_some_and(|&b| is_name(b)) {
            body += 1;
        }
        if body == word {
            self.at += 2;
            return true;
        }
        let mark = &self.bytes[word..body];
        let mut at = self.bytes[body..].iter().position(|&b| b == b'\n').map_or(self.bytes.len(), |n| body + n + 1);
        let start = at;
        while at < self.bytes.len() && self.open_heredocs < OPEN_HEREDOCS_MAX {
            let rest = &self.bytes[at..];
            let length = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest[..length].trim_ascii();
            if line == mark {
                self.heredoc_mentions(start, at);
                let indent = length - rest[..length].trim_ascii_start().len();
                self.at = at + indent + mark.len();
                return true;
            }
            at += length + 1;
        }
        // The heredoc is never closed: go on behind its first line, so that what follows is still seen.
        self.open_heredocs = self.open_heredocs.saturating_add(1);
        self.at = start.min(self.bytes.len());
        false
    }

    fn heredoc_mentions(&mut self, start: usize, end: usize) {
        let mut from = start;
        while let Some(found) = memmem::find(&self.bytes[from..end], b"${") {
            self.at = from + found + 2;
            while self.at < end && !matches!(self.bytes[self.at], b'}' | b'\n') {
                if is_name_start(self.bytes[self.at]) {
                    self.traversal();
                } else {
                    self.at += 1;
                }
            }
            from = self.at.min(end);
        }
    }

    /// Skips a name; if it is a traversal, notes what it mentions.
    fn traversal(&mut self) {
        let start = self.at;
        let root = self.name();
        if self.peek() != Some(b'.') {
            return;
        }
        let parts = match root {
            "each" | "count" | "self" | "path" | "terraform" => return,
            "data" | "module" | "ephemeral" => 2,
            "var" | "local" => 1,
            _ if root.contains('_') => 1,
            _ => return,
        };
        for _ in 0..parts {
            if self.peek() != Some(b'.') || !self.bytes.get(self.at + 1).is_some_and(|&b| is_name_start(b)) {
                break;
            }
            self.at += 1;
            self.name();
        }
        let mention = &self.text[start..self.at];
        if self.mentions.len() < REFERENCES_MAX && !self.mentions.contains(&mention) {
            self.mentions.push(mention);
        }
    }
}

/// Whether a byte can begin a name. Bytes of other alphabets can.
pub(crate) fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

/// Whether a byte can continue a name.
pub(crate) fn is_name(b: u8) -> bool {
    is_name_start(b) || b.is_ascii_digit() || b == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<String> {
        let mut scanner = Scanner::new(text);
        let mut seen = Vec::new();
        loop {
            let item = scanner.next_item();
            let line = scanner.item_line;
            seen.push(match item {
                Item::Attribute { name, expression } => format!("{line} {name}={expression}"),
                Item::Open { kind, .. } => format!("{line} {kind} {:?}", scanner.labels),
                Item::Close => format!("{line} close"),
                Item::Wrong(why) => format!("{line} wrong: {why}"),
                Item::End => return seen,
            });
        }
    }

    #[test]
    fn blocks_and_attributes() {
        let text = "# c\nresource \"a_b\" \"c\" { /* x */\n  n = 1 # one\n  m = {\n    k = \"}${f(\"}\")}\"\n  }\n  b {}\n}\n";
        assert_eq!(
            items(text),
            ["2 resource [\"a_b\", \"c\"]", "3 n=1", "4 m={\n    k = \"}${f(\"}\")}\"\n  }", "7 b []", "7 close", "8 close"]
        );
    }

    #[test]
    fn heredocs_hide_what_they_hold() {
        let text = "a = <<-EOT\n  resource \"x\" \"y\" {\n  ${aws_vpc.main.id}\n  EOT\nb = f(<<E\n}\nE\n)\n";
        assert_eq!(items(text), ["1 a=<<-EOT\n  resource \"x\" \"y\" {\n  ${aws_vpc.main.id}\n  EOT", "5 b=f(<<E\n}\nE\n)"]);
    }

    #[test]
    fn wrong_text_is_left_behind() {
        assert_eq!(
            items("a = \"x\nb = 2\n= 3\nc {\n"),
            [
                "1 wrong: an expression is not complete: a bracket or a quote is missing",
                "2 b=2",
                "3 wrong: expected an attribute or a block",
                "4 c []"
            ]
        );
    }

    #[test]
    fn mentions_are_collected_once() {
        let mut scanner = Scanner::new("a = [aws_vpc.main.id, \"${aws_vpc.main.arn}-${var.x}\", data.aws_ami.u[0].id, each.value.b_c]\n");
        scanner.next_item();
        assert_eq!(scanner.mentions, ["aws_vpc.main", "var.x", "data.aws_ami.u"]);
    }
}
