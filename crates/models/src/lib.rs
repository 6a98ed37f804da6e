//! Where models come from and what is in their files: GGUF headers, the catalogue of known models, sources and
//! downloads, and how much memory and disk this machine has for them.
//!
//! It knows nothing of the engine, the store or tenants: it reads and writes files and says what it found.
//!
//! **Invariant:** a file that [`fetch()`] returns is whole and has the hash that its source gives for it; a file
//! under its final name was never seen half-written.

pub mod catalogue;
pub mod disk;
pub mod fetch;
pub mod gguf;
pub mod memory;
pub mod source;

pub use fetch::{FetchError, FetchOptions, Fetched, Progress, fetch};
pub use gguf::{GgufError, GgufSummary};
pub use source::{Source, SourceError};
