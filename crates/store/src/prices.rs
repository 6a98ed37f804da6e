//! Price lists, as they were published.
//!
//! **Invariant:** a price list is written once and never changed.

use freehold_domain::Timestamp;
use freehold_ledger::PriceList;
use rusqlite::params;

use crate::columns::{all, corrupt};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, earlier, note};
use crate::trail::{self, Note};

impl Store {
    /// Every price list, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn price_lists(&self) -> Result<Vec<PriceList>, StoreError> {
        self.read(|connection| {
            all(connection, "SELECT document FROM price_lists ORDER BY number", [], |row| {
                let document: String = row.plain("document")?;
                let value = serde_json::from_str(&document).map_err(|error| corrupt("document", error))?;
                PriceList::from_json(value).map_err(|error| corrupt("document", error))
            })
        })
    }

    /// Adds a price list.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a number that is taken, [`StoreError::KeyReused`].
    pub fn add_price_list(&self, list: &PriceList, now: Timestamp, said: Note<'_>) -> Result<Created<u32>, StoreError> {
        self.write(Durability::Full, |transaction| {
            if let Some(number) = earlier(transaction, said.once)? {
                return Ok(Created::Before(number));
            }
            let sql = "INSERT INTO price_lists (number, id, effective_at, document, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.prepare_cached(sql)?.execute(params![
                list.number,
                list.id.to_string(),
                list.effective_at.unix_ms(),
                list.to_json().to_string(),
                now.unix_ms()
            ])?;
            trail::insert(transaction, said.trail)?;
            note(transaction, said.once, &list.number)?;
            Ok(Created::New)
        })
    }
}
