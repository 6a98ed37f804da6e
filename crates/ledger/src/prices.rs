//! Price lists: versions with the time from which they hold.
//!
//! A price is for 1,000,000 tokens of a model, or for a second of a sku. The entry `*` is for every model without one
//! of its own; without it such a model cannot be sold.
//!
//! **Invariant:** what a moment costs never changes once the moment has come: a new version begins later than every
//! version before it, and not before now.

use std::collections::BTreeMap;

use freehold_domain::{Currency, MoneyError, NanoUnits, PriceListId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::derive;
use crate::usage::{Quantities, Subject};

/// The entry for models without one of their own.
pub const DEFAULT_MODEL: &str = "*";

/// The highest price: 1,000,000 units of the currency for 1,000,000 tokens, or for a second.
pub const PRICE_MAX: NanoUnits = NanoUnits::new(1_000_000_000_000_000);

/// Most entries of one list, models and skus together.
pub const ENTRIES_MAX: usize = 10_000;

/// Tokens that a price of a model is for.
pub const TOKENS_PER_PRICE: i128 = 1_000_000;

/// The tag of the JSON form.
pub const FORMAT: &str = "freehold.prices/1";

/// Why a price list is refused, or has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// It would change a price backwards.
    #[error("the price list would hold from {effective_at}, but version {number} holds from {latest}: a new version must begin later")]
    NotLater {
        /// What was asked.
        effective_at: Timestamp,
        /// The newest version.
        number: u32,
        /// When it begins.
        latest: Timestamp,
    },
    /// It begins in the past.
    #[error("the price list would hold from {effective_at}, which is over: it is {now}")]
    Past {
        /// What was asked.
        effective_at: Timestamp,
        /// The time of asking.
        now: Timestamp,
    },
    /// A version's number is not the next.
    #[error("the price list has number {got}, the next is {expect}")]
    Number {
        /// What was asked.
        got: u32,
        /// What is next.
        expect: u32,
    },
    /// Another currency than the versions before.
    #[error("the price list is in {got}, the versions before are in {expect}")]
    Currency {
        /// What was asked.
        got: Currency,
        /// What the others have.
        expect: Currency,
    },
    /// A price below zero or too high.
    #[error("`{entry}` has a price of {price}: use zero up to 1000000 units of the currency")]
    OutOfRange {
        /// Which entry.
        entry: String,
        /// The price.
        price: NanoUnits,
    },
    /// A name that is empty or too long, or too many entries.
    #[error("the price list is malformed: {0}")]
    Malformed(String),
    /// No list holds at that time.
    #[error("there is no price list for {0}; publish one that begins by then")]
    NoList(Timestamp),
    /// The list has no entry.
    #[error("`{subject}` has no price in version {number} of the price list, which has no default either: add an entry")]
    NoPrice {
        /// What is asked for.
        subject: String,
        /// In which version.
        number: u32,
    },
    /// The cost does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What 1,000,000 tokens of a model cost, in nano-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPrice {
    /// Tokens of the prompt that had to be computed.
    pub input: NanoUnits,
    /// Tokens of the prompt that a cache had.
    pub cached: NanoUnits,
    /// Tokens of the answer.
    pub output: NanoUnits,
}

/// One version of the price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// Its id.
    pub id: PriceListId,
    /// Its number: 1, 2, 3 and so on.
    pub number: u32,
    /// From when it holds, until the next one does.
    pub effective_at: Timestamp,
    /// The currency of every price in it.
    pub currency: Currency,
    /// Prices of models, by name; `*` for all others.
    #[serde(default)]
    pub models: BTreeMap<String, TokenPrice>,
    /// Prices of a second, by sku, in nano-units.
    #[serde(default)]
    pub skus: BTreeMap<String, NanoUnits>,
}

impl PriceList {
    /// The price of a model's tokens.
    pub fn model(&self, name: &str) -> Result<&TokenPrice, PriceError> {
        let price = self.models.get(name).or_else(|| self.models.get(DEFAULT_MODEL));
        price.ok_or_else(|| PriceError::NoPrice { subject: name.to_owned(), number: self.number })
    }

    /// The price of a second of a sku, in nano-units.
    pub fn sku(&self, name: &str) -> Result<NanoUnits, PriceError> {
        self.skus.get(name).copied().ok_or_else(|| PriceError::NoPrice { subject: name.to_owned(), number: self.number })
    }

