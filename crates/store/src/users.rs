//! Users, what they are in which tenant, and who they are at a provider.
//!
//! **Invariant:** a tenant that had an owner keeps one: no change takes the last.

use freehold_domain::{Email, Role, TenantId, Timestamp, UserId};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, change_one, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::count;
use crate::tenants::{self, TenantRow};
use crate::trail::{self, TrailRow};

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Its id.
    pub id: UserId,
    /// Its address, unique.
    pub email: Email,
    /// What it is called.
    pub name: String,
    /// The password's argon2id hash as a PHC string; `None`: logs in through a provider only.
    pub password_hash: Option<String>,
    /// Manages the service.
    pub operator: bool,
    /// Since when it may log in.
    pub verified_at: Option<Timestamp>,
    /// Whether it was proved that the address is theirs: by a mail's reader, or by a provider that verified it.
    pub address_proved: bool,
    /// An operator has closed the account; it is not verified then, and only an operator opens it again.
    pub closed: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last logged in.
    pub last_login_at: Option<Timestamp>,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRow").field("id", &self.id).field("email", &self.email).finish_non_exhaustive()
    }
}

/// A user in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserRow,
    /// What it is there.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
}

/// Who somebody is at an OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's issuer URL.
    pub issuer: String,
    /// The provider's name of the user.
    pub subject: String,
}

/// What to change of a user; what is left out stays.
#[derive(Clone, Default)]
pub struct UserChange {
    /// It may log in since then; or it is closed, which ends its sessions, its links to providers and the invitations
    /// that it made, and makes its address one that nobody has proved.
    pub verified_at: Option<Option<Timestamp>>,
    /// Manages the service; who no longer does loses the invitations to the service that it made.
    pub operator: Option<bool>,
    /// The new password's hash. Ends every session.
    pub password_hash: Option<String>,
}

const COLUMNS: &str = "id, email, name, password_hash, operator, verified_at, address_proved, closed, created_at, last_login_at";

/// A user who never verified the address and has nothing that could be missed: no membership, no place on the waiting
/// list.
pub(crate) const ABANDONED: &str = "verified_at IS NULL AND closed = 0 AND operator = 0 \
                                    AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id) \
                                    AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.user_id = users.id)";

/// What [`member`] reads.
const MEMBERS: &str = "SELECT u.id, u.email, u.name, u.password_hash, u.operator, u.verified_at, u.address_proved, u.closed, \
                       u.created_at, u.last_login_at, m.role, m.created_at AS since \
                       FROM memberships m JOIN users u ON u.id = m.user_id";

pub(crate) fn read(row: &Columns<'_>) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        id: row.parsed("id")?,
        email: row.parsed("email")?,
        name: row.plain("name")?,
        password_hash: row.plain("password_hash")?,
        operator: row.plain("operator")?,
        verified_at: row.time_or_null("verified_at")?,
        address_proved: row.plain("address_proved")?,
        closed: row.plain("closed")?,
        created_at: row.time("created_at")?,
        last_login_at: row.time_or_null("last_login_at")?,
    })
}

/// Adds a user, if there are fewer than `users_max`.
pub(crate) fn insert(connection: &Connection, user: &UserRow, users_max: u32) -> Result<(), StoreError> {
    if count(connection, "SELECT count(*) AS count FROM users", [])? >= users_max {
        return Err(StoreError::LimitReached { limit: users_max });
    }
    let sql = format!("INSERT INTO users ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    connection.prepare_cached(&sql)?.execute(params![
        user.id.to_string(),
        user.email.as_str(),
        user.name,
        user.password_hash,
        user.operator,
        user.verified_at.map(Timestamp::unix_ms),
        user.address_proved,
        user.closed,
        user.created_at.unix_ms(),
        user.last_login_at.map(Timestamp::unix_ms),
    ])?;
    Ok(())
}

/// Makes room for one more user who has not verified the address: of `unverified_max`, the oldest that is abandoned goes.
pub(crate) fn make_room(connection: &Connection, unverified_max: u32) -> Result<(), StoreError> {
    let unverified = "SELECT count(*) AS count FROM users WHERE verified_at IS NULL AND closed = 0";
    if count(connection, unverified, [])? < unverified_max {
        return Ok(());
    }
    let oldest = format!("DELETE FROM users WHERE id = (SELECT id FROM users WHERE {ABANDONED} ORDER BY created_at, id LIMIT 1)");
    match connection.prepare_cached(&oldest)?.execute([])? {
        0 => Err(StoreError::LimitReached { limit: unverified_max }),
        _ => Ok(()),
    }
}

pub(crate) fn find(connection: &Connection, id: UserId) -> Result<Option<UserRow>, StoreError> {
    one(connection, &format!("SELECT {COLUMNS} FROM users WHERE id = ?1"), [id.to_string()], read)
}

pub(crate) fn find_by_email(connection: &Connection, email: &Email) -> Result<Option<UserRow>, StoreError> {
    one(connection, &format!("SELECT {COLUMNS} FROM users WHERE email = ?1"), [email.as_str()], read)
}

