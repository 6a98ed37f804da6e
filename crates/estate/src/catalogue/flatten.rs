//! From entries that inherit to judgements that stand alone.
//!
//! A part or a refinement takes what it does not say from its service; a user's rule takes it from the built-in rule
//! it overrides. Where the class changes, facets and effort that are not given follow the new class. Also compiled
//! into the build script.
//!
//! **Invariant:** every judgement that comes out is complete, and no two of them claim the same pattern.

use std::collections::BTreeMap;

use super::error::CatalogueError;
use super::format::{Entry, Fields};
use super::key::canonical;
use super::words::{Class, Effort, Facets, Test};

/// A complete judgement with owned text.
#[derive(Clone, Debug)]
pub struct Full {
    pub id: String,
    pub service: String,
    pub class: Class,
    pub facets: Facets,
    pub replacement: String,
    pub exit_path: String,
    pub effort_days: Effort,
    pub why: String,
    pub evidence_url: String,
    pub evidence_date: String,
    pub confidence: u8,
    pub whens: Vec<FullWhen>,
}

/// A refinement by attribute.
#[derive(Clone, Debug)]
pub struct FullWhen {
    pub attributes: Vec<String>,
    pub test: Test,
    pub values: Vec<String>,
    pub then: usize,
}

/// Judgements and the patterns that lead to them.
#[derive(Clone, Debug, Default)]
pub struct Flat {
    pub exact: BTreeMap<String, usize>,
    pub prefixes: BTreeMap<String, usize>,
    pub judgements: Vec<Full>,
}

type Result<T> = std::result::Result<T, CatalogueError>;

impl Flat {
    /// Adds one rule with its parts and refinements. `base` is what it overrides; `strict` wants every field said.
    pub fn add(&mut self, entry: &Entry, base: Option<&Full>, strict: bool) -> Result<()> {
        let id = match (&entry.id, base) {
            (Some(id), _) => id.clone(),
            (None, _) if strict => return Err(error(entry.line, "this rule has no `id`")),
            (None, Some(base)) => format!("{}/user", base.id),
            (None, None) => format!("user-rule-on-line-{}", entry.line),
        };
        let service = resolve(entry.line, id, &entry.fields, base, strict)?;
        for part in &entry.parts {
            let Some(part_id) = &part.id else {
                return Err(error(part.line, "this part has no `id`"));
            };
            let id = format!("{}/{part_id}", service.id);
            let full = resolve(part.line, id, &part.fields, Some(&service), strict)?;
            self.place(part, full, strict)?;
        }
        self.place(entry, service, strict)
    }

    fn place(&mut self, entry: &Entry, mut full: Full, strict: bool) -> Result<()> {
        for when in &entry.whens {
            let name = when.id.clone().unwrap_or_else(|| when.values[0].clone());
            let id = format!("{}?{name}", full.id);
            let then = self.judgements.len();
            self.judgements.push(resolve(when.line, id, &when.fields, Some(&full), strict)?);
            let (attributes, values) = (when.attributes.clone(), when.values.clone());
            full.whens.push(FullWhen { attributes, test: when.test, values, then });
        }
        let at = self.judgements.len();
        if at > usize::from(u16::MAX) {
            return Err(error(entry.line, "there are more rules than 65,535; remove some"));
        }
        let id = full.id.clone();
        self.judgements.push(full);
        let patterns = entry.types.iter().map(|name| (true, canonical(name).into_owned()));
        let prefixes = entry.prefixes.iter().map(|prefix| (false, prefix.to_ascii_lowercase()));
        for (whole, pattern) in patterns.chain(prefixes) {
            let map = if whole { &mut self.exact } else { &mut self.prefixes };
            if let Some(other) = map.insert(pattern.clone(), at) {
                let other = &self.judgements[other].id;
                return Err(error(entry.line, &format!("`{pattern}` is matched by {other} and again by {id}")));
            }
        }
        Ok(())
    }
}

fn error(line: usize, what: &str) -> CatalogueError {
    CatalogueError { line, what: what.to_owned() }
}

fn resolve(line: usize, id: String, fields: &Fields, base: Option<&Full>, strict: bool) -> Result<Full> {
    let missing = |key: &str| error(line, &format!("`{key}` is missing, and there is no rule to take it from"));
    let text = |given: &Option<String>, from: fn(&Full) -> &String, key: &str, needed: bool| match (given, base) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(base)) => Ok(from(base).clone()),
        (None, None) if needed => Err(missing(key)),
        (None, None) => Ok(String::new()),
    };
    let class = fields.class.or(base.map(|base| base.class)).ok_or_else(|| missing("class"))?;
    if class == Class::U {
        return Err(error(line, "U is for types without a rule; use one of S, M, C, X, E, G, N"));
    }
    let same_class = base.filter(|base| base.class == class);
    let facets = same_class.map_or(class.usual_facets(), |base| base.facets);
    let effort = same_class.map_or(class.usual_effort(), |base| base.effort_days);
    let all_facets = fields.interoperability.is_some() && fields.data_portability.is_some() && fields.application_portability.is_some();
    if strict && base.is_none() && !(all_facets && fields.effort_days.is_some()) {
        return Err(error(line, "a service gives its three facets and `effort_days`"));
    }
    let evidence_date = text(&fields.checked, |base| &base.evidence_date, "checked", strict)?;
    if !evidence_date.is_empty() && !is_date(&evidence_date) {
        return Err(error(line, &format!("`checked` is a day such as 2026-11-23, not `{evidence_date}`")));
    }
    Ok(Full {
        id,
        service: text(&fields.name, |base| &base.service, "name", true)?,
        class,
        facets: Facets {
            interoperability: fields.interoperability.unwrap_or(facets.interoperability),
            data_portability: fields.data_portability.unwrap_or(facets.data_portability),
            application_portability: fields.application_portability.unwrap_or(facets.application_portability),
        },
        replacement: text(&fields.replacement, |base| &base.replacement, "replacement", strict)?,
        exit_path: text(&fields.exit_path, |base| &base.exit_path, "exit_path", strict)?,
        effort_days: fields.effort_days.unwrap_or(effort),
        why: text(&fields.why, |base| &base.why, "why", true)?,
        evidence_url: text(&fields.evidence, |base| &base.evidence_url, "evidence", strict)?,
        evidence_date,
        confidence: fields.confidence.or(base.map(|base| base.confidence)).unwrap_or(100),
        whens: Vec::new(),
    })
}

/// Whether this has the shape `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10 && bytes.iter().enumerate().all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
}
