//! Resources judged by the catalogue, and what they add up to.
//!
//! An [`Audit`] borrows the estate: a finding is a resource and its verdict. Reports, plans and baselines are made
//! from it. Knows no format.
//!
//! **Invariant:** every resource of the estate is one finding, in the estate's order, accepted ones included.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use time::Date;

use crate::catalogue::{Catalogue, Class, Effort, Verdict};
use crate::lock_in::LockIn;
use crate::resource::{Estate, PartlyRead, Provider, Resource, Unresolved};

/// What the catalogue adds to a service's name for resources that are judged with another one.
const PART: &str = " (part of it)";

/// A resource and what the catalogue says of it.
#[derive(Clone, Debug)]
pub struct Finding<'e> {
    /// The resource.
    pub resource: &'e Resource,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is accepted, where a valid acceptance covers it.
    pub accepted: Option<String>,
    /// Whether the baseline has it.
    pub known: bool,
}

impl Finding<'_> {
    /// What tells this finding from others from one run to the next: the line is not part of it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.resource.file, &self.resource.address, &self.resource.kind, self.verdict.class.letter())
    }

    /// The service that it counts to: the catalogue marks parts of a service, which do not count on their own.
    pub fn service(&self) -> &str {
        let name = self.verdict.service.as_ref();
        name.strip_suffix(PART).unwrap_or(name)
    }

    /// Whether it is reported: neither accepted nor in the baseline.
    pub fn is_open(&self) -> bool {
        self.accepted.is_none() && !self.known
    }
}

fn fingerprint(file: &str, address: &str, kind: &str, class: &str) -> String {
    [file, address, kind, class].join("\u{1f}")
}

/// An estate judged.
#[derive(Clone, Debug)]
pub struct Audit<'e> {
    /// Files that belonged to a notation.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// The day of the audit.
    pub today: Date,
    /// All findings, in the estate's order.
    pub findings: Vec<Finding<'e>>,
    /// Findings by class, every class present.
    pub by_class: BTreeMap<Class, usize>,
    /// Findings by provider, those without one left out.
    pub by_provider: BTreeMap<Provider, usize>,
    /// The lock-in figure and its parts.
    pub lock_in: LockIn,
    /// Files read in part.
    pub read_partly: &'e [PartlyRead],
    /// Modules that are missing.
    pub unresolved: &'e [Unresolved],
    /// Whether a baseline was applied.
    pub has_baseline: bool,
}

/// Judges an estate on a day; acceptances that have expired by then no longer count.
pub fn audit<'e>(estate: &'e Estate, catalogue: &Catalogue, today: Date) -> Audit<'e> {
    let findings: Vec<Finding<'e>> = estate
        .resources
        .iter()
        .map(|resource| {
            let verdict = catalogue.judge(resource);
            let accepted = catalogue.accepted(resource, &verdict, today).map(|acceptance| acceptance.reason.clone());
            Finding { resource, verdict, accepted, known: false }
        })
        .collect();
    let mut by_class: BTreeMap<Class, usize> = Class::ALL.into_iter().map(|class| (class, 0)).collect();
    let mut by_provider = BTreeMap::new();
    for finding in &findings {
        *by_class.entry(finding.verdict.class).or_default() += 1;
        *by_provider.entry(finding.resource.provider).or_default() += 1;
    }
    let lock_in = LockIn::of(&findings);
    Audit {
        files: estate.files,
        bytes: estate.bytes,
        today,
        findings,
        by_class,
        by_provider,
        lock_in,
        read_partly: &estate.read_partly,
        unresolved: &estate.unresolved,
        has_baseline: false,
    }
}

impl<'e> Audit<'e> {
    /// The findings that are reported.
    pub fn open(&self) -> impl Iterator<Item = &Finding<'e>> {
        self.findings.iter().filter(|finding| finding.is_open())
    }

    /// How many findings are accepted.
    pub fn accepted_count(&self) -> usize {
        self.findings.iter().filter(|finding| finding.accepted.is_some()).count()
    }

    /// How many findings the baseline has.
    pub fn known_count(&self) -> usize {
        self.findings.iter().filter(|finding| finding.known).count()
    }

    /// Marks what an earlier report has.
    pub fn apply(&mut self, baseline: &Baseline) {
        self.has_baseline = true;
        for finding in &mut self.findings {
            finding.known = baseline.fingerprints.contains(&finding.fingerprint());
        }
    }

    /// The open findings that reach a threshold of `--fail-on`.
    pub fn failing(&self, thresholds: &[Class]) -> usize {
        self.open().filter(|finding| thresholds.iter().any(|threshold| reaches(finding.verdict.class, *threshold))).count()
    }

    /// The findings of a set by service, most work first.
    pub fn groups<'a>(&'a self, keep: impl Fn(&Finding<'e>) -> bool) -> Vec<Group<'a, 'e>> {
        let mut index: BTreeMap<(Class, Provider, &str), Vec<&'a Finding<'e>>> = BTreeMap::new();
        for finding in self.findings.iter().filter(|finding| keep(finding)) {
            let key = (finding.verdict.class, finding.resource.provider, finding.service());
            index.entry(key).or_default().push(finding);
        }
        let mut groups: Vec<Group<'a, 'e>> = index
            .into_iter()
            .map(|((class, provider, service), findings)| Group { class, provider, service, effort: group_effort(&findings), findings })
            .collect();
        groups.sort_by(|one, other| {
            (other.class.cmp(&one.class))
                .then(other.effort.high.total_cmp(&one.effort.high))
                .then(other.findings.len().cmp(&one.findings.len()))
                .then((one.provider, one.service).cmp(&(other.provider, other.service)))
        });
        groups
    }
}

