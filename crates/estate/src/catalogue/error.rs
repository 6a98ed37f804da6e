//! What can be wrong with a file of rules. Also compiled into the build script.

use thiserror::Error;

/// A file of rules that cannot be used, with the line and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct CatalogueError {
    /// 1-based line.
    pub line: usize,
    /// What is wrong, in words for the user.
    pub what: String,
}
