//! The vendors' official Python SDKs against the running binary.

use std::process::Command;

use super::support::{MODEL, Service, root};

fn drive(script: &str) {
    let python = root().join("target/venv-sdk/bin/python");
    assert!(python.exists(), "run make sdk first");
    let service = Service::with_model(&[]);
    let output = Command::new(python)
        .arg(root().join("tests/sdk").join(script))
        .env("FREEHOLD_TEST_URL", &service.url)
        .env("FREEHOLD_TEST_KEY", &service.key)
        .env("FREEHOLD_TEST_MODEL", MODEL)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn openai() {
    drive("openai_sdk.py");
}

#[test]
fn llama_api_client() {
    drive("llama_sdk.py");
}
