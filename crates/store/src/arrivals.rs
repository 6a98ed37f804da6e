//! Somebody becomes a user of the service, or a member of a tenant: everything that goes with it, in one transaction.

use freehold_domain::{InviteId, Role, TenantId, TenantName, Timestamp, UserId, WaitingId};
use rusqlite::{Connection, params};

use crate::accounts::{Movement, apply};
use crate::columns::change_one;
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::idempotency::{Created, Once, count, earlier, note};
use crate::invites::{self, WaitingRow};
use crate::tenants::{self, TenantRow};
use crate::tokens::{self, TokenPurpose};
use crate::trail::{self, TrailRow};
use crate::users::{self, Identity, UserRow};

/// What an arrival uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// Nothing.
    Nothing,
    /// The token of the mail that verifies an address.
    Token([u8; 32]),
    /// A place on the waiting list.
    Waiting(WaitingId),
}

/// Where somebody arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere yet.
    Nowhere,
    /// In a tenant.
    Tenant(TenantId, Role),
    /// In a tenant that is made, as its owner. Where the name is taken, the tenant gets a similar one.
    NewTenant(TenantRow),
    /// On the waiting list.
    Waiting(WaitingRow),
}

/// What becomes of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// It is made.
    New,
    /// It was there: name, password, and whether it may log in and has proved its address are set as they stand in the
    /// row, and what opened it before ends, keys that it made among them. Fails with [`StoreError::Missing`] for one that is closed or has proved its
    /// address; and for one that may log in, unless something better than a token says whose the address is.
    Claimed,
    /// It was there, and may log in from now on; nothing else changes.
    Admitted,
    /// It stays as it is. An invitation and an identity need one that may log in and has proved its address, an identity
    /// one that is no operator's; otherwise [`StoreError::Missing`].
    Kept,
}

/// An arrival.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who.
    pub user: UserRow,
    /// What becomes of the account.
    pub account: Account,
    /// Who that is at a provider.
    pub identity: Option<Identity>,
    /// What is used up. Fails with [`StoreError::Missing`] when it is gone.
    pub consumed: Consumed,
    /// An invitation that is used up, likewise.
    pub invite: Option<InviteId>,
    /// Where.
    pub place: Place,
    /// When.
    pub now: Timestamp,
    /// The most users.
    pub users_max: u32,
    /// The most tenants.
    pub tenants_max: u32,
    /// The most places on the waiting list.
    pub waiting_max: u32,
    /// Credit for a tenant that is made.
    pub credit: Option<Movement>,
    /// What the trail says of it.
    pub trail: Vec<TrailRow>,
    /// Makes the call repeatable.
    pub once: Option<Once>,
}

/// A name that no tenant has: this one, or this one with a number behind it.
fn free_name(connection: &Connection, wanted: &TenantName, tenant: TenantId) -> Result<TenantName, StoreError> {
    const TRIES: u32 = 20;
    const ROOM: usize = 60;
    let stem: String = wanted.as_str().chars().take(ROOM).collect();
    let id = tenant.to_string();
    let names = std::iter::once(wanted.as_str().to_owned()).chain((2..TRIES).map(|n| format!("{stem}-{n}")));
    for name in names.chain(std::iter::once(format!("{stem}-{}", &id[id.len() - 10..]))) {
        if count(connection, "SELECT count(*) AS count FROM tenants WHERE name = ?1", [&name])? == 0 {
            return name.parse().map_err(|error| crate::columns::corrupt("name", error));
        }
    }
    Err(StoreError::Exists(wanted.to_string()))
}

