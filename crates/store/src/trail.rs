//! The audit trail: what was done, by whom, written with the change itself.
//!
//! **Invariant:** an event is never changed. Events go when they are older than the service keeps them.

use freehold_domain::{EventId, TenantId, Timestamp};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all};
use crate::connection::Store;
use crate::error::StoreError;
use crate::idempotency::Once;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailRow {
    /// Its id; ids sort by time.
    pub id: EventId,
    /// The tenant that may read it; `None`: operators only.
    pub tenant_id: Option<TenantId>,
    /// When it happened.
    pub at: Timestamp,
    /// The event as JSON (CloudEvents 1.0).
    pub event_json: String,
}

/// What a creating call is told beside the thing itself: how to make it repeatable, and what the trail says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Note<'a> {
    /// Makes the call repeatable.
    pub once: Option<&'a Once>,
    /// Written when the thing is made; not when an earlier call made it.
    pub trail: Option<&'a TrailRow>,
}

impl<'a> From<Option<&'a Once>> for Note<'a> {
    fn from(once: Option<&'a Once>) -> Self {
        Self { once, trail: None }
    }
}

fn read(row: &Columns<'_>) -> Result<TrailRow, StoreError> {
    Ok(TrailRow {
        id: row.parsed("id")?,
        tenant_id: row.parsed_or_null("tenant_id")?,
        at: row.time("at")?,
        event_json: row.plain("event")?,
    })
}

pub(crate) fn insert<'a>(connection: &Connection, events: impl IntoIterator<Item = &'a TrailRow>) -> Result<(), StoreError> {
    let sql = "INSERT INTO trail (id, tenant_id, at, event) VALUES (?1, ?2, ?3, ?4)";
    for event in events {
        connection.prepare_cached(sql)?.execute(params![
            event.id.to_string(),
            event.tenant_id.map(|id| id.to_string()),
            event.at.unix_ms(),
            event.event_json
        ])?;
    }
    Ok(())
}

impl Store {
    /// Up to `limit` events before the event `before`, newest first: a tenant's, or all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn trail(&self, tenant: Option<TenantId>, before: Option<EventId>, limit: u32) -> Result<Vec<TrailRow>, StoreError> {
        let before = before.map(|id| id.to_string());
        self.read(|connection| match tenant {
            None => {
                let sql = "SELECT id, tenant_id, at, event FROM trail WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2";
                all(connection, sql, params![before, limit], read)
            }
            Some(tenant) => {
                let sql = "SELECT id, tenant_id, at, event FROM trail WHERE tenant_id = ?3 AND (?1 IS NULL OR id < ?1) \
                           ORDER BY id DESC LIMIT ?2";
                all(connection, sql, params![before, limit, tenant.to_string()], read)
            }
        })
    }
}
