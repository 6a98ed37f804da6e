//! How much data has to leave, and what that costs at list price.
//!
//! Volumes are given by the caller or read from sizes that the code declares; prices are data with source and date
//! (`prices/egress.toml`). **Invariant:** what is not known is said to be unknown, never taken for zero.

use serde::{Deserialize, Serialize};

use super::PlanError;
use crate::catalogue::DataPortability;
use crate::contracts::Amount;
use crate::finding::{Audit, Finding, provider_key};

/// Egress from one provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Egress {
    /// The provider.
    pub provider: &'static str,
    /// Gigabytes that leave.
    pub gb: u64,
    /// Where the volume comes from: `given` or `declared sizes`.
    pub volume_from: &'static str,
    /// Stores whose size the code does not declare; they are not in the volume.
    pub stores_of_unknown_size: usize,
    /// The list price in US dollars, for all of it within one month.
    pub list_price_usd: Option<Amount>,
    /// What the price is of.
    pub price_name: Option<String>,
    /// Where the price stands.
    pub price_url: Option<String>,
    /// When it was read.
    pub price_date: Option<String>,
    /// What the provider says to those who leave.
    pub leaving: Option<String>,
    /// Where it says so.
    pub leaving_url: Option<String>,
}

/// A volume given by the user: for one provider, or for all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The provider's key; none stands for the provider with most resources.
    pub provider: Option<String>,
    /// Gigabytes.
    pub gb: u64,
}

impl std::str::FromStr for Volume {
    type Err = String;

    /// `5000` or `aws=5000`.
    fn from_str(text: &str) -> Result<Volume, String> {
        let (provider, gb) = match text.split_once('=') {
            Some((provider, gb)) => (Some(provider.trim().to_ascii_lowercase()), gb),
            None => (None, text),
        };
        if let Some(provider) = &provider
            && !["aws", "azure", "gcp"].contains(&provider.as_str())
        {
            return Err(format!("{provider:?} has no egress price; use aws, azure or gcp"));
        }
        let gb = gb.trim().parse::<u64>().ok().filter(|gb| *gb <= 1_000_000_000_000);
        let gb = gb.ok_or_else(|| format!("{text:?} is not a volume; write gigabytes, such as 5000 or aws=5000"))?;
        Ok(Volume { provider, gb })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    provider: Vec<Price>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    key: String,
    name: String,
    url: String,
    date: String,
    leaving: String,
    leaving_url: String,
    tiers: Vec<Tier>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    up_to_gb: Option<u64>,
    usd_per_gb: Amount,
}

/// The egress of an audit, provider by provider.
///
/// # Errors
/// When the price data that ships with Freehold is damaged.
pub fn egress(audit: &Audit<'_>, given: &[Volume]) -> Result<Vec<Egress>, PlanError> {
    let prices: Prices = toml::from_str(include_str!("../../prices/egress.toml")).map_err(|error| PlanError::Data(error.to_string()))?;
    let main = audit.by_provider.iter().filter(|(provider, _)| prices.provider.iter().any(|price| price.key == provider_key(**provider)));
    let main = main.max_by_key(|(_, count)| **count).map(|(provider, _)| provider_key(*provider));
    let mut rows = Vec::new();
    for price in &prices.provider {
        let findings: Vec<&Finding<'_>> =
            audit.findings.iter().filter(|finding| provider_key(finding.resource.provider) == price.key && holds_data(finding)).collect();
        let asked = given.iter().rev().find(|volume| volume.provider.as_deref().or(main) == Some(price.key.as_str()));
        if findings.is_empty() && asked.is_none() {
            continue;
        }
        let sizes: Vec<Option<u64>> = findings.iter().map(|finding| declared_gb(finding)).collect();
        let declared = sizes.iter().flatten().fold(0_u64, |sum, gb| sum.saturating_add(*gb));
        let unknown = if asked.is_some() { 0 } else { sizes.iter().filter(|size| size.is_none()).count() };
        let gb = asked.map_or(declared, |volume| volume.gb);
        rows.push(Egress {
            provider: match price.key.as_str() {
                "aws" => "aws",
                "azure" => "azure",
                _ => "gcp",
            },
            gb,
            volume_from: if asked.is_some() { "given" } else { "declared sizes" },
            stores_of_unknown_size: unknown,
            list_price_usd: list_price(price, gb),
            price_name: Some(price.name.clone()),
            price_url: Some(price.url.clone()),
            price_date: Some(price.date.clone()),
            leaving: Some(price.leaving.clone()),
            leaving_url: Some(price.leaving_url.clone()),
        });
    }
    Ok(rows)
}

fn list_price(price: &Price, gb: u64) -> Option<Amount> {
    let (mut sum, mut done) = (Amount::ZERO, 0_u64);
    for tier in &price.tiers {
        let end = tier.up_to_gb.unwrap_or(u64::MAX).min(gb);
        let here = end.saturating_sub(done);
        sum = sum.plus(tier.usd_per_gb.times(i64::try_from(here).ok()?, 1)?)?;
        done = done.max(end);
    }
    Some(sum)
}

/// Whether the customer's data lies in a resource: it is owned and its data has to be taken along.
pub(super) fn holds_data(finding: &Finding<'_>) -> bool {
    use crate::catalogue::Class;
    let stateful = finding.verdict.facets.data_portability != DataPortability::Stateless;
    stateful && !finding.resource.data && !matches!(finding.verdict.class, Class::N | Class::U | Class::G)
}

/// Names of attributes that hold a size, with their unit in megabytes.
const SIZES: [(&str, u64); 16] = [
    ("allocated_storage", 1_024),
    ("allocatedstorage", 1_024),
    ("disk_size_gb", 1_024),
    ("disksizegb", 1_024),
    ("storage_size_gb", 1_024),
    ("storagesizegb", 1_024),
    ("storage_size_in_gb", 1_024),
    ("size_gb", 1_024),
    ("capacity_gb", 1_024),
    ("volume_size", 1_024),
    ("volumesize", 1_024),
    ("max_size_gb", 1_024),
    ("storage_capacity", 1_024),
    ("storage_mb", 1),
    ("disk_size", 1_024),
    ("size", 1_024),
];

/// The declared size of a resource in gigabytes, all of its instances together.
pub fn declared_gb(finding: &Finding<'_>) -> Option<u64> {
    let resource = finding.resource;
    let mut total = 0_u64;
    for (name, value) in &resource.attributes {
        let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
        let Some((_, unit)) = SIZES.iter().find(|(known, _)| *known == last) else { continue };
        if last == "size" && !is_disk(&resource.kind) {
            continue;
        }
        let Some(number) = value.known().and_then(|text| text.trim().parse::<u64>().ok()) else { continue };
        total = total.saturating_add(number.saturating_mul(*unit));
    }
    (total > 0).then(|| total.div_ceil(1_024).saturating_mul(u64::from(resource.count)))
}

fn is_disk(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.contains("volume") || kind.contains("disk") || kind.contains("snapshot")
}
