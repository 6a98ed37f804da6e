//! FOCUS rows: sums, both writers, and the validator of the FinOps Foundation.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use freehold_domain::{Currency, NanoUnits};
use freehold_ledger::focus::{
    COLUMNS, CreditCharge, CsvWriter, FocusError, Names, ParquetWriter, Row, Seller, TaxCharge, credit_row, tax_row, usage_rows,
};
use freehold_ledger::{Month, Quantities, UsageOutcome, bill};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::support::{NOON, key, list, model, nano, prices, records, root, tenant, usage};

pub fn seller() -> Seller {
    Seller {
        name: "Rechenhof Köln".to_owned(), service: "Freehold".to_owned(), region: Some(("eu-koeln-1".to_owned(), "Köln".to_owned()))
    }
}

pub fn names() -> Names {
    Names {
        tenant: "Zażółć, \"GmbH\"".to_owned(),
        key: Some("ci".to_owned()),
        invoice: Some("INV-2026-000001".to_owned()),
        tags: [("team".to_owned(), "a;b,\"c\"".to_owned())].into(),
    }
}

fn rows(count: u128) -> Vec<Row> {
    let prices = prices();
    let rows = |record: freehold_ledger::UsageRecord| {
        let list = prices.number(record.price_number).expect("it was billed with it");
        usage_rows(&record, list, &seller(), &names()).expect("rows")
    };
    let mut all: Vec<Row> = records(count).into_iter().flat_map(rows).collect();
    for corrects_invoiced in [false, true] {
        let credit = CreditCharge {
            tenant: tenant(),
            key: Some(key()),
            amount: nano(123_456),
            currency: Currency::EUR,
            at: NOON,
            description: "Worker lost".to_owned(),
            corrects_invoiced,
        };
        all.push(credit_row(&credit, &seller(), &names()).expect("a row"));
    }
    let tax = TaxCharge {
        tenant: tenant(),
        amount: nano(190_000_000),
        currency: Currency::EUR,
        month: Month::of(NOON),
        description: "VAT 19 %".to_owned(),
    };
    all.push(tax_row(&tax, &seller(), &names()));
    all
}

#[test]
fn the_rows_of_a_capped_record_add_up_to_what_was_charged() {
    let served = Quantities::tokens(1_000_000, 0, 1_000_000);
    let whole = bill(usage(0, model("smollm2"), served, UsageOutcome::Complete), &prices()).expect("it has a price");
    for cap in [whole.amount.get(), whole.amount.get() - 1, 50_000_000, 40_000_000, 1, 0] {
        let record = whole.clone().capped(nano(cap));
        assert_eq!(record.uncapped_amount, (cap < whole.amount.get()).then_some(whole.amount));
        let rows = usage_rows(&record, &list(2, NOON), &seller(), &names()).expect("rows");
        let billed: Vec<i128> = rows.iter().map(|row| row.billed_cost.scaled()).collect();
        assert!(billed.iter().sum::<i128>() == i128::from(cap) * 1_000_000 && billed.iter().all(|cost| *cost >= 0), "{billed:?}");
        let contracted: i128 = rows.iter().map(|row| row.contracted_cost.scaled()).sum();
        assert_eq!(contracted, i128::from(whole.amount.get()) * 1_000_000);
        assert_eq!(record.clone().capped(nano(cap)), record, "capping again changes nothing");
    }
}

#[test]
fn the_rows_of_a_record_add_up_to_its_amount() {
    let prices = prices();
    for record in records(200) {
        let list = prices.number(record.price_number).expect("it was billed with it");
        let rows = usage_rows(&record, list, &seller(), &names()).expect("rows");
        let billed: i128 = rows.iter().map(|row| row.billed_cost.scaled()).sum();
        assert_eq!(billed, i128::from(record.amount.get()) * 1_000_000, "{record:?}");
        let listed: i128 = rows.iter().map(|row| row.list_cost.scaled()).sum();
        assert!((listed - billed).abs() <= 500_000, "half a nano-unit at most");
        for row in rows {
            assert_eq!(row.cells().len(), COLUMNS.len());
            assert!(row.charge_period.0 < row.charge_period.1 && row.billing_period.0 <= row.charge_period.0);
        }
    }
}

