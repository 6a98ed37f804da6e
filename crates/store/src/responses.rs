//! Stored responses: what a client can go on from, look up and take away.
//!
//! A conversation is a chain of responses, each with its own input and output and the id of the one before it. A row
//! never changes, and names only rows that were there before it, so no chain comes back to itself.
//!
//! **Invariant:** what `storage` says of a tenant or a key is the sum of the bytes of its rows: both change in one
//! transaction.

use freehold_domain::{KeyId, ResponseId, TenantId, Timestamp};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, corrupt, one, signed};
use crate::connection::{Durability, Store};
use crate::error::StoreError;

/// A response that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRow {
    /// What it is.
    pub head: ResponseHead,
    /// The response as the API has it: a JSON object without line breaks.
    pub response_json: String,
    /// The items of its own input: a JSON array without line breaks.
    pub input_json: String,
}

/// What is known of a stored response without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its id; ids sort by time.
    pub id: ResponseId,
    /// Whose.
    pub tenant_id: TenantId,
    /// The key that asked, if it was a key.
    pub key_id: Option<KeyId>,
    /// The response before it.
    pub previous_id: Option<ResponseId>,
    /// The model, as the client named it.
    pub model: String,
    /// When it was stored.
    pub created_at: Timestamp,
    /// It is there before this time.
    pub expires_at: Timestamp,
    /// Bytes of both texts.
    pub bytes: u64,
}

/// The most that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageMax {
    /// By the tenant, in bytes.
    pub tenant: u64,
    /// By the key, in bytes; `None`: what the tenant may.
    pub key: Option<u64>,
}

/// How much of a chain is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainMax {
    /// Responses.
    pub links: usize,
    /// Bytes that they take.
    pub bytes: u64,
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The items that were asked with: a JSON array.
    pub input_json: String,
    /// The items that were answered: a JSON array.
    pub output_json: String,
}

/// A conversation up to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Its turns, the first one first.
    Whole(Vec<Link>),
    /// It, or one before it, is not there.
    Broken,
    /// It is longer than what is read.
    TooLong,
}

/// What is not stored any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Whose it was.
    pub tenant_id: TenantId,
    /// Which key stored it.
    pub key_id: Option<KeyId>,
    /// How many bytes.
    pub bytes: u64,
}

const HEAD: &str = "id, tenant_id, key_id, previous_id, model, created_at, expires_at, bytes";

fn read_head(row: &Columns<'_>) -> Result<ResponseHead, StoreError> {
    Ok(ResponseHead {
        id: row.parsed("id")?,
        tenant_id: row.parsed("tenant_id")?,
        key_id: row.parsed_or_null("key_id")?,
        previous_id: row.parsed_or_null("previous_id")?,
        model: row.plain("model")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        bytes: row.size("bytes")?,
    })
}

fn read_whole(row: &Columns<'_>) -> Result<ResponseRow, StoreError> {
    Ok(ResponseRow { head: read_head(row)?, response_json: row.plain("response")?, input_json: row.plain("input")? })
}

fn read_freed(row: &Columns<'_>) -> Result<(String, Freed), StoreError> {
    let freed = Freed { tenant_id: row.parsed("tenant_id")?, key_id: row.parsed_or_null("key_id")?, bytes: row.size("bytes")? };
    Ok((row.plain("id")?, freed))
}

/// Adds to what a tenant or a key stores; the sum.
fn add(connection: &Connection, tenant: TenantId, scope: &str, bytes: u64) -> Result<u64, StoreError> {
    let sql = "INSERT INTO storage (scope_id, tenant_id, bytes) VALUES (?1, ?2, ?3) \
               ON CONFLICT (scope_id) DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes";
    let sum = one(connection, sql, params![scope, tenant.to_string(), signed(bytes)], |row| row.size("bytes"))?;
    sum.ok_or_else(|| corrupt("bytes", "a sum that is not there"))
}

/// Takes a row away, and its bytes from the sums.
fn remove(connection: &Connection, id: &str, freed: &Freed) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM responses WHERE id = ?1")?.execute([id])?;
    let scopes = [Some(freed.tenant_id.to_string()), freed.key_id.map(|key| key.to_string())];
    for scope in scopes.iter().flatten() {
        connection
            .prepare_cached("DELETE FROM storage WHERE scope_id = ?1 AND bytes = ?2")?
            .execute(params![scope, signed(freed.bytes)])?;
        connection
            .prepare_cached("UPDATE storage SET bytes = bytes - ?2 WHERE scope_id = ?1")?
            .execute(params![scope, signed(freed.bytes)])?;
    }
    Ok(())
}

