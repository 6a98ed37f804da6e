//! The tests of `freehold-models`, against files that they write and servers that they run on the loopback.

mod catalogue;
mod gguf;
mod hub;
mod hub_failures;
mod local;
mod memory;
mod pypi;
mod source;
mod support;
