//! Headers of GGUF files: whatever the bytes are, the answer is a summary or an error.

#![no_main]

use std::io::Cursor;

use freehold_models::gguf::{part_name, summarise_reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(summary) = summarise_reader(Cursor::new(bytes)) {
        assert_eq!(summary.file_bytes, bytes.len() as u64);
        assert!(summary.tensor_data_bytes <= summary.file_bytes);
        if let (Some(split), Some(name)) = (summary.split, summary.name) {
            let _ = part_name(&name, split.index, split.count);
        }
    }
});
