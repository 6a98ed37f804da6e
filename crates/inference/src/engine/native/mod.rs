//! The door to llama.cpp: besides the kernels in `tiles` the only module with `unsafe` code.
//!
//! `llama-cpp-2` builds and links llama.cpp, starts its backend and forwards its log. What the engine needs beyond
//! that wrapper is called here directly: loading adapters while the model is shared, a bound on output rows, logits
//! by reference without a panic, and a batch whose arrays belong to Rust. Nothing here schedules or samples.
//!
//! **Invariant:** a [`Context`] and an [`Adapter`] keep their [`Model`] alive, and everything that changes a context
//! takes `&mut`. The backend is started once and never stopped.

#![expect(unsafe_code, reason = "llama.cpp is C++; each block says why the call is sound")]

mod model;
mod words;

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

pub(crate) use self::model::{Adapter, Model, ModelOptions};
use super::Token;

/// Most sequences that one context can tell apart: fixed when llama.cpp is compiled.
pub(crate) const SEQUENCES_LIMIT: u32 = 256;

/// Starts llama.cpp's backend once for the process and sends its log to `tracing`.
///
/// # Panics
/// The backend was started elsewhere: everything in this crate must call this function.
pub fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
        #[cfg(tiles)]
        super::tiles::register();
        LlamaBackend::init().expect("this is the only place that starts the backend")
    })
}

/// What a context is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextOptions {
    /// Cells of the cache.
    pub cells: u32,
    /// Most tokens of a step.
    pub batch_tokens_max: u32,
    /// Most rows of a step whose logits are wanted, at least as many as sequences.
    pub outputs_max: u32,
    /// Sequences that are told apart, up to [`SEQUENCES_LIMIT`].
    pub sequences: u32,
    /// Threads to compute with.
    pub threads: u32,
    /// Give the last hidden state of every token instead of logits.
    pub embeddings: bool,
}

/// Why a step could not be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StepError {
    /// The cache has no room for the step; nothing was changed.
    #[error("the cache has no room for this step")]
    NoRoom,
    /// The cache cannot have so many cells; it has as many as before, all of them empty.
    #[error("there is no memory for a cache of {0} cells")]
    NoMemory(u32),
    /// Anything else; the context can no longer be trusted.
    #[error("llama_decode failed with {0}")]
    Fatal(i32),
}

/// A cache of keys and values and the buffers to compute with.
#[derive(Debug)]
pub(crate) struct Context {
    context: NonNull<sys::llama_context>,
    memory: sys::llama_memory_t,
    vocabulary_size: usize,
    embedding_size: usize,
    model: Arc<Model>,
    options: ContextOptions,
    is_freed: bool,
}

// SAFETY: llama.cpp does not tie a context to a thread; `&mut` keeps its use to one at a time.
unsafe impl Send for Context {}

impl Context {
    /// Makes a context; `None` when llama.cpp refuses (usually for want of memory).
    pub fn new(model: &Arc<Model>, options: &ContextOptions) -> Option<Self> {
        let threads = i32::try_from(options.threads).unwrap_or(1).max(1);
        // SAFETY: the parameters hold no pointers; the model outlives the context by the `Arc`.
        unsafe {
            let mut params = sys::llama_context_default_params();
            params.n_ctx = options.cells;
            params.n_batch = options.batch_tokens_max;
            params.n_ubatch = options.batch_tokens_max;
            params.n_seq_max = options.sequences.min(SEQUENCES_LIMIT);
            params.n_outputs_max = options.outputs_max;
            params.n_threads = threads;
            params.n_threads_batch = threads;
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
            params.embeddings = options.embeddings;
            params.pooling_type = sys::LLAMA_POOLING_TYPE_NONE;
            params.kv_unified = true;
            params.no_perf = true;
            params.swa_full = true;
            let context = NonNull::new(sys::llama_init_from_model(model.raw(), params))?;
            let embedding_size = sys::llama_model_n_embd_out(model.raw());
            Some(Self {
                context,
                memory: sys::llama_get_memory(context.as_ptr()),
                vocabulary_size: model.vocabulary_size() as usize,
                embedding_size: usize::try_from(embedding_size).unwrap_or(0),
                model: Arc::clone(model),
                options: *options,
                is_freed: false,
            })
        }
    }

