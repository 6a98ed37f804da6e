//! The rules of the house that a compiler does not hold: which crate may import which, and documents that are made
//! from code.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use freehold_domain::ErrorCode;
use serde_json::Value;

use super::support::root;

/// Which layer each crate is in; imports point from a higher number to a lower one only.
const LAYERS: &[(&str, u8)] = &[
    ("freehold", 4),
    ("freehold-control", 3),
    ("freehold-store", 2),
    ("freehold-inference", 2),
    ("freehold-models", 2),
    ("freehold-dialects", 1),
    ("freehold-estate", 1),
    ("freehold-ledger", 1),
    ("freehold-domain", 0),
];

/// Crates that must not know a clock, randomness, I/O or async.
const PURE: &[&str] = &["freehold-domain", "freehold-dialects", "freehold-estate", "freehold-ledger"];
const NOT_PURE: &[&str] = &["tokio", "reqwest", "hyper", "axum", "rusqlite", "getrandom", "rand", "futures", "nix"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let names = |package: &Value| {
        let normal = package["dependencies"].as_array().expect("a list").iter().filter(|dependency| dependency["kind"].is_null());
        normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (package["name"].as_str().expect("a name").to_owned(), names(package))).collect()
}

#[test]
fn imports_point_down() {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let crates = dependencies();
    assert_eq!(
        crates.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        layers.keys().copied().collect(),
        "a crate without a layer, or a layer without a crate"
    );
    for (name, imports) in &crates {
        for import in imports.iter().filter(|import| layers.contains_key(import.as_str())) {
            assert!(layers[name.as_str()] > layers[import.as_str()], "{name} must not import {import}");
        }
    }
}

#[test]
fn pure_crates_are_pure() {
    for (name, imports) in dependencies() {
        if PURE.contains(&name.as_str()) {
            let impure: Vec<_> = imports.iter().filter(|import| NOT_PURE.contains(&import.as_str())).collect();
            assert!(impure.is_empty(), "{name} imports {impure:?}");
        }
    }
}

#[test]
fn http_servers_are_known_to_the_binary_and_the_worker_only() {
    for (name, imports) in dependencies() {
        if imports.contains("axum") {
            assert!(["freehold", "freehold-inference"].contains(&name.as_str()), "{name} imports axum");
        }
    }
}

#[test]
fn every_error_has_its_page() {
    let folder = root().join("docs/errors");
    for code in ErrorCode::ALL {
        let page =
            std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap_or_else(|_| panic!("docs/errors/{code}.md is missing"));
        assert!(
            page.starts_with(&format!("# {code}\n")) && page.contains(&format!("HTTP status {}.", code.http_status())),
            "docs/errors/{code}.md"
        );
    }
    let pages = std::fs::read_dir(folder).expect("docs/errors").count();
    assert_eq!(pages, ErrorCode::ALL.len(), "a page without an error");
}

#[test]
fn the_reference_page_of_the_options_is_what_the_program_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_freehold"))
        .arg("options")
        .env("HOME", "/home/you")
        .env_remove("XDG_DATA_HOME")
        .output()
        .expect("it runs");
    let expect = String::from_utf8(output.stdout).expect("UTF-8");
    let path = root().join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expect).expect("written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, expect, "docs/configuration.md is old; write it with UPDATE_DOCS=1 cargo test --release -p freehold house");
}

/// Every `freehold` and `make` command in README is one that exists.
#[test]
fn the_commands_in_the_readme_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let mut seen = 0;
    let mut in_code = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
            continue;
        }
        let command = line.trim().split(" #").next().unwrap_or_default().trim();
        if !in_code {
            continue;
        }
        if let Some(target) = command.strip_prefix("make ") {
            let target = target.split(' ').next().unwrap_or_default();
            assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "README: there is no `make {target}`");
            seen += 1;
        } else if let Some(rest) = command.strip_prefix("freehold ") {
            let words: Vec<&str> = rest
                .split_whitespace()
                .take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-'))
                .collect();
            let known = (1..=words.len()).rev().any(|count| {
                let output = Command::new(env!("CARGO_BIN_EXE_freehold")).args(&words[..count]).arg("--help").output().expect("it runs");
                output.status.success()
            });
            assert!(known, "README: `{command}`");
            seen += 1;
        }
    }
    assert!(seen >= 5, "README shows its commands");
}
