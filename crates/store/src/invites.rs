//! Invitations, kept as the hash of their code, and the waiting list.

use freehold_domain::{Email, InviteId, Role, TenantId, TenantName, Timestamp, UserId, WaitingId};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, change_one, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, count, earlier, note};
use crate::trail::{self, Note, TrailRow};

/// What an invitation is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteTo {
    /// To the service: who has the code may sign up. For one address only, if there is one.
    Service(Option<Email>),
    /// To a tenant: who has the address becomes a member.
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// As what.
        role: Role,
        /// Whose it is.
        email: Email,
    },
}

impl InviteTo {
    /// The address that it is for.
    pub fn email(&self) -> Option<&Email> {
        match self {
            Self::Service(email) => email.as_ref(),
            Self::Tenant { email, .. } => Some(email),
        }
    }

    /// The tenant that it is to.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Service(_) => None,
            Self::Tenant { tenant, .. } => Some(*tenant),
        }
    }
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteRow {
    /// Its id, which is public.
    pub id: InviteId,
    /// SHA-256 of its code.
    pub hash: [u8; 32],
    /// What it is to.
    pub to: InviteTo,
    /// The user who invites; `None`: a key.
    pub inviter: Option<UserId>,
    /// What the inviter wrote to remember it by.
    pub note: String,
    /// How often it was used.
    pub uses: u32,
    /// How often it can be used.
    pub uses_max: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is good before this time.
    pub expires_at: Timestamp,
}

/// A place on the waiting list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRow {
    /// Its id.
    pub id: WaitingId,
    /// Who waits.
    pub user_id: UserId,
    /// The name that the tenant is to have.
    pub tenant_name: TenantName,
    /// Since when.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "id, hash, email, tenant_id, role, inviter, note, uses, uses_max, created_at, expires_at";

