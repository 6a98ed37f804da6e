//! Invoices and credit notes, made from a month's usage.
//!
//! A line stands for one model or sku at one version of the price list. Its amount is the sum of the amounts of its
//! usage records, each of which was rounded when it was billed; nothing is rounded again, so quantity times price can
//! differ from the amount by the rounding of the records, and the total is exactly what was charged.
//!
//! **Invariant:** `subtotal` is the sum of the lines, `total` is `subtotal` less the credits, `due` is `total` less what
//! was paid in advance. [`Invoice::check`] holds it, and nothing is rendered that does not pass.

mod html;
mod pdf;
mod totals;

use freehold_domain::{Currency, InvoiceId, MoneyError, NanoUnits, TenantId, Timestamp};
pub use html::render as render_html;
pub use pdf::render as render_pdf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use totals::{Totals, UsageTotal};

use crate::calendar::Month;
use crate::derive;
use crate::prices::{PriceError, PriceList, Prices, TOKENS_PER_PRICE};
use crate::usage::Subject;

/// The tag of the JSON form.
pub const FORMAT: &str = "freehold.invoice/1";

/// Why an invoice or a credit note is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceError {
    /// The numbers do not add up: it was changed, or made by another hand.
    #[error("invoice {number} does not add up: `{field}` is {got}, it must be {expect}")]
    DoesNotAddUp {
        /// Its number.
        number: String,
        /// Which field.
        field: &'static str,
        /// Its value.
        got: NanoUnits,
        /// The right value.
        expect: NanoUnits,
    },
    /// Credits are more than the lines, or the advance is more than the total.
    #[error("{what} of {got} are more than the {max} that they are for")]
    TooMuch {
        /// What is too much.
        what: &'static str,
        /// How much it is.
        got: NanoUnits,
        /// How much it can be.
        max: NanoUnits,
    },
    /// A credit note of nothing or less.
    #[error("a credit note must be for more than zero, not for {0}")]
    NotPositive(NanoUnits),
    /// It is in a state that does not allow this.
    #[error("invoice {number} is {state}; it cannot become {next}")]
    State {
        /// Its number.
        number: String,
        /// Where it stands.
        state: &'static str,
        /// Where it was to go.
        next: &'static str,
    },
    /// A credit note for a credit note, or for a draft.
    #[error("{0} cannot be credited: only an issued invoice can")]
    NotCreditable(String),
    /// A month's usage names a version of the price list that is not there.
    #[error("there is no version {0} of the price list")]
    NoPriceList(u32),
    /// Usage in another currency.
    #[error("usage is priced in {got}, the invoice is in {expect}")]
    Currency {
        /// The usage's.
        got: Currency,
        /// The invoice's.
        expect: Currency,
    },
    /// A model without a price in its version.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A seller or a buyer as it stands on paper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Address, tax number and so on, a line each.
    pub lines: Vec<String>,
}

/// A quantity at a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What is counted: `input tokens`.
    pub unit: String,
    /// How many.
    pub quantity: u64,
    /// The price of `per` of them, in nano-units.
    pub unit_price: NanoUnits,
    /// How many the price is for: 1,000,000 tokens, 1 second.
    pub per: u64,
}

/// What one model or sku cost at one version of the price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The model or sku.
    pub description: String,
    /// Which version of the price list.
    pub price_number: u32,
    /// How many usage records it sums up.
    pub records: u64,
    /// What was used, at which prices.
    pub parts: Vec<Part>,
    /// The sum of the records' amounts.
    pub amount: NanoUnits,
}

/// Money given back in the month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// Why.
    pub description: String,
    /// How much, above zero.
    pub amount: NanoUnits,
}

/// Whether it takes or gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InvoiceKind {
    /// What a tenant used.
    Invoice,
    /// What a tenant gets back of an invoice; its amounts are above zero.
    CreditNote {
        /// The invoice.
        of: InvoiceId,
        /// The invoice's number.
        of_number: String,
    },
}

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceState {
    /// Not sent; has no legal meaning.
    Draft,
    /// Sent.
    Issued,
    /// Nothing is due any more.
    Paid,
    /// A draft that was dropped.
    Void,
    /// Given back in full by credit notes.
    Credited,
}

impl InvoiceState {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Issued => "issued",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Credited => "credited",
        }
    }

    /// Whether an invoice in this state can go on to another.
    pub const fn can_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Draft, Self::Issued | Self::Void) | (Self::Issued, Self::Paid | Self::Credited) | (Self::Paid, Self::Credited)
        )
    }
}

/// Numbers without gaps: the store keeps it and takes the next one in the transaction that writes the invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What stands before the number: `INV-2026-`.
    pub prefix: String,
    /// The next number.
    pub next: u64,
}

impl Series {
    /// A new series, beginning with 1.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), next: 1 }
    }

    /// The next number: `INV-2026-000001`.
    pub fn take(&mut self) -> String {
        let number = format!("{}{:06}", self.prefix, self.next);
        self.next += 1;
        number
    }
}

