//! What people and the service want to know of a model file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::header::{Header, wrong};
use super::value::Value;
use super::{GgufError, ValueType};

/// Most layers, heads and so on that are believed.
const DIMENSION_MAX: u64 = 1 << 32;
/// Longest one-line text (name, licence) that is passed on, in characters.
const LINE_CHARS_MAX: usize = 200;

/// What is in a GGUF file. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GgufSummary {
    /// The architecture, such as `llama`.
    pub architecture: String,
    /// The model's name.
    pub name: Option<String>,
    /// The licence's name, such as `apache-2.0` or `llama3.1`.
    pub licence: Option<String>,
    /// The licence's address.
    pub licence_link: Option<String>,
    /// Size as the makers put it, such as `8B`.
    pub size_label: Option<String>,
    /// The model that this one was made from: `organization/name`, or a name.
    pub base_model: Option<String>,
    /// Weights of all tensors.
    pub parameter_count: u64,
    /// How most of the weights are written down, such as `Q4_K_M`.
    pub quantization: String,
    /// The types of all tensors, the one with most bytes first.
    pub tensor_types: Vec<TensorTypeCount>,
    /// Longest sequence that the model was made for, in tokens.
    pub context_length: Option<u64>,
    /// The chat template, in Jinja.
    pub chat_template: Option<String>,
    /// Entries of the vocabulary.
    pub vocabulary_size: Option<u64>,
    /// Layers.
    pub block_count: Option<u64>,
    /// Attention heads.
    pub head_count: Option<HeadCount>,
    /// Attention heads of keys and values.
    pub head_count_kv: Option<HeadCount>,
    /// Width of the hidden state.
    pub embedding_length: Option<u64>,
    /// KV cache of one token in all layers, in bytes, with 16-bit numbers.
    pub kv_bytes_per_token: Option<u64>,
    /// Length of the file, or of all its parts.
    pub file_bytes: u64,
    /// Length of the weights.
    pub tensor_data_bytes: u64,
    /// Version of the GGUF format.
    pub gguf_version: u32,
    /// Set if the file is a LoRA adapter and not a model.
    pub adapter: Option<AdapterSummary>,
    /// Set if the model is in several files.
    pub split: Option<Split>,
}

/// How often a type of tensor occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorTypeCount {
    /// ggml's name of the type.
    pub name: &'static str,
    /// Tensors of the type.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Heads, the same in every layer or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HeadCount {
    /// The same in every layer.
    Uniform(u64),
    /// One number a layer.
    PerLayer(Vec<u64>),
}

impl HeadCount {
    fn from_numbers(numbers: Vec<u64>) -> Option<Self> {
        let first = *numbers.first()?;
        Some(if numbers.iter().all(|&number| number == first) { Self::Uniform(first) } else { Self::PerLayer(numbers) })
    }

    fn sum(&self, layers: u64) -> Option<u64> {
        match self {
            Self::Uniform(number) => number.checked_mul(layers),
            Self::PerLayer(numbers) => numbers.iter().try_fold(0_u64, |sum, &number| sum.checked_add(number)),
        }
    }

    fn most(&self) -> u64 {
        match self {
            Self::Uniform(number) => *number,
            Self::PerLayer(numbers) => numbers.iter().copied().max().unwrap_or(0),
        }
    }
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterSummary {
    /// `lora`.
    pub kind: String,
    /// The rank; of adapters with several, the largest.
    pub rank: Option<u64>,
    /// The scale that the adapter was trained with.
    pub alpha: Option<f64>,
    /// What it was trained for, if it says.
    pub task: Option<String>,
}

/// A part of a model in several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Split {
    /// Which part, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

pub(super) fn of(header: &Header) -> Result<GgufSummary, GgufError> {
    let architecture = header
        .text("general.architecture")?
        .map(line)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong("general.architecture", "is missing: this file does not say which model it is of"))?;
    let shape = Shape::read(header, &architecture)?;
    let tensor_types = tensor_types(header);
    let is_adapter = header.text("general.type")? == Some("adapter");
    Ok(GgufSummary {
        name: one_line(header, "general.name")?,
        licence: licence(header)?,
        licence_link: one_line(header, "general.license.link")?,
        size_label: one_line(header, "general.size_label")?,
        base_model: base_model(header)?,
        parameter_count: parameter_count(header),
        quantization: quantization(header, &tensor_types)?,
        tensor_types,
        context_length: dimension(header, &architecture, "context_length")?,
        chat_template: header.text("tokenizer.chat_template")?.map(str::to_owned),
        vocabulary_size: vocabulary_size(header, &architecture)?,
        kv_bytes_per_token: shape.kv_bytes_per_token(),
        block_count: shape.block_count,
        head_count: shape.head_count,
        head_count_kv: shape.head_count_kv,
        embedding_length: shape.embedding_length,
        file_bytes: header.file_bytes,
        tensor_data_bytes: header.data_bytes,
        gguf_version: header.version,
        adapter: is_adapter.then(|| adapter(header)).transpose()?,
        split: header.split()?,
        architecture,
    })
}

