//! The lock-in figure: one number from 0 to 100 for an estate, and the parts that it is made of.
//!
//! For each service in use, the class that takes most work decides its weight; the figure is the mean of the weights.
//! Services are counted, not resources, so that a thousand buckets weigh as much as one. `docs/lock-in-figure.md`
//! says what it is and what it is not.
//!
//! **Invariant:** another entangled (E) resource never lowers it. Its service weighs 100 from then on: either the
//! service is new and the mean moves towards 100, or its weight can only rise.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalogue::Class;
use crate::finding::Finding;
use crate::resource::Provider;

/// The weight of a class; `None` for classes that are not counted.
pub const fn weight(class: Class) -> Option<u32> {
    match class {
        Class::N | Class::U => None,
        Class::S | Class::M => Some(10),
        Class::G => Some(20),
        Class::C => Some(30),
        Class::X => Some(60),
        Class::E => Some(100),
    }
}

/// What one class contributes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The class.
    pub class: Class,
    /// Its weight.
    pub weight: u32,
    /// Services whose hardest resource has this class.
    pub services: usize,
    /// Resources of this class that are owned.
    pub resources: usize,
    /// Its share of the figure, in points.
    pub points: f64,
}

/// The figure and its parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LockIn {
    /// 0 (nothing to do) to 100 (every service must be redesigned), one decimal.
    pub figure: f64,
    /// Services counted.
    pub services: usize,
    /// What each class contributes, most work first; classes without services and resources are left out.
    pub parts: Vec<Part>,
}

impl LockIn {
    /// The figure of a set of findings. Data sources, neutral and unknown resources are not counted.
    pub fn of(findings: &[Finding<'_>]) -> LockIn {
        let mut worst: BTreeMap<(Provider, &str), Class> = BTreeMap::new();
        let mut resources: BTreeMap<Class, usize> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| !finding.resource.data) {
            let class = finding.verdict.class;
            let Some(weight_here) = weight(class) else { continue };
            *resources.entry(class).or_default() += 1;
            let entry = worst.entry((finding.resource.provider, finding.service())).or_insert(class);
            if weight(*entry).is_none_or(|known| known < weight_here) || (weight(*entry) == Some(weight_here) && class > *entry) {
                *entry = class;
            }
        }
        let mut services: BTreeMap<Class, usize> = BTreeMap::new();
        for class in worst.values() {
            *services.entry(*class).or_default() += 1;
        }
        let total = worst.len();
        let tenths = |sum: usize| (sum * 10 + total / 2).checked_div(total).unwrap_or(0) as f64 / 10.0;
        let mut parts = Vec::new();
        let mut sum = 0;
        for class in Class::ALL.into_iter().rev() {
            let Some(weight) = weight(class) else { continue };
            let (services, resources) = (services.get(&class).copied().unwrap_or(0), resources.get(&class).copied().unwrap_or(0));
            sum += services * weight as usize;
            if services + resources > 0 {
                parts.push(Part { class, weight, services, resources, points: tenths(services * weight as usize) });
            }
        }
        LockIn { figure: tenths(sum), services: total, parts }
    }
}
