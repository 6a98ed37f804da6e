//! Source code that calls a cloud's SDK: imports and constructions of clients, found line by line.
//!
//! A signal, not a declaration: the kind is `SDK:service` with the SDKs `boto3`, `aws-sdk`, `google-cloud` and
//! `azure-sdk`, and AWS services by their boto3 names.
//!
//! **Invariant:** one signal per file and service, at the first line; a file that mentions no cloud costs one search.

mod names;
mod patterns;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::attributes::cut;
use super::facts::{CONFIDENCE_SOURCE, FileFacts};
use super::text::lines;
use crate::resource::{Notation, Provider, Resource};

/// The language of a source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Python.
    Python,
    /// JavaScript and TypeScript.
    JavaScript,
    /// Go.
    Go,
    /// Java, Kotlin, Scala, Groovy.
    Java,
    /// Rust.
    Rust,
    /// C# and F#.
    DotNet,
}

/// The language by the extension of a file's name.
pub(crate) fn language(path: &str) -> Option<Language> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "py" | "pyw" | "ipynb" => Language::Python,
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => Language::JavaScript,
        "go" => Language::Go,
        "java" | "kt" | "kts" | "scala" | "groovy" => Language::Java,
        "rs" => Language::Rust,
        "cs" | "fs" => Language::DotNet,
        _ => return None,
    })
}

/// A service of an SDK, as a pattern found it.
pub(super) struct Found {
    sdk: &'static str,
    service: String,
    provider: Provider,
}

impl Found {
    fn aws(sdk: &'static str, service: &str) -> Self {
        Found { sdk, service: names::aws(service), provider: Provider::Aws }
    }

    fn google(service: &str) -> Self {
        Found { sdk: "google-cloud", service: names::google(service), provider: Provider::Gcp }
    }

    fn azure(service: &str) -> Self {
        Found { sdk: "azure-sdk", service: names::azure(service), provider: Provider::Azure }
    }
}

/// Bytes of a line that are looked at: generated code has very long ones.
const LINE_BYTES_MAX: usize = 2048;

/// Words of which every file with a signal has one.
static WORDS: LazyLock<Vec<Finder<'static>>> =
    LazyLock::new(|| ["boto", "aws", "Amazon", "amazon", "zure", "google", "Google", "firebase", "vertexai"].map(Finder::new).into());

/// Reads a file.
pub(crate) fn read(text: &str, language: Language, facts: &mut FileFacts) {
    if !WORDS.iter().any(|word| word.find(text.as_bytes()).is_some()) {
        return;
    }
    let mut seen: HashSet<String> = HashSet::new();
    let mut state = patterns::State::of(text, language);
    let mut generic: Vec<(u32, Found)> = Vec::new();
    for (number, line) in lines(text) {
        let line = cut(line, LINE_BYTES_MAX);
        state.line(line, &mut |found: Found| {
            if found.service == names::CORE {
                if generic.iter().all(|(_, known)| known.sdk != found.sdk) {
                    generic.push((number, found));
                }
                return;
            }
            let kind = format!("{}:{}", found.sdk, found.service);
            if seen.insert(kind.clone()) {
                facts.push(signal(&facts.file, number, kind, found.provider));
            }
        });
    }
    // The SDK's core alone says something only where no service shows.
    for (number, found) in generic {
        let prefix = format!("{}:", found.sdk);
        if !seen.iter().any(|kind| kind.starts_with(&prefix)) {
            facts.push(signal(&facts.file, number, format!("{prefix}{}", names::CORE), found.provider));
        }
    }
}

fn signal(file: &Arc<str>, line: u32, kind: String, provider: Provider) -> Resource {
    Resource {
        file: Arc::clone(file),
        line,
        address: kind.clone(),
        kind,
        provider,
        notation: Notation::Source,
        data: false,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SOURCE,
    }
}
