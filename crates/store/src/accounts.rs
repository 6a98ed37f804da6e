//! Accounts, transfers and terms of payment.
//!
//! **Invariant:** a balance changes in the transaction that writes the transfer, and in no other place, so the balances
//! of a currency add up to zero at every moment.

use freehold_domain::{AccountId, Currency, NanoUnits, TenantId, Timestamp, TransferId};
use freehold_ledger::{Account, AccountKind, Reason, Transfer};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, earlier, note};
use crate::trail::{self, Note};

/// A transfer and the accounts that it is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The transfer; `from` and `to` are those of the two kinds.
    pub transfer: Transfer,
    /// The account that pays.
    pub from: AccountKind,
    /// The account that receives.
    pub to: AccountKind,
    /// Whose business it is.
    pub tenant: TenantId,
    /// The currency.
    pub currency: Currency,
    /// For people.
    pub note: String,
}

/// How a tenant pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terms {
    /// With credit that it has.
    #[default]
    Prepaid,
    /// Later, up to a limit, if there is one.
    Postpaid {
        /// The most that it may owe.
        credit_limit: Option<NanoUnits>,
    },
}

impl Terms {
    /// The lowest that the tenant's account may be.
    pub fn floor(self) -> Option<NanoUnits> {
        match self {
            Self::Prepaid => Some(NanoUnits::ZERO),
            Self::Postpaid { credit_limit } => credit_limit.map(|limit| NanoUnits::new(limit.get().saturating_neg())),
        }
    }
}

impl Movement {
    /// A movement between the accounts of two kinds.
    pub fn new(
        id: TransferId,
        (from, to): (AccountKind, AccountKind),
        tenant: TenantId,
        currency: Currency,
        amount: NanoUnits,
        reason: Reason,
        at: Timestamp,
    ) -> Self {
        let transfer = Transfer { id, from: account_id(from, tenant, currency), to: account_id(to, tenant, currency), amount, reason, at };
        Self { transfer, from, to, tenant, currency, note: String::new() }
    }

    /// The same with a note.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// The account of a kind that a tenant's business is booked on.
pub fn account_id(kind: AccountKind, tenant: TenantId, currency: Currency) -> AccountId {
    kind.id((kind == AccountKind::Customer).then_some(tenant), currency)
}

fn read_account(row: &Columns<'_>) -> Result<Account, StoreError> {
    let text: String = row.plain("kind")?;
    let kind = AccountKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| corrupt("kind", format!("`{text}`")))?;
    let account = Account::new(kind, row.parsed_or_null("tenant_id")?, row.parsed("currency")?);
    Ok(Account { balance: NanoUnits::new(row.plain("balance")?), ..account })
}

/// Writes a transfer and moves the balances; false when it was written before.
pub(crate) fn apply(connection: &Connection, movement: &Movement) -> Result<bool, StoreError> {
    let Movement { transfer, from, to, tenant, currency, note } = movement;
    for (id, kind) in [(transfer.from, *from), (transfer.to, *to)] {
        open_account(connection, id, kind, *tenant, *currency)?;
    }
    if !insert_transfer(connection, transfer, *tenant, *currency, note)? {
        return Ok(false);
    }
    let change = transfer.amount.get();
    let mut statement = connection.prepare_cached("UPDATE accounts SET balance = balance + ?2 WHERE id = ?1")?;
    for (id, change) in [(transfer.from, -change), (transfer.to, change)] {
        statement.execute(params![id.to_string(), change])?;
    }
    Ok(true)
}

/// Makes sure that an account is there.
pub(crate) fn open_account(
    connection: &Connection,
    id: AccountId,
    kind: AccountKind,
    tenant: TenantId,
    currency: Currency,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO accounts (id, kind, tenant_id, currency, balance) VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT (id) DO NOTHING";
    let tenant = (kind == AccountKind::Customer).then(|| tenant.to_string());
    connection.prepare_cached(sql)?.execute(params![id.to_string(), kind.as_str(), tenant, currency.to_string()])?;
    Ok(())
}

/// Writes a transfer, whose balances the caller moves; false when it was written before.
pub(crate) fn insert_transfer(
    connection: &Connection,
    transfer: &Transfer,
    tenant: TenantId,
    currency: Currency,
    note: &str,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO transfers (id, from_id, to_id, amount, currency, tenant_id, reason, note, at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";
    let changed = connection.prepare_cached(sql)?.execute(params![
        transfer.id.to_string(),
        transfer.from.to_string(),
        transfer.to.to_string(),
        transfer.amount.get(),
        currency.to_string(),
        tenant.to_string(),
        reason_text(&transfer.reason)?,
        note,
        transfer.at.unix_ms()
    ])?;
    Ok(changed > 0)
}

fn reason_text(reason: &Reason) -> Result<String, StoreError> {
    serde_json::to_string(reason).map_err(|error| corrupt("reason", error))
}

/// Money that was given or taken by hand, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// The transfer.
    pub transfer: Transfer,
    /// For people.
    pub note: String,
}

