//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// Why a file cannot be used as a GGUF file. Messages name what is wrong and where.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file cannot be opened.
    #[error("cannot open `{path}`: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Reading failed.
    #[error("cannot read the file at byte {at}: {source}")]
    Read {
        /// Where in the file.
        at: u64,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another kind of file.
    #[error("this is not a GGUF file: {looks_like}")]
    NotGguf {
        /// What it is instead, and what to do.
        looks_like: String,
    },
    /// The byte order of a big-endian machine.
    #[error("this GGUF file is big-endian; only little-endian files can be used: take the ordinary conversion of the model")]
    BigEndian,
    /// A version of the format that is not read.
    #[error("GGUF version {version} cannot be read, only 2 and 3: convert the model again with a current llama.cpp")]
    Version {
        /// The version that the file says it has.
        version: u32,
    },
    /// The file ends too early.
    #[error(
        "the file is truncated: {what} needs {needed} bytes from byte {at}, but the file has only {file_bytes}; download or copy it again"
    )]
    Truncated {
        /// What is cut off.
        what: String,
        /// Where it starts.
        at: u64,
        /// How long it is.
        needed: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// A number over one of the limits of this reader.
    #[error("{what} is {got}, more than the {max} that are accepted (at byte {at}): the file is corrupt or not meant well")]
    OverLimit {
        /// What is too large.
        what: String,
        /// What the file says.
        got: u64,
        /// The limit.
        max: u64,
        /// Where in the file.
        at: u64,
    },
    /// Something that contradicts the format.
    #[error("the file is corrupt at byte {at}: {what}")]
    Corrupt {
        /// What is wrong.
        what: String,
        /// Where in the file.
        at: u64,
    },
    /// A metadata entry that is needed is missing, or is not what it has to be.
    #[error("the metadata entry `{key}` {problem}")]
    Metadata {
        /// The entry's key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// One of several files of a model was named, but not the first.
    #[error("this is part {part} of a model in {count} files: name the first, `{first}`")]
    NotFirstPart {
        /// Which part was named, from 1.
        part: u32,
        /// How many there are.
        count: u32,
        /// The file to name instead.
        first: String,
    },
    /// A part of a model in several files cannot be used.
    #[error("part {part} of {count} of this model, `{name}`: {problem}; all parts must lie in one folder")]
    Part {
        /// Which part, from 1.
        part: u32,
        /// How many there are.
        count: u32,
        /// The file's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}
