//! Contract dates as an iCalendar file (RFC 5545).
//!
//! Events last a whole day, have ids that stay the same from one export to the next, and two alarms. The caller hands
//! in DTSTAMP, so that the same book gives the same bytes.
//!
//! **Invariant:** no line is longer than 75 octets and no character is cut in two (RFC 5545, section 3.1).

use time::{Date, OffsetDateTime, UtcOffset};

use super::clocks::{Clock, ClockKind, clocks};
use super::{Contract, dates};

/// Days before a decision on which the alarms of an event sound.
pub const ALARM_DAYS: [u32; 2] = [30, 7];

/// The calendar of every contract's dates that are certain: those that suppose a notice not yet given are left out.
pub fn calendar(contracts: &[Contract], today: Date, stamp: OffsetDateTime) -> String {
    let mut lines = Lines(String::new());
    lines.push("BEGIN:VCALENDAR");
    lines.push("VERSION:2.0");
    lines.push("PRODID:-//Freehold//Contracts 1//EN");
    lines.push("CALSCALE:GREGORIAN");
    lines.push("METHOD:PUBLISH");
    lines.push("X-WR-CALNAME:Cloud contracts");
    let stamp = utc_stamp(stamp);
    let mut law = false;
    for contract in contracts {
        for clock in clocks(contract, today).iter().filter(|clock| !clock.supposed) {
            if clock.kind == ClockKind::NoSwitchingCharges {
                law = true;
                continue;
            }
            event(&mut lines, Some(contract), clock, &stamp);
        }
    }
    if law {
        let from = contracts.iter().flat_map(|contract| clocks(contract, today)).find(|clock| clock.kind == ClockKind::NoSwitchingCharges);
        if let Some(clock) = from {
            event(&mut lines, None, &clock, &stamp);
        }
    }
    lines.push("END:VCALENDAR");
    lines.0
}

fn event(lines: &mut Lines, contract: Option<&Contract>, clock: &Clock, stamp: &str) {
    let id = contract.map_or("law", |contract| &contract.id);
    let summary = match contract {
        Some(contract) => format!("{}: {}", contract.title(), clock.title),
        None => clock.title.clone(),
    };
    lines.push("BEGIN:VEVENT");
    lines.push(&format!("UID:{}.{}@contracts.freehold", clock.kind.key(), plain(id)));
    lines.push(&format!("DTSTAMP:{stamp}"));
    lines.push(&format!("DTSTART;VALUE=DATE:{}", compact(clock.date)));
    lines.push(&format!("DTEND;VALUE=DATE:{}", compact(dates::plus_days(clock.date, 1))));
    lines.push(&format!("SUMMARY:{}", escape(&summary)));
    let mut description = format!("{}\nBasis: {}", clock.detail, clock.basis);
    if let Some(contract) = contract {
        description.push_str(&format!("\nContract {} with {}", contract.id, contract.provider));
        if let Some(cost) = contract.cost {
            description.push_str(&format!(", commitment {}", contract.money(cost)));
        }
    }
    lines.push(&format!("DESCRIPTION:{}", escape(&description)));
    lines.push("CATEGORIES:Cloud contract");
    lines.push("TRANSP:TRANSPARENT");
    if clock.kind.is_decision() {
        for days in ALARM_DAYS {
            lines.push("BEGIN:VALARM");
            lines.push("ACTION:DISPLAY");
            lines.push(&format!("TRIGGER:-P{days}D"));
            lines.push(&format!("DESCRIPTION:{}", escape(&format!("In {days} days: {summary}"))));
            lines.push("END:VALARM");
        }
    }
    lines.push("END:VEVENT");
}

fn utc_stamp(stamp: OffsetDateTime) -> String {
    let stamp = stamp.to_offset(UtcOffset::UTC);
    format!("{}T{:02}{:02}{:02}Z", compact(stamp.date()), stamp.hour(), stamp.minute(), stamp.second())
}

fn compact(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day())
}

/// An id as part of a UID: letters, digits, `.` and `-` stay, every other byte becomes `_` and two hex digits, so that two ids
/// never meet.
fn plain(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("_{byte:02x}"));
        }
    }
    text
}

/// RFC 5545, section 3.3.11: backslash, semicolon, comma and line feed are escaped; other control characters go.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            ';' => escaped.push_str("\\;"),
            ',' => escaped.push_str("\\,"),
            '\n' => escaped.push_str("\\n"),
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

struct Lines(String);

impl Lines {
    /// Adds a content line, folded at 75 octets, ended by CRLF.
    fn push(&mut self, line: &str) {
        let mut room = 75;
        for character in line.chars() {
            let width = character.len_utf8();
            if width > room {
                self.0.push_str("\r\n ");
                room = 74;
            }
            self.0.push(character);
            room -= width;
        }
        self.0.push_str("\r\n");
    }
}
