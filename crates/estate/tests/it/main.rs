//! Tests of the audit through its public interface.

mod catalogue;
mod catalogue_rules;
mod contracts;
mod golden;
mod plan;
mod readers;
mod readiness;
mod report;