/// What an invoice needs beside usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Its id.
    pub id: InvoiceId,
    /// Its number, from a [`Series`].
    pub number: String,
    /// Whose invoice.
    pub tenant: TenantId,
    /// When it is issued.
    pub issued_at: Timestamp,
    /// By when it is to be paid, if anything is due.
    pub due_at: Option<Timestamp>,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// What else has to stand on it: tax notes, bank account. Lines end with a newline.
    pub note: String,
}

/// An invoice or a credit note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// Its number in its series.
    pub number: String,
    /// Whether it takes or gives.
    pub kind: InvoiceKind,
    /// Where it stands.
    pub state: InvoiceState,
    /// Whose.
    pub tenant: TenantId,
    /// The month that it is for.
    pub month: Month,
    /// When it is issued.
    pub issued_at: Timestamp,
    /// By when it is to be paid.
    pub due_at: Option<Timestamp>,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// What was used.
    pub lines: Vec<Line>,
    /// What was given back.
    pub credits: Vec<Credit>,
    /// The sum of the lines.
    pub subtotal: NanoUnits,
    /// `subtotal` less the credits.
    pub total: NanoUnits,
    /// What was paid in advance, from the tenant's credit.
    pub paid_from_credit: NanoUnits,
    /// `total` less what was paid in advance.
    pub due: NanoUnits,
    /// What else has to stand on it.
    pub note: String,
}

impl Invoice {
    /// An issued invoice of a month's usage. `paid_from_credit` is what the tenant's account had for it.
    pub fn of_month(
        heading: Heading,
        month: Month,
        totals: &Totals,
        prices: &Prices,
        credits: Vec<Credit>,
        paid_from_credit: NanoUnits,
        currency: Currency,
    ) -> Result<Self, InvoiceError> {
        let lines = totals.iter().map(|total| line(total, prices, currency)).collect::<Result<Vec<_>, _>>()?;
        let subtotal = NanoUnits::sum(lines.iter().map(|line| line.amount))?;
        let given = NanoUnits::sum(credits.iter().map(|credit| credit.amount))?;
        if given > subtotal {
            return Err(InvoiceError::TooMuch { what: "credits", got: given, max: subtotal });
        }
        let total = subtotal.minus(given)?;
        if paid_from_credit > total {
            return Err(InvoiceError::TooMuch { what: "payments from credit", got: paid_from_credit, max: total });
        }
        let due = total.minus(paid_from_credit)?;
        let state = if due > NanoUnits::ZERO { InvoiceState::Issued } else { InvoiceState::Paid };
        let due_at = heading.due_at.filter(|_| due > NanoUnits::ZERO);
        let sums = Sums { lines, credits, subtotal, total, paid_from_credit, due };
        Ok(Self::put_together(Heading { due_at, ..heading }, InvoiceKind::Invoice, state, month, currency, sums))
    }

    /// A credit note for part or all of an invoice of which `already` was credited before.
    pub fn credit_note(&self, heading: Heading, amount: NanoUnits, already: NanoUnits, reason: &str) -> Result<Self, InvoiceError> {
        let creditable = matches!(self.state, InvoiceState::Issued | InvoiceState::Paid) && self.kind == InvoiceKind::Invoice;
        if !creditable {
            return Err(InvoiceError::NotCreditable(self.number.clone()));
        }
        if amount <= NanoUnits::ZERO {
            return Err(InvoiceError::NotPositive(amount));
        }
        let max = self.total.minus(already)?;
        if amount > max {
            return Err(InvoiceError::TooMuch { what: "credit notes", got: amount, max });
        }
        let line = Line { description: reason.to_owned(), price_number: 0, records: 0, parts: Vec::new(), amount };
        let kind = InvoiceKind::CreditNote { of: self.id, of_number: self.number.clone() };
        let sums = Sums {
            lines: vec![line],
            credits: Vec::new(),
            subtotal: amount,
            total: amount,
            paid_from_credit: NanoUnits::ZERO,
            due: amount,
        };
        let heading = Heading { tenant: self.tenant, due_at: None, ..heading };
        Ok(Self::put_together(heading, kind, InvoiceState::Issued, self.month, self.currency, sums))
    }

    /// Moves the invoice on, if its state allows it.
    pub fn become_state(&mut self, next: InvoiceState) -> Result<(), InvoiceError> {
        if !self.state.can_become(next) {
            return Err(InvoiceError::State { number: self.number.clone(), state: self.state.as_str(), next: next.as_str() });
        }
        self.state = next;
        Ok(())
    }

    /// Whether the numbers add up, to the nano-unit.
    pub fn check(&self) -> Result<(), InvoiceError> {
        let subtotal = NanoUnits::sum(self.lines.iter().map(|line| line.amount))?;
        let total = self.subtotal.minus(NanoUnits::sum(self.credits.iter().map(|credit| credit.amount))?)?;
        let due = self.total.minus(self.paid_from_credit)?;
        for (field, got, expect) in [("subtotal", self.subtotal, subtotal), ("total", self.total, total), ("due", self.due, due)] {
            if got != expect {
                return Err(InvoiceError::DoesNotAddUp { number: self.number.clone(), field, got, expect });
            }
        }
        Ok(())
    }

