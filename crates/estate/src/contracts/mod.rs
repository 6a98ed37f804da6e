//! Contracts with cloud providers: what was committed, until when, and how one gets out.
//!
//! A [`Contract`] is one row of FOCUS's contract-commitment dataset (FOCUS 1.3) with the terms that FOCUS leaves
//! out and a negotiator needs: notice, renewal, early termination, a divert clause. A [`Book`] is the versioned file
//! they are kept in. The module reads no clock: today's date is handed in.
//!
//! **Invariant:** importing never erases a term that a person entered by hand.

pub mod amount;
pub mod calendar;
pub mod clocks;
pub mod dates;
pub mod import;
pub mod list;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::Date;

pub use amount::Amount;

/// The schema tag of the contracts file.
pub const SCHEMA: &str = "freehold.contracts/1";

/// Most contracts that one book holds.
pub const CONTRACTS_MAX: usize = 10_000;

/// Longest text of one field, in characters.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Why contracts could not be read, checked or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The file is not a contracts file.
    #[error("this is not a contracts file: {0}")]
    NotABook(String),
    /// The file was written by a later version.
    #[error("the contracts file has schema {found:?}; this version reads {SCHEMA:?}: update Freehold")]
    Schema {
        /// The tag found.
        found: String,
    },
    /// A row of an import could not be understood.
    #[error("{place}: {why}")]
    Row {
        /// Where: a CSV line, a plan's id.
        place: String,
        /// What is wrong, and what to write instead.
        why: String,
    },
    /// A contract breaks a rule.
    #[error("contract {id:?}: {why}")]
    Contract {
        /// The contract's id.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// There is no such contract.
    #[error("there is no contract {id:?}{}", match nearest { Some(near) => format!("; did you mean {near:?}?"), None => String::new() })]
    Missing {
        /// The id asked for.
        id: String,
        /// An id that begins or ends the same way.
        nearest: Option<String>,
    },
    /// There are too many.
    #[error("more than {CONTRACTS_MAX} contracts; split the file")]
    TooMany,
}

/// FOCUS ContractCommitmentCategory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Category {
    /// A predetermined amount of spend.
    #[default]
    Spend,
    /// A predetermined amount of usage.
    Usage,
}

impl FromStr for Category {
    type Err = String;

    fn from_str(text: &str) -> Result<Category, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "spend" => Ok(Category::Spend),
            "usage" => Ok(Category::Usage),
            _ => Err(format!("{text:?} is not a commitment category; write Spend or Usage")),
        }
    }
}

/// What leaving before the end costs, under the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyTermination {
    /// Nothing.
    Free,
    /// A fixed amount in the contract's currency.
    Fixed(Amount),
    /// A share of what is still committed, in percent; 100 is all of it.
    ShareOfRemaining(u8),
}

impl FromStr for EarlyTermination {
    type Err = String;

    fn from_str(text: &str) -> Result<EarlyTermination, String> {
        let trimmed = text.trim();
        match trimmed.to_ascii_lowercase().as_str() {
            "none" | "free" | "0" => return Ok(EarlyTermination::Free),
            "remaining" => return Ok(EarlyTermination::ShareOfRemaining(100)),
            _ => {}
        }
        let refuse = || format!("{text:?} is not an early-termination fee; write none, an amount, a share such as 50%, or remaining");
        if let Some(share) = trimmed.strip_suffix('%') {
            return match share.trim().parse::<u8>() {
                Ok(share @ 0..=100) => Ok(EarlyTermination::ShareOfRemaining(share)),
                _ => Err(refuse()),
            };
        }
        trimmed.parse().map(EarlyTermination::Fixed).map_err(|_| refuse())
    }
}

impl fmt::Display for EarlyTermination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EarlyTermination::Free => formatter.write_str("none"),
            EarlyTermination::Fixed(amount) => amount.fmt(formatter),
            EarlyTermination::ShareOfRemaining(100) => formatter.write_str("remaining"),
            EarlyTermination::ShareOfRemaining(share) => write!(formatter, "{share}%"),
        }
    }
}

