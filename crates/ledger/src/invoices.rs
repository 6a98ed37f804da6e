//! Invoices and credit notes, made from a month's usage.
//!
//! A line stands for one model or sku at one version of the price list. Its amount is the sum of the amounts of its
//! usage records, each of which was rounded when it was billed; nothing is rounded again, so quantity times price can
//! differ from the amount by the rounding of the records, and the total is exactly what was charged.
//!
//! Up to `total` amounts are net. The tax is on what is not paid from credit ([`crate::tax`] says why).
//!
//! **Invariant:** `subtotal` is the sum of the lines, `total` is `subtotal` less the credits, `taxable` is `total` less what
//! was paid in advance, `tax_amount` is the tax on that, `gross` is `total` and the tax, `due` is `gross` less what was paid
//! in advance. [`Invoice::check`] holds it, and nothing is rendered that does not pass.

mod html;
mod pdf;
mod totals;
mod words;

use freehold_domain::{Currency, InvoiceId, MoneyError, NanoUnits, TenantId, Timestamp};
pub use html::render as render_html;
pub use pdf::render as render_pdf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use totals::{CACHED, INPUT, OUTPUT, SECONDS};
pub use totals::{Totals, UsageTotal};
use words::{about, amount_text, count_text, per_text, summary};

use crate::calendar::Month;
use crate::derive;
use crate::prices::{PriceError, PriceList, Prices, TOKENS_PER_PRICE};
use crate::tax::Tax;
use crate::usage::Subject;

/// The tag of the JSON form.
pub const FORMAT: &str = "freehold.invoice/2";

const OLDER: &[(&str, derive::Upgrade)] = &[("freehold.invoice/1", without_tax)];

/// Version 1 knew no taxes: what was due was net, and all that there was.
fn without_tax(fields: &mut serde_json::Map<String, Value>) {
    for (name, like) in [("taxable", "due"), ("gross", "total")] {
        let value = fields.get(like).cloned().unwrap_or_default();
        fields.insert(name.to_owned(), value);
    }
    fields.insert("tax".to_owned(), Value::Null);
    fields.insert("tax_amount".to_owned(), "0".into());
}

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
    /// A credit note for part of an invoice with tax that nobody has paid.
    #[error("{number} is not paid: all that is due on it, {due}, can be credited, and not {got}")]
    NotWhole {
        /// Its number.
        number: String,
        /// How much it was to be.
        got: NanoUnits,
        /// What is due.
        due: NanoUnits,
    },
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
    /// The month of the usage, where it is an earlier one than the invoice's: it came after that one's invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
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
    /// The receipt of a payment for credit.
    TopUp,
}

impl InvoiceKind {
    /// As it is stored and shown.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::CreditNote { .. } => "credit_note",
            Self::TopUp => "top_up",
        }
    }
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
    /// The tax, if there is one.
    pub tax: Option<Tax>,
    /// What else has to stand on it: a bank account. Lines end with a newline.
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
    /// `subtotal` less the credits: net, without tax.
    pub total: NanoUnits,
    /// The tax; `None`: it is sold without one, or from before there were taxes.
    pub tax: Option<Tax>,
    /// What the tax is on: `total` less what was paid from credit.
    pub taxable: NanoUnits,
    /// The tax on `taxable`.
    pub tax_amount: NanoUnits,
    /// `total` and the tax.
    pub gross: NanoUnits,
    /// What was paid in advance, from the tenant's credit.
    pub paid_from_credit: NanoUnits,
    /// `gross` less what was paid in advance.
    pub due: NanoUnits,
    /// What else has to stand on it.
    pub note: String,
}

