//! Use cases: what an operator and a tenant can do with the service.
//!
//! It makes ids and reads the clock, decides who may do what, and combines store, models and workers. It must not
//! know HTTP servers or terminals, and no engine.
//!
//! **Invariant:** every use case that takes an [`auth::Actor`] asks [`auth::permit`] before it does anything.

pub mod adapters;
pub mod auth;
pub mod billing;
pub mod bootstrap;
pub mod clock;
mod facade;
pub mod hooks;
mod key_cache;
pub mod keys;
pub mod lane;
pub mod metrics;
pub mod models;
pub mod once;
pub mod operations;
pub mod page;
pub mod people;
pub mod responses;
mod seal;
pub mod secret;
pub mod serve;
pub mod settings;
mod storage;
pub mod tenants;
pub mod trail;
pub mod workers;

pub use auth::{Action, Actor, By, Tenancy};
pub use billing::BillingSettings;
pub use facade::{Control, OpenError};
pub use freehold_store::{KeyOwner, ModelRow};
pub use hooks::{ModelHost, TaskRunner};
pub use people::PeopleSettings;
pub use settings::{Settings, StorageSettings};
