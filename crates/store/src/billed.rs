//! Where in the order of their writing the records of a month stand: an invoice charges for the first so many, the next
//! for those that came after it.
//!
//! **Invariant:** nothing here grows with the number of records.

use freehold_domain::TenantId;
use freehold_ledger::{Month, calendar};
use rusqlite::{Connection, params};

use crate::columns::{one, signed};
use crate::connection::Store;
use crate::error::StoreError;

/// Records that one line of an invoice adds up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind {
    /// `tokens` for a model, `seconds` for a sku.
    pub meter: String,
    /// The model or sku.
    pub name: String,
    /// The version of the price list.
    pub price_number: u32,
}

const POSTED: &str = "FROM usage WHERE tenant_id = ?1 AND started_at >= ?2 AND started_at < ?3 AND state = 'posted' \
                      AND record ->> '$.price_number' = ?4 AND ?5 = iif(?6 = 'seconds', record ->> '$.subject.sku', record ->> '$.subject.model')";

impl Store {
    /// For each of `counts`: the place of the last of the so many records of a kind that were written first, of a tenant's
    /// posted ones that began in a month. Records that are forgotten were the first; where there are not so many, it is
    /// the last place of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn places(&self, tenant: TenantId, month: Month, kind: &RecordKind, counts: &[u64]) -> Result<Vec<i64>, StoreError> {
        self.read(|connection| {
            let total = posted_ever(connection, tenant, month, kind)?;
            let last = one(connection, "SELECT coalesce(max(seq), 0) AS last FROM usage", [], |row| row.plain("last"))?.unwrap_or(0);
            let mut kept = None;
            let mut place = |count: u64| -> Result<i64, StoreError> {
                if count >= total {
                    return Ok(last);
                }
                let kept = match kept {
                    Some(kept) => kept,
                    None => *kept.insert(posted_now(connection, tenant, month, kind)?),
                };
                let forgotten = total.saturating_sub(kept);
                if count <= forgotten { Ok(0) } else { Ok(nth(connection, tenant, month, kind, count - forgotten)?.unwrap_or(last)) }
            };
            counts.iter().map(|count| place(*count)).collect()
        })
    }
}

/// How many there were, with those that are forgotten.
fn posted_ever(connection: &Connection, tenant: TenantId, month: Month, kind: &RecordKind) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(requests), 0) AS count FROM usage_daily \
               WHERE tenant_id = ?1 AND day >= ?2 AND day < ?3 AND price_number = ?4 AND name = ?5 AND meter = ?6";
    let (from, to) = (calendar::day_of(month.start()), calendar::day_of(month.end()));
    let values = params![tenant.to_string(), from, to, kind.price_number, kind.name, kind.meter];
    Ok(one(connection, sql, values, |row| row.size("count"))?.unwrap_or(0))
}

fn posted_now(connection: &Connection, tenant: TenantId, month: Month, kind: &RecordKind) -> Result<u64, StoreError> {
    let (from, to) = (month.start().unix_ms(), month.end().unix_ms());
    let values = params![tenant.to_string(), from, to, kind.price_number, kind.name, kind.meter];
    Ok(one(connection, &format!("SELECT count(*) AS count {POSTED}"), values, |row| row.size("count"))?.unwrap_or(0))
}

/// The place of the record that was written as the `rank`th, from 1.
fn nth(connection: &Connection, tenant: TenantId, month: Month, kind: &RecordKind, rank: u64) -> Result<Option<i64>, StoreError> {
    let sql = format!("SELECT seq {POSTED} ORDER BY seq LIMIT 1 OFFSET ?7");
    let (from, to) = (month.start().unix_ms(), month.end().unix_ms());
    let values = params![tenant.to_string(), from, to, kind.price_number, kind.name, kind.meter, signed(rank - 1)];
    one(connection, &sql, values, |row| row.plain("seq"))
}
