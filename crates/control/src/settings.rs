//! What the use cases need to be told once, at the start.

use std::fmt;
use std::path::PathBuf;

use crate::billing::BillingSettings;
use crate::people::PeopleSettings;

/// Settings of the use cases.
#[derive(Clone)]
pub struct Settings {
    /// Where everything is kept; made at the first start.
    pub data_dir: PathBuf,
    /// Most memory for all loaded models together, in bytes.
    pub memory_budget_bytes: u64,
    /// The model hub's address, without a slash at the end.
    pub hf_endpoint: String,
    /// The token for the model hub's gated models.
    pub hf_token: Option<String>,
    /// A copy of the starter model that is on this machine already; used if it is the right one.
    pub starter_file: Option<PathBuf>,
    /// Threads for background work on models; `None`: one for each core.
    pub task_threads: Option<u32>,
    /// What is set about people.
    pub people: PeopleSettings,
    /// What is set about billing.
    pub billing: BillingSettings,
    /// What is set about what tenants store.
    pub storage: StorageSettings,
}

/// What is set about what tenants store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// Most bytes that a tenant without a limit of its own stores.
    pub bytes_default: u64,
    /// Days that a response is stored, 1 at least.
    pub response_days: u32,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { bytes_default: 1 << 30, response_days: 30 }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("data_dir", &self.data_dir)
            .field("memory_budget_bytes", &self.memory_budget_bytes)
            .field("hf_endpoint", &self.hf_endpoint)
            .field("hf_token", &self.hf_token.as_ref().map(|_| "(set)"))
            .field("starter_file", &self.starter_file)
            .field("task_threads", &self.task_threads)
            .field("people", &self.people)
            .field("billing", &self.billing)
            .field("storage", &self.storage)
            .finish()
    }
}

impl Settings {
    /// Where models are kept, one folder each.
    pub fn models_dir(&self) -> PathBuf {
        self.data_dir.join("models")
    }
}
