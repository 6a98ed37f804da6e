//! Money: integer nano-units of a currency. A nano-unit is 0.000000001 of the currency's unit.
//!
//! Everything is computed in `i128` and comes back to `i64` at one checked place.
//!
//! **Invariant:** no amount is ever a float, and [`NanoUnits::from_ratio`] is the only place that rounds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nano-units in one unit of a currency.
pub const NANO_PER_UNIT: i64 = 1_000_000_000;

/// Why a text is not an amount or a currency, or an amount does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a whole number of nano-units that fits 64 bits.
    #[error("`{0}` is not an amount: use a whole number of nano-units (0.000000001 of the currency's unit) as a string")]
    NotNanoUnits(String),
    /// Not a decimal number with at most 9 places.
    #[error("`{0}` is not an amount: use a decimal number with at most 9 decimal places, such as 12.5, below 9.2 billion")]
    NotDecimal(String),
    /// Not an ISO 4217 code.
    #[error("`{0}` is not a currency: use its ISO 4217 code of three capitals, such as EUR")]
    NotCurrency(String),
    /// A result does not fit 64 bits.
    #[error("the amount is over the largest that can be kept, 9.2 billion units of a currency")]
    Overflow,
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// An amount in nano-units of a currency that the context knows.
///
/// In JSON: the whole number of nano-units as a string (`"1500000000"`), because JavaScript's numbers end at 2^53.
/// As text ([`fmt::Display`], [`FromStr`]): the exact decimal amount in units (`1.5`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NanoUnits(i64);

impl NanoUnits {
    /// Nothing.
    pub const ZERO: NanoUnits = NanoUnits(0);
    /// The largest amount.
    pub const MAX: NanoUnits = NanoUnits(i64::MAX);
    /// The smallest amount.
    pub const MIN: NanoUnits = NanoUnits(i64::MIN);

    /// That many nano-units.
    pub const fn new(nano_units: i64) -> Self {
        Self(nano_units)
    }

    /// The number of nano-units.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// From a sum that was computed wide. Fails if it does not fit.
    pub fn from_wide(nano_units: i128) -> Result<Self, MoneyError> {
        i64::try_from(nano_units).map(Self).map_err(|_| MoneyError::Overflow)
    }

    /// `numerator / denominator` nano-units, rounded once, half to even. Fails if the result does not fit.
    ///
    /// # Panics
    /// If `denominator` is not positive: it is a constant of the caller's.
    pub fn from_ratio(numerator: i128, denominator: i128) -> Result<Self, MoneyError> {
        assert!(denominator > 0, "a ratio needs a positive denominator");
        let (floor, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
        let up = match rest.cmp(&(denominator - rest)) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Greater => 1,
            std::cmp::Ordering::Equal => floor.rem_euclid(2),
        };
        Self::from_wide(floor + up)
    }

    /// The sum. Fails if it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The difference. Fails if it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The same amount on the other side. Fails for the smallest amount.
    pub fn negated(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::Overflow)
    }

    /// The sum of many. Fails if it does not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        Self::from_wide(amounts.into_iter().map(|amount| i128::from(amount.0)).sum())
    }

    /// Whether this is less than nothing.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// From the API's form, a whole number of nano-units in decimal digits.
    pub fn from_digits(text: &str) -> Result<Self, MoneyError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return Err(MoneyError::NotNanoUnits(shorten(text)));
        }
        text.parse().map(Self).map_err(|_| MoneyError::NotNanoUnits(shorten(text)))
    }
}

impl fmt::Display for NanoUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let (units, nano) = (size / NANO_PER_UNIT.unsigned_abs(), size % NANO_PER_UNIT.unsigned_abs());
        let mut text = units.to_string();
        if nano > 0 {
            text.push('.');
            text.push_str(format!("{nano:09}").trim_end_matches('0'));
        }
        f.pad_integral(self.0 >= 0, "", &text)
    }
}

impl FromStr for NanoUnits {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::NotDecimal(shorten(text));
        let (sign, size) = match text.strip_prefix('-') {
            Some(rest) => (-1_i128, rest),
            None => (1, text),
        };
        let (units, places) = match size.split_once('.') {
            Some((_, "")) => return Err(wrong()),
            Some((units, places)) => (units, places),
            None => (size, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if units.is_empty() || units.len() > 10 || places.len() > 9 || !digits(units) || !digits(places) {
            return Err(wrong());
        }
        let nano: i128 = format!("{units}{places:0<9}").parse().map_err(|_| wrong())?;
        Self::from_wide(sign * nano).map_err(|_| wrong())
    }
}

impl Serialize for NanoUnits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NanoUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_digits(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro.
    pub const EUR: Currency = Currency(*b"EUR");
    /// The dollar of the United States.
    pub const USD: Currency = Currency(*b"USD");

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::NotCurrency(shorten(text))),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount with its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// How much.
    pub amount: NanoUnits,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// That much of that currency.
    pub const fn new(amount: NanoUnits, currency: Currency) -> Self {
        Self { amount, currency }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (amount, currency) = text.split_once(' ').ok_or_else(|| MoneyError::NotDecimal(shorten(text)))?;
        Ok(Self { amount: amount.parse()?, currency: currency.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_exact_decimal() {
        for (nano, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (-1, "-0.000000001"),
            (1_500_000_000, "1.5"),
            (-12_000_000_000, "-12"),
            (i64::MAX, "9223372036.854775807"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(NanoUnits(nano).to_string(), text);
            assert_eq!(text.parse(), Ok(NanoUnits(nano)));
        }
        for bad in ["", "-", ".5", "1.", "1.0000000001", "+1", "1e3", "1,5", "9223372036.854775808", "99999999999", " 1", "٣", "--1"] {
            assert!(bad.parse::<NanoUnits>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_is_nano_units_in_a_string() {
        assert_eq!(NanoUnits::from_digits("1500000000"), Ok(NanoUnits(1_500_000_000)));
        for bad in ["", "-", "+1", "1.5", "9223372036854775808", " 1", "0x1"] {
            assert!(NanoUnits::from_digits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (numerator, expect) in [(5, 0), (15, 2), (25, 2), (26, 3), (-5, 0), (-15, -2), (-25, -2), (-26, -3), (14, 1)] {
            assert_eq!(NanoUnits::from_ratio(numerator, 10), Ok(NanoUnits(expect)), "{numerator}/10");
        }
        assert_eq!(NanoUnits::from_ratio(i128::MAX, 1), Err(MoneyError::Overflow));
    }

    #[test]
    fn money_is_an_amount_and_a_currency() {
        let price: Money = "12.5 EUR".parse().expect("money");
        assert_eq!(price, Money::new(NanoUnits(12_500_000_000), Currency::EUR));
        assert_eq!(price.to_string(), "12.5 EUR");
        for bad in ["12.5", "12.5 eur", "12.5 EURO", "x EUR", "1 €€€"] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
    }
}
