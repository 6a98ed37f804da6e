//! The user's `freehold-audit.toml`: rules of their own, and findings they accept.
//!
//! **Invariant:** a user's rule that names a type the catalogue knows takes from there what it does not say, so that
//! overriding a class needs one line.

use std::borrow::Cow;

use time::Date;
use time::macros::format_description;

use super::accept::Acceptance;
use super::error::CatalogueError;
use super::flatten::{Flat, Full, FullWhen};
use super::format::{self, AcceptEntry, Entry};
use super::key::canonical;
use super::table::{Judgement, Table, Text, When};

/// Reads rules and acceptances; `builtin` is what the rules may inherit from.
pub fn read(text: &str, builtin: &Table) -> Result<(Table, Vec<Acceptance>), CatalogueError> {
    let file = format::read(text, "rule", &["rule", "accept"])?;
    let mut flat = Flat::default();
    for entry in &file.rules {
        let base = inherited(entry, builtin);
        flat.add(entry, base.as_ref(), false)?;
    }
    let accepted = file.accepts.iter().map(acceptance).collect::<Result<_, _>>()?;
    Ok((table(flat), accepted))
}

fn inherited(entry: &Entry, builtin: &Table) -> Option<Full> {
    let first = entry.types.first().or(entry.prefixes.first())?;
    let judgement = &builtin.judgements[builtin.find(&canonical(first))?.judgement()];
    Some(Full {
        id: judgement.id.to_string(),
        service: judgement.service.to_string(),
        class: judgement.class,
        facets: judgement.facets,
        replacement: judgement.replacement.to_string(),
        exit_path: judgement.exit_path.to_string(),
        effort_days: judgement.effort_days,
        why: judgement.why.to_string(),
        evidence_url: judgement.evidence_url.to_string(),
        evidence_date: judgement.evidence_date.to_string(),
        confidence: judgement.confidence,
        whens: Vec::new(),
    })
}

fn acceptance(entry: &AcceptEntry) -> Result<Acceptance, CatalogueError> {
    let error = |what: String| CatalogueError { line: entry.line, what };
    let selectors = [&entry.kind, &entry.address, &entry.file, &entry.rule];
    if selectors.iter().all(|selector| selector.is_none()) {
        return Err(error("this [[accept]] covers everything; name a `type`, `address`, `file` or `rule`".to_owned()));
    }
    let reason = entry.reason.clone().ok_or_else(|| error("an [[accept]] needs a `reason`".to_owned()))?;
    let expires = entry.expires.as_deref();
    let expires = expires.ok_or_else(|| error("an [[accept]] needs `expires`, the last day it holds".to_owned()))?;
    let expires = Date::parse(expires, format_description!("[year]-[month]-[day]"))
        .map_err(|_| error(format!("`expires` is a day such as 2027-03-31, not `{expires}`")))?;
    Ok(Acceptance {
        kind: entry.kind.clone(),
        address: entry.address.clone(),
        file: entry.file.clone(),
        rule: entry.rule.clone(),
        reason,
        expires,
        line: entry.line,
    })
}

fn table(flat: Flat) -> Table {
    let index = |at: usize| u16::try_from(at).expect("Flat::add refuses more rules than a u16 counts");
    let patterns = |map: std::collections::BTreeMap<String, usize>| {
        Cow::Owned(map.into_iter().map(|(pattern, at)| (Text::Owned(pattern), index(at))).collect())
    };
    let texts = |list: Vec<String>| Cow::Owned(list.into_iter().map(Text::Owned).collect::<Vec<_>>());
    let when =
        |when: FullWhen| When { attributes: texts(when.attributes), test: when.test, values: texts(when.values), then: index(when.then) };
    let judgement = |full: Full| Judgement {
        id: Text::Owned(full.id),
        service: Text::Owned(full.service),
        class: full.class,
        facets: full.facets,
        replacement: Text::Owned(full.replacement),
        exit_path: Text::Owned(full.exit_path),
        effort_days: full.effort_days,
        why: Text::Owned(full.why),
        evidence_url: Text::Owned(full.evidence_url),
        evidence_date: Text::Owned(full.evidence_date),
        confidence: full.confidence,
        whens: Cow::Owned(full.whens.into_iter().map(when).collect()),
    };
    Table {
        exact: patterns(flat.exact),
        prefixes: patterns(flat.prefixes),
        judgements: Cow::Owned(flat.judgements.into_iter().map(judgement).collect()),
    }
}
