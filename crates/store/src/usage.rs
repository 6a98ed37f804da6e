//! Usage records, and what they add up to by day.
//!
//! Records come from the usage log, where they are on the disk before the client has the end of its answer. They are
//! posted here (with their transfers and their places in the days' sums) when the end was handed over, or void; those
//! whose ends take long are pending meanwhile.
//!
//! **Invariant:** a record is posted at most once, and in one transaction with its transfer and its day.

use std::borrow::Cow;
use std::collections::HashMap;

use freehold_domain::{AccountId, KeyId, NanoUnits, TenantId, Timestamp, UsageId};
use freehold_ledger::invoices::UsageTotal;
use freehold_ledger::usage::Quantities;
use freehold_ledger::{UsageOutcome, UsageRecord, UsageState};
use rusqlite::{Connection, params};

use crate::accounts::account;
use crate::charges::Charges;
use crate::columns::{Columns, all, change_one, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;

/// What is to be written of a record. `text` is its JSON form ([`UsageRecord::to_json_text`]).
#[derive(Clone, Debug, PartialEq)]
pub enum UsageWrite<'a> {
    /// It is new, and the client does not have the end of its answer yet.
    Pending {
        /// The record.
        record: &'a UsageRecord,
        /// Its JSON form.
        text: Cow<'a, str>,
    },
    /// It is new, and posted at once.
    Posted {
        /// The record.
        record: &'a UsageRecord,
        /// Its JSON form.
        text: Cow<'a, str>,
        /// The outcome that it has now.
        outcome: UsageOutcome,
        /// When the end was handed over, if it was.
        delivered_at: Option<Timestamp>,
    },
    /// A pending record is posted.
    Post {
        /// As it was written.
        record: &'a UsageRecord,
        /// The outcome that it has now.
        outcome: UsageOutcome,
        /// When the end was handed over, if it was.
        delivered_at: Option<Timestamp>,
    },
}

/// A sum of posted usage; a part by which it is not split is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSum {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Days since 1970-01-01.
    pub day: Option<i64>,
    /// The model or sku.
    pub name: Option<String>,
    /// The key; an empty text is usage without one.
    pub key: Option<String>,
    /// Records.
    pub requests: u64,
    /// Those that failed by the service's fault.
    pub failed: u64,
    /// What was billed.
    pub billable: Quantities,
    /// What it cost.
    pub amount: NanoUnits,
}

/// What an invoice is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct MonthAccount {
    /// What was used in the month.
    pub totals: Vec<UsageTotal>,
    /// What was charged for later days.
    pub since: NanoUnits,
    /// The tenant's account now.
    pub balance: NanoUnits,
}

/// By what to split a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitBy {
    /// By tenant.
    pub tenant: bool,
    /// By day.
    pub day: bool,
    /// By model or sku.
    pub name: bool,
    /// By key.
    pub key: bool,
}

/// A record that is in the usage log.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedUsage {
    /// The record.
    pub record: UsageRecord,
    /// There is no end to wait for.
    pub is_final: bool,
}

/// A record as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRow {
    /// Its place among all records.
    pub seq: i64,
    /// The record, with the state and the outcome that it has now.
    pub record: UsageRecord,
    /// When the end was handed over.
    pub delivered_at: Option<Timestamp>,
}

const OUTCOMES: [UsageOutcome; 4] = [UsageOutcome::Complete, UsageOutcome::Cancelled, UsageOutcome::ClientGone, UsageOutcome::Failed];

fn read(row: &Columns<'_>) -> Result<UsageRow, StoreError> {
    let document: String = row.plain("record")?;
    let value = serde_json::from_str(&document).map_err(|error| corrupt("record", error))?;
    let mut record = UsageRecord::from_json(value).map_err(|error| corrupt("record", error))?;
    let (state, outcome): (String, String) = (row.plain("state")?, row.plain("outcome")?);
    record.state = UsageState::from_text(&state).ok_or_else(|| corrupt("state", &state))?;
    record.outcome = OUTCOMES.into_iter().find(|known| known.as_str() == outcome).ok_or_else(|| corrupt("outcome", &outcome))?;
    Ok(UsageRow { seq: row.plain("seq")?, record, delivered_at: row.time_or_null("delivered_at")? })
}

