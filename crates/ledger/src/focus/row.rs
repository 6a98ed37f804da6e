//! A row, its columns and the values of its cells.
//!
//! **Invariant:** [`Row::cells`] gives a cell for each of [`COLUMNS`], of that column's type or null.

use std::borrow::Cow;
use std::fmt;

use freehold_domain::{Currency, NanoUnits, Timestamp};

/// Decimal places of every decimal column.
pub(super) const SCALE: u32 = 15;
/// Digits of every decimal column.
pub(super) const PRECISION: u32 = 38;

const MICRO_NANO_PER_NANO: i128 = 1_000_000;

/// A decimal number with 15 places. As text: exact, always with a point (`3.0`), never in E notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal(0);

    /// An amount, in units of its currency.
    pub const fn from_nano(amount: NanoUnits) -> Self {
        Self(amount.get() as i128 * MICRO_NANO_PER_NANO)
    }

    /// An amount given in millionths of a nano-unit.
    pub const fn from_micro_nano(amount: i128) -> Self {
        Self(amount)
    }

    /// A count.
    pub const fn from_count(count: u64) -> Self {
        Self(count as i128 * 10_i128.pow(SCALE))
    }

    /// A count of units that are `per` each; none if that has more than 15 places.
    pub const fn from_ratio(count: u64, per: i128) -> Option<Self> {
        let scaled = count as i128 * 10_i128.pow(SCALE);
        if scaled % per == 0 { Some(Self(scaled / per)) } else { None }
    }

    /// The number, times 10^15.
    pub const fn scaled(self) -> i128 {
        self.0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, unit) = (self.0.unsigned_abs(), 10_u128.pow(SCALE));
        let places = format!("{:015}", size % unit);
        let places = places.trim_end_matches('0');
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{}", size / unit, if places.is_empty() { "0" } else { places })
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A number with 15 decimal places.
    Decimal,
    /// A moment in UTC.
    Time,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Decimal(Decimal),
    /// A moment.
    Time(Timestamp),
}

macro_rules! columns {
    ($row:ident; $($name:literal, $kind:ident = $cell:expr;)*) => {
        /// The columns of the export: their names in FOCUS 1.2, and their types.
        pub const COLUMNS: &[(&str, ColumnType)] = &[$(($name, ColumnType::$kind)),*];

        impl Row {
            /// The values, in the order of [`COLUMNS`].
            pub fn cells(&self) -> Vec<Cell<'_>> {
                let $row = self;
                vec![$($cell),*]
            }
        }
    };
}

columns! { row;
    "BilledCost", Decimal = Cell::Decimal(row.billed_cost);
    "BillingAccountId", Text = text(&row.billing_account_id);
    "BillingAccountName", Text = text(&row.billing_account_name);
    "BillingAccountType", Text = text("Tenant");
    "BillingCurrency", Text = Cell::Text(Cow::Owned(row.billing_currency.to_string()));
    "BillingPeriodEnd", Time = Cell::Time(row.billing_period.1);
    "BillingPeriodStart", Time = Cell::Time(row.billing_period.0);
    "ChargeCategory", Text = text(row.charge_category);
    "ChargeClass", Text = maybe(row.charge_class);
    "ChargeDescription", Text = text(&row.charge_description);
    "ChargeFrequency", Text = text(row.charge_frequency);
    "ChargePeriodEnd", Time = Cell::Time(row.charge_period.1);
    "ChargePeriodStart", Time = Cell::Time(row.charge_period.0);
    // There are no commitments here. The column is there because the validator cannot judge ConsumedQuantity without it.
    "CommitmentDiscountStatus", Text = Cell::Null;
    "ConsumedQuantity", Decimal = number(row.consumed_quantity);
    "ConsumedUnit", Text = maybe(row.consumed_unit);
    "ContractedCost", Decimal = Cell::Decimal(row.contracted_cost);
    "ContractedUnitPrice", Decimal = number(row.contracted_unit_price);
    "EffectiveCost", Decimal = Cell::Decimal(row.effective_cost);
    "InvoiceId", Text = maybe(row.invoice_id.as_deref());
    "InvoiceIssuerName", Text = text(&row.provider);
    "ListCost", Decimal = Cell::Decimal(row.list_cost);
    "ListUnitPrice", Decimal = number(row.list_unit_price);
    "PricingCategory", Text = maybe(row.pricing_category);
    // Prices are in the currency of the bill.
    "PricingCurrency", Text = Cell::Text(Cow::Owned(row.billing_currency.to_string()));
    "PricingCurrencyContractedUnitPrice", Decimal = number(row.contracted_unit_price);
    "PricingCurrencyEffectiveCost", Decimal = Cell::Decimal(row.effective_cost);
    "PricingCurrencyListUnitPrice", Decimal = number(row.list_unit_price);
    "PricingQuantity", Decimal = number(row.pricing_quantity);
    "PricingUnit", Text = maybe(row.pricing_unit);
    "ProviderName", Text = text(&row.provider);
    "PublisherName", Text = text(&row.provider);
    "RegionId", Text = maybe(row.region.as_ref().map(|(id, _)| id.as_str()));
    "RegionName", Text = maybe(row.region.as_ref().map(|(_, name)| name.as_str()));
    "ResourceId", Text = maybe(row.resource_id.as_deref());
    "ResourceName", Text = Cell::Null;
    "ResourceType", Text = maybe(row.resource_type);
    "ServiceCategory", Text = text(row.service_category);
    "ServiceName", Text = text(&row.service_name);
    "ServiceSubcategory", Text = text(row.service_subcategory);
    "SkuId", Text = maybe(row.sku_id.as_deref());
    "SkuMeter", Text = maybe(row.sku_meter);
    "SkuPriceDetails", Text = maybe(row.sku_price_details.as_deref());
    "SkuPriceId", Text = maybe(row.sku_price_id.as_deref());
    "SubAccountId", Text = maybe(row.sub_account_id.as_deref());
    "SubAccountName", Text = maybe(row.sub_account_name.as_deref());
    "SubAccountType", Text = maybe(row.sub_account_id.as_ref().map(|_| "API key"));
    "Tags", Text = text(&row.tags);
}

