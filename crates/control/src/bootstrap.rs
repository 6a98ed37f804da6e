//! The first start: an operator key, the tenant `main` and a key of it, kept in `credentials.json` for the CLI.
//!
//! **Invariant:** the file is on the disk before the database has the keys, so a crash between the two never leaves
//! a service that nobody can manage; the next start then makes both again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use freehold_domain::{Error, TenantId, TenantName};
use freehold_store::{KeyOwner, TenantRow};
use serde::{Deserialize, Serialize};

use crate::facade::Control;
use crate::keys::make;
use crate::tenants::WEIGHT_DEFAULT;

/// The file in the data directory.
pub const CREDENTIALS_FILE: &str = "credentials.json";
const VERSION: u32 = 1;
const FIRST_TENANT: &str = "main";

/// What the CLI uses when it is told nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The file's version: 1.
    pub version: u32,
    /// Where the service listens: `http://127.0.0.1:8080`.
    pub base_url: String,
    /// Manages the service.
    pub operator_key: String,
    /// The first tenant's name.
    pub tenant: String,
    /// A key of that tenant.
    pub key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("base_url", &self.base_url).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Why the credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is not what this program writes.
    #[error("{} is not a credentials file of this version of Freehold: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Credentials {
    /// Reads the file of a data directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or is of another version.
    pub fn read(data_dir: &Path) -> Result<Option<Credentials>, CredentialsError> {
        let path = data_dir.join(CREDENTIALS_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CredentialsError::Io { path, error }),
        };
        let credentials: Credentials = match serde_json::from_str(&text) {
            Ok(credentials) => credentials,
            Err(error) => return Err(CredentialsError::Unreadable { path, why: error.to_string() }),
        };
        if credentials.version == VERSION {
            Ok(Some(credentials))
        } else {
            Err(CredentialsError::Unreadable { path, why: format!("version {} instead of {VERSION}", credentials.version) })
        }
    }

    /// Writes the file of a data directory, readable by the owner alone, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, data_dir: &Path) -> Result<(), CredentialsError> {
        let path = data_dir.join(CREDENTIALS_FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| CredentialsError::Unreadable { path: path.clone(), why: error.to_string() })?;
        write_private(data_dir, &path, &text).map_err(|error| CredentialsError::Io { path, error })
    }
}

fn write_private(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    // A leftover of a crash may have another mode; a new file has ours.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The data directory is new; here are its first keys.
    First(Credentials),
    /// It was used before; the file's credentials, if the owner left the file there.
    Again(Option<Credentials>),
}

impl Control {
    /// Makes the first keys of a new data directory, or reads what an earlier start left and notes the new address.
    ///
    /// # Errors
    /// When the file or the database cannot be written.
    pub async fn bootstrap(&self, base_url: &str) -> Result<Start, Error> {
        if self.store(|store| store.has_operator()).await? {
            return self.note_address(base_url).map(Start::Again);
        }
        let now = self.now();
        let name: TenantName = FIRST_TENANT.parse().map_err(Error::internal)?;
        let tenant = TenantRow { id: TenantId::from_uuid(self.new_uuid()), name, weight: WEIGHT_DEFAULT, created_at: now };
        let (operator_row, operator) = make(self, KeyOwner::Operator, "first operator key", now)?;
        let (key_row, key) = make(self, KeyOwner::Tenant(tenant.id), "first key", now)?;
        let credentials = Credentials {
            version: VERSION,
            base_url: base_url.to_owned(),
            operator_key: operator.reveal().to_owned(),
            tenant: FIRST_TENANT.to_owned(),
            key: key.reveal().to_owned(),
        };
        credentials.write(&self.settings().data_dir).map_err(Error::internal)?;
        if self.store(move |store| store.bootstrap(&tenant, &[operator_row, key_row])).await? {
            Ok(Start::First(credentials))
        } else {
            Err(Error::internal("another task made the first operator key at the same time"))
        }
    }

    fn note_address(&self, base_url: &str) -> Result<Option<Credentials>, Error> {
        let dir = &self.settings().data_dir;
        let Some(mut credentials) = Credentials::read(dir).map_err(Error::internal)? else { return Ok(None) };
        if credentials.base_url != base_url {
            credentials.base_url = base_url.to_owned();
            credentials.write(dir).map_err(Error::internal)?;
        }
        Ok(Some(credentials))
    }
}
