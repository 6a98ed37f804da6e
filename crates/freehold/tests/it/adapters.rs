//! LoRA adapters over HTTP and by CLI, with a real adapter of the starter model.

#[path = "../../../inference/tests/it/engine/lora.rs"]
pub mod lora;

use super::support::{MODEL, Service, ask, text_of};

#[test]
fn an_adapter_is_added_used_listed_and_removed() {
    let service = Service::with_model(&[]);
    let file = service.data.path().join("poet.gguf");
    lora::write_adapter(&file, 1.0);
    let file = file.to_str().expect("UTF-8");
    let (_, plain) = service.post(&service.key, "/v1/chat/completions", &ask("Say hello.", 12));
    service.cli(&["model", "adapter", "add", MODEL, "poet", file]);

    let mut body = ask("Say hello.", 12);
    body["model"] = format!("{MODEL}:poet").into();
    let (status, changed) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{changed}");
    assert_ne!(text_of(&changed), text_of(&plain), "the adapter changes the answer");
    assert_eq!(changed["usage"]["prompt_tokens_details"]["cached_tokens"], 0, "a prefix belongs to its adapter");

    let (_, cards) = service.get(&service.key, "/v1/models");
    assert!(cards.to_string().contains(&format!("\"{MODEL}:poet\"")), "{cards}");
    assert!(service.cli(&["model", "adapter", "list", MODEL]).contains("poet"));

    // An adapter outlives the loaded model.
    service.cli(&["model", "unload", MODEL]);
    let (status, again) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!((status, text_of(&again)), (200, text_of(&changed)));

    service.cli(&["model", "adapter", "remove", MODEL, "poet"]);
    let (status, gone) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!((status, &gone["error"]["code"]), (404, &"model_not_found".into()), "{gone}");

    let rubbish = service.data.path().join("rubbish.gguf");
    std::fs::write(&rubbish, b"GGUF and then rubbish").expect("the folder can be written");
    let output = service.try_cli(&["model", "adapter", "add", MODEL, "bad", rubbish.to_str().expect("UTF-8")]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.starts_with("error: ") && message.contains("GGUF"), "{message}");
    let (_, adapters) = service.get(&service.key, &format!("/api/v1/models/{MODEL}/adapters"));
    assert_eq!(adapters["data"], serde_json::json!([]));
}
