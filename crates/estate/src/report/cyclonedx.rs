//! The audit as a CycloneDX 1.6 bill of materials: services with the components that use them.
//!
//! A cloud service is a `service`, a declared resource a `component` that its service provides: `data` where state of
//! the customer's lies in it, `platform` otherwise. References between resources are dependencies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::catalogue::{Class, DataPortability};
use crate::contracts::dates;
use crate::finding::{Audit, Finding, provider_key, provider_name};
use crate::resource::Provider;

/// The document, ending in a line feed.
///
/// # Errors
/// When a value cannot be written; this would be a defect.
pub fn to_text(audit: &Audit<'_>) -> serde_json::Result<String> {
    let findings: Vec<&Finding<'_>> = audit.open().collect();
    let refs: Vec<String> = unique_refs(&findings);
    let mut services: BTreeMap<(Provider, &str), Vec<usize>> = BTreeMap::new();
    let mut by_address: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, finding) in findings.iter().enumerate() {
        by_address.entry(&finding.resource.address).or_insert(index);
        if !matches!(finding.verdict.class, Class::N | Class::U) {
            services.entry((finding.resource.provider, finding.service())).or_default().push(index);
        }
    }
    let components: Vec<Value> = findings.iter().zip(&refs).map(|(finding, reference)| component(finding, reference)).collect();
    let service_rows: Vec<Value> =
        services.iter().map(|((provider, name), members)| service(*provider, name, members, &findings)).collect();
    let mut dependencies = Vec::new();
    for (finding, reference) in findings.iter().zip(&refs) {
        let mut on: BTreeSet<String> = finding
            .resource
            .references
            .iter()
            .filter_map(|address| by_address.get(address.as_str()))
            .map(|index| refs[*index].clone())
            .collect();
        if services.contains_key(&(finding.resource.provider, finding.service())) && !matches!(finding.verdict.class, Class::N | Class::U) {
            on.insert(service_ref(finding.resource.provider, finding.service()));
        }
        on.remove(reference);
        if !on.is_empty() {
            dependencies.push(json!({"ref": reference, "dependsOn": on}));
        }
    }
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": format!("{}T00:00:00Z", dates::text(audit.today)),
            "tools": {"components": [{"type": "application", "name": "freehold", "version": super::VERSION}]},
            "properties": [{"name": "freehold:lock-in", "value": format!("{:.1}", audit.lock_in.figure)}],
        },
        "components": components,
        "services": service_rows,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn unique_refs(findings: &[&Finding<'_>]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    findings
        .iter()
        .map(|finding| {
            let base = format!("resource:{}#{}", finding.resource.file, finding.resource.address);
            let times: &mut usize = seen.entry(base.clone()).or_default();
            *times += 1;
            if *times == 1 { base } else { format!("{base}#{times}") }
        })
        .collect()
}

fn service_ref(provider: Provider, name: &str) -> String {
    format!("service:{}:{name}", provider_key(provider))
}

fn component(finding: &Finding<'_>, reference: &str) -> Value {
    let (resource, verdict) = (finding.resource, &finding.verdict);
    let holds_data = verdict.class != Class::U && verdict.facets.data_portability != DataPortability::Stateless;
    let mut properties = vec![
        json!({"name": "freehold:class", "value": verdict.class.letter()}),
        json!({"name": "freehold:type", "value": resource.kind}),
        json!({"name": "freehold:service", "value": verdict.service}),
        json!({"name": "freehold:confidence", "value": verdict.confidence.to_string()}),
    ];
    if !verdict.replacement.is_empty() {
        properties.push(json!({"name": "freehold:replacement", "value": verdict.replacement}));
    }
    json!({
        "type": if holds_data { "data" } else { "platform" },
        "bom-ref": reference,
        "group": provider_key(resource.provider),
        "name": resource.address,
        "description": verdict.why,
        "evidence": {"occurrences": [{"location": resource.file, "line": resource.line}]},
        "properties": properties,
    })
}

fn service(provider: Provider, name: &str, members: &[usize], findings: &[&Finding<'_>]) -> Value {
    let worst = members.iter().map(|index| &findings[*index].verdict).max_by_key(|verdict| verdict.class);
    let mut row = json!({
        "bom-ref": service_ref(provider, name),
        "provider": {"name": provider_name(provider)},
        "name": name,
        "x-trust-boundary": true,
        "properties": [{"name": "freehold:resources", "value": members.len().to_string()}],
    });
    if let (Some(verdict), Some(row)) = (worst, row.as_object_mut()) {
        row.insert("description".to_owned(), json!(verdict.why));
        if let Some(Value::Array(properties)) = row.get_mut("properties") {
            properties.push(json!({"name": "freehold:class", "value": verdict.class.letter()}));
        }
        if let Some(evidence) = &verdict.evidence {
            row.insert("externalReferences".to_owned(), json!([{"type": "documentation", "url": evidence.url}]));
        }
    }
    row
}
