//! LoRA adapters of a model.

use std::fs;

use freehold_control::adapters::NewAdapter;
use freehold_control::once::IdempotencyKey;

use crate::code;
use crate::gguf::{FakeHost, FakeRunner, adapter, model};
use crate::models::{Models, from, models};

async fn with_model(host: FakeHost) -> Models {
    let it = models(FakeRunner::default(), host).await;
    let path = it.file("m.gguf", &model(2));
    it.add(from(&path)).await;
    it.host.take();
    it
}

fn new(name: &str, path: &str) -> NewAdapter {
    NewAdapter { name: name.to_owned(), path: path.to_owned() }
}

#[tokio::test]
async fn are_added_listed_and_removed() {
    let it = with_model(FakeHost::default()).await;
    let (control, operator, main) = (&it.made.control, &it.made.operator, &it.made.main);
    let path = it.file("lora.gguf", &adapter("llama"));
    let once = IdempotencyKey::parse("k").expect("a key");
    let added = control.add_adapter(operator, "m", new("poet", &path), Some(&once)).await.expect("added");
    assert_eq!((added.model.as_str(), added.name.as_str()), ("m", "poet"));
    assert_eq!(it.host.take(), ["changed m", "load m:poet"]);
    assert_eq!(control.add_adapter(operator, "m", new("poet", &path), Some(&once)).await.expect("repeated"), added);
    assert_eq!(code(control.add_adapter(operator, "m", new("Poet", &path), None).await), "conflict");

    assert_eq!(control.list_adapters(main, "m").await.expect("listed"), [added]);
    assert_eq!(control.model(main, "m").await.expect("shown").adapters.len(), 1);
    assert_eq!(code(control.add_adapter(main, "m", new("x", &path), None).await), "permission_denied");
    assert_eq!(code(control.remove_adapter(main, "m", "poet").await), "permission_denied");
    assert_eq!(code(control.list_adapters(main, "none").await), "model_not_found");

    let kept = it.folder("m").join("adapters/poet.gguf");
    assert!(kept.is_file());
    control.remove_adapter(operator, "m", "poet").await.expect("removed");
    assert_eq!(it.host.take(), ["changed m", "unload m:poet"]);
    assert!(!kept.exists());
    assert_eq!(code(control.remove_adapter(operator, "m", "poet").await), "not_found");
}

#[tokio::test]
async fn a_file_that_is_no_adapter_of_this_model_is_refused() {
    let it = with_model(FakeHost::default()).await;
    let (control, operator) = (&it.made.control, &it.made.operator);
    let (other, whole) = (it.file("other.gguf", &adapter("qwen2")), it.file("whole.gguf", &model(2)));
    let (text, good) = (it.file("text.gguf", b"this is not a GGUF file either"), it.file("good.gguf", &adapter("llama")));
    for (new, param, expected) in [
        (new("x", &other), "path", "architecture"),
        (new("x", &whole), "path", "not a LoRA adapter"),
        (new("x", &text), "path", "not a GGUF"),
        (new("x", "relative.gguf"), "path", "absolute"),
        (new("x", "/no/such/file.gguf"), "path", "cannot"),
        (new("a/b", &good), "name", "name"),
    ] {
        let error = control.add_adapter(operator, "m", new, None).await.expect_err(expected);
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some(param)));
        assert!(error.message.contains(expected), "{}", error.message);
    }
    assert!(it.host.take().is_empty());
}

#[tokio::test]
async fn one_that_the_loaded_model_refuses_is_taken_back() {
    let it = with_model(FakeHost { refuses_adapters: true, ..FakeHost::default() }).await;
    let path = it.file("lora.gguf", &adapter("llama"));
    let refused = it.made.control.add_adapter(&it.made.operator, "m", new("poet", &path), None).await;
    assert_eq!(code(refused), "invalid_request");
    assert!(it.made.control.list_adapters(&it.made.main, "m").await.expect("listed").is_empty());
    assert_eq!(fs::read_dir(it.folder("m").join("adapters")).expect("the folder").count(), 0);
    assert_eq!(it.host.take(), ["changed m", "load m:poet", "changed m"]);
}
