//! API keys: who may call. Secrets never come here, only their hashes.

use std::collections::HashMap;

use freehold_domain::{KeyId, TenantId, Timestamp, UserId};
use rusqlite::{Connection, params};

use crate::accounts::{Terms, write_terms};
use crate::columns::{Columns, all, change_one, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, count, earlier, note};
use crate::tenants::{self, TenantRow};
use crate::trail::{self, Note, TrailRow};

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// It manages the service.
    Operator,
    /// It acts for a tenant.
    Tenant(TenantId),
}

impl KeyOwner {
    fn kind(self) -> &'static str {
        match self {
            KeyOwner::Operator => "operator",
            KeyOwner::Tenant(_) => "tenant",
        }
    }

    fn tenant(self) -> Option<String> {
        match self {
            KeyOwner::Operator => None,
            KeyOwner::Tenant(id) => Some(id.to_string()),
        }
    }
}

/// What is kept of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecret {
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What people recognise it by.
    pub hint: String,
}

/// The secret before the last rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousHash {
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// It is good before this time.
    pub valid_until: Timestamp,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id, which is public.
    pub id: KeyId,
    /// Whose it is.
    pub owner: KeyOwner,
    /// What people call it.
    pub name: String,
    /// What is kept of its secret.
    pub secret: KeySecret,
    /// The secret before the last rotation, if one may still be good.
    pub previous: Option<PreviousHash>,
    /// The models it may use, as a JSON array of names; `None`: all.
    pub models_json: Option<String>,
    /// What it is good for, as a JSON array of words; `None`: everything.
    pub scopes_json: Option<String>,
    /// The user who was shown its secret last: who made or rotated it, or the key that it was made with.
    pub user_id: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is good before this time.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within some seconds.
    pub last_used_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, kind, tenant_id, name, hash, previous_hash, previous_valid_until, hint, models, scopes, created_at, \
                       expires_at, revoked_at, last_used_at, user_id";

fn read(row: &Columns<'_>) -> Result<KeyRow, StoreError> {
    let owner = match (row.plain::<String>("kind")?.as_str(), row.parsed_or_null("tenant_id")?) {
        ("operator", None) => KeyOwner::Operator,
        ("tenant", Some(tenant)) => KeyOwner::Tenant(tenant),
        (kind, _) => return Err(corrupt("kind", format!("`{kind}` does not fit the tenant"))),
    };
    let previous = match (row.plain::<Option<[u8; 32]>>("previous_hash")?, row.time_or_null("previous_valid_until")?) {
        (Some(hash), Some(valid_until)) => Some(PreviousHash { hash, valid_until }),
        _ => None,
    };
    Ok(KeyRow {
        id: row.parsed("id")?,
        owner,
        name: row.plain("name")?,
        secret: KeySecret { hash: row.plain("hash")?, hint: row.plain("hint")? },
        previous,
        models_json: row.plain("models")?,
        scopes_json: row.plain("scopes")?,
        user_id: row.parsed_or_null("user_id")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_or_null("expires_at")?,
        revoked_at: row.time_or_null("revoked_at")?,
        last_used_at: row.time_or_null("last_used_at")?,
    })
}

