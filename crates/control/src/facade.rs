//! The one handle to all use cases.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, panic};

use freehold_domain::{InviteId, KeyId, Timestamp};
use freehold_store::{Store, StoreError};

use crate::billing::{self, Billing, BillingError};
use crate::clock::{Clock, Ids};
use crate::hooks::{Hooks, ModelHost, TaskRunner};
use crate::key_cache::KeyCache;
use crate::models::files;
use crate::once::ShownSecrets;
use crate::operations::{self, LiveOperations};
use crate::people::People;
use crate::people::token::Token;
use crate::seal::Seal;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::storage::Storage;

/// The use cases of one service. Clones share everything.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    clock: Arc<dyn Clock>,
    ids: Ids,
    pub(crate) keys: KeyCache,
    pub(crate) shown: ShownSecrets<KeyId, Secret>,
    pub(crate) shown_codes: ShownSecrets<InviteId, Token>,
    pub(crate) hooks: Hooks,
    pub(crate) seal: Seal,
    /// Tells this process from every other.
    instance: uuid::Uuid,
    pub(crate) operations: LiveOperations,
    pub(crate) people: People,
    pub(crate) billing: Billing,
    pub(crate) storage: Arc<Storage>,
    /// Held by whoever adds or removes the files of a model or an adapter.
    pub(crate) model_files: tokio::sync::Mutex<()>,
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("the data directory {}: {error}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What is set about people cannot be used.
    #[error("{0}")]
    People(#[source] freehold_domain::Error),
    /// What was stored about money cannot be used.
    #[error(transparent)]
    Billing(#[from] BillingError),
    /// The thread that writes usage does not start.
    #[error("the thread that writes usage does not start: {0}")]
    Thread(#[source] io::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Control {
    /// Opens a data directory, and makes it where it is missing. Ends what an earlier service left unfinished. Blocks
    /// on the disk for some milliseconds.
    ///
    /// # Errors
    /// When the directory cannot be made, is in use by another service, or was written by a newer Freehold.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Control, OpenError> {
        private_dir(&settings.data_dir).map_err(|error| OpenError::Directory { dir: settings.data_dir.clone(), error })?;
        let store = Store::open(&settings.data_dir)?;
        let now = clock.now();
        operations::end_interrupted(&store, now)?;
        files::reconcile(&settings, &store, UNIX_EPOCH + Duration::from_millis(u64::try_from(now.unix_ms()).unwrap_or(0)));
        let people = People::new(&settings.people).map_err(OpenError::People)?;
        let billing = Billing::open(&settings, &store, &clock)?;
        let seal = Seal::open(&settings.data_dir).map_err(|error| OpenError::Directory { dir: settings.data_dir.clone(), error })?;
        let ids = Ids::new();
        let instance = ids.next(now);
        let shared = Arc::new(Shared {
            store,
            settings,
            clock,
            ids,
            seal,
            instance,
            keys: KeyCache::default(),
            shown: ShownSecrets::default(),
            shown_codes: ShownSecrets::default(),
            hooks: Hooks::default(),
            operations: LiveOperations::default(),
            people,
            billing,
            storage: Arc::default(),
            model_files: tokio::sync::Mutex::new(()),
        });
        billing::start(&shared).map_err(OpenError::Thread)?;
        Ok(Control { shared })
    }

    /// Says who runs models. Once, before the first request.
    pub fn attach(&self, runner: Arc<dyn TaskRunner>, host: Arc<dyn ModelHost>) {
        self.shared.hooks.attach(runner, host);
    }

    /// The settings that it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What tells this process from every other: it says so at `/healthz`.
    pub fn instance(&self) -> String {
        self.shared.instance.to_string()
    }

    /// 128 new bits for an id.
    pub fn new_uuid(&self) -> uuid::Uuid {
        self.shared.ids.next(self.now())
    }

    /// Works with the store on a thread that may block.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared.store)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => panic::resume_unwind(payload),
                // Cancelled: the runtime is ending, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Makes the directory for the owner alone. One that exists keeps its mode, unless it is empty.
fn private_dir(dir: &Path) -> io::Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_none() {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
            } else if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
                tracing::warn!(dir = %dir.display(), "others can read the data directory; `chmod 700` it unless that is meant");
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new().recursive(true).mode(0o700).create(dir),
        Err(error) => Err(error),
    }
}