const COLUMNS: &str = "seq, state, outcome, delivered_at, record";

/// Writes a new record; false when it is there already.
fn insert(
    connection: &Connection,
    record: &UsageRecord,
    text: &str,
    state: UsageState,
    outcome: UsageOutcome,
    delivered_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO usage (id, tenant_id, started_at, ended_at, state, outcome, delivered_at, record) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
    let changed = connection.prepare_cached(sql)?.execute(params![
        record.id.to_string(),
        record.tenant.to_string(),
        record.started.unix_ms(),
        record.ended.unix_ms(),
        state.as_str(),
        outcome.as_str(),
        delivered_at.map(Timestamp::unix_ms),
        text
    ])?;
    Ok(changed > 0)
}

/// Posts a pending record; false when it is not pending.
fn post(connection: &Connection, record: &UsageRecord, outcome: UsageOutcome, delivered_at: Option<Timestamp>) -> Result<bool, StoreError> {
    let sql = "UPDATE usage SET state = 'posted', outcome = ?2, delivered_at = ?3 WHERE id = ?1 AND state = 'pending'";
    let delivered_at = delivered_at.map(Timestamp::unix_ms);
    Ok(connection.prepare_cached(sql)?.execute(params![record.id.to_string(), outcome.as_str(), delivered_at])? > 0)
}

fn read_sum(row: &Columns<'_>) -> Result<UsageSum, StoreError> {
    Ok(UsageSum {
        tenant: row.parsed_or_null("tenant_id")?,
        day: row.plain("day")?,
        name: row.plain("name")?,
        key: row.plain("key_id")?,
        requests: row.size("requests")?,
        failed: row.size("failed")?,
        billable: Quantities {
            input: row.size("input")?,
            cached: row.size("cached")?,
            output: row.size("output")?,
            seconds: row.size("seconds")?,
        },
        amount: NanoUnits::new(row.plain("amount")?),
    })
}

const SUMS: &str = "coalesce(sum(requests), 0) AS requests, coalesce(sum(failed), 0) AS failed, coalesce(sum(input), 0) AS input, \
                    coalesce(sum(cached), 0) AS cached, coalesce(sum(output), 0) AS output, coalesce(sum(seconds), 0) AS seconds, \
                    coalesce(sum(amount), 0) AS amount";