impl Store {
    /// Stores a response, if it fits.
    ///
    /// # Errors
    /// [`StoreError::StorageFull`], [`StoreError::Exists`], [`StoreError::NoParent`] without such a tenant.
    pub fn put_response(&self, row: &ResponseRow, max: StorageMax) -> Result<(), StoreError> {
        let head = &row.head;
        self.write(Durability::Full, |transaction| {
            let sql = "INSERT INTO responses (id, tenant_id, key_id, previous_id, model, created_at, expires_at, bytes, response, input) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            transaction.prepare_cached(sql)?.execute(params![
                head.id.to_string(),
                head.tenant_id.to_string(),
                head.key_id.map(|id| id.to_string()),
                head.previous_id.map(|id| id.to_string()),
                head.model,
                head.created_at.unix_ms(),
                head.expires_at.unix_ms(),
                signed(head.bytes),
                row.response_json,
                row.input_json
            ])?;
            if add(transaction, head.tenant_id, &head.tenant_id.to_string(), head.bytes)? > max.tenant {
                return Err(StoreError::StorageFull { limit: max.tenant });
            }
            let Some(key) = head.key_id else { return Ok(()) };
            let sum = add(transaction, head.tenant_id, &key.to_string(), head.bytes)?;
            match max.key.filter(|max| sum > *max) {
                Some(limit) => Err(StoreError::StorageFull { limit }),
                None => Ok(()),
            }
        })
    }

    /// A tenant's response.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn response(&self, tenant: TenantId, id: ResponseId, now: Timestamp) -> Result<Option<ResponseRow>, StoreError> {
        let sql = format!("SELECT {HEAD}, response, input FROM responses WHERE id = ?1 AND tenant_id = ?2 AND expires_at > ?3");
        self.read(|connection| one(connection, &sql, params![id.to_string(), tenant.to_string(), now.unix_ms()], read_whole))
    }

    /// A tenant's conversation up to a response, as far as it may be read.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn response_chain(&self, tenant: TenantId, last: ResponseId, now: Timestamp, max: ChainMax) -> Result<Chain, StoreError> {
        // What does not fit any more is not read at all.
        let sql = "SELECT previous_id, bytes, iif(bytes <= ?4, input, NULL) AS input, \
                   iif(bytes <= ?4, response -> '$.output', NULL) AS output FROM responses \
                   WHERE id = ?1 AND tenant_id = ?2 AND expires_at > ?3";
        self.read(|connection| {
            let (mut links, mut left, mut next) = (Vec::new(), max.bytes, Some(last.to_string()));
            while let Some(id) = next.take() {
                if links.len() >= max.links {
                    return Ok(Chain::TooLong);
                }
                let found = one(connection, sql, params![id, tenant.to_string(), now.unix_ms(), signed(left)], |row| {
                    let texts = row.plain::<Option<String>>("input")?.zip(row.plain::<Option<String>>("output")?);
                    Ok((row.plain::<Option<String>>("previous_id")?, row.size("bytes")?, texts))
                })?;
                let Some((previous, bytes, texts)) = found else { return Ok(Chain::Broken) };
                let Some((input_json, output_json)) = texts else { return Ok(Chain::TooLong) };
                links.push(Link { input_json, output_json });
                left -= bytes;
                next = previous;
            }
            links.reverse();
            Ok(Chain::Whole(links))
        })
    }

    /// Up to `limit` of a tenant's responses before the response `before`, newest first, without their content.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn responses(
        &self,
        tenant: TenantId,
        before: Option<ResponseId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<ResponseHead>, StoreError> {
        let sql = format!(
            "SELECT {HEAD} FROM responses WHERE tenant_id = ?1 AND (?2 IS NULL OR id < ?2) AND expires_at > ?3 ORDER BY id DESC LIMIT ?4"
        );
        let before = before.map(|id| id.to_string());
        self.read(|connection| all(connection, &sql, params![tenant.to_string(), before, now.unix_ms(), limit], read_head))
    }

    /// A tenant's first response after the response `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn response_after(&self, tenant: TenantId, after: Option<ResponseId>, now: Timestamp) -> Result<Option<ResponseRow>, StoreError> {
        let sql = format!(
            "SELECT {HEAD}, response, input FROM responses WHERE tenant_id = ?1 AND id > ?2 AND expires_at > ?3 ORDER BY id LIMIT 1"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| one(connection, &sql, params![tenant.to_string(), after, now.unix_ms()], read_whole))
    }

    /// Whether a tenant has a response, expired or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_response(&self, tenant: TenantId, id: ResponseId) -> Result<bool, StoreError> {
        let sql = "SELECT bytes FROM responses WHERE id = ?1 AND tenant_id = ?2";
        Ok(self.read(|connection| one(connection, sql, params![id.to_string(), tenant.to_string()], |row| row.size("bytes")))?.is_some())
    }

    /// Deletes a tenant's response, expired or not; what that freed, or nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_response(&self, tenant: TenantId, id: ResponseId) -> Result<Option<Freed>, StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = "SELECT id, tenant_id, key_id, bytes FROM responses WHERE id = ?1 AND tenant_id = ?2";
            let Some((id, freed)) = one(transaction, sql, params![id.to_string(), tenant.to_string()], read_freed)? else {
                return Ok(None);
            };
            remove(transaction, &id, &freed)?;
            Ok(Some(freed))
        })
    }

    /// Deletes up to `limit` responses that have expired, and not many more bytes than `bytes`; what each of them freed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_responses(&self, now: Timestamp, limit: u32, bytes: u64) -> Result<Vec<Freed>, StoreError> {
        let expired = "SELECT id, tenant_id, key_id, bytes FROM responses WHERE expires_at <= ?1 LIMIT ?2";
        // Mostly there is nothing, and nobody who writes should wait for that.
        if self.read(|connection| one(connection, expired, params![now.unix_ms(), 1], read_freed))?.is_none() {
            return Ok(Vec::new());
        }
        self.write(Durability::Lazy, |transaction| {
            let (mut all_freed, mut sum) = (Vec::new(), 0);
            for (id, freed) in all(transaction, expired, params![now.unix_ms(), limit], read_freed)? {
                if sum >= bytes {
                    break;
                }
                remove(transaction, &id, &freed)?;
                sum += freed.bytes;
                all_freed.push(freed);
            }
            Ok(all_freed)
        })
    }

    /// How many bytes a tenant, or one of its keys, has stored.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stored_bytes(&self, tenant: TenantId, key: Option<KeyId>) -> Result<u64, StoreError> {
        let scope = key.map_or_else(|| tenant.to_string(), |key| key.to_string());
        let sql = "SELECT bytes FROM storage WHERE scope_id = ?1 AND tenant_id = ?2";
        let found = self.read(|connection| one(connection, sql, params![scope, tenant.to_string()], |row| row.size("bytes")))?;
        Ok(found.unwrap_or(0))
    }
}
