//! Pieces of JSON that several dialects write alike.
//!
//! Must not know which dialect asks. **Invariant:** every error about a field names the field by its path.

pub(crate) mod body;
pub(crate) mod content;
pub(crate) mod format;
pub(crate) mod function;
pub(crate) mod stream;
pub(crate) mod write;
