//! A model and its adapters in llama.cpp: weights, vocabulary, what the file says.
//!
//! **Invariant:** whatever points into a model keeps it alive.

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use llama_cpp_sys_2 as sys;

use super::backend;
use super::words::Words;
use crate::engine::Token;

/// A loaded model: weights and vocabulary. Shared between threads.
#[derive(Debug)]
pub(crate) struct Model {
    model: NonNull<sys::llama_model>,
    vocabulary: NonNull<sys::llama_vocab>,
    /// The same file without its weights, if these were loaded without the vocabulary.
    words: OnceLock<Box<Model>>,
}

// SAFETY: after loading, llama.cpp only reads the model, except for the list of adapters, which `Adapter::load` and
// `Adapter::drop` change; those are called from the engine's thread only.
unsafe impl Send for Model {}
// SAFETY: as above: every method takes `&self` and only reads.
unsafe impl Sync for Model {}

/// How a model is put into memory.
pub(crate) struct ModelOptions {
    /// Layers on the GPU.
    pub gpu_layers: u32,
}

/// What of a file is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    Weights,
    Vocabulary,
}

impl Model {
    /// Loads a file; `None` when llama.cpp refuses it (its log says why).
    pub fn load(path: &Path, options: &ModelOptions) -> Option<Arc<Self>> {
        Self::load_with(path, options, &|_| ()).map(|(model, ())| model)
    }

    /// Loads a file and makes something of the model that does not need the vocabulary. Reading that takes about as
    /// long as everything else of a small model, so both are done at once.
    pub fn load_with<T: Send>(path: &Path, options: &ModelOptions, make: &(dyn Fn(&Arc<Self>) -> T + Sync)) -> Option<(Arc<Self>, T)> {
        let load = |parts| {
            let model = Arc::new(Self::load_parts(path, options, parts)?);
            let made = make(&model);
            Some((model, made))
        };
        let (words, weights) = std::thread::scope(|scope| {
            let weights = std::thread::Builder::new().name("weights".to_owned()).spawn_scoped(scope, || load(Parts::Weights));
            // A vocabulary is many small pieces of memory, which the main thread gets more cheaply.
            (
                Self::load_vocabulary(path),
                weights.ok().and_then(|weights| weights.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            )
        });
        let words = words?;
        if let Some((model, made)) = weights
            && model.vocabulary_size() == words.vocabulary_size()
            && model.words.set(Box::new(words)).is_ok()
        {
            return Some((model, made));
        }
        tracing::info!("the weights do not load without the vocabulary, or at all; both are loaded in one go");
        load(Parts::All)
    }

    /// Loads only what the file says about the model, not its weights.
    pub fn load_vocabulary(path: &Path) -> Option<Self> {
        Self::load_parts(path, &ModelOptions { gpu_layers: 0 }, Parts::Vocabulary)
    }

    fn load_parts(path: &Path, options: &ModelOptions, parts: Parts) -> Option<Self> {
        backend();
        let words = if parts == Parts::Vocabulary { None } else { Words::of(path) };
        // What is put in another order lies in memory of its own: read into it, it is there once; mapped, it is there twice.
        let is_copied = options.gpu_layers == 0 && words.as_ref().and_then(|words| words.file_type).is_some_and(is_copied);
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: plain C calls with a valid string; the only pointer in the parameters is to what lives as long as this call.
        unsafe {
            let mut params = sys::llama_model_default_params();
            params.n_gpu_layers = i32::try_from(options.gpu_layers).unwrap_or(i32::MAX);
            params.load_mode = if is_copied { sys::LLAMA_LOAD_MODE_NONE } else { sys::LLAMA_LOAD_MODE_MMAP };
            params.vocab_only = parts == Parts::Vocabulary;
            // Until the model is loaded.
            let overrides = without_vocabulary(words.as_ref());
            if parts == Parts::Weights {
                params.kv_overrides = overrides.as_ptr();
            }
            let model = NonNull::new(sys::llama_model_load_from_file(path.as_ptr(), params))?;
            let vocabulary = NonNull::new(sys::llama_model_get_vocab(model.as_ptr()).cast_mut());
            let Some(vocabulary) = vocabulary else {
                sys::llama_model_free(model.as_ptr());
                return None;
            };
            Some(Self { model, vocabulary, words: OnceLock::new() })
        }
    }

    /// For calls of llama.cpp; null never.
    pub(super) fn raw(&self) -> *mut sys::llama_model {
        self.model.as_ptr()
    }

    fn vocab(&self) -> *const sys::llama_vocab {
        self.words.get().map_or(self.vocabulary, |words| words.vocabulary).as_ptr()
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> u32 {
        // SAFETY: reads a field of a live vocabulary.
        u32::try_from(unsafe { sys::llama_vocab_n_tokens(self.vocab()) }).unwrap_or(0)
    }

    /// Positions that the model was trained on.
    pub fn trained_context(&self) -> u32 {
        // SAFETY: reads a field of a live model.
        u32::try_from(unsafe { sys::llama_model_n_ctx_train(self.model.as_ptr()) }).unwrap_or(0)
    }

    /// Number of layers.
    pub fn layers(&self) -> u32 {
        // SAFETY: reads a field of a live model.
        u32::try_from(unsafe { sys::llama_model_n_layer(self.model.as_ptr()) }).unwrap_or(0)
    }

    /// Bytes of all weights.
    pub fn weights_bytes(&self) -> u64 {
        // SAFETY: reads fields of a live model.
        unsafe { sys::llama_model_size(self.model.as_ptr()) }
    }

    /// Whether tokens can be generated with a cache of keys and values, as the scheduler expects.
    pub fn is_plain_decoder(&self) -> bool {
        let model = self.model.as_ptr();
        // SAFETY: reads fields of a live model.
        unsafe {
            sys::llama_model_has_decoder(model)
                && !sys::llama_model_has_encoder(model)
                && !sys::llama_model_is_recurrent(model)
                && !sys::llama_model_is_hybrid(model)
                && !sys::llama_model_is_diffusion(model)
        }
    }

    /// A metadata value of the file as text.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let key = CString::new(key).ok()?;
        let mut buffer = vec![0_u8; 256];
        loop {
            // SAFETY: the buffer is as long as said; llama.cpp ends the text with a zero.
            let length = unsafe {
                sys::llama_model_meta_val_str(self.model.as_ptr(), key.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), buffer.len())
            };
            let length = usize::try_from(length).ok()?;
            if length < buffer.len() {
                buffer.truncate(length);
                return String::from_utf8(buffer).ok();
            }
            buffer.resize(length + 1, 0);
        }
    }

