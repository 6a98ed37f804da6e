//! Calendar dates: reading them from what people and billing APIs write, and counting months and days.
//!
//! Months are counted as Regulation (EEC, Euratom) No 1182/71, Article 3(2)(c) counts them: a period of months ends
//! on the same date of the last month, or on that month's last day where it has no such date.

use serde::{Deserialize, Deserializer, Serializer};
use time::{Date, Duration, Month, Weekday};

/// Why a text is not a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a date; write it as YYYY-MM-DD")]
pub struct NotADate(String);

/// Reads `2027-06-30`, with or without a time of day after it (`2027-06-30T23:59:59.000Z`); the date is UTC's.
///
/// # Errors
/// When the text does not begin with a date of the calendar between the years 1990 and 2200.
pub fn parse(text: &str) -> Result<Date, NotADate> {
    let refuse = || NotADate(text.chars().take(40).collect());
    let trimmed = text.trim();
    let head = trimmed.get(..10).ok_or_else(refuse)?;
    let rest = &trimmed[10..];
    if !(rest.is_empty() || rest.starts_with('T') || rest.starts_with(' ')) {
        return Err(refuse());
    }
    let mut parts = head.split('-');
    let mut next = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse::<u16>().ok() } else { None }
    };
    let (year, month, day) = (next(4), next(2), next(2));
    let (Some(year @ 1990..=2200), Some(month), Some(day)) = (year, month, day) else { return Err(refuse()) };
    let month = u8::try_from(month).ok().and_then(|month| Month::try_from(month).ok()).ok_or_else(refuse)?;
    let day = u8::try_from(day).map_err(|_| refuse())?;
    Date::from_calendar_date(i32::from(year), month, day).map_err(|_| refuse())
}

/// The date as `YYYY-MM-DD`.
pub fn text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The date some months later (earlier when negative); the month's last day where the date does not exist.
pub fn plus_months(date: Date, months: i32) -> Date {
    let total = date.year().saturating_mul(12) + i32::from(u8::from(date.month())) - 1;
    let total = total.saturating_add(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    let month = u8::try_from(month).ok().and_then(|month| Month::try_from(month).ok()).unwrap_or(Month::January);
    let day = date.day().min(month.length(year));
    Date::from_calendar_date(year, month, day).unwrap_or(if months < 0 { Date::MIN } else { Date::MAX })
}

/// The date some days later (earlier when negative), kept within the calendar.
pub fn plus_days(date: Date, days: i64) -> Date {
    date.saturating_add(Duration::days(days))
}

/// The date some working days later, Saturdays and Sundays skipped. National holidays are not known here.
pub fn plus_working_days(date: Date, days: u32) -> Date {
    let mut current = date;
    let mut left = days;
    while left > 0 {
        current = plus_days(current, 1);
        if !matches!(current.weekday(), Weekday::Saturday | Weekday::Sunday) {
            left -= 1;
        }
    }
    current
}

/// Days from one date to another; negative when `to` is earlier.
pub fn days_between(from: Date, to: Date) -> i64 {
    (to - from).whole_days()
}

/// Serde for `Date` as `YYYY-MM-DD`.
pub(crate) mod iso {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*date))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Serde for `Option<Date>` as `YYYY-MM-DD`.
pub(crate) mod iso_option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(date: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => serializer.serialize_str(&text(*date)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_on_the_last_day_where_the_date_is_missing() {
        let check = |from: &str, months: i32, expect: &str| {
            assert_eq!(text(plus_months(parse(from).expect(from), months)), expect, "{from} {months:+}");
        };
        check("2026-12-31", 2, "2027-02-28");
        check("2027-12-31", 2, "2028-02-29");
        check("2026-11-23", 2, "2027-01-23");
        check("2027-01-31", -2, "2026-11-30");
        check("2027-01-15", -13, "2025-12-15");
    }

    #[test]
    fn working_days_skip_weekends() {
        let friday = parse("2026-11-20").expect("a date");
        assert_eq!(text(plus_working_days(friday, 14)), "2026-12-10");
    }

    #[test]
    fn dates_with_a_time_are_read_and_nonsense_is_refused() {
        assert_eq!(parse("2025-06-30T23:59:59.000Z").map(text), Ok("2025-06-30".to_owned()));
        assert_eq!(parse("2024-01-01 00:00:00").map(text), Ok("2024-01-01".to_owned()));
        for bad in ["", "2025-02-30", "2025-6-1", "30.06.2025", "2025-06-301", "9999-01-01", "2025-06-3é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
