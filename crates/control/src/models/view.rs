//! Models and the catalogue, as they are shown.

use freehold_domain::{Error, ErrorCode, ModelId, ModelName, Timestamp};
use freehold_inference::order::{Measurement, Quantization};
use freehold_models::catalogue::{self, Verdict};
use freehold_store::{ModelRow, UpstreamRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::upstream::{NewUpstream, UpstreamView};

/// A model, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelView {
    /// Its id.
    #[schema(value_type = String, example = "mod_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: ModelId,
    /// The name that requests give.
    #[schema(value_type = String, example = "smollm2-135m-instruct")]
    pub name: ModelName,
    /// How it stands: `unloaded`, `loading`, `ready`; `unreachable` when the server that serves it is.
    pub state: String,
    /// Where it came from; `upstream` for one that another server serves.
    pub source: String,
    /// The licence that the file names.
    pub licence: Option<String>,
    /// The server that serves it, for operators. What the file would tell is null then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamView>,
    /// The architecture's name.
    pub architecture: Option<String>,
    /// How many weights.
    pub parameter_count: Option<u64>,
    /// How the weights are written: `Q4_1`.
    pub quantization: Option<String>,
    /// The size of the file that is served, in bytes.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file that is served.
    pub sha256: Option<String>,
    /// Longest prompt and answer together that the model was made for, in tokens.
    pub context_length: u32,
    /// Whether the file brings a chat template.
    pub chat_template: Option<bool>,
    /// Bytes of KV cache for one token.
    pub kv_bytes_per_token: Option<u64>,
    /// Kept loaded.
    pub pinned: bool,
    /// Its LoRA adapters, used as `model:adapter`.
    #[schema(value_type = Vec<String>)]
    pub adapters: Vec<ModelName>,
    /// The representations that were tried on this machine, the original first.
    pub measurements: Vec<MeasurementView>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub added_at: Timestamp,
}

/// A representation of a model, measured on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeasurementView {
    /// Its name: `original`, `q8_0`.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Perplexity on the built-in text: lower is better.
    pub perplexity: f64,
    /// Tokens a second with 8 sequences at once.
    pub decode_tokens_per_s: f64,
    /// Tokens a second of prompt.
    pub prompt_tokens_per_s: f64,
    /// Whether it is the one that is served.
    pub served: bool,
}

impl MeasurementView {
    pub(super) fn new(measured: &Measurement, served: bool) -> Self {
        Self {
            name: measured.name.clone(),
            bytes: measured.bytes,
            perplexity: measured.perplexity,
            decode_tokens_per_s: measured.decode_tokens_per_s,
            prompt_tokens_per_s: measured.prompt_tokens_per_s,
            served,
        }
    }
}

impl ModelView {
    pub(super) fn new(row: ModelRow, adapters: Vec<ModelName>, state: String) -> Result<Self, Error> {
        let measurements = serde_json::from_str(&row.measurements_json)
            .map_err(|error| Error::internal(format!("the measurements of {}: {error}", row.id)))?;
        Ok(Self {
            id: row.id,
            name: row.name,
            state,
            source: row.source,
            licence: row.licence,
            upstream: None,
            architecture: Some(row.architecture),
            parameter_count: Some(row.parameter_count),
            quantization: Some(row.quantization),
            size_bytes: Some(row.size_bytes),
            sha256: Some(row.sha256),
            context_length: row.context_length,
            chat_template: Some(row.chat_template),
            kv_bytes_per_token: Some(row.kv_bytes_per_token),
            pinned: row.pinned,
            adapters,
            measurements,
            added_at: row.added_at,
        })
    }

    /// Where the server is, is for operators only.
    pub(super) fn of_upstream(row: UpstreamRow, state: String, for_operator: bool) -> Self {
        Self {
            state,
            source: "upstream".to_owned(),
            licence: None,
            upstream: for_operator.then(|| UpstreamView::from(&row)),
            architecture: None,
            parameter_count: None,
            quantization: None,
            size_bytes: None,
            sha256: None,
            context_length: row.context_length,
            chat_template: None,
            kv_bytes_per_token: None,
            pinned: false,
            adapters: Vec::new(),
            measurements: Vec::new(),
            added_at: row.added_at,
            id: row.id,
            name: row.name,
        }
    }
}

/// How the weights of a new representation are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Representation {
    /// 8.5 bits a weight.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 4.5 bits a weight.
    #[serde(rename = "q4_0")]
    Q4_0,
    /// About 4.8 bits a weight, mixed.
    #[serde(rename = "q4_k_m")]
    Q4KM,
}

impl Representation {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Representation::Q8_0 => "q8_0",
            Representation::Q4_0 => "q4_0",
            Representation::Q4KM => "q4_k_m",
        }
    }

    pub(super) const fn order(self) -> Quantization {
        match self {
            Representation::Q8_0 => Quantization::Q8_0,
            Representation::Q4_0 => Quantization::Q4_0,
            Representation::Q4KM => Quantization::Q4KM,
        }
    }
}

/// A model to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// A name of the catalogue, `hf:owner/repo[:file]`, `starter`, or the absolute path of a GGUF file on the
    /// service's machine. Left out with `upstream`.
    #[serde(default)]
    pub source: String,
    /// The server that serves it, instead of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<NewUpstream>,
    /// The name that requests give; left out: made from the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Write it in this representation, measure both, and serve the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Representation>,
    /// Try the representations on this machine and serve the fastest that is as good. Left out: for the starter
    /// model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimize: Option<bool>,
    /// Add it even if it does not fit the memory budget.
    #[serde(default)]
    pub force: bool,
}

/// What to change of a model; what is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChange {
    /// Keep it loaded, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

/// A model that can be added by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CatalogueView {
    /// The name to add it by.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The licence's short name.
    pub licence: String,
    /// How many weights.
    pub parameter_count: u64,
    /// Longest prompt and answer together, in tokens.
    pub context_length: u64,
    /// The usual file's quantization; left out when the catalogue knows no file.
    pub quantization: Option<String>,
    /// The usual file's size, in bytes.
    pub download_bytes: Option<u64>,
    /// The memory that it needs here, in bytes.
    pub memory_bytes: u64,
    /// Whether that fits the memory budget.
    pub fits: bool,
    /// The same in words.
    pub explanation: String,
}

impl CatalogueView {
    pub(super) fn new(entry: &catalogue::Entry, memory_budget_bytes: u64) -> Self {
        let fit = catalogue::fits(entry, memory_budget_bytes);
        let file = entry.files.first();
        Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            licence: entry.licence.clone(),
            parameter_count: entry.parameters,
            context_length: entry.context_tokens,
            quantization: file.map(|file| file.quantization.clone()),
            download_bytes: file.map(|file| file.bytes),
            memory_bytes: fit.needed_bytes,
            fits: fit.verdict != Verdict::TooLarge,
            explanation: fit.explanation,
        }
    }
}

/// It does not fit, and what to do if it is wanted all the same.
pub(super) fn too_large(explanation: &str) -> Error {
    Error::new(ErrorCode::InvalidRequest, format!("{explanation} Add it all the same with --force (`\"force\": true`)."))
}