fn insert(connection: &Connection, key: &KeyRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO api_keys (id, kind, tenant_id, name, hash, previous_hash, previous_valid_until, hint, models, scopes, created_at, \
               expires_at, revoked_at, last_used_at, user_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    connection.prepare_cached(sql)?.execute(params![
        key.id.to_string(),
        key.owner.kind(),
        key.owner.tenant(),
        key.name,
        key.secret.hash,
        key.previous.as_ref().map(|previous| previous.hash),
        key.previous.as_ref().map(|previous| previous.valid_until.unix_ms()),
        key.secret.hint,
        key.models_json,
        key.scopes_json,
        key.created_at.unix_ms(),
        key.expires_at.map(Timestamp::unix_ms),
        key.revoked_at.map(Timestamp::unix_ms),
        key.last_used_at.map(Timestamp::unix_ms),
        key.user_id.map(|id| id.to_string()),
    ])?;
    Ok(())
}

/// Refuses one live key too many, and forgets the oldest dead ones beyond as many again.
fn make_room(connection: &Connection, key: &KeyRow, keys_max: u32) -> Result<(), StoreError> {
    let (kind, tenant, now) = (key.owner.kind(), key.owner.tenant(), key.created_at.unix_ms());
    let live = "SELECT count(*) AS count FROM api_keys WHERE kind = ?1 AND tenant_id IS ?2 AND revoked_at IS NULL \
                AND (expires_at IS NULL OR expires_at > ?3)";
    if count(connection, live, params![kind, tenant, now])? >= keys_max {
        return Err(StoreError::LimitReached { limit: keys_max });
    }
    let forget = "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE kind = ?1 AND tenant_id IS ?2 \
                  AND (revoked_at IS NOT NULL OR expires_at <= ?3) ORDER BY id DESC LIMIT -1 OFFSET ?4)";
    connection.prepare_cached(forget)?.execute(params![kind, tenant, now, keys_max])?;
    Ok(())
}

impl Store {
    /// Adds a key, if its owner has fewer than `keys_max` that are good.
    ///
    /// # Errors
    /// [`StoreError::NoParent`] when there is no such tenant, [`StoreError::LimitReached`],
    /// [`StoreError::KeyReused`].
    pub fn create_key<'a>(&self, key: &KeyRow, keys_max: u32, told: impl Into<Note<'a>>) -> Result<Created<KeyId>, StoreError> {
        let told = told.into();
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, told.once)? {
                return Ok(Created::Before(id));
            }
            make_room(transaction, key, keys_max)?;
            insert(transaction, key)?;
            note(transaction, told.once, &key.id)?;
            trail::insert(transaction, told.trail)?;
            Ok(Created::New)
        })
    }

    /// Writes the first tenant and the first keys together, unless there is an operator key; says whether it did.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the tenant's name is taken.
    pub fn bootstrap(&self, tenant: &TenantRow, keys: &[KeyRow]) -> Result<bool, StoreError> {
        self.write(Durability::Full, |transaction| {
            if count(transaction, "SELECT count(*) AS count FROM api_keys WHERE kind = 'operator'", [])? > 0 {
                return Ok(false);
            }
            tenants::insert(transaction, tenant)?;
            // The operator's own tenant owes nobody.
            write_terms(transaction, tenant.id, Terms::Postpaid { credit_limit: None })?;
            keys.iter().try_for_each(|key| insert(transaction, key))?;
            Ok(true)
        })
    }

    /// Whether there is an operator key at all, good or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_operator(&self) -> Result<bool, StoreError> {
        self.read(|connection| Ok(count(connection, "SELECT count(*) AS count FROM api_keys WHERE kind = 'operator'", [])? > 0))
    }

    /// The key with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1");
        self.read(|connection| one(connection, &sql, [id.to_string()], read))
    }

    /// The key with this id and its tenant, as they were at one moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key_with_tenant(&self, id: KeyId) -> Result<Option<(KeyRow, Option<TenantRow>)>, StoreError> {
        let key_sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1");
        let tenant_sql = "SELECT id, name, weight, created_at FROM tenants WHERE id = ?1";
        self.read(|connection| {
            let Some(key) = one(connection, &key_sql, [id.to_string()], read)? else { return Ok(None) };
            let tenant = match key.owner {
                KeyOwner::Operator => None,
                KeyOwner::Tenant(tenant) => one(connection, tenant_sql, [tenant.to_string()], tenants::read)?,
            };
            Ok(Some((key, tenant)))
        })
    }

    /// Up to `limit` keys of an owner (`None`: of all) that were made after the key `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn keys(&self, owner: Option<KeyOwner>, after: Option<KeyId>, limit: u32) -> Result<Vec<KeyRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| match owner {
            None => {
                let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id > ?1 ORDER BY id LIMIT ?2");
                all(connection, &sql, params![after, limit], read)
            }
            Some(owner) => {
                let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id > ?1 AND kind = ?3 AND tenant_id IS ?4 ORDER BY id LIMIT ?2");
                all(connection, &sql, params![after, limit, owner.kind(), owner.tenant()], read)
            }
        })
    }

    /// Revokes a key; the time of the first revocation stays.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::LastOperator`].
    pub fn revoke_key(&self, id: KeyId, now: Timestamp, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let last = "SELECT count(*) AS count FROM api_keys WHERE id = ?1 AND kind = 'operator' AND revoked_at IS NULL \
                        AND NOT EXISTS (SELECT 1 FROM api_keys WHERE id <> ?1 AND kind = 'operator' AND revoked_at IS NULL \
                        AND expires_at IS NULL)";
            if count(transaction, last, [id.to_string()])? > 0 {
                return Err(StoreError::LastOperator);
            }
            let sql = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1";
            change_one(transaction, sql, params![id.to_string(), now.unix_ms()])?;
            trail::insert(transaction, event)
        })
    }

    /// Gives a key that is not revoked a new secret, which `user` is shown; the old one stays good before
    /// `previous_valid_until`.
    ///
    /// # Errors
    /// [`StoreError::Missing`], also for a revoked key.
    pub fn rotate_key(
        &self,
        id: KeyId,
        secret: &KeySecret,
        previous_valid_until: Option<Timestamp>,
        user: Option<UserId>,
        event: Option<&TrailRow>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = "UPDATE api_keys SET previous_hash = CASE WHEN ?4 IS NULL THEN NULL ELSE hash END, previous_valid_until = ?4, \
                       hash = ?2, hint = ?3, user_id = ?5 WHERE id = ?1 AND revoked_at IS NULL";
            let (valid_until, user) = (previous_valid_until.map(Timestamp::unix_ms), user.map(|user| user.to_string()));
            change_one(transaction, sql, params![id.to_string(), secret.hash, secret.hint, valid_until, user])?;
            trail::insert(transaction, event)
        })
    }

    /// Notes when keys were last used; never moves a time back. Not flushed to disk at once.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn touch_keys(&self, last_used: &HashMap<KeyId, Timestamp>) -> Result<(), StoreError> {
        if last_used.is_empty() {
            return Ok(());
        }
        self.write(Durability::Lazy, |transaction| {
            let sql = "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1";
            let mut statement = transaction.prepare_cached(sql)?;
            for (id, time) in last_used {
                statement.execute(params![id.to_string(), time.unix_ms()])?;
            }
            Ok(())
        })
    }
}