pub(crate) fn account(connection: &Connection, id: AccountId) -> Result<Option<Account>, StoreError> {
    let sql = "SELECT kind, tenant_id, currency, balance FROM accounts WHERE id = ?1";
    one(connection, sql, [id.to_string()], read_account)
}

impl Store {
    /// Writes a transfer that somebody asked for.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`].
    pub fn post(&self, movement: &Movement, said: Note<'_>) -> Result<Created<TransferId>, StoreError> {
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, said.once)? {
                return Ok(Created::Before(id));
            }
            if !apply(transaction, movement)? {
                return Ok(Created::Before(movement.transfer.id));
            }
            trail::insert(transaction, said.trail)?;
            note(transaction, said.once, &movement.transfer.id)?;
            Ok(Created::New)
        })
    }

    /// The account, if anything was ever booked on it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.read(|connection| account(connection, id))
    }

    /// The operator's own accounts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn operator_accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = "SELECT kind, tenant_id, currency, balance FROM accounts WHERE tenant_id IS NULL";
        self.read(|connection| all(connection, sql, [], read_account))
    }

    /// What the accounts of each kind have together, in a currency.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn balances(&self, currency: Currency) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT kind, sum(balance) AS balance FROM accounts WHERE currency = ?1 GROUP BY kind ORDER BY kind";
        self.read(|connection| all(connection, sql, [currency.to_string()], |row| Ok((row.plain("kind")?, row.plain("balance")?))))
    }

    /// How a tenant pays.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn terms(&self, tenant: TenantId) -> Result<Terms, StoreError> {
        let sql = "SELECT mode, credit_limit FROM terms WHERE tenant_id = ?1";
        let found = self.read(|connection| {
            one(connection, sql, [tenant.to_string()], |row| {
                let credit_limit = row.plain::<Option<i64>>("credit_limit")?.map(NanoUnits::new);
                Ok(if row.plain::<String>("mode")? == "prepaid" { Terms::Prepaid } else { Terms::Postpaid { credit_limit } })
            })
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Changes how a tenant pays.
    ///
    /// # Errors
    /// [`StoreError::NoParent`] without such a tenant.
    pub fn set_terms(&self, tenant: TenantId, terms: Terms, said: Note<'_>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            trail::insert(transaction, said.trail)?;
            write_terms(transaction, tenant, terms)
        })
    }

    /// Transfers of a tenant that are not for usage and no taxes, newest first, up to `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn transfers(&self, tenant: TenantId, limit: u32) -> Result<Vec<TransferRow>, StoreError> {
        let sql = "SELECT id, from_id, to_id, amount, reason, note, at FROM transfers WHERE tenant_id = ?1 \
                   AND reason ->> 'reason' NOT IN ('usage', 'tax') ORDER BY at DESC, id LIMIT ?2";
        self.read(|connection| {
            all(connection, sql, params![tenant.to_string(), limit], |row| {
                let reason: String = row.plain("reason")?;
                let transfer = Transfer {
                    id: row.parsed("id")?,
                    from: row.parsed("from_id")?,
                    to: row.parsed("to_id")?,
                    amount: NanoUnits::new(row.plain("amount")?),
                    reason: serde_json::from_str(&reason).map_err(|error| corrupt("reason", error))?,
                    at: row.time("at")?,
                };
                Ok(TransferRow { transfer, note: row.plain("note")? })
            })
        })
    }
}

pub(crate) fn write_terms(connection: &Connection, tenant: TenantId, terms: Terms) -> Result<(), StoreError> {
    let (mode, credit_limit) = match terms {
        Terms::Prepaid => ("prepaid", None),
        Terms::Postpaid { credit_limit } => ("postpaid", credit_limit.map(NanoUnits::get)),
    };
    let sql = "INSERT INTO terms (tenant_id, mode, credit_limit) VALUES (?1, ?2, ?3) \
               ON CONFLICT (tenant_id) DO UPDATE SET mode = excluded.mode, credit_limit = excluded.credit_limit";
    connection.prepare_cached(sql)?.execute(params![tenant.to_string(), mode, credit_limit])?;
    Ok(())
}
