//! From an order to a loaded model and a context that fits.
//!
//! Decides how many tokens the cache holds and how many layers go to a GPU. Fast on purpose: no warm-up run, the
//! vocabulary is read beside the weights, and whatever only some requests need is made when the first of them comes.
//!
//! **Invariant:** a model that cannot be served is refused here, with a message for the operator.

use std::path::PathBuf;
use std::sync::Arc;

use super::EngineInfo;
use super::native::{Context, ContextOptions, Model, ModelOptions, SEQUENCES_LIMIT, backend};
use crate::order::{Device, Placement, ServeOrder};

/// Tokens of a step: enough to keep two cores busy, and soon over.
pub(crate) const BATCH_TOKENS_MAX: u32 = 512;

/// Smallest cache.
const CELLS_MIN: u32 = 256;

/// The cache starts with so many cells and grows with what runs: a short cache is soon made and soon gone over.
const CELLS_START: u32 = 1024;

/// Memory that is left to the rest of the machine and to buffers, in bytes.
const MEMORY_MARGIN_BYTES: u64 = 512 << 20;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// llama.cpp does not take the file.
    #[error("{path} is not a model that llama.cpp can load; the log lines before this one say why")]
    Refused {
        /// The file.
        path: PathBuf,
    },
    /// The model does not generate text token by token with a plain cache.
    #[error("models of architecture {0} cannot be served: only decoders with a cache of keys and values can")]
    Unsupported(String),
    /// Weights and the smallest cache are more than the order allows.
    #[error(
        "the model needs {needed_bytes} bytes for weights and the smallest cache, and may use {allowed_bytes}; allow more memory or choose a smaller model"
    )]
    TooLarge {
        /// Needed.
        needed_bytes: u64,
        /// Allowed.
        allowed_bytes: u64,
    },
    /// No context could be made.
    #[error("the cache for {cells} tokens ({bytes} bytes) cannot be allocated; set a smaller context")]
    NoContext {
        /// Tokens.
        cells: u32,
        /// Bytes.
        bytes: u64,
    },
    /// An adapter of the order could not be loaded.
    #[error("adapter {name}: {reason}")]
    Adapter {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The engine's thread could not be started.
    #[error("the engine's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A model, its context and what is known of them.
pub(crate) struct Loaded {
    pub model: Arc<Model>,
    pub context: Context,
    pub cells_start: u32,
    pub info: EngineInfo,
    pub sequences_max: u32,
    pub slots: u32,
    pub threads: u32,
}

/// Loads the model of an order.
pub(crate) fn load(order: &ServeOrder) -> Result<Loaded, LoadError> {
    let path = &order.model_path;
    std::fs::File::open(path).map_err(|error| LoadError::Unreadable { path: path.clone(), error })?;
    backend();
    let devices = devices();
    let gpus: Vec<&Device> = devices.iter().filter(|device| device.kind == "gpu" || device.kind == "integrated-gpu").collect();
    let gpu_layers = order.gpu_layers.unwrap_or_else(|| layers_that_fit(path, &gpus));
    let gpu_layers = if gpus.is_empty() { 0 } else { gpu_layers };
    let refused = || LoadError::Refused { path: path.clone() };
    let (model, made) = Model::load_with(path, &ModelOptions { gpu_layers }, &|model| make(order, model)).ok_or_else(refused)?;
    let Made { context, architecture, cells, cells_start, cell_bytes, sequences_max, slots, threads } = made?;
    let info = EngineInfo {
        sequence_tokens_max: model.trained_context().max(1).min(cells),
        context_tokens: cells,
        weights_bytes: model.weights_bytes(),
        cache_bytes: u64::from(cells) * cell_bytes,
        chat_template: model.chat_template(),
        bos_text: model.begin_token().0.and_then(|token| model.token_name(token)).unwrap_or_default(),
        eos_text: model.end_token().and_then(|token| model.token_name(token)).unwrap_or_default(),
        control_texts: control_texts(&model),
        architecture,
        placement: placement(&model, gpu_layers, &gpus),
        vocabulary_size: model.vocabulary_size(),
    };
    Ok(Loaded { model, context, cells_start, info, sequences_max, slots, threads })
}

/// What can be made before the vocabulary is read.
struct Made {
    context: Context,
    architecture: String,
    cells: u32,
    cells_start: u32,
    cell_bytes: u64,
    sequences_max: u32,
    slots: u32,
    threads: u32,
}

fn make(order: &ServeOrder, model: &Arc<Model>) -> Result<Made, LoadError> {
    let architecture = model.metadata("general.architecture").unwrap_or_default();
    if !model.is_plain_decoder() {
        return Err(LoadError::Unsupported(architecture));
    }
    let threads =
        order.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)));
    let sequences_max = order.sequences_max.clamp(1, SEQUENCES_LIMIT * 3 / 4);
    let slots = (sequences_max * 2 + 32).min(SEQUENCES_LIMIT);
    let cell_bytes = cell_bytes(model, &architecture);
    let cells = cells(order, model, cell_bytes)?;
    // Other architectures may compute positions in another way in a longer cache.
    let cells_start = if architecture == "llama" { cells.min(CELLS_START) } else { cells };
    let options = ContextOptions {
        cells: cells_start,
        batch_tokens_max: BATCH_TOKENS_MAX,
        outputs_max: slots,
        sequences: slots,
        threads,
        embeddings: false,
    };
    let cache_bytes = u64::from(cells_start) * cell_bytes;
    let context = Context::new(model, &options).ok_or(LoadError::NoContext { cells: cells_start, bytes: cache_bytes })?;
    Ok(Made { context, architecture, cells, cells_start, cell_bytes, sequences_max, slots, threads })
}

