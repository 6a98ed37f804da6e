//! The parser of expressions.
//!
//! **Invariant:** recursion is bounded by [`DEPTH_MAX`]; text that is not an expression gives `None`.

use super::template::{self, quoted_end};
use super::{Expr, Loop, Op, Val};
use crate::read::hcl::scan::{is_name, is_name_start};

/// Levels of nesting.
const DEPTH_MAX: usize = 48;

/// Parses a whole text as one expression.
pub(crate) fn parse(text: &str) -> Option<Expr> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, depth: 0 };
    let expr = parser.expr()?;
    parser.blank();
    (parser.at == text.len()).then_some(expr)
}

/// Parses an expression that is nested `depth` levels deep in a template.
pub(super) fn parse_within(text: &str, depth: usize) -> Option<Expr> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, depth };
    let expr = parser.expr()?;
    parser.blank();
    (parser.at == text.len()).then_some(expr)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn peek_second(&self) -> u8 {
        self.bytes.get(self.at + 1).copied().unwrap_or(0)
    }

    /// Skips blanks, comments and line ends; inside an expression's text, line ends have no other meaning.
    fn blank(&mut self) {
        loop {
            match (self.peek(), self.peek_second()) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => self.at += 1,
                (b'#', _) | (b'/', b'/') => {
                    let rest = &self.bytes[self.at..];
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                (b'/', b'*') => {
                    let rest = &self.bytes[self.at + 2..];
                    self.at += memchr::memmem::find(rest, b"*/").map_or(rest.len() + 2, |n| n + 4);
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, b: u8) -> Option<()> {
        self.blank();
        (self.peek() == b).then(|| self.at += 1)
    }

    fn name(&mut self) -> Option<&'a str> {
        let start = self.at;
        if !is_name_start(self.peek()) {
            return None;
        }
        while is_name(self.peek()) {
            self.at += 1;
        }
        Some(&self.text[start..self.at])
    }

    fn word(&mut self, expected: &str) -> Option<()> {
        self.blank();
        let start = self.at;
        if self.name() == Some(expected) {
            return Some(());
        }
        self.at = start;
        None
    }

    fn expr(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let condition = self.binary(0)?;
        self.blank();
        let expr = if self.peek() == b'?' {
            self.at += 1;
            let then = self.expr()?;
            self.take(b':')?;
            let otherwise = self.expr()?;
            Expr::Cond(Box::new([condition, then, otherwise]))
        } else {
            condition
        };
        self.depth -= 1;
        Some(expr)
    }

    fn operator(&self) -> Option<(Op, u8, usize)> {
        Some(match (self.peek(), self.peek_second()) {
            (b'|', b'|') => (Op::Or, 1, 2),
            (b'&', b'&') => (Op::And, 2, 2),
            (b'=', b'=') => (Op::Eq, 3, 2),
            (b'!', b'=') => (Op::Ne, 3, 2),
            (b'<', b'=') => (Op::Le, 4, 2),
            (b'>', b'=') => (Op::Ge, 4, 2),
            (b'<', _) => (Op::Lt, 4, 1),
            (b'>', _) => (Op::Gt, 4, 1),
            (b'+', _) => (Op::Add, 5, 1),
            (b'-', _) => (Op::Sub, 5, 1),
            (b'*', _) => (Op::Mul, 6, 1),
            (b'/', _) => (Op::Div, 6, 1),
            (b'%', _) => (Op::Rem, 6, 1),
            _ => return None,
        })
    }

    fn binary(&mut self, binding_min: u8) -> Option<Expr> {
        let mut left = self.unary()?;
        // A chain of operators nests to the left: its length bounds the depth of the tree.
        for _ in 0..DEPTH_MAX {
            self.blank();
            let Some((op, binding, length)) = self.operator() else {
                return Some(left);
            };
            if binding <= binding_min {
                return Some(left);
            }
            self.at += length;
            let right = self.binary(binding)?;
            left = Expr::Binary(op, Box::new(left), Box::new(right));
        }
        None
    }

    fn unary(&mut self) -> Option<Expr> {
        self.blank();
        match self.peek() {
            op @ (b'!' | b'-') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return None;
                }
                let of = self.unary()?;
                self.depth -= 1;
                Some(Expr::Unary(op, Box::new(of)))
            }
            _ => {
                let of = self.primary()?;
                self.postfix(of)
            }
        }
    }

    fn postfix(&mut self, mut of: Expr) -> Option<Expr> {
        for _ in 0..DEPTH_MAX {
            match (self.peek(), self.peek_second()) {
                (b'.', b'*') => {
                    self.at += 2;
                    let names = self.names();
                    of = Expr::Splat(Box::new(of), names);
                }
                (b'.', b'.') => return Some(of),
                (b'.', second) => {
                    self.at += 1;
                    if second.is_ascii_digit() {
                        let index = self.digits();
                        of = Expr::Index(Box::new(of), Box::new(Expr::Value(Val::Num(index))));
                    } else {
                        let name = self.name()?;
                        of = Expr::Attr(Box::new(of), name.into());
                    }
                }
                (b'[', _) => {
                    self.at += 1;
                    self.blank();
                    if self.peek() == b'*' {
                        self.at += 1;
                        self.take(b']')?;
                        let names = self.names();
                        of = Expr::Splat(Box::new(of), names);
                    } else {
                        let key = self.expr()?;
                        self.take(b']')?;
                        of = Expr::Index(Box::new(of), Box::new(key));
                    }
                }
                _ => return Some(of),
            }
        }
        None
    }

    fn names(&mut self) -> Vec<Box<str>> {
        let mut names = Vec::new();
        while self.peek() == b'.' && is_name_start(self.peek_second()) {
            self.at += 1;
            names.extend(self.name().map(Box::from));
        }
        names
    }

    fn digits(&mut self) -> f64 {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.text[start..self.at].parse().unwrap_or(0.0)
    }

    fn primary(&mut self) -> Option<Expr> {
        match self.peek() {
            b'(' => {
                self.at += 1;
                let inner = self.expr()?;
                self.take(b')')?;
                Some(inner)
            }
            b'[' => {
                self.at += 1;
                self.list()
            }
            b'{' => {
                self.at += 1;
                self.object()
            }
            b'"' => {
                let end = quoted_end(self.bytes, self.at)?;
                let inside = &self.text[self.at + 1..end - 1];
                self.at = end;
                template::quoted(inside, self.depth)
            }
            b'<' if self.peek_second() == b'<' => self.heredoc(),
            b'0'..=b'9' => self.number(),
            _ => {
                let name = self.name()?;
                if self.peek() == b'(' {
                    self.at += 1;
                    return self.call(name);
                }
                Some(match name {
                    "true" => Expr::Value(Val::Bool(true)),
                    "false" => Expr::Value(Val::Bool(false)),
                    "null" => Expr::Value(Val::Null),
                    _ => Expr::Name(name.into()),
                })
            }
        }
    }

    fn number(&mut self) -> Option<Expr> {
        let start = self.at;
        while self.peek().is_ascii_digit() || (self.peek() == b'.' && self.peek_second().is_ascii_digit()) {
            self.at += 1;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits();
        }
        let number: f64 = self.text[start..self.at].parse().ok()?;
        number.is_finite().then_some(Expr::Value(Val::Num(number)))
    }

    fn call(&mut self, name: &str) -> Option<Expr> {
        let mut arguments = Vec::new();
        let mut expanded = false;
        loop {
            self.blank();
            if self.peek() == b')' {
                self.at += 1;
                break;
            }
            arguments.push(self.expr()?);
            self.blank();
            if self.bytes[self.at..].starts_with(b"...") {
                self.at += 3;
                expanded = true;
                self.blank();
            }
            match self.peek() {
                b',' => self.at += 1,
                b')' => {}
                _ => return None,
            }
        }
        let name = if name.starts_with("provider::") { "" } else { name };
        if expanded {
            let last = arguments.pop()?;
            // `f(list...)` is written as `f...(list)`.
            return Some(Expr::Call(format!("{name}...").into(), vec![Expr::List(arguments), last]));
        }
        Some(Expr::Call(name.into(), arguments))
    }

    fn list(&mut self) -> Option<Expr> {
        if self.word("for").is_some() {
            let each = self.loop_of(b']')?;
            return Some(Expr::For(Box::new(each)));
        }
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.peek() == b']' {
                self.at += 1;
                return Some(Expr::List(items));
            }
            items.push(self.expr()?);
            self.blank();
            match self.peek() {
                b',' => self.at += 1,
                b']' => {}
                _ => return None,
            }
        }
    }

    fn object(&mut self) -> Option<Expr> {
        let start = self.at;
        if self.word("for").is_some() {
            self.blank();
            if is_name_start(self.peek()) {
                let each = self.loop_of(b'}')?;
                return Some(Expr::For(Box::new(each)));
            }
            self.at = start;
        }
        let mut entries = Vec::new();
        loop {
            self.blank();
            if self.peek() == b'}' {
                self.at += 1;
                return Some(Expr::Object(entries));
            }
            let key = self.key()?;
            self.blank();
            if !matches!(self.peek(), b'=' | b':') {
                return None;
            }
            self.at += 1;
            let value = self.expr()?;
            entries.push((key, value));
            self.blank();
            if self.peek() == b',' {
                self.at += 1;
            }
        }
    }

    fn key(&mut self) -> Option<Expr> {
        let start = self.at;
        if let Some(name) = self.name() {
            self.blank();
            if matches!(self.peek(), b'=' | b':') && self.peek_second() != b'=' {
                return Some(Expr::Value(Val::str(name)));
            }
            self.at = start;
        }
        self.expr()
    }

    fn loop_of(&mut self, close: u8) -> Option<Loop> {
        self.blank();
        let mut key_name = None;
        let mut value_name: Box<str> = self.name()?.into();
        self.blank();
        if self.peek() == b',' {
            self.at += 1;
            self.blank();
            key_name = Some(value_name);
            value_name = self.name()?.into();
        }
        self.word("in")?;
        let collection = self.expr()?;
        self.take(b':')?;
        let mut value = self.expr()?;
        let mut key = None;
        let mut grouped = false;
        self.blank();
        if self.bytes[self.at..].starts_with(b"=>") {
            self.at += 2;
            key = Some(value);
            value = self.expr()?;
            self.blank();
            if self.bytes[self.at..].starts_with(b"...") {
                self.at += 3;
                grouped = true;
            }
        }
        let condition = match self.word("if") {
            Some(()) => Some(self.expr()?),
            None => None,
        };
        self.take(close)?;
        Some(Loop { key_name, value_name, collection, key, value, grouped, condition })
    }

    fn heredoc(&mut self) -> Option<Expr> {
        self.at += 2;
        let flush = self.peek() == b'-';
        if flush {
            self.at += 1;
        }
        let mark = self.name()?;
        let body = self.at + memchr::memchr(b'\n', &self.bytes[self.at..])? + 1;
        let mut at = body;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if rest[..length].trim_ascii() == mark.as_bytes() {
                let inside = &self.text[body..at];
                self.at = at + length;
                return template::heredoc(inside, flush, self.depth);
            }
            at += length + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_depth_is_refused() {
        for open in ["(", "[", "{a=", "!", "-", "f(", "x[", "\"${", "a?", "a+(", "[for x in "] {
            assert_eq!(parse(&open.repeat(50_000)), None, "{open}");
        }
        assert_eq!(parse(&format!("1{}", "+1".repeat(10_000))), None);
    }
}
