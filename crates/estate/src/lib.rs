//! What ties an estate to a cloud provider, what would replace it, and when its contracts end.
//!
//! Pure: no clock, no file system, no network. Whoever calls hands in the bytes of the files and today's date,
//! and prints what comes back.
//!
//! **Invariant:** a declaration that a reader cannot understand is still reported, as partly read, never dropped.

pub mod catalogue;
pub mod contracts;
pub mod finding;
pub mod lock_in;
pub mod plan;
pub mod read;
pub mod readiness;
pub mod report;
pub mod resource;