impl Invoice {
    /// An issued invoice of a month's usage. `paid_from_credit` is what the tenant's account had for it. `late` is usage of
    /// earlier months that is on none of their invoices.
    pub fn of_month(
        heading: Heading,
        month: Month,
        (totals, late): (&Totals, &[(Month, Totals)]),
        prices: &Prices,
        credits: Vec<Credit>,
        paid_from_credit: NanoUnits,
        currency: Currency,
    ) -> Result<Self, InvoiceError> {
        let mut lines = totals.iter().map(|total| line(total, prices, currency)).collect::<Result<Vec<_>, _>>()?;
        for (month, totals) in late {
            for total in totals.iter() {
                lines.push(Line { month: Some(*month), ..line(total, prices, currency)? });
            }
        }
        let subtotal = NanoUnits::sum(lines.iter().map(|line| line.amount))?;
        let given = NanoUnits::sum(credits.iter().map(|credit| credit.amount))?;
        if given > subtotal {
            return Err(InvoiceError::TooMuch { what: "credits", got: given, max: subtotal });
        }
        let total = subtotal.minus(given)?;
        if paid_from_credit > total {
            return Err(InvoiceError::TooMuch { what: "payments from credit", got: paid_from_credit, max: total });
        }
        let has_due = total > paid_from_credit;
        let state = if has_due { InvoiceState::Issued } else { InvoiceState::Paid };
        let due_at = heading.due_at.filter(|_| has_due);
        let from_credit = "What was paid from credit is not taxed here: credit is sold with the tax on it, or is a present.";
        let is_taxed = heading.tax.is_some() && paid_from_credit > NanoUnits::ZERO;
        let note = noted(&heading, is_taxed.then_some(from_credit));
        let sums = Sums { lines, credits, paid_from_credit };
        Self::put_together(Heading { due_at, note, ..heading }, InvoiceKind::Invoice, state, month, currency, sums)
    }

    /// The receipt of a payment for credit: `net` becomes credit, and the tax is paid with it.
    pub fn top_up(heading: Heading, net: NanoUnits, currency: Currency) -> Result<Self, InvoiceError> {
        if net <= NanoUnits::ZERO {
            return Err(InvoiceError::NotPositive(net));
        }
        let line = Line { description: "Credit".to_owned(), month: None, price_number: 0, records: 0, parts: Vec::new(), amount: net };
        let sums = Sums { lines: vec![line], credits: Vec::new(), paid_from_credit: NanoUnits::ZERO };
        let month = Month::of(heading.issued_at);
        let note = noted(&heading, None);
        let heading = Heading { due_at: None, note, ..heading };
        Self::put_together(heading, InvoiceKind::TopUp, InvoiceState::Paid, month, currency, sums)
    }

    /// A credit note for part or all of an invoice of which `already` was credited before. Of one with tax that is not
    /// paid, `amount` is all that is due, and the tax goes with it. Otherwise `amount` is net and becomes credit, and the
    /// tax that was paid on it stays paid, as it is for all credit.
    pub fn credit_note(&self, heading: Heading, amount: NanoUnits, already: NanoUnits, reason: &str) -> Result<Self, InvoiceError> {
        let creditable = matches!(self.state, InvoiceState::Issued | InvoiceState::Paid) && self.kind == InvoiceKind::Invoice;
        if !creditable {
            return Err(InvoiceError::NotCreditable(self.number.clone()));
        }
        if amount <= NanoUnits::ZERO {
            return Err(InvoiceError::NotPositive(amount));
        }
        let takes_tax = self.state == InvoiceState::Issued && self.tax_amount != NanoUnits::ZERO;
        if takes_tax && amount != self.due {
            return Err(InvoiceError::NotWhole { number: self.number.clone(), got: amount, due: self.due });
        }
        let net = if takes_tax { self.taxable } else { amount };
        let max = self.total.minus(already)?;
        if net > max {
            return Err(InvoiceError::TooMuch { what: "credit notes", got: net, max });
        }
        let line = Line { description: reason.to_owned(), month: None, price_number: 0, records: 0, parts: Vec::new(), amount: net };
        let kind = InvoiceKind::CreditNote { of: self.id, of_number: self.number.clone() };
        let tax = self.tax.clone().filter(|_| takes_tax);
        let stays = "This becomes credit. The tax on it was paid and stays paid: what the credit buys is not taxed again.";
        let heading = Heading { tax, tenant: self.tenant, due_at: None, ..heading };
        let note = noted(&heading, (!takes_tax && self.tax_amount != NanoUnits::ZERO).then_some(stays));
        let sums = Sums { lines: vec![line], credits: Vec::new(), paid_from_credit: NanoUnits::ZERO };
        Self::put_together(Heading { note, ..heading }, kind, InvoiceState::Issued, self.month, self.currency, sums)
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
        let tax = self.tax.as_ref().map_or(Ok(NanoUnits::ZERO), |tax| tax.on(self.taxable))?;
        let fields = [
            ("subtotal", self.subtotal, subtotal),
            ("total", self.total, total),
            ("taxable", self.taxable, self.total.minus(self.paid_from_credit)?),
            ("tax_amount", self.tax_amount, tax),
            ("gross", self.gross, self.total.plus(self.tax_amount)?),
            ("due", self.due, self.gross.minus(self.paid_from_credit)?),
        ];
        for (field, got, expect) in fields {
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
            InvoiceKind::TopUp => format!("Receipt {}", self.number),
        }
    }

