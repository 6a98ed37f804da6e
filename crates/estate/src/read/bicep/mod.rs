//! Bicep: resources with their nested children, modules, and the values of parameters and variables.
//!
//! A scanner of its own, because it must find declarations in files that a strict grammar refuses.
//!
//! **Invariant:** an explicit stack instead of recursion; a declaration at the margin closes whatever is open.

mod lex;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lex::{Lexer, Token, template_names};

use super::attributes::{put, text, unknown};
use super::facts::{CONFIDENCE_PARSED, CONFIDENCE_SCANNED, FileFacts, Nested, REFERENCES_MAX};
use super::text::lines;
use crate::resource::{Notation, Provider, Resource, Value};

/// An open bracket.
struct Frame {
    close: u8,
    /// Length of the prefix to go back to.
    prefix: usize,
    /// The bracket opened the body of a resource; the prefix of what is around it.
    body: Option<String>,
}

struct Reader<'a, 'f> {
    lexer: Lexer<'a>,
    facts: &'f mut FileFacts,
    frames: Vec<Frame>,
    open: Vec<Resource>,
    symbols: HashSet<&'a str>,
    known: HashMap<&'a str, String>,
    prefix: String,
    opened: u32,
    damaged: bool,
}

/// Reads a `.bicep` file.
pub(crate) fn read(text: &str, facts: &mut FileFacts) {
    let mut reader = Reader {
        lexer: Lexer::new(text),
        facts,
        frames: Vec::new(),
        open: Vec::new(),
        symbols: symbols(text),
        known: HashMap::new(),
        prefix: String::new(),
        opened: 1,
        damaged: false,
    };
    reader.run();
    if reader.damaged {
        add_missing(text, facts);
    }
}

/// Symbolic names that the file declares.
fn symbols(text: &str) -> HashSet<&str> {
    lines(text).filter_map(|(_, line)| head(line)).map(|(_, symbol, _)| symbol).collect()
}

/// Keyword, symbol and the text in quotes of a line that looks like a declaration.
fn head(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim_start();
    let keyword = ["resource ", "module "].into_iter().find(|keyword| line.starts_with(keyword))?;
    let rest = line[keyword.len()..].trim_start();
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let (symbol, rest) = rest.split_at(end);
    let source = rest.trim_start().strip_prefix('\'')?.split('\'').next()?;
    (!symbol.is_empty()).then_some((keyword.trim_end(), symbol, source))
}

