//! Wire formats to and from one canonical request and one canonical stream of events.
//!
//! Pure: bytes and values in, bytes and values out; ids and times are handed in. Knows nothing of HTTP servers,
//! tenants or engines.
//!
//! **Invariant:** a dialect never talks to another dialect; the canonical types are the only bridge. What two
//! dialects happen to write alike is in `shape`, which knows neither.

pub mod canonical;
pub mod llama;
pub mod openai;
mod shape;
pub mod sse;
