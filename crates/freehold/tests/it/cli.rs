//! The CLI as a person or a script uses it.

use serde_json::Value;

use super::support::{MODEL, Service, cli};

#[test]
fn chat_complete_and_the_lists() {
    let service = Service::with_model(&[]);
    let said = service.cli(&["chat", "--message", "Say hello.", "--temperature", "0", "--max-tokens", "16"]);
    assert!(said.trim().len() > 3, "{said}");
    let continued = service.cli(&["complete", "One, two, three,", "--temperature", "0", "--max-tokens", "8"]);
    assert!(continued.contains("four"), "{continued}");
    let table = service.cli(&["model", "list"]);
    assert!(table.starts_with("NAME") && table.contains(MODEL) && table.contains("134M"), "{table}");
    for arguments in [
        &["--json", "model", "list"][..],
        &["--json", "key", "list"],
        &["--json", "tenant", "list"],
        &["--json", "status"],
        &["--json", "operation", "list"],
        &["--json", "model", "list", "--known"],
    ] {
        let value: Value = serde_json::from_str(&service.cli(arguments)).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert!(value.is_object());
    }
    let status = service.cli(&["status"]);
    assert!(status.contains(MODEL) && status.contains("ready"), "{status}");
}

#[test]
fn errors_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = cli(folder.path(), &["status"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("freehold up"), "{text}");
    let output = cli(folder.path(), &["--url", "http://127.0.0.1:9", "--key", "x", "status"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no service answers at http://127.0.0.1:9") && text.contains("freehold up"), "{text}");
    let output = cli(folder.path(), &["up", "--set", "lisen=x"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Did you mean `listen`?"), "{text}");
    assert!(!folder.path().join("freehold.db").exists(), "nothing is made before the options are right");
}

#[test]
fn down_stops_the_service_and_a_second_one_is_refused() {
    let service = Service::start(&[]);
    let second = cli(service.data.path(), &["up", "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("in use") || text.contains("another"), "{text}");
    let output = cli(service.data.path(), &["down"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Stopped."));
    let (data, log) = service.wait();
    assert!(log.contains("stopped"), "{log}");
    let output = cli(data.path(), &["down"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("No service runs"));
}

#[test]
fn completions_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let output = cli(folder.path(), &["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("freehold"), "{shell}");
    }
}

#[test]
fn a_key_is_made_listed_rotated_and_revoked() {
    let service = Service::start(&[]);
    service.cli(&["tenant", "create", "acme"]);
    let made = service.cli(&[
        "--json",
        "key",
        "create",
        "backend",
        "--tenant",
        "acme",
        "--model",
        "llama-3.2-3b-instruct",
        "--expires-in-days",
        "90",
    ]);
    let key: Value = serde_json::from_str(&made).expect("JSON");
    let id = key["id"].as_str().expect("an id");
    assert!(key["expires_at"].is_string() && key["models"][0] == "llama-3.2-3b-instruct", "{key}");
    let list = service.cli(&["key", "list", "--tenant", "acme"]);
    assert!(list.contains("backend") && list.contains("active"), "{list}");
    let too_long = service.try_cli(&["key", "create", "x", "--expires-in-days", "4000000000"]);
    assert!(!too_long.status.success());
    assert!(String::from_utf8_lossy(&too_long.stderr).starts_with("error: "), "{}", String::from_utf8_lossy(&too_long.stderr));
    let revoked = service.try_cli(&["--key", &service.operator_key, "key", "revoke", id]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    assert!(service.cli(&["key", "list", "--tenant", "acme"]).contains("revoked"));
}