fn control_texts(model: &Model) -> Vec<String> {
    let controls = (0..model.vocabulary_size().cast_signed()).filter(|&token| model.is_control(token));
    controls.filter_map(|token| model.token_name(token)).filter(|text| !text.is_empty()).collect()
}

/// Bytes of keys and values of one token in all layers, as 16-bit floats.
fn cell_bytes(model: &Model, architecture: &str) -> u64 {
    let number = |key: &str| model.metadata(&format!("{architecture}.{key}")).and_then(|text| text.parse::<u64>().ok());
    let heads = number("attention.head_count").unwrap_or(1).max(1);
    let heads_kv = number("attention.head_count_kv").unwrap_or(heads);
    let head = number("embedding_length").unwrap_or(0) / heads;
    let key = number("attention.key_length").unwrap_or(head);
    let value = number("attention.value_length").unwrap_or(head);
    u64::from(model.layers()) * heads_kv * (key + value) * 2
}

/// Tokens that the cache holds.
fn cells(order: &ServeOrder, model: &Model, cell_bytes: u64) -> Result<u32, LoadError> {
    let weights = model.weights_bytes();
    let allowed_bytes = order
        .memory_max_bytes
        .unwrap_or_else(|| memory_available_bytes().map_or(u64::MAX, |bytes| bytes.saturating_sub(MEMORY_MARGIN_BYTES)));
    let needed_bytes = weights.saturating_add(u64::from(CELLS_MIN) * cell_bytes);
    if order.memory_max_bytes.is_some() && needed_bytes > allowed_bytes {
        return Err(LoadError::TooLarge { needed_bytes, allowed_bytes });
    }
    let fits = allowed_bytes.saturating_sub(weights) / cell_bytes.max(1);
    let fits = u32::try_from(fits).unwrap_or(u32::MAX).max(CELLS_MIN);
    let wanted = order.context_tokens.unwrap_or_else(|| model.trained_context());
    Ok(wanted.clamp(CELLS_MIN, fits) / CELLS_MIN * CELLS_MIN)
}

/// Memory that can be had without swapping, on Linux.
fn memory_available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Devices that llama.cpp can compute on, as it was built.
pub fn devices() -> Vec<Device> {
    use llama_cpp_2::LlamaBackendDeviceType as Kind;
    backend();
    let devices = llama_cpp_2::list_llama_ggml_backend_devices().into_iter();
    let describe = |device: llama_cpp_2::LlamaBackendDevice| Device {
        kind: match device.device_type {
            Kind::Gpu => "gpu",
            Kind::IntegratedGpu => "integrated-gpu",
            Kind::Accelerator => "accelerator",
            Kind::Cpu | Kind::Unknown => "cpu",
        }
        .to_owned(),
        name: device.name,
        description: device.description,
        memory_bytes: device.memory_total as u64,
        memory_free_bytes: device.memory_free as u64,
    };
    devices.map(describe).collect()
}

/// Layers that fit into the free memory of the GPUs, judged by the size of the file with room for the cache.
fn layers_that_fit(path: &std::path::Path, gpus: &[&Device]) -> u32 {
    const ALL: u32 = 1_000;
    if gpus.is_empty() {
        return 0;
    }
    let Ok(file) = std::fs::metadata(path) else { return 0 };
    let free: u64 = gpus.iter().map(|gpu| gpu.memory_free_bytes.saturating_sub(MEMORY_MARGIN_BYTES)).sum();
    // A quarter more than the weights, for the cache and buffers.
    let needed = file.len() + file.len() / 4;
    if free >= needed {
        return ALL;
    }
    let Some(header) = Model::load_vocabulary(path) else { return 0 };
    let layers = u64::from(header.layers());
    u32::try_from(layers * free / needed.max(1)).unwrap_or(0)
}

fn placement(model: &Model, gpu_layers: u32, gpus: &[&Device]) -> Vec<Placement> {
    // llama.cpp counts the output layer as one more.
    let all = model.layers() + 1;
    let offloaded = gpu_layers.min(all);
    let mut placement = Vec::new();
    let free: u64 = gpus.iter().map(|gpu| gpu.memory_free_bytes).sum();
    let mut left = offloaded;
    for (index, gpu) in gpus.iter().enumerate().filter(|_| offloaded > 0) {
        let part = u64::from(offloaded) * gpu.memory_free_bytes / free.max(1);
        let layers = if index + 1 == gpus.len() { left } else { u32::try_from(part).unwrap_or(left).min(left) };
        left -= layers;
        placement.push(Placement { device: gpu.name.clone(), layers });
    }
    if all > offloaded {
        placement.push(Placement { device: "CPU".to_owned(), layers: all - offloaded });
    }
    placement
}
