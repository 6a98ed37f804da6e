//! Reads the header of a GGUF file (versions 2 and 3, little-endian): metadata and tensor infos, never weights.
//!
//! It must not know what the values are used for beyond [`GgufSummary`].
//!
//! **Invariant:** no byte of the file is trusted. Every count, length and offset is checked against the length of
//! the file and the limits below before anything is allocated or skipped, so that reading costs no more memory
//! than [`KEPT_BYTES_MAX`] plus the tensor table, and no more time than reading [`HEADER_BYTES_MAX`] bytes.

mod error;
mod header;
mod input;
mod split;
mod summary;
mod tensor;
mod value;

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

pub use error::GgufError;
pub use header::Header;
pub use split::part_name;
pub use summary::{AdapterSummary, GgufSummary, HeadCount, Split, TensorTypeCount};
pub use tensor::{TensorInfo, TensorType};
pub use value::{Value, ValueType};

/// Most bytes from the start of the file to its weights.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of metadata values that are kept in memory.
pub const KEPT_BYTES_MAX: usize = 16 << 20;
/// Most metadata entries.
pub const METADATA_COUNT_MAX: u64 = 65_536;
/// Most tensors.
pub const TENSOR_COUNT_MAX: u64 = 65_536;
/// Longest key of a metadata entry, in bytes (GGUF specification).
pub const KEY_BYTES_MAX: u64 = 65_535;
/// Longest text value that is kept, in bytes; a longer one is skipped, not refused.
pub const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Longest array of numbers that is kept; of a longer one, and of arrays of texts, only the length is.
pub const ARRAY_KEPT_MAX: u64 = 4096;
/// Longest name of a tensor, in bytes (llama.cpp refuses longer ones).
pub const TENSOR_NAME_BYTES_MAX: u64 = 63;

/// Reads the header of a GGUF file from `reader`, from its start.
///
/// # Errors
/// See [`GgufError`].
pub fn read_header(reader: impl Read + Seek) -> Result<Header, GgufError> {
    header::read(reader)
}

/// Says what is in the GGUF file at `path`. Of a model in several files, `path` names the first and all must be
/// there; sizes and counts are those of all parts together.
///
/// # Errors
/// See [`GgufError`].
pub fn summarise(path: &Path) -> Result<GgufSummary, GgufError> {
    let header = read_file(path)?;
    match header.split()? {
        Some(part) if part.count > 1 => split::summarise(path, &header, part),
        _ => summary::of(&header),
    }
}

/// Says what is in one GGUF file, given as a reader. Of a model in several files, only this part is counted.
///
/// # Errors
/// See [`GgufError`].
pub fn summarise_reader(reader: impl Read + Seek) -> Result<GgufSummary, GgufError> {
    summary::of(&read_header(reader)?)
}

fn read_file(path: &Path) -> Result<Header, GgufError> {
    let open = || {
        let file = File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")),
        }
    };
    let file = open().map_err(|source| GgufError::Open { path: path.to_owned(), source })?;
    read_header(BufReader::with_capacity(256 << 10, file))
}
