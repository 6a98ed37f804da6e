//! Evaluation of expressions.
//!
//! **Invariant:** a budget of steps bounds the work of one evaluation; an unknown operand makes the result unknown
//! unless the other operand decides it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::functions;
use super::{Expr, Loop, Op, Val};

/// Steps of one evaluation.
const STEPS_MAX: usize = 20_000;
/// Bytes of a string that an expression makes.
pub(super) const STRING_BYTES_MAX: usize = 16 << 10;
/// Elements of a collection that an expression makes.
pub(super) const ITEMS_MAX: usize = 10_000;

/// Where the names of an expression get their values.
pub(crate) trait Scope {
    /// `var.NAME`.
    fn variable(&self, name: &str) -> Val;
    /// `local.NAME`.
    fn local(&self, name: &str) -> Val;
    /// `each.key`, `each.value`, `path.module`, `terraform.workspace` and the like.
    fn other(&self, root: &str, name: &str) -> Val;
}

/// The value of an expression as far as it is known, and the steps that it took.
pub(crate) fn evaluate_counted(expr: &Expr, scope: &dyn Scope) -> (Val, usize) {
    let mut evaluation = Evaluation { scope, names: Vec::new(), steps: 0 };
    let value = evaluation.eval(expr);
    (value, evaluation.steps)
}

/// The value of an expression as far as it is known.
pub(crate) fn evaluate(expr: &Expr, scope: &dyn Scope) -> Val {
    Evaluation { scope, names: Vec::new(), steps: 0 }.eval(expr)
}

struct Evaluation<'a> {
    scope: &'a dyn Scope,
    names: Vec<(Box<str>, Val)>,
    steps: usize,
}

