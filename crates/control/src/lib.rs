//! Use cases: what an operator and a tenant can do with the service.
//!
//! It makes ids and reads the clock, decides who may do what, and combines store, models and workers. It must not
//! know HTTP servers or terminals, and no engine.
//!
//! **Invariant:** every use case that takes an [`auth::Actor`] asks [`auth::permit`] before it does anything.

pub mod auth;
pub mod bootstrap;
pub mod clock;
mod facade;
mod key_cache;
pub mod keys;
pub mod once;
pub mod page;
pub mod secret;
pub mod settings;
pub mod tenants;

pub use auth::{Action, Actor};
pub use facade::{Control, OpenError};
pub use freehold_store::{KeyOwner, ModelRow};
pub use settings::Settings;
