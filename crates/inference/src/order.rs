//! What the service tells a worker process to do, and what the worker reports.
//!
//! One order a process, as one line of JSON on standard input; reports as lines of JSON on standard output. When
//! standard input closes, the service is gone and the worker ends: no worker outlives its service.
//!
//! **Invariant:** both sides are the same binary, so these types carry no version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The one thing that a worker process is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Load a model and serve it until told to stop.
    Serve(ServeOrder),
    /// Write a model in another representation, measure both, and end.
    Quantize(QuantizeOrder),
    /// Try the representations on this machine, keep the fastest that is as good, and end.
    Optimize(OptimizeOrder),
    /// List the devices that the engine can compute on, and end.
    Devices,
}

/// Load a model and serve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServeOrder {
    /// The name that answers carry and that metrics are labelled with.
    pub model_name: String,
    /// The GGUF file.
    pub model_path: PathBuf,
    /// The Unix socket to listen on; made by the worker.
    pub socket: PathBuf,
    /// Adapters to load at the start.
    pub adapters: Vec<AdapterFile>,
    /// Tokens of KV cache for all sequences together; `None`: the model's own context, as memory allows.
    pub context_tokens: Option<u32>,
    /// Most sequences that are computed at once.
    pub sequences_max: u32,
    /// Requests that may wait; one more is refused with 429.
    pub queue_max: u32,
    /// Threads to compute with; `None`: one for each core.
    pub threads: Option<u32>,
    /// Most memory for weights and cache together, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Layers to put on a GPU; `None`: as many as fit.
    pub gpu_layers: Option<u32>,
    /// Most milliseconds from a request's arrival to its last token.
    pub deadline_ms: u64,
    /// Write prompts and answers to the log.
    pub log_prompts: bool,
}

/// A LoRA adapter on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterFile {
    /// The part after the colon in `model:adapter`.
    pub name: String,
    /// The GGUF file.
    pub path: PathBuf,
}

/// How weights are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// 8.5 bits a weight.
    Q8_0,
    /// 4.5 bits a weight.
    Q4_0,
    /// About 4.8 bits a weight, mixed.
    Q4KM,
    /// 16 bits a weight: as large as the original or larger, and the fastest for many answers at once on some
    /// processors.
    Bf16,
}

/// Write a model in another representation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizeOrder {
    /// The GGUF file to read.
    pub source: PathBuf,
    /// The GGUF file to write; written beside it first and renamed when whole.
    pub target: PathBuf,
    /// The representation.
    pub quantization: Quantization,
    /// Threads to compute with.
    pub threads: Option<u32>,
}

/// Find the fastest representation that is as good as the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizeOrder {
    /// The original.
    pub source: PathBuf,
    /// Where candidates are written; only the one that is kept remains.
    pub folder: PathBuf,
    /// Largest rise of perplexity over the original, in thousandths (5 = 0.5 %).
    pub perplexity_rise_max_permille: u32,
    /// Most memory for weights, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Threads to compute with.
    pub threads: Option<u32>,
}

/// What a worker says on standard output, one line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The model is loaded and the socket is open.
    Ready(ReadyReport),
    /// How far it is.
    Progress {
        /// What is being done, for a person.
        step: String,
        /// Done, in thousandths.
        permille: u32,
    },
    /// A representation was measured.
    Measured(Measurement),
    /// A quantize order is done.
    Quantized {
        /// The original.
        before: Measurement,
        /// What was written.
        after: Measurement,
    },
    /// An optimize order is done.
    Optimized {
        /// Everything that was tried, the original first.
        tried: Vec<Measurement>,
        /// Index in `tried` of the one that is kept; 0 keeps the original.
        kept: usize,
    },
    /// The answer to [`Order::Devices`].
    Devices(Vec<Device>),
    /// The order could not be carried out; the last line.
    Failed {
        /// For a person: what is wrong and what to do.
        message: String,
    },
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadyReport {
    /// Tokens of KV cache for all sequences together.
    pub context_tokens: u32,
    /// Longest prompt and answer together.
    pub sequence_tokens_max: u32,
    /// Weights, in bytes.
    pub weights_bytes: u64,
    /// KV cache, in bytes.
    pub cache_bytes: u64,
    /// Where the layers are.
    pub placement: Vec<Placement>,
    /// Milliseconds from the order to this report.
    pub load_ms: u64,
}

/// Layers of a model on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The device's name.
    pub device: String,
    /// How many layers.
    pub layers: u32,
}

/// Something that computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// llama.cpp's name of the device.
    pub name: String,
    /// What it is.
    pub description: String,
    /// `cpu`, `gpu`, `integrated-gpu` or `accelerator`.
    pub kind: String,
    /// All of its memory, in bytes.
    pub memory_bytes: u64,
    /// What is free of it, in bytes.
    pub memory_free_bytes: u64,
}

/// A representation of a model, measured on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The representation's name: `original`, `q8_0`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Perplexity on the built-in text.
    pub perplexity: f64,
    /// Tokens a second with 8 sequences at once.
    pub decode_tokens_per_s: f64,
    /// Tokens a second of prompt.
    pub prompt_tokens_per_s: f64,
}
