//! Wrong, huge and hostile requests: each gets a clear error in its dialect's shape, and the service goes on.

use serde_json::{Value, json};

use super::support::{MODEL, Service, ask};

fn check(answer: (u16, Value), status: u16, code: &str) {
    let (got, body) = answer;
    assert_eq!(got, status, "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    let message = body["error"]["message"].as_str().expect("a message");
    assert!(!message.is_empty() && !message.contains("panicked") && !message.contains(".rs:"), "{message}");
}

#[test]
fn bodies() {
    let service = Service::with_model(&[]);
    let chat = "/v1/chat/completions";
    check(service.post_bytes(chat, ""), 400, "invalid_json");
    check(service.post_bytes(chat, "{"), 400, "invalid_json");
    check(service.post_bytes(chat, "null"), 400, "invalid_value");
    check(service.post_bytes(chat, vec![0xff, 0xfe, b'{']), 400, "invalid_json");
    check(service.post_bytes(chat, format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))), 400, "invalid_json");
    check(service.post_bytes(chat, format!(r#"{{"model":"m","messages":{}}}"#, "[".repeat(500))), 400, "invalid_json");
    let edit = |field: &str, value: Value| {
        let mut body = ask("Hi", 1);
        body[field] = value;
        service.post(&service.key, chat, &body)
    };
    check(edit("messages", json!([])), 400, "invalid_value");
    check(edit("messages", json!("Hi")), 400, "invalid_value");
    check(edit("messages", json!([{"role": "pirate", "content": "Arr"}])), 400, "invalid_value");
    check(edit("temperature", json!("hot")), 400, "invalid_value");
    check(edit("temperature", json!(3)), 400, "invalid_value");
    check(edit("max_tokens", json!(-1)), 400, "invalid_value");
    check(edit("temprature", json!(1)), 400, "unknown_parameter");
    check(edit("model", json!("no-such-model")), 404, "model_not_found");
    check(edit("model", json!(format!("{MODEL}:no-such-adapter"))), 404, "model_not_found");
    check(edit("model", json!("../../etc/passwd")), 404, "model_not_found");
    check(
        edit("response_format", json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}})),
        400,
        "invalid_value",
    );
    assert_eq!(service.post(&service.key, chat, &ask("Hi", 1)).0, 200, "the service goes on");
}

#[test]
fn a_hundred_megabytes_are_refused() {
    let service = Service::start(&[]);
    let body = std::io::Read::take(std::io::repeat(b' '), 100 << 20);
    let sent = service
        .http
        .post(format!("{}/v1/chat/completions", service.url))
        .bearer_auth(&service.key)
        .header("content-type", "application/json")
        .body(reqwest::blocking::Body::sized(body, 100 << 20))
        .send();
    // The refusal may close the connection while the client is still sending.
    if let Ok(response) = sent {
        assert_eq!(response.status().as_u16(), 413);
    }
    assert_eq!(service.get(&service.key, "/v1/models").0, 200);
}

#[test]
fn the_largest_body_that_is_taken_names_its_limit_beyond() {
    let service = Service::start(&["body_limit=1MiB"]);
    check(service.post_bytes("/v1/chat/completions", vec![b' '; (1 << 20) + 1]), 413, "payload_too_large");
}

#[test]
fn keys() {
    let service = Service::start(&[]);
    let with = |header: &str, value: &str| {
        let response = service.http.get(format!("{}/v1/models", service.url)).header(header, value).send().expect("an answer");
        response.status().as_u16()
    };
    assert_eq!(with("authorization", &format!("Bearer {}", service.key)), 200);
    assert_eq!(with("authorization", &format!("bearer {}", service.key)), 200);
    assert_eq!(with("x-api-key", &service.key), 200);
    for bad in ["", "Bearer ", "Bearer x", "Basic eDp5", &service.key] {
        assert_eq!(with("authorization", bad), 401, "{bad}");
    }
    let mut forged = service.key.clone();
    let last = forged.pop().expect("a character");
    forged.push(if last == 'a' { 'b' } else { 'a' });
    assert_eq!(with("authorization", &format!("Bearer {forged}")), 401);
    let anonymous = service.http.post(format!("{}/llama/v1/chat/completions", service.url)).json(&json!({})).send().expect("an answer");
    assert_eq!(anonymous.status().as_u16(), 401);
}

#[test]
fn paths_methods_and_media_types() {
    let service = Service::start(&[]);
    check(service.get(&service.key, "/v1/nothing"), 404, "not_found");
    check(service.get(&service.key, "/v1/chat/completions"), 405, "method_not_allowed");
    check(service.get(&service.key, "/api/v1/nothing"), 404, "not_found");
    check(service.get(&service.operator_key, "/api/v1/keys?limt=3"), 400, "invalid_request");
    let response = service
        .http
        .post(format!("{}/v1/completions", service.url))
        .bearer_auth(&service.key)
        .header("content-type", "text/xml")
        .body("<x/>")
        .send();
    assert_eq!(response.expect("an answer").status().as_u16(), 415);
    let id = service.http.get(format!("{}/nowhere", service.url)).send().expect("an answer");
    assert!(id.headers()["x-request-id"].to_str().is_ok_and(|id| id.starts_with("req_")));
}
