//! The header as a whole: magic, version, metadata, tensor table, and whether the weights are all there.
//!
//! **Invariant:** a header that was read describes a file that is long enough for every tensor it names, with the
//! tensors one after the other as llama.cpp demands.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek};

use super::input::Input;
use super::summary::Split;
use super::tensor::{self, TensorInfo};
use super::value::{self, Budget, Value, shorten};
use super::{GgufError, KEPT_BYTES_MAX, KEY_BYTES_MAX, METADATA_COUNT_MAX, TENSOR_COUNT_MAX};

const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_MAX: u64 = 1 << 20;
/// Type, key length, and one byte each of key and value.
const METADATA_ENTRY_BYTES_MIN: u64 = 8 + 1 + 4 + 1;
/// Name length, rank, one extent, type, offset.
const TENSOR_ENTRY_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;

/// What stands before the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors, in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// Where the weights start, in bytes from the start of the file.
    pub data_offset: u64,
    /// Bytes of weights, padding between tensors included.
    pub data_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
}

pub(super) fn read(reader: impl Read + Seek) -> Result<Header, GgufError> {
    let mut input = Input::new(reader)?;
    let version = read_version(&mut input)?;
    let tensor_count = input.u64("the number of tensors")?;
    check_count(&input, "the number of tensors", tensor_count, TENSOR_COUNT_MAX, TENSOR_ENTRY_BYTES_MIN)?;
    let metadata_count = input.u64("the number of metadata entries")?;
    check_count(&input, "the number of metadata entries", metadata_count, METADATA_COUNT_MAX, METADATA_ENTRY_BYTES_MIN)?;
    let metadata = read_metadata(&mut input, metadata_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = read_tensors(&mut input, tensor_count)?;
    let data_offset = input.at().next_multiple_of(alignment);
    let data_bytes = check_layout(&input, &tensors, alignment, data_offset)?;
    Ok(Header { version, metadata, tensors, data_offset, data_bytes, file_bytes: input.file_bytes() })
}

fn read_version<R: Read + Seek>(input: &mut Input<R>) -> Result<u32, GgufError> {
    let start = input.peek::<512>()?;
    if !start.starts_with(&MAGIC) {
        return Err(GgufError::NotGguf { looks_like: looks_like(&start) });
    }
    input.array::<4>("the magic number")?;
    match input.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        version if version & 0xffff == 0 && version != 0 => Err(GgufError::BigEndian),
        version => Err(GgufError::Version { version }),
    }
}

fn looks_like(start: &[u8]) -> String {
    let text = String::from_utf8_lossy(start);
    let guess = match start {
        [] => "it is empty; download or copy it again",
        [b'F', b'U', b'G', b'G', ..] => "its magic number is in the order of a big-endian machine; take the ordinary conversion",
        [b'g', b'g', b'j' | b'm' | b'l', ..] | [b't' | b'l' | b'f', b'j' | b'm', b'g', b'g', ..] => {
            "it is an older ggml format; convert the model again with a current llama.cpp"
        }
        [b'P', b'K', 3, 4, ..] => "it is a ZIP archive (perhaps a PyTorch checkpoint); convert the model to GGUF first",
        _ if text.starts_with("version https://git-lfs") => {
            "it is a Git LFS pointer, not the file itself; run `git lfs pull` or download the file"
        }
        _ if text.trim_start().starts_with('<') => "it is a web page; the download did not give the file itself",
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => "it is a safetensors file; convert the model to GGUF first",
        _ if start.iter().all(|&byte| byte == 0) => "it starts with zeros; the download was probably cut off, do it again",
        _ => "it does not start with `GGUF`",
    };
    guess.to_owned()
}

fn check_count<R: Read + Seek>(input: &Input<R>, what: &str, count: u64, max: u64, entry_bytes_min: u64) -> Result<(), GgufError> {
    if count > max {
        return Err(input.over(what, count, max));
    }
    input.check(count * entry_bytes_min, what)
}