impl Serialize for EarlyTermination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EarlyTermination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EarlyTermination, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One commitment to a provider. Names follow FOCUS 1.3 (`ContractCommitmentId` is `id`), the rest is Freehold's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// ContractCommitmentId: unique in the book.
    pub id: String,
    /// Who the contract is with: `aws`, `azure`, `google` or any other name.
    pub provider: String,
    /// ContractCommitmentDescription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// ContractId: the agreement that the commitment belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_id: Option<String>,
    /// ContractCommitmentCategory.
    #[serde(default)]
    pub category: Category,
    /// ContractCommitmentType, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment_type: Option<String>,
    /// ContractCommitmentCost: the whole commitment over its period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Amount>,
    /// BillingCurrency, ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// ContractCommitmentQuantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    /// ContractCommitmentUnit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// ContractCommitmentPeriodStart.
    #[serde(with = "dates::iso")]
    pub period_start: Date,
    /// ContractCommitmentPeriodEnd: the period is over when this day begins. A last day given instead makes every
    /// deadline one day earlier, which is the safe side.
    #[serde(with = "dates::iso")]
    pub period_end: Date,
    /// ContractPeriodStart.
    #[serde(default, with = "dates::iso_option", skip_serializing_if = "Option::is_none")]
    pub contract_period_start: Option<Date>,
    /// ContractPeriodEnd.
    #[serde(default, with = "dates::iso_option", skip_serializing_if = "Option::is_none")]
    pub contract_period_end: Option<Date>,
    /// What of the commitment is not yet consumed, as the provider last reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Amount>,
    /// The provider's word for the state (`active`, `Complete`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Until when the provider takes the commitment back.
    #[serde(default, with = "dates::iso_option", skip_serializing_if = "Option::is_none")]
    pub returnable_until: Option<Date>,
    /// Days of notice that end the contract or stop its renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_days: Option<u32>,
    /// Whether it renews by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_renew: Option<bool>,
    /// For how many months it renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_months: Option<u32>,
    /// What leaving early costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_termination: Option<EarlyTermination>,
    /// The divert clause: how many percent of the commitment may be spent on AI workloads elsewhere and still count.
    /// 0 says that there is no such clause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divert_percent: Option<u8>,
    /// The clause's words, or what to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divert_note: Option<String>,
    /// Whether Chapter VI of Regulation (EU) 2023/2854 covers it: a data processing service for a customer in the
    /// Union, neither custom-built nor a test (Articles 1(3)(f) and 31).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_act: Option<bool>,
    /// The day on which notice of switching was given (Article 25(2), point (d)).
    #[serde(default, with = "dates::iso_option", skip_serializing_if = "Option::is_none")]
    pub switching_notice: Option<Date>,
    /// Where the row came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Contract {
    /// A contract of which only the necessary is known.
    pub fn new(id: impl Into<String>, provider: impl Into<String>, period_start: Date, period_end: Date) -> Contract {
        Contract {
            id: id.into(),
            provider: provider.into(),
            description: None,
            contract_id: None,
            category: Category::Spend,
            commitment_type: None,
            cost: None,
            currency: None,
            quantity: None,
            unit: None,
            period_start,
            period_end,
            contract_period_start: None,
            contract_period_end: None,
            remaining: None,
            status: None,
            returnable_until: None,
            notice_days: None,
            auto_renew: None,
            renewal_months: None,
            early_termination: None,
            divert_percent: None,
            divert_note: None,
            data_act: None,
            switching_notice: None,
            source: None,
            note: None,
        }
    }

    /// The contract's name for people: its description, or its id.
    pub fn title(&self) -> &str {
        self.description.as_deref().filter(|text| !text.is_empty()).unwrap_or(&self.id)
    }

    /// What is still committed on a day: what the provider reported, else the cost spread evenly over the period.
    pub fn remaining_on(&self, day: Date) -> Option<Amount> {
        if day >= self.period_end {
            return Some(Amount::ZERO);
        }
        if let Some(remaining) = self.remaining {
            return Some(remaining);
        }
        let total = dates::days_between(self.period_start, self.period_end);
        let left = dates::days_between(day.max(self.period_start), self.period_end);
        self.cost.and_then(|cost| cost.times(left, total))
    }

    /// What leaving on a day costs under the contract, where its terms and amounts are known.
    pub fn early_termination_on(&self, day: Date) -> Option<Amount> {
        if day >= self.period_end {
            return Some(Amount::ZERO);
        }
        match self.early_termination? {
            EarlyTermination::Free => Some(Amount::ZERO),
            EarlyTermination::Fixed(amount) => Some(amount),
            EarlyTermination::ShareOfRemaining(share) => self.remaining_on(day)?.times(i64::from(share), 100),
        }
    }

    /// An amount with the contract's currency.
    pub fn money(&self, amount: Amount) -> String {
        match &self.currency {
            Some(currency) => format!("{} {currency}", amount.grouped()),
            None => amount.grouped(),
        }
    }

    /// Refuses a contract that breaks a rule.
    ///
    /// # Errors
    /// [`ContractError::Contract`] with the rule and what to do.
    pub fn check(&self) -> Result<(), ContractError> {
        let refuse = |why: String| Err(ContractError::Contract { id: self.id.chars().take(80).collect(), why });
        if self.id.trim().is_empty() || self.id.chars().any(char::is_control) {
            return refuse("the id must have visible characters and no control characters".to_owned());
        }
        if self.provider.trim().is_empty() {
            return refuse("the provider is missing".to_owned());
        }
        if self.period_end <= self.period_start {
            let (start, end) = (dates::text(self.period_start), dates::text(self.period_end));
            return refuse(format!("the period ends on {end}, not after its start on {start}"));
        }
        if self.divert_percent.is_some_and(|share| share > 100) {
            return refuse("divert_percent is a share from 0 to 100".to_owned());
        }
        if self.notice_days.is_some_and(|days| days > 3_650) {
            return refuse("notice_days is above ten years".to_owned());
        }
        if self.renewal_months.is_some_and(|months| months > 240) {
            return refuse("renewal_months is above twenty years".to_owned());
        }
        let texts = [&self.description, &self.contract_id, &self.commitment_type, &self.currency, &self.unit, &self.status]
            .into_iter()
            .chain([&self.divert_note, &self.source, &self.note])
            .flatten();
        for text in texts.chain([&self.id, &self.provider]) {
            if text.chars().nth(TEXT_CHARS_MAX).is_some() {
                return refuse(format!("a field has more than {TEXT_CHARS_MAX} characters"));
            }
        }
        Ok(())
    }

    /// Takes over what an import knows; terms that it does not know stay.
    fn update(&mut self, fresh: Contract) {
        fn take<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        self.provider = fresh.provider;
        self.category = fresh.category;
        self.period_start = fresh.period_start;
        self.period_end = fresh.period_end;
        take(&mut self.description, fresh.description);
        take(&mut self.contract_id, fresh.contract_id);
        take(&mut self.commitment_type, fresh.commitment_type);
        take(&mut self.cost, fresh.cost);
        take(&mut self.currency, fresh.currency);
        take(&mut self.quantity, fresh.quantity);
        take(&mut self.unit, fresh.unit);
        take(&mut self.contract_period_start, fresh.contract_period_start);
        take(&mut self.contract_period_end, fresh.contract_period_end);
        take(&mut self.remaining, fresh.remaining);
        take(&mut self.status, fresh.status);
        take(&mut self.returnable_until, fresh.returnable_until);
        take(&mut self.notice_days, fresh.notice_days);
        take(&mut self.auto_renew, fresh.auto_renew);
        take(&mut self.renewal_months, fresh.renewal_months);
        take(&mut self.early_termination, fresh.early_termination);
        take(&mut self.divert_percent, fresh.divert_percent);
        take(&mut self.divert_note, fresh.divert_note);
        take(&mut self.data_act, fresh.data_act);
        take(&mut self.switching_notice, fresh.switching_notice);
        take(&mut self.source, fresh.source);
        take(&mut self.note, fresh.note);
    }
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Contracts that are new.
    pub added: usize,
    /// Contracts that changed.
    pub updated: usize,
    /// Contracts that were the same already.
    pub unchanged: usize,
}

