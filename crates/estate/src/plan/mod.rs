//! The exit plan: in which order services move, to what, with which steps, work and cost.
//!
//! Built from an audit, and from contracts where there are any. Formats have modules of their own.
//!
//! **Invariant:** every owned resource that is tied to a provider is in exactly one move, or listed as unknown.

pub mod egress;
mod html;
mod markdown;
pub mod order;
mod shared;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::Date;

use crate::catalogue::{Class, DataPortability, Effort};
use crate::contracts::clocks::{Ask, Clock, asks, clocks};
use crate::contracts::{Amount, Contract, dates};
use crate::finding::{Audit, Finding, group_effort, provider_key};
use crate::resource::Provider;

pub use egress::{Egress, Volume};
pub use html::to_html;
pub use markdown::to_markdown;

/// The schema's tag.
pub const SCHEMA: &str = "freehold.plan/1";

/// Why a plan could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A defect in the data that ships with Freehold.
    #[error("the plan's own data is damaged: {0}")]
    Data(String),
}

/// The stage of an exit that a move belongs to; stages follow each other within a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// What has to stand on the target before anything else: access, networks, keys.
    Foundation,
    /// What holds data.
    Data,
    /// What runs.
    Workload,
}

/// One service that moves.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// 1-based place in the order.
    pub step: usize,
    /// 1-based wave: moves of one wave may run at the same time.
    pub wave: usize,
    /// The stage.
    pub stage: Stage,
    /// The provider's key.
    pub provider: &'static str,
    /// The service.
    pub service: String,
    /// The class of its hardest resource.
    pub class: Class,
    /// Resources by class.
    pub resources: BTreeMap<Class, usize>,
    /// What to use instead; empty when there is no replacement.
    pub replacements: Vec<String>,
    /// How data leaves.
    pub exit_paths: Vec<String>,
    /// What to do, in order.
    pub steps: Vec<String>,
    /// Working days.
    pub effort_days: Effort,
    /// Gigabytes that its code declares.
    pub declared_gb: Option<u64>,
    /// Services that move before it, because it refers to them.
    pub after: Vec<String>,
    /// Services that it moves together with, because they refer to each other.
    pub together: Vec<String>,
    /// The part of Freehold that takes it over.
    pub freehold: Option<String>,
}

/// A part of the estate that Freehold itself takes over.
#[derive(Clone, Debug, Serialize)]
pub struct TakenOver {
    /// `models`, `instances`, `buckets`, `images`.
    pub key: String,
    /// For people.
    pub title: String,
    /// How.
    pub how: String,
    /// Resources by type.
    pub types: BTreeMap<String, usize>,
}

/// Something that has no replacement, or whose state stays behind.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// The provider's key.
    pub provider: &'static str,
    /// The service.
    pub service: String,
    /// Why.
    pub why: String,
    /// What can be saved, and how.
    pub exit_path: String,
    /// Addresses, at most 20.
    pub addresses: Vec<String>,
}

/// A contract that ties the estate.
#[derive(Clone, Debug, Serialize)]
pub struct Tie {
    /// The contract's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its provider.
    pub provider: String,
    /// When it ends.
    #[serde(serialize_with = "dates::iso::serialize")]
    pub ends: Date,
    /// What is still committed today.
    pub remaining: Option<Amount>,
    /// What leaving today costs under the contract.
    pub early_termination: Option<Amount>,
    /// The currency of both.
    pub currency: Option<String>,
    /// Its dates.
    pub clocks: Vec<Clock>,
    /// The clauses to ask for.
    pub asks: Vec<Ask>,
}

/// The exit plan.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The day it was made for.
    #[serde(serialize_with = "dates::iso::serialize")]
    pub date: Date,
    /// The lock-in figure.
    pub lock_in: f64,
    /// Working days of all moves.
    pub effort_days: Effort,
    /// The moves, in order.
    pub moves: Vec<Move>,
    /// What Freehold takes over.
    pub freehold: Vec<TakenOver>,
    /// What has no replacement.
    pub without_replacement: Vec<Loss>,
    /// Types that the catalogue does not know, with their number: look before planning.
    pub unknown: BTreeMap<String, usize>,
    /// Egress by provider.
    pub egress: Vec<Egress>,
    /// Contracts with the estate's providers.
    pub contracts: Vec<Tie>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    part: Vec<PartData>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartData {
    key: String,
    title: String,
    how: String,
    types: Vec<String>,
}

impl PartData {
    fn takes(&self, kind: &str) -> bool {
        self.types.iter().any(|prefix| match prefix.strip_suffix('$') {
            Some(whole) => kind == whole,
            None => kind.starts_with(prefix.as_str()),
        })
    }
}