fn place(connection: &Connection, arrival: &Arrival) -> Result<(), StoreError> {
    let (user, now) = (arrival.user.id, arrival.now);
    match &arrival.place {
        Place::Nowhere => Ok(()),
        Place::Tenant(tenant, role) => users::join(connection, *tenant, user, *role, now),
        Place::NewTenant(tenant) => {
            if count(connection, "SELECT count(*) AS count FROM tenants", [])? >= arrival.tenants_max {
                return Err(StoreError::LimitReached { limit: arrival.tenants_max });
            }
            let name = free_name(connection, &tenant.name, tenant.id)?;
            tenants::insert(connection, &TenantRow { name, ..tenant.clone() })?;
            if let Some(credit) = &arrival.credit {
                apply(connection, credit)?;
            }
            users::join(connection, tenant.id, user, Role::Owner, now)
        }
        Place::Waiting(row) => {
            invites::check_room(connection, arrival.waiting_max)?;
            invites::wait(connection, row)
        }
    }
}

fn claim(connection: &Connection, arrival: &Arrival) -> Result<(), StoreError> {
    let sql = "UPDATE users SET name = ?2, password_hash = ?3, verified_at = coalesce(verified_at, ?4), address_proved = ?5 \
               WHERE id = ?1 AND closed = 0 AND address_proved = 0 AND (verified_at IS NULL OR (?6 AND operator = 0))";
    let user = &arrival.user;
    let may_be_open = user.address_proved && !matches!(arrival.consumed, Consumed::Token(_));
    let verified = user.verified_at.map(Timestamp::unix_ms);
    let row = params![user.id.to_string(), user.name, user.password_hash, verified, user.address_proved, may_be_open];
    change_one(connection, sql, row)?;
    users::take_over(connection, user.id, arrival.now)
}

fn admit(connection: &Connection, user: &UserRow) -> Result<(), StoreError> {
    let sql = "UPDATE users SET verified_at = coalesce(verified_at, ?2), closed = 0 WHERE id = ?1";
    change_one(connection, sql, params![user.id.to_string(), user.verified_at.map(Timestamp::unix_ms)])?;
    connection.prepare_cached("DELETE FROM tokens WHERE user_id = ?1 AND purpose = 'verify'")?.execute([user.id.to_string()])?;
    Ok(())
}

fn check_kept(connection: &Connection, arrival: &Arrival) -> Result<(), StoreError> {
    let (links, user) = (arrival.identity.is_some(), arrival.user.id.to_string());
    if !links && arrival.invite.is_none() {
        return Ok(());
    }
    let sql = "SELECT count(*) AS count FROM users WHERE id = ?1 AND verified_at IS NOT NULL AND address_proved = 1 \
               AND (operator = 0 OR NOT ?2)";
    if count(connection, sql, params![user, links])? == 0 { Err(StoreError::Missing) } else { Ok(()) }
}

impl Store {
    /// Writes an arrival, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when a token, a place on the list or an invitation is used up, or the account is not what
    /// it must be, [`StoreError::Exists`] when somebody has the address or the identity, [`StoreError::LimitReached`],
    /// [`StoreError::KeyReused`].
    pub fn arrive(&self, arrival: &Arrival) -> Result<Created<UserId>, StoreError> {
        self.write(Durability::Full, |transaction| {
            if let Some(id) = earlier(transaction, arrival.once.as_ref())? {
                return Ok(Created::Before(id));
            }
            match &arrival.consumed {
                Consumed::Nothing => {}
                Consumed::Token(hash) => tokens::consume(transaction, hash, TokenPurpose::Verify, arrival.now)?,
                Consumed::Waiting(id) => invites::admit(transaction, *id)?,
            }
            if let Some(invite) = arrival.invite {
                invites::consume(transaction, invite, arrival.now)?;
            }
            match arrival.account {
                Account::New => users::insert(transaction, &arrival.user, arrival.users_max)?,
                Account::Claimed => claim(transaction, arrival)?,
                Account::Admitted => admit(transaction, &arrival.user)?,
                Account::Kept => check_kept(transaction, arrival)?,
            }
            if let Some(identity) = &arrival.identity {
                users::link(transaction, identity, arrival.user.id, arrival.now)?;
            }
            place(transaction, arrival)?;
            note(transaction, arrival.once.as_ref(), &arrival.user.id)?;
            trail::insert(transaction, &arrival.trail)?;
            Ok(Created::New)
        })
    }
}
