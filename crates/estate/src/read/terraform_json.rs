//! What Terraform itself writes as JSON: plans, state, and the list of installed modules.
//!
//! **Invariant:** a plan or state has no source lines; a resource's line is that of its object in the JSON.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::facts::{CONFIDENCE_PARSED, FileFacts, InstalledModule, REFERENCES_MAX};
use super::flatten::{flatten, plain};
use super::providers;
use super::tree::Node;
use crate::resource::{Notation, Resource};

/// Reads the output of `terraform show -json PLAN`.
pub(crate) fn read_plan(root: &Node<'_>, facts: &mut FileFacts) {
    let mut references = HashMap::new();
    if let Some(module) = root.at(&["configuration", "root_module"]) {
        collect_references(module, "", &mut references);
    }
    let mut merged = Merged::default();
    for values in [root.at(&["planned_values"]), root.at(&["prior_state", "values"])].into_iter().flatten() {
        let only_data = merged.seen_planned;
        merged.seen_planned = true;
        if let Some(module) = values.get("root_module") {
            planned_module(module, only_data, &references, &mut merged, facts);
        }
    }
    if merged.resources.is_empty() {
        let changes = root.get("resource_changes").map(Node::list).unwrap_or_default();
        for change in changes {
            let values = change.at(&["change", "after"]);
            merged.add(change, values, &references, facts);
        }
    }
    merged.resources.into_iter().for_each(|resource| facts.push(resource));
}

fn planned_module(module: &Node<'_>, only_data: bool, references: &HashMap<String, Vec<String>>, merged: &mut Merged, facts: &FileFacts) {
    for item in module.get("resources").map(Node::list).unwrap_or_default() {
        if !only_data || item.text_at("mode") == Some("data") {
            merged.add(item, item.get("values"), references, facts);
        }
    }
    for child in module.get("child_modules").map(Node::list).unwrap_or_default() {
        planned_module(child, only_data, references, merged, facts);
    }
}

/// Resources of a plan, instances of `count` and `for_each` put together.
#[derive(Default)]
struct Merged {
    resources: Vec<Resource>,
    by_address: HashMap<String, usize>,
    seen_planned: bool,
}

impl Merged {
    fn add(&mut self, item: &Node<'_>, values: Option<&Node<'_>>, references: &HashMap<String, Vec<String>>, facts: &FileFacts) {
        let (Some(address), Some(kind)) = (item.text_at("address"), item.text_at("type")) else {
            return;
        };
        let address = without_index(address);
        if let Some(&known) = self.by_address.get(address) {
            self.resources[known].count = self.resources[known].count.saturating_add(1);
            return;
        }
        let mut attributes = BTreeMap::new();
        if let Some(values) = values {
            flatten(values, &mut String::new(), &mut attributes, &plain);
        }
        self.by_address.insert(address.to_owned(), self.resources.len());
        self.resources.push(Resource {
            file: Arc::clone(&facts.file),
            line: item.line,
            address: address.to_owned(),
            kind: kind.to_owned(),
            provider: providers::terraform(kind),
            notation: Notation::TerraformPlan,
            data: item.text_at("mode") == Some("data"),
            attributes,
            references: references.get(&without_all_indexes(address)).cloned().unwrap_or_default(),
            count: 1,
            confidence: CONFIDENCE_PARSED,
        });
    }
}

/// An address without the index at its end.
fn without_index(address: &str) -> &str {
    match address.rfind('[') {
        Some(at) if address.ends_with(']') && !address[at..].contains("].") => &address[..at],
        _ => address,
    }
}

fn without_all_indexes(address: &str) -> String {
    let mut made = String::with_capacity(address.len());
    let mut quoted = false;
    let mut depth = 0_u32;
    for c in address.chars() {
        match c {
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ if depth == 0 => made.push(c),
            _ => {}
        }
    }
    made
}

