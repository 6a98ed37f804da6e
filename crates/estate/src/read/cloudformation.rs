//! CloudFormation and SAM templates, CDK output included.
//!
//! **Invariant:** works on the tree, so YAML's short forms (`!Ref`) and JSON's long ones (`{"Ref": ..}`) meet here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::attributes::{put, text, unknown};
use super::facts::{CONFIDENCE_PARSED, CONFIDENCE_SCANNED, FileFacts, Nested, REFERENCES_MAX, VALUE_BYTES_MAX};
use super::flatten::flatten;
use super::providers;
use super::text::lines;
use super::tree::{Data, Entry, Node};
use crate::resource::{Notation, Resource, Value};

/// Macros that AWS hosts and whose effect is known.
const KNOWN_TRANSFORMS: [&str; 5] = [
    "AWS::Serverless-2016-10-31",
    "AWS::LanguageExtensions",
    "AWS::SecretsManager-2020-07-23",
    "AWS::SecretsManager-2024-09-16",
    "AWS::CodeDeployBlueGreen",
];

/// What a template says outside its resources.
struct Template<'n> {
    /// Names of all parameters, and the values of those that have a default.
    names: HashSet<&'n str>,
    parameters: HashMap<&'n str, &'n str>,
    transform: Option<String>,
}

/// Reads a template.
pub(crate) fn read(root: &Node<'_>, facts: &mut FileFacts) {
    let template = Template {
        names: root.get("Parameters").map(Node::map).unwrap_or_default().iter().map(|entry| &*entry.key).collect(),
        parameters: defaults(root),
        transform: transforms(root, facts),
    };
    let Some(resources) = root.get("Resources") else {
        return;
    };
    for entry in resources.map() {
        declaration(entry, None, &template, facts);
    }
}

fn defaults<'n>(root: &'n Node<'_>) -> HashMap<&'n str, &'n str> {
    let parameters = root.get("Parameters").map(Node::map).unwrap_or_default();
    let hidden = |node: &Node<'_>| node.text_at("NoEcho").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    parameters
        .iter()
        .filter(|entry| !hidden(&entry.value))
        .filter_map(|entry| Some((&*entry.key, entry.value.text_at("Default")?)))
        .collect()
}

