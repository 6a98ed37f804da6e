//! Tenants, keys and models over `/api/v1`: what each caller may do and see.

use serde_json::json;

use super::support::{MODEL, Service, ask, until};

#[test]
fn a_key_lives_and_ends() {
    let service = Service::start(&[]);
    let (status, key) = service.post(&service.key, "/api/v1/keys", &json!({"name": "one"}));
    assert_eq!(status, 201, "{key}");
    let (id, secret) = (key["id"].as_str().expect("an id"), key["secret"].as_str().expect("a secret"));
    assert_eq!(service.get(secret, "/v1/models").0, 200);
    let (_, shown) = service.get(&service.key, &format!("/api/v1/keys/{id}"));
    assert!(!shown.to_string().contains(secret), "a secret is shown once");
    let (status, rotated) = service.post(&service.key, &format!("/api/v1/keys/{id}/rotate"), &json!({}));
    assert_eq!(status, 200, "{rotated}");
    assert_eq!(service.get(secret, "/v1/models").0, 401, "the old secret ends with the rotation");
    let secret = rotated["secret"].as_str().expect("a secret");
    assert_eq!(service.get(secret, "/v1/models").0, 200);
    assert_eq!(service.delete(&service.key, &format!("/api/v1/keys/{id}")).0, 200);
    assert_eq!(service.get(secret, "/v1/models").0, 401, "a revoked key fails on the next request");
    assert!(!service.log().contains(secret), "secrets are not logged");
}

#[test]
fn a_key_expires() {
    let service = Service::start(&[]);
    let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(2);
    let at = soon.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let (status, key) = service.post(&service.key, "/api/v1/keys", &json!({"name": "brief", "expires_at": at}));
    assert_eq!(status, 201, "{key}");
    let secret = key["secret"].as_str().expect("a secret");
    assert_eq!(service.get(secret, "/v1/models").0, 200);
    until("the key expires", || (service.get(secret, "/v1/models").0 == 401).then_some(()));
    let (_, body) = service.get(secret, "/v1/models");
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("expired")), "{body}");
}

#[test]
fn a_tenant_does_not_see_another() {
    let service = Service::start(&[]);
    service.cli(&["tenant", "create", "other"]);
    let other = service.cli(&["key", "create", "theirs", "--tenant", "other"]);
    let other = other.trim();
    let (_, keys) = service.get(&service.key, "/api/v1/keys");
    let id = keys["data"][0]["id"].as_str().expect("an id");
    for (status, body) in [
        service.get(other, &format!("/api/v1/keys/{id}")),
        service.delete(other, &format!("/api/v1/keys/{id}")),
        service.post(other, &format!("/api/v1/keys/{id}/rotate"), &json!({})),
        service.get(other, "/api/v1/tenants/main"),
    ] {
        assert_eq!(status, 404, "{body}");
    }
    let (_, theirs) = service.get(other, "/api/v1/keys");
    assert_eq!(theirs["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_allow_list_is_kept() {
    let service = Service::with_model(&[]);
    let (status, key) = service.post(&service.key, "/api/v1/keys", &json!({"name": "narrow", "models": ["another"]}));
    assert_eq!(status, 201, "{key}");
    let secret = key["secret"].as_str().expect("a secret");
    let (status, body) = service.post(secret, "/v1/chat/completions", &ask("Hi", 1));
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
    let (_, models) = service.get(secret, "/v1/models");
    assert_eq!(models["data"], json!([]));
    assert_eq!(service.get(secret, &format!("/api/v1/models/{MODEL}")).0, 404);
}

#[test]
fn a_creating_call_can_be_repeated() {
    let service = Service::start(&[]);
    let create = |body: &serde_json::Value| {
        let request = service
            .http
            .post(format!("{}/api/v1/tenants", service.url))
            .bearer_auth(&service.operator_key)
            .header("idempotency-key", "once");
        let response = request.json(body).send().expect("an answer");
        (response.status().as_u16(), response.json::<serde_json::Value>().expect("JSON"))
    };
    let (status, first) = create(&json!({"name": "acme"}));
    assert_eq!(status, 201, "{first}");
    assert_eq!(create(&json!({"name": "acme"})).1["id"], first["id"]);
    assert_eq!(create(&json!({"name": "other"})).0, 409);
}

#[test]
fn quantizing_reports_size_and_perplexity_before_and_after() {
    let service = Service::start(&[]);
    let added = service.cli(&[
        "--json",
        "model",
        "add",
        super::support::starter().to_str().expect("UTF-8"),
        "--name",
        "small",
        "--quantize",
        "q4_0",
    ]);
    let model: serde_json::Value = serde_json::from_str(&added).expect("JSON");
    let measured = model["measurements"].as_array().expect("measurements");
    assert_eq!(measured.len(), 2, "{model}");
    assert!(measured.iter().all(|one| one["perplexity"].as_f64() > Some(1.0) && one["bytes"].as_u64() > Some(1 << 20)), "{model}");
    assert_eq!(model["quantization"], "Q4_0");
    let mut body = ask("Hi", 4);
    body["model"] = json!("small");
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &body).0, 200);
    let copy = service.data.path().join("models/small");
    assert!(copy.join("small.q4_0.gguf").is_file());

    let noted = service.try_cli(&["model", "revert", "small"]);
    assert!(String::from_utf8_lossy(&noted.stderr).contains("Q4_1"), "{noted:?}");
    assert!(!copy.join("small.q4_0.gguf").exists());
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &body).0, 200, "the original answers");
    let again = service.try_cli(&["model", "revert", "small"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("as it came"), "{again:?}");

    service.cli(&["model", "remove", "small"]);
    assert!(!copy.exists(), "its files are removed with it");
    assert!(super::support::starter().exists(), "the file it came from stays");
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &body).0, 404);
}

