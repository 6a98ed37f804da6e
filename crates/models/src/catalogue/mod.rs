//! The models that Freehold knows by name, from `catalogue.toml`, which is compiled in.
//!
//! It must not know what is installed here. **Invariant:** an entry names a repository only if a GGUF conversion
//! is known to be there; otherwise resolving it says that a file must be given.

mod fit;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::source::{HubFile, HubSource, HubWant, Source};
pub use fit::{CONTEXT_TOKENS_DEFAULT, Fit, Verdict, fits, fits_file, needed_bytes};

/// A model that is known by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name to pull it by.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Where GGUF conversions are: `hf:owner/repo` or `starter`; `None`: a file must be given.
    pub source: Option<String>,
    /// The makers' own repository on Hugging Face, `owner/repo`.
    pub original: String,
    /// The licence's short name.
    pub licence: String,
    /// The licence's full name.
    pub licence_title: String,
    /// Longest sequence that the model was made for, in tokens.
    pub context_tokens: u64,
    /// Number of weights.
    pub parameters: u64,
    /// KV cache of one token in all layers, in bytes, with 16-bit numbers.
    pub kv_bytes_per_token: u64,
    /// The conversions, the usual one first.
    pub files: Vec<CatalogueFile>,
}

/// One conversion of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    /// How the weights are written down.
    pub quantization: String,
    /// The file's path in the repository; `None`: found by the quantization.
    #[serde(default)]
    pub file: Option<String>,
    /// The file's length, or that of all its parts.
    pub bytes: u64,
    /// Whether `bytes` is exact and not rounded.
    #[serde(default)]
    pub exact: bool,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Conversation.
    Chat,
    /// Judging whether a conversation is safe.
    Guard,
}

/// Why an entry cannot be fetched as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// No conversion is known.
    #[error(
        "no GGUF file of `{name}` is known to the catalogue: give one as a path or as `hf:owner/repo:FILE.gguf` (the original weights are {original} on Hugging Face)"
    )]
    NoFile {
        /// The entry.
        name: String,
        /// The makers' repository.
        original: String,
    },
    /// No conversion with this quantization is known.
    #[error("the catalogue has no {quantization} of `{name}`, only {known}; another file is given as `hf:owner/repo:FILE.gguf`")]
    NoQuantization {
        /// The entry.
        name: String,
        /// What was asked for.
        quantization: String,
        /// What there is.
        known: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    model: Vec<Entry>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let document: Document = toml::from_str(include_str!("../../catalogue.toml")).expect("the catalogue is compiled in and read by a test");
    document.model
});

/// All entries, in the order of the file.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The entry with this name; letter case does not matter.
pub fn find(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// The name that is most like `name`, if any is like it at all.
pub fn nearest(name: &str) -> Option<&'static str> {
    const ALIKE_MIN: f64 = 0.75;
    let name = name.to_ascii_lowercase();
    let (likeness, nearest) =
        entries().iter().map(|entry| (strsim::jaro_winkler(&name, &entry.name), entry.name.as_str())).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= ALIKE_MIN).then_some(nearest)
}

impl Entry {
    /// The conversion with this quantization, or the usual one.
    ///
    /// # Errors
    /// There is none.
    pub fn file(&self, quantization: Option<&str>) -> Result<&CatalogueFile, CatalogueError> {
        let found = match quantization {
            None => self.files.first(),
            Some(label) => self.files.iter().find(|file| file.quantization.eq_ignore_ascii_case(label)),
        };
        found.ok_or_else(|| CatalogueError::NoQuantization {
            name: self.name.clone(),
            quantization: quantization.unwrap_or("file").to_owned(),
            known: self.files.iter().map(|file| file.quantization.as_str()).collect::<Vec<_>>().join(" and "),
        })
    }

    /// Where to fetch it from.
    ///
    /// # Errors
    /// No such file is known.
    pub fn resolve(&self, quantization: Option<&str>) -> Result<Source, CatalogueError> {
        let no_file = || CatalogueError::NoFile { name: self.name.clone(), original: self.original.clone() };
        let source: Source = self.source.as_deref().ok_or_else(no_file)?.parse().map_err(|_| no_file())?;
        let file = self.file(quantization)?;
        let Source::Hub(HubSource { repo, .. }) = source else { return Ok(source) };
        let want = match &file.file {
            Some(path) => HubWant::File(path.parse::<HubFile>().map_err(|_| no_file())?),
            None => HubWant::Quantization(file.quantization.to_ascii_uppercase()),
        };
        Ok(Source::Hub(HubSource { repo, want }))
    }
}
