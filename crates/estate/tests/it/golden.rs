//! A small estate on each provider, from files to reports, byte by byte.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; look at the difference before committing it.

use std::path::{Path, PathBuf};

use freehold_estate::catalogue::Catalogue;
use freehold_estate::finding::audit;
use freehold_estate::read::{Options, assemble, read_file};
use freehold_estate::{plan, report};
use time::macros::date;

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is committed").map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

fn check(provider: &str) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(provider);
    let root = home.join("estate");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let facts = paths.iter().map(|path| {
        let name = path.strip_prefix(&root).expect("under the root").to_string_lossy().replace('\\', "/");
        read_file(&name, &std::fs::read(path).expect("readable"))
    });
    let estate = assemble(facts.collect(), &Options::default());
    let found = audit(&estate, Catalogue::builtin(), date!(2026 - 11 - 23));
    let plan = plan::plan(&found, &[], &[]).expect("the data is sound");
    for (name, text) in [
        ("audit.json", report::json::to_text(&found).expect("writable")),
        ("audit.txt", report::table::to_text(&found, report::table::Style { all: true, ..Default::default() })),
        ("audit.sarif", report::sarif::to_text(&found).expect("writable")),
        ("audit.cdx.json", report::cyclonedx::to_text(&found).expect("writable")),
        ("plan.md", plan::to_markdown(&plan)),
    ] {
        let text = text.replace(&format!("\"{}\"", report::VERSION), "\"VERSION\"");
        let path = home.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("writable");
        }
        let expect = std::fs::read_to_string(&path).unwrap_or_default();
        let first = text.lines().zip(expect.lines().chain(std::iter::repeat(""))).enumerate().find(|(_, (is, should))| is != should);
        assert!(text == expect, "{} differs from line {:?}; UPDATE_GOLDEN=1 writes it anew", path.display(), first);
    }
}

#[test]
fn aws() {
    check("aws");
}

#[test]
fn azure() {
    check("azure");
}

#[test]
fn gcp() {
    check("gcp");
}

#[test]
fn kubernetes() {
    check("kubernetes");
}
