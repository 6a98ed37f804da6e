//! What chat templates expect of Python: `json.dumps` and `strftime`.
//!
//! **Invariant:** models were trained on these exact bytes, so separators, indentation and names of months are
//! Python's, in English, whatever the machine's locale.

use std::fmt::Write as _;
use std::io;

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use time::OffsetDateTime;

/// Widest indentation that a template may ask for.
const INDENT_MAX: usize = 16;

/// JSON as `json.dumps(value, ensure_ascii=False, indent=indent)` writes it.
///
/// # Errors
/// The value cannot be written as JSON.
pub fn json(value: &Value, indent: Option<usize>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(INDENT_MAX));
            value.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(spaces.as_bytes())))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// JSON on one line with Python's separators, for a value of our own.
pub fn json_line(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    match value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A moment (seconds since the Unix epoch, shown in UTC) as C's `strftime` writes it; an unknown letter is kept
/// as it stands.
pub fn strftime(unix_s: i64, format: &str) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut text = String::with_capacity(format.len() * 2);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut letter = letters.next();
        let unpadded = letter == Some('-');
        if unpadded {
            letter = letters.next();
        }
        field(&mut text, moment, letter, unpadded);
    }
    text
}

fn field(text: &mut String, moment: OffsetDateTime, letter: Option<char>, unpadded: bool) {
    let month = MONTHS[usize::from(u8::from(moment.month())) - 1];
    let day = DAYS[usize::from(moment.weekday().number_days_from_monday())];
    let hour_12 = match moment.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let (number, width) = match letter {
        Some('d') => (u16::from(moment.day()), 2),
        Some('m') => (u16::from(u8::from(moment.month())), 2),
        Some('y') => (moment.year().rem_euclid(100).unsigned_abs().try_into().unwrap_or(0), 2),
        Some('H') => (u16::from(moment.hour()), 2),
        Some('I') => (u16::from(hour_12), 2),
        Some('M') => (u16::from(moment.minute()), 2),
        Some('S') => (u16::from(moment.second()), 2),
        Some('j') => (moment.ordinal(), 3),
        other => {
            match other {
                Some('Y') => text.push_str(&moment.year().to_string()),
                Some('B') => text.push_str(month),
                Some('b' | 'h') => text.push_str(&month[..3]),
                Some('A') => text.push_str(day),
                Some('a') => text.push_str(&day[..3]),
                Some('p') => text.push_str(if moment.hour() < 12 { "AM" } else { "PM" }),
                Some('F') => text.push_str(&moment.date().to_string()),
                Some('T') => text.push_str(&strftime(moment.unix_timestamp(), "%H:%M:%S")),
                Some('Z') => text.push_str("UTC"),
                Some('z') => text.push_str("+0000"),
                Some('%') => text.push('%'),
                Some(unknown) => {
                    text.push('%');
                    text.push(unknown);
                }
                None => text.push('%'),
            }
            return;
        }
    };
    let width = if unpadded { 0 } else { width };
    let _ = write!(text, "{number:0width$}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_c_does() {
        // 2024-07-05T15:04:09Z, a Friday.
        for (format, expect) in [
            ("%d %b %Y", "05 Jul 2024"),
            ("%-d %B %y", "5 July 24"),
            ("%A %a %H:%M:%S %I %p %j", "Friday Fri 15:04:09 03 PM 187"),
            ("%F %T %Z %% %Q %", "2024-07-05 15:04:09 UTC % %Q %"),
        ] {
            assert_eq!(strftime(1_720_191_849, format), expect);
        }
    }

    #[test]
    fn json_is_written_as_python_does() {
        let value = Value::from_serialize(serde_json::json!({"a": [1, "é<"], "b": {}}));
        assert_eq!(json(&value, None).unwrap(), r#"{"a": [1, "é<"], "b": {}}"#);
        assert_eq!(json(&value, Some(2)).unwrap(), "{\n  \"a\": [\n    1,\n    \"é<\"\n  ],\n  \"b\": {}\n}");
    }
}
