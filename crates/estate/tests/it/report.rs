//! Findings and reports over estates made by hand: the figure, baselines, the published schema, hostile text.

use std::collections::BTreeMap;
use std::sync::Arc;

use freehold_estate::catalogue::{ApplicationPortability, Catalogue, Class, DataPortability, Effort, Facets, Interoperability, Verdict};
use freehold_estate::finding::{Baseline, Finding, audit, reaches};
use freehold_estate::lock_in::LockIn;
use freehold_estate::report;
use freehold_estate::resource::{Estate, Notation, PartlyRead, Provider, Resource, Unresolved};
use proptest::prelude::*;
use serde_json::Value;
use time::macros::date;

pub fn resource(file: &str, line: u32, address: &str, kind: &str, provider: Provider) -> Resource {
    Resource {
        file: Arc::from(file),
        line,
        address: address.to_owned(),
        kind: kind.to_owned(),
        provider,
        notation: Notation::Terraform,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: 100,
    }
}

fn verdict(class: Class, service: &str) -> Verdict {
    Verdict {
        class,
        service: service.to_owned().into(),
        facets: Facets {
            interoperability: Interoperability::Standard,
            data_portability: DataPortability::Native,
            application_portability: ApplicationPortability::Configuration,
        },
        replacement: "PostgreSQL".into(),
        exit_path: "pg_dump".into(),
        effort_days: Effort { low: 1.0, high: 3.0 },
        why: "why".into(),
        evidence: None,
        confidence: 90,
        rule: "a-rule".into(),
    }
}

const RULES: &str = "";

fn estate() -> Estate {
    let hostile = "</script><img src=x onerror=alert(1)>|`*\u{1b}[31m=cmd()\u{202e}\"',;\n#";
    Estate {
        files: 3,
        bytes: 1_000,
        resources: vec![
            resource("a.tf", 1, "aws_s3_bucket.logs", "aws_s3_bucket", Provider::Aws),
            resource("a.tf", 9, "aws_cognito_user_pool.users", "aws_cognito_user_pool", Provider::Aws),
            resource(hostile, 2, hostile, "aws_dynamodb_table", Provider::Aws),
            resource("b.tf", 3, hostile, hostile, Provider::Aws),
            resource("c.tf", 4, "=1+1", "random_id", Provider::Other),
        ],
        read_partly: vec![PartlyRead { file: Arc::from(hostile), line: Some(7), why: hostile.to_owned() }],
        unresolved: vec![Unresolved { file: Arc::from("a.tf"), line: 3, source: hostile.to_owned(), why: "run terraform init".to_owned() }],
    }
}

#[test]
fn json_keeps_its_published_schema() {
    let schema: Value = serde_json::from_str(report::json::SCHEMA_TEXT).expect("the schema is JSON");
    let estate = estate();
    let mut found = audit(&estate, Catalogue::builtin(), date!(2026 - 11 - 23));
    let text = report::json::to_text(&found).expect("writable");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    check_schema(&schema, &value, "$");
    assert_eq!(value["findings"].as_array().map(Vec::len), Some(5));
    let broken = text.replacen("\"line\"", "\"lime\"", 1);
    let broken: Value = serde_json::from_str(&broken).expect("JSON");
    assert!(std::panic::catch_unwind(|| check_schema(&schema, &broken, "$")).is_err(), "the checker checks");

    let baseline = Baseline::read(&text).expect("a report is a baseline");
    found.apply(&baseline);
    let again = report::json::to_text(&found).expect("writable");
    let value: Value = serde_json::from_str(&again).expect("JSON");
    check_schema(&schema, &value, "$");
    assert_eq!((value["findings"].as_array().map(Vec::len), value["summary"]["in_baseline"].as_u64()), (Some(0), Some(5)));
    assert_eq!(found.failing(&[Class::S]), 0);
}

/// The part of JSON Schema that the published schema uses.
fn check_schema(schema: &Value, value: &Value, place: &str) {
    if let Some(expect) = schema.get("const") {
        assert_eq!(value, expect, "{place}");
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{place}: the checker does not know {other}"),
    };
    assert!(kinds.is_empty() || kinds.iter().any(|kind| is(kind)), "{place}: {value} is not {kinds:?}");
    if let (Some(low), Some(number)) = (schema.get("minimum").and_then(Value::as_f64), value.as_f64()) {
        assert!(number >= low, "{place}: {number}");
    }
    if let (Some(high), Some(number)) = (schema.get("maximum").and_then(Value::as_f64), value.as_f64()) {
        assert!(number <= high, "{place}: {number}");
    }
    if let Some(object) = value.as_object() {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            assert!(object.contains_key(name), "{place}: {name} is missing");
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, inner) in object {
            match properties.and_then(|properties| properties.get(name)) {
                Some(known) => check_schema(known, inner, &format!("{place}.{name}")),
                None => assert_ne!(schema.get("additionalProperties"), Some(&Value::Bool(false)), "{place}: {name} is not in the schema"),
            }
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, inner) in values.iter().enumerate() {
            check_schema(items, inner, &format!("{place}[{index}]"));
        }
    }
}