    /// What quantities cost in millionths of a nano-unit, exactly.
    pub fn exact(&self, subject: &Subject, quantities: &Quantities) -> Result<i128, PriceError> {
        let times = |count: u64, price: NanoUnits| i128::from(count) * i128::from(price.get());
        Ok(match subject {
            Subject::Model { model } => {
                let price = self.model(model)?;
                times(quantities.input, price.input) + times(quantities.cached, price.cached) + times(quantities.output, price.output)
            }
            Subject::Sku { sku, .. } => times(quantities.seconds, self.sku(sku)?) * TOKENS_PER_PRICE,
        })
    }

    /// What quantities cost, rounded once, half to even.
    pub fn cost(&self, subject: &Subject, quantities: &Quantities) -> Result<NanoUnits, PriceError> {
        Ok(NanoUnits::from_ratio(self.exact(subject, quantities)?, TOKENS_PER_PRICE)?)
    }

    /// The most that a request can cost, for its hold: the whole prompt at the dearer of its two prices, the longest
    /// answer, rounded up. Never less than [`PriceList::cost`] of what the request then uses.
    pub fn worst_case(&self, model: &str, prompt_tokens: u64, output_tokens_max: u64) -> Result<NanoUnits, PriceError> {
        let price = self.model(model)?;
        let prompt = i128::from(prompt_tokens) * i128::from(price.input.max(price.cached).get());
        let exact = prompt + i128::from(output_tokens_max) * i128::from(price.output.get());
        Ok(NanoUnits::from_wide((exact + TOKENS_PER_PRICE - 1).div_euclid(TOKENS_PER_PRICE))?)
    }

    /// Whether the list makes sense by itself.
    pub fn check(&self) -> Result<(), PriceError> {
        if self.models.len() + self.skus.len() > ENTRIES_MAX {
            return Err(PriceError::Malformed(format!("more than {ENTRIES_MAX} entries")));
        }
        let tokens = self.models.iter().flat_map(|(name, price)| [price.input, price.cached, price.output].map(|price| (name, price)));
        for (name, price) in tokens.chain(self.skus.iter().map(|(name, &price)| (name, price))) {
            if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
                return Err(PriceError::Malformed(format!("`{}` is no name", name.chars().take(60).collect::<String>().escape_debug())));
            }
            if price.is_negative() || price > PRICE_MAX {
                return Err(PriceError::OutOfRange { entry: name.clone(), price });
            }
        }
        Ok(())
    }

    /// The JSON form, with its version tag.
    pub fn to_json(&self) -> Value {
        derive::tag(self, FORMAT)
    }

    /// Reads any version of the JSON form.
    pub fn from_json(value: Value) -> Result<Self, PriceError> {
        let list: Self = derive::untag(value, FORMAT).map_err(PriceError::Malformed)?;
        list.check()?;
        Ok(list)
    }
}

/// Every version of the price list, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    lists: Vec<PriceList>,
}

impl Prices {
    /// No price list yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The versions that a store has, in their order.
    pub fn restore(lists: impl IntoIterator<Item = PriceList>) -> Result<Self, PriceError> {
        let mut prices = Self::new();
        for list in lists {
            prices.follow(&list)?;
            prices.lists.push(list);
        }
        Ok(prices)
    }

    /// Adds a version, which must begin later than all before and not before now.
    pub fn publish(&mut self, list: PriceList, now: Timestamp) -> Result<(), PriceError> {
        if list.effective_at < now {
            return Err(PriceError::Past { effective_at: list.effective_at, now });
        }
        self.follow(&list)?;
        self.lists.push(list);
        Ok(())
    }

    /// The version that holds at a time.
    pub fn at(&self, moment: Timestamp) -> Result<&PriceList, PriceError> {
        let after = self.lists.partition_point(|list| list.effective_at <= moment);
        after.checked_sub(1).map(|index| &self.lists[index]).ok_or(PriceError::NoList(moment))
    }

    /// The version with a number.
    pub fn number(&self, number: u32) -> Option<&PriceList> {
        self.lists.iter().find(|list| list.number == number)
    }

    /// All versions, oldest first.
    pub fn all(&self) -> &[PriceList] {
        &self.lists
    }

    /// The number that the next version has.
    pub fn next_number(&self) -> u32 {
        self.lists.last().map_or(1, |list| list.number + 1)
    }

    fn follow(&self, list: &PriceList) -> Result<(), PriceError> {
        list.check()?;
        if list.number != self.next_number() {
            return Err(PriceError::Number { got: list.number, expect: self.next_number() });
        }
        let Some(latest) = self.lists.last() else { return Ok(()) };
        if list.effective_at <= latest.effective_at {
            return Err(PriceError::NotLater { effective_at: list.effective_at, number: latest.number, latest: latest.effective_at });
        }
        if list.currency != latest.currency {
            return Err(PriceError::Currency { got: list.currency, expect: latest.currency });
        }
        Ok(())
    }
}
