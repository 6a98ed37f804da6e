//! Tests of the audit through its public interface.

mod contracts;
mod plan;
mod readiness;
mod report;