impl Store {
    /// Writes records, all or none; on the disk after the next [`Store::flush`]. What was written before is left as it is.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn write_usage(&self, writes: &[UsageWrite<'_>]) -> Result<(), StoreError> {
        self.write(Durability::Lazy, |transaction| {
            let mut charges = Charges::new(transaction);
            for write in writes {
                match write {
                    UsageWrite::Pending { record, text } => {
                        insert(transaction, record, text, UsageState::Pending, record.outcome, None)?;
                    }
                    UsageWrite::Posted { record, text, outcome, delivered_at } => {
                        if insert(transaction, record, text, UsageState::Posted, *outcome, *delivered_at)? {
                            charges.add(record, *outcome)?;
                        }
                    }
                    UsageWrite::Post { record, outcome, delivered_at } => {
                        if post(transaction, record, *outcome, *delivered_at)? {
                            charges.add(record, *outcome)?;
                        }
                    }
                }
            }
            charges.write()
        })
    }

    /// Settles what a crash left in the usage log: writes what is not there yet, posted if it was final or its end was
    /// handed over, void otherwise. How many of each.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn recover_logged(&self, logged: &[LoggedUsage], delivered: &HashMap<UsageId, Timestamp>) -> Result<(u64, u64), StoreError> {
        self.write(Durability::Full, |transaction| {
            let mut charges = Charges::new(transaction);
            let (mut posted, mut void) = (0, 0);
            for LoggedUsage { record, is_final } in logged {
                let (at, text) = (delivered.get(&record.id).copied(), record.to_json_text());
                let state = if *is_final || at.is_some() { UsageState::Posted } else { UsageState::Void };
                if !insert(transaction, record, &text, state, record.outcome, at)? {
                    continue;
                }
                match state {
                    UsageState::Posted => {
                        charges.add(record, record.outcome)?;
                        posted += 1;
                    }
                    _ => void += 1,
                }
            }
            charges.write()?;
            Ok((posted, void))
        })
    }

    /// Settles what a crash left pending: posted if its end was handed over, void otherwise. How many of each.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn recover_usage(&self, delivered: &HashMap<UsageId, Timestamp>) -> Result<(u64, u64), StoreError> {
        self.write(Durability::Full, |transaction| {
            let rows = all(transaction, &format!("SELECT {COLUMNS} FROM usage WHERE state = 'pending' ORDER BY seq"), [], read)?;
            let mut charges = Charges::new(transaction);
            let (mut posted, mut void) = (0, 0);
            for UsageRow { record, .. } in &rows {
                match delivered.get(&record.id) {
                    Some(at) => {
                        if post(transaction, record, record.outcome, Some(*at))? {
                            charges.add(record, record.outcome)?;
                        }
                        posted += 1;
                    }
                    None => {
                        change_one(transaction, "UPDATE usage SET state = 'void' WHERE id = ?1", [record.id.to_string()])?;
                        void += 1;
                    }
                }
            }
            charges.write()?;
            Ok((posted, void))
        })
    }

    /// Records of a tenant in a span of time, newest first, up to `limit`, after the record `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn usage_records(
        &self,
        tenant: TenantId,
        (from, to): (Timestamp, Timestamp),
        after: Option<UsageId>,
        limit: u32,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM usage WHERE tenant_id = ?1 AND started_at >= ?2 AND started_at < ?3 AND (?4 IS NULL OR \
             (started_at, seq) < (SELECT started_at, seq FROM usage WHERE id = ?4 AND tenant_id = ?1)) \
             ORDER BY started_at DESC, seq DESC LIMIT ?5"
        );
        let after = after.map(|id| id.to_string());
        self.read(|connection| all(connection, &sql, params![tenant.to_string(), from.unix_ms(), to.unix_ms(), after, limit], read))
    }

    /// Posted records of a tenant that began in a span of time, oldest first, up to `limit`, after a place in that order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn posted_usage(
        &self,
        tenant: TenantId,
        (from, to): (Timestamp, Timestamp),
        after: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM usage WHERE tenant_id = ?1 AND started_at < ?2 AND (started_at, seq) > (?3, ?4) \
             AND state = 'posted' ORDER BY started_at, seq LIMIT ?5"
        );
        let (start, seq) = after.map_or((from.unix_ms(), -1), |(at, seq)| (at.unix_ms(), seq));
        self.read(|connection| all(connection, &sql, params![tenant.to_string(), to.unix_ms(), start, seq, limit], read))
    }

    /// Sums of posted usage of the days `from` up to and without `to`; of all tenants when none is named.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn usage_sums(
        &self,
        tenant: Option<TenantId>,
        (from, to): (i64, i64),
        by: SplitBy,
        limit: u32,
    ) -> Result<Vec<UsageSum>, StoreError> {
        let part = |on: bool, column: &str| if on { column.to_owned() } else { format!("NULL AS {column}") };
        let parts = [(by.tenant, "tenant_id"), (by.day, "day"), (by.name, "name"), (by.key, "key_id")];
        let columns: Vec<String> = parts.iter().map(|(on, column)| part(*on, column)).collect();
        let group: Vec<&str> = parts.iter().filter(|(on, _)| *on).map(|(_, column)| *column).collect();
        let tail = if group.is_empty() { String::new() } else { format!("GROUP BY {0} ORDER BY {0}", group.join(", ")) };
        let sql = format!(
            "SELECT {}, {SUMS} FROM usage_daily WHERE day >= ?1 AND day < ?2 AND (?3 IS NULL OR tenant_id = ?3) {tail} LIMIT ?4",
            columns.join(", ")
        );
        let tenant = tenant.map(|tenant| tenant.to_string());
        self.read(|connection| all(connection, &sql, params![from, to, tenant, limit], read_sum))
    }

    /// What the invoice of a month is made of, and the account `of` its tenant, at one moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn month_account(&self, tenant: TenantId, (from, to): (i64, i64), of: AccountId) -> Result<MonthAccount, StoreError> {
        self.read(|connection| {
            Ok(MonthAccount {
                totals: totals(connection, tenant, (from, to))?,
                since: spent(connection, tenant, None, to)?,
                balance: account(connection, of)?.map_or(NanoUnits::ZERO, |account| account.balance),
            })
        })
    }

    /// What a tenant used on the days `from` up to and without `to`, by meter, model or sku, and version of the price list.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn usage_totals(&self, tenant: TenantId, (from, to): (i64, i64)) -> Result<Vec<UsageTotal>, StoreError> {
        self.read(|connection| totals(connection, tenant, (from, to)))
    }

    /// What a key, or a tenant with all its keys, spent from a day on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn spent(&self, tenant: TenantId, key: Option<KeyId>, from_day: i64) -> Result<NanoUnits, StoreError> {
        self.read(|connection| spent(connection, tenant, key, from_day))
    }

    /// How many records are pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending_usage(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) AS count FROM usage WHERE state = 'pending'";
        Ok(self.read(|connection| one(connection, sql, [], |row| row.size("count")))?.unwrap_or(0))
    }

    /// Whose records that began before a moment are pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending_before(&self, moment: Timestamp) -> Result<Vec<TenantId>, StoreError> {
        let sql = "SELECT DISTINCT tenant_id FROM usage WHERE state = 'pending' AND started_at < ?1";
        self.read(|connection| all(connection, sql, [moment.unix_ms()], |row| row.parsed("tenant_id")))
    }

    /// Forgets up to `limit` settled records that ended before a time; how many. The days' sums stay.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_usage(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        self.write(Durability::Lazy, |transaction| {
            let sql = "DELETE FROM usage WHERE seq IN (SELECT seq FROM usage WHERE ended_at < ?1 AND state <> 'pending' LIMIT ?2)";
            Ok(transaction.prepare_cached(sql)?.execute(params![before.unix_ms(), limit])?)
        })
    }
}

