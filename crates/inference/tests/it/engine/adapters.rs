//! LoRA adapters, made here as real GGUF files.

use std::path::{Path, PathBuf};

use freehold_domain::ErrorCode;
use freehold_inference::engine::{Engine, GenerateRequest, LlamaEngine};

use super::lora::write_adapter;
use super::support::{ask, collect, prompt, request, start, starter};

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
