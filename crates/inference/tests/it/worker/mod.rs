//! The worker's HTTP side with the real starter model.

mod answers;
mod ending;
mod refusals;
pub mod support;