impl Evaluation<'_> {
    fn eval(&mut self, expr: &Expr) -> Val {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Val::Unknown;
        }
        match expr {
            Expr::Value(value) => value.clone(),
            Expr::Template(parts) => self.template(parts),
            Expr::Name(name) => self.name(name),
            Expr::Attr(of, name) => self.attribute(of, name),
            Expr::Index(of, key) => {
                let of = self.eval(of);
                let key = self.eval(key);
                index(&of, &key)
            }
            Expr::Splat(of, names) => self.splat(of, names),
            Expr::Call(name, arguments) => self.call(name, arguments),
            Expr::List(items) => {
                let items: Vec<Val> = items.iter().map(|item| self.eval(item)).collect();
                Val::List(Rc::new(items))
            }
            Expr::Object(entries) => self.object(entries),
            Expr::Unary(op, of) => {
                let of = self.eval(of);
                match op {
                    b'!' => of.boolean().map_or(Val::Unknown, |flag| Val::Bool(!flag)),
                    _ => of.number().map_or(Val::Unknown, |number| Val::Num(-number)),
                }
            }
            Expr::Binary(op, left, right) => {
                let left = self.eval(left);
                let right = self.eval(right);
                binary(*op, &left, &right)
            }
            Expr::Cond(parts) => {
                let [condition, then, otherwise] = &**parts;
                match self.eval(condition).boolean() {
                    Some(true) => self.eval(then),
                    Some(false) => self.eval(otherwise),
                    None => {
                        let (then, otherwise) = (self.eval(then), self.eval(otherwise));
                        if then == otherwise { then } else { Val::Unknown }
                    }
                }
            }
            Expr::For(each) => self.for_each(each),
        }
    }

    fn template(&mut self, parts: &[Expr]) -> Val {
        // A template that is only `${x}` has the type of `x`.
        if let [only] = parts {
            return self.eval(only);
        }
        let mut text = String::new();
        for part in parts {
            match self.eval(part).scalar() {
                Some(piece) if text.len() + piece.len() <= STRING_BYTES_MAX => text.push_str(&piece),
                _ => return Val::Unknown,
            }
        }
        Val::str(text)
    }

    fn name(&self, name: &str) -> Val {
        self.names.iter().rev().find(|(known, _)| **known == *name).map_or(Val::Unknown, |(_, value)| value.clone())
    }

    fn attribute(&mut self, of: &Expr, name: &str) -> Val {
        if let Expr::Name(root) = of
            && !self.names.iter().any(|(known, _)| known == root)
        {
            return match &**root {
                "var" => self.scope.variable(name),
                "local" => self.scope.local(name),
                root => self.scope.other(root, name),
            };
        }
        match self.eval(of) {
            Val::Map(entries) => entries.get(name).cloned().unwrap_or(Val::Unknown),
            _ => Val::Unknown,
        }
    }

    fn splat(&mut self, of: &Expr, names: &[Box<str>]) -> Val {
        let of = self.eval(of);
        let items = match &of {
            Val::List(items) => Rc::clone(items),
            Val::Null => Rc::new(Vec::new()),
            Val::Unknown => return Val::Unknown,
            single => Rc::new(vec![single.clone()]),
        };
        self.steps += items.len();
        let read = |item: &Val| {
            names.iter().fold(item.clone(), |value, name| match value {
                Val::Map(entries) => entries.get(&**name).cloned().unwrap_or(Val::Unknown),
                _ => Val::Unknown,
            })
        };
        Val::List(Rc::new(items.iter().map(read).collect()))
    }

    fn call(&mut self, name: &str, arguments: &[Expr]) -> Val {
        if let Some(name) = name.strip_suffix("...") {
            let [first, last] = arguments else {
                return Val::Unknown;
            };
            let (Val::List(first), Val::List(last)) = (self.eval(first), self.eval(last)) else {
                return Val::Unknown;
            };
            let all: Vec<Val> = first.iter().chain(last.iter()).cloned().collect();
            return self.apply(name, &all);
        }
        let values: Vec<Val> = arguments.iter().map(|argument| self.eval(argument)).collect();
        self.apply(name, &values)
    }

    fn apply(&mut self, name: &str, values: &[Val]) -> Val {
        self.steps += values.iter().filter_map(Val::len).sum::<usize>();
        if self.steps > STEPS_MAX {
            return Val::Unknown;
        }
        functions::call(name, values)
    }

    fn object(&mut self, entries: &[(Expr, Expr)]) -> Val {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let Some(key) = self.eval(key).scalar() else {
                return Val::Unknown;
            };
            let value = self.eval(value);
            map.insert(key, value);
        }
        Val::Map(Rc::new(map))
    }

    fn for_each(&mut self, each: &Loop) -> Val {
        let pairs: Vec<(Val, Val)> = match self.eval(&each.collection) {
            Val::List(items) => items.iter().enumerate().map(|(n, v)| (Val::Num(n as f64), v.clone())).collect(),
            Val::Map(entries) => entries.iter().map(|(k, v)| (Val::str(k.as_str()), v.clone())).collect(),
            _ => return Val::Unknown,
        };
        let depth = self.names.len();
        let mut list = Vec::new();
        let mut map: BTreeMap<String, Val> = BTreeMap::new();
        for (key, value) in pairs {
            self.names.truncate(depth);
            if let Some(name) = &each.key_name {
                self.names.push((name.clone(), key));
            }
            self.names.push((each.value_name.clone(), value));
            let wanted = each.condition.as_ref().map_or(Some(true), |condition| self.eval(condition).boolean());
            match wanted {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    self.names.truncate(depth);
                    return Val::Unknown;
                }
            }
            let value = self.eval(&each.value);
            let Some(key) = &each.key else {
                list.push(value);
                continue;
            };
            let Some(key) = self.eval(key).scalar() else {
                self.names.truncate(depth);
                return Val::Unknown;
            };
            if each.grouped {
                match map.get_mut(&key) {
                    Some(Val::List(group)) => Rc::make_mut(group).push(value),
                    _ => {
                        map.insert(key, Val::List(Rc::new(vec![value])));
                    }
                }
            } else {
                map.insert(key, value);
            }
        }
        self.names.truncate(depth);
        if self.steps > STEPS_MAX {
            return Val::Unknown;
        }
        if each.key.is_some() { Val::Map(Rc::new(map)) } else { Val::List(Rc::new(list)) }
    }
}

/// `of[key]`.
pub(super) fn index(of: &Val, key: &Val) -> Val {
    match of {
        Val::List(items) => {
            let at = key.number().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < ITEMS_MAX as f64);
            at.and_then(|n| items.get(n as usize)).cloned().unwrap_or(Val::Unknown)
        }
        Val::Map(entries) => key.scalar().and_then(|key| entries.get(&key)).cloned().unwrap_or(Val::Unknown),
        _ => Val::Unknown,
    }
}

/// Whether two values are surely equal or surely different.
pub(super) fn equal(left: &Val, right: &Val) -> Option<bool> {
    match (left, right) {
        (Val::Unknown, _) | (_, Val::Unknown) => None,
        (Val::List(a), Val::List(b)) if a.len() == b.len() => {
            a.iter().zip(b.iter()).try_fold(true, |all, (a, b)| Some(all && equal(a, b)?))
        }
        (Val::Map(a), Val::Map(b)) if a.keys().eq(b.keys()) => {
            a.values().zip(b.values()).try_fold(true, |all, (a, b)| Some(all && equal(a, b)?))
        }
        (left, right) => Some(left == right),
    }
}

