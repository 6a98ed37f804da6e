//! Room for what tenants and keys store: held before work begins, filled when it ends.
//!
//! The sums are in the database, in the same transactions as what they count. What is held is in memory only, beside the
//! sums of whoever is storing just now: after a restart nothing is being made.
//!
//! **Invariant:** what is stored and held never goes above the limit that was in force at admission. A sum in memory is
//! never below the one in the database: it grows before a hold ends, and shrinks after the deletion is committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use freehold_domain::{Error, ErrorCode, KeyId, TenantId};
use freehold_ledger::limits::Refused;
use freehold_ledger::{Scope, Shelf, Shelves};
use freehold_store::{Freed, StorageMax};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::facade::Control;

/// What is in memory about what is stored.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    shelves: Mutex<Shelves>,
    /// Held by whoever brings a sum into memory, forgets sums or makes them smaller, until both sides agree again.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Whose content is being read. A tenant has few turns at once, so that it leaves the database to others.
    readers: Mutex<HashMap<TenantId, Weak<Readers>>>,
}

/// Those who read what one tenant has stored.
#[derive(Debug)]
struct Readers {
    reads: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

/// Reads and deletions of a tenant at once; more wait.
const READS_MAX: usize = 2;
/// Exports of a tenant at once; more are refused.
const EXPORTS_MAX: usize = 2;

/// A turn of a tenant.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _readers: Arc<Readers>,
}

/// Room that is held for something that is being made. It is given back when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    storage: Arc<Storage>,
    tenant: TenantId,
    key: Option<KeyId>,
    bytes: u64,
    max: StorageMax,
}

fn scopes(tenant: TenantId, key: Option<KeyId>) -> impl Iterator<Item = Scope> {
    [Some(Scope::Tenant(tenant)), key.map(Scope::Key)].into_iter().flatten()
}

impl Storage {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self, tenant: TenantId) -> Arc<Readers> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = readers.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        readers.retain(|_, readers| readers.strong_count() > 0);
        let (reads, exports) = (Arc::new(Semaphore::new(READS_MAX)), Arc::new(Semaphore::new(EXPORTS_MAX)));
        let new = Arc::new(Readers { reads, exports });
        readers.insert(tenant, Arc::downgrade(&new));
        new
    }

    /// Waits for a turn to read or delete what a tenant has stored. To be kept until that is done.
    pub(crate) async fn read_turn(&self, tenant: TenantId) -> Result<Turn, Error> {
        let readers = self.readers(tenant);
        let permit = Arc::clone(&readers.reads).acquire_owned().await.map_err(Error::internal)?;
        Ok(Turn { _permit: permit, _readers: readers })
    }

    /// A turn to export what a tenant has stored.
    ///
    /// # Errors
    /// `rate_limited` when it has all that it may have.
    pub(crate) fn export_turn(&self, tenant: TenantId) -> Result<Turn, Error> {
        let readers = self.readers(tenant);
        let permit = Arc::clone(&readers.exports).try_acquire_owned().map_err(|_| {
            let message = format!("{EXPORTS_MAX} exports of this tenant are running; wait for one of them to end.");
            Error::new(ErrorCode::RateLimited, message).with_retry_after_s(10)
        })?;
        Ok(Turn { _permit: permit, _readers: readers })
    }

    /// Alone from now on with changes that make sums smaller.
    pub(crate) async fn changing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    /// Takes over what is not stored any more. The caller has [`Storage::changing`].
    pub(crate) fn free(&self, freed: &Freed) {
        let mut shelves = self.shelves();
        scopes(freed.tenant_id, freed.key_id).for_each(|scope| shelves.free(scope, freed.bytes));
    }

    /// Forgets who stores nothing just now. The caller has [`Storage::changing`].
    pub(crate) fn forget_idle(&self) {
        self.shelves().forget_idle();
    }

    /// Holds room; nothing, where a sum is not in memory.
    fn hold(self: &Arc<Self>, tenant: TenantId, key: Option<KeyId>, max: StorageMax, bytes: u64) -> Option<Result<Place, Refused>> {
        let mut shelves = self.shelves();
        if scopes(tenant, key).any(|scope| shelves.shelf(scope).is_none()) {
            return None;
        }
        let limits: Vec<(Scope, Option<u64>)> = scopes(tenant, key).zip([Some(max.tenant), max.key]).collect();
        let held = shelves.hold(&limits, bytes);
        Some(held.map(|()| Place { storage: Arc::clone(self), tenant, key, bytes, max }))
    }
}

