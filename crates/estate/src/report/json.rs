//! The audit as JSON, schema `freehold.audit/1` (`schema/freehold.audit.1.json`).
//!
//! **Invariant:** the same estate, rules and day give the same bytes; keys and findings have a fixed order.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalogue::{Effort, Evidence, Facets};
use crate::finding::{Audit, Finding, provider_key};
use crate::lock_in::LockIn;
use crate::resource::{PartlyRead, Unresolved};

/// The schema's tag.
pub const SCHEMA: &str = "freehold.audit/1";

/// The schema itself, JSON Schema 2020-12.
pub const SCHEMA_TEXT: &str = include_str!("../../schema/freehold.audit.1.json");

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    summary: Summary<'a>,
    findings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Summary<'a> {
    files: u64,
    resources: usize,
    by_class: BTreeMap<Letter, usize>,
    by_provider: BTreeMap<&'static str, usize>,
    lock_in: &'a LockIn,
    read_partly: &'a [PartlyRead],
    unresolved: &'a [Unresolved],
    #[serde(skip_serializing_if = "is_zero")]
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_baseline: Option<usize>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
struct Letter(&'static str);

#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: u32,
    address: &'a str,
    r#type: &'a str,
    provider: &'static str,
    service: &'a str,
    class: &'static str,
    facets: Facets,
    replacement: &'a str,
    exit_path: &'a str,
    effort_days: Effort,
    confidence: u8,
    why: &'a str,
    evidence: Option<&'a Evidence>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'a> Row<'a> {
    fn of(finding: &'a Finding<'_>) -> Row<'a> {
        let (resource, verdict) = (finding.resource, &finding.verdict);
        Row {
            file: &resource.file,
            line: resource.line,
            address: &resource.address,
            r#type: &resource.kind,
            provider: provider_key(resource.provider),
            service: &verdict.service,
            class: verdict.class.letter(),
            facets: verdict.facets,
            replacement: &verdict.replacement,
            exit_path: &verdict.exit_path,
            effort_days: verdict.effort_days,
            confidence: verdict.confidence,
            why: &verdict.why,
            evidence: verdict.evidence.as_ref(),
        }
    }
}

/// Writes the report to a sink, ending in a line feed. The summary is of the whole estate; accepted findings and
/// those of the baseline are not listed.
///
/// # Errors
/// When the sink fails.
pub fn write(audit: &Audit<'_>, sink: impl std::io::Write) -> serde_json::Result<()> {
    let summary = Summary {
        files: audit.files,
        resources: audit.findings.len(),
        by_class: audit.by_class.iter().map(|(class, count)| (Letter(class.letter()), *count)).collect(),
        by_provider: audit.by_provider.iter().map(|(provider, count)| (provider_key(*provider), *count)).collect(),
        lock_in: &audit.lock_in,
        read_partly: audit.read_partly,
        unresolved: audit.unresolved,
        accepted: audit.accepted_count(),
        in_baseline: audit.has_baseline.then(|| audit.known_count()),
    };
    let report = Report { schema: SCHEMA, summary, findings: audit.open().map(Row::of).collect() };
    let mut sink = sink;
    serde_json::to_writer_pretty(&mut sink, &report)?;
    sink.write_all(b"\n").map_err(serde_json::Error::io)
}

/// The report as text.
///
/// # Errors
/// When a value cannot be written; this would be a defect.
pub fn to_text(audit: &Audit<'_>) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    write(audit, &mut bytes)?;
    String::from_utf8(bytes).map_err(|error| serde_json::Error::io(std::io::Error::other(error)))
}
