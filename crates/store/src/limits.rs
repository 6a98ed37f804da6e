//! Limits of tenants and keys.

use freehold_domain::{KeyId, TenantId, Timestamp};
use freehold_ledger::Limits;
use rusqlite::params;

use crate::columns::{Columns, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::trail::{self, Note};

/// Limits, and where to tell that they are near.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsRow {
    /// The limits.
    pub limits: Limits,
    /// The URL that alerts are sent to.
    pub webhook: Option<String>,
}

fn read(row: &Columns<'_>) -> Result<LimitsRow, StoreError> {
    let limits: String = row.plain("limits")?;
    let limits = serde_json::from_str(&limits).map_err(|error| corrupt("limits", error))?;
    Ok(LimitsRow { limits, webhook: row.plain("webhook")? })
}

fn scope(tenant: TenantId, key: Option<KeyId>) -> String {
    key.map_or_else(|| tenant.to_string(), |key| key.to_string())
}

impl Store {
    /// The limits of a tenant, or of one of its keys.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn limits(&self, tenant: TenantId, key: Option<KeyId>) -> Result<Option<LimitsRow>, StoreError> {
        let sql = "SELECT limits, webhook FROM limits WHERE scope_id = ?1 AND tenant_id = ?2";
        self.read(|connection| one(connection, sql, params![scope(tenant, key), tenant.to_string()], read))
    }

    /// Sets the limits of a tenant, or of one of its keys.
    ///
    /// # Errors
    /// [`StoreError::NoParent`] without such a tenant.
    pub fn set_limits(
        &self,
        tenant: TenantId,
        key: Option<KeyId>,
        row: &LimitsRow,
        now: Timestamp,
        said: Note<'_>,
    ) -> Result<(), StoreError> {
        let limits = serde_json::to_string(&row.limits).map_err(|error| corrupt("limits", error))?;
        self.write(Durability::Full, |transaction| {
            let sql = "INSERT INTO limits (scope_id, tenant_id, limits, webhook, updated_at) VALUES (?1, ?2, ?3, ?4, ?5) \
                       ON CONFLICT (scope_id) DO UPDATE SET limits = excluded.limits, webhook = excluded.webhook, \
                       updated_at = excluded.updated_at";
            let values = params![scope(tenant, key), tenant.to_string(), limits, row.webhook, now.unix_ms()];
            transaction.prepare_cached(sql)?.execute(values)?;
            trail::insert(transaction, said.trail)
        })
    }
}