/// The numbers that the size of the KV cache follows from.
struct Shape {
    block_count: Option<u64>,
    head_count: Option<HeadCount>,
    head_count_kv: Option<HeadCount>,
    embedding_length: Option<u64>,
    key_length: Option<u64>,
    value_length: Option<u64>,
}

impl Shape {
    fn read(header: &Header, architecture: &str) -> Result<Self, GgufError> {
        let number = |key: &str| dimension(header, architecture, key);
        let block_count = number("block_count")?;
        let layers = block_count.unwrap_or(0);
        let heads = |key: &str| -> Result<Option<HeadCount>, GgufError> {
            let numbers = header.number_per_layer(&format!("{architecture}.{key}"), layers)?;
            Ok(numbers.and_then(HeadCount::from_numbers))
        };
        let head_count = heads("attention.head_count")?;
        Ok(Self {
            block_count,
            head_count_kv: heads("attention.head_count_kv")?.or_else(|| head_count.clone()),
            head_count,
            embedding_length: number("embedding_length")?,
            key_length: number("attention.key_length")?,
            value_length: number("attention.value_length")?,
        })
    }

    fn kv_bytes_per_token(&self) -> Option<u64> {
        const BYTES_PER_NUMBER: u64 = 2;
        let width = || self.embedding_length?.checked_div(self.head_count.as_ref()?.most());
        let key = self.key_length.or_else(width)?;
        let value = self.value_length.or_else(width)?;
        let heads = self.head_count_kv.as_ref()?.sum(self.block_count?)?;
        key.checked_add(value)?.checked_mul(heads)?.checked_mul(BYTES_PER_NUMBER)
    }
}

fn dimension(header: &Header, architecture: &str, key: &str) -> Result<Option<u64>, GgufError> {
    let key = format!("{architecture}.{key}");
    match header.number(&key)? {
        Some(number) if number > DIMENSION_MAX => Err(wrong(&key, format!("is {number}, which no model has"))),
        number => Ok(number),
    }
}

/// A text as one line without control characters, so that it can be printed on a terminal.
fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS_MAX).collect();
    clean.trim().to_owned()
}

fn one_line(header: &Header, key: &str) -> Result<Option<String>, GgufError> {
    Ok(header.text(key)?.map(line).filter(|text| !text.is_empty()))
}

/// `general.license` is `other` for licences without an SPDX name; the name is then beside it.
fn licence(header: &Header) -> Result<Option<String>, GgufError> {
    let short = one_line(header, "general.license")?;
    match short.as_deref() {
        None | Some("other") => Ok(one_line(header, "general.license.name")?.or(short)),
        Some(_) => Ok(short),
    }
}

fn base_model(header: &Header) -> Result<Option<String>, GgufError> {
    let Some(name) = one_line(header, "general.base_model.0.name")? else {
        return one_line(header, "general.base_model.0.repo_url");
    };
    Ok(Some(match one_line(header, "general.base_model.0.organization")? {
        Some(organization) => format!("{organization}/{name}"),
        None => name,
    }))
}

pub(super) fn parameter_count(header: &Header) -> u64 {
    header.tensors.iter().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.elements))
}

pub(super) fn tensor_types(header: &Header) -> Vec<TensorTypeCount> {
    let mut by_type: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for tensor in &header.tensors {
        let (tensors, bytes) = by_type.entry(tensor.kind.name).or_default();
        *tensors += 1;
        *bytes = bytes.saturating_add(tensor.bytes);
    }
    most_bytes_first(by_type.into_iter().map(|(name, (tensors, bytes))| TensorTypeCount { name, tensors, bytes }).collect())
}

pub(super) fn most_bytes_first(mut types: Vec<TensorTypeCount>) -> Vec<TensorTypeCount> {
    types.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(b.name)));
    types
}

/// The name of the file's type as llama.cpp numbers them; without one, the type with most bytes.
pub(super) fn quantization(header: &Header, types: &[TensorTypeCount]) -> Result<String, GgufError> {
    let named = header.number("general.file_type")?.and_then(file_type);
    Ok(named.or_else(|| types.first().map(|first| first.name)).unwrap_or("none").to_owned())
}

fn file_type(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

fn vocabulary_size(header: &Header, architecture: &str) -> Result<Option<u64>, GgufError> {
    let tokens = match header.metadata.get("tokenizer.ggml.tokens") {
        Some(Value::Skipped { element: ValueType::Text, count }) => Some(*count),
        Some(_) => return Err(wrong("tokenizer.ggml.tokens", "is not an array of texts")),
        None => None,
    };
    Ok(tokens.or(dimension(header, architecture, "vocab_size")?))
}

fn adapter(header: &Header) -> Result<AdapterSummary, GgufError> {
    let kind = one_line(header, "adapter.type")?.unwrap_or_else(|| "unknown".to_owned());
    if kind != "lora" {
        return Err(wrong("adapter.type", format!("is `{kind}`; only LoRA adapters can be used")));
    }
    let ranks = header.tensors.iter().filter(|tensor| tensor.name.ends_with(".lora_a"));
    Ok(AdapterSummary {
        kind,
        rank: ranks.filter_map(|tensor| tensor.shape.get(1).copied()).max(),
        alpha: header.float("adapter.lora.alpha")?,
        task: one_line(header, "adapter.lora.task_name")?,
    })
}
