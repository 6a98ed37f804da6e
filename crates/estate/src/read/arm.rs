//! ARM templates.
//!
//! **Invariant:** a child's type is the parent's type and its own; an inline template of a nested deployment is read
//! in place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::attributes::{put, text, unknown};
use super::facts::{CONFIDENCE_PARSED, CONFIDENCE_SCANNED, FileFacts, Nested, REFERENCES_MAX};
use super::flatten::flatten;
use super::text::lines;
use super::tree::{Data, Node};
use crate::resource::{Notation, Provider, Resource, Value};

const DEPLOYMENT: &str = "Microsoft.Resources/deployments";

/// Known values of a template's parameters and variables, by `parameters.NAME` and `variables.NAME`.
type Names<'n> = HashMap<String, &'n str>;

/// Reads a template.
pub(crate) fn read(root: &Node<'_>, facts: &mut FileFacts) {
    template(root, "", facts);
}

fn template(root: &Node<'_>, path: &str, facts: &mut FileFacts) {
    let mut names = Names::new();
    for entry in root.get_any_case("parameters").map(Node::map).unwrap_or_default() {
        let kind = entry.value.text_at("type").unwrap_or_default();
        if let Some(default) = entry.value.get("defaultValue").and_then(Node::text)
            && !kind.to_ascii_lowercase().starts_with("secure")
        {
            names.insert(format!("parameters.{}", entry.key), default);
        }
    }
    for entry in root.get_any_case("variables").map(Node::map).unwrap_or_default() {
        if let Some(value) = entry.value.text() {
            names.insert(format!("variables.{}", entry.key), value);
        }
    }
    let Some(resources) = root.get_any_case("resources") else {
        return;
    };
    for item in resources.list() {
        resource(item, None, None, path, &names, facts);
    }
    for entry in resources.map() {
        resource(&entry.value, Some((&entry.key, entry.line)), None, path, &names, facts);
    }
}

fn resource(
    node: &Node<'_>,
    symbol: Option<(&str, u32)>,
    parent: Option<(&str, &str)>,
    path: &str,
    names: &Names<'_>,
    facts: &mut FileFacts,
) {
    let line = symbol.map_or(node.line, |(_, line)| line);
    let Some(own) = node.get_any_case("type").and_then(Node::text) else {
        facts.partly(Some(line), "a resource of the template has no type");
        return;
    };
    let kind = match parent {
        Some((of, _)) if !own.contains('/') || !own.contains('.') => format!("{of}/{own}"),
        _ => own.to_owned(),
    };
    let name = node.get_any_case("name").and_then(Node::text).unwrap_or_default();
    let name = match evaluate(name, names) {
        Value::Text(name) => name,
        Value::Unknown(expression) => expression,
    };
    let address = match (symbol, parent) {
        (Some((symbol, _)), _) => format!("{path}{symbol}"),
        (None, Some((_, of))) => format!("{of}/{name}"),
        (None, None) => format!("{path}{kind}/{name}"),
    };
    let resolve = |node: &Node<'_>| match &node.data {
        Data::Text(value) if value.starts_with('[') => Some(evaluate(value, names)),
        _ => None,
    };
    let mut attributes = BTreeMap::new();
    for key in ["kind", "location", "condition", "apiVersion"] {
        if let Some(value) = node.get_any_case(key).and_then(Node::text) {
            put(&mut attributes, key, evaluate(value, names));
        }
    }
    for key in ["sku", "plan", "identity", "properties"] {
        if let Some(value) = node.get_any_case(key)
            && !(key == "properties" && is_deployment(&kind))
        {
            flatten(value, &mut key.to_owned(), &mut attributes, &resolve);
        }
    }
    let mut references = Vec::new();
    let depends = node.get_any_case("dependsOn").map(Node::list).unwrap_or_default();
    depends.iter().filter_map(Node::text).take(REFERENCES_MAX).for_each(|to| {
        references.push(dependency(to, path, names));
    });
    facts.push(Resource {
        file: Arc::clone(&facts.file),
        line,
        address: address.clone(),
        kind: kind.clone(),
        provider: provider(&kind),
        notation: Notation::Arm,
        data: node.text_at("existing") == Some("true"),
        attributes,
        references,
        count: copies(node, names),
        confidence: CONFIDENCE_PARSED,
    });
    for child in node.get_any_case("resources").map(Node::list).unwrap_or_default() {
        resource(child, None, Some((&kind, &address)), path, names, facts);
    }
    if is_deployment(&kind) {
        deployment(node, &format!("{address}/"), facts);
    }
}

fn is_deployment(kind: &str) -> bool {
    kind.eq_ignore_ascii_case(DEPLOYMENT)
}

