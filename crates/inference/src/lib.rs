//! The embedded engine: load a model, schedule requests, choose tokens; served by a worker process.
//!
//! A worker is one process with one model. It is given one [`order::Order`] on standard input, reports on standard
//! output, and serves OpenAI's protocol on a Unix socket. Nothing here knows of keys, prices or other workers.
//!
//! **Invariant:** native code runs only in a worker process. The service links this crate for its types and starts
//! a child for everything else.

pub mod chat;
pub mod engine;
pub mod order;
pub mod task;
pub mod worker;