    /// Makes the cache of so many cells; what it holds stays, an adapter has to be set again.
    ///
    /// # Errors
    /// There is no memory for so many: the cache is as large as before and holds nothing that can be relied on. A
    /// fatal error if not even that can be had again; the context must then not be used any more.
    pub fn resize(&mut self, cells: u32) -> Result<(), StepError> {
        // SAFETY: llama.cpp says how many bytes it needs, and writes no more than it is told there are.
        let (state, size) = unsafe {
            let size = sys::llama_state_get_size(self.context.as_ptr());
            let mut state = Vec::<u8>::new();
            state.try_reserve_exact(size).map_err(|_| StepError::NoMemory(cells))?;
            let written = sys::llama_state_get_data(self.context.as_ptr(), state.as_mut_ptr(), size);
            state.set_len(written.min(size));
            (state, size)
        };
        if size == 0 || state.len() != size {
            return Err(StepError::Fatal(-1));
        }
        // The old cache goes before the new one comes: both and the copy would be more than the order allows.
        self.free();
        let Some(other) = Self::new(&self.model, &ContextOptions { cells, ..self.options }) else {
            drop(state);
            *self = Self::new(&self.model, &self.options).ok_or(StepError::Fatal(-1))?;
            return Err(StepError::NoMemory(cells));
        };
        // SAFETY: the bytes are what a context of the same model wrote, and it reads no more than it is told there are.
        let read = unsafe { sys::llama_state_set_data(other.context.as_ptr(), state.as_ptr(), state.len()) };
        *self = other;
        if read == state.len() { Ok(()) } else { Err(StepError::Fatal(-1)) }
    }

    /// Cells of the cache.
    pub fn cells(&self) -> u32 {
        self.options.cells
    }

    fn free(&mut self) {
        if !std::mem::replace(&mut self.is_freed, true) {
            // SAFETY: this is the only owner, and it happens once.
            unsafe { sys::llama_free(self.context.as_ptr()) };
        }
    }

    /// A copy of a sequence's cells. Empty if llama.cpp refuses.
    pub fn copy_out(&mut self, sequence: u32) -> Vec<u8> {
        debug_assert!(sequence < SEQUENCES_LIMIT);
        // SAFETY: llama.cpp says how many bytes it needs, and writes no more than it is told there are.
        unsafe {
            let size = sys::llama_state_seq_get_size(self.context.as_ptr(), sequence.cast_signed());
            let mut copy = Vec::<u8>::with_capacity(size);
            let written = sys::llama_state_seq_get_data(self.context.as_ptr(), copy.as_mut_ptr(), size, sequence.cast_signed());
            copy.set_len(if written == size { size } else { 0 });
            copy
        }
    }

    /// Lets an empty sequence begin with the first `length` cells of a copy. False if llama.cpp refuses; the sequence
    /// is then empty.
    pub fn copy_in(&mut self, copy: &[u8], sequence: u32, length: u32) -> bool {
        debug_assert!(sequence < SEQUENCES_LIMIT);
        if copy.is_empty() {
            return false;
        }
        // SAFETY: the bytes are what a context of the same model wrote; both calls check their bounds.
        unsafe {
            let read = sys::llama_state_seq_set_data(self.context.as_ptr(), copy.as_ptr(), copy.len(), sequence.cast_signed());
            read == copy.len() && sys::llama_memory_seq_rm(self.memory, sequence.cast_signed(), length.cast_signed(), -1)
        }
    }

    /// The model of this context.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Computes the rows of a batch.
    ///
    /// # Errors
    /// No room, or a fault after which this context must not be used.
    pub fn compute(&mut self, batch: &mut Batch) -> Result<(), StepError> {
        let raw = batch.raw();
        // SAFETY: the arrays of the batch are as long as its count says and live until the call returns.
        match unsafe { sys::llama_decode(self.context.as_ptr(), raw) } {
            0 => Ok(()),
            1 => Err(StepError::NoRoom),
            code => Err(StepError::Fatal(code)),
        }
    }

