//! Vouchers: codes that give credit.
//!
//! **Invariant:** a code is never stored, only its hash; a tenant redeems a voucher once.

use freehold_domain::{NanoUnits, TenantId, Timestamp, VoucherId};
use rusqlite::params;

use crate::accounts::{Movement, apply};
use crate::columns::{Columns, all, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, count, earlier, note};
use crate::trail::{self, Note};

/// A voucher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoucherRow {
    /// Its id.
    pub id: VoucherId,
    /// What people recognise its code by.
    pub hint: String,
    /// What it gives.
    pub amount: NanoUnits,
    /// How often it was redeemed.
    pub uses: u32,
    /// How often it can be.
    pub uses_max: u32,
    /// What it is for.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is good before this time.
    pub expires_at: Option<Timestamp>,
}

/// What became of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// The credit is there.
    Done(VoucherRow),
    /// There is no such voucher, or it is over.
    Unknown,
    /// The tenant had it before.
    Before,
}

const COLUMNS: &str = "id, hint, amount, uses, uses_max, note, created_at, expires_at";

fn read(row: &Columns<'_>) -> Result<VoucherRow, StoreError> {
    Ok(VoucherRow {
        id: row.parsed("id")?,
        hint: row.plain("hint")?,
        amount: NanoUnits::new(row.plain("amount")?),
        uses: row.plain("uses")?,
        uses_max: row.plain("uses_max")?,
        note: row.plain("note")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_or_null("expires_at")?,
    })
}

impl Store {
    /// Adds a voucher, if there are fewer than `vouchers_max`.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`], [`StoreError::KeyReused`].
    pub fn create_voucher(
        &self,
        row: &VoucherRow,
        hash: &[u8; 32],
        vouchers_max: u32,
        said: Note<'_>,
    ) -> Result<Created<VoucherId>, StoreError> {
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, said.once)? {
                return Ok(Created::Before(id));
            }
            if count(transaction, "SELECT count(*) AS count FROM vouchers", [])? >= vouchers_max {
                return Err(StoreError::LimitReached { limit: vouchers_max });
            }
            let sql = "INSERT INTO vouchers (id, hash, hint, amount, uses, uses_max, note, created_at, expires_at) \
                       VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8)";
            transaction.prepare_cached(sql)?.execute(params![
                row.id.to_string(),
                hash,
                row.hint,
                row.amount.get(),
                row.uses_max,
                row.note,
                row.created_at.unix_ms(),
                row.expires_at.map(Timestamp::unix_ms)
            ])?;
            trail::insert(transaction, said.trail)?;
            note(transaction, said.once, &row.id)?;
            Ok(Created::New)
        })
    }

    /// Vouchers made after the voucher `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn vouchers(&self, after: Option<VoucherId>, limit: u32) -> Result<Vec<VoucherRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM vouchers WHERE id > ?1 ORDER BY id LIMIT ?2");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| all(connection, &sql, params![after, limit], read))
    }

    /// Redeems a code for a tenant: counts the use and books the credit that `movement` makes of the voucher.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn redeem_voucher(
        &self,
        hash: &[u8; 32],
        tenant: TenantId,
        now: Timestamp,
        movement: impl FnOnce(&VoucherRow) -> Movement,
        said: Note<'_>,
    ) -> Result<Redeemed, StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = format!("SELECT {COLUMNS} FROM vouchers WHERE hash = ?1");
            let Some(row) = one(transaction, &sql, [hash], read)? else { return Ok(Redeemed::Unknown) };
            let before = "SELECT 1 AS known FROM redemptions WHERE voucher_id = ?1 AND tenant_id = ?2";
            let key = params![row.id.to_string(), tenant.to_string()];
            if one(transaction, before, key, |found| found.plain::<i64>("known"))?.is_some() {
                return Ok(Redeemed::Before);
            }
            if row.uses >= row.uses_max || row.expires_at.is_some_and(|at| at <= now) {
                return Ok(Redeemed::Unknown);
            }
            transaction.prepare_cached("UPDATE vouchers SET uses = uses + 1 WHERE id = ?1")?.execute([row.id.to_string()])?;
            let movement = movement(&row);
            apply(transaction, &movement)?;
            let sql = "INSERT INTO redemptions (voucher_id, tenant_id, transfer_id, at) VALUES (?1, ?2, ?3, ?4)";
            let values = params![row.id.to_string(), tenant.to_string(), movement.transfer.id.to_string(), now.unix_ms()];
            transaction.prepare_cached(sql)?.execute(values)?;
            trail::insert(transaction, said.trail)?;
            Ok(Redeemed::Done(VoucherRow { uses: row.uses + 1, ..row }))
        })
    }
}
