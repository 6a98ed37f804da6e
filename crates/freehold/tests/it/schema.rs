//! The API keeps what its OpenAPI document says, tried by schemathesis against a running service.
//!
//! `FREEHOLD_TEST_EXAMPLES` and `FREEHOLD_TEST_SEED` make it longer and different.

use std::process::Command;

use super::support::{Service, root};

/// Runs schemathesis with a key; tests/schemathesis says which checks, and why some are left out.
fn holds(service: &Service, key: &str) {
    let python = root().join("target/venv-schemathesis/bin/python");
    assert!(python.exists(), "run make schemathesis first");
    let setting = |name: &str, or: &str| std::env::var(name).unwrap_or_else(|_| or.to_owned());
    let (_, own) = service.get(key, "/api/v1/whoami");
    let folder = service.data.path().join("schemathesis");
    std::fs::create_dir_all(&folder).expect("a folder");
    let output = Command::new(python)
        .arg("-m")
        .args(["schemathesis.cli", "--config-file"])
        .arg(root().join("tests/schemathesis/schemathesis.toml"))
        .args(["run", &format!("{}/api/v1/openapi.json", service.url), "--header", &format!("Authorization: Bearer {key}")])
        .args(["--max-examples", &setting("FREEHOLD_TEST_EXAMPLES", "15"), "--seed", &setting("FREEHOLD_TEST_SEED", "1")])
        .current_dir(folder)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root().join("tests/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FREEHOLD_TEST_KEY_ID", own["key"].as_str().expect("an id"))
        .env("NO_COLOR", "1")
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The key that asked was not lost on the way, or the rest would have tried nothing.
    assert_eq!(service.get(key, "/api/v1/whoami").0, 200);
    assert!(!service.log().contains("panicked"), "{}", service.log());
}

/// A service from which nothing reaches the network: models come from nowhere, mail is not sent.
fn sealed() -> Service {
    Service::start(&["hf_endpoint=http://127.0.0.1:9", "signup=open"])
}

#[test]
fn the_document_holds_for_an_operator() {
    let service = sealed();
    holds(&service, &service.operator_key);
}

#[test]
fn the_document_holds_for_a_tenant() {
    let service = sealed();
    holds(&service, &service.key);
}
