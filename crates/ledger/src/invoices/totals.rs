//! Usage added up by model or sku and version of the price list.
//!
//! **Invariant:** adding, and taking away what was added, is all that happens here; no amount is computed from a quantity.

use std::collections::BTreeMap;

use freehold_domain::{MoneyError, NanoUnits};
use serde::{Deserialize, Serialize};

use super::{Invoice, Line};
use crate::calendar::Month;
use crate::usage::{Quantities, Subject, UsageRecord, UsageState};

/// What the parts of a line count.
pub(super) const INPUT: &str = "input tokens";
pub(super) const CACHED: &str = "cached input tokens";
pub(super) const OUTPUT: &str = "output tokens";
pub(super) const SECONDS: &str = "seconds";

/// What a model or a sku was used, at one version of the price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTotal {
    /// `tokens` for a model, `seconds` for a sku.
    pub meter: String,
    /// The model or sku.
    pub name: String,
    /// The version of the price list.
    pub price_number: u32,
    /// How many records.
    pub records: u64,
    /// What was billed, added up.
    pub billable: Quantities,
    /// The amounts, added up.
    pub amount: NanoUnits,
}

impl UsageTotal {
    /// What it is the total of.
    pub fn subject(&self) -> Subject {
        match self.meter.as_str() {
            "seconds" => Subject::Sku { sku: self.name.clone(), resource: String::new() },
            _ => Subject::Model { model: self.name.clone() },
        }
    }
}

/// The total that a line was made of.
fn invoiced(line: &Line) -> UsageTotal {
    let quantity = |unit: &str| line.parts.iter().find(|part| part.unit == unit).map_or(0, |part| part.quantity);
    let seconds = quantity(SECONDS);
    UsageTotal {
        meter: if line.parts.iter().any(|part| part.unit == SECONDS) { "seconds" } else { "tokens" }.to_owned(),
        name: line.description.clone(),
        price_number: line.price_number,
        records: line.records,
        billable: Quantities { input: quantity(INPUT), cached: quantity(CACHED), output: quantity(OUTPUT), seconds },
        amount: line.amount,
    }
}

/// The totals of a month, or of any other set of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    totals: BTreeMap<(String, String, u32), UsageTotal>,
}

impl Totals {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record. Pending and void records are not charged and are left out.
    pub fn add(&mut self, record: &UsageRecord) -> Result<(), MoneyError> {
        if !matches!(record.state, UsageState::Delivered | UsageState::Posted) {
            return Ok(());
        }
        self.merge(UsageTotal {
            meter: record.subject.meter().to_owned(),
            name: record.subject.name().to_owned(),
            price_number: record.price_number,
            records: 1,
            billable: record.billable,
            amount: record.amount,
        })
    }

    /// Adds what a store has added up already.
    pub fn merge(&mut self, other: UsageTotal) -> Result<(), MoneyError> {
        let key = (other.meter.clone(), other.name.clone(), other.price_number);
        let Some(total) = self.totals.get_mut(&key) else {
            self.totals.insert(key, other);
            return Ok(());
        };
        total.amount = total.amount.plus(other.amount)?;
        total.records = total.records.saturating_add(other.records);
        total.billable = total.billable.plus(&other.billable);
        Ok(())
    }

    /// What is more here than there: where nothing was charged for, nothing is left.
    pub fn less(&self, other: &Self) -> Result<Self, MoneyError> {
        let mut left = Self::new();
        for (key, total) in &self.totals {
            let before = other.totals.get(key);
            let amount = total.amount.minus(before.map_or(NanoUnits::ZERO, |before| before.amount))?;
            if amount <= NanoUnits::ZERO {
                continue;
            }
            let (records, billable) = before.map_or((0, Quantities::default()), |before| (before.records, before.billable));
            let records = total.records.saturating_sub(records);
            left.totals.insert(key.clone(), UsageTotal { records, billable: total.billable.less(&billable), amount, ..total.clone() });
        }
        Ok(left)
    }

    /// Adds what the lines of an invoice charge for of a month.
    pub fn add_invoiced(&mut self, invoice: &Invoice, month: Month) -> Result<(), MoneyError> {
        for line in invoice.lines.iter().filter(|line| line.month.unwrap_or(invoice.month) == month) {
            self.merge(invoiced(line))?;
        }
        Ok(())
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// The totals, by meter, name and version.
    pub fn iter(&self) -> impl Iterator<Item = &UsageTotal> {
        self.totals.values()
    }

    /// All amounts together.
    pub fn amount(&self) -> Result<NanoUnits, MoneyError> {
        NanoUnits::sum(self.iter().map(|total| total.amount))
    }
}