fn binary(op: Op, left: &Val, right: &Val) -> Val {
    let flags = || (left.boolean(), right.boolean());
    let numbers = |f: fn(f64, f64) -> f64| match (left.number(), right.number()) {
        (Some(a), Some(b)) => Some(f(a, b)).filter(|n| n.is_finite()).map_or(Val::Unknown, Val::Num),
        _ => Val::Unknown,
    };
    let compare = |f: fn(&f64, &f64) -> bool| match (left.number(), right.number()) {
        (Some(a), Some(b)) => Val::Bool(f(&a, &b)),
        _ => Val::Unknown,
    };
    match op {
        Op::Or => match flags() {
            (Some(true), _) | (_, Some(true)) => Val::Bool(true),
            (Some(false), Some(false)) => Val::Bool(false),
            _ => Val::Unknown,
        },
        Op::And => match flags() {
            (Some(false), _) | (_, Some(false)) => Val::Bool(false),
            (Some(true), Some(true)) => Val::Bool(true),
            _ => Val::Unknown,
        },
        Op::Eq => equal(left, right).map_or(Val::Unknown, Val::Bool),
        Op::Ne => equal(left, right).map_or(Val::Unknown, |same| Val::Bool(!same)),
        Op::Lt => compare(f64::lt),
        Op::Le => compare(f64::le),
        Op::Gt => compare(f64::gt),
        Op::Ge => compare(f64::ge),
        Op::Add => numbers(|a, b| a + b),
        Op::Sub => numbers(|a, b| a - b),
        Op::Mul => numbers(|a, b| a * b),
        Op::Div => numbers(|a, b| a / b),
        Op::Rem => numbers(|a, b| a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    struct Names;

    impl Scope for Names {
        fn variable(&self, name: &str) -> Val {
            match name {
                "env" => Val::str("prod"),
                "zones" => Val::List(Rc::new(vec![Val::str("a"), Val::str("b")])),
                "tags" => Val::Map(Rc::new(BTreeMap::from([("k".to_owned(), Val::str("v"))]))),
                _ => Val::Unknown,
            }
        }
        fn local(&self, name: &str) -> Val {
            if name == "n" { Val::Num(2.0) } else { Val::Unknown }
        }
        fn other(&self, _: &str, _: &str) -> Val {
            Val::Unknown
        }
    }

    #[test]
    fn expressions() {
        let table = [
            (r#""x-${var.env}-${local.n + 1}""#, Some("x-prod-3")),
            (r#"var.env == "prod" ? "db.m5.large" : "db.t3.micro""#, Some("db.m5.large")),
            (r#"var.unknown == "prod" ? 1 : 1"#, Some("1")),
            (r#"var.unknown == "prod" ? 1 : 2"#, None),
            ("length(var.zones)", Some("2")),
            (r#"{ a = 1, "b" : 2 }["b"]"#, Some("2")),
            (r#"lookup(var.tags, "k", "none")"#, Some("v")),
            (r#"lookup(var.tags, "z", "none")"#, Some("none")),
            (r#"join(",", [for z in var.zones : upper(z) if z != "a"])"#, Some("B")),
            (r#"join(",", keys({for i, z in var.zones : z => i}))"#, Some("a,b")),
            ("-2 * (3 + 4) % 5", Some("-4")),
            ("!(1 > 2) && true || var.unknown", Some("true")),
            ("try(var.unknown.x, \"y\")", None),
            ("coalesce(null, \"\", \"y\")", Some("y")),
            ("element(concat([\"q\"], var.zones), 1)", Some("a")),
            ("format(\"%s-%02d\", var.env, 3)", Some("prod-03")),
            ("merge(var.tags, {k = \"w\"}).k", Some("w")),
            ("max([1, 5, 3]...)", Some("5")),
            ("<<-E\n  a ${var.env}\n  E\n", Some("a prod\n")),
            ("replace(\"a.b\", \".\", \"-\")", Some("a-b")),
            ("aws_vpc.main.id", None),
        ];
        for (text, expected) in table {
            let value = parse(text).map(|expr| evaluate(&expr, &Names));
            assert_eq!(value.and_then(|v| v.scalar()).as_deref(), expected, "{text}");
        }
    }
}