#[test]
fn hostile_text_stays_text_everywhere() {
    let estate = estate();
    let found = audit(&estate, Catalogue::builtin(), date!(2026 - 11 - 23));
    let html = report::html::to_text(&found);
    assert_eq!(html.matches("<script>").count(), 1, "our own only");
    assert!(!html.contains("<img") && !html.contains('\u{202e}'));
    let table = report::table::to_text(&found, report::table::Style { all: true, ..Default::default() });
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'), "no colour unless asked for");
    let markdown = report::markdown::to_text(&found);
    let outside_code: String = markdown.replace("\\`", "").split('`').step_by(2).collect();
    assert!(!outside_code.contains("<img"), "only in code spans, where it is text");
    let csv = report::csv::to_text(&found);
    assert!(csv.contains("\"'=1+1\""), "{csv}");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(rows.records().map(|row| row.expect("a row").len()).collect::<Vec<_>>(), [19; 5]);
    for text in [report::sarif::to_text(&found), report::cyclonedx::to_text(&found)] {
        let value: Value = serde_json::from_str(&text.expect("writable")).expect("JSON");
        assert!(value.is_object());
    }
}

#[test]
fn acceptances_hide_and_expire() {
    let rules = "[[accept]]\ntype = \"aws_cognito_user_pool\"\nreason = \"moves with the new login\"\nexpires = \"2026-12-31\"\n";
    let Ok(catalogue) = Catalogue::with_user_rules(&format!("{RULES}{rules}")) else { panic!("the rules are valid") };
    let estate = estate();
    let check = |day, open: usize| assert_eq!(audit(&estate, &catalogue, day).open().count(), open);
    check(date!(2026 - 12 - 31), 4);
    check(date!(2027 - 01 - 01), 5);
}

#[test]
fn thresholds() {
    assert!(reaches(Class::E, Class::X) && reaches(Class::X, Class::X) && !reaches(Class::C, Class::X));
    assert!(reaches(Class::U, Class::U) && !reaches(Class::E, Class::U) && !reaches(Class::U, Class::S));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The promise of docs/lock-in-figure.md.
    #[test]
    fn another_entangled_resource_never_lowers_the_figure(drawn in proptest::collection::vec((0_usize..8, 0_usize..6, any::<bool>()), 0..40), new_service in 0_usize..8) {
        let resources: Vec<Resource> = drawn
            .iter()
            .map(|(_, _, data)| Resource { data: *data, ..resource("a.tf", 1, "a", "t", Provider::Aws) })
            .chain([resource("a.tf", 1, "new", "t", Provider::Aws)])
            .collect();
        let mut findings: Vec<Finding<'_>> = drawn
            .iter()
            .zip(&resources)
            .map(|((class, service, _), resource)| Finding { resource, verdict: verdict(Class::ALL[*class], &format!("s{service}")), accepted: None, known: false })
            .collect();
        let before = LockIn::of(&findings);
        let last = resources.last().expect("one was added");
        findings.push(Finding { resource: last, verdict: verdict(Class::E, &format!("s{new_service}")), accepted: None, known: false });
        let after = LockIn::of(&findings);
        prop_assert!(after.figure >= before.figure, "{} -> {}", before.figure, after.figure);
        prop_assert!((0.0..=100.0).contains(&after.figure));
        let sum: f64 = after.parts.iter().map(|part| part.points).sum();
        prop_assert!((sum - after.figure).abs() <= 0.1 * after.parts.len() as f64);
    }
}

#[test]
fn the_table_fits_a_narrow_terminal_and_counts_files_once() {
    let mut estate = estate();
    let note = |line| PartlyRead { file: Arc::from("broken.tf"), line: Some(line), why: "not understood".to_owned() };
    estate.read_partly = (1..=9).map(note).collect();
    let found = audit(&estate, Catalogue::builtin(), date!(2026 - 11 - 23));
    let text = report::table::to_text(&found, report::table::Style { width: 80, ..Default::default() });
    assert!(text.contains("Read in part: 1 file\n") && text.contains("and 6 places more"), "{text}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80 && !line.contains("<img")).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let all = report::table::to_text(&found, report::table::Style { all: true, ..Default::default() });
    assert_eq!(all.matches("not understood").count(), 9);
}