/// Whether a class is as bad as a threshold: the threshold itself or more work. Unknown is reached only by unknown.
pub fn reaches(class: Class, threshold: Class) -> bool {
    match threshold {
        Class::U | Class::N => class == threshold,
        _ => class >= threshold,
    }
}

/// The findings of one service and class.
#[derive(Clone, Debug)]
pub struct Group<'a, 'e> {
    /// The class.
    pub class: Class,
    /// The provider.
    pub provider: Provider,
    /// The service.
    pub service: &'a str,
    /// Working days for all of them.
    pub effort: Effort,
    /// The findings.
    pub findings: Vec<&'a Finding<'e>>,
}

impl<'a> Group<'a, '_> {
    /// The texts of a field that differ, most frequent first, empty ones left out.
    pub fn distinct(&self, field: impl Fn(&'a Verdict) -> &'a str) -> Vec<&'a str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(field(&finding.verdict)).or_default() += 1;
        }
        counts.remove("");
        let mut texts: Vec<(&str, usize)> = counts.into_iter().collect();
        texts.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        texts.into_iter().map(|(text, _)| text).collect()
    }

    /// The types in it, as one text.
    pub fn distinct_kinds(&self) -> String {
        let kinds: std::collections::BTreeSet<&str> = self.findings.iter().map(|finding| finding.resource.kind.as_str()).collect();
        kinds.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// Working days for several resources of one service: the knowledge is bought once, so the low end is that of the
/// hardest one alone, and each doubling of the number adds half the high end again. Rounded to half days.
pub fn group_effort(findings: &[&Finding<'_>]) -> Effort {
    let (mut low, mut high, mut owned) = (0.0_f32, 0.0_f32, 0_u32);
    for finding in findings {
        low = low.max(finding.verdict.effort_days.low);
        high = high.max(finding.verdict.effort_days.high);
        owned = owned.saturating_add(u32::from(!finding.resource.data));
    }
    let doublings = owned.max(1).ilog2() as f32;
    Effort { low: half_days(low), high: half_days(high * (1.0 + doublings / 2.0)) }
}

fn half_days(days: f32) -> f32 {
    (days * 2.0).ceil() / 2.0
}

/// The name of a provider for people.
pub fn provider_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "AWS",
        Provider::Azure => "Azure",
        Provider::Gcp => "Google Cloud",
        Provider::Kubernetes => "Kubernetes",
        Provider::Other => "other",
    }
}

/// The name of a provider in data.
pub fn provider_key(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "aws",
        Provider::Azure => "azure",
        Provider::Gcp => "gcp",
        Provider::Kubernetes => "kubernetes",
        Provider::Other => "other",
    }
}

/// An earlier JSON report, by fingerprints.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    fingerprints: HashSet<String>,
}

/// Why a baseline cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaselineError {
    /// Not JSON of the right shape.
    #[error("the baseline is not a JSON report of `freehold audit --format json`: {0}")]
    NotAReport(String),
    /// Another schema.
    #[error("the baseline has schema {0:?}; this version reads \"freehold.audit/1\": make it again")]
    Schema(String),
}

#[derive(Deserialize)]
struct BaselineFile {
    schema: String,
    findings: Vec<BaselineFinding>,
}

#[derive(Deserialize)]
struct BaselineFinding {
    file: String,
    address: String,
    r#type: String,
    class: String,
}

impl Baseline {
    /// Reads an earlier report.
    ///
    /// # Errors
    /// When it is not a JSON report of this schema.
    pub fn read(text: &str) -> Result<Baseline, BaselineError> {
        let file: BaselineFile = serde_json::from_str(text).map_err(|error| BaselineError::NotAReport(error.to_string()))?;
        if file.schema != crate::report::json::SCHEMA {
            return Err(BaselineError::Schema(file.schema));
        }
        let fingerprints =
            file.findings.iter().map(|found| fingerprint(&found.file, &found.address, &found.r#type, &found.class)).collect();
        Ok(Baseline { fingerprints })
    }

    /// How many findings it has.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }
}
