//! Stored and exported formats do not change by accident. `UPDATE_GOLDEN=1` writes them anew.

use freehold_domain::{Currency, NanoUnits};
use freehold_ledger::focus::{CsvWriter, usage_rows};
use freehold_ledger::invoices::{Heading, Invoice};
use freehold_ledger::{PriceList, Quantities, Subject, UsageOutcome, UsageRecord, bill};
use serde_json::Value;

use super::focus::{names, seller};
use super::invoices::{heading, invoice, vat};
use super::support::{NOON, list, model, prices, records, usage};

fn check(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    assert_eq!(golden, text, "{name} has changed: a stored format needs a new version and a reader for this one");
}

/// A golden file of a version that is no longer written.
fn old(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).expect("JSON")
}

fn check_json(name: &str, value: &Value) -> Value {
    let mut text = serde_json::to_string_pretty(value).expect("JSON");
    text.push('\n');
    check(name, &text);
    old(name)
}

#[test]
fn price_list() {
    let golden = check_json("prices-1.json", &list(1, NOON).to_json());
    assert_eq!(PriceList::from_json(golden), Ok(list(1, NOON)));
}

#[test]
fn usage_record() {
    let tokens = usage(3, model("llama-3.1-8b"), Quantities::tokens(120, 64, 33), UsageOutcome::ClientGone);
    let reported = Some(Quantities::tokens(121, 64, 33));
    let record = bill(freehold_ledger::Usage { provider_reported: reported, ..tokens }, &prices()).expect("it has a price");
    assert_eq!(record.to_json_text(), record.to_json().to_string());
    assert_eq!(UsageRecord::from_json(check_json("usage-2-model.json", &record.to_json())).as_ref(), Ok(&record));
    assert_eq!(UsageRecord::from_json(old("usage-1-model.json")), Ok(record.clone()));
    let capped = record.capped(NanoUnits::new(7));
    assert_eq!(UsageRecord::from_json(check_json("usage-2-capped.json", &capped.to_json())), Ok(capped));
    let subject = Subject::Sku { sku: "c1.small".to_owned(), resource: "ins_1".to_owned() };
    let record = bill(usage(4, subject, Quantities::seconds(3600), UsageOutcome::Complete), &prices()).expect("it has a price");
    assert_eq!(UsageRecord::from_json(check_json("usage-2-sku.json", &record.to_json())).as_ref(), Ok(&record));
    assert_eq!(UsageRecord::from_json(old("usage-1-sku.json")), Ok(record));
}

#[test]
fn invoice_document() {
    let invoice = invoice(&records(8), Vec::new(), NanoUnits::ZERO).expect("it adds up");
    assert_eq!(Invoice::from_json(check_json("invoice-2.json", &invoice.to_json())).as_ref(), Ok(&invoice));
    assert_eq!(Invoice::from_json(old("invoice-1.json")), Ok(invoice));
    let heading = Heading { tax: Some(vat("8.875")), ..heading("TOP-2026-000001") };
    let receipt = Invoice::top_up(heading, NanoUnits::new(20_000_000_000), Currency::EUR).expect("a receipt");
    assert_eq!(Invoice::from_json(check_json("invoice-2-taxed.json", &receipt.to_json())), Ok(receipt));
}

#[test]
fn focus_csv() {
    let mut writer = CsvWriter::new(Vec::new()).expect("a header");
    for record in records(8) {
        let list = prices().number(record.price_number).expect("it was billed with it").clone();
        for row in usage_rows(&record, &list, &seller(), &names()).expect("rows") {
            writer.write(&row).expect("written");
        }
    }
    check("focus-1.2.csv", &String::from_utf8(writer.finish().expect("written")).expect("UTF-8"));
}