fn totals(connection: &Connection, tenant: TenantId, (from, to): (i64, i64)) -> Result<Vec<UsageTotal>, StoreError> {
    let sql = format!(
        "SELECT meter, name AS subject, price_number, NULL AS tenant_id, NULL AS day, NULL AS name, NULL AS key_id, {SUMS} \
         FROM usage_daily WHERE tenant_id = ?1 AND day >= ?2 AND day < ?3 GROUP BY meter, usage_daily.name, price_number"
    );
    all(connection, &sql, params![tenant.to_string(), from, to], |row| {
        let sum = read_sum(row)?;
        Ok(UsageTotal {
            meter: row.plain("meter")?,
            name: row.plain("subject")?,
            price_number: row.plain("price_number")?,
            records: sum.requests,
            billable: sum.billable,
            amount: sum.amount,
        })
    })
}

fn spent(connection: &Connection, tenant: TenantId, key: Option<KeyId>, from_day: i64) -> Result<NanoUnits, StoreError> {
    let sql = "SELECT coalesce(sum(amount), 0) AS amount FROM usage_daily WHERE tenant_id = ?1 AND day >= ?2 \
               AND (?3 IS NULL OR key_id = ?3)";
    let key = key.map(|key| key.to_string());
    let found = one(connection, sql, params![tenant.to_string(), from_day, key], |row| Ok(NanoUnits::new(row.plain("amount")?)))?;
    Ok(found.unwrap_or_default())
}