/// Makes a user a member; one who is a member already keeps the role.
pub(crate) fn join(connection: &Connection, tenant: TenantId, user: UserId, role: Role, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO memberships (tenant_id, user_id, role, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![tenant.to_string(), user.to_string(), role.as_str(), now.unix_ms()])?;
    Ok(())
}

pub(crate) fn link(connection: &Connection, identity: &Identity, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO identities (issuer, subject, user_id, created_at) VALUES (?1, ?2, ?3, ?4)";
    let row = params![identity.issuer, identity.subject, user.to_string(), now.unix_ms()];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Ends what opens a user's account: sessions, and tokens of mails.
pub(crate) fn lock_out(connection: &Connection, user: UserId) -> Result<(), StoreError> {
    for sql in ["DELETE FROM sessions WHERE user_id = ?1", "DELETE FROM tokens WHERE user_id = ?1"] {
        connection.prepare_cached(sql)?.execute([user.to_string()])?;
    }
    Ok(())
}

/// Ends everything with which somebody else may still act for a user whose address was proved just now: what
/// [`lock_out`] ends, links to providers, invitations that were made, keys that the account was shown the secret of, and
/// the secrets that its tenants' keys had before their last rotation.
pub(crate) fn take_over(connection: &Connection, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    lock_out(connection, user)?;
    let id = user.to_string();
    for sql in [
        "DELETE FROM identities WHERE user_id = ?1",
        "DELETE FROM invites WHERE inviter = ?1",
        "UPDATE api_keys SET previous_hash = NULL, previous_valid_until = NULL WHERE kind = 'tenant' \
         AND tenant_id IN (SELECT tenant_id FROM memberships WHERE user_id = ?1)",
    ] {
        connection.prepare_cached(sql)?.execute([&id])?;
    }
    let sql = "UPDATE api_keys SET revoked_at = ?2 WHERE user_id = ?1 AND kind = 'tenant' AND revoked_at IS NULL";
    connection.prepare_cached(sql)?.execute(params![id, now.unix_ms()])?;
    Ok(())
}

/// Takes back what a user who is no longer owner of a tenant has promised there.
fn forget_invites(connection: &Connection, tenant: TenantId, inviter: UserId) -> Result<(), StoreError> {
    let sql = "DELETE FROM invites WHERE tenant_id = ?1 AND inviter = ?2";
    connection.prepare_cached(sql)?.execute([tenant.to_string(), inviter.to_string()])?;
    Ok(())
}

/// The tenants of a user and its role in each, the oldest membership first.
pub(crate) fn memberships(connection: &Connection, user: UserId) -> Result<Vec<(TenantRow, Role)>, StoreError> {
    let sql = "SELECT t.id, t.name, t.weight, t.created_at, m.role FROM memberships m JOIN tenants t ON t.id = m.tenant_id \
               WHERE m.user_id = ?1 ORDER BY m.created_at, m.tenant_id";
    all(connection, sql, [user.to_string()], |row| Ok((tenants::read(row)?, row.parsed("role")?)))
}

/// Refuses to leave a tenant without an owner.
fn spare_owner(connection: &Connection, tenant: TenantId, user: UserId) -> Result<(), StoreError> {
    let sql = "SELECT count(*) AS count FROM memberships WHERE tenant_id = ?1 AND user_id = ?2 AND role = 'owner' \
               AND NOT EXISTS (SELECT 1 FROM memberships WHERE tenant_id = ?1 AND user_id <> ?2 AND role = 'owner')";
    match count(connection, sql, params![tenant.to_string(), user.to_string()])? {
        0 => Ok(()),
        _ => Err(StoreError::LastOwner),
    }
}

impl Store {
    /// The user with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        self.read(|connection| find(connection, id))
    }

    /// The user with this address.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user_by_email(&self, email: &Email) -> Result<Option<UserRow>, StoreError> {
        self.read(|connection| find_by_email(connection, email))
    }

    /// The user who is this at a provider.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user_by_identity(&self, identity: &Identity) -> Result<Option<UserRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id = (SELECT user_id FROM identities WHERE issuer = ?1 AND subject = ?2)");
        self.read(|connection| one(connection, &sql, [&identity.issuer, &identity.subject], read))
    }

    /// Up to `limit` users after the user `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id > ?1 ORDER BY id LIMIT ?2");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| all(connection, &sql, params![after, limit], read))
    }

    /// Up to `limit` members of a tenant after the user `after`, in the order of their ids.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn members(&self, tenant: TenantId, after: Option<UserId>, limit: u32) -> Result<Vec<Member>, StoreError> {
        let sql = format!("{MEMBERS} WHERE m.tenant_id = ?1 AND m.user_id > ?2 ORDER BY m.user_id LIMIT ?3");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(|connection| all(connection, &sql, params![tenant.to_string(), after, limit], member))
    }

    /// One member of a tenant.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn member(&self, tenant: TenantId, user: UserId) -> Result<Option<Member>, StoreError> {
        let sql = format!("{MEMBERS} WHERE m.tenant_id = ?1 AND m.user_id = ?2");
        self.read(|connection| one(connection, &sql, params![tenant.to_string(), user.to_string()], member))
    }

    /// The tenants of a user and its role in each, the oldest membership first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn memberships(&self, user: UserId) -> Result<Vec<(TenantRow, Role)>, StoreError> {
        self.read(|connection| memberships(connection, user))
    }

    /// Gives a member another role. Who is no longer owner loses the invitations that it made.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for one who is no member, [`StoreError::LastOwner`].
    pub fn set_role(&self, tenant: TenantId, user: UserId, role: Role, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            if role != Role::Owner {
                spare_owner(transaction, tenant, user)?;
            }
            let sql = "UPDATE memberships SET role = ?3 WHERE tenant_id = ?1 AND user_id = ?2";
            change_one(transaction, sql, params![tenant.to_string(), user.to_string(), role.as_str()])?;
            if role != Role::Owner {
                forget_invites(transaction, tenant, user)?;
            }
            trail::insert(transaction, event)
        })
    }

    /// Takes a member, and the invitations that it made, out of a tenant.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for one who is no member, [`StoreError::LastOwner`].
    pub fn remove_member(&self, tenant: TenantId, user: UserId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            spare_owner(transaction, tenant, user)?;
            let sql = "DELETE FROM memberships WHERE tenant_id = ?1 AND user_id = ?2";
            change_one(transaction, sql, params![tenant.to_string(), user.to_string()])?;
            forget_invites(transaction, tenant, user)?;
            trail::insert(transaction, event)
        })
    }

    /// Removes a user from everywhere. A tenant that has no other member stays, without an owner.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::LastOwner`] where others are left without an owner.
    pub fn delete_user(&self, user: UserId, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let left = "SELECT count(*) AS count FROM memberships m WHERE user_id = ?1 AND role = 'owner' \
                        AND EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = m.tenant_id AND o.user_id <> ?1) \
                        AND NOT EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = m.tenant_id AND o.user_id <> ?1 AND o.role = 'owner')";
            if count(transaction, left, [user.to_string()])? > 0 {
                return Err(StoreError::LastOwner);
            }
            change_one(transaction, "DELETE FROM users WHERE id = ?1", [user.to_string()])?;
            trail::insert(transaction, event)
        })
    }

    /// Puts a new password's hash in the place of the one before, and ends what else opens the account: every session but
    /// `kept`, and tokens of mails.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the user may not log in, or has another password by now.
    pub fn change_password(
        &self,
        user: UserId,
        (before, after): (Option<&str>, &str),
        kept: &[u8; 32],
        event: Option<&TrailRow>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let id = user.to_string();
            let sql = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash IS ?2 AND verified_at IS NOT NULL";
            change_one(transaction, sql, params![id, before, after])?;
            transaction.prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND hash <> ?2")?.execute(params![id, kept])?;
            transaction.prepare_cached("DELETE FROM tokens WHERE user_id = ?1")?.execute([id])?;
            trail::insert(transaction, event)
        })
    }

    /// Changes a user.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn change_user(&self, user: UserId, change: &UserChange, event: Option<&TrailRow>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            let sql = "UPDATE users SET verified_at = CASE WHEN ?2 THEN ?3 ELSE verified_at END, \
                       closed = CASE WHEN ?2 THEN ?3 IS NULL ELSE closed END, \
                       address_proved = CASE WHEN ?2 AND ?3 IS NULL THEN 0 ELSE address_proved END, \
                       operator = coalesce(?4, operator), password_hash = coalesce(?5, password_hash) WHERE id = ?1";
            let verified_at = change.verified_at.flatten().map(Timestamp::unix_ms);
            let row = params![user.to_string(), change.verified_at.is_some(), verified_at, change.operator, change.password_hash];
            change_one(transaction, sql, row)?;
            let ends: &[&str] = match change.verified_at {
                Some(None) => &["DELETE FROM identities WHERE user_id = ?1", "DELETE FROM invites WHERE inviter = ?1"],
                Some(Some(_)) => &["DELETE FROM tokens WHERE user_id = ?1 AND purpose = 'verify'"],
                None => &[],
            };
            let no_operator = (change.operator == Some(false)).then_some("DELETE FROM invites WHERE inviter = ?1 AND tenant_id IS NULL");
            for sql in ends.iter().copied().chain(no_operator) {
                transaction.prepare_cached(sql)?.execute([user.to_string()])?;
            }
            if change.password_hash.is_some() || change.verified_at == Some(None) {
                lock_out(transaction, user)?;
            }
            trail::insert(transaction, event)
        })
    }
}

fn member(row: &Columns<'_>) -> Result<Member, StoreError> {
    Ok(Member { user: read(row)?, role: row.parsed("role")?, since: row.time("since")? })
}