fn read(row: &Columns<'_>) -> Result<InviteRow, StoreError> {
    let to = match (row.parsed_or_null("tenant_id")?, row.parsed_or_null("role")?, row.parsed_or_null("email")?) {
        (None, None, email) => InviteTo::Service(email),
        (Some(tenant), Some(role), Some(email)) => InviteTo::Tenant { tenant, role, email },
        _ => return Err(corrupt("tenant_id", "an invitation to a tenant has a role and an address")),
    };
    Ok(InviteRow {
        id: row.parsed("id")?,
        hash: row.plain("hash")?,
        to,
        inviter: row.parsed_or_null("inviter")?,
        note: row.plain("note")?,
        uses: row.plain("uses")?,
        uses_max: row.plain("uses_max")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

fn read_waiting(row: &Columns<'_>) -> Result<WaitingRow, StoreError> {
    Ok(WaitingRow {
        id: row.parsed("id")?,
        user_id: row.parsed("user_id")?,
        tenant_name: row.parsed("tenant_name")?,
        created_at: row.time("created_at")?,
    })
}

/// Uses an invitation once.
pub(crate) fn consume(connection: &Connection, id: InviteId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE invites SET uses = uses + 1 WHERE id = ?1 AND uses < uses_max AND expires_at > ?2";
    change_one(connection, sql, params![id.to_string(), now.unix_ms()])
}

/// Puts a user on the list; one who is on it keeps the place.
pub(crate) fn wait(connection: &Connection, row: &WaitingRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO waiting (id, user_id, tenant_name, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (user_id) DO NOTHING";
    let (id, user) = (row.id.to_string(), row.user_id.to_string());
    connection.prepare_cached(sql)?.execute(params![id, user, row.tenant_name.as_str(), row.created_at.unix_ms()])?;
    Ok(())
}

/// Refuses one more place than there may be.
pub(crate) fn check_room(connection: &Connection, waiting_max: u32) -> Result<(), StoreError> {
    if count(connection, "SELECT count(*) AS count FROM waiting", [])? >= waiting_max {
        return Err(StoreError::ListFull { limit: waiting_max });
    }
    Ok(())
}

/// Takes a place off the list.
pub(crate) fn admit(connection: &Connection, id: WaitingId) -> Result<(), StoreError> {
    change_one(connection, "DELETE FROM waiting WHERE id = ?1", [id.to_string()])
}

impl Store {
    /// Adds an invitation, if there are fewer than `invites_max` to the same tenant or to the service. One for the
    /// same address and tenant goes.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`], [`StoreError::NoParent`] when there is no such tenant, [`StoreError::KeyReused`].
    pub fn create_invite<'a>(
        &self,
        invite: &InviteRow,
        invites_max: u32,
        told: impl Into<Note<'a>>,
    ) -> Result<Created<InviteId>, StoreError> {
        let told = told.into();
        let (tenant, email) = (invite.to.tenant().map(|id| id.to_string()), invite.to.email().map(Email::as_str));
        let role = match &invite.to {
            InviteTo::Service(_) => None,
            InviteTo::Tenant { role, .. } => Some(role.as_str()),
        };
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, told.once)? {
                return Ok(Created::Before(id));
            }
            let replaced = "DELETE FROM invites WHERE tenant_id = ?1 AND email = ?2";
            transaction.prepare_cached(replaced)?.execute(params![tenant, email])?;
            let sql = "SELECT count(*) AS count FROM invites WHERE tenant_id IS ?1 AND uses < uses_max AND expires_at > ?2";
            if count(transaction, sql, params![tenant, invite.created_at.unix_ms()])? >= invites_max {
                return Err(StoreError::LimitReached { limit: invites_max });
            }
            let sql = format!("INSERT INTO invites ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
            transaction.prepare_cached(&sql)?.execute(params![
                invite.id.to_string(),
                invite.hash,
                email,
                tenant,
                role,
                invite.inviter.map(|id| id.to_string()),
                invite.note,
                invite.uses,
                invite.uses_max,
                invite.created_at.unix_ms(),
                invite.expires_at.unix_ms(),
            ])?;
            note(transaction, told.once, &invite.id)?;
            trail::insert(transaction, told.trail)?;
            Ok(Created::New)
        })
    }

    /// The invitation with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invite(&self, id: InviteId) -> Result<Option<InviteRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invites WHERE id = ?1");
        self.read(|connection| one(connection, &sql, [id.to_string()], read))
    }

    /// The invitation with this code, if it can be used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invite_by_code(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<InviteRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM invites WHERE hash = ?1 AND uses < uses_max AND expires_at > ?2");
        self.read(|connection| one(connection, &sql, params![hash, now.unix_ms()], read))
    }

    /// Up to `limit` invitations after `after`, oldest first: to a tenant, or all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invites(&self, tenant: Option<TenantId>, after: Option<InviteId>, limit: u32) -> Result<Vec<InviteRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| match tenant {
            None => {
                let sql = format!("SELECT {COLUMNS} FROM invites WHERE id > ?1 ORDER BY id LIMIT ?2");
                all(connection, &sql, params![after, limit], read)
            }
            Some(tenant) => {
                let sql = format!("SELECT {COLUMNS} FROM invites WHERE id > ?1 AND tenant_id = ?3 ORDER BY id LIMIT ?2");
                all(connection, &sql, params![after, limit, tenant.to_string()], read)
            }
        })
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn delete_invite(&self, id: InviteId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            change_one(transaction, "DELETE FROM invites WHERE id = ?1", [id.to_string()])?;
            trail::insert(transaction, event)
        })
    }

    /// Up to `limit` places of the waiting list after `after`, the next first, each with its address.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self, after: Option<WaitingId>, limit: u32) -> Result<Vec<(WaitingRow, Email)>, StoreError> {
        let sql = "SELECT w.id, w.user_id, w.tenant_name, w.created_at, u.email FROM waiting w JOIN users u ON u.id = w.user_id \
                   WHERE w.id > ?1 ORDER BY w.id LIMIT ?2";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| all(connection, sql, params![after, limit], |row| Ok((read_waiting(row)?, row.parsed("email")?))))
    }

    /// One place of the waiting list.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting_entry(&self, id: WaitingId) -> Result<Option<WaitingRow>, StoreError> {
        let sql = "SELECT id, user_id, tenant_name, created_at FROM waiting WHERE id = ?1";
        self.read(|connection| one(connection, sql, [id.to_string()], read_waiting))
    }

    /// Takes somebody off the list, and with him his account if he never verified his address and is nowhere else.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn remove_waiting(&self, id: WaitingId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = "SELECT id, user_id, tenant_name, created_at FROM waiting WHERE id = ?1";
            let row = one(transaction, sql, [id.to_string()], read_waiting)?.ok_or(StoreError::Missing)?;
            admit(transaction, id)?;
            let sql = format!("DELETE FROM users WHERE id = ?1 AND {}", crate::users::ABANDONED);
            transaction.prepare_cached(&sql)?.execute([row.user_id.to_string()])?;
            trail::insert(transaction, event)
        })
    }

    /// How many are on the list up to and with this user; `None` when it is not on it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting_position(&self, user: UserId) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT count(*) AS count FROM waiting WHERE id <= (SELECT id FROM waiting WHERE user_id = ?1)";
        self.read(|connection| Ok(Some(count(connection, sql, [user.to_string()])?).filter(|&position| position > 0)))
    }
}
