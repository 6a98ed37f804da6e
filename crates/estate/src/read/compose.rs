//! Compose files.
//!
//! **Invariant:** every service is a resource; a cloud's image or log driver is a signal beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::{CONFIDENCE_PARSED, CONFIDENCE_SIGNAL, FileFacts};
use super::flatten::{flatten, plain};
use super::images;
use super::tree::{Data, Node};
use crate::resource::{Notation, Provider, Resource};

/// Reads a file.
pub(crate) fn read(root: &Node<'_>, facts: &mut FileFacts) {
    for service in root.get("services").map(Node::map).unwrap_or_default() {
        let address = format!("services.{}", service.key);
        let mut resource = new_resource(facts, service.line, &address, "compose/service", Provider::Kubernetes);
        for entry in service.value.map().iter().filter(|entry| entry.key != "environment") {
            flatten(&entry.value, &mut entry.key.to_string(), &mut resource.attributes, &plain);
        }
        resource.references = dependencies(&service.value);
        facts.push(resource);
        if let Some(image) = service.value.entry("image")
            && let Some(found) =
                images::signal(&facts.file, image.line, address.clone(), image.value.text().unwrap_or(""), Notation::Compose)
            && found.provider != Provider::Kubernetes
        {
            facts.push(found);
        }
        if let Some(driver) = service.value.get("logging").and_then(|logging| logging.entry("driver")) {
            let provider = match driver.value.text() {
                Some("awslogs") => Provider::Aws,
                Some("gcplogs") => Provider::Gcp,
                _ => continue,
            };
            let kind = format!("logging:{}", driver.value.text().unwrap_or_default());
            let mut signal = new_resource(facts, driver.line, &address, &kind, provider);
            signal.confidence = CONFIDENCE_SIGNAL;
            facts.push(signal);
        }
    }
}

fn dependencies(service: &Node<'_>) -> Vec<String> {
    let Some(depends) = service.get("depends_on") else {
        return Vec::new();
    };
    match &depends.data {
        Data::List(items) => items.iter().filter_map(Node::text).map(|name| format!("services.{name}")).collect(),
        Data::Map(entries) => entries.iter().map(|entry| format!("services.{}", entry.key)).collect(),
        Data::Null | Data::Text(_) => Vec::new(),
    }
}

fn new_resource(facts: &FileFacts, line: u32, address: &str, kind: &str, provider: Provider) -> Resource {
    Resource {
        file: Arc::clone(&facts.file),
        line,
        address: address.to_owned(),
        kind: kind.to_owned(),
        provider,
        notation: Notation::Compose,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_PARSED,
    }
}
