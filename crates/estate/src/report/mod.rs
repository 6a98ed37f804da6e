//! An audit in the formats that people and programs read. One module per format; none of them judges.
//!
//! Text out, nothing else: whoever calls decides where it goes and whether a terminal shows colour.

pub mod chart;
pub mod csv;
pub mod cyclonedx;
pub mod escape;
pub mod html;
pub mod json;
pub mod layout;
pub mod markdown;
pub mod page;
pub mod sarif;
pub mod table;

use crate::catalogue::Effort;

/// The version that reports name as their maker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Effort for people: `2 to 5 days`, `0.5 days`, `none`.
pub fn days(effort: Effort) -> String {
    let (low, high) = (effort.low, effort.high.max(effort.low));
    match (low, high) {
        (_, high) if high <= 0.0 => "none".to_owned(),
        (low, high) if low == high => format!("{high} days"),
        (low, high) => format!("{low} to {high} days"),
    }
}

/// The sum of efforts.
pub fn total<'g>(efforts: impl Iterator<Item = &'g Effort>) -> Effort {
    efforts.fold(Effort::default(), |sum, effort| Effort { low: sum.low + effort.low, high: sum.high + effort.high })
}

/// A count with its noun: `1 file`, `3 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
