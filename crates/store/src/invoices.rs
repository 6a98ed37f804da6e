//! Invoices and credit notes.
//!
//! **Invariant:** numbers have no gaps: the next one is taken in the transaction that writes the document.

use freehold_domain::{InvoiceId, NanoUnits, TenantId, Timestamp};
use freehold_ledger::Month;
use freehold_ledger::invoices::{Invoice, InvoiceKind, Series};
use rusqlite::{Connection, params};

use crate::accounts::{Movement, apply};
use crate::columns::{Columns, all, change_one, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, earlier, note};
use crate::trail::{self, Note, TrailRow};

/// What happened when a document was to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Issued {
    /// It was written, with this number.
    New(Box<Invoice>),
    /// It was there before.
    Before(InvoiceId),
}

fn read(row: &Columns<'_>) -> Result<Invoice, StoreError> {
    let document: String = row.plain("document")?;
    let value = serde_json::from_str(&document).map_err(|error| corrupt("document", error))?;
    Invoice::from_json(value).map_err(|error| corrupt("document", error))
}

fn take_number(connection: &Connection, prefix: &str) -> Result<String, StoreError> {
    let sql = "SELECT next FROM invoice_series WHERE prefix = ?1";
    let next = one(connection, sql, [prefix], |row| row.size("next"))?.unwrap_or(1);
    let mut series = Series { prefix: prefix.to_owned(), next };
    let number = series.take();
    let sql = "INSERT INTO invoice_series (prefix, next) VALUES (?1, ?2) ON CONFLICT (prefix) DO UPDATE SET next = excluded.next";
    connection.prepare_cached(sql)?.execute(params![prefix, i64::try_from(series.next).unwrap_or(i64::MAX)])?;
    Ok(number)
}

fn insert(connection: &Connection, invoice: &Invoice, now: Timestamp) -> Result<(), StoreError> {
    let of = match &invoice.kind {
        InvoiceKind::Invoice | InvoiceKind::TopUp => None,
        InvoiceKind::CreditNote { of, .. } => Some(of.to_string()),
    };
    let sql = "INSERT INTO invoices (id, number, tenant_id, month, of_id, document, created_at, kind) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        invoice.id.to_string(),
        invoice.number,
        invoice.tenant.to_string(),
        invoice.month.to_string(),
        of,
        invoice.to_json().to_string(),
        now.unix_ms(),
        invoice.kind.as_str()
    ])?;
    Ok(())
}

/// Books all movements of a document.
fn book(connection: &Connection, movements: &[Movement]) -> Result<(), StoreError> {
    movements.iter().try_for_each(|movement| apply(connection, movement).map(drop))
}

fn credited(connection: &Connection, invoice: InvoiceId) -> Result<NanoUnits, StoreError> {
    let notes = all(connection, "SELECT document FROM invoices WHERE of_id = ?1", [invoice.to_string()], read)?;
    NanoUnits::sum(notes.iter().map(|note| note.total)).map_err(|error| corrupt("document", error))
}

impl Store {
    /// Writes the invoice of a tenant's month, unless there is one, what it moves, and what the trail says of it. `make` is
    /// given its number.
    ///
    /// # Errors
    /// What `make` says, and when the database cannot be written.
    pub fn issue_invoice<E: From<StoreError>>(
        &self,
        (tenant, month): (TenantId, Month),
        prefix: &str,
        now: Timestamp,
        make: impl FnOnce(String) -> Result<(Invoice, Vec<Movement>, TrailRow), E>,
    ) -> Result<Issued, E> {
        self.write_as(Durability::Full, |transaction| {
            let sql = "SELECT id FROM invoices WHERE tenant_id = ?1 AND month = ?2 AND kind = 'invoice'";
            if let Some(id) = one(transaction, sql, params![tenant.to_string(), month.to_string()], |row| row.parsed("id"))? {
                return Ok(Issued::Before(id));
            }
            let (invoice, movements, event) = make(take_number(transaction, prefix)?)?;
            insert(transaction, &invoice, now)?;
            book(transaction, &movements)?;
            trail::insert(transaction, [&event])?;
            Ok(Issued::New(Box::new(invoice)))
        })
    }

