//! Days and months of the UTC calendar.
//!
//! **Invariant:** a window holds its start and not its end; every moment is in exactly one day and one month.

use std::fmt;
use std::str::FromStr;

use freehold_domain::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, OffsetDateTime};

const DAY_S: i64 = 86_400;

/// Why a text is not a month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month: write it as YYYY-MM, such as 2026-11, between 1970 and 9999")]
pub struct MonthError(String);

/// A month of the UTC calendar, from 1970-01 to 9999-12. In JSON and as text: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    /// Months since 1970-01.
    index: u32,
}

impl Month {
    const LAST: u32 = (9999 - 1970) * 12 + 11;

    /// The month that a moment is in. Before 1970 it is the first month, after 9999 the last.
    pub fn of(moment: Timestamp) -> Self {
        let date = OffsetDateTime::from_unix_timestamp(moment.unix_s()).map(OffsetDateTime::date);
        let index = match date {
            Ok(date) => i64::from(date.year() - 1970) * 12 + i64::from(u8::from(date.month())) - 1,
            Err(_) if moment.unix_s() > 0 => i64::from(Self::LAST),
            Err(_) => 0,
        };
        Self { index: u32::try_from(index.max(0)).unwrap_or(Self::LAST).min(Self::LAST) }
    }

    /// The year.
    pub const fn year(self) -> i32 {
        1970 + (self.index / 12) as i32
    }

    /// The month of the year, 1 to 12.
    pub const fn number(self) -> u8 {
        (self.index % 12) as u8 + 1
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp::from_unix_ms(days_to(self.year(), self.number()) * DAY_S * 1000)
    }

    /// The first moment after it.
    pub fn end(self) -> Timestamp {
        let next = self.index + 1;
        Timestamp::from_unix_ms(days_to(1970 + (next / 12) as i32, (next % 12) as u8 + 1) * DAY_S * 1000)
    }

    /// The month that is so many after 1970-01, or the nearest that there is.
    pub fn from_index(index: i64) -> Self {
        Self { index: u32::try_from(index.max(0)).unwrap_or(Self::LAST).min(Self::LAST) }
    }

    /// Months since 1970-01.
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_to(year: i32, month: u8) -> i64 {
    // January of the year 10000 ends the last month; `time` has no such date.
    if year > 9999 {
        return days_to(9999, 12) + 31;
    }
    let month = time::Month::try_from(month).unwrap_or(time::Month::January);
    let epoch = i64::from(time::macros::date!(1970 - 01 - 01).to_julian_day());
    Date::from_calendar_date(year, month, 1).map_or(0, |date| i64::from(date.to_julian_day()) - epoch)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.number())
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let parsed = match text.as_bytes() {
            [_, _, _, _, b'-', _, _] if text.bytes().enumerate().all(|(i, byte)| i == 4 || byte.is_ascii_digit()) => {
                text[..4].parse::<u32>().ok().zip(text[5..].parse::<u32>().ok())
            }
            _ => None,
        };
        match parsed {
            Some((year @ 1970..=9999, month @ 1..=12)) => Ok(Self { index: (year - 1970) * 12 + month - 1 }),
            _ => Err(MonthError(text.chars().take(20).collect())),
        }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The day that a moment is in, in days since 1970-01-01.
pub const fn day_of(moment: Timestamp) -> i64 {
    moment.unix_s().div_euclid(DAY_S)
}

/// The first moment of a day.
pub const fn day_start(day: i64) -> Timestamp {
    Timestamp::from_unix_ms(day.saturating_mul(DAY_S * 1000))
}

/// `2026-11-23`, the date of a moment.
pub fn date_text(moment: Timestamp) -> String {
    match OffsetDateTime::from_unix_timestamp(moment.unix_s()) {
        Ok(date) => format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()),
        Err(_) => moment.to_string(),
    }
}

/// `2026-11-23T10:00:00Z`, a moment in whole seconds (rounded down), as FOCUS wants it.
pub fn second_text(moment: Timestamp) -> String {
    Timestamp::from_unix_ms(moment.unix_s().saturating_mul(1000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_holds_its_start_and_not_its_end() {
        for text in ["1970-01", "2024-02", "2026-11", "2026-12", "9999-12"] {
            let month: Month = text.parse().expect("a month");
            assert_eq!(month.to_string(), text);
            assert_eq!(Month::of(month.start()), month);
            assert_eq!(Month::of(month.end().plus_ms(-1)), month);
            assert!(Month::of(month.end()) > month || month.index == Month::LAST, "{text}");
        }
        let february: Month = "2024-02".parse().expect("a month");
        assert_eq!(february.start().to_string(), "2024-02-01T00:00:00Z");
        assert_eq!(february.end().to_string(), "2024-03-01T00:00:00Z");
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "2026", "2026-1", "2026-13", "2026-00", "1969-12", "2026/01", "२०२६-०१", "2026-011", "+026-01"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }

    #[test]
    fn days() {
        assert_eq!(day_of(Timestamp::from_unix_ms(-1)), -1);
        assert_eq!(day_of(Timestamp::from_unix_ms(86_400_000)), 1);
        assert_eq!(date_text(day_start(1)), "1970-01-02");
        assert_eq!(second_text(Timestamp::from_unix_ms(1999)), "1970-01-01T00:00:01Z");
    }
}