    /// The logits of a row of the last batch that asked for them.
    pub fn logits(&mut self, row: usize) -> Option<&[f32]> {
        let row = i32::try_from(row).ok()?;
        // SAFETY: llama.cpp gives null or `vocabulary_size` numbers that stay until the next `&mut` call.
        unsafe {
            let data = sys::llama_get_logits_ith(self.context.as_ptr(), row);
            (!data.is_null()).then(|| std::slice::from_raw_parts(data, self.vocabulary_size))
        }
    }

    /// The hidden state of a row of the last batch, in a context made for embeddings.
    pub fn embedding(&mut self, row: usize) -> Option<&[f32]> {
        let row = i32::try_from(row).ok()?;
        // SAFETY: llama.cpp gives null or `embedding_size` numbers that stay until the next `&mut` call.
        unsafe {
            let data = sys::llama_get_embeddings_ith(self.context.as_ptr(), row);
            (!data.is_null()).then(|| std::slice::from_raw_parts(data, self.embedding_size))
        }
    }

    /// Numbers in an embedding.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size
    }

    /// Lets `target` begin with the first `length` cells of `source`; nothing is copied.
    pub fn share(&mut self, source: u32, target: u32, length: u32) {
        debug_assert!(source < SEQUENCES_LIMIT && target < SEQUENCES_LIMIT);
        // SAFETY: both sequences are below the limit that the context was made with.
        unsafe { sys::llama_memory_seq_cp(self.memory, source.cast_signed(), target.cast_signed(), 0, length.cast_signed()) };
    }

    /// Forgets a sequence.
    pub fn clear(&mut self, sequence: u32) {
        debug_assert!(sequence < SEQUENCES_LIMIT);
        // SAFETY: the sequence is below the limit; removing a whole sequence always succeeds.
        unsafe { sys::llama_memory_seq_rm(self.memory, sequence.cast_signed(), -1, -1) };
    }

    /// Forgets everything.
    pub fn clear_all(&mut self) {
        // SAFETY: the memory belongs to this context.
        unsafe { sys::llama_memory_clear(self.memory, false) };
    }

    /// Uses one adapter, or none, from the next step on. False if llama.cpp refuses.
    pub fn set_adapter(&mut self, adapter: Option<&Adapter>) -> bool {
        let mut adapters = [adapter.map_or(std::ptr::null_mut(), |adapter| adapter.raw())];
        let mut scales = [1.0_f32];
        // SAFETY: the arrays hold as many entries as said; the engine keeps the adapter while it is set.
        let code = unsafe {
            sys::llama_set_adapters_lora(self.context.as_ptr(), adapters.as_mut_ptr(), usize::from(adapter.is_some()), scales.as_mut_ptr())
        };
        code == 0
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.free();
    }
}

/// The rows of a step: arrays that are filled again for each step without being allocated again.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    tokens: Vec<Token>,
    positions: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequences: Vec<i32>,
    sequence_pointers: Vec<*mut i32>,
    outputs: Vec<i8>,
}

// SAFETY: the pointers point into the batch's own vector and are made anew before each use.
unsafe impl Send for Batch {}

impl Batch {
    /// Removes all rows.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.outputs.clear();
    }

    /// Adds a row.
    pub fn push(&mut self, token: Token, position: u32, sequence: u32, output: bool) {
        self.tokens.push(token);
        self.positions.push(position.cast_signed());
        self.sequences.push(sequence.cast_signed());
        self.outputs.push(i8::from(output));
    }

    fn raw(&mut self) -> sys::llama_batch {
        self.sequence_counts.resize(self.tokens.len(), 1);
        self.sequence_pointers.clear();
        self.sequence_pointers.extend(self.sequences.iter_mut().map(std::ptr::from_mut));
        sys::llama_batch {
            n_tokens: i32::try_from(self.tokens.len()).unwrap_or(i32::MAX),
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.sequence_counts.as_mut_ptr(),
            seq_id: self.sequence_pointers.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}
