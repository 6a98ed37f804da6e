//! Taxes that are added to invoices.
//!
//! Prices and credit are net. A tax is added when money is asked for: to what is due on an invoice, and to credit that
//! somebody pays for. What an invoice takes from credit was taxed when the credit was bought, or was a present.
//!
//! **Invariant:** a tax is its rate times the taxable amount, rounded once for a document, half to even, to the
//! nano-unit; nothing else computes one.

use std::fmt;
use std::str::FromStr;

use freehold_domain::{MoneyError, NanoUnits};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate: write percent from 0 to 100 with at most four decimals, such as 19 or 8.875")]
pub struct TaxRateError(String);

/// A share, in millionths. As text and in JSON it is percent: `19`, `8.875`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaxRate {
    millionths: u32,
}

impl TaxRate {
    /// Nothing.
    pub const ZERO: Self = Self { millionths: 0 };
    const PERCENT: u32 = 10_000;
    const WHOLE: u32 = 1_000_000;

    /// The share of an amount, rounded once, half to even.
    pub fn of(self, amount: NanoUnits) -> Result<NanoUnits, MoneyError> {
        NanoUnits::from_ratio(i128::from(amount.get()) * i128::from(self.millionths), i128::from(Self::WHOLE))
    }
}

impl fmt::Display for TaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.millionths / Self::PERCENT, self.millionths % Self::PERCENT);
        match rest {
            0 => write!(f, "{percent}"),
            rest => write!(f, "{percent}.{}", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

impl FromStr for TaxRate {
    type Err = TaxRateError;

    fn from_str(text: &str) -> Result<Self, TaxRateError> {
        let bad = || TaxRateError(text.chars().take(20).collect());
        let (percent, places) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let has_point = text.contains('.');
        if !(1..=3).contains(&percent.len()) || !digits(percent) || places.len() > 4 || !digits(places) || has_point == places.is_empty() {
            return Err(bad());
        }
        let percent: u32 = percent.parse().map_err(|_| bad())?;
        let places: u32 = format!("{places:0<4}").parse().map_err(|_| bad())?;
        let millionths = percent * Self::PERCENT + places;
        if millionths > Self::WHOLE { Err(bad()) } else { Ok(Self { millionths }) }
    }
}

impl Serialize for TaxRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaxRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a sale is taxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// At a rate.
    Taxed,
    /// Not at all, for a reason that stands on the document.
    Exempt,
    /// By the buyer, who owes the tax in the seller's place.
    ReverseCharge,
}

impl Treatment {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taxed => "taxed",
            Self::Exempt => "exempt",
            Self::ReverseCharge => "reverse_charge",
        }
    }
}

/// A tax as it stands on a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tax {
    /// How the sale is taxed.
    pub treatment: Treatment,
    /// What the tax is called: `VAT`.
    pub name: String,
    /// Its rate, in percent; zero unless the sale is taxed.
    pub rate_percent: TaxRate,
    /// What has to stand on the document because of it.
    pub note: String,
}

impl Tax {
    /// The tax on an amount.
    pub fn on(&self, net: NanoUnits) -> Result<NanoUnits, MoneyError> {
        match self.treatment {
            Treatment::Taxed => self.rate_percent.of(net),
            Treatment::Exempt | Treatment::ReverseCharge => Ok(NanoUnits::ZERO),
        }
    }

    /// What stands beside its amount: `VAT 19 %`.
    pub fn label(&self) -> String {
        match self.treatment {
            Treatment::Taxed => format!("{} {} %", self.name, self.rate_percent),
            Treatment::Exempt => format!("{}: exempt", self.name),
            Treatment::ReverseCharge => format!("{}: reverse charge", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_exact_decimals() {
        for (text, of_a_unit) in
            [("19", 190_000_000), ("8.875", 88_750_000), ("0", 0), ("100", 1_000_000_000), ("0.0001", 1_000), ("7.7", 77_000_000)]
        {
            let rate: TaxRate = text.parse().expect("a rate");
            assert_eq!((rate.to_string().as_str(), rate.of(NanoUnits::new(1_000_000_000)).expect("it fits").get()), (text, of_a_unit));
        }
        assert_eq!("19.50".parse::<TaxRate>().expect("a rate").to_string(), "19.5");
        for bad in ["", "-1", "+1", "1e1", "100.0001", "101", "19.12345", "19,5", " 19", "19%", ".5", "5.", "1.2.3", "٣", "0019"] {
            assert!(bad.parse::<TaxRate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tax_is_rounded_once_half_to_even() {
        let half: TaxRate = "50".parse().expect("a rate");
        let rounded: Vec<i64> = [1, 2, 3, 5, -1, -3].iter().map(|&nano| half.of(NanoUnits::new(nano)).expect("it fits").get()).collect();
        assert_eq!(rounded, [0, 1, 2, 2, 0, -2]);
        assert_eq!("100".parse::<TaxRate>().expect("a rate").of(NanoUnits::MAX), Ok(NanoUnits::MAX));
    }
}
