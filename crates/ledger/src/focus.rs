//! Usage and cost as rows of FOCUS 1.2 (FinOps Open Cost and Usage Specification, dataset Cost and Usage).
//!
//! A usage record becomes one row for each thing that has a price: input, cached input and output tokens, or seconds.
//! List and contracted cost are quantity times price, exactly. Billed and effective cost are in nano-units and add up
//! to the record's amount, so the rows of a month add up to its invoice: what rounding the record once moved is in the
//! record's last row. Where a record was charged with less than its quantities cost, its rows add up to what was
//! charged, and list and contracted cost show the difference.
//!
//! Costs are without taxes, as FOCUS wants them in usage rows. The tax of a month's invoice is one row of its own, of
//! charge category `Tax`.
//!
//! **Invariant:** the columns of every writer are [`COLUMNS`], in that order.

mod csv;
mod parquet;
mod row;

use std::collections::BTreeMap;

pub use csv::CsvWriter;
use freehold_domain::{Currency, KeyId, MoneyError, NanoUnits, TenantId, Timestamp, UsageId};
pub use parquet::ParquetWriter;
pub use row::{COLUMNS, Cell, ColumnType, Decimal, Row};

use crate::calendar::Month;
use crate::prices::{PriceError, PriceList, TOKENS_PER_PRICE};
use crate::usage::{Quantities, Subject, UsageRecord};

/// Why rows cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FocusError {
    /// The price list has no entry for what was used: it is not the record's.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The price list is not the one that the record was billed with.
    #[error("usage {usage} was billed with version {expect} of the price list, not {got}")]
    OtherPriceList {
        /// The record.
        usage: UsageId,
        /// Its version.
        expect: u32,
        /// The version handed in.
        got: u32,
    },
    /// A value does not fit its column.
    #[error("a value of column `{0}` does not fit 38 digits with 15 decimal places")]
    TooLarge(&'static str),
    /// CSV cannot be written.
    #[error("the CSV cannot be written: {0}")]
    Csv(#[from] ::csv::Error),
    /// Parquet cannot be written.
    #[error("the Parquet file cannot be written: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// The writer fails.
    #[error("the export cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// Who sells, and where: the same in every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seller {
    /// Who provides the service; publishes and invoices it too.
    pub name: String,
    /// What the services are called: `Freehold` makes `Freehold Models` and `Freehold Instances`.
    pub service: String,
    /// Id and name of the region, if the operator has given it one.
    pub region: Option<(String, String)>,
}

/// What a row says beside usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The tenant's name.
    pub tenant: String,
    /// The key's name.
    pub key: Option<String>,
    /// The number of the invoice that the charge is on, once there is one.
    pub invoice: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Money given back, as a row of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCharge {
    /// Who gets it.
    pub tenant: TenantId,
    /// For which key's usage.
    pub key: Option<KeyId>,
    /// How much, above zero.
    pub amount: NanoUnits,
    /// Of what.
    pub currency: Currency,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub description: String,
    /// Whether it corrects a month that was invoiced before.
    pub corrects_invoiced: bool,
}

/// The rows of a usage record, none if nothing is billable. `list` is the version that it was billed with.
pub fn usage_rows(record: &UsageRecord, list: &PriceList, seller: &Seller, names: &Names) -> Result<Vec<Row>, FocusError> {
    if record.price_number != list.number {
        return Err(FocusError::OtherPriceList { usage: record.id, expect: record.price_number, got: list.number });
    }
    let meters = meters(&record.subject, &record.billable, list)?;
    let mut left = record.amount;
    let count = meters.len();
    let mut rows = Vec::with_capacity(count);
    for (index, meter) in meters.into_iter().enumerate() {
        // Of a record that was capped, the first rows have their cost and the last what is left: never less than nothing.
        let billed = if index + 1 == count { left } else { NanoUnits::from_ratio(meter.exact(), TOKENS_PER_PRICE)?.min(left) };
        left = left.minus(billed)?;
        rows.push(usage_row(record, list, seller, names, &meter, billed)?);
    }
    Ok(rows)
}

/// The row of money given back.
pub fn credit_row(credit: &CreditCharge, seller: &Seller, names: &Names) -> Result<Row, FocusError> {
    let amount = Decimal::from_nano(credit.amount.negated()?);
    let account = Account { tenant: credit.tenant, key: credit.key, currency: credit.currency, started: credit.at, ended: credit.at };
    Ok(Row {
        billed_cost: amount,
        effective_cost: amount,
        list_cost: amount,
        contracted_cost: amount,
        charge_category: "Credit",
        charge_class: credit.corrects_invoiced.then_some("Correction"),
        charge_frequency: "One-Time",
        charge_description: credit.description.clone(),
        ..base(&account, seller, names)
    })
}

/// The tax of a month's invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxCharge {
    /// Who owes it.
    pub tenant: TenantId,
    /// How much, above zero.
    pub amount: NanoUnits,
    /// Of what.
    pub currency: Currency,
    /// The month whose invoice it is on.
    pub month: Month,
    /// Which tax: `VAT 19 %`.
    pub description: String,
}

/// The row of a tax. There is no discount on a tax, so every cost is the amount.
pub fn tax_row(tax: &TaxCharge, seller: &Seller, names: &Names) -> Row {
    let amount = Decimal::from_nano(tax.amount);
    let (started, ended) = (tax.month.start(), tax.month.end());
    let account = Account { tenant: tax.tenant, key: None, currency: tax.currency, started, ended };
    Row {
        billed_cost: amount,
        effective_cost: amount,
        list_cost: amount,
        contracted_cost: amount,
        charge_category: "Tax",
        charge_frequency: "Recurring",
        charge_description: tax.description.clone(),
        ..base(&account, seller, names)
    }
}

