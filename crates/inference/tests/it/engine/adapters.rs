//! LoRA adapters, made here as real GGUF files.

use std::path::{Path, PathBuf};

use freehold_domain::ErrorCode;
use freehold_inference::engine::{Engine, GenerateRequest, LlamaEngine};

use super::support::{ask, collect, prompt, request, start, starter};

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A rank-1 adapter of the first layers' attention queries that adds so much.
fn write_adapter(path: &Path, strength: f32) {
    const WIDTH: u64 = 576;
    let mut out = b"GGUF".to_vec();
    let layers = 8_u64;
    out.extend(3_u32.to_le_bytes());
    out.extend((layers * 2).to_le_bytes());
    out.extend(4_u64.to_le_bytes());
    for (key, value) in [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")] {
        text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        text(&mut out, value);
    }
    text(&mut out, "adapter.lora.alpha");
    out.extend(6_u32.to_le_bytes());
    out.extend(1.0_f32.to_le_bytes());
    let mut offset = 0_u64;
    for layer in 0..layers {
        for (part, shape) in [("lora_a", [WIDTH, 1]), ("lora_b", [1, WIDTH])] {
            text(&mut out, &format!("blk.{layer}.attn_q.weight.{part}"));
            out.extend(2_u32.to_le_bytes());
            out.extend(shape[0].to_le_bytes());
            out.extend(shape[1].to_le_bytes());
            out.extend(0_u32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += WIDTH * 4;
        }
    }
    out.resize(out.len().next_multiple_of(32), 0);
    for number in 0..layers * 2 * WIDTH {
        let value = strength * ((number * 7919 % 200) as f32 / 100.0 - 1.0);
        out.extend(value.to_le_bytes());
    }
    std::fs::write(path, out).expect("the folder can be written");
}

fn with(adapter: &str, mut request: GenerateRequest) -> GenerateRequest {
    request.adapter = Some(adapter.to_owned());
    request
}

fn load(engine: &LlamaEngine, name: &str, path: &Path) -> Result<(), freehold_domain::Error> {
    engine.load_adapter(name, path)?.blocking_recv().expect("the engine lives")
}

#[test]
fn adapters_change_answers_and_share_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (zero, strong): (PathBuf, PathBuf) = (folder.path().join("zero.gguf"), folder.path().join("strong.gguf"));
    write_adapter(&zero, 0.0);
    write_adapter(&strong, 1.0);
    let engine = start(1024, 4, 16);
    load(&engine, "zero", &zero).expect("a good adapter");
    load(&engine, "strong", &strong).expect("a good adapter");
    assert_eq!(engine.adapters(), ["strong", "zero"]);
    assert_eq!(load(&engine, "zero", &strong).expect_err("in use").code, ErrorCode::Conflict);

    let prompt = prompt(&engine, "What is the capital of France?");
    let plain = ask(&engine, request("salt", prompt.clone(), 12));
    let nothing = ask(&engine, with("zero", request("salt", prompt.clone(), 12)));
    let changed = ask(&engine, with("strong", request("salt", prompt.clone(), 12)));
    assert_eq!(plain.text(), nothing.text());
    assert_ne!(plain.text(), changed.text());
    assert_eq!((nothing.usage.cached_tokens, changed.usage.cached_tokens), (0, 0), "a prefix belongs to its adapter");
    assert!(ask(&engine, with("strong", request("salt", prompt.clone(), 2))).usage.cached_tokens > 0);

    let together: Vec<_> = ["zero", "strong", "zero", "strong"]
        .map(|name| engine.generate(with(name, request(name, prompt.clone(), 12))).expect("accepted"))
        .into_iter()
        .map(|generation| collect(generation).expect("answered"))
        .collect();
    assert_ne!(together[0].text(), together[1].text());

    engine.unload_adapter("strong").expect("loaded").blocking_recv().expect("the engine lives").expect("unloaded");
    assert_eq!(engine.adapters(), ["zero"]);
    let error = engine.generate(with("strong", request("salt", prompt.clone(), 2))).expect_err("unloaded");
    assert_eq!(error.code, ErrorCode::ModelNotFound);
    assert_eq!(engine.unload_adapter("strong").expect_err("unloaded").code, ErrorCode::NotFound);
    load(&engine, "strong", &strong).expect("again");
    let fresh = ask(&engine, with("strong", request("salt", prompt.clone(), 2)));
    assert_eq!(fresh.usage.cached_tokens, 0, "cached prefixes go with their adapter");
    assert_eq!(ask(&engine, request("salt", prompt, 12)).text(), plain.text());
}

#[test]
fn files_that_are_no_adapter_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = start(256, 1, 4);
    let rubbish = folder.path().join("rubbish.gguf");
    std::fs::write(&rubbish, b"GGUF and then rubbish").expect("the folder can be written");
    for path in [folder.path().join("missing.gguf"), rubbish, starter()] {
        let error = load(&engine, "bad", &path).expect_err("no adapter");
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidRequest, Some("lora_path")));
        assert!(engine.adapters().is_empty());
    }
}
