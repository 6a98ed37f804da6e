//! Invoices: numbers that add up, pages that show them.

use freehold_domain::{Currency, InvoiceId, NanoUnits};
use freehold_ledger::invoices::{
    Credit, Heading, Invoice, InvoiceError, InvoiceKind, InvoiceState, Party, Series, Totals, render_html, render_pdf,
};
use freehold_ledger::{Month, Tax, Treatment, UsageRecord, UsageState};
use proptest::prelude::*;
use uuid::Uuid;

use super::support::{NOON, nano, prices, records, tenant};

pub fn heading(number: &str) -> Heading {
    Heading {
        id: InvoiceId::from_uuid(Uuid::from_u128(77)),
        number: number.to_owned(),
        tenant: tenant(),
        issued_at: NOON,
        due_at: Some(NOON.plus_ms(14 * 86_400_000)),
        seller: Party { name: "Rechenhof Köln eG".to_owned(), lines: vec!["Straße 1".to_owned(), "VAT DE000000000".to_owned()] },
        buyer: Party {
            name: "Zażółć & Söhne <b>".to_owned(), lines: vec!["東京都千代田区1-1".to_owned(), "Łódź".to_owned()]
        },
        tax: None,
        note: "Reverse charge.\nBank: DE00 0000 €".to_owned(),
    }
}

pub fn invoice(records: &[UsageRecord], credits: Vec<Credit>, paid: NanoUnits) -> Result<Invoice, InvoiceError> {
    taxed(None, records, credits, paid)
}

fn taxed(tax: Option<Tax>, records: &[UsageRecord], credits: Vec<Credit>, paid: NanoUnits) -> Result<Invoice, InvoiceError> {
    let mut totals = Totals::new();
    for record in records {
        totals.add(record)?;
    }
    let heading = Heading { tax, ..heading("INV-2026-000001") };
    Invoice::of_month(heading, Month::of(NOON), (&totals, &[]), &prices(), credits, paid, Currency::EUR)
}

pub fn vat(percent: &str) -> Tax {
    Tax {
        treatment: Treatment::Taxed,
        name: "VAT".to_owned(),
        rate_percent: percent.parse().expect("a rate"),
        note: "VAT is due where <you> are.".to_owned(),
    }
}