impl Place {
    /// The limits that it was held under.
    pub(crate) fn max(&self) -> StorageMax {
        self.max
    }

    /// Takes over limits that were raised meanwhile; what was admitted stays admitted where they were lowered.
    pub(crate) fn widen(&mut self, now: StorageMax) {
        self.max.tenant = self.max.tenant.max(now.tenant);
        self.max.key = self.max.key.zip(now.key).map(|(before, now)| before.max(now));
    }

    /// Holds as much as this, if there is room for what that is more.
    pub(crate) fn reach(&mut self, bytes: u64) -> Result<(), Error> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        match self.storage.hold(self.tenant, self.key, self.max, more) {
            Some(Ok(mut place)) => {
                self.bytes += std::mem::take(&mut place.bytes);
                Ok(())
            }
            Some(Err(refused)) => Err(refusal(&refused)),
            None => Err(Error::internal("a place in a sum that is not in memory")),
        }
    }

    /// What was made is stored.
    pub(crate) fn fill(mut self, stored: u64) {
        let held = std::mem::take(&mut self.bytes);
        self.storage.shelves().settle(scopes(self.tenant, self.key), held, stored);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.storage.shelves().settle(scopes(self.tenant, self.key), self.bytes, 0);
        }
    }
}

fn refusal(refused: &Refused) -> Error {
    let who = match refused.scope {
        Scope::Tenant(_) => "tenant",
        Scope::Key(_) => "key",
    };
    let message = format!(
        "The {who}'s limit `storage_bytes` is {}; {} is stored, or held for requests that are running, and this request can need up to \
         {}. Delete stored responses (`freehold response delete`), have the limit raised (`freehold limits set --storage-bytes`), ask for \
         fewer tokens (`max_output_tokens`), or send `store: false`.",
        refused.max, refused.used, refused.asked
    );
    let error = Error::new(ErrorCode::StorageExhausted, message).with_param("store");
    refused.retry_after_s.map_or(error.clone(), |seconds| error.with_retry_after_s(seconds))
}

impl Control {
    /// Holds room for something that a tenant stores.
    ///
    /// # Errors
    /// `storage_exhausted`.
    pub(crate) async fn hold_storage(&self, tenant: TenantId, key: Option<KeyId>, bytes: u64) -> Result<Place, Error> {
        let max = self.storage_max(tenant, key).await?;
        loop {
            match self.shared.storage.hold(tenant, key, max, bytes) {
                Some(held) => return held.map_err(|refused| refusal(&refused)),
                None => self.load_storage(tenant, key).await?,
            }
        }
    }

    /// The most that a tenant and a key may store.
    pub(crate) async fn storage_max(&self, tenant: TenantId, key: Option<KeyId>) -> Result<StorageMax, Error> {
        let (limits, key_limits) = self.limits_in_force(tenant, key).await?;
        let of_tenant = limits.storage_bytes.unwrap_or(self.settings().storage.bytes_default);
        Ok(StorageMax { tenant: of_tenant, key: key_limits.and_then(|limits| limits.storage_bytes) })
    }

    /// What a tenant, or a key of it, stores.
    pub(crate) async fn shelf(&self, tenant: TenantId, key: Option<KeyId>) -> Result<Shelf, Error> {
        let scope = key.map_or(Scope::Tenant(tenant), Scope::Key);
        loop {
            let found = self.shared.storage.shelves().shelf(scope);
            match found {
                Some(shelf) => return Ok(shelf),
                None => self.load_storage(tenant, key).await?,
            }
        }
    }

    /// Brings the sums of a tenant and a key into memory.
    async fn load_storage(&self, tenant: TenantId, key: Option<KeyId>) -> Result<(), Error> {
        let alone = self.shared.storage.changing().await;
        let storage = Arc::clone(&self.shared.storage);
        let loaded = self.store(move |store| {
            let of_tenant = store.stored_bytes(tenant, None)?;
            let of_key = key.map(|key| store.stored_bytes(tenant, Some(key)).map(|bytes| (key, bytes))).transpose()?;
            let mut shelves = storage.shelves();
            shelves.load(Scope::Tenant(tenant), of_tenant);
            if let Some((key, bytes)) = of_key {
                shelves.load(Scope::Key(key), bytes);
            }
            drop(alone);
            Ok(())
        });
        Ok(loaded.await?)
    }
}