#[test]
fn what_is_not_billed_has_no_row_and_another_list_is_refused() {
    let served = Quantities::tokens(10, 10, 10);
    let failed = bill(usage(0, model("smollm2"), served, UsageOutcome::Failed), &prices()).expect("it has a price");
    assert!(usage_rows(&failed, &list(2, NOON), &seller(), &names()).expect("no rows").is_empty());
    assert!(matches!(usage_rows(&failed, &list(1, NOON), &seller(), &names()), Err(FocusError::OtherPriceList { .. })));
    let credit = CreditCharge {
        tenant: tenant(),
        key: None,
        amount: NanoUnits::MIN,
        currency: Currency::EUR,
        at: NOON,
        description: String::new(),
        corrects_invoiced: false,
    };
    assert!(credit_row(&credit, &seller(), &Names::default()).is_err());
}

fn csv(rows: &[Row]) -> Vec<u8> {
    let mut writer = CsvWriter::new(Vec::new()).expect("a header");
    rows.iter().for_each(|row| writer.write(row).expect("written"));
    writer.finish().expect("written")
}

fn parquet(rows: &[Row]) -> Vec<u8> {
    let mut writer = ParquetWriter::new(Vec::new()).expect("a head");
    rows.iter().for_each(|row| writer.write(row.clone()).expect("written"));
    writer.finish().expect("written")
}

#[test]
fn a_name_is_no_formula_in_a_spreadsheet() {
    let record =
        bill(usage(0, model("smollm2"), Quantities::tokens(10, 10, 10), UsageOutcome::Complete), &prices()).expect("it has a price");
    let names = Names { tenant: "=HYPERLINK(\"https://example.org\")".to_owned(), key: Some("@ci".to_owned()), ..names() };
    let rows = usage_rows(&record, prices().number(record.price_number).expect("a list"), &seller(), &names).expect("rows");
    let file = csv(&rows);
    let mut fields = csv::Reader::from_reader(&file[..]).into_records().flat_map(|record| {
        let record = record.expect("CSV");
        record.iter().map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(fields.any(|field| field.starts_with("'=HYPERLINK")), "it is there, as text");
    assert!(!fields.any(|field| field.starts_with(['=', '+', '@'])));
}

#[test]
fn both_writers_say_the_same() {
    // More than one row group.
    let rows = rows(5000);
    let mut reader = csv::Reader::from_reader(&csv(&rows)[..]).into_records().map(|record| record.expect("CSV").len()).collect::<Vec<_>>();
    reader.dedup();
    assert_eq!(reader, [COLUMNS.len()]);
    let file = SerializedFileReader::new(Bytes::from(parquet(&rows))).expect("a Parquet file");
    assert!(file.num_row_groups() > 1);
    assert_eq!(usize::try_from(file.metadata().file_metadata().num_rows()), Ok(rows.len()));
    let fields = file.metadata().file_metadata().schema_descr().columns().iter().map(|column| column.name().to_owned());
    assert_eq!(fields.collect::<Vec<_>>(), COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    for (row, read) in rows.iter().zip(file.get_row_iter(None).expect("rows")) {
        let read = read.expect("a row");
        let cost = read.get_column_iter().find(|(name, _)| *name == "BilledCost").map(|(_, field)| field.to_string());
        let cost = cost.expect("the column");
        assert_eq!(
            cost.trim_end_matches('0').trim_end_matches('.'),
            row.billed_cost.to_string().trim_end_matches('0').trim_end_matches('.')
        );
    }
}

#[test]
fn nothing_is_still_a_file() {
    assert_eq!(String::from_utf8(csv(&[])).expect("UTF-8").lines().count(), 1);
    assert_eq!(SerializedFileReader::new(Bytes::from(parquet(&[]))).expect("a Parquet file").num_row_groups(), 0);
}

/// `tests/focus/validate` runs focus-validator in the environment that `make focus` has made.
#[test]
fn the_validator_accepts_both_files() {
    let python = root().join("target/venv-focus/bin/python");
    assert!(python.exists(), "run `make focus` first: it makes target/venv-focus with the validator (needs Python 3.12)");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let rows = rows(60);
    for (name, bytes) in [("focus.csv", csv(&rows)), ("focus.parquet", parquet(&rows))] {
        let file = folder.join(name);
        std::fs::write(&file, bytes).expect("written");
        let output = Command::new(root().join("tests/focus/validate")).arg(&file).output().expect("it runs");
        assert!(output.status.success(), "{name}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    let broken = folder.join("broken.csv");
    let text = String::from_utf8(csv(&rows)).expect("UTF-8").replace(",Usage,", ",Used,");
    std::fs::write(&broken, text).expect("written");
    let output = Command::new(root().join("tests/focus/validate")).arg(&broken).output().expect("it runs");
    assert!(!output.status.success(), "it would accept anything");
}
