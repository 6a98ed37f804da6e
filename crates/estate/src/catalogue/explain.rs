//! What `freehold audit explain TYPE` shows: the rule, what matched, what refines it, and what was perhaps meant.

use std::fmt;

use serde::Serialize;

use super::Verdict;
use super::key::canonical;
use super::table::{Hit, Table, Text};
use super::words::Test;

/// The rule for one type name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The name that was asked for.
    pub type_name: String,
    /// What matched it.
    pub matched: Matched,
    /// Whether the rule is the user's.
    pub by_user: bool,
    /// The judgement without any attribute known.
    pub verdict: Verdict,
    /// The attributes that change it, first match wins.
    pub refinements: Vec<Refinement>,
}

/// What matched a type name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matched {
    /// The whole name.
    Type(String),
    /// The longest prefix.
    Prefix(String),
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matched::Type(_) => f.write_str("its whole name"),
            Matched::Prefix(prefix) => write!(f, "the prefix {prefix}"),
        }
    }
}

/// A judgement that holds when an attribute has a certain value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refinement {
    /// Names of the attribute, one per notation.
    pub attributes: Vec<Text>,
    /// How its value is tested: `is`, `starts_with`, `contains`.
    pub test: &'static str,
    /// The values.
    pub values: Vec<Text>,
    /// What then holds.
    pub verdict: Verdict,
}

impl Refinement {
    /// The condition in words: `engine is postgres or mysql`.
    pub fn condition(&self) -> String {
        let verb = match self.test {
            test if test == Test::StartsWith.as_str() => "starts with",
            test if test == Test::Contains.as_str() => "contains",
            _ => "is",
        };
        let name = self.attributes.first().map_or("", Text::as_ref);
        let values: Vec<&str> = self.values.iter().map(Text::as_ref).collect();
        format!("{name} {verb} {}", values.join(" or "))
    }
}

pub(super) fn explain(type_name: &str, table: &Table, hit: Hit<'_>, by_user: bool) -> Explanation {
    let judgement = &table.judgements[hit.judgement()];
    let refinements = judgement.whens.iter().map(|when| Refinement {
        attributes: when.attributes.to_vec(),
        test: when.test.as_str(),
        values: when.values.to_vec(),
        verdict: Verdict::of(&table.judgements[usize::from(when.then)]),
    });
    let matched = match hit {
        Hit::Exact(name, _) => Matched::Type(name.to_owned()),
        Hit::Prefix(prefix, _) => Matched::Prefix(prefix.to_owned()),
    };
    Explanation { type_name: type_name.to_owned(), matched, by_user, verdict: Verdict::of(judgement), refinements: refinements.collect() }
}

/// The lists the coverage is tested against.
const LISTS: [&str; 5] = [
    include_str!("../../catalogue/types/terraform-aws.txt"),
    include_str!("../../catalogue/types/terraform-azurerm.txt"),
    include_str!("../../catalogue/types/terraform-google.txt"),
    include_str!("../../catalogue/types/cloudformation.txt"),
    include_str!("../../catalogue/types/arm-lowercase.txt"),
];

pub(super) fn nearest(type_name: &str, count: usize) -> Vec<&'static str> {
    /// A longer name than any that exists is cut, so that the comparison stays bounded.
    const NAME_CHARS_MAX: usize = 200;
    /// Below this, two names have too little in common; it also bounds how far their lengths may differ.
    const SCORE_MIN: f64 = 0.6;
    let asked: String = canonical(type_name).chars().take(NAME_CHARS_MAX).collect();
    let names = LISTS
        .iter()
        .flat_map(|list| list.lines())
        .map(str::trim)
        .filter(|name| !name.is_empty() && 5 * name.len().abs_diff(asked.len()) <= 2 * name.len().max(asked.len()));
    let mut scored: Vec<(f64, &'static str)> = names
        .map(|name| (strsim::normalized_damerau_levenshtein(&asked, &canonical(name)), name))
        .filter(|(score, _)| *score > SCORE_MIN)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.truncate(count);
    scored.into_iter().map(|(_, name)| name).collect()
}