/// The contracts file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    contracts: Vec<Contract>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookFile {
    schema: String,
    #[serde(default)]
    contracts: Vec<Contract>,
}

/// How a contracts file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookFormat {
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

impl BookFormat {
    /// TOML for a path that ends in `.toml`, JSON otherwise.
    pub fn of_path(path: &str) -> BookFormat {
        let toml = path.len() >= 5 && path.is_char_boundary(path.len() - 5) && path[path.len() - 5..].eq_ignore_ascii_case(".toml");
        if toml { BookFormat::Toml } else { BookFormat::Json }
    }
}

impl Book {
    /// Reads a contracts file.
    ///
    /// # Errors
    /// When it is not one, has a later schema, or a contract in it breaks a rule.
    pub fn read(text: &str, format: BookFormat) -> Result<Book, ContractError> {
        let not_a_book = |why: String| ContractError::NotABook(why.trim().to_owned());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let found = match format {
            BookFormat::Json => serde_json::from_str::<serde_json::Value>(text)
                .map_err(|error| not_a_book(error.to_string()))?
                .get("schema")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned),
            BookFormat::Toml => toml::from_str::<toml::Table>(text)
                .map_err(|error| not_a_book(error.to_string()))?
                .get("schema")
                .and_then(toml::Value::as_str)
                .map(str::to_owned),
        };
        match found {
            None => return Err(not_a_book(format!("it has no \"schema\"; write schema {SCHEMA:?}"))),
            Some(found) if found != SCHEMA => return Err(ContractError::Schema { found }),
            Some(_) => {}
        }
        let file: BookFile = match format {
            BookFormat::Json => serde_json::from_str(text).map_err(|error| not_a_book(error.to_string()))?,
            BookFormat::Toml => toml::from_str(text).map_err(|error| not_a_book(error.to_string()))?,
        };
        let mut book = Book::default();
        for contract in file.contracts {
            book.add(contract)?;
        }
        Ok(book)
    }

    /// The file's text, ending in a line feed.
    ///
    /// # Errors
    /// When the format cannot hold a value; this would be a defect.
    pub fn write(&self, format: BookFormat) -> Result<String, ContractError> {
        let file = BookFile { schema: SCHEMA.to_owned(), contracts: self.contracts.clone() };
        let mut text = match format {
            BookFormat::Json => serde_json::to_string_pretty(&file).map_err(|error| ContractError::NotABook(error.to_string()))?,
            BookFormat::Toml => toml::to_string_pretty(&file).map_err(|error| ContractError::NotABook(error.to_string()))?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }

    /// The contracts, in the order in which they were added.
    pub fn contracts(&self) -> &[Contract] {
        &self.contracts
    }

    /// Adds a new contract.
    ///
    /// # Errors
    /// When it breaks a rule, its id is taken, or the book is full.
    pub fn add(&mut self, contract: Contract) -> Result<(), ContractError> {
        contract.check()?;
        if self.contracts.iter().any(|known| known.id == contract.id) {
            let why = "there is already a contract with this id".to_owned();
            return Err(ContractError::Contract { id: contract.id, why });
        }
        if self.contracts.len() >= CONTRACTS_MAX {
            return Err(ContractError::TooMany);
        }
        self.contracts.push(contract);
        Ok(())
    }

    /// Takes in imported contracts: new ones are added, known ones updated, terms entered by hand kept. All or nothing.
    ///
    /// # Errors
    /// When one of them breaks a rule or the book would be too full; the book is then as before.
    pub fn merge(&mut self, fresh: Vec<Contract>) -> Result<Merged, ContractError> {
        let mut next = self.clone();
        let mut merged = Merged::default();
        for contract in fresh {
            contract.check()?;
            match next.contracts.iter_mut().find(|known| known.id == contract.id) {
                None => {
                    next.add(contract)?;
                    merged.added += 1;
                }
                Some(known) => {
                    let before = known.clone();
                    known.update(contract);
                    known.check()?;
                    if *known == before {
                        merged.unchanged += 1;
                    } else {
                        merged.updated += 1;
                    }
                }
            }
        }
        *self = next;
        Ok(merged)
    }

    /// One contract.
    ///
    /// # Errors
    /// [`ContractError::Missing`] with the nearest id.
    pub fn get(&self, id: &str) -> Result<&Contract, ContractError> {
        self.contracts.iter().find(|contract| contract.id == id).ok_or_else(|| {
            let nearest = self.contracts.iter().map(|contract| &contract.id);
            let nearest = nearest.filter(|known| known.contains(id) || (!known.is_empty() && id.contains(known.as_str())));
            ContractError::Missing { id: id.to_owned(), nearest: nearest.min().cloned() }
        })
    }

    /// Takes a contract out of the book and hands it back.
    ///
    /// # Errors
    /// [`ContractError::Missing`] with the nearest id.
    pub fn remove(&mut self, id: &str) -> Result<Contract, ContractError> {
        self.get(id)?;
        let index = self.contracts.iter().position(|contract| contract.id == id);
        index.map(|index| self.contracts.remove(index)).ok_or_else(|| ContractError::Missing { id: id.to_owned(), nearest: None })
    }
}
