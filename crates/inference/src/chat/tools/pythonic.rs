//! A call written as Python: `f(a=1, b="x", c=[True, None])`.
//!
//! Arguments are literals given by name; they are handed on as JSON, one at a time.
//!
//! **Invariant:** the call is announced only when its first argument (or the closing bracket) was read without
//! fault, and every fragment is part of one valid JSON object.

use serde_json::{Map, Number, Value};

use super::json::Malformed;
use super::stream::Piece;
use crate::chat::python::json_line;

/// Deepest nesting of a literal.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Name,
    FirstKey,
    Key,
    InKey,
    Value,
    AfterCall,
}

/// Reads one call.
#[derive(Debug)]
pub struct PythonCall {
    place: Place,
    name: String,
    key: String,
    value: String,
    /// The quote of the string that is open in `value`.
    quote: Option<char>,
    escaped: bool,
    depth: usize,
    arguments: u32,
}

impl Default for PythonCall {
    fn default() -> Self {
        Self::new()
    }
}

impl PythonCall {
    /// Before the function's name.
    pub fn new() -> Self {
        Self {
            place: Place::Name,
            name: String::new(),
            key: String::new(),
            value: String::new(),
            quote: None,
            escaped: false,
            depth: 0,
            arguments: 0,
        }
    }

    /// Whether the call was announced; from then on it cannot be taken back.
    pub fn announced(&self) -> bool {
        self.arguments > 0
    }

    /// Takes the next character. `Ok(true)`: the call is complete.
    pub fn feed(&mut self, letter: char, functions: &[String], out: &mut Vec<Piece>) -> Result<bool, Malformed> {
        match self.place {
            Place::Name if letter == '(' => {
                if !functions.contains(&self.name) {
                    return Err(Malformed);
                }
                self.place = Place::FirstKey;
            }
            Place::Name => {
                self.name.push(letter);
                if !functions.iter().any(|function| function.starts_with(&self.name)) {
                    return Err(Malformed);
                }
            }
            Place::FirstKey | Place::Key if letter == ')' => return self.complete(out),
            Place::FirstKey | Place::Key if letter.is_whitespace() => {}
            Place::FirstKey | Place::Key if letter.is_alphabetic() || letter == '_' => {
                self.key = letter.to_string();
                self.place = Place::InKey;
            }
            Place::InKey if letter == '=' => {
                self.value.clear();
                self.place = Place::Value;
            }
            Place::InKey if letter == ' ' || letter == '_' || letter.is_alphanumeric() => self.key.push(letter),
            Place::Value => return self.in_value(letter, out),
            _ => return Err(Malformed),
        }
        Ok(false)
    }

    fn in_value(&mut self, letter: char, out: &mut Vec<Piece>) -> Result<bool, Malformed> {
        if let Some(quote) = self.quote {
            self.value.push(letter);
            if self.escaped {
                self.escaped = false;
            } else if letter == '\\' {
                self.escaped = true;
            } else if letter == quote {
                self.quote = None;
            }
            return Ok(false);
        }
        match letter {
            ',' | ')' if self.depth == 0 => {
                self.argument(out)?;
                self.place = Place::Key;
                return if letter == ')' { self.complete(out) } else { Ok(false) };
            }
            '\'' | '"' => self.quote = Some(letter),
            '[' | '{' | '(' => self.depth += 1,
            ']' | '}' | ')' => self.depth = self.depth.checked_sub(1).ok_or(Malformed)?,
            _ if self.value.trim_start().is_empty() && !(letter.is_ascii_alphanumeric() || "-+. \t\n".contains(letter)) => {
                return Err(Malformed);
            }
            _ => {}
        }
        self.value.push(letter);
        Ok(false)
    }

    fn argument(&mut self, out: &mut Vec<Piece>) -> Result<(), Malformed> {
        let key = self.key.trim_end();
        if key.contains(' ') {
            return Err(Malformed);
        }
        let value = literal(&self.value)?;
        let opening = if self.arguments == 0 { "{" } else { ", " };
        if self.arguments == 0 {
            out.push(Piece::Call { name: self.name.clone() });
        }
        self.arguments = self.arguments.saturating_add(1);
        out.push(Piece::Arguments(format!("{opening}{}: {}", Value::String(key.to_owned()), json_line(&value))));
        Ok(())
    }

