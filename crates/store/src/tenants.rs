//! Tenants: the units of isolation and billing.

use freehold_domain::{TenantId, TenantName, Timestamp};
use rusqlite::params;

use crate::columns::{Columns, all, change_one, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, count, earlier, note};
use crate::trail::{self, Note, TrailRow};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique without regard to case.
    pub name: TenantName,
    /// Its share of a busy machine, 1 to 1000.
    pub weight: u16,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "id, name, weight, created_at";

pub(crate) fn read(row: &Columns<'_>) -> Result<TenantRow, StoreError> {
    Ok(TenantRow { id: row.parsed("id")?, name: row.parsed("name")?, weight: row.plain("weight")?, created_at: row.time("created_at")? })
}

pub(crate) fn insert(connection: &rusqlite::Connection, tenant: &TenantRow) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT INTO tenants (id, name, weight, created_at) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        tenant.id.to_string(),
        tenant.name.as_str(),
        tenant.weight,
        tenant.created_at.unix_ms()
    ])?;
    Ok(())
}

impl Store {
    /// Adds a tenant, if there are fewer than `tenants_max`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name that is taken, [`StoreError::LimitReached`], [`StoreError::KeyReused`].
    pub fn create_tenant<'a>(
        &self,
        tenant: &TenantRow,
        tenants_max: u32,
        told: impl Into<Note<'a>>,
    ) -> Result<Created<TenantId>, StoreError> {
        let told = told.into();
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, told.once)? {
                return Ok(Created::Before(id));
            }
            if count(transaction, "SELECT count(*) AS count FROM tenants", [])? >= tenants_max {
                return Err(StoreError::LimitReached { limit: tenants_max });
            }
            insert(transaction, tenant)?;
            note(transaction, told.once, &tenant.id)?;
            trail::insert(transaction, told.trail)?;
            Ok(Created::New)
        })
    }

    /// The tenant with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenant(&self, id: TenantId) -> Result<Option<TenantRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = ?1");
        self.read(|connection| one(connection, &sql, [id.to_string()], read))
    }

    /// The tenant with this name, compared without regard to case.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenant_by_name(&self, name: &TenantName) -> Result<Option<TenantRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM tenants WHERE name = ?1");
        self.read(|connection| one(connection, &sql, [name.as_str()], read))
    }

    /// Up to `limit` tenants that were made after the tenant `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenants(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<TenantRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id > ?1 ORDER BY id LIMIT ?2");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| all(connection, &sql, params![after, limit], read))
    }

    /// Changes a tenant's name and weight; what is left out stays as it is at that moment.
    ///
    /// # Errors
    /// [`StoreError::Missing`], and [`StoreError::Exists`] for a name that is taken.
    pub fn update_tenant(
        &self,
        id: TenantId,
        name: Option<&TenantName>,
        weight: Option<u16>,
        event: Option<&TrailRow>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = "UPDATE tenants SET name = coalesce(?2, name), weight = coalesce(?3, weight) WHERE id = ?1";
            change_one(transaction, sql, params![id.to_string(), name.map(TenantName::as_str), weight])?;
            trail::insert(transaction, event)
        })
    }
}
