//! Pulumi YAML programs.
//!
//! **Invariant:** works on the tree; tokens are shortened to `package:module:Type`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::attributes::{text, unknown};
use super::facts::{CONFIDENCE_PARSED, FileFacts, REFERENCES_MAX, VALUE_BYTES_MAX};
use super::flatten::flatten;
use super::providers;
use super::tree::{Data, Node};
use crate::resource::{Notation, Resource, Value};

/// Reads a program.
pub(crate) fn read(root: &Node<'_>, facts: &mut FileFacts) {
    let resources = root.get("resources").map(Node::map).unwrap_or_default();
    let symbols: HashSet<&str> = resources.iter().map(|entry| &*entry.key).collect();
    let known = constants(root);
    let resolve = |node: &Node<'_>| match &node.data {
        Data::Text(value) if value.contains("${") => Some(substitute(value, &known)),
        Data::Map(entries) if matches!(entries.as_slice(), [only] if only.key.starts_with("fn::")) => Some(unknown(&entries[0].key)),
        _ => None,
    };
    for entry in resources {
        let Some(kind) = entry.value.text_at("type") else {
            facts.partly(Some(entry.line), format!("the resource {} has no type", entry.key));
            continue;
        };
        let kind = short(kind);
        let mut attributes = BTreeMap::new();
        if let Some(properties) = entry.value.get("properties") {
            flatten(properties, &mut String::new(), &mut attributes, &resolve);
        }
        let mut references = Vec::new();
        mentions(&entry.value, &symbols, &mut references);
        references.retain(|to| *to != *entry.key);
        facts.push(Resource {
            file: Arc::clone(&facts.file),
            line: entry.line,
            address: entry.key.to_string(),
            provider: providers::pulumi(&kind),
            kind,
            notation: Notation::Pulumi,
            data: entry.value.get("get").is_some(),
            attributes,
            references,
            count: 1,
            confidence: CONFIDENCE_PARSED,
        });
    }
}

/// `aws:s3/bucket:Bucket` as `aws:s3:Bucket`.
fn short(token: &str) -> String {
    let parts: Vec<&str> = token.split(':').collect();
    match parts.as_slice() {
        // In Kubernetes tokens, `apps/v1` is the API version.
        [package, module, name] if *package != "kubernetes" => {
            let module = module.split('/').next().unwrap_or(module);
            if module == "index" { format!("{package}:{name}") } else { format!("{package}:{module}:{name}") }
        }
        _ => token.to_owned(),
    }
}

/// Defaults of the configuration and literal variables.
fn constants<'n>(root: &'n Node<'_>) -> HashMap<&'n str, &'n str> {
    let mut known = HashMap::new();
    for section in ["config", "configuration"] {
        for entry in root.get(section).map(Node::map).unwrap_or_default() {
            let is_secret = entry.value.text_at("secret") == Some("true");
            if let Some(default) = entry.value.text_at("default").filter(|_| !is_secret) {
                known.insert(&*entry.key, default);
            }
        }
    }
    for entry in root.get("variables").map(Node::map).unwrap_or_default() {
        if let Some(value) = entry.value.text() {
            known.insert(&*entry.key, value);
        }
    }
    known
}

fn substitute(value: &str, known: &HashMap<&str, &str>) -> Value {
    let mut made = String::new();
    let mut rest = value;
    // What is longer is cut anyway.
    while let Some(at) = rest.find("${").filter(|_| made.len() <= VALUE_BYTES_MAX) {
        made.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return unknown(value);
        };
        match known.get(&rest[at + 2..at + end]) {
            Some(constant) if !constant.contains("${") => made.push_str(constant),
            _ => return unknown(value),
        }
        rest = &rest[at + end + 1..];
    }
    made.push_str(rest);
    text(&made)
}

fn mentions(node: &Node<'_>, symbols: &HashSet<&str>, found: &mut Vec<String>) {
    match &node.data {
        Data::Null => {}
        Data::Text(value) => {
            for piece in value.split("${").skip(1) {
                let name = piece.split(['}', '.', '[']).next().unwrap_or_default();
                if symbols.contains(name) && found.len() < REFERENCES_MAX && !found.iter().any(|known| known == name) {
                    found.push(name.to_owned());
                }
            }
        }
        Data::List(items) => items.iter().for_each(|item| mentions(item, symbols, found)),
        Data::Map(entries) => entries.iter().for_each(|entry| mentions(&entry.value, symbols, found)),
    }
}
