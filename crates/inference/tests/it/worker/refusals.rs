use bytes::Bytes;
use serde_json::{Value, json};

use super::support::Worker;

fn refused(answer: &(u16, String, Option<String>)) -> (u16, &str, Option<&str>) {
    (answer.0, answer.1.as_str(), answer.2.as_deref())
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    let worker = Worker::start().await;
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let long = "word ".repeat(5000);
    let picture = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
    for (path, body, expect) in [
        ("/v1/chat/completions", json!({"model": "other", "messages": user(json!("Hi"))}), (404, "model_not_found", Some("model"))),
        ("/v1/chat/completions", json!({"model": "starter:none", "messages": user(json!("Hi"))}), (404, "model_not_found", Some("model"))),
        (
            "/v1/chat/completions",
            json!({"model": "starter", "messages": user(json!(long))}),
            (400, "context_length_exceeded", Some("messages")),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "starter", "messages": user(picture)}),
            (400, "unsupported_feature", Some("messages[0].content[0]")),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "starter", "messages": user(json!("Hi")), "tool_choice": "required"}),
            (400, "invalid_value", Some("tool_choice")),
        ),
        ("/v1/completions", json!({"model": "starter", "prompt": "a", "echo": true}), (400, "unsupported_feature", Some("echo"))),
        ("/v1/completions", json!({"model": "starter", "prompt": "a", "suffix": "b"}), (400, "unsupported_feature", Some("suffix"))),
        ("/v1/completions", json!({"model": "starter", "prompt": [99_999_999]}), (400, "invalid_value", Some("prompt"))),
        ("/v1/completions", json!({"model": "starter", "prompt": ""}), (400, "invalid_value", Some("prompt"))),
        ("/v1/embeddings", json!({"model": "starter", "input": "a", "dimensions": 9999}), (400, "invalid_value", Some("dimensions"))),
        ("/tokenize", json!({}), (400, "invalid_value", Some("prompt"))),
        ("/v1/load_lora_adapter", json!({"lora_name": "a", "lora_path": "/nowhere.gguf"}), (400, "invalid_value", Some("lora_path"))),
        ("/v1/load_lora_adapter", json!({"lora_name": "a:b", "lora_path": "/nowhere.gguf"}), (400, "invalid_value", Some("lora_name"))),
        ("/v1/unload_lora_adapter", json!({"lora_name": "a"}), (404, "not_found", None)),
    ] {
        let answer = worker.post(path, &body).await;
        assert_eq!(refused(&answer.error()), expect, "{path} {}", &body.to_string()[..80.min(body.to_string().len())]);
    }
    let message = worker.post("/v1/completions", &json!({"model": "starter", "prompt": long})).await.json()["error"]["message"].to_string();
    assert!(message.contains("4096"), "both numbers are named: {message}");
}

#[tokio::test]
async fn broken_requests_are_refused() {
    let worker = Worker::start().await;
    let path = "/v1/chat/completions";
    let good = json!({"model": "starter", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    for (method, path, headers, body, expect) in [
        ("POST", path, vec![], Bytes::from_static(b"{"), (400, "invalid_json", None)),
        ("POST", path, vec![("x-freehold-weight", "heavy")], Bytes::from(good.clone()), (400, "invalid_value", Some("x-freehold-weight"))),
        ("POST", path, vec![("x-freehold-deadline-ms", "0")], Bytes::from(good), (504, "deadline_exceeded", None)),
        ("GET", path, vec![], Bytes::new(), (405, "method_not_allowed", None)),
        ("GET", "/nothing", vec![], Bytes::new(), (404, "not_found", None)),
    ] {
        let answer = worker.send(method, path, &headers, body).await;
        assert_eq!(refused(&answer.error()), expect, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_read() {
    let worker = Worker::start().await;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: worker\r\ncontent-length: {}\r\n\r\n", (32 << 20) + 1);
    let answer = worker.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
}