fn deployment(node: &Node<'_>, path: &str, facts: &mut FileFacts) {
    let Some(properties) = node.get_any_case("properties") else {
        return;
    };
    if let Some(inner) = properties.get_any_case("template") {
        template(inner, path, facts);
        return;
    }
    let Some(link) = properties.get_any_case("templateLink") else {
        return;
    };
    let source = ["relativePath", "uri", "id"].iter().find_map(|key| link.text_at(key));
    facts.nested.push(Nested {
        line: link.line,
        source: source.unwrap_or("templateLink without uri").into(),
        advice: "the linked template is not among the audited files: put it beside this one and audit again",
    });
}

/// Microsoft's own namespaces and those of partners on Azure alike.
fn provider(kind: &str) -> Provider {
    if kind.contains('/') { Provider::Azure } else { Provider::Other }
}

/// How often a `copy` loop repeats a resource, where it is known.
fn copies(node: &Node<'_>, names: &Names<'_>) -> u32 {
    let Some(count) = node.get_any_case("copy").and_then(|copy| copy.text_at("count")) else {
        return 1;
    };
    match evaluate(count, names) {
        Value::Text(count) => count.parse().unwrap_or(1),
        Value::Unknown(_) => 1,
    }
}

/// The value of a string: literals, `[parameters('x')]`, `[variables('x')]`; anything else is unknown.
fn evaluate(value: &str, names: &Names<'_>) -> Value {
    let Some(inside) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return text(value);
    };
    if inside.starts_with('[') {
        return text(&value[1..]);
    }
    match lookup(inside.trim(), names, 0) {
        Some(known) => text(&known),
        None => unknown(value),
    }
}

fn lookup(expression: &str, names: &Names<'_>, depth: usize) -> Option<String> {
    if depth > 8 {
        return None;
    }
    if let Some(literal) = expression.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''))
        && !literal.contains('\'')
    {
        return Some(literal.to_owned());
    }
    if !expression.is_empty() && expression.bytes().all(|b| b.is_ascii_digit()) {
        return Some(expression.to_owned());
    }
    let inside = expression.strip_suffix(')')?;
    let (function, argument) = inside.split_once('(')?;
    if function == "concat" && !argument.contains(['(', ')']) {
        return argument.split(',').map(|part| lookup(part.trim(), names, depth + 1)).collect();
    }
    let name = argument.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    let found = *names.get(&format!("{function}.{name}"))?;
    match found.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => lookup(inner.trim(), names, depth + 1),
        None => Some(found.to_owned()),
    }
}

/// The address that a `dependsOn` entry names, as far as it can be known.
fn dependency(to: &str, path: &str, names: &Names<'_>) -> String {
    let inside = to.strip_prefix("[resourceId(").and_then(|rest| rest.strip_suffix(")]"));
    let Some(inside) = inside else {
        return match evaluate(to, names) {
            Value::Text(known) => format!("{path}{known}"),
            Value::Unknown(expression) => expression,
        };
    };
    let Some((kind, rest)) = inside.split_once(',') else {
        return to.to_owned();
    };
    let parts: Option<Vec<String>> =
        if rest.contains("concat(") { None } else { rest.split(',').map(|part| lookup(part.trim(), names, 0)).collect() };
    let kind = kind.trim().trim_matches('\'');
    match parts {
        Some(parts) => format!("{path}{kind}/{}", parts.join("/")),
        None => format!("{path}{kind}/[{}]", rest.trim()),
    }
}

/// Finds `"type": "Namespace/type"` lines behind the last resource that the parser got to.
pub(crate) fn scan_lines(text: &str, facts: &mut FileFacts) {
    let last = facts.resources.iter().map(|resource| resource.line).max().unwrap_or(0);
    // The type of the last one stands on one of its first lines, and is not another resource.
    let mut own = facts.resources.iter().find(|resource| resource.line == last).map(|resource| resource.kind.clone());
    for (number, line) in lines(text).filter(|(number, _)| *number >= last) {
        let line = super::attributes::cut(line, 4096);
        let Some(at) = line.find("\"type\"") else {
            continue;
        };
        let value = line[at + 6..].trim_start_matches([':', ' ', '\t']);
        let Some(kind) = value.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        if !kind.contains('/') || !kind.contains('.') || kind.contains([' ', '[']) {
            continue;
        }
        if number < last.saturating_add(4) && own.as_deref() == Some(kind) {
            own = None;
            continue;
        }
        facts.push(scanned(&facts.file, number, kind));
    }
}

fn scanned(file: &Arc<str>, line: u32, kind: &str) -> Resource {
    Resource {
        file: Arc::clone(file),
        line,
        address: kind.to_owned(),
        kind: kind.to_owned(),
        provider: provider(kind),
        notation: Notation::Arm,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SCANNED,
    }
}