    /// The JSON form, with its version tag.
    pub fn to_json(&self) -> Value {
        derive::tag(self, FORMAT)
    }

    /// Reads any version of the JSON form. The error says what is wrong.
    pub fn from_json(value: Value) -> Result<Self, String> {
        let invoice: Self = derive::untag_chain(value, FORMAT, OLDER)?;
        invoice.check().map_err(|error| error.to_string())?;
        Ok(invoice)
    }

    fn put_together(
        heading: Heading,
        kind: InvoiceKind,
        state: InvoiceState,
        month: Month,
        currency: Currency,
        sums: Sums,
    ) -> Result<Self, InvoiceError> {
        let Sums { lines, credits, paid_from_credit } = sums;
        let subtotal = NanoUnits::sum(lines.iter().map(|line| line.amount))?;
        let total = subtotal.minus(NanoUnits::sum(credits.iter().map(|credit| credit.amount))?)?;
        let taxable = total.minus(paid_from_credit)?;
        let tax_amount = heading.tax.as_ref().map_or(Ok(NanoUnits::ZERO), |tax| tax.on(taxable))?;
        let gross = total.plus(tax_amount)?;
        Ok(Self {
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
            lines,
            credits,
            subtotal,
            total,
            tax: heading.tax,
            taxable,
            tax_amount,
            gross,
            paid_from_credit,
            due: gross.minus(paid_from_credit)?,
            note: heading.note,
        })
    }
}

struct Sums {
    lines: Vec<Line>,
    credits: Vec<Credit>,
    paid_from_credit: NanoUnits,
}

/// The note of a document: what its tax wants, what else is to be said, and what every one has.
fn noted(heading: &Heading, more: Option<&str>) -> String {
    let tax = heading.tax.as_ref().map(|tax| tax.note.as_str());
    let parts = [tax, more, Some(heading.note.as_str())];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn line(total: &UsageTotal, prices: &Prices, currency: Currency) -> Result<Line, InvoiceError> {
    let list = prices.number(total.price_number).ok_or(InvoiceError::NoPriceList(total.price_number))?;
    if list.currency != currency {
        return Err(InvoiceError::Currency { got: list.currency, expect: currency });
    }
    Ok(Line {
        description: total.name.clone(),
        month: None,
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
                (INPUT, billable.input, price.input, tokens),
                (CACHED, billable.cached, price.cached, tokens),
                (OUTPUT, billable.output, price.output, tokens),
            ]
        }
        Subject::Sku { sku, .. } => vec![(SECONDS, billable.seconds, list.sku(&sku)?, 1)],
    };
    let used = parts.into_iter().filter(|(_, quantity, _, _)| *quantity > 0);
    Ok(used.map(|(unit, quantity, unit_price, per)| Part { unit: unit.to_owned(), quantity, unit_price, per }).collect())
}
