//! Strings: escapes, templates and heredocs.
//!
//! **Invariant:** a string without templates costs one copy; a directive (`%{ if }`) makes the string unknown.

use super::parse::parse_within;
use super::{Expr, Val};

/// Levels of templates within templates.
const DEPTH_MAX: usize = 40;

/// The offset behind a quoted string that begins at `at`, templates inside it included.
pub(super) fn quoted_end(bytes: &[u8], at: usize) -> Option<usize> {
    // Open brackets of templates; `"` stands for a string inside one.
    let mut stack = vec![b'"'];
    let mut at = at + 1;
    while let Some(&b) = bytes.get(at) {
        at += 1;
        if stack.last() == Some(&b'"') {
            match b {
                b'"' => {
                    stack.pop();
                    if stack.is_empty() {
                        return Some(at);
                    }
                }
                b'\\' => at += 1,
                b'$' | b'%' if bytes.get(at) == Some(&b) => at += 1,
                b'$' | b'%' if bytes.get(at) == Some(&b'{') => {
                    stack.push(b'}');
                    at += 1;
                }
                _ => {}
            }
        } else {
            match b {
                b'"' => stack.push(b'"'),
                b'{' => stack.push(b'}'),
                b'}' => {
                    stack.pop();
                }
                _ => {}
            }
        }
    }
    None
}

/// The text of a quoted string that has no template; `None` if it has one or is not a single quoted string.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if has_template(inside) || quoted_end(text.as_bytes(), 0) != Some(text.len()) {
        return None;
    }
    Some(unescape(inside))
}

fn has_template(inside: &str) -> bool {
    memchr::memchr2_iter(b'$', b'%', inside.as_bytes()).any(|at| {
        let bytes = inside.as_bytes();
        bytes.get(at + 1) == Some(&b'{') && (at == 0 || bytes[at - 1] != bytes[at])
    })
}

/// What stands between the quotes of a string.
pub(super) fn quoted(inside: &str, depth: usize) -> Option<Expr> {
    if has_template(inside) {
        return parts(inside, true, depth);
    }
    Some(Expr::Value(Val::str(unescape(inside))))
}

/// What stands between the marks of a heredoc.
pub(super) fn heredoc(inside: &str, flush: bool, depth: usize) -> Option<Expr> {
    let mut text = inside.to_owned();
    if flush {
        let indent = inside
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
            .min()
            .unwrap_or(0);
        text = inside.lines().map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect();
    }
    if has_template(&text) {
        return parts(&text, false, depth);
    }
    Some(Expr::Value(Val::str(text.replace("$${", "${").replace("%%{", "%{"))))
}

fn parts(inside: &str, escapes: bool, depth: usize) -> Option<Expr> {
    if depth > DEPTH_MAX {
        return None;
    }
    let bytes = inside.as_bytes();
    let literal = |text: &str| {
        let text = if escapes { unescape(text) } else { text.replace("$${", "${") };
        Expr::Value(Val::str(text))
    };
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let b = bytes[at];
        let is_doubled = (b == b'$' || b == b'%') && bytes.get(at + 1) == Some(&b);
        if is_doubled || (escapes && b == b'\\') {
            at += 2;
        } else if b == b'%' && bytes.get(at + 1) == Some(&b'{') {
            return Some(Expr::Value(Val::Unknown));
        } else if b == b'$' && bytes.get(at + 1) == Some(&b'{') {
            if at > start {
                found.push(literal(&inside[start..at]));
            }
            let end = template_end(bytes, at + 2)?;
            let code = inside[at + 2..end - 1].trim_start_matches('~').trim_end_matches('~');
            found.push(parse_within(code, depth + 1)?);
            at = end;
            start = end;
        } else {
            at += 1;
        }
    }
    if start < inside.len() {
        found.push(literal(&inside[start..]));
    }
    Some(Expr::Template(found))
}

/// The offset behind the `}` that closes a template whose code begins at `at`.
fn template_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 1_usize;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'"' => {
                at = quoted_end(bytes, at)?;
                continue;
            }
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Resolves the escapes of a quoted string.
fn unescape(inside: &str) -> String {
    if !inside.contains(['\\', '$', '%']) {
        return inside.to_owned();
    }
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(mark @ ('u' | 'U')) => {
                    let digits = if mark == 'u' { 4 } else { 8 };
                    let hex: String = chars.by_ref().take(digits).collect();
                    let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                    text.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(other) => text.push(other),
                None => {}
            },
            '$' | '%' if chars.peek() == Some(&c) => {
                let mut ahead = chars.clone();
                ahead.next();
                if ahead.peek() == Some(&'{') {
                    chars.next();
                }
                text.push(c);
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_strings() {
        assert_eq!(unquote(r#""a\"b\n\u00e9""#).as_deref(), Some("a\"b\né"));
        assert_eq!(unquote(r#""$${x}""#).as_deref(), Some("${x}"));
        assert_eq!(unquote(r#""a-${b}""#), None);
        assert_eq!(unquote(r#""a" == "b""#), None);
        assert_eq!(unquote("\"100%\"").as_deref(), Some("100%"));
    }
}
