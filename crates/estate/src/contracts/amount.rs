//! Money and quantities as exact decimals: integer nano-units, never floating point.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nano-units in one unit.
const NANOS: i128 = 1_000_000_000;

/// A decimal amount in integer nano-units of whatever unit or currency stands beside it.
///
/// Written and read as decimal text (`"20000"`, `"1.5"`), so that no reader rounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// Zero.
    pub const ZERO: Amount = Amount(0);

    /// An amount from nano-units.
    pub const fn from_nanos(nanos: i64) -> Amount {
        Amount(nanos)
    }

    /// The amount in nano-units.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// This amount times `numerator / denominator`, rounded half to even; `None` on overflow or a zero denominator.
    pub fn times(self, numerator: i64, denominator: i64) -> Option<Amount> {
        if denominator == 0 {
            return None;
        }
        let product = i128::from(self.0) * i128::from(numerator);
        let denominator = i128::from(denominator);
        let quotient = product.div_euclid(denominator);
        let twice = product.rem_euclid(denominator) * 2;
        let up = twice > denominator.abs() || (twice == denominator.abs() && quotient % 2 != 0);
        i64::try_from(quotient + i128::from(up)).ok().map(Amount)
    }

    /// The sum; `None` on overflow.
    pub fn plus(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The amount for people: thousands separated, at most two decimals, rounded half to even.
    pub fn grouped(self) -> String {
        let hundredths = i128::from(self.times(100, 1).map_or(self.0, |scaled| scaled.0));
        let mut cents = hundredths.div_euclid(NANOS);
        let twice = hundredths.rem_euclid(NANOS) * 2;
        if twice > NANOS || (twice == NANOS && cents % 2 != 0) {
            cents += 1;
        }
        if self.times(100, 1).is_none() {
            cents = i128::from(self.0) / (NANOS / 100);
        }
        let sign = if cents < 0 { "-" } else { "" };
        let cents = cents.unsigned_abs();
        let whole = (cents / 100).to_string();
        let mut text = String::with_capacity(whole.len() + whole.len() / 3 + 4);
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        match cents % 100 {
            0 => format!("{sign}{text}"),
            rest => format!("{sign}{text}.{rest:02}"),
        }
    }
}

/// Why a text is not an [`Amount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal amount; write digits with a point for decimals and nothing between thousands, such as 20000 or 1.5")]
pub struct NotAnAmount(String);

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Amount, NotAnAmount> {
        let refuse = || NotAnAmount(text.chars().take(40).collect());
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| refuse())?),
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || all.len() > 40 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let value: i128 = all.parse().map_err(|_| refuse())?;
        let shift = 9 + i64::from(exponent) - fraction.len() as i64;
        let scaled = match u32::try_from(shift) {
            Ok(up) => 10_i128.checked_pow(up).and_then(|power| value.checked_mul(power)),
            Err(_) => u32::try_from(-shift).ok().and_then(|down| 10_i128.checked_pow(down)).map(|power| value / power).or(Some(0)),
        };
        let signed = scaled.map(|nanos| if negative { -nanos } else { nanos });
        signed.and_then(|nanos| i64::try_from(nanos).ok()).map(Amount).ok_or_else(refuse)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = i128::from(self.0).unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (magnitude / NANOS.unsigned_abs(), magnitude % NANOS.unsigned_abs());
        if rest == 0 {
            return write!(formatter, "{sign}{whole}");
        }
        let fraction = format!("{rest:09}");
        write!(formatter, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn reads_writes_and_groups() {
        let check = |input: &str, plain: &str, grouped: &str| {
            let amount: Amount = input.parse().expect(input);
            assert_eq!((amount.to_string().as_str(), amount.grouped().as_str()), (plain, grouped));
        };
        check("20000", "20000", "20,000");
        check("1.50", "1.5", "1.50");
        check("-1234567.895", "-1234567.895", "-1,234,567.90");
        check("1e3", "1000", "1,000");
        check("2.5E-1", "0.25", "0.25");
        check("9000000000", "9000000000", "9,000,000,000");
        for bad in ["", ".", "1,5", "abc", "1e99", "99999999999", "--1"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }
}