/// Text of a cell. FOCUS has ASCII only: other letters are written as JSON escapes (`\u00f6`), so that none is lost and
/// JSON stays the same JSON.
fn text(text: &str) -> Cell<'_> {
    if text.is_ascii() {
        return Cell::Text(Cow::Borrowed(text));
    }
    let mut ascii = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cell::Text(Cow::Owned(ascii))
}

fn maybe(value: Option<&str>) -> Cell<'_> {
    value.map_or(Cell::Null, text)
}

fn number(value: Option<Decimal>) -> Cell<'static> {
    value.map_or(Cell::Null, Cell::Decimal)
}

/// A row, made by [`super::usage_rows`] and [`super::credit_row`]. A field is the column of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are FOCUS's columns, which FOCUS documents")]
pub struct Row {
    pub billed_cost: Decimal,
    pub effective_cost: Decimal,
    pub list_cost: Decimal,
    pub contracted_cost: Decimal,
    pub list_unit_price: Option<Decimal>,
    pub contracted_unit_price: Option<Decimal>,
    pub pricing_quantity: Option<Decimal>,
    pub pricing_unit: Option<&'static str>,
    pub pricing_category: Option<&'static str>,
    pub consumed_quantity: Option<Decimal>,
    pub consumed_unit: Option<&'static str>,
    pub billing_account_id: String,
    pub billing_account_name: String,
    pub billing_currency: Currency,
    pub billing_period: (Timestamp, Timestamp),
    pub charge_category: &'static str,
    pub charge_class: Option<&'static str>,
    pub charge_description: String,
    pub charge_frequency: &'static str,
    pub charge_period: (Timestamp, Timestamp),
    pub invoice_id: Option<String>,
    pub provider: String,
    pub region: Option<(String, String)>,
    pub resource_id: Option<String>,
    pub resource_type: Option<&'static str>,
    pub service_category: &'static str,
    pub service_subcategory: &'static str,
    pub service_name: String,
    pub sku_id: Option<String>,
    pub sku_price_id: Option<String>,
    pub sku_meter: Option<&'static str>,
    pub sku_price_details: Option<String>,
    pub sub_account_id: Option<String>,
    pub sub_account_name: Option<String>,
    pub tags: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_beyond_ascii_are_json_escapes() {
        assert_eq!(text("Köln 𝄞"), Cell::Text(Cow::Borrowed("K\\u00f6ln \\ud834\\udd1e")));
    }

    #[test]
    fn decimals_are_exact_and_have_a_point() {
        assert_eq!(Decimal::from_nano(NanoUnits::new(-1_500_000_000)).to_string(), "-1.5");
        assert_eq!(Decimal::from_micro_nano(1).to_string(), "0.000000000000001");
        assert_eq!(Decimal::from_count(3).to_string(), "3.0");
        assert_eq!(Decimal::from_ratio(1, 1_000_000).map(|ratio| ratio.to_string()).as_deref(), Some("0.000001"));
        assert_eq!(Decimal::from_count(u64::MAX).to_string(), "18446744073709551615.0");
        assert_eq!(Decimal::from_ratio(1, 3), None);
    }
}
