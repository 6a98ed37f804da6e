//! Terraform's JSON syntax: the same blocks as keys of objects, expressions as templates in strings.
//!
//! **Invariant:** a block body may be an object or a list of objects wherever Terraform accepts both.

use std::collections::BTreeMap;

use super::body::{named, new_resource};
use super::scan::Scanner;
use super::values::{put_expression, put_repetition};
use crate::read::attributes::{put, text};
use crate::read::facts::{FileFacts, ModuleCall, Named, REFERENCES_MAX};
use crate::read::tree::{Data, Entry, Node};
use crate::resource::Value;

/// Reads the tree of a `.tf.json` or `.tfvars.json` file.
pub(crate) fn read(root: &Node<'_>, assignments: bool, facts: &mut FileFacts) {
    for entry in bodies(root).into_iter().flat_map(Node::map) {
        if assignments {
            let assigned = name_of(entry);
            facts.module_mut().assigned.push(assigned);
            continue;
        }
        match &*entry.key {
            block @ ("resource" | "data" | "ephemeral") => {
                for of_type in bodies(&entry.value).into_iter().flat_map(Node::map) {
                    for of_name in bodies(&of_type.value).into_iter().flat_map(Node::map) {
                        resource(block, &of_type.key, of_name, facts);
                    }
                }
            }
            "module" => blocks(&entry.value).for_each(|block| call(block, facts)),
            "variable" => {
                for block in blocks(&entry.value) {
                    let default = bodies(&block.value).into_iter().find_map(|body| body.entry("default"));
                    let expression = default.map(|entry| expression_of(&entry.value)).unwrap_or_default();
                    let variable = named(&block.key, &expression, &[]);
                    facts.module_mut().variables.push(variable);
                }
            }
            "locals" => {
                for local in blocks(&entry.value) {
                    let local = name_of(local);
                    facts.module_mut().locals.push(local);
                }
            }
            "output" => {
                for block in blocks(&entry.value) {
                    if let Some(value) = bodies(&block.value).into_iter().find_map(|body| body.entry("value")) {
                        let output = Named { name: block.key.as_ref().into(), ..name_of(value) };
                        facts.module_mut().outputs.push(output);
                    }
                }
            }
            "terraform" => {
                let settings = bodies(&entry.value);
                if settings.iter().any(|body| body.get("backend").is_some() || body.get("cloud").is_some()) {
                    facts.module_mut().root = true;
                }
            }
            _ => {}
        }
    }
}