/// Addresses that each resource of a plan's configuration refers to.
fn collect_references(module: &Node<'_>, prefix: &str, all: &mut HashMap<String, Vec<String>>) {
    for item in module.get("resources").map(Node::list).unwrap_or_default() {
        let Some(address) = item.text_at("address") else {
            continue;
        };
        let mut found = Vec::new();
        if let Some(expressions) = item.get("expressions") {
            expression_references(expressions, prefix, &mut found);
        }
        if let Some(depends) = item.get("depends_on") {
            depends.list().iter().filter_map(Node::text).for_each(|to| note(to, prefix, &mut found));
        }
        all.insert(format!("{prefix}{address}"), found);
    }
    for call in module.get("module_calls").map(Node::map).unwrap_or_default() {
        if let Some(inner) = call.value.get("module") {
            collect_references(inner, &format!("{prefix}module.{}.", call.key), all);
        }
    }
}

fn expression_references(node: &Node<'_>, prefix: &str, found: &mut Vec<String>) {
    if let Some(references) = node.get("references") {
        references.list().iter().filter_map(Node::text).for_each(|to| note(to, prefix, found));
    }
    node.map().iter().for_each(|entry| expression_references(&entry.value, prefix, found));
    node.list().iter().for_each(|item| expression_references(item, prefix, found));
}

/// Notes the resource that a reference like `aws_vpc.main.id` names.
fn note(reference: &str, prefix: &str, found: &mut Vec<String>) {
    let parts = match reference.split('.').next() {
        Some("var" | "local" | "each" | "count" | "path" | "terraform" | "module" | "self") | None => return,
        Some("data") => 3,
        Some(_) => 2,
    };
    let bare = without_all_indexes(reference);
    let name: Vec<&str> = bare.split('.').take(parts).collect();
    let address = format!("{prefix}{}", name.join("."));
    if name.len() == parts && found.len() < REFERENCES_MAX && !found.contains(&address) {
        found.push(address);
    }
}

/// Reads a state file of version 4.
pub(crate) fn read_state(root: &Node<'_>, facts: &mut FileFacts) {
    for item in root.get("resources").map(Node::list).unwrap_or_default() {
        let (Some(kind), Some(name)) = (item.text_at("type"), item.text_at("name")) else {
            facts.partly(Some(item.line), "a resource of the state has no type or name");
            continue;
        };
        let data = item.text_at("mode") == Some("data");
        let module = item.text_at("module").map(|module| format!("{module}.")).unwrap_or_default();
        let address = format!("{module}{}{kind}.{name}", if data { "data." } else { "" });
        let instances = item.get("instances").map(Node::list).unwrap_or_default();
        let mut attributes = BTreeMap::new();
        let mut references = Vec::new();
        if let Some(first) = instances.first() {
            if let Some(values) = first.get("attributes") {
                flatten(values, &mut String::new(), &mut attributes, &plain);
            }
            let depends = first.get("dependencies").map(Node::list).unwrap_or_default();
            references = depends.iter().filter_map(Node::text).take(REFERENCES_MAX).map(str::to_owned).collect();
        }
        facts.push(Resource {
            file: Arc::clone(&facts.file),
            line: item.line,
            address,
            kind: kind.to_owned(),
            provider: providers::terraform(kind),
            notation: Notation::TerraformState,
            data,
            attributes,
            references,
            count: u32::try_from(instances.len()).unwrap_or(u32::MAX),
            confidence: CONFIDENCE_PARSED,
        });
    }
}

/// Reads `.terraform/modules/modules.json`.
pub(crate) fn read_installed(root: &Node<'_>, facts: &mut FileFacts) {
    for item in root.get("Modules").map(Node::list).unwrap_or_default() {
        if let (Some(key), Some(dir)) = (item.text_at("Key"), item.text_at("Dir"))
            && !key.is_empty()
        {
            facts.module_mut().installed.push(InstalledModule { key: key.into(), dir: dir.into() });
        }
    }
}
