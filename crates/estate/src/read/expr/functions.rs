//! The functions of Terraform whose results matter for what a resource is: collections, strings, conversions.
//!
//! **Invariant:** pure, bounded, and unknown for any function or argument that is not understood.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Val;
use super::eval::{ITEMS_MAX, STRING_BYTES_MAX, equal, index};

/// The result of a call.
pub(super) fn call(name: &str, args: &[Val]) -> Val {
    let value = match name {
        "tostring" => args.first().and_then(Val::scalar).map(Val::str),
        "tonumber" => args.first().and_then(Val::number).map(Val::Num),
        "tobool" => args.first().and_then(Val::boolean).map(Val::Bool),
        "toset" | "distinct" => list(args, 0).and_then(distinct),
        "tolist" | "sensitive" | "nonsensitive" | "tomap" => args.first().cloned(),
        "length" => length(args),
        "concat" => concat(args),
        "merge" => merge(args),
        "keys" => map(args, 0).map(|m| new_list(m.keys().map(|k| Val::str(k.as_str())).collect())),
        "values" => map(args, 0).map(|m| new_list(m.values().cloned().collect())),
        "lookup" => lookup(args),
        "element" => element(args),
        "one" => list(args, 0).and_then(|items| match items.as_slice() {
            [] => Some(Val::Null),
            [only] => Some(only.clone()),
            _ => None,
        }),
        "join" => join(args),
        "split" => split(args),
        "lower" => text(args, 0).map(|t| Val::str(t.to_lowercase())),
        "upper" => text(args, 0).map(|t| Val::str(t.to_uppercase())),
        "trimspace" => text(args, 0).map(|t| Val::str(t.trim())),
        "trimprefix" => two(args, |a, b| a.strip_prefix(b).unwrap_or(a).to_owned()),
        "trimsuffix" => two(args, |a, b| a.strip_suffix(b).unwrap_or(a).to_owned()),
        "startswith" => text(args, 0).zip(text(args, 1)).map(|(a, b)| Val::Bool(a.starts_with(b))),
        "endswith" => text(args, 0).zip(text(args, 1)).map(|(a, b)| Val::Bool(a.ends_with(b))),
        "replace" => replace(args),
        "substr" => substr(args),
        "format" => format(args),
        "coalesce" => coalesce(args),
        "coalescelist" => args.iter().find(|a| a.len() != Some(0)).cloned(),
        "compact" => list(args, 0).and_then(compact),
        "flatten" => list(args, 0).and_then(|items| flatten(items)),
        "contains" => contains(args),
        "range" => range(args),
        "zipmap" => zipmap(args),
        "slice" => slice(args),
        "max" => numbers(args).map(|all| Val::Num(all.into_iter().fold(f64::MIN, f64::max))),
        "min" => numbers(args).map(|all| Val::Num(all.into_iter().fold(f64::MAX, f64::min))),
        "ceil" => args.first().and_then(Val::number).map(|n| Val::Num(n.ceil())),
        "floor" => args.first().and_then(Val::number).map(|n| Val::Num(n.floor())),
        "abs" => args.first().and_then(Val::number).map(|n| Val::Num(n.abs())),
        "alltrue" => flags(args).map(|all| Val::Bool(all.into_iter().all(|flag| flag))),
        "anytrue" => flags(args).map(|all| Val::Bool(all.into_iter().any(|flag| flag))),
        "try" => args.first().filter(|first| **first != Val::Unknown).cloned(),
        _ => None,
    };
    value.unwrap_or(Val::Unknown)
}

fn list(args: &[Val], n: usize) -> Option<&Rc<Vec<Val>>> {
    match args.get(n) {
        Some(Val::List(items)) => Some(items),
        _ => None,
    }
}

fn map(args: &[Val], n: usize) -> Option<&Rc<BTreeMap<String, Val>>> {
    match args.get(n) {
        Some(Val::Map(entries)) => Some(entries),
        _ => None,
    }
}

