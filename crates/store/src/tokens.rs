//! What a mail gives its reader, kept as a hash and good once; and the two things that begin with a mail: signing up
//! and a new password.
//!
//! **Invariant:** a token and what takes effect with it go in one transaction, so a token never works twice.

use freehold_domain::{Timestamp, UserId};
use rusqlite::{Connection, params};

use crate::columns::{Columns, change_one, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::invites::{self, WaitingRow};
use crate::trail::{self, TrailRow};
use crate::users::{self, UserRow};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// The address is the reader's.
    Verify,
    /// A new password.
    Reset,
}

impl TokenPurpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
        }
    }
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// What it is for.
    pub purpose: TokenPurpose,
    /// Whose it is.
    pub user_id: UserId,
    /// A JSON object: what takes effect with it.
    pub data_json: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is good before this time.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRow").field("purpose", &self.purpose).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// What a sign-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedUp {
    /// Nobody had the address, or nobody who has proved that it is theirs: the token is for this user.
    Open(UserId),
    /// The address is a user's, and no token was made.
    Known(UserRow),
}

/// The most that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignupMax {
    /// Tokens of a user that are good; the newest stay.
    pub tokens: u32,
    /// Users.
    pub users: u32,
    /// Users who have not verified their address; the oldest goes that nobody would miss.
    pub unverified: u32,
    /// Places on the waiting list.
    pub waiting: u32,
}

fn insert(connection: &Connection, token: &TokenRow, tokens_max: u32) -> Result<(), StoreError> {
    let forget = "DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE user_id = ?1 AND purpose = ?2 \
                  ORDER BY created_at DESC LIMIT -1 OFFSET ?3)";
    let (user, purpose) = (token.user_id.to_string(), token.purpose.as_str());
    connection.prepare_cached(forget)?.execute(params![user, purpose, tokens_max.saturating_sub(1)])?;
    let sql = "INSERT INTO tokens (hash, purpose, user_id, data, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let times = (token.created_at.unix_ms(), token.expires_at.unix_ms());
    connection.prepare_cached(sql)?.execute(params![token.hash, purpose, user, token.data_json, times.0, times.1])?;
    Ok(())
}

/// Writes what a sign-up writes, and takes it back: how long a sign-up takes does not say whether the address is known.
fn write_as_much(connection: &Connection, user: UserId, token: Option<&TokenRow>, waiting: Option<&WaitingRow>) -> Result<(), StoreError> {
    if let Some(token) = token {
        insert(connection, &TokenRow { user_id: user, ..token.clone() }, u32::MAX)?;
        connection.prepare_cached("DELETE FROM tokens WHERE hash = ?1")?.execute([token.hash])?;
    }
    if let Some(row) = waiting {
        invites::wait(connection, &WaitingRow { user_id: user, ..row.clone() })?;
        connection.prepare_cached("DELETE FROM waiting WHERE id = ?1")?.execute([row.id.to_string()])?;
    }
    Ok(())
}

/// Uses a token up.
pub(crate) fn consume(connection: &Connection, hash: &[u8; 32], purpose: TokenPurpose, now: Timestamp) -> Result<(), StoreError> {
    let sql = "DELETE FROM tokens WHERE hash = ?1 AND purpose = ?2 AND expires_at > ?3";
    change_one(connection, sql, params![hash, purpose.as_str(), now.unix_ms()])
}