#[test]
fn who_waits_while_a_model_is_reverted_is_answered_by_the_original() {
    let service = Service::start(&["context_tokens=4096"]);
    let starter = super::support::starter();
    service.cli(&["model", "add", starter.to_str().expect("UTF-8"), "--name", "small", "--quantize", "q4_0"]);
    let mut long = ask("Tell a very long story.", 300);
    long["model"] = json!("small");
    long["logit_bias"] = json!({"2": -100, "0": -100});
    let mut stream = service.stream(&long);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stream, &mut line).expect("the first event");
    let reverted = std::thread::scope(|scope| {
        let reverted = scope.spawn(|| service.try_cli(&["model", "revert", "small"]));
        let asks: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut body = ask("Hi", 2);
                    body["model"] = json!("small");
                    (0..3).map(|_| service.post(&service.key, "/v1/chat/completions", &body)).collect::<Vec<_>>()
                })
            })
            .collect();
        let rest = std::io::read_to_string(&mut stream).expect("the rest of the story");
        assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
        for (status, answer) in asks.into_iter().flat_map(|asked| asked.join().expect("a thread")) {
            assert_eq!(status, 200, "{answer}");
        }
        reverted.join().expect("a thread")
    });
    assert!(reverted.status.success(), "{reverted:?}");
    assert!(!service.data.path().join("models/small/small.q4_0.gguf").exists(), "its file goes with the last that needed it");
    let (_, model) = service.get(&service.operator_key, "/api/v1/models/small");
    assert_eq!((&model["quantization"], &model["state"]), (&json!("Q4_1"), &json!("ready")), "{model}");
}

#[test]
fn what_is_no_model_is_refused_with_a_reason() {
    let service = Service::start(&[]);
    let path = service.data.path().join("x.gguf");
    for (bytes, expect) in [(&b""[..], ""), (b"GGUF", ""), (b"\x00\x01\x02 not a model at all", "GGUF")] {
        std::fs::write(&path, bytes).expect("written");
        let added = service.try_cli(&["model", "add", path.to_str().expect("UTF-8")]);
        let message = String::from_utf8_lossy(&added.stderr).into_owned();
        assert!(!added.status.success() && message.starts_with("error: ") && message.contains(expect), "{message}");
    }
    let added = service.try_cli(&["model", "pull", "llama-3.1-8b-instrct"]);
    assert!(String::from_utf8_lossy(&added.stderr).contains("llama-3.1-8b-instruct"), "the nearest name is given");
}
