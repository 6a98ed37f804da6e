//! Terraform expressions: parsed where a value is wanted, evaluated as far as it is known without a cloud account.
//!
//! **Invariant:** depth, steps and sizes are bounded; what is not understood is [`Val::Unknown`], never a guess.

mod eval;
mod functions;
mod parse;
mod template;

use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use eval::{Scope, evaluate, evaluate_counted};
pub(crate) use parse::parse;
pub(crate) use template::unquote;

/// A value as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val {
    /// Known only at apply time, or not understood.
    Unknown,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Num(f64),
    /// A string.
    Str(Rc<str>),
    /// A list, tuple or set.
    List(Rc<Vec<Val>>),
    /// A map or object.
    Map(Rc<BTreeMap<String, Val>>),
}

impl Val {
    /// A string.
    pub(crate) fn str(text: impl Into<Rc<str>>) -> Val {
        Val::Str(text.into())
    }

    /// The text of a known scalar, as a template would print it.
    pub(crate) fn scalar(&self) -> Option<String> {
        match self {
            Val::Bool(flag) => Some(flag.to_string()),
            Val::Num(number) => Some(number_text(*number)),
            Val::Str(text) => Some(text.to_string()),
            Val::Unknown | Val::Null | Val::List(_) | Val::Map(_) => None,
        }
    }

    /// The number, if it is one or a string that spells one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Val::Num(number) => Some(*number),
            Val::Str(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }

    /// The boolean, if it is one or a string that spells one.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Val::Bool(flag) => Some(*flag),
            Val::Str(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value, or unknown if it is so large or deep that work on it would not be cheap.
    pub(crate) fn bounded(self) -> Val {
        let mut nodes = 0;
        if fits(&self, 0, &mut nodes) { self } else { Val::Unknown }
    }

    /// How many elements a known collection has.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Val::List(items) => Some(items.len()),
            Val::Map(entries) => Some(entries.len()),
            _ => None,
        }
    }
}

fn fits(value: &Val, depth: usize, nodes: &mut usize) -> bool {
    *nodes += 1;
    if *nodes > 4_000 || depth > 32 {
        return false;
    }
    match value {
        Val::List(items) => items.iter().all(|item| fits(item, depth + 1, nodes)),
        Val::Map(entries) => entries.values().all(|item| fits(item, depth + 1, nodes)),
        _ => true,
    }
}

/// A number without a fraction where it has none.
fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { number.to_string() }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// A literal, or [`Val::Unknown`] for what is not understood.
    Value(Val),
    /// A string with templates.
    Template(Vec<Expr>),
    /// A name at the beginning of a traversal: `var`, `local`, a loop's variable.
    Name(Box<str>),
    /// `of.name`.
    Attr(Box<Expr>, Box<str>),
    /// `of[key]`.
    Index(Box<Expr>, Box<Expr>),
    /// `of[*]` or `of.*`, and what is read of each element.
    Splat(Box<Expr>, Vec<Box<str>>),
    /// `name(arguments)`.
    Call(Box<str>, Vec<Expr>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `{ key = value }`.
    Object(Vec<(Expr, Expr)>),
    /// `!a` or `-a`.
    Unary(u8, Box<Expr>),
    /// `a op b`.
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `if ? then : otherwise`.
    Cond(Box<[Expr; 3]>),
    /// `[for ...]` or `{for ...}`.
    For(Box<Loop>),
}

/// A `for` expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loop {
    key_name: Option<Box<str>>,
    value_name: Box<str>,
    collection: Expr,
    key: Option<Expr>,
    value: Expr,
    grouped: bool,
    condition: Option<Expr>,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}
