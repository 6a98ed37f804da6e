//! From a tree to bounded scalar attributes.
//!
//! **Invariant:** scalars of a level are taken before what is nested in it, so that the limit on attributes cuts the
//! deep ones first.

use std::collections::BTreeMap;

use super::attributes::{put, text};
use super::facts::ATTRIBUTES_MAX;
use super::tree::{Data, Entry, Node};
use crate::resource::Value;

/// Resolves a node that stands for a value (an intrinsic, an expression); `None` for a plain one.
pub(crate) type Resolve<'r> = dyn Fn(&Node<'_>) -> Option<Value> + 'r;

/// A resolver for notations without expressions.
pub(crate) fn plain(_: &Node<'_>) -> Option<Value> {
    None
}

/// Adds the scalars below a node under `prefix`.
pub(crate) fn flatten(node: &Node<'_>, prefix: &mut String, attributes: &mut BTreeMap<String, Value>, resolve: &Resolve<'_>) {
    if attributes.len() >= ATTRIBUTES_MAX {
        return;
    }
    if let Some(value) = resolve(node) {
        if value != Value::Text(String::new()) {
            put(attributes, prefix, value);
        }
        return;
    }
    match &node.data {
        Data::Null => {}
        Data::Text(value) => put(attributes, prefix, text(value)),
        Data::List(items) => flatten_list(items, prefix, attributes, resolve),
        Data::Map(entries) => {
            let is_nested = |entry: &&Entry<'_>| matches!(entry.value.data, Data::Map(_) | Data::List(_));
            // Backwards, since of two equal keys the last one holds and the first one put stands.
            for entry in entries.iter().rev().filter(|entry| !is_nested(entry)) {
                below(&entry.key, &entry.value, prefix, attributes, resolve);
            }
            for entry in entries.iter().rev().filter(is_nested).filter(|entry| !is_label(&entry.key)) {
                below(&entry.key, &entry.value, prefix, attributes, resolve);
            }
        }
    }
}

fn below(key: &str, value: &Node<'_>, prefix: &mut String, attributes: &mut BTreeMap<String, Value>, resolve: &Resolve<'_>) {
    let before = prefix.len();
    if before > 0 {
        prefix.push('.');
    }
    prefix.push_str(key);
    flatten(value, prefix, attributes, resolve);
    prefix.truncate(before);
}

fn flatten_list(items: &[Node<'_>], prefix: &mut String, attributes: &mut BTreeMap<String, Value>, resolve: &Resolve<'_>) {
    let mut joined = String::new();
    for item in items {
        let known = match resolve(item) {
            Some(Value::Text(value)) => value,
            None if item.text().is_some() => item.text().unwrap_or_default().to_owned(),
            _ => {
                // Items of different shapes, or objects: the first object of each shape speaks for all.
                items.iter().take(ATTRIBUTES_MAX).for_each(|item| flatten(item, prefix, attributes, resolve));
                return;
            }
        };
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&known);
        if joined.len() > super::facts::VALUE_BYTES_MAX {
            break;
        }
    }
    if !joined.is_empty() {
        put(attributes, prefix, text(&joined));
    }
}

/// Names that people give to things, and that say nothing about a service.
fn is_label(key: &str) -> bool {
    matches!(key, "tags" | "Tags" | "tags_all" | "labels")
}