impl Store {
    /// Notes that somebody wants to sign up as `user`. A user whose address is not verified may sign up again. `waiting` is
    /// a place on the waiting list, unless the user has one.
    ///
    /// # Errors
    /// [`StoreError::ListFull`] when nobody more may wait, whoever asks; [`StoreError::LimitReached`] at the other limits.
    pub fn sign_up(
        &self,
        user: &UserRow,
        token: Option<&TokenRow>,
        waiting: Option<&WaitingRow>,
        most: SignupMax,
    ) -> Result<SignedUp, StoreError> {
        self.write(Durability::Full, |transaction| {
            if waiting.is_some() {
                invites::check_room(transaction, most.waiting)?;
            }
            let id = match users::find_by_email(transaction, &user.email)? {
                Some(known) if known.verified_at.is_some() || known.closed => {
                    write_as_much(transaction, known.id, token, waiting)?;
                    return Ok(SignedUp::Known(known));
                }
                Some(unproved) => unproved.id,
                None => {
                    users::make_room(transaction, most.unverified)?;
                    users::insert(transaction, user, most.users)?;
                    user.id
                }
            };
            if let Some(token) = token {
                insert(transaction, &TokenRow { user_id: id, ..token.clone() }, most.tokens)?;
            }
            if let Some(row) = waiting {
                invites::wait(transaction, &WaitingRow { user_id: id, ..row.clone() })?;
            }
            Ok(SignedUp::Open(id))
        })
    }

    /// Adds a token; the newest `tokens_max` of a user and purpose stay.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user, when one who may not log in is to choose a new password, and
    /// when one whose address needs no verification, or whose account is closed, is to verify it.
    pub fn create_token(&self, token: &TokenRow, tokens_max: u32, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let user = users::find(transaction, token.user_id)?.ok_or(StoreError::Missing)?;
            let is_good = match token.purpose {
                TokenPurpose::Verify => user.verified_at.is_none() && !user.closed,
                TokenPurpose::Reset => user.verified_at.is_some(),
            };
            if !is_good {
                return Err(StoreError::Missing);
            }
            insert(transaction, token, tokens_max)?;
            trail::insert(transaction, event)
        })
    }

    /// The newest good token of a user for a purpose.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_token(&self, user: UserId, purpose: TokenPurpose, now: Timestamp) -> Result<Option<TokenRow>, StoreError> {
        let sql = "SELECT hash, user_id, data, created_at, expires_at FROM tokens WHERE user_id = ?1 AND purpose = ?2 AND expires_at > ?3 \
                   ORDER BY created_at DESC LIMIT 1";
        self.read(|connection| one(connection, sql, params![user.to_string(), purpose.as_str(), now.unix_ms()], read(purpose)))
    }

    /// A good token, and its user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn token(&self, hash: &[u8; 32], purpose: TokenPurpose, now: Timestamp) -> Result<Option<(TokenRow, UserRow)>, StoreError> {
        let sql = "SELECT hash, user_id, data, created_at, expires_at FROM tokens WHERE hash = ?1 AND purpose = ?2 AND expires_at > ?3";
        self.read(|connection| {
            let Some(token) = one(connection, sql, params![hash, purpose.as_str(), now.unix_ms()], read(purpose))? else { return Ok(None) };
            Ok(users::find(connection, token.user_id)?.map(|user| (token, user)))
        })
    }

    /// Uses a token for a new password up, and ends every session of its user, whose address is thereby proved. If it was
    /// not proved before, everything ends that the account has opened until now, unless it is an operator's.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for a token that is not good, and for a user who may not log in.
    pub fn reset_password(
        &self,
        hash: &[u8; 32],
        user: UserId,
        password_hash: &str,
        now: Timestamp,
        events: &[TrailRow],
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            consume(transaction, hash, TokenPurpose::Reset, now)?;
            // An operator's account is never a stranger's: another operator made it.
            let is_known = users::find(transaction, user)?.is_some_and(|user| user.address_proved || user.operator);
            let sql = "UPDATE users SET password_hash = ?2, address_proved = 1 WHERE id = ?1 AND verified_at IS NOT NULL";
            change_one(transaction, sql, params![user.to_string(), password_hash])?;
            match is_known {
                true => users::lock_out(transaction, user)?,
                false => users::take_over(transaction, user, now)?,
            }
            trail::insert(transaction, events)
        })
    }
}

fn read(purpose: TokenPurpose) -> impl Fn(&Columns<'_>) -> Result<TokenRow, StoreError> {
    move |row| {
        Ok(TokenRow {
            hash: row.plain("hash")?,
            purpose,
            user_id: row.parsed("user_id")?,
            data_json: row.plain("data")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}
