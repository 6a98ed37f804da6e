//! The README, followed to the letter: every `freehold` command in it is run, in its order, by a shell.
//!
//! `make` is what runs these tests; `freehold up` is what the service was started with.

use std::path::Path;
use std::process::Command;

use super::adapters::lora;
use super::support::{MODEL, Service, root, starter};

/// Commands that need something that is not here, and what they say then.
const REFUSED: &[(&str, &str)] = &[
    ("freehold model pull ", "127.0.0.1:9"),
    ("freehold model add big --upstream ", "gpu1"),
    ("freehold login ", "password"),
    ("freehold password", "freehold login"),
];

/// The commands in the README's blocks, without their comments.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut in_code = false;
    let mut found = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code && line.starts_with("freehold ") {
            found.push(line.split(" #").next().unwrap_or_default().trim().to_owned());
        }
    }
    found
}

/// What the README takes for granted: files of the reader's own, and `freehold` on the path.
fn prepare(folder: &Path, data: &Path) {
    std::fs::copy(starter(), folder.join("some.gguf")).expect("a model");
    lora::write_adapter(&folder.join("poet-lora.gguf"), 1.0);
    std::fs::write(folder.join("key"), "sk-of-the-server\n").expect("a key");
    let prices = r#"{"models": {"*": {"input": "200000000", "output": "600000000"}}}"#;
    std::fs::write(folder.join("prices.json"), prices).expect("prices");
    std::fs::create_dir(folder.join("infrastructure")).expect("a folder");
    let table = "resource \"aws_dynamodb_table\" \"orders\" {\n  name     = \"orders\"\n  hash_key = \"id\"\n}\n";
    std::fs::write(folder.join("infrastructure/main.tf"), table).expect("an estate");
    std::fs::create_dir(folder.join("bin")).expect("a folder");
    let program = format!("#!/bin/sh\nexec {} --data {} \"$@\"\n", env!("CARGO_BIN_EXE_freehold"), data.display());
    let path = folder.join("bin/freehold");
    std::fs::write(&path, program).expect("a program");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
}

fn run(folder: &Path, command: &str) -> (bool, String) {
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FREEHOLD_")) {
        shell.env_remove(name);
    }
    // Who chats in a pipe says one thing; who logs in has no account yet.
    let input = folder.join("input");
    std::fs::write(&input, "Hello\n").expect("written");
    let output = shell
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env_remove("XDG_CONFIG_HOME")
        .stdin(std::fs::File::open(&input).expect("input"))
        .output()
        .expect("a shell");
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    // Nothing listens there: no model hub is reached by a test.
    let service = Service::start(&["signup=preview", "hf_endpoint=http://127.0.0.1:9"]);
    service.add_model(MODEL);
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path(), service.data.path());
    let mut count = 0;
    for command in commands().iter().filter(|command| !command.starts_with("freehold up") && *command != "freehold down") {
        let mut command = command.clone();
        if command.starts_with("freehold key revoke ") {
            let keys = run(folder.path(), "freehold --json key list --tenant acme").1;
            let keys: serde_json::Value = serde_json::from_str(&keys).expect("keys");
            let list = keys["data"].as_array().or(keys.as_array()).expect("a list");
            command = format!("freehold key revoke {} --tenant acme", list[0]["id"].as_str().expect("an id"));
        }
        let (done, text) = run(folder.path(), &command);
        match REFUSED.iter().find(|(start, _)| command.starts_with(start)) {
            Some((_, word)) => assert!(!done && text.contains(word), "`{command}` says: {text}"),
            None => assert!(done, "`{command}` says: {text}"),
        }
        count += 1;
    }
    assert!(count > 20, "the README shows its commands");
    assert_eq!(run(folder.path(), "freehold down"), (true, "Stopped.\n".to_owned()));
    service.wait();
}
