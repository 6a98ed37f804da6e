//! Keys that were used lately, so that a request costs no read of the store.
//!
//! **Invariant:** after [`KeyCache::forget`] returns, no answer is given from what was read before it: a read that
//! was under way when something was forgotten is not kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use freehold_domain::{KeyId, TenantId, Timestamp};

use crate::auth::{Actor, StoredKey};

const ENTRIES_MAX: usize = 10_000;
const NEVER: i64 = i64::MIN;

/// A key and when it was used.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: StoredKey,
    used_at_ms: AtomicI64,
    written_at_ms: AtomicI64,
}

impl Entry {
    pub(crate) fn new(key: StoredKey) -> Self {
        Self { key, used_at_ms: AtomicI64::new(NEVER), written_at_ms: AtomicI64::new(NEVER) }
    }

    pub(crate) fn touch(&self, now: Timestamp) {
        self.used_at_ms.fetch_max(now.unix_ms(), Ordering::Relaxed);
    }

    /// The time of last use, if it was not taken before.
    fn take_use(&self) -> Option<Timestamp> {
        let used = self.used_at_ms.load(Ordering::Relaxed);
        (self.written_at_ms.swap(used, Ordering::Relaxed) != used).then(|| Timestamp::from_unix_ms(used))
    }
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<KeyId, Arc<Entry>>,
    /// Counts what was forgotten.
    generation: u64,
}

#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    entries: RwLock<Entries>,
    /// Uses of entries that are gone.
    uses: Mutex<HashMap<KeyId, Timestamp>>,
}

/// Shown before a read of the store and handed in with what was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(u64);

impl KeyCache {
    fn reading(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<Arc<Entry>> {
        self.reading().by_id.get(&id).cloned()
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.reading().generation)
    }

    /// Keeps what was read from the store, unless something was forgotten since `before`.
    pub(crate) fn keep(&self, id: KeyId, entry: &Arc<Entry>, before: Generation) {
        let mut entries = self.writing();
        if entries.generation != before.0 {
            return;
        }
        if entries.by_id.len() >= ENTRIES_MAX && !entries.by_id.contains_key(&id) {
            let victim = entries.by_id.keys().next().copied();
            if let Some(gone) = victim.and_then(|victim| entries.by_id.remove(&victim)) {
                self.note_use(gone.key.id, &gone);
            }
        }
        if let Some(replaced) = entries.by_id.insert(id, Arc::clone(entry)) {
            self.note_use(id, &replaced);
        }
    }

    /// A key has changed.
    pub(crate) fn forget(&self, id: KeyId) {
        let mut entries = self.writing();
        entries.generation += 1;
        if let Some(gone) = entries.by_id.remove(&id) {
            self.note_use(id, &gone);
        }
    }

    /// Keys of whatever tenants have changed.
    pub(crate) fn forget_all(&self) {
        let mut entries = self.writing();
        entries.generation += 1;
        for (id, entry) in entries.by_id.drain() {
            self.note_use(id, &entry);
        }
    }

    /// A tenant has changed.
    pub(crate) fn forget_tenant(&self, tenant: TenantId) {
        let mut entries = self.writing();
        entries.generation += 1;
        entries.by_id.retain(|id, entry| {
            let stays = !matches!(&entry.key.actor, Actor::Tenant(caller) if caller.tenancy.tenant == tenant);
            if !stays {
                self.note_use(*id, entry);
            }
            stays
        });
    }

    /// Notes the use of a key that is not kept.
    pub(crate) fn note_use(&self, id: KeyId, entry: &Entry) {
        if let Some(time) = entry.take_use() {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            let latest = uses.entry(id).or_insert(time);
            *latest = time.max(*latest);
        }
    }

    /// All uses since the last call.
    pub(crate) fn take_uses(&self) -> HashMap<KeyId, Timestamp> {
        let entries = self.reading();
        for (id, entry) in &entries.by_id {
            self.note_use(*id, entry);
        }
        drop(entries);
        std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