    /// `Invoice INV-2026-000001` or `Credit note …`.
    pub fn title(&self) -> String {
        match self.kind {
            InvoiceKind::Invoice => format!("Invoice {}", self.number),
            InvoiceKind::CreditNote { .. } => format!("Credit note {}", self.number),
        }
    }

    /// The JSON form, with its version tag.
    pub fn to_json(&self) -> Value {
        derive::tag(self, FORMAT)
    }

    /// Reads any version of the JSON form. The error says what is wrong.
    pub fn from_json(value: Value) -> Result<Self, String> {
        let invoice: Self = derive::untag(value, FORMAT)?;
        invoice.check().map_err(|error| error.to_string())?;
        Ok(invoice)
    }

    fn put_together(heading: Heading, kind: InvoiceKind, state: InvoiceState, month: Month, currency: Currency, sums: Sums) -> Self {
        Self {
            id: heading.id,
            number: heading.number,
            kind,
            state,
            tenant: heading.tenant,
            month,
            issued_at: heading.issued_at,
            due_at: heading.due_at,
            currency,
            seller: heading.seller,
            buyer: heading.buyer,
            lines: sums.lines,
            credits: sums.credits,
            subtotal: sums.subtotal,
            total: sums.total,
            paid_from_credit: sums.paid_from_credit,
            due: sums.due,
            note: heading.note,
        }
    }
}

struct Sums {
    lines: Vec<Line>,
    credits: Vec<Credit>,
    subtotal: NanoUnits,
    total: NanoUnits,
    paid_from_credit: NanoUnits,
    due: NanoUnits,
}

fn line(total: &UsageTotal, prices: &Prices, currency: Currency) -> Result<Line, InvoiceError> {
    let list = prices.number(total.price_number).ok_or(InvoiceError::NoPriceList(total.price_number))?;
    if list.currency != currency {
        return Err(InvoiceError::Currency { got: list.currency, expect: currency });
    }
    Ok(Line {
        description: total.name.clone(),
        price_number: total.price_number,
        records: total.records,
        parts: parts(total, list)?,
        amount: total.amount,
    })
}

/// What was used of each priced thing, without those of which nothing was.
fn parts(total: &UsageTotal, list: &PriceList) -> Result<Vec<Part>, PriceError> {
    let billable = &total.billable;
    let tokens = u64::try_from(TOKENS_PER_PRICE).unwrap_or(u64::MAX);
    let parts = match total.subject() {
        Subject::Model { model } => {
            let price = list.model(&model)?;
            vec![
                ("input tokens", billable.input, price.input, tokens),
                ("cached input tokens", billable.cached, price.cached, tokens),
                ("output tokens", billable.output, price.output, tokens),
            ]
        }
        Subject::Sku { sku, .. } => vec![("seconds", billable.seconds, list.sku(&sku)?, 1)],
    };
    let used = parts.into_iter().filter(|(_, quantity, _, _)| *quantity > 0);
    Ok(used.map(|(unit, quantity, unit_price, per)| Part { unit: unit.to_owned(), quantity, unit_price, per }).collect())
}

/// An amount with at least two decimal places: `12.50`.
fn amount_text(amount: NanoUnits) -> String {
    let text = amount.to_string();
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, places)) if places.len() < 2 => format!("{text}0"),
        Some(_) => text,
    }
}

/// A count with thin groups of three: `1 234 567`.
fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// `1 M` or `1`, for how many of its units a price is.
fn per_text(part: &Part) -> String {
    match part.per {
        1 => amount_text(part.unit_price),
        1_000_000 => format!("{} / 1M", amount_text(part.unit_price)),
        per => format!("{} / {per}", amount_text(part.unit_price)),
    }
}

/// The lines under the table: what they say, how much, and whether they stand out.
fn summary(invoice: &Invoice) -> Vec<(String, NanoUnits, bool)> {
    let minus = |amount: NanoUnits| NanoUnits::new(amount.get().saturating_neg());
    if matches!(invoice.kind, InvoiceKind::CreditNote { .. }) {
        return vec![("Total credited".to_owned(), invoice.total, true)];
    }
    let mut rows = vec![("Subtotal".to_owned(), invoice.subtotal, false)];
    rows.extend(invoice.credits.iter().map(|credit| (format!("Credit: {}", credit.description), minus(credit.amount), false)));
    rows.push(("Total".to_owned(), invoice.total, true));
    if invoice.paid_from_credit != NanoUnits::ZERO {
        rows.push(("Paid from credit".to_owned(), minus(invoice.paid_from_credit), false));
    }
    rows.push(("Due".to_owned(), invoice.due, true));
    rows
}
