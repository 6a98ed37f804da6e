//! Tensor infos: names, shapes, types and where the weights lie.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::input::Input;
use super::value::shorten;
use super::{GgufError, TENSOR_NAME_BYTES_MAX};

/// How the weights of a tensor are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType {
    /// The number in the file.
    pub number: u32,
    /// ggml's name.
    pub name: &'static str,
    /// Weights in a block.
    pub block_weights: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
}

macro_rules! tensor_types {
    ($($number:literal $name:literal $weights:literal $bytes:literal;)*) => {
        const TENSOR_TYPES: &[TensorType] = &[
            $(TensorType { number: $number, name: $name, block_weights: $weights, block_bytes: $bytes },)*
        ];
    };
}

tensor_types! {
    0 "F32" 1 4;
    1 "F16" 1 2;
    2 "Q4_0" 32 18;
    3 "Q4_1" 32 20;
    6 "Q5_0" 32 22;
    7 "Q5_1" 32 24;
    8 "Q8_0" 32 34;
    9 "Q8_1" 32 36;
    10 "Q2_K" 256 84;
    11 "Q3_K" 256 110;
    12 "Q4_K" 256 144;
    13 "Q5_K" 256 176;
    14 "Q6_K" 256 210;
    15 "Q8_K" 256 292;
    16 "IQ2_XXS" 256 66;
    17 "IQ2_XS" 256 74;
    18 "IQ3_XXS" 256 98;
    19 "IQ1_S" 256 50;
    20 "IQ4_NL" 32 18;
    21 "IQ3_S" 256 110;
    22 "IQ2_S" 256 82;
    23 "IQ4_XS" 256 136;
    24 "I8" 1 1;
    25 "I16" 1 2;
    26 "I32" 1 4;
    27 "I64" 1 8;
    28 "F64" 1 8;
    29 "IQ1_M" 256 56;
    30 "BF16" 1 2;
    34 "TQ1_0" 256 54;
    35 "TQ2_0" 256 66;
    39 "MXFP4" 32 17;
    40 "NVFP4" 64 36;
    41 "Q1_0" 128 18;
    42 "Q2_0" 64 18;
}

/// Types that older files have and llama.cpp no longer reads.
const RETIRED: [u32; 8] = [4, 5, 31, 32, 33, 36, 37, 38];

/// One tensor's entry in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Extents, the fastest-running first; one to four.
    pub shape: Vec<u64>,
    /// How the weights are written down.
    pub kind: TensorType,
    /// Where the weights start, in bytes from the start of the data section.
    pub offset: u64,
    /// How many weights.
    pub elements: u64,
    /// How many bytes they take, without padding.
    pub bytes: u64,
}

/// Reads one tensor info and refuses a name that is already in `names`.
pub(super) fn read<R: Read + Seek>(input: &mut Input<R>, index: u64, names: &mut HashSet<String>) -> Result<TensorInfo, GgufError> {
    let name = input.text(TENSOR_NAME_BYTES_MAX, &format!("the name of tensor {index}"))?;
    let what = format!("tensor `{}`", shorten(&name));
    if !names.insert(name.clone()) {
        return Err(input.corrupt(format!("{what} is there twice")));
    }
    let rank = input.u32(&what)?;
    if !(1..=4).contains(&rank) {
        return Err(input.corrupt(format!("{what} has {rank} dimensions instead of 1 to 4")));
    }
    let shape = (0..rank).map(|_| input.u64(&what)).collect::<Result<Vec<_>, _>>()?;
    let number = input.u32(&what)?;
    let kind = kind(number).ok_or_else(|| input.corrupt(unknown(&what, number)))?;
    let offset = input.u64(&what)?;
    let elements = elements(&shape).ok_or_else(|| input.corrupt(format!("{what} has the impossible shape {shape:?}")))?;
    if shape[0] % kind.block_weights != 0 {
        let (row, block) = (shape[0], kind.block_weights);
        return Err(input.corrupt(format!("{what} has rows of {row} weights, not a multiple of {} blocks of {block}", kind.name)));
    }
    let bytes = (elements / kind.block_weights)
        .checked_mul(kind.block_bytes)
        .ok_or_else(|| input.corrupt(format!("{what} has the impossible shape {shape:?}")))?;
    Ok(TensorInfo { name, shape, kind, offset, elements, bytes })
}

fn kind(number: u32) -> Option<TensorType> {
    TENSOR_TYPES.binary_search_by_key(&number, |kind| kind.number).ok().map(|index| TENSOR_TYPES[index])
}

fn unknown(what: &str, number: u32) -> String {
    match RETIRED.contains(&number) {
        true => format!("{what} has type {number}, which llama.cpp no longer reads: quantize the model again"),
        false => format!("{what} has the unknown type {number}"),
    }
}

/// The number of weights, if it is positive and fits a signed 64-bit number.
fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent)).filter(|&count| count > 0 && i64::try_from(count).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_and_found() {
        assert!(TENSOR_TYPES.windows(2).all(|pair| pair[0].number < pair[1].number));
        for kind_in_table in TENSOR_TYPES {
            assert_eq!(kind(kind_in_table.number), Some(*kind_in_table));
        }
        assert!(RETIRED.iter().all(|&number| kind(number).is_none()));
    }
}
