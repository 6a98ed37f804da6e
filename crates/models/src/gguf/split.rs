//! Models in several files, `NAME-00001-of-00003.gguf` and so on, as llama.cpp's `gguf-split` writes them.

use std::collections::BTreeMap;
use std::path::Path;

use super::header::Header;
use super::summary::{self, GgufSummary, Split, TensorTypeCount};
use super::{GgufError, read_file};

/// Most parts that a model may have.
pub(super) const PARTS_MAX: u32 = 1000;

/// The name of part `index` (from 0) of `count`, given the name of any part; `None` if `name` is not that of a
/// part of so many.
pub fn part_name(name: &str, index: u32, count: u32) -> Option<String> {
    let stem = name.strip_suffix(&format!("-of-{count:05}.gguf"))?;
    let (base, number) = stem.rsplit_once('-')?;
    let is_number = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{base}-{:05}-of-{count:05}.gguf", index + 1))
}

/// The summary of all parts; `path` and `header` are those of the part that was named.
pub(super) fn summarise(path: &Path, header: &Header, split: Split) -> Result<GgufSummary, GgufError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let names = (0..split.count).map(|index| part_name(name, index, split.count)).collect::<Option<Vec<_>>>().ok_or_else(|| {
        bad_part(split.index, split.count, name, "it is not named `NAME-00001-of-0000N.gguf`, so the others are not found")
    })?;
    if split.index != 0 {
        return Err(GgufError::NotFirstPart { part: split.index + 1, count: split.count, first: names[0].clone() });
    }
    let mut whole = summary::of(header)?;
    let mut types: BTreeMap<&'static str, TensorTypeCount> = whole.tensor_types.drain(..).map(|count| (count.name, count)).collect();
    for (index, name) in (0..split.count).zip(&names).skip(1) {
        let part = read_part(&path.with_file_name(name), Split { index, count: split.count }, name)?;
        whole.file_bytes = whole.file_bytes.saturating_add(part.file_bytes);
        whole.tensor_data_bytes = whole.tensor_data_bytes.saturating_add(part.data_bytes);
        whole.parameter_count = whole.parameter_count.saturating_add(summary::parameter_count(&part));
        for count in summary::tensor_types(&part) {
            let sum = types.entry(count.name).or_insert(TensorTypeCount { name: count.name, tensors: 0, bytes: 0 });
            sum.tensors += count.tensors;
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
    }
    whole.tensor_types = summary::most_bytes_first(types.into_values().collect());
    whole.quantization = summary::quantization(header, &whole.tensor_types)?;
    Ok(whole)
}

fn read_part(path: &Path, expected: Split, name: &str) -> Result<Header, GgufError> {
    let bad = |problem: String| bad_part(expected.index, expected.count, name, &problem);
    let header = read_file(path).map_err(|error| bad(error.to_string()))?;
    match header.split() {
        Ok(Some(split)) if split == expected => Ok(header),
        Ok(_) => Err(bad("it says that it is another part".to_owned())),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn bad_part(index: u32, count: u32, name: &str, problem: &str) -> GgufError {
    GgufError::Part { part: index + 1, count, name: name.to_owned(), problem: problem.to_owned() }
}