fn read_metadata<R: Read + Seek>(input: &mut Input<R>, count: u64) -> Result<BTreeMap<String, Value>, GgufError> {
    let mut budget = Budget::new();
    let mut metadata = BTreeMap::new();
    for index in 0..count {
        let key = input.text(KEY_BYTES_MAX, &format!("the key of metadata entry {index}"))?;
        if key.is_empty() {
            return Err(input.corrupt(format!("metadata entry {index} has no key")));
        }
        if !budget.take(key.len()) {
            return Err(input.over("the length of all keys", KEPT_BYTES_MAX as u64 + 1, KEPT_BYTES_MAX as u64));
        }
        let value = value::read(input, &key, &mut budget)?;
        if metadata.contains_key(&key) {
            return Err(input.corrupt(format!("the metadata entry `{}` is there twice", shorten(&key))));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    match metadata.get("general.alignment") {
        None => Ok(ALIGNMENT_DEFAULT),
        Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() && *alignment <= ALIGNMENT_MAX => Ok(*alignment),
        Some(other) => Err(GgufError::Metadata {
            key: "general.alignment".to_owned(),
            problem: match other {
                Value::Unsigned(number) => format!("is {number}, which is not a power of two up to {ALIGNMENT_MAX}"),
                _ => "is not an unsigned number".to_owned(),
            },
        }),
    }
}

fn read_tensors<R: Read + Seek>(input: &mut Input<R>, count: u64) -> Result<Vec<TensorInfo>, GgufError> {
    let mut names = HashSet::new();
    (0..count).map(|index| tensor::read(input, index, &mut names)).collect()
}

/// Checks that the tensors lie one after the other and end within the file. Returns the length of the data.
fn check_layout<R: Read + Seek>(input: &Input<R>, tensors: &[TensorInfo], alignment: u64, data_offset: u64) -> Result<u64, GgufError> {
    let mut expected = 0_u64;
    let mut end = 0_u64;
    for tensor in tensors {
        let name = shorten(&tensor.name);
        if tensor.offset != expected {
            let offset = tensor.offset;
            return Err(input.corrupt(format!("tensor `{name}` is said to start at {offset} instead of {expected}")));
        }
        let impossible = || input.corrupt(format!("tensor `{name}` ends past any possible file"));
        end = expected.checked_add(tensor.bytes).ok_or_else(impossible)?;
        expected = end.checked_next_multiple_of(alignment).ok_or_else(impossible)?;
        if data_offset.checked_add(end).ok_or_else(impossible)? > input.file_bytes() {
            return Err(GgufError::Truncated {
                what: format!("tensor `{name}`"),
                at: data_offset + tensor.offset,
                needed: tensor.bytes,
                file_bytes: input.file_bytes(),
            });
        }
    }
    Ok(end)
}

impl Header {
    /// The text of an entry, or `None` if there is none.
    ///
    /// # Errors
    /// The entry is not a text, or one that is too long or not UTF-8.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Opaque { bytes }) => Err(wrong(key, format!("is a text of {bytes} bytes that is too long or not UTF-8"))),
            Some(_) => Err(wrong(key, "is not a text")),
        }
    }

    /// The number of an entry, of any integer type, or `None` if there is none.
    ///
    /// # Errors
    /// The entry is not a whole number from 0.
    pub fn number(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.metadata.get(key).map(|value| whole(key, value)).transpose()
    }

    /// The float of an entry, or `None` if there is none.
    ///
    /// # Errors
    /// The entry is not a finite number.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(number)) if number.is_finite() => Ok(Some(*number)),
            Some(_) => Err(wrong(key, "is not a finite float")),
        }
    }

    /// One number, or one for each of `layers` layers, as head counts are written.
    ///
    /// # Errors
    /// The entry is neither.
    pub(super) fn number_per_layer(&self, key: &str, layers: u64) -> Result<Option<Vec<u64>>, GgufError> {
        match self.metadata.get(key) {
            Some(Value::Numbers(numbers)) => {
                if numbers.len() as u64 != layers {
                    return Err(wrong(key, format!("has {} numbers for {layers} layers", numbers.len())));
                }
                numbers.iter().map(|number| whole(key, number)).collect::<Result<_, _>>().map(Some)
            }
            _ => Ok(self.number(key)?.map(|number| vec![number])),
        }
    }

    /// Which part of a model in several files this is.
    ///
    /// # Errors
    /// The entries `split.no` and `split.count` contradict each other.
    pub fn split(&self) -> Result<Option<Split>, GgufError> {
        let Some(count) = self.number("split.count")? else { return Ok(None) };
        let index = self.number("split.no")?.unwrap_or(0);
        match (u32::try_from(index), u32::try_from(count)) {
            (Ok(_), Ok(0)) => Ok(None),
            (Ok(index), Ok(count)) if index < count && count <= super::split::PARTS_MAX => Ok(Some(Split { index, count })),
            _ => Err(wrong("split.no", format!("is {index}, with `split.count` {count}"))),
        }
    }
}

fn whole(key: &str, value: &Value) -> Result<u64, GgufError> {
    match value {
        Value::Unsigned(number) => Ok(*number),
        Value::Signed(number) => u64::try_from(*number).map_err(|_| wrong(key, format!("is {number}, below zero"))),
        _ => Err(wrong(key, "is not a whole number")),
    }
}

pub(super) fn wrong(key: &str, problem: impl Into<String>) -> GgufError {
    GgufError::Metadata { key: shorten(key), problem: problem.into() }
}
