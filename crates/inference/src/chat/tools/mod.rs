//! Functions that the model may call: told to it, read from its answer, enforced by grammar.
//!
//! **Invariant:** a call that reaches the client names a function that the request offered.

pub mod grammar;
pub mod instruction;
pub mod json;
pub mod pythonic;
pub mod stream;