    /// Writes the receipt of a payment for credit, and books the payment. `make` is given its number.
    ///
    /// # Errors
    /// What `make` says, [`StoreError::KeyReused`], and when the database cannot be written.
    pub fn top_up<E: From<StoreError>>(
        &self,
        prefix: &str,
        now: Timestamp,
        make: impl FnOnce(String) -> Result<(Invoice, Vec<Movement>), E>,
        said: Note<'_>,
    ) -> Result<Created<InvoiceId>, E> {
        self.write_as(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, said.once)? {
                return Ok(Created::Before(id));
            }
            let (receipt, movements) = make(take_number(transaction, prefix)?)?;
            insert(transaction, &receipt, now)?;
            book(transaction, &movements)?;
            trail::insert(transaction, said.trail)?;
            note(transaction, said.once, &receipt.id)?;
            Ok(Created::New)
        })
    }

    /// Writes a credit note for an invoice. `make` is given the note's number and what was credited before, and says
    /// what is moved and how the invoice stands then.
    ///
    /// # Errors
    /// What `make` says, [`StoreError::KeyReused`], and when the database cannot be written.
    pub fn issue_credit_note<E: From<StoreError>>(
        &self,
        invoice: InvoiceId,
        prefix: &str,
        now: Timestamp,
        make: impl FnOnce(String, NanoUnits) -> Result<(Invoice, Vec<Movement>, Invoice), E>,
        said: Note<'_>,
    ) -> Result<Created<InvoiceId>, E> {
        self.write_as(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, said.once)? {
                return Ok(Created::Before(id));
            }
            let already = credited(transaction, invoice)?;
            let (credit, movements, original) = make(take_number(transaction, prefix)?, already)?;
            insert(transaction, &credit, now)?;
            book(transaction, &movements)?;
            update(transaction, &original)?;
            trail::insert(transaction, said.trail)?;
            note(transaction, said.once, &credit.id)?;
            Ok(Created::New)
        })
    }

    /// Notes how an invoice stands now, and books what goes with it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn update_invoice(&self, invoice: &Invoice, movement: &Movement, said: Note<'_>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            apply(transaction, movement)?;
            trail::insert(transaction, said.trail)?;
            update(transaction, invoice)
        })
    }

    /// The invoice or credit note with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invoice(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        self.read(|connection| one(connection, "SELECT document FROM invoices WHERE id = ?1", [id.to_string()], read))
    }

    /// Invoices and credit notes, newest first: a tenant's, or all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invoices(&self, tenant: Option<TenantId>, before: Option<InvoiceId>, limit: u32) -> Result<Vec<Invoice>, StoreError> {
        let sql = "SELECT document FROM invoices WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR id < ?2) \
                   ORDER BY id DESC LIMIT ?3";
        let (tenant, before) = (tenant.map(|id| id.to_string()), before.map(|id| id.to_string()));
        self.read(|connection| all(connection, sql, params![tenant, before, limit], read))
    }

    /// A tenant's invoices of a month and of those after it, up to `limit`, the oldest month first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invoices_since(&self, tenant: TenantId, from: Month, limit: u32) -> Result<Vec<Invoice>, StoreError> {
        let sql = "SELECT document FROM invoices WHERE tenant_id = ?1 AND month >= ?2 AND kind = 'invoice' ORDER BY month LIMIT ?3";
        self.read(|connection| all(connection, sql, params![tenant.to_string(), from.to_string(), limit], read))
    }

    /// A tenant's invoices of the months from `from` to `to`, in the order in which they were issued, whatever the clock said.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invoices_as_issued(&self, tenant: TenantId, (from, to): (Month, Month)) -> Result<Vec<Invoice>, StoreError> {
        let sql = "SELECT document FROM invoices WHERE tenant_id = ?1 AND month >= ?2 AND month <= ?3 AND kind = 'invoice' ORDER BY rowid";
        self.read(|connection| all(connection, sql, params![tenant.to_string(), from.to_string(), to.to_string()], read))
    }
}

fn update(connection: &Connection, invoice: &Invoice) -> Result<(), StoreError> {
    let values = params![invoice.id.to_string(), invoice.to_json().to_string()];
    change_one(connection, "UPDATE invoices SET document = ?2 WHERE id = ?1", values)
}
