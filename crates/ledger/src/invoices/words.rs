//! What stands on an invoice in words and numbers, whatever it is rendered as.

use freehold_domain::NanoUnits;

use super::{Invoice, InvoiceKind, Line, Part};

/// An amount with at least two decimal places: `12.50`.
pub(super) fn amount_text(amount: NanoUnits) -> String {
    let text = amount.to_string();
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, places)) if places.len() < 2 => format!("{text}0"),
        Some(_) => text,
    }
}

/// A count with thin groups of three: `1 234 567`.
pub(super) fn count_text(count: u64) -> String {
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
pub(super) fn per_text(part: &Part) -> String {
    match part.per {
        1 => amount_text(part.unit_price),
        1_000_000 => format!("{} / 1M", amount_text(part.unit_price)),
        per => format!("{} / {per}", amount_text(part.unit_price)),
    }
}

/// What a line is about: a model or sku, and the month of its usage if that is another than the invoice's.
pub(super) fn about(line: &Line) -> String {
    match line.month {
        None => line.description.clone(),
        Some(month) => format!("{} (in {month}, after its invoice)", line.description),
    }
}

/// The lines under the table: what they say, how much, and whether they stand out.
pub(super) fn summary(invoice: &Invoice) -> Vec<(String, NanoUnits, bool)> {
    let minus = |amount: NanoUnits| NanoUnits::new(amount.get().saturating_neg());
    let tax = invoice.tax.as_ref().map(|tax| {
        let on = if invoice.tax_amount == NanoUnits::ZERO { String::new() } else { format!(" on {}", amount_text(invoice.taxable)) };
        (format!("{}{on}", tax.label()), invoice.tax_amount, false)
    });
    let mut rows = Vec::new();
    match (&invoice.kind, tax) {
        (InvoiceKind::CreditNote { .. }, None) => return vec![("Total credited".to_owned(), invoice.total, true)],
        (InvoiceKind::CreditNote { .. }, Some(tax)) => {
            return vec![("Net".to_owned(), invoice.total, false), tax, ("Total credited".to_owned(), invoice.gross, true)];
        }
        (InvoiceKind::TopUp, tax) => {
            rows.push(("Net".to_owned(), invoice.total, false));
            rows.extend(tax);
            rows.push(("Paid".to_owned(), invoice.gross, true));
            return rows;
        }
        (InvoiceKind::Invoice, tax) => {
            rows.push(("Subtotal".to_owned(), invoice.subtotal, false));
            rows.extend(invoice.credits.iter().map(|credit| (format!("Credit: {}", credit.description), minus(credit.amount), false)));
            match tax {
                None => rows.push(("Total".to_owned(), invoice.total, true)),
                Some(tax) => {
                    rows.push(("Net total".to_owned(), invoice.total, true));
                    rows.push(tax);
                    rows.push(("Total with tax".to_owned(), invoice.gross, true));
                }
            }
        }
    }
    if invoice.paid_from_credit != NanoUnits::ZERO {
        rows.push(("Paid from credit".to_owned(), minus(invoice.paid_from_credit), false));
    }
    rows.push(("Due".to_owned(), invoice.due, true));
    rows
}
