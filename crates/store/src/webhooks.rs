//! Messages to tenants that are on their way: a queue that outlives the process.

use freehold_domain::{EventId, TenantId, Timestamp};
use rusqlite::params;

use crate::columns::{Columns, all};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::count;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its id, which the receiver sees.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// Where it goes.
    pub url: String,
    /// What it says: JSON.
    pub body: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When to try next.
    pub next_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

fn read(row: &Columns<'_>) -> Result<WebhookRow, StoreError> {
    Ok(WebhookRow {
        id: row.parsed("id")?,
        tenant: row.parsed("tenant_id")?,
        url: row.plain("url")?,
        body: row.plain("body")?,
        attempts: row.plain("attempts")?,
        next_at: row.time("next_at")?,
        created_at: row.time("created_at")?,
    })
}

impl Store {
    /// Adds messages; a tenant's beyond `tenant_max` are dropped. How many were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn queue_webhooks(&self, rows: &[WebhookRow], tenant_max: u32) -> Result<usize, StoreError> {
        self.write(Durability::Full, |transaction| {
            let mut dropped = 0;
            for row in rows {
                let waiting = "SELECT count(*) AS count FROM webhooks WHERE tenant_id = ?1";
                if count(transaction, waiting, [row.tenant.to_string()])? >= tenant_max {
                    dropped += 1;
                    continue;
                }
                let sql = "INSERT INTO webhooks (id, tenant_id, url, body, attempts, next_at, created_at) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
                transaction.prepare_cached(sql)?.execute(params![
                    row.id.to_string(),
                    row.tenant.to_string(),
                    row.url,
                    row.body,
                    row.attempts,
                    row.next_at.unix_ms(),
                    row.created_at.unix_ms()
                ])?;
            }
            Ok(dropped)
        })
    }

    /// Up to `limit` messages whose time has come.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn due_webhooks(&self, now: Timestamp, limit: u32) -> Result<Vec<WebhookRow>, StoreError> {
        let sql = "SELECT id, tenant_id, url, body, attempts, next_at, created_at FROM webhooks WHERE next_at <= ?1 \
                   ORDER BY next_at LIMIT ?2";
        self.read(|connection| all(connection, sql, params![now.unix_ms(), limit], read))
    }

    /// Notes that a message is to be tried again, or (without a time) that it is done with.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn tried_webhook(&self, id: EventId, next_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.write(Durability::Lazy, |transaction| {
            match next_at {
                Some(at) => transaction
                    .prepare_cached("UPDATE webhooks SET attempts = attempts + 1, next_at = ?2 WHERE id = ?1")?
                    .execute(params![id.to_string(), at.unix_ms()])?,
                None => transaction.prepare_cached("DELETE FROM webhooks WHERE id = ?1")?.execute([id.to_string()])?,
            };
            Ok(())
        })
    }
}