impl<'a> Reader<'a, '_> {
    fn run(&mut self) {
        // Where a statement or a key can begin.
        let mut fresh = true;
        loop {
            match self.lexer.next() {
                Token::End => break,
                Token::Newline | Token::Mark(b',') => fresh = true,
                Token::Mark(open @ (b'{' | b'[' | b'(')) => {
                    self.push(open);
                    fresh = open == b'{';
                }
                Token::Mark(close @ (b'}' | b']' | b')')) => {
                    self.close(close);
                    fresh = false;
                }
                Token::Name(name) if fresh => fresh = self.statement(name),
                Token::Text(key) if fresh && self.lexer.peek() == Token::Mark(b':') => fresh = self.value(key),
                Token::Name(name) => {
                    self.mention(name);
                    fresh = false;
                }
                Token::Text(string) => {
                    template_names(string).for_each(|name| self.mention(name));
                    fresh = false;
                }
                Token::Mark(b'@') | Token::Mark(_) | Token::Number(_) => fresh = false,
            }
        }
        if !self.frames.is_empty() {
            self.trouble(self.opened, "the bracket that opens here is not closed");
            self.close_all();
        }
    }

    fn trouble(&mut self, line: u32, why: &str) {
        self.damaged = true;
        self.facts.partly(Some(line), why);
    }

    fn push(&mut self, open: u8) {
        if self.frames.is_empty() {
            self.opened = self.lexer.line();
        }
        let close = match open {
            b'{' => b'}',
            b'[' => b']',
            _ => b')',
        };
        self.frames.push(Frame { close, prefix: self.prefix.len(), body: None });
    }

    fn close(&mut self, close: u8) {
        match self.frames.last() {
            Some(frame) if frame.close == close => self.pop(),
            _ => {
                let line = self.lexer.line();
                self.trouble(line, "a closing bracket does not match the opening one");
            }
        }
    }

    fn pop(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        self.prefix.truncate(frame.prefix);
        if let Some(around) = frame.body {
            self.prefix = around;
            self.finish();
        }
    }

    fn close_all(&mut self) {
        while !self.frames.is_empty() {
            self.pop();
        }
        while !self.open.is_empty() {
            self.finish();
        }
        self.prefix.clear();
    }

    fn finish(&mut self) {
        if let Some(resource) = self.open.pop() {
            self.facts.push(resource);
        }
    }

    /// Reads what a name at the beginning of a line begins; returns whether another can begin right after.
    fn statement(&mut self, name: &'a str) -> bool {
        let line = self.lexer.line();
        let at_margin = self.lexer.at_margin();
        if matches!(name, "resource" | "module") {
            let mut ahead = self.lexer.clone();
            if let (Token::Name(symbol), Token::Text(source)) = (ahead.next(), ahead.next()) {
                self.lexer = ahead;
                if at_margin && !self.frames.is_empty() {
                    self.trouble(self.opened, "the bracket that opens here is not closed");
                    self.close_all();
                }
                return if name == "resource" { self.resource(symbol, source, line) } else { self.module(source, line) };
            }
        }
        if self.lexer.peek() == Token::Mark(b':') && !self.frames.is_empty() {
            return self.value(name);
        }
        if matches!(name, "param" | "var") && self.frames.is_empty() {
            return self.constant();
        }
        self.mention(name);
        false
    }

    /// `param name type = value` and `var name = value`, where the value is a literal.
    fn constant(&mut self) -> bool {
        let Token::Name(name) = self.lexer.next() else {
            return false;
        };
        let mut ahead = self.lexer.clone();
        loop {
            match ahead.next() {
                Token::Mark(b'=') => break,
                Token::Newline | Token::End | Token::Mark(b'{' | b'[' | b'(' | b',') => return false,
                _ => {}
            }
        }
        let value = match ahead.next() {
            Token::Text(value) if !value.contains("${") => value,
            Token::Number(value) | Token::Name(value @ ("true" | "false")) => value,
            _ => return false,
        };
        if matches!(ahead.next(), Token::Newline | Token::End) {
            self.known.insert(name, value.replace("\\'", "'"));
        }
        false
    }

    fn resource(&mut self, symbol: &'a str, source: &str, line: u32) -> bool {
        let own = source.split('@').next().unwrap_or(source);
        let parent = self.open.last();
        let (kind, address) = match parent {
            Some(of) => (
                if own.contains('.') && own.contains('/') { own.to_owned() } else { format!("{}/{own}", of.kind) },
                format!("{}::{symbol}", of.address),
            ),
            None => (own.to_owned(), symbol.to_owned()),
        };
        let mut resource = new_resource(&self.facts.file, line, address, kind);
        let parent_address = parent.map(|of| of.address.clone());
        resource.references.extend(parent_address);
        if let Some(version) = source.split('@').nth(1) {
            put(&mut resource.attributes, "apiVersion", text(version));
        }
        if self.lexer.peek() == Token::Name("existing") {
            self.lexer.next();
            resource.data = true;
        }
        self.open.push(resource);
        if self.body() {
            return true;
        }
        self.finish();
        false
    }

    /// Goes from behind a resource's type into its body: past `=`, a loop and a condition. False if there is no body,
    /// and then nothing was read unless the text is at its end.
    fn body(&mut self) -> bool {
        let start = self.lexer.clone();
        let line = self.lexer.line();
        let frames = self.frames.len();
        if self.find_body() {
            return true;
        }
        self.frames.truncate(frames);
        if self.lexer.peek() == Token::End {
            // Not gone through again, or many such lines would take quadratic time.
            self.trouble(line, "the declaration that begins here has no body");
        } else {
            self.lexer = start;
        }
        false
    }

    fn find_body(&mut self) -> bool {
        let mut parens = 0_usize;
        let mut brackets = 0_usize;
        let mut looped = false;
        loop {
            match self.lexer.next() {
                Token::End => return false,
                Token::Mark(b'(') => parens += 1,
                Token::Mark(b')') => parens = parens.saturating_sub(1),
                // The next declaration: this one has no body.
                Token::Name("resource" | "module") if self.declaration_follows() => return false,
                Token::Name(name) if parens > 0 || looped => self.mention(name),
                // Brackets of arguments.
                _ if parens > 0 => {}
                Token::Mark(b'[') if !looped && self.loop_follows() => {
                    looped = true;
                    self.repeat();
                    self.push(b'[');
                }
                Token::Mark(b'[') => brackets += 1,
                Token::Mark(b']') if brackets > 0 => brackets -= 1,
                Token::Mark(b'{') if brackets == 0 => {
                    let around = std::mem::take(&mut self.prefix);
                    self.push(b'{');
                    if let Some(frame) = self.frames.last_mut() {
                        frame.body = Some(around);
                    }
                    return true;
                }
                Token::Mark(b']' | b'}') => return false,
                Token::Newline if !looped => return false,
                _ => {}
            }
        }
    }

    fn declaration_follows(&self) -> bool {
        let mut ahead = self.lexer.clone();
        matches!((ahead.next(), ahead.next()), (Token::Name(_), Token::Text(_)))
    }

    fn loop_follows(&self) -> bool {
        let mut ahead = self.lexer.clone();
        loop {
            match ahead.next() {
                Token::Newline => {}
                token => return token == Token::Name("for"),
            }
        }
    }

    /// The count of `for i in range(0, N)`, where it is known.
    fn repeat(&mut self) {
        let mut ahead = self.lexer.clone();
        let mut tokens = Vec::new();
        for _ in 0..32 {
            let token = ahead.next();
            match token {
                Token::Newline => continue,
                Token::End | Token::Mark(b':') => break,
                token => tokens.push(token),
            }
        }
        let [.., Token::Name("range"), Token::Mark(b'('), Token::Number(_), Token::Mark(b','), size, Token::Mark(b')')] = tokens.as_slice()
        else {
            return;
        };
        let size = match size {
            Token::Number(size) => size.parse().ok(),
            Token::Name(name) => self.known.get(name).and_then(|value| value.parse().ok()),
            _ => None,
        };
        if let (Some(size), Some(resource)) = (size, self.open.last_mut()) {
            resource.count = size;
        }
    }

    fn module(&mut self, source: &str, line: u32) -> bool {
        self.facts.nested.push(Nested {
            line,
            source: source.into(),
            advice: if source.starts_with("br") || source.starts_with("ts") {
                "the module is in a registry: run `bicep restore` or `bicep build` and audit the built template"
            } else {
                "the module is not among the audited files"
            },
        });
        false
    }

    /// Reads the value behind `key :`.
    fn value(&mut self, key: &str) -> bool {
        self.lexer.next();
        let before = self.prefix.len();
        if before > 0 {
            self.prefix.push('.');
        }
        self.prefix.push_str(key);
        let mut ahead = self.lexer.clone();
        let first = ahead.next();
        match first {
            Token::Mark(open @ (b'{' | b'[')) => {
                self.lexer = ahead;
                self.push(open);
                if let Some(frame) = self.frames.last_mut() {
                    frame.prefix = before;
                }
                return true;
            }
            Token::Text(_) | Token::Number(_) | Token::Name(_)
                if matches!(ahead.next(), Token::Newline | Token::End | Token::Mark(b'}' | b',')) =>
            {
                self.put(first);
            }
            _ => {}
        }
        self.prefix.truncate(before);
        false
    }

    fn put(&mut self, token: Token<'a>) {
        let value = match token {
            Token::Text(value) if value.contains("${") => unknown(value),
            Token::Text(value) => text(&value.replace("\\'", "'")),
            Token::Number(value) | Token::Name(value @ ("true" | "false")) => text(value),
            Token::Name("null") => return,
            Token::Name(name) => self.known.get(name).map_or_else(|| unknown(name), |value| text(value)),
            _ => return,
        };
        let is_label = self.prefix.split('.').any(|part| part == "tags");
        if let Some(resource) = self.open.last_mut()
            && !is_label
            && value != Value::Text(String::new())
        {
            put(&mut resource.attributes, &self.prefix, value);
        }
    }

    fn mention(&mut self, name: &str) {
        if !self.symbols.contains(name) {
            return;
        }
        if let Some(resource) = self.open.last_mut()
            && resource.references.len() < REFERENCES_MAX
            && resource.address != name
            && !resource.references.iter().any(|known| known == name)
        {
            resource.references.push(name.to_owned());
        }
    }
}

fn new_resource(file: &Arc<str>, line: u32, address: String, kind: String) -> Resource {
    Resource {
        file: Arc::clone(file),
        line,
        address,
        provider: if kind.contains('/') { Provider::Azure } else { Provider::Other },
        kind,
        notation: Notation::Bicep,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_PARSED,
    }
}

/// Adds declarations that stand on a line of their own and were not found.
fn add_missing(text: &str, facts: &mut FileFacts) {
    let found: HashSet<u32> = facts.resources.iter().map(|resource| resource.line).collect();
    for (number, line) in lines(text) {
        if let Some(("resource", symbol, source)) = head(super::attributes::cut(line, 4096))
            && !found.contains(&number)
        {
            let kind = source.split('@').next().unwrap_or(source);
            let mut resource = new_resource(&facts.file, number, symbol.to_owned(), kind.to_owned());
            resource.confidence = CONFIDENCE_SCANNED;
            facts.push(resource);
        }
    }
}
