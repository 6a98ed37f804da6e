//! The audit as SARIF 2.1.0, for code scanning in GitHub, GitLab and editors.
//!
//! Neutral resources are no results. Levels: entangled is an error, exportable a warning, compatible and unknown a
//! note; the rest is information without a level.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::escape::uri_path;
use crate::catalogue::{Class, Verdict};
use crate::finding::{Audit, Finding};

/// The schema that the document names.
const SCHEMA_URL: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document, ending in a line feed.
///
/// # Errors
/// When a value cannot be written; this would be a defect.
pub fn to_text(audit: &Audit<'_>) -> serde_json::Result<String> {
    let findings: Vec<&Finding<'_>> = audit.findings.iter().filter(|finding| finding.verdict.class != Class::N).collect();
    let mut rules: BTreeMap<String, (usize, &Verdict)> = BTreeMap::new();
    for finding in &findings {
        rules.entry(rule_id(&finding.verdict)).or_insert((0, &finding.verdict));
    }
    for (index, entry) in rules.values_mut().enumerate() {
        entry.0 = index;
    }
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules, audit.has_baseline)).collect();
    let descriptors: Vec<Value> = rules.iter().map(|(id, (_, verdict))| descriptor(id, verdict)).collect();
    let notifications: Vec<Value> = audit
        .read_partly
        .iter()
        .map(|part| notification(&part.file, part.line, &format!("Read in part: {}", part.why)))
        .chain(audit.unresolved.iter().map(|missing| {
            notification(&missing.file, Some(missing.line), &format!("Module {:?} was not followed: {}", missing.source, missing.why))
        }))
        .collect();
    let document = json!({
        "$schema": SCHEMA_URL,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "freehold", "semanticVersion": super::VERSION, "version": super::VERSION, "rules": descriptors}},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder that was audited."}}},
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notifications}],
            "results": results,
            "properties": {"lockIn": audit.lock_in.figure},
        }],
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn rule_id(verdict: &Verdict) -> String {
    if verdict.rule.is_empty() { "unknown-type".to_owned() } else { verdict.rule.to_string() }
}

fn level(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::E => ("fail", "error"),
        Class::X => ("fail", "warning"),
        Class::C | Class::U => ("fail", "note"),
        Class::S | Class::M | Class::G | Class::N => ("informational", "none"),
    }
}

fn descriptor(id: &str, verdict: &Verdict) -> Value {
    let class = verdict.class;
    let title = if class == Class::U {
        "A type that the catalogue does not know".to_owned()
    } else {
        format!("{}: {}", verdict.service, class.word())
    };
    let mut rule = json!({
        "id": id,
        "shortDescription": {"text": title},
        "fullDescription": {"text": verdict.why},
        "help": {"text": help(verdict)},
        "defaultConfiguration": {"level": level(class).1},
        "properties": {"tags": ["lock-in", class.word()], "class": class.letter()},
    });
    if let (Some(evidence), Some(rule)) = (&verdict.evidence, rule.as_object_mut()) {
        rule.insert("helpUri".to_owned(), json!(evidence.url));
    }
    rule
}

fn help(verdict: &Verdict) -> String {
    let mut help = format!(
        "Class {} ({}): {}. Work to leave: {}.",
        verdict.class.letter(),
        verdict.class.word(),
        verdict.class.meaning(),
        verdict.class.work()
    );
    if !verdict.replacement.is_empty() {
        help.push_str(&format!(" Replacement: {}.", verdict.replacement.trim_end_matches('.')));
    }
    if !verdict.exit_path.is_empty() {
        help.push_str(&format!(" Data: {}.", verdict.exit_path.trim_end_matches('.')));
    }
    help
}

fn result(finding: &Finding<'_>, rules: &BTreeMap<String, (usize, &Verdict)>, has_baseline: bool) -> Value {
    let (resource, verdict) = (finding.resource, &finding.verdict);
    let id = rule_id(verdict);
    let (kind, level) = level(verdict.class);
    let index = rules.get(&id).map(|(index, _)| *index);
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": message(finding)},
        "locations": [{
            "physicalLocation": location(&resource.file, Some(resource.line)),
            "logicalLocations": [{"fullyQualifiedName": resource.address, "kind": "resource"}],
        }],
        "partialFingerprints": {"freeholdFinding/v1": format!("{:016x}", fnv(&finding.fingerprint()))},
        "rank": rank(verdict.class),
        "properties": {"class": verdict.class.letter(), "type": resource.kind, "confidence": verdict.confidence},
    });
    if let Some(result) = result.as_object_mut() {
        if let Some(reason) = &finding.accepted {
            result.insert("suppressions".to_owned(), json!([{"kind": "external", "status": "accepted", "justification": reason}]));
        }
        if has_baseline {
            result.insert("baselineState".to_owned(), json!(if finding.known { "unchanged" } else { "new" }));
        }
    }
    result
}

fn message(finding: &Finding<'_>) -> String {
    let verdict = &finding.verdict;
    if verdict.class == Class::U {
        return format!("{} ({}) is not in the catalogue.", finding.resource.address, finding.resource.kind);
    }
    let mut message = format!("{} is {} ({}): {}", finding.resource.address, verdict.class.word(), verdict.service, verdict.why);
    if !verdict.replacement.is_empty() {
        message.push_str(&format!(" Replacement: {}.", verdict.replacement.trim_end_matches('.')));
    }
    message
}

fn rank(class: Class) -> f64 {
    crate::lock_in::weight(class).map_or(0.0, f64::from)
}

fn location(file: &str, line: Option<u32>) -> Value {
    let mut location = json!({"artifactLocation": {"uri": uri_path(file), "uriBaseId": "ROOT"}});
    if let (Some(line), Some(location)) = (line.filter(|line| *line > 0), location.as_object_mut()) {
        location.insert("region".to_owned(), json!({"startLine": line}));
    }
    location
}

fn notification(file: &str, line: Option<u32>, text: &str) -> Value {
    json!({"level": "warning", "message": {"text": text}, "locations": [{"physicalLocation": location(file, line)}]})
}

/// FNV-1a, 64 bits: short and the same on every machine.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