fn text(args: &[Val], n: usize) -> Option<&str> {
    match args.get(n) {
        Some(Val::Str(text)) => Some(text),
        _ => None,
    }
}

fn new_list(items: Vec<Val>) -> Val {
    Val::List(Rc::new(items))
}

fn two(args: &[Val], f: fn(&str, &str) -> String) -> Option<Val> {
    text(args, 0).zip(text(args, 1)).map(|(a, b)| Val::str(f(a, b)))
}

fn length(args: &[Val]) -> Option<Val> {
    let size = match args.first()? {
        Val::Str(text) => text.chars().count(),
        other => other.len()?,
    };
    Some(Val::Num(size as f64))
}

fn distinct(items: &Rc<Vec<Val>>) -> Option<Val> {
    if items.len() > 1_000 {
        return None;
    }
    let mut kept: Vec<Val> = Vec::new();
    for item in items.iter() {
        let mut double = false;
        for known in &kept {
            double |= equal(known, item)?;
        }
        if !double {
            kept.push(item.clone());
        }
    }
    Some(new_list(kept))
}

fn concat(args: &[Val]) -> Option<Val> {
    let mut all = Vec::new();
    for n in 0..args.len() {
        all.extend(list(args, n)?.iter().cloned());
    }
    (all.len() <= ITEMS_MAX).then(|| new_list(all))
}