    /// The file's chat template.
    pub fn chat_template(&self) -> Option<String> {
        // SAFETY: the text belongs to the model and ends with a zero; it is copied at once.
        unsafe {
            let text = sys::llama_model_chat_template(self.model.as_ptr(), std::ptr::null());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    fn valid(&self, token: Token) -> bool {
        u32::try_from(token).is_ok_and(|token| token < self.vocabulary_size())
    }

    /// The beginning-of-text token, and whether prompts begin with it.
    pub fn begin_token(&self) -> (Option<Token>, bool) {
        // SAFETY: reads fields of a live vocabulary.
        let (token, wanted) = unsafe { (sys::llama_vocab_bos(self.vocab()), sys::llama_vocab_get_add_bos(self.vocab())) };
        (Some(token).filter(|&token| self.valid(token)), wanted)
    }

    /// The end-of-text token, or else the end-of-turn token.
    pub fn end_token(&self) -> Option<Token> {
        // SAFETY: reads fields of a live vocabulary.
        let (text, turn) = unsafe { (sys::llama_vocab_eos(self.vocab()), sys::llama_vocab_eot(self.vocab())) };
        [text, turn].into_iter().find(|&token| self.valid(token))
    }

    /// Whether this token ends an answer.
    pub fn is_end(&self, token: Token) -> bool {
        // SAFETY: reads a set of a live vocabulary; llama.cpp accepts any number here.
        unsafe { sys::llama_vocab_is_eog(self.vocab(), token) }
    }

    /// Whether this token controls the model rather than being text.
    pub fn is_control(&self, token: Token) -> bool {
        // SAFETY: the token is in range.
        self.valid(token) && unsafe { sys::llama_vocab_is_control(self.vocab(), token) }
    }

    /// The token's name in the vocabulary.
    pub fn token_name(&self, token: Token) -> Option<String> {
        if !self.valid(token) {
            return None;
        }
        // SAFETY: the token is in range; the text belongs to the model and is copied at once.
        unsafe {
            let text = sys::llama_vocab_get_text(self.vocab(), token);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// Appends the token's bytes; control tokens have some only if `special` is set.
    pub fn piece(&self, token: Token, special: bool, out: &mut Vec<u8>) {
        if !self.valid(token) {
            return;
        }
        out.reserve(64);
        loop {
            let spare = out.spare_capacity_mut();
            let room = i32::try_from(spare.len()).unwrap_or(i32::MAX);
            // SAFETY: llama.cpp writes at most `room` bytes into the spare capacity.
            let written = unsafe { sys::llama_token_to_piece(self.vocab(), token, spare.as_mut_ptr().cast::<c_char>(), room, 0, special) };
            if let Ok(written) = usize::try_from(written) {
                // SAFETY: that many bytes were just written.
                unsafe { out.set_len(out.len() + written) };
                return;
            }
            out.reserve(written.unsigned_abs() as usize);
        }
    }

    /// Text to tokens, without begin and end tokens. `None` if the tokenizer fails.
    pub fn tokenize(&self, text: &str, special: bool, out: &mut Vec<Token>) -> Option<()> {
        let length = i32::try_from(text.len()).ok()?;
        out.reserve(text.len() / 3 + 8);
        loop {
            let spare = out.spare_capacity_mut();
            let room = i32::try_from(spare.len()).unwrap_or(i32::MAX);
            // SAFETY: the text is as long as said; at most `room` tokens are written into the spare capacity.
            let written = unsafe {
                sys::llama_tokenize(
                    self.vocab(),
                    text.as_ptr().cast::<c_char>(),
                    length,
                    spare.as_mut_ptr().cast::<Token>(),
                    room,
                    false,
                    special,
                )
            };
            if written == i32::MIN {
                return None;
            }
            if let Ok(written) = usize::try_from(written) {
                // SAFETY: that many tokens were just written.
                unsafe { out.set_len(out.len() + written) };
                return Some(());
            }
            out.reserve(written.unsigned_abs() as usize);
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: contexts and adapters hold the model alive, so none is left.
        unsafe { sys::llama_model_free(self.model.as_ptr()) };
    }
}

/// Whether matrices of a kind (llama.cpp's numbers of `general.file_type`) are put in another order for this processor: by
/// ggml (`ggml-cpu/repack.cpp`), or for the engine's own kernels.
fn is_copied(file_type: u32) -> bool {
    let avx2 = cfg!(all(target_arch = "x86_64", target_feature = "avx2"));
    let avx512 = cfg!(all(target_arch = "x86_64", target_feature = "avx512f"));
    let neon = cfg!(all(target_arch = "aarch64", target_feature = "dotprod"));
    match file_type {
        // Q4_0, Q4_K, IQ4_NL, MXFP4
        2 | 14 | 15 | 25 | 38 => avx2 || neon,
        // Q4_1
        3 => cfg!(tiles),
        // Q2_K
        10 | 21 => avx512,
        // Q8_0, Q5_K, Q6_K
        7 | 16..=18 => neon,
        _ => false,
    }
}

/// Says that a file has no vocabulary but for its size, which not every file says itself; an entry without a key ends the list.
fn without_vocabulary(words: Option<&Words>) -> Vec<sys::llama_model_kv_override> {
    type Value = sys::llama_model_kv_override__bindgen_ty_1;
    let entry = |tag, key: &str, value| sys::llama_model_kv_override { tag, key: c_text(key), __bindgen_anon_1: value };
    let text = |key: &str, text: &str| entry(sys::LLAMA_KV_OVERRIDE_TYPE_STR, key, Value { val_str: c_text(text) });
    let size = words.map(|Words { architecture, count, .. }| {
        let value = Value { val_i64: (*count).into() };
        entry(sys::LLAMA_KV_OVERRIDE_TYPE_INT, &format!("{architecture}.vocab_size"), value)
    });
    std::iter::once(text("tokenizer.ggml.model", "no_vocab")).chain(size).chain([text("", "")]).collect()
}

/// A text that ends with a zero, cut off where it has no room for that.
fn c_text(text: &str) -> [c_char; 128] {
    let mut bytes = [0; 128];
    for (byte, &letter) in bytes[..127].iter_mut().zip(text.as_bytes()) {
        *byte = letter.cast_signed();
    }
    bytes
}

/// A LoRA adapter that fits one model. Made, used and dropped on the engine's thread.
#[derive(Debug)]
pub(crate) struct Adapter {
    adapter: NonNull<sys::llama_adapter_lora>,
    _model: Arc<Model>,
}

// SAFETY: llama.cpp does not tie an adapter to a thread; it moves once, with the engine's state, to its thread.
unsafe impl Send for Adapter {}

impl Adapter {
    /// Loads a file; `None` when llama.cpp refuses it (its log says why).
    pub fn load(model: &Arc<Model>, path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: plain C call; only the engine's thread changes the model's list of adapters.
        let adapter = unsafe { sys::llama_adapter_lora_init(model.model.as_ptr(), path.as_ptr()) };
        NonNull::new(adapter).map(|adapter| Self { adapter, _model: Arc::clone(model) })
    }
}

impl Adapter {
    /// For calls of llama.cpp; null never.
    pub(super) fn raw(&self) -> *mut sys::llama_adapter_lora {
        self.adapter.as_ptr()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // SAFETY: the engine takes an adapter off its context before it drops it.
        unsafe { sys::llama_adapter_lora_free(self.adapter.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The starter model, and whether its file says how large its vocabulary is.
    fn starter(says: bool) -> tempfile::NamedTempFile {
        let path = std::env::var_os("FREEHOLD_STARTER_GGUF").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/starter/SmolLM2-135M-Instruct.Q4_1.gguf"),
            std::path::PathBuf::from,
        );
        let mut bytes = std::fs::read(&path).expect("run make starter first");
        if !says {
            let key = b"llama.vocab_size";
            let place = bytes.windows(key.len()).position(|window| window == key).expect("the file says it");
            bytes[place..][..key.len()].copy_from_slice(b"llama.vocab_sixe");
        }
        let copy = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(copy.path(), bytes).expect("written");
        copy
    }

    #[test]
    fn weights_and_vocabulary_are_each_loaded_once_whatever_the_file_says_of_its_size() {
        for says in [true, false] {
            let file = starter(says);
            let made = std::sync::atomic::AtomicU32::new(0);
            let make = |_: &Arc<Model>| made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (model, _) = Model::load_with(file.path(), &ModelOptions { gpu_layers: 0 }, &make).expect("it loads");
            assert!(model.words.get().is_some(), "in two halves, not both again in one go");
            assert_eq!((made.into_inner(), model.vocabulary_size()), (1, 49_152));
        }
    }
}