fn transforms(root: &Node<'_>, facts: &mut FileFacts) -> Option<String> {
    let entry = root.entry("Transform")?;
    let items = match &entry.value.data {
        Data::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let mut names = Vec::new();
    for item in items {
        let Some(name) = item.text().or_else(|| item.text_at("Name")) else {
            continue;
        };
        if !KNOWN_TRANSFORMS.contains(&name) {
            facts.partly(
                Some(entry.line),
                format!("the macro {name} may add resources that are not in the text: audit the processed template"),
            );
        }
        names.push(name);
    }
    Some(names.join(","))
}

/// Reads one entry of `Resources`; `repeated` is how often a loop around it repeats it.
fn declaration(entry: &Entry<'_>, repeated: Option<u32>, template: &Template<'_>, facts: &mut FileFacts) {
    if entry.key.starts_with("Fn::ForEach::") {
        return for_each(entry, repeated.unwrap_or(1), template, facts);
    }
    if entry.key == "Fn::Transform" {
        facts.partly(Some(entry.line), "Fn::Transform may add resources that are not in the text");
        return;
    }
    let Some(kind) = entry.value.text_at("Type") else {
        facts.partly(Some(entry.line), format!("the resource {} has no Type", entry.key));
        return;
    };
    let resolve = |node: &Node<'_>| intrinsic(node, template);
    let mut attributes = BTreeMap::new();
    if let Some(transform) = &template.transform {
        put(&mut attributes, "Transform", text(transform));
    }
    for key in ["Condition", "DeletionPolicy"] {
        if let Some(value) = entry.value.text_at(key) {
            put(&mut attributes, key, text(value));
        }
    }
    if let Some(path) = entry.value.get("Metadata").and_then(|metadata| metadata.text_at("aws:cdk:path")) {
        put(&mut attributes, "aws:cdk:path", text(path));
    }
    let mut references = Vec::new();
    if let Some(properties) = entry.value.get("Properties") {
        flatten(properties, &mut String::new(), &mut attributes, &resolve);
        mentions(properties, &mut references);
        nested(kind, entry, properties, facts);
    }
    if let Some(depends) = entry.value.get("DependsOn") {
        depends.text().into_iter().for_each(|to| note(to, &mut references));
        depends.list().iter().filter_map(Node::text).for_each(|to| note(to, &mut references));
    }
    references.retain(|to| *to != *entry.key && !template.names.contains(to.as_str()));
    facts.push(Resource {
        file: Arc::clone(&facts.file),
        line: entry.line,
        address: entry.key.to_string(),
        kind: kind.to_owned(),
        provider: providers::cloudformation(kind),
        notation: Notation::CloudFormation,
        data: false,
        attributes,
        references,
        count: repeated.unwrap_or(1),
        confidence: CONFIDENCE_PARSED,
    });
}

/// `Fn::ForEach::Loop: [Name, [a, b], {Key${Name}: {...}}]`.
fn for_each(entry: &Entry<'_>, repeated: u32, template: &Template<'_>, facts: &mut FileFacts) {
    let [_, collection, body] = entry.value.list() else {
        facts.partly(Some(entry.line), "Fn::ForEach needs a name, a collection and a body");
        return;
    };
    let size = match &collection.data {
        Data::List(items) => items.len(),
        _ => reference(collection).and_then(|name| template.parameters.get(name.as_str())).map_or(1, |list| list.split(',').count()),
    };
    let times = repeated.saturating_mul(u32::try_from(size).unwrap_or(u32::MAX));
    for inner in body.map() {
        declaration(inner, Some(times), template, facts);
    }
}

/// Notes a nested template that may be on disk.
fn nested(kind: &str, entry: &Entry<'_>, properties: &Node<'_>, facts: &mut FileFacts) {
    let key = match kind {
        "AWS::CloudFormation::Stack" => "TemplateURL",
        "AWS::Serverless::Application" => "Location",
        _ => return,
    };
    let Some(found) = properties.entry(key) else {
        return;
    };
    let source = match found.value.text() {
        Some(source) => source.to_owned(),
        None => match found.value.text_at("ApplicationId") {
            Some(id) => id.to_owned(),
            None => format!("{}: an expression", entry.key),
        },
    };
    facts.nested.push(Nested {
        line: found.line,
        source: source.into(),
        advice: "the nested template is not among the audited files: put it beside this one and audit again",
    });
}

/// The name in a `Ref`.
fn reference(node: &Node<'_>) -> Option<String> {
    match (&node.tag, &node.data) {
        (Some(tag), Data::Text(name)) if &**tag == "Ref" => Some(name.to_string()),
        (None, Data::Map(entries)) => match entries.as_slice() {
            [only] if only.key == "Ref" => only.value.text().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

/// The value of an intrinsic function, or `None` if the node is none.
fn intrinsic(node: &Node<'_>, template: &Template<'_>) -> Option<Value> {
    if let Some(name) = reference(node) {
        return Some(match template.parameters.get(name.as_str()) {
            Some(default) => text(default),
            None => unknown(&format!("!Ref {name}")),
        });
    }
    if let Some(tag) = &node.tag {
        return Some(match &node.data {
            Data::Text(argument) if &**tag == "Sub" => substitute(argument, template),
            Data::Text(argument) => unknown(&format!("!{tag} {argument}")),
            _ => unknown(&format!("!{tag}")),
        });
    }
    match node.map() {
        [only] if only.key.starts_with("Fn::") => Some(match only.value.text() {
            Some(argument) if only.key == "Fn::Sub" => substitute(argument, template),
            Some(argument) => unknown(&format!("{} {argument}", only.key)),
            None => unknown(&only.key),
        }),
        _ => None,
    }
}

/// `Sub` with the defaults of parameters; unknown if anything else is left.
fn substitute(argument: &str, template: &Template<'_>) -> Value {
    let mut made = String::new();
    let mut rest = argument;
    // What is longer is cut anyway.
    while let Some(at) = rest.find("${").filter(|_| made.len() <= VALUE_BYTES_MAX) {
        made.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return unknown(argument);
        };
        match template.parameters.get(rest[at + 2..at + end].trim()) {
            Some(default) => made.push_str(default),
            None => return unknown(argument),
        }
        rest = &rest[at + end + 1..];
    }
    made.push_str(rest);
    text(&made)
}

/// Collects the logical ids that a value refers to.
fn mentions(node: &Node<'_>, found: &mut Vec<String>) {
    if found.len() >= REFERENCES_MAX {
        return;
    }
    if let Some(name) = reference(node) {
        return note(&name, found);
    }
    match (node.tag.as_deref(), &node.data) {
        (Some("GetAtt"), Data::Text(path)) => note(path.split('.').next().unwrap_or(path), found),
        (Some("GetAtt"), Data::List(path)) => path.first().and_then(Node::text).into_iter().for_each(|n| note(n, found)),
        (Some("Sub"), Data::Text(argument)) => substituted(argument, found),
        (_, Data::Text(_) | Data::Null) => {}
        (tag, Data::List(items)) => {
            if tag == Some("Sub") {
                items.first().and_then(Node::text).into_iter().for_each(|argument| substituted(argument, found));
            }
            items.iter().for_each(|item| mentions(item, found));
        }
        (_, Data::Map(entries)) => {
            for entry in entries {
                match (&*entry.key, &entry.value.data) {
                    ("Fn::GetAtt", Data::Text(path)) => note(path.split('.').next().unwrap_or(path), found),
                    ("Fn::GetAtt", Data::List(path)) => {
                        path.first().and_then(Node::text).into_iter().for_each(|name| note(name, found));
                    }
                    ("Fn::Sub", Data::Text(argument)) => substituted(argument, found),
                    ("Fn::Sub", Data::List(items)) => {
                        items.first().and_then(Node::text).into_iter().for_each(|a| substituted(a, found));
                        items.iter().for_each(|item| mentions(item, found));
                    }
                    _ => mentions(&entry.value, found),
                }
            }
        }
    }
}

fn substituted(argument: &str, found: &mut Vec<String>) {
    for piece in argument.split("${").skip(1) {
        let name = piece.split(['}', '.']).next().unwrap_or_default().trim();
        note(name, found);
    }
}

/// Notes a logical id; pseudo parameters and literals are none.
fn note(name: &str, found: &mut Vec<String>) {
    let is_id = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_id && found.len() < REFERENCES_MAX && !found.iter().any(|known| known == name) {
        found.push(name.to_owned());
    }
}

/// Finds `Type: AWS::...` lines that the parser did not get to, with the logical id above each.
pub(crate) fn scan_lines(text: &str, lines_before: u32, facts: &mut FileFacts) {
    let known: HashSet<u32> = facts.resources.iter().map(|resource| resource.line).collect();
    // Keys above the current line, by indentation, outermost first.
    let mut above: Vec<(usize, u32, &str)> = Vec::new();
    for (number, line) in lines(text) {
        let number = number + lines_before;
        let line = super::attributes::cut(line, 4096);
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let body = body.trim_end().trim_end_matches(',');
        let Some((key, value)) = body.split_once(':') else {
            continue;
        };
        let key = key.trim_matches(['"', '\'', ' ']);
        let value = value.trim().trim_matches(['"', '\'']);
        above.retain(|(depth, ..)| *depth < indent);
        if key == "Type" && value.contains("::") && !value.contains([' ', '{', '<']) {
            // The type of a parameter looks alike.
            let is_parameter = value.starts_with("AWS::SSM::Parameter::Value") || value.contains("::Id");
            if let Some(&(_, at, id)) = above.last()
                && !is_parameter
                && !known.contains(&at)
            {
                facts.push(scanned(&facts.file, at, id, value));
            }
        } else if !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            above.push((indent, number, key));
        }
    }
}

fn scanned(file: &Arc<str>, line: u32, id: &str, kind: &str) -> Resource {
    Resource {
        file: Arc::clone(file),
        line,
        address: id.to_owned(),
        kind: kind.to_owned(),
        provider: providers::cloudformation(kind),
        notation: Notation::CloudFormation,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SCANNED,
    }
}