/// Makes the plan of an audit. Volumes given replace declared sizes; contracts with other providers are left out.
///
/// # Errors
/// When the data that ships with Freehold is damaged; a test holds that it is not.
pub fn plan(audit: &Audit<'_>, volumes: &[Volume], contracts: &[Contract]) -> Result<Plan, PlanError> {
    let parts: Parts = toml::from_str(include_str!("../../plan/takeover.toml")).map_err(|error| PlanError::Data(error.to_string()))?;
    let services = Services::of(audit);
    let moves = moves(&services, &parts.part);
    let mut unknown = BTreeMap::new();
    for finding in audit.findings.iter().filter(|finding| finding.verdict.class == Class::U && !finding.resource.data) {
        *unknown.entry(finding.resource.kind.clone()).or_default() += 1;
    }
    Ok(Plan {
        schema: SCHEMA,
        date: audit.today,
        lock_in: audit.lock_in.figure,
        effort_days: crate::report::total(moves.iter().map(|one| &one.effort_days)),
        freehold: taken_over(&services, &parts.part),
        without_replacement: losses(&services),
        unknown,
        egress: egress::egress(audit, volumes)?,
        contracts: ties(audit, contracts),
        moves,
    })
}

/// The owned, tied resources by service.
struct Services<'a, 'e> {
    keys: Vec<(Provider, &'a str)>,
    findings: Vec<Vec<&'a Finding<'e>>>,
    depends_on: Vec<BTreeSet<usize>>,
}

impl<'a, 'e> Services<'a, 'e> {
    fn of(audit: &'a Audit<'e>) -> Services<'a, 'e> {
        let mut index: BTreeMap<(Provider, &'a str), Vec<&'a Finding<'e>>> = BTreeMap::new();
        for finding in &audit.findings {
            if !finding.resource.data && !matches!(finding.verdict.class, Class::N | Class::U) {
                index.entry((finding.resource.provider, finding.service())).or_default().push(finding);
            }
        }
        let (keys, findings): (Vec<_>, Vec<_>) = index.into_iter().unzip();
        let mut services = Services { keys, findings, depends_on: Vec::new() };
        services.depends_on = services.edges();
        services
    }

    fn edges(&self) -> Vec<BTreeSet<usize>> {
        let mut places: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
        for (service, findings) in self.findings.iter().enumerate() {
            for finding in findings {
                places.entry(&finding.resource.address).or_default().push((folder(&finding.resource.file), service));
            }
        }
        let find = |from: &str, address: &str| {
            let candidates = places.get(address)?;
            let near = candidates.iter().find(|(folder, _)| *folder == from);
            near.or(if candidates.len() == 1 { candidates.first() } else { None }).map(|(_, service)| *service)
        };
        let targets = |(service, findings): (usize, &Vec<&Finding<'_>>)| {
            let mut on = BTreeSet::new();
            for finding in findings {
                let from = folder(&finding.resource.file);
                on.extend(finding.resource.references.iter().filter_map(|address| find(from, address)).filter(|other| *other != service));
            }
            on
        };
        self.findings.iter().enumerate().map(targets).collect()
    }

    fn name(&self, index: usize) -> String {
        self.keys[index].1.to_owned()
    }
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn moves(services: &Services<'_, '_>, parts: &[PartData]) -> Vec<Move> {
    let places = order::places(&services.depends_on);
    let mut moves: Vec<Move> = Vec::new();
    for (index, findings) in services.findings.iter().enumerate() {
        let (provider, service) = services.keys[index];
        let mut resources: BTreeMap<Class, usize> = BTreeMap::new();
        for finding in findings {
            *resources.entry(finding.verdict.class).or_default() += 1;
        }
        let class = resources.keys().copied().max_by_key(|class| (crate::lock_in::weight(*class), *class)).unwrap_or(Class::U);
        let hardest: Vec<&Finding<'_>> = findings.iter().copied().filter(|finding| finding.verdict.class == class).collect();
        let effort = effort(findings, &resources);
        let part = parts.iter().find(|part| findings.iter().any(|finding| part.takes(&finding.resource.kind.to_ascii_lowercase())));
        let declared = findings.iter().filter(|finding| egress::holds_data(finding)).filter_map(|finding| egress::declared_gb(finding));
        let declared_gb = declared.reduce(u64::saturating_add);
        let place = &places[index];
        let names = |set: &mut dyn Iterator<Item = usize>| set.map(|other| services.name(other)).collect::<Vec<_>>();
        moves.push(Move {
            step: 0,
            wave: place.wave + 1,
            stage: stage(class, findings),
            provider: provider_key(provider),
            service: service.to_owned(),
            class,
            resources,
            replacements: distinct(&hardest, |finding| &finding.verdict.replacement),
            exit_paths: distinct(&hardest, |finding| &finding.verdict.exit_path),
            steps: steps::steps(&hardest, part.map(|part| part.how.as_str())),
            effort_days: effort,
            declared_gb,
            after: names(&mut services.depends_on[index].iter().copied().filter(|other| !place.together.contains(other))),
            together: names(&mut place.together.iter().copied()),
            freehold: part.map(|part| part.key.clone()),
        });
    }
    moves.sort_by(|one, other| {
        (one.wave.cmp(&other.wave))
            .then(one.stage.cmp(&other.stage))
            .then(other.declared_gb.cmp(&one.declared_gb))
            .then(other.effort_days.high.total_cmp(&one.effort_days.high))
            .then((one.provider, &one.service).cmp(&(other.provider, &other.service)))
    });
    for (index, one) in moves.iter_mut().enumerate() {
        one.step = index + 1;
    }
    moves
}

fn effort(findings: &[&Finding<'_>], resources: &BTreeMap<Class, usize>) -> Effort {
    let by_class: Vec<Effort> = resources
        .keys()
        .map(|class| {
            let here: Vec<&Finding<'_>> = findings.iter().copied().filter(|finding| finding.verdict.class == *class).collect();
            group_effort(&here)
        })
        .collect();
    crate::report::total(by_class.iter())
}

fn stage(class: Class, findings: &[&Finding<'_>]) -> Stage {
    if matches!(class, Class::G) {
        Stage::Foundation
    } else if findings.iter().any(|finding| egress::holds_data(finding)) {
        Stage::Data
    } else if class == Class::M && findings.iter().all(|finding| is_network(&finding.resource.kind)) {
        Stage::Foundation
    } else {
        Stage::Workload
    }
}

fn is_network(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    ["vpc", "subnet", "route", "network", "security_group", "securitygroup", "gateway", "firewall", "_eip", "::eip", "dns"]
        .iter()
        .any(|word| kind.contains(word))
}

fn distinct<'a>(findings: &[&'a Finding<'_>], field: impl Fn(&'a Finding<'_>) -> &'a str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for finding in findings {
        let text = field(finding);
        if !text.is_empty() && !texts.iter().any(|known| known == text) && texts.len() < 5 {
            texts.push(text.to_owned());
        }
    }
    texts
}

fn taken_over(services: &Services<'_, '_>, parts: &[PartData]) -> Vec<TakenOver> {
    let mut rows = Vec::new();
    for part in parts {
        let mut types: BTreeMap<String, usize> = BTreeMap::new();
        for finding in services.findings.iter().flatten() {
            if part.takes(&finding.resource.kind.to_ascii_lowercase()) {
                *types.entry(finding.resource.kind.clone()).or_default() += 1;
            }
        }
        if !types.is_empty() {
            rows.push(TakenOver { key: part.key.clone(), title: part.title.clone(), how: part.how.clone(), types });
        }
    }
    rows
}

fn losses(services: &Services<'_, '_>) -> Vec<Loss> {
    let mut rows: BTreeMap<(usize, &str, &str), Vec<String>> = BTreeMap::new();
    for (index, findings) in services.findings.iter().enumerate() {
        for finding in findings {
            let replacement = finding.verdict.replacement.trim();
            let nothing = replacement.is_empty() || replacement.eq_ignore_ascii_case("none");
            let stays = finding.verdict.facets.data_portability >= DataPortability::Partial;
            if (nothing && finding.verdict.class != Class::G) || (stays && finding.verdict.class == Class::E) {
                rows.entry((index, finding.verdict.why.as_ref(), finding.verdict.exit_path.as_ref()))
                    .or_default()
                    .push(finding.resource.address.clone());
            }
        }
    }
    let loss = |((index, why, exit_path), addresses): ((usize, &str, &str), Vec<String>)| Loss {
        provider: provider_key(services.keys[index].0),
        service: services.name(index),
        why: why.to_owned(),
        exit_path: exit_path.to_owned(),
        addresses: addresses.into_iter().take(20).collect(),
    };
    rows.into_iter().map(loss).collect()
}

fn ties(audit: &Audit<'_>, contracts: &[Contract]) -> Vec<Tie> {
    let providers: BTreeSet<&str> = audit.by_provider.keys().map(|provider| provider_key(*provider)).collect();
    let key = |name: &str| match name.to_ascii_lowercase().as_str() {
        "google" | "google cloud" | "google-cloud" => "gcp".to_owned(),
        "amazon" | "amazon web services" => "aws".to_owned(),
        "microsoft" | "microsoft azure" => "azure".to_owned(),
        other => other.to_owned(),
    };
    let mut rows: Vec<Tie> = contracts
        .iter()
        .filter(|contract| contract.period_end > audit.today && providers.contains(key(&contract.provider).as_str()))
        .map(|contract| Tie {
            id: contract.id.clone(),
            title: contract.title().to_owned(),
            provider: contract.provider.clone(),
            ends: contract.period_end,
            remaining: contract.remaining_on(audit.today),
            early_termination: contract.early_termination_on(audit.today),
            currency: contract.currency.clone(),
            clocks: clocks(contract, audit.today),
            asks: asks(contract),
        })
        .collect();
    rows.sort_by(|one, other| (one.ends, &one.id).cmp(&(other.ends, &other.id)));
    rows
}

/// The plan as JSON, ending in a line feed.
///
/// # Errors
/// When a value cannot be written; this would be a defect.
pub fn to_json(plan: &Plan) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(plan)? + "\n")
}