fn merge(args: &[Val]) -> Option<Val> {
    let mut all = BTreeMap::new();
    for (n, arg) in args.iter().enumerate() {
        if *arg != Val::Null {
            all.extend(map(args, n)?.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    Some(Val::Map(Rc::new(all)))
}

fn lookup(args: &[Val]) -> Option<Val> {
    let key = args.get(1)?.scalar()?;
    map(args, 0)?.get(&key).or(args.get(2)).cloned()
}

fn element(args: &[Val]) -> Option<Val> {
    let items = list(args, 0)?;
    let at = args.get(1)?.number().filter(|n| *n >= 0.0 && !items.is_empty())?;
    Some(index(&args[0], &Val::Num(at % items.len() as f64)))
}

fn join(args: &[Val]) -> Option<Val> {
    let separator = text(args, 0)?;
    let mut joined = String::new();
    for n in 1..args.len() {
        for item in list(args, n)?.iter() {
            if !joined.is_empty() {
                joined.push_str(separator);
            }
            joined.push_str(&item.scalar()?);
            if joined.len() > STRING_BYTES_MAX {
                return None;
            }
        }
    }
    Some(Val::str(joined))
}

fn split(args: &[Val]) -> Option<Val> {
    let (separator, whole) = text(args, 0).zip(text(args, 1))?;
    if separator.is_empty() {
        return None;
    }
    Some(new_list(whole.split(separator).map(Val::str).collect()))
}

fn replace(args: &[Val]) -> Option<Val> {
    let (whole, (old, new)) = text(args, 0).zip(text(args, 1).zip(text(args, 2)))?;
    // `/.../` is a regular expression.
    if old.is_empty() || (old.len() > 1 && old.starts_with('/') && old.ends_with('/')) {
        return None;
    }
    let replaced = whole.replace(old, new);
    (replaced.len() <= STRING_BYTES_MAX).then(|| Val::str(replaced))
}

fn substr(args: &[Val]) -> Option<Val> {
    let whole = text(args, 0)?;
    let (from, size) = args.get(1)?.number().zip(args.get(2)?.number())?;
    if from < 0.0 {
        return None;
    }
    let rest = whole.chars().skip(from as usize);
    Some(Val::str(if size < 0.0 { rest.collect::<String>() } else { rest.take(size as usize).collect() }))
}

fn format(args: &[Val]) -> Option<Val> {
    let mut made = String::new();
    let mut rest = text(args, 0)?;
    let mut next = 1;
    while let Some(at) = rest.find('%') {
        made.push_str(&rest[..at]);
        let spec = &rest[at + 1..];
        let digits = spec.bytes().take_while(u8::is_ascii_digit).count();
        let verb = spec[digits..].chars().next()?;
        rest = &spec[digits + verb.len_utf8()..];
        if verb == '%' {
            made.push('%');
            continue;
        }
        let value = args.get(next)?.scalar()?;
        next += 1;
        let width: usize = if digits == 0 { 0 } else { spec[..digits].parse().ok().filter(|w| *w < 100)? };
        match verb {
            's' | 'v' => made.push_str(&format!("{value:>width$}")),
            'd' if spec.starts_with('0') => made.push_str(&format!("{:0>width$}", value)),
            'd' => made.push_str(&format!("{value:>width$}")),
            'q' => made.push_str(&format!("{value:?}")),
            _ => return None,
        }
    }
    made.push_str(rest);
    (made.len() <= STRING_BYTES_MAX).then(|| Val::str(made))
}

fn coalesce(args: &[Val]) -> Option<Val> {
    for arg in args {
        match arg {
            Val::Unknown => return None,
            Val::Null => {}
            Val::Str(text) if text.is_empty() => {}
            known => return Some(known.clone()),
        }
    }
    None
}

fn compact(items: &Rc<Vec<Val>>) -> Option<Val> {
    let mut kept = Vec::new();
    for item in items.iter() {
        match item {
            Val::Unknown => return None,
            Val::Null => {}
            Val::Str(text) if text.is_empty() => {}
            known => kept.push(known.clone()),
        }
    }
    Some(new_list(kept))
}

fn flatten(items: &[Val]) -> Option<Val> {
    let mut flat = Vec::new();
    // Pairs of a list and the next place in it, innermost last.
    let mut open = vec![(items, 0)];
    let mut steps = 0;
    while let Some((items, at)) = open.pop() {
        steps += 1;
        if steps > 4 * ITEMS_MAX {
            return None;
        }
        let Some(item) = items.get(at) else { continue };
        open.push((items, at + 1));
        match item {
            Val::List(inner) => open.push((inner, 0)),
            Val::Unknown => return None,
            known => flat.push(known.clone()),
        }
        if flat.len() > ITEMS_MAX {
            return None;
        }
    }
    Some(new_list(flat))
}

fn contains(args: &[Val]) -> Option<Val> {
    let wanted = args.get(1)?;
    let mut surely_not = true;
    for item in list(args, 0)?.iter() {
        match equal(item, wanted) {
            Some(true) => return Some(Val::Bool(true)),
            Some(false) => {}
            None => surely_not = false,
        }
    }
    surely_not.then_some(Val::Bool(false))
}

fn range(args: &[Val]) -> Option<Val> {
    let all = numbers(args)?;
    let (from, to, step) = match all.as_slice() {
        [to] => (0.0, *to, 1.0),
        [from, to] => (*from, *to, 1.0),
        [from, to, step] if *step > 0.0 => (*from, *to, *step),
        _ => return None,
    };
    if (to - from) / step > ITEMS_MAX as f64 {
        return None;
    }
    let mut items = Vec::new();
    let mut at = from;
    while at < to && items.len() <= ITEMS_MAX {
        items.push(Val::Num(at));
        at += step;
    }
    Some(new_list(items))
}

fn zipmap(args: &[Val]) -> Option<Val> {
    let (keys, values) = list(args, 0).zip(list(args, 1))?;
    let mut made = BTreeMap::new();
    for (key, value) in keys.iter().zip(values.iter()) {
        made.insert(key.scalar()?, value.clone());
    }
    Some(Val::Map(Rc::new(made)))
}

fn slice(args: &[Val]) -> Option<Val> {
    let (from, to) = args.get(1)?.number().zip(args.get(2)?.number())?;
    let items = list(args, 0)?.get(from as usize..to as usize)?;
    Some(new_list(items.to_vec()))
}

fn numbers(args: &[Val]) -> Option<Vec<f64>> {
    args.iter().map(Val::number).collect::<Option<Vec<f64>>>().filter(|all| !all.is_empty())
}

fn flags(args: &[Val]) -> Option<Vec<bool>> {
    list(args, 0)?.iter().map(Val::boolean).collect()
}