    fn complete(&mut self, out: &mut Vec<Piece>) -> Result<bool, Malformed> {
        if self.arguments == 0 {
            out.extend([Piece::Call { name: self.name.clone() }, Piece::Arguments("{}".to_owned())]);
        } else {
            out.push(Piece::Arguments("}".to_owned()));
        }
        self.arguments = self.arguments.saturating_add(1);
        self.place = Place::AfterCall;
        Ok(true)
    }
}

/// A Python literal as JSON.
fn literal(text: &str) -> Result<Value, Malformed> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.blank();
    if reader.rest.is_empty() { Ok(value) } else { Err(Malformed) }
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, letter: char) -> bool {
        self.blank();
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        self.blank();
        match self.rest.chars().next().ok_or(Malformed)? {
            quote @ ('"' | '\'') => self.string(quote).map(Value::String),
            '[' => self.items('[', ']', depth),
            '(' => self.items('(', ')', depth),
            '{' => self.object(depth),
            _ => self.word(),
        }
    }

    fn items(&mut self, open: char, close: char, depth: usize) -> Result<Value, Malformed> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value(depth + 1)?);
            if !self.take(',') {
                if self.take(close) {
                    break;
                }
                return Err(Malformed);
            }
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Malformed> {
        self.take('{');
        let mut members = Map::new();
        while !self.take('}') {
            let Value::String(key) = self.value(depth + 1)? else { return Err(Malformed) };
            if !self.take(':') {
                return Err(Malformed);
            }
            members.insert(key, self.value(depth + 1)?);
            if !self.take(',') {
                if self.take('}') {
                    break;
                }
                return Err(Malformed);
            }
        }
        Ok(Value::Object(members))
    }

    fn word(&mut self) -> Result<Value, Malformed> {
        let end = self.rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-._".contains(letter))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" | "true" => Ok(Value::Bool(true)),
            "False" | "false" => Ok(Value::Bool(false)),
            "None" | "null" => Ok(Value::Null),
            _ => number(word).map(Value::Number),
        }
    }

    fn string(&mut self, quote: char) -> Result<String, Malformed> {
        let mut text = String::new();
        let mut letters = self.rest[1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.rest = &self.rest[1 + at + 1..];
                return Ok(text);
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let (_, escape) = letters.next().ok_or(Malformed)?;
            match escape {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                '\\' | '\'' | '"' => text.push(escape),
                'x' => text.push(code(&mut letters, 2)?),
                'u' => text.push(code(&mut letters, 4)?),
                'U' => text.push(code(&mut letters, 8)?),
                other => text.extend(['\\', other]),
            }
        }
        Err(Malformed)
    }
}

fn code(letters: &mut std::str::CharIndices<'_>, digits: usize) -> Result<char, Malformed> {
    let mut value = 0_u32;
    for _ in 0..digits {
        let digit = letters.next().and_then(|(_, letter)| letter.to_digit(16)).ok_or(Malformed)?;
        value = value.checked_mul(16).and_then(|value| value.checked_add(digit)).ok_or(Malformed)?;
    }
    char::from_u32(value).ok_or(Malformed)
}

/// A number as Python writes it: JSON's notation, and also `+1`, `1_000`, `1.` and `.5`.
fn number(word: &str) -> Result<Number, Malformed> {
    let plain: String = word.strip_prefix('+').unwrap_or(word).chars().filter(|letter| *letter != '_').collect();
    if !plain.bytes().any(|byte| byte.is_ascii_digit())
        || plain.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E'))
    {
        return Err(Malformed);
    }
    if let Ok(integer) = plain.parse::<i64>() {
        return Ok(integer.into());
    }
    plain.parse::<f64>().ok().and_then(Number::from_f64).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_become_json() {
        for (text, expect) in [
            ("1", json!(1)),
            (" -2.5e3 ", json!(-2500.0)),
            ("1_000", json!(1000)),
            ("True", json!(true)),
            ("None", json!(null)),
            (r#"'it\'s \u00e9\x21\q'"#, json!("it's é!\\q")),
            ("[1, 'a', (2,), {'k': [None]},]", json!([1, "a", [2], {"k": [null]}])),
            ("{}", json!({})),
        ] {
            assert_eq!(literal(text), Ok(expect), "{text}");
        }
        for bad in ["", "x", "1 2", "[1", "'a", "{1: 2}", "inf", "0x10", "a.b", "'\\ud800'", "e5"] {
            assert_eq!(literal(bad), Err(Malformed), "{bad}");
        }
        assert_eq!(literal(&"[".repeat(10_000)), Err(Malformed));
    }
}
