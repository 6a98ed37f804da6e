//! Kubernetes manifests and rendered Helm charts: objects, and what in them belongs to a cloud.
//!
//! **Invariant:** one resource per object; what a neutral object borrows from a cloud (an annotation, a provisioner,
//! an image) is a signal of its own beside it.

mod signals;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::cut;
use super::facts::{CONFIDENCE_PARSED, CONFIDENCE_SCANNED, FileFacts};
use super::flatten::{flatten, plain};
use super::providers;
use super::text::lines;
use super::tree::{Data, Node};
use crate::resource::{Notation, Provider, Resource};

/// Objects within objects that are followed (lists of lists, compositions of compositions).
const DEPTH_MAX: usize = 8;

/// Whether a document is a Kubernetes object.
pub(crate) fn is_object(root: &Node<'_>) -> bool {
    root.text_at("kind").is_some() && root.text_at("apiVersion").is_some()
}

/// Reads one document.
pub(crate) fn read(root: &Node<'_>, facts: &mut FileFacts) {
    object(root, 0, facts);
}

fn object(node: &Node<'_>, depth: usize, facts: &mut FileFacts) {
    let (Some(version), Some(kind)) = (node.text_at("apiVersion"), node.text_at("kind")) else {
        return;
    };
    if depth > DEPTH_MAX {
        return;
    }
    if kind.ends_with("List") && node.get("items").is_some_and(|items| matches!(items.data, Data::List(_))) {
        node.get("items").map(Node::list).unwrap_or_default().iter().for_each(|item| object(item, depth + 1, facts));
        return;
    }
    let group = group_of(version);
    let line = node.map().first().map_or(node.line, |first| first.line);
    let address = address(node, kind);
    let mut attributes = BTreeMap::new();
    if providers::api_group(group) != Provider::Kubernetes && group != "core" {
        // An operator's object stands for a service: its attributes have the names that they have elsewhere.
        let own = node.at(&["spec", "forProvider"]).or_else(|| node.get("spec"));
        if let Some(own) = own {
            flatten(own, &mut String::new(), &mut attributes, &plain);
        }
    }
    for key in ["provisioner", "type", "spec", "data", "parameters"] {
        if key == "data" && matches!(kind, "Secret" | "ConfigMap") {
            continue;
        }
        if let Some(value) = node.get(key) {
            flatten(value, &mut key.to_owned(), &mut attributes, &plain);
        }
    }
    let file = Arc::clone(&facts.file);
    facts.push(new_resource(&file, line, address.clone(), group, kind));
    if let Some(resource) = facts.resources.last_mut() {
        resource.attributes = attributes;
        resource.confidence = CONFIDENCE_PARSED;
    }
    signals::collect(node, &address, facts);
    if group.contains("crossplane.io") {
        bases(node, depth, facts);
    }
}

/// The objects under `base` in a composition.
fn bases(node: &Node<'_>, depth: usize, facts: &mut FileFacts) {
    for entry in node.map() {
        if entry.key == "base" && is_object(&entry.value) {
            object(&entry.value, depth + 1, facts);
        } else {
            bases(&entry.value, depth, facts);
        }
    }
    node.list().iter().for_each(|item| bases(item, depth, facts));
}

/// The group of an API version; `core` for the one without a name.
fn group_of(version: &str) -> &str {
    match version.split_once('/') {
        Some((group, _)) => group,
        None => "core",
    }
}

/// `Kind/namespace/name`.
fn address(node: &Node<'_>, kind: &str) -> String {
    let metadata = node.get("metadata");
    let of = |key: &str| metadata.and_then(|metadata| metadata.text_at(key));
    let name = of("name").or_else(|| of("generateName")).unwrap_or("?");
    match of("namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

fn new_resource(file: &Arc<str>, line: u32, address: String, group: &str, kind: &str) -> Resource {
    Resource {
        file: Arc::clone(file),
        line,
        address,
        kind: format!("{group}/{kind}"),
        provider: if group == "core" { Provider::Kubernetes } else { providers::api_group(group) },
        notation: Notation::Kubernetes,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SCANNED,
    }
}

/// Finds the object of a document that is not YAML (a template with `{{ }}`), by its lines at the margin.
pub(crate) fn scan_lines(text: &str, lines_before: u32, facts: &mut FileFacts) {
    let mut version = None;
    let mut kind = None;
    let mut first = None;
    let mut name = None;
    let mut in_metadata = false;
    for (number, line) in lines(text) {
        let line = cut(line, 4096);
        if line.starts_with("metadata:") {
            in_metadata = true;
        } else if !line.starts_with([' ', '\t', '#', '{']) && !line.is_empty() {
            in_metadata = false;
        }
        if let Some(value) = line.strip_prefix("apiVersion:") {
            version = version.or(Some(scalar(value)));
            first = first.or(Some(number));
        } else if let Some(value) = line.strip_prefix("kind:") {
            kind = kind.or(Some(scalar(value)));
            first = first.or(Some(number));
        } else if let Some(value) = line.trim_start().strip_prefix("name:")
            && in_metadata
        {
            name = name.or(Some(scalar(value)));
        }
    }
    let (Some(version), Some(kind), Some(first)) = (version, kind, first) else {
        return;
    };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-".contains(&b));
    if !is_word(kind) {
        return;
    }
    let group = if is_word(version) { group_of(version) } else { "core" };
    let name = name.unwrap_or("?");
    let resource = new_resource(&facts.file, first + lines_before, format!("{kind}/{name}"), group, kind);
    let address = resource.address.clone();
    facts.push(resource);
    signals::scan_lines(text, lines_before, &address, facts);
}

fn scalar(value: &str) -> &str {
    value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\''])
}