/// One priced thing of a record.
struct Meter {
    /// `input-tokens`.
    id: &'static str,
    /// `Input tokens`.
    name: &'static str,
    unit: &'static str,
    pricing_unit: &'static str,
    quantity: u64,
    /// For how many units the price is.
    per: i128,
    price: NanoUnits,
}

impl Meter {
    /// What it costs, in millionths of a nano-unit.
    fn exact(&self) -> i128 {
        i128::from(self.quantity) * i128::from(self.price.get()) * (TOKENS_PER_PRICE / self.per)
    }
}

fn meters(subject: &Subject, billable: &Quantities, list: &PriceList) -> Result<Vec<Meter>, PriceError> {
    let tokens = |id, name, quantity, price| Meter {
        id,
        name,
        unit: "Tokens",
        pricing_unit: "1000000 Tokens",
        quantity,
        per: TOKENS_PER_PRICE,
        price,
    };
    let meters = match subject {
        Subject::Model { model } => {
            let price = list.model(model)?;
            vec![
                tokens("input-tokens", "Input tokens", billable.input, price.input),
                tokens("cached-input-tokens", "Cached input tokens", billable.cached, price.cached),
                tokens("output-tokens", "Output tokens", billable.output, price.output),
            ]
        }
        Subject::Sku { sku, .. } => {
            let price = list.sku(sku)?;
            let quantity = billable.seconds;
            vec![Meter { id: "seconds", name: "Seconds", unit: "Seconds", pricing_unit: "Seconds", quantity, per: 1, price }]
        }
    };
    Ok(meters.into_iter().filter(|meter| meter.quantity > 0).collect())
}

fn usage_row(
    record: &UsageRecord,
    list: &PriceList,
    seller: &Seller,
    names: &Names,
    meter: &Meter,
    billed: NanoUnits,
) -> Result<Row, FocusError> {
    let exact = Decimal::from_micro_nano(meter.exact());
    let price = Decimal::from_nano(meter.price);
    let pricing_quantity = Decimal::from_ratio(meter.quantity, meter.per).ok_or(FocusError::TooLarge("PricingQuantity"))?;
    let sku = format!("{}/{}", record.subject.name(), meter.id);
    let account =
        Account { tenant: record.tenant, key: record.key, currency: record.currency, started: record.started, ended: record.ended };
    // A service has one category: models and instances are two services.
    let (resource, service, category, subcategory) = match &record.subject {
        Subject::Model { .. } => (None, "Models", "AI and Machine Learning", "Generative AI"),
        Subject::Sku { resource, .. } => (Some(resource.clone()), "Instances", "Compute", "Other (Compute)"),
    };
    Ok(Row {
        billed_cost: Decimal::from_nano(billed),
        effective_cost: Decimal::from_nano(billed),
        list_cost: exact,
        contracted_cost: exact,
        list_unit_price: Some(price),
        contracted_unit_price: Some(price),
        pricing_quantity: Some(pricing_quantity),
        pricing_unit: Some(meter.pricing_unit),
        pricing_category: Some("Standard"),
        consumed_quantity: Some(Decimal::from_count(meter.quantity)),
        consumed_unit: Some(meter.unit),
        charge_description: format!("{} of {}", meter.name, record.subject.name()),
        resource_type: resource.is_some().then_some("Instance"),
        resource_id: resource,
        service_name: format!("{} {service}", seller.service),
        service_category: category,
        service_subcategory: subcategory,
        sku_price_id: Some(format!("{sku}/v{}", list.number)),
        sku_id: Some(sku),
        sku_meter: Some(meter.name),
        sku_price_details: Some(format!("{{\"x_PriceListVersion\":{}}}", list.number)),
        ..base(&account, seller, names)
    })
}

/// Whose charge, and when.
struct Account {
    tenant: TenantId,
    key: Option<KeyId>,
    currency: Currency,
    started: Timestamp,
    ended: Timestamp,
}

/// What every row has, as a charge for usage without quantities.
fn base(account: &Account, seller: &Seller, names: &Names) -> Row {
    let start_s = account.started.unix_s();
    let end_s = account.ended.plus_ms(999).unix_s().max(start_s + 1);
    let month = Month::of(account.started);
    let key = account.key.map(|key| key.to_string());
    Row {
        billed_cost: Decimal::ZERO,
        effective_cost: Decimal::ZERO,
        list_cost: Decimal::ZERO,
        contracted_cost: Decimal::ZERO,
        list_unit_price: None,
        contracted_unit_price: None,
        pricing_quantity: None,
        pricing_unit: None,
        pricing_category: None,
        consumed_quantity: None,
        consumed_unit: None,
        billing_account_id: account.tenant.to_string(),
        billing_account_name: names.tenant.clone(),
        billing_currency: account.currency,
        billing_period: (month.start(), month.end()),
        charge_category: "Usage",
        charge_class: None,
        charge_description: String::new(),
        charge_frequency: "Usage-Based",
        charge_period: (Timestamp::from_unix_ms(start_s * 1000), Timestamp::from_unix_ms(end_s * 1000)),
        invoice_id: names.invoice.clone(),
        provider: seller.name.clone(),
        region: seller.region.clone(),
        resource_id: None,
        resource_type: None,
        service_category: "AI and Machine Learning",
        service_subcategory: "Generative AI",
        service_name: format!("{} Models", seller.service),
        sku_id: None,
        sku_price_id: None,
        sku_meter: None,
        sku_price_details: None,
        sub_account_name: key.is_some().then(|| names.key.clone().or_else(|| key.clone()).unwrap_or_default()),
        sub_account_id: key,
        tags: serde_json::to_string(&names.tags).unwrap_or_else(|_| "{}".to_owned()),
    }
}