/// An object, or the objects of a list.
fn bodies<'n, 'a>(node: &'n Node<'a>) -> Vec<&'n Node<'a>> {
    match &node.data {
        Data::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn blocks<'n, 'a>(node: &'n Node<'a>) -> impl Iterator<Item = &'n Entry<'a>> {
    bodies(node).into_iter().flat_map(Node::map)
}

fn resource(block: &str, type_name: &str, entry: &Entry<'_>, facts: &mut FileFacts) {
    for body in bodies(&entry.value) {
        // An object stands on its key's line, an object in a list on its own.
        let line = if matches!(entry.value.data, Data::List(_)) { body.line } else { entry.line };
        let mut resource = new_resource(&facts.file, line, block, type_name, &entry.key);
        let mut mentions = Vec::new();
        let mut prefix = String::new();
        flatten(body, &mut prefix, &mut resource.attributes, &mut mentions);
        resource.references = mentions;
        facts.push(resource);
    }
}

fn flatten(node: &Node<'_>, prefix: &mut String, attributes: &mut BTreeMap<String, Value>, mentions: &mut Vec<String>) {
    match &node.data {
        Data::Map(entries) => {
            for entry in entries {
                let before = prefix.len();
                if !prefix.is_empty() {
                    prefix.push('.');
                }
                prefix.push_str(&entry.key);
                if before == 0 && matches!(&*entry.key, "count" | "for_each") {
                    let expression = expression_of(&entry.value);
                    mention(&expression, mentions);
                    put_repetition(attributes, prefix, &expression);
                } else if matches!(&*entry.key, "tags" | "labels") {
                    mention(&expression_of(&entry.value), mentions);
                } else {
                    flatten(&entry.value, prefix, attributes, mentions);
                }
                prefix.truncate(before);
            }
        }
        Data::List(items) if items.iter().all(|item| item.text().is_some_and(|text| !text.contains("${"))) => {
            let joined: Vec<&str> = items.iter().filter_map(Node::text).collect();
            if !joined.is_empty() {
                put(attributes, prefix, text(&joined.join(",")));
            }
        }
        Data::List(items) => items.iter().for_each(|item| flatten(item, prefix, attributes, mentions)),
        Data::Text(value) if value.contains("${") || is_reference(prefix, value) => {
            let expression = template(value);
            mention(&expression, mentions);
            put_expression(attributes, prefix, &expression);
        }
        Data::Text(value) => put(attributes, prefix, text(value)),
        Data::Null => {}
    }
}

/// `depends_on` and `provider` hold bare references in JSON syntax.
fn is_reference(key: &str, value: &str) -> bool {
    key == "depends_on" && value.contains('.')
}

fn mention(expression: &str, mentions: &mut Vec<String>) {
    let line = format!("x = {expression}\n");
    let mut scanner = Scanner::new(&line);
    scanner.next_item();
    for found in scanner.mentions {
        if mentions.len() < REFERENCES_MAX && !mentions.iter().any(|known| known == found) {
            mentions.push(found.to_owned());
        }
    }
}

fn call(block: &Entry<'_>, facts: &mut FileFacts) {
    for body in bodies(&block.value) {
        let mut call = ModuleCall { name: block.key.as_ref().into(), line: block.line, ..ModuleCall::default() };
        for entry in body.map() {
            match &*entry.key {
                "source" => call.source = entry.value.text().unwrap_or_default().into(),
                "version" | "providers" | "depends_on" => {}
                _ => call.arguments.push(name_of(entry)),
            }
        }
        facts.module_mut().calls.push(call);
    }
}

fn name_of(entry: &Entry<'_>) -> Named {
    let expression = expression_of(&entry.value);
    let mut mentions = Vec::new();
    if expression.contains("${") || !expression.starts_with('"') {
        mention(&expression, &mut mentions);
    }
    let mentions: Vec<&str> = mentions.iter().map(String::as_str).collect();
    named(&entry.key, &expression, &mentions)
}

/// A JSON value as an expression.
fn expression_of(node: &Node<'_>) -> String {
    let mut made = String::new();
    write_expression(node, &mut made);
    made
}

fn write_expression(node: &Node<'_>, made: &mut String) {
    match &node.data {
        Data::Null => made.push_str("null"),
        Data::Text(value) => made.push_str(&template(value)),
        Data::List(items) => {
            made.push('[');
            for item in items {
                write_expression(item, made);
                made.push(',');
            }
            made.push(']');
        }
        Data::Map(entries) => {
            made.push('{');
            for entry in entries {
                made.push_str(&quote(&entry.key));
                made.push('=');
                write_expression(&entry.value, made);
                made.push(',');
            }
            made.push('}');
        }
    }
}

/// A string of JSON syntax as an expression: `${x}` alone is `x`.
fn template(value: &str) -> String {
    if let Some(inside) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !inside.contains(['{', '}'])
    {
        return inside.to_owned();
    }
    if matches!(value, "true" | "false") || (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())) {
        return value.to_owned();
    }
    quote(value)
}

/// Quotes a string; quotes inside a template stay as they are.
fn quote(value: &str) -> String {
    let mut made = String::with_capacity(value.len() + 2);
    made.push('"');
    let mut open = 0_usize;
    let mut before = '\0';
    for c in value.chars() {
        match c {
            '{' if before == '$' || open > 0 => open += 1,
            '}' if open > 0 => open -= 1,
            _ => {}
        }
        match c {
            '"' | '\\' if open == 0 => {
                made.push('\\');
                made.push(c);
            }
            '\n' if open == 0 => made.push_str("\\n"),
            '\r' if open == 0 => made.push_str("\\r"),
            _ => made.push(c),
        }
        before = c;
    }
    made.push('"');
    made
}
