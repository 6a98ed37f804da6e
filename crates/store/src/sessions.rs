//! Sessions of users who are logged in, kept as the hash of their token.

use freehold_domain::{Role, Timestamp, UserId};
use rusqlite::{Connection, params};

use crate::columns::one;
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::count;
use crate::tenants::TenantRow;
use crate::trail::{self, TrailRow};
use crate::users::{self, Identity, UserRow};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of its token.
    pub hash: [u8; 32],
    /// Who is logged in.
    pub user_id: UserId,
    /// Since when.
    pub created_at: Timestamp,
    /// It is good before this time.
    pub expires_at: Timestamp,
    /// When it was last used, to within a minute.
    pub seen_at: Timestamp,
}

/// What a session was opened with. It must still be so when the session is written.
#[derive(Clone, PartialEq, Eq)]
pub enum OpenedWith {
    /// The password with this hash.
    Password(String),
    /// What a provider said.
    Identity(Identity),
}

/// A session, its user, and what the user is where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFound {
    /// The session.
    pub session: SessionRow,
    /// Who is logged in.
    pub user: UserRow,
    /// The user's tenants, the oldest membership first.
    pub memberships: Vec<(TenantRow, Role)>,
}

fn check(connection: &Connection, user: UserId, with: &OpenedWith) -> Result<(), StoreError> {
    let user = user.to_string();
    let found = match with {
        OpenedWith::Password(hash) => {
            let sql = "SELECT count(*) AS count FROM users WHERE id = ?1 AND verified_at IS NOT NULL AND password_hash IS ?2";
            count(connection, sql, [&user, hash])?
        }
        OpenedWith::Identity(identity) => {
            let sql = "SELECT count(*) AS count FROM users u JOIN identities i ON i.user_id = u.id \
                       WHERE u.id = ?1 AND u.verified_at IS NOT NULL AND i.issuer = ?2 AND i.subject = ?3";
            count(connection, sql, [&user, &identity.issuer, &identity.subject])?
        }
    };
    if found == 0 { Err(StoreError::Missing) } else { Ok(()) }
}

impl Store {
    /// Adds a session in place of `before`; the newest `sessions_max` of a user stay.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the user may not log in, or no longer with this password or identity.
    pub fn create_session(
        &self,
        session: &SessionRow,
        with: &OpenedWith,
        before: Option<&[u8; 32]>,
        sessions_max: u32,
        event: Option<&TrailRow>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            check(transaction, session.user_id, with)?;
            if let Some(before) = before {
                transaction.prepare_cached("DELETE FROM sessions WHERE hash = ?1")?.execute([before])?;
            }
            let user = session.user_id.to_string();
            let forget = "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user_id = ?1 \
                          ORDER BY created_at DESC LIMIT -1 OFFSET ?2)";
            transaction.prepare_cached(forget)?.execute(params![user, sessions_max.saturating_sub(1)])?;
            let sql = "INSERT INTO sessions (hash, user_id, created_at, expires_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            let (created, expires, seen) = (session.created_at.unix_ms(), session.expires_at.unix_ms(), session.seen_at.unix_ms());
            transaction.prepare_cached(sql)?.execute(params![session.hash, user, created, expires, seen])?;
            transaction.prepare_cached("UPDATE users SET last_login_at = ?2 WHERE id = ?1")?.execute(params![user, created])?;
            trail::insert(transaction, event)
        })
    }

    /// A session that is good, with everything that a request needs to know of it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn session(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<SessionFound>, StoreError> {
        let sql = "SELECT hash, user_id, created_at, expires_at, seen_at FROM sessions WHERE hash = ?1 AND expires_at > ?2";
        self.read(|connection| {
            let session = one(connection, sql, params![hash, now.unix_ms()], |row| {
                Ok(SessionRow {
                    hash: row.plain("hash")?,
                    user_id: row.parsed("user_id")?,
                    created_at: row.time("created_at")?,
                    expires_at: row.time("expires_at")?,
                    seen_at: row.time("seen_at")?,
                })
            })?;
            let Some(session) = session else { return Ok(None) };
            let Some(user) = users::find(connection, session.user_id)? else { return Ok(None) };
            let memberships = users::memberships(connection, user.id)?;
            Ok(Some(SessionFound { session, user, memberships }))
        })
    }

    /// Notes when a session was used. Not flushed to disk at once.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn touch_session(&self, hash: &[u8; 32], now: Timestamp) -> Result<(), StoreError> {
        self.write(Durability::Lazy, |transaction| {
            transaction.prepare_cached("UPDATE sessions SET seen_at = ?2 WHERE hash = ?1")?.execute(params![hash, now.unix_ms()])?;
            Ok(())
        })
    }

    /// Ends a session. One that has ended already is no error.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_session(&self, hash: &[u8; 32], event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            transaction.prepare_cached("DELETE FROM sessions WHERE hash = ?1")?.execute([hash])?;
            trail::insert(transaction, event)
        })
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_sessions(&self, user: UserId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            transaction.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([user.to_string()])?;
            trail::insert(transaction, event)
        })
    }

    /// Forgets up to `batch` rows of each kind that have ended: sessions and tokens past their end, users that never
    /// verified their address, do not wait, and are older than `unverified_before`, invites past their end, events older
    /// than `trail_before`. Says how many rows went.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_ended(
        &self,
        now: Timestamp,
        unverified_before: Timestamp,
        trail_before: Timestamp,
        batch: u32,
    ) -> Result<usize, StoreError> {
        let abandoned =
            format!("DELETE FROM users WHERE id IN (SELECT id FROM users WHERE {} AND created_at < ?1 LIMIT ?2)", users::ABANDONED);
        self.write(Durability::Lazy, |transaction| {
            let mut gone = 0;
            for (sql, time) in [
                ("DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at <= ?1 LIMIT ?2)", now),
                ("DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE expires_at <= ?1 LIMIT ?2)", now),
                ("DELETE FROM invites WHERE id IN (SELECT id FROM invites WHERE expires_at <= ?1 LIMIT ?2)", now),
                ("DELETE FROM trail WHERE id IN (SELECT id FROM trail WHERE at < ?1 LIMIT ?2)", trail_before),
                (abandoned.as_str(), unverified_before),
            ] {
                gone += transaction.prepare_cached(sql)?.execute(params![time.unix_ms(), batch])?;
            }
            Ok(gone)
        })
    }
}
