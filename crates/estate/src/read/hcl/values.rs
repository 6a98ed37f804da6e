//! What is kept of an attribute's expression.
//!
//! **Invariant:** a literal is kept as its value, anything else as bounded text for later evaluation.

use std::collections::BTreeMap;

use crate::read::attributes::{cut, put, text, unknown};
use crate::read::expr::{Expr, Scope, Val, evaluate, parse, unquote};
use crate::resource::Value;

/// Bytes of a collection that is looked into for scalars.
const COLLECTION_BYTES_MAX: usize = 8 << 10;
/// Bytes kept of an expression that can never be evaluated here, for people to read.
const HOPELESS_BYTES_MAX: usize = 120;

/// Adds what an expression says under a key.
pub(super) fn put_expression(attributes: &mut BTreeMap<String, Value>, key: &str, expression: &str) {
    match expression.as_bytes().first() {
        Some(b'"') if expression.len() > 4096 => {}
        Some(b'"') => match unquote(expression) {
            Some(plain) => put(attributes, key, text(&plain)),
            None => put(attributes, key, open(expression)),
        },
        Some(b'0'..=b'9') if expression.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            put(attributes, key, text(expression));
        }
        Some(b't' | b'f') if matches!(expression, "true" | "false") => put(attributes, key, text(expression)),
        Some(b'n') if expression == "null" => {}
        // Policies and scripts.
        Some(b'<') => {}
        Some(b'{' | b'[') if is_label_key(key) => {}
        Some(b'{' | b'[') if expression.len() <= COLLECTION_BYTES_MAX => put_collection(attributes, key, expression),
        Some(_) => put(attributes, key, open(expression)),
        None => {}
    }
}

/// Keeps the expression of `count` or `for_each` until the module's variables are known.
pub(super) fn put_repetition(attributes: &mut BTreeMap<String, Value>, name: &str, expression: &str) {
    if expression.len() <= COLLECTION_BYTES_MAX {
        put(attributes, name, Value::Unknown(expression.to_owned()));
    }
}

/// An expression that is not a literal: kept whole if it may become known with the module's variables.
fn open(expression: &str) -> Value {
    if expression.contains("var.") || expression.contains("local.") || !expression.contains('.') {
        unknown(expression)
    } else {
        Value::Unknown(cut(expression, HOPELESS_BYTES_MAX).to_owned())
    }
}

/// Names that people give to things, and that say nothing about a service.
fn is_label_key(key: &str) -> bool {
    matches!(key.rsplit('.').next(), Some("tags" | "tags_all" | "labels" | "depends_on" | "ignore_changes"))
}

fn put_collection(attributes: &mut BTreeMap<String, Value>, key: &str, expression: &str) {
    match parse(expression) {
        Some(Expr::Object(entries)) => {
            for (name, value) in &entries {
                if let Expr::Value(name) = name
                    && let Some(name) = name.scalar()
                {
                    put_expr(attributes, &format!("{key}.{name}"), value);
                }
            }
        }
        Some(list) => match evaluate(&list, &Nothing) {
            Val::Unknown => put(attributes, key, open(expression)),
            value if has_unknown(&value) => put(attributes, key, open(expression)),
            value => put_value(attributes, key, &value),
        },
        None => put(attributes, key, open(expression)),
    }
}

fn put_expr(attributes: &mut BTreeMap<String, Value>, key: &str, expr: &Expr) {
    match expr {
        Expr::Object(entries) => {
            for (name, value) in entries {
                if let Expr::Value(name) = name
                    && let Some(name) = name.scalar()
                {
                    put_expr(attributes, &format!("{key}.{name}"), value);
                }
            }
        }
        other => put_value(attributes, key, &evaluate(other, &Nothing)),
    }
}

fn has_unknown(value: &Val) -> bool {
    match value {
        Val::Unknown => true,
        Val::List(items) => items.iter().any(has_unknown),
        Val::Map(entries) => entries.values().any(has_unknown),
        _ => false,
    }
}

/// Adds a known value under a key: scalars as they are, lists of scalars joined with commas, objects flattened. What
/// is unknown is left out.
pub(crate) fn put_value(attributes: &mut BTreeMap<String, Value>, key: &str, value: &Val) {
    match value {
        Val::Map(entries) => {
            for (name, value) in entries.iter() {
                put_value(attributes, &format!("{key}.{name}"), value);
            }
        }
        Val::List(items) => {
            let scalars: Vec<String> = items.iter().filter_map(Val::scalar).collect();
            if scalars.len() == items.len() && !scalars.is_empty() {
                put(attributes, key, text(&scalars.join(",")));
            } else if let Some(first @ Val::Map(_)) = items.first() {
                put_value(attributes, key, first);
            }
        }
        scalar => {
            if let Some(known) = scalar.scalar() {
                put(attributes, key, text(&known));
            }
        }
    }
}

/// A scope that knows no name.
struct Nothing;

impl Scope for Nothing {
    fn variable(&self, _: &str) -> Val {
        Val::Unknown
    }
    fn local(&self, _: &str) -> Val {
        Val::Unknown
    }
    fn other(&self, _: &str, _: &str) -> Val {
        Val::Unknown
    }
}