fn credit(amount: i64) -> Credit {
    Credit { description: "Worker lost on 2026-11-03".to_owned(), amount: nano(amount) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_total_is_the_sum_of_the_records(count in 0..300_u128) {
        let records = records(count);
        let invoice = invoice(&records, Vec::new(), NanoUnits::ZERO).expect("it adds up");
        let sum = NanoUnits::sum(records.iter().map(|record| record.amount)).expect("it fits");
        prop_assert_eq!((invoice.subtotal, invoice.total, invoice.due), (sum, sum, sum));
        prop_assert!(invoice.check().is_ok());
        prop_assert_eq!(invoice.lines.iter().map(|line| u128::from(line.records)).sum::<u128>(), count);
    }
}

#[test]
fn what_is_not_charged_is_not_on_the_invoice() {
    let mut records = records(8);
    records[0].state = UsageState::Void;
    records[4].state = UsageState::Pending;
    let invoice = invoice(&records, Vec::new(), NanoUnits::ZERO).expect("it adds up");
    assert!(invoice.lines.iter().all(|line| line.description != "llama-3.1-8b"));
}

#[test]
fn credits_and_payments_cannot_be_more_than_what_they_are_for() {
    let records = records(40);
    let total = invoice(&records, Vec::new(), NanoUnits::ZERO).expect("it adds up").total;
    let over = total.plus(nano(1)).expect("it fits");
    assert!(matches!(invoice(&records, vec![credit(over.get())], NanoUnits::ZERO), Err(InvoiceError::TooMuch { .. })));
    assert!(matches!(invoice(&records, Vec::new(), over), Err(InvoiceError::TooMuch { .. })));
    let paid = invoice(&records, Vec::new(), total).expect("it adds up");
    assert_eq!((paid.due, paid.state, paid.due_at), (NanoUnits::ZERO, InvoiceState::Paid, None));
}

#[test]
fn credit_notes_never_exceed_their_invoice() {
    let mut invoice = invoice(&records(40), vec![credit(5)], NanoUnits::ZERO).expect("it adds up");
    let part = nano(invoice.total.get() / 3);
    let note = invoice.credit_note(heading("CN-2026-000001"), part, NanoUnits::ZERO, "Outage").expect("a third");
    assert_eq!(note.kind, InvoiceKind::CreditNote { of: invoice.id, of_number: invoice.number.clone() });
    assert_eq!((note.total, note.check()), (part, Ok(())));
    let rest = invoice.total.minus(part).expect("it fits");
    assert!(invoice.credit_note(heading("CN"), rest, part, "The rest").is_ok());
    let refused = [(rest.plus(nano(1)).expect("it fits"), part), (nano(0), part), (nano(-1), part), (nano(1), invoice.total)];
    for (amount, already) in refused {
        assert!(invoice.credit_note(heading("CN"), amount, already, "x").is_err());
    }
    assert!(matches!(note.credit_note(heading("CN"), nano(1), nano(0), "x"), Err(InvoiceError::NotCreditable(_))));
    invoice.become_state(InvoiceState::Draft).expect_err("it is issued");
    invoice.become_state(InvoiceState::Paid).expect("it was issued");
    invoice.become_state(InvoiceState::Credited).expect("it was paid");
    assert!(invoice.credit_note(heading("CN"), nano(1), nano(0), "x").is_err());
}

#[test]
fn an_invoice_that_was_changed_is_not_rendered() {
    let good = invoice(&records(9), Vec::new(), NanoUnits::ZERO).expect("it adds up");
    let mut changed = good.clone();
    changed.lines[0].amount = changed.lines[0].amount.plus(nano(1)).expect("it fits");
    assert!(render_html(&changed).is_err() && render_pdf(&changed).is_err());
    assert!(Invoice::from_json(changed.to_json()).is_err());
    assert_eq!(Invoice::from_json(good.to_json()), Ok(good));
}

#[test]
fn numbers_have_no_gaps() {
    let mut series = Series::new("INV-2026-");
    assert_eq!([series.take(), series.take()], ["INV-2026-000001", "INV-2026-000002"]);
}

#[test]
fn the_page_shows_the_numbers_and_no_foreign_markup() {
    let invoice = invoice(&records(40), vec![credit(5)], nano(10)).expect("it adds up");
    let page = render_html(&invoice).expect("it adds up");
    assert!(page.contains("Zażółć &amp; Söhne &lt;b&gt;") && page.contains("東京都"));
    assert!(page.contains(&invoice.due.to_string()) && page.contains("-0.000000005"));
    assert!(!page.contains("<script") && !page.contains("http"), "it needs nothing from elsewhere");
    if let Some(folder) = std::env::var_os("KEEP_INVOICES") {
        std::fs::write(std::path::Path::new(&folder).join("invoice.html"), page).expect("written");
    }
}

/// The text of a PDF, if the machine has poppler's `pdftotext`.
fn text_of(pdf: &[u8]) -> Option<String> {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("invoice-{}.pdf", pdf.len()));
    std::fs::write(&file, pdf).expect("written");
    let output = std::process::Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_pdf_has_every_number_and_letter() {
    let mut invoice = invoice(&records(40), vec![credit(5)], nano(10)).expect("it adds up");
    // Enough lines for several pages, worth nothing so that the sums stay.
    let empty = freehold_ledger::invoices::Line { amount: NanoUnits::ZERO, ..invoice.lines[0].clone() };
    invoice.lines.extend((0..200).map(|index| freehold_ledger::invoices::Line { description: format!("model-{index}"), ..empty.clone() }));
    let pdf = render_pdf(&invoice).expect("it adds up");
    assert!(pdf.starts_with(b"%PDF-") && pdf.trim_ascii_end().ends_with(b"%%EOF"));
    if let Some(folder) = std::env::var_os("KEEP_INVOICES") {
        std::fs::write(std::path::Path::new(&folder).join("invoice.pdf"), &pdf).expect("written");
    }
    let bytes = String::from_utf8_lossy(&pdf);
    assert!(bytes.contains(&invoice.due.to_string()), "text is text");
    let Some(text) = text_of(&pdf) else { return };
    for expect in ["Zażółć & Söhne <b>", "Łódź", "Straße 1", "東京都千代田", "€", "model-199", "Total", &invoice.due.to_string()]
    {
        assert!(text.contains(expect), "{expect} is missing");
    }
    assert!(text.matches("page ").count() > 5 && text.matches("Quantity").count() > 5, "several pages, each with a head");
}

#[test]
fn hostile_texts_do_not_break_the_pages() {
    for hostile in
        ["(((", ")))\\", "\0\u{1}\u{7f}", "\u{202e}evil", &"x".repeat(100_000), "\n\n\n", "<!--", "\u{10ffff}", "endstream endobj"]
    {
        let mut invoice = invoice(&records(4), Vec::new(), NanoUnits::ZERO).expect("it adds up");
        invoice.buyer.name = hostile.to_owned();
        invoice.buyer.lines = vec![hostile.to_owned()];
        invoice.lines[0].description = hostile.to_owned();
        invoice.note = hostile.to_owned();
        render_html(&invoice).expect("a page");
        let pdf = render_pdf(&invoice).expect("a file");
        text_of(&pdf);
    }
}

#[test]
fn net_tax_and_gross_add_up() {
    for (percent, paid) in [("19", 0), ("8.875", 10), ("0.0001", 1), ("100", 5), ("0", 0)] {
        let invoice = taxed(Some(vat(percent)), &records(40), vec![credit(5)], nano(paid)).expect("it adds up");
        let taxable = invoice.total.minus(nano(paid)).expect("it fits");
        assert_eq!((invoice.taxable, invoice.tax_amount), (taxable, vat(percent).on(taxable).expect("it fits")));
        assert_eq!(invoice.gross, invoice.total.plus(invoice.tax_amount).expect("it fits"));
        assert_eq!(invoice.due, invoice.taxable.plus(invoice.tax_amount).expect("it fits"));
        assert_eq!(Invoice::from_json(invoice.to_json()), Ok(invoice.clone()));
        let mut changed = invoice.clone();
        changed.tax_amount = changed.tax_amount.plus(nano(1)).expect("it fits");
        changed.gross = changed.gross.plus(nano(1)).expect("it fits");
        changed.due = changed.due.plus(nano(1)).expect("it fits");
        assert!(changed.check().is_err() && render_html(&changed).is_err(), "a tax that is not its rate");
    }
}

#[test]
fn what_credit_paid_for_is_not_taxed_again() {
    let total = invoice(&records(40), Vec::new(), NanoUnits::ZERO).expect("it adds up").total;
    let paid = taxed(Some(vat("19")), &records(40), Vec::new(), total).expect("it adds up");
    assert_eq!((paid.tax_amount, paid.due, paid.state, paid.due_at), (NanoUnits::ZERO, NanoUnits::ZERO, InvoiceState::Paid, None));
    assert!(paid.note.contains("not taxed here"), "{}", paid.note);
    let receipt = Invoice::top_up(Heading { tax: Some(vat("19")), ..heading("TOP-2026-000001") }, nano(1_000_000_001), Currency::EUR);
    let receipt = receipt.expect("a receipt");
    assert_eq!((receipt.tax_amount, receipt.gross, receipt.state), (nano(190_000_000), nano(1_190_000_001), InvoiceState::Paid));
    let page = render_html(&receipt).expect("a page");
    assert!(page.contains("Receipt TOP-2026-000001") && page.contains("VAT 19 % on 1.000000001") && page.contains("1.190000001"), "{page}");
    assert!(render_pdf(&receipt).is_ok());
    assert!(matches!(Invoice::top_up(heading("TOP"), nano(0), Currency::EUR), Err(InvoiceError::NotPositive(_))));
    assert!(matches!(receipt.credit_note(heading("CN"), nano(1), nano(0), "x"), Err(InvoiceError::NotCreditable(_))));
}

#[test]
fn a_note_takes_the_tax_back_only_while_nobody_has_paid_it() {
    let mut invoice = taxed(Some(vat("19")), &records(40), Vec::new(), nano(10)).expect("it adds up");
    let part = nano(invoice.due.get() / 2);
    assert!(matches!(invoice.credit_note(heading("CN"), part, nano(0), "x"), Err(InvoiceError::NotWhole { .. })));
    let whole = invoice.credit_note(heading("CN-2026-000001"), invoice.due, nano(0), "A mistake").expect("all of it");
    assert_eq!((whole.total, whole.tax_amount, whole.gross), (invoice.taxable, invoice.tax_amount, invoice.due));
    assert!(render_html(&whole).expect("a page").contains("VAT 19 %"));
    invoice.become_state(InvoiceState::Paid).expect("paid");
    let note = invoice.credit_note(heading("CN-2026-000002"), nano(1000), nano(0), "Slow").expect("a part");
    assert_eq!((note.total, note.tax_amount, note.gross, note.tax.is_none()), (nano(1000), nano(0), nano(1000), true));
    assert!(note.note.contains("stays paid"), "{}", note.note);
}

#[test]
fn without_a_rate_the_reason_stands_on_the_page() {
    for (treatment, label) in [(Treatment::Exempt, "VAT: exempt"), (Treatment::ReverseCharge, "VAT: reverse charge")] {
        let tax = Tax { treatment, note: "§ 13b <UStG>".to_owned(), ..vat("0") };
        let invoice = taxed(Some(tax), &records(9), Vec::new(), NanoUnits::ZERO).expect("it adds up");
        assert_eq!((invoice.tax_amount, invoice.due), (NanoUnits::ZERO, invoice.total));
        let page = render_html(&invoice).expect("a page");
        assert!(page.contains(label) && page.contains("§ 13b &lt;UStG&gt;"), "{page}");
        if let Some(text) = text_of(&render_pdf(&invoice).expect("a file")) {
            assert!(text.contains(label) && text.contains("§ 13b"), "{text}");
        }
    }
}

#[test]
fn late_usage_has_lines_of_its_own() {
    let mut totals = Totals::new();
    records(9).iter().for_each(|record| totals.add(record).expect("it fits"));
    let before = Month::from_index(i64::from(Month::of(NOON).index()) - 1);
    let late = [(before, totals.clone())];
    let heading = heading("INV-2026-000002");
    let invoice = Invoice::of_month(heading, Month::of(NOON), (&totals, &late), &prices(), Vec::new(), nano(0), Currency::EUR);
    let invoice = invoice.expect("it adds up");
    assert_eq!(invoice.total.get(), 2 * totals.amount().expect("it fits").get());
    assert!(render_html(&invoice).expect("a page").contains("smollm2 (in 2026-10, after its invoice)"));
    assert_eq!(Invoice::from_json(invoice.to_json()), Ok(invoice.clone()));
    // What is on it is not charged again; what comes now is.
    let mut billed = Totals::new();
    billed.add_invoiced(&invoice, before).expect("it fits");
    assert_eq!(billed, totals);
    assert!(totals.less(&billed).expect("it fits").is_empty());
    let mut more = totals.clone();
    records(13)[12..].iter().for_each(|record| more.add(record).expect("it fits"));
    let left = more.less(&billed).expect("it fits");
    assert_eq!((left.iter().map(|total| total.records).sum::<u64>(), left.amount()), (1, Ok(records(13)[12].amount)));
}
