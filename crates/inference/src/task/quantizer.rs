//! llama.cpp's conversion between representations.
//!
//! **Invariant:** the only call of native code here; it gets two C strings and a plain struct, and reports by number.

#![expect(unsafe_code, reason = "llama-cpp-2 has no wrapper for llama_model_quantize")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::TaskError;
use super::partial::Partial;
use crate::engine::backend;
use crate::order::Quantization;

/// The name of a representation, as people write it.
pub(super) fn name(quantization: Quantization) -> &'static str {
    match quantization {
        Quantization::Q8_0 => "q8_0",
        Quantization::Q4_0 => "q4_0",
        Quantization::Q4KM => "q4_k_m",
        Quantization::Bf16 => "bf16",
    }
}

/// Converts a file.
pub(super) fn quantize(source: &Path, target: &Path, quantization: Quantization, threads: u32) -> Result<(), TaskError> {
    let unreadable = |error| TaskError::File { action: "read", path: source.to_owned(), error };
    std::fs::File::open(source).map_err(unreadable)?;
    backend();
    let partial = Partial::new(target)?;
    let text = |path: &Path| {
        CString::new(path.as_os_str().as_bytes()).map_err(|error| TaskError::File {
            action: "name",
            path: path.to_owned(),
            error: error.into(),
        })
    };
    let (from, to) = (text(source)?, text(partial.path())?);
    // SAFETY: returns a plain struct of defaults.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.nthread = i32::try_from(threads).unwrap_or(1);
    params.allow_requantize = true;
    params.ftype = match quantization {
        Quantization::Q8_0 => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
        Quantization::Q4_0 => sys::LLAMA_FTYPE_MOSTLY_Q4_0,
        Quantization::Q4KM => sys::LLAMA_FTYPE_MOSTLY_Q4_K_M,
        Quantization::Bf16 => sys::LLAMA_FTYPE_MOSTLY_BF16,
    };
    // SAFETY: both strings and the parameters live until the call returns; the pointers in the parameters are null,
    // which llama.cpp reads as "none"; it turns its exceptions into a number.
    let code = unsafe { sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params) };
    if code != 0 {
        return Err(TaskError::Conversion { path: source.to_owned(), quantization: name(quantization) });
    }
    partial.finish()
}
