//! The catalogue: what each type of resource is to whoever wants to leave its provider, and who says so.
//!
//! Rules are data (`catalogue/*.toml`), compiled in as tables by the build script; a user's `freehold-audit.toml`
//! adds to them, overrides them and accepts findings. Knows no file system and no clock: the text of the user's
//! rules and today's date are handed in.
//!
//! **Invariant:** a type without a rule is [`Class::U`]; nothing is judged by its provider alone.

mod accept;
mod builtin;
mod error;
mod explain;
mod flatten;
mod format;
mod key;
mod table;
mod user;
mod words;

use std::borrow::Cow;

use serde::Serialize;

pub use accept::Acceptance;
pub use error::CatalogueError;
pub use explain::{Explanation, Matched, Refinement};
pub use table::Text;
pub use words::{ApplicationPortability, Class, DataPortability, Effort, Facets, Interoperability};

use crate::resource::Resource;
use table::{Hit, Judgement, Table};

/// Where a judgement can be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The page that documents the service or the open project.
    pub url: Text,
    /// When it was looked at, `YYYY-MM-DD`.
    pub date: Text,
}

/// What the catalogue says of one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The class.
    pub class: Class,
    /// The service, as its provider calls it.
    pub service: Text,
    /// One value per facet.
    pub facets: Facets,
    /// What to run instead.
    pub replacement: Text,
    /// How the data leaves.
    pub exit_path: Text,
    /// Working days for one instance.
    pub effort_days: Effort,
    /// Why it has this class.
    pub why: Text,
    /// Where that can be read; none for unknown types and for users' rules that name none.
    pub evidence: Option<Evidence>,
    /// 0 to 100: the rule's confidence, lowered by the resource's own.
    pub confidence: u8,
    /// Id of the rule; empty for unknown types.
    pub rule: Text,
}

impl Verdict {
    fn of(judgement: &Judgement) -> Self {
        let evidence = (!judgement.evidence_url.is_empty())
            .then(|| Evidence { url: judgement.evidence_url.clone(), date: judgement.evidence_date.clone() });
        Verdict {
            class: judgement.class,
            service: judgement.service.clone(),
            facets: judgement.facets,
            replacement: judgement.replacement.clone(),
            exit_path: judgement.exit_path.clone(),
            effort_days: judgement.effort_days,
            why: judgement.why.clone(),
            evidence,
            confidence: judgement.confidence,
            rule: judgement.id.clone(),
        }
    }

    fn unknown() -> Self {
        Verdict {
            class: Class::U,
            service: Cow::Borrowed("unknown"),
            facets: Facets {
                interoperability: Interoperability::Proprietary,
                data_portability: DataPortability::Locked,
                application_portability: ApplicationPortability::Redesign,
            },
            replacement: Cow::Borrowed(""),
            exit_path: Cow::Borrowed(""),
            effort_days: Effort::default(),
            why: Cow::Borrowed(
                "The catalogue has no rule for this type; its facets are the worst case until someone looks. \
                 Add a [[rule]] for it to freehold-audit.toml.",
            ),
            evidence: None,
            confidence: 0,
            rule: Cow::Borrowed(""),
        }
    }
}

/// The rules, built in and the user's, and the findings the user accepts.
#[derive(Clone, Debug)]
pub struct Catalogue {
    builtin: &'static Table,
    user: Table,
    accepted: Vec<Acceptance>,
}

impl Catalogue {
    /// The rules that ship with Freehold. Costs nothing: the tables are compiled in.
    pub fn builtin() -> &'static Catalogue {
        static BUILTIN: Catalogue = Catalogue {
            builtin: &builtin::TABLE,
            user: Table { exact: Cow::Borrowed(&[]), prefixes: Cow::Borrowed(&[]), judgements: Cow::Borrowed(&[]) },
            accepted: Vec::new(),
        };
        &BUILTIN
    }

    /// The built-in rules with those of a `freehold-audit.toml` before them.
    ///
    /// # Errors
    /// The text is not TOML, has an unknown key or word, or a rule lacks something; the message has the line.
    pub fn with_user_rules(toml_text: &str) -> Result<Catalogue, CatalogueError> {
        let (user, accepted) = user::read(toml_text, &builtin::TABLE)?;
        Ok(Catalogue { builtin: &builtin::TABLE, user, accepted })
    }

    /// Judges one resource by its type and its known attributes.
    ///
    /// The confidence is the rule's times the resource's. A data source is read and not owned: its effort is at most
    /// half a day, because only the reference to it has to be changed.
    pub fn judge(&self, resource: &Resource) -> Verdict {
        let known = |name: &str| resource.attributes.get(name).and_then(|value| value.known());
        let real_type = real_type_attribute(&resource.kind).and_then(known);
        let Some((table, hit)) = real_type.and_then(|kind| self.find(kind)).or_else(|| self.find(&resource.kind)) else {
            return Verdict::unknown();
        };
        let mut judgement = &table.judgements[hit.judgement()];
        for when in judgement.whens.iter() {
            let value = when.attributes.iter().find_map(|name| known(name));
            if value.is_some_and(|value| when.fits(value)) {
                judgement = &table.judgements[usize::from(when.then)];
                break;
            }
        }
        let mut verdict = Verdict::of(judgement);
        let percent = u16::from(verdict.confidence) * u16::from(resource.confidence.min(100)) / 100;
        verdict.confidence = u8::try_from(percent).unwrap_or(100);
        if resource.data {
            verdict.effort_days = Effort { low: 0.0, high: verdict.effort_days.high.min(0.5) };
        }
        verdict
    }

    /// The rule for a type name, what matched, and the attributes that refine it; none for an unknown type.
    pub fn explain(&self, type_name: &str) -> Option<Explanation> {
        let (table, hit) = self.find(type_name)?;
        let by_user = std::ptr::eq(table, &self.user);
        Some(explain::explain(type_name, table, hit, by_user))
    }

    /// The known type names nearest to one that is not known, best first.
    pub fn nearest(&self, type_name: &str, count: usize) -> Vec<&'static str> {
        explain::nearest(type_name, count)
    }

    /// The acceptance, if any, that covers a finding on this resource and has not expired.
    pub fn accepted(&self, resource: &Resource, verdict: &Verdict, today: time::Date) -> Option<&Acceptance> {
        self.accepted.iter().find(|acceptance| acceptance.expires >= today && acceptance.covers(resource, verdict))
    }

    /// All acceptances, in the order of the file; compare `expires` with today to warn about old ones.
    pub fn acceptances(&self) -> &[Acceptance] {
        &self.accepted
    }

    fn find(&self, kind: &str) -> Option<(&Table, Hit<'_>)> {
        let key = key::canonical(kind);
        if let Some(hit) = self.user.find(&key) {
            return Some((&self.user, hit));
        }
        self.builtin.find(&key).map(|hit| (self.builtin, hit))
    }
}

/// The attribute in which a generic type names the type that it really is.
fn real_type_attribute(kind: &str) -> Option<&'static str> {
    match kind {
        "azapi_resource" | "azapi_update_resource" | "azapi_resource_action" | "azapi_data_plane_resource" => Some("type"),
        "aws_cloudcontrolapi_resource" => Some("type_name"),
        _ => None,
    }
}
