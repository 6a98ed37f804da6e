//! How far the invoices of each month are.
//!
//! **Invariant:** a run is finished only when every tenant was looked at and none is left.

use freehold_domain::{TenantId, Timestamp};
use freehold_ledger::Month;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, all, change_one, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;

/// The tenants that have no invoice yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeftOver {
    /// Requests that they began in the month have not ended.
    pub waiting: Vec<TenantId>,
    /// Something is wrong, and what.
    pub failed: Vec<(TenantId, String)>,
}

impl LeftOver {
    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.failed.is_empty()
    }
}

/// A month's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The month.
    pub month: Month,
    /// The service began it last, by itself; an operator otherwise.
    pub by_service: bool,
    /// When it began last.
    pub started_at: Timestamp,
    /// When all tenants had been looked at.
    pub passed_at: Option<Timestamp>,
    /// When nothing was left to do.
    pub finished_at: Option<Timestamp>,
    /// Who is left.
    pub left: LeftOver,
    /// When to try again.
    pub next_at: Timestamp,
}

const COLUMNS: &str = "month, begun_by, started_at, passed_at, finished_at, left_over, next_at";

fn read(row: &Columns<'_>) -> Result<RunRow, StoreError> {
    let left: String = row.plain("left_over")?;
    Ok(RunRow {
        month: row.parsed("month")?,
        by_service: row.plain::<String>("begun_by")? == "service",
        started_at: row.time("started_at")?,
        passed_at: row.time_or_null("passed_at")?,
        finished_at: row.time_or_null("finished_at")?,
        left: serde_json::from_str(&left).map_err(|error| corrupt("left_over", error))?,
        next_at: row.time("next_at")?,
    })
}

impl Store {
    /// Notes that the invoices of a month are being made, from the first tenant on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_run(&self, month: Month, by_service: bool, now: Timestamp) -> Result<(), StoreError> {
        let by = if by_service { "service" } else { "operator" };
        self.write(Durability::Full, |transaction| {
            let sql = "INSERT INTO invoice_runs (month, begun_by, started_at, left_over, next_at) VALUES (?1, ?2, ?3, '{}', ?3) \
                       ON CONFLICT (month) DO UPDATE SET begun_by = excluded.begun_by, started_at = excluded.started_at, \
                       passed_at = NULL, finished_at = NULL, left_over = excluded.left_over, next_at = excluded.next_at";
            transaction.prepare_cached(sql)?.execute(params![month.to_string(), by, now.unix_ms()])?;
            Ok(())
        })
    }

    /// Notes that every tenant was looked at, who is left, and when to try those again.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for a run that nobody began.
    pub fn pass_run(&self, month: Month, now: Timestamp, left: &LeftOver, next_at: Timestamp) -> Result<(), StoreError> {
        let finished = left.is_empty().then(|| now.unix_ms());
        let left = serde_json::to_string(left).map_err(|error| corrupt("left_over", error))?;
        self.write(Durability::Full, |transaction| {
            let sql = "UPDATE invoice_runs SET passed_at = ?2, finished_at = ?3, left_over = ?4, next_at = ?5 WHERE month = ?1";
            change_one(transaction, sql, params![month.to_string(), now.unix_ms(), finished, left, next_at.unix_ms()])
        })
    }

    /// The run of a month.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn run(&self, month: Month) -> Result<Option<RunRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invoice_runs WHERE month = ?1");
        self.read(|connection| one(connection, &sql, [month.to_string()], read))
    }

    /// Up to `limit` runs, the newest month first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latest_runs(&self, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invoice_runs ORDER BY month DESC LIMIT ?1");
        self.read(|connection| all(connection, &sql, [limit], read))
    }

    /// Up to `limit` runs, the newest month first, each with the number of invoices that its month has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn runs(&self, limit: u32) -> Result<Vec<(RunRow, u64)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, (SELECT count(*) FROM invoices i WHERE i.month = invoice_runs.month AND i.kind = 'invoice') AS count \
             FROM invoice_runs ORDER BY month DESC LIMIT ?1"
        );
        self.read(|connection| all(connection, &sql, [limit], |row| Ok((read(row)?, row.size("count")?))))
    }
}
