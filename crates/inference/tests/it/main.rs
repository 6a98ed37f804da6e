//! Tests of the embedded engine and its worker, against the starter model where one is needed.

mod chat;
mod engine;
mod task;
mod worker;
