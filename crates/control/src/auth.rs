//! Who is calling, and what they may do.
//!
//! **Invariant:** [`permit`] is the only place that decides what an actor may do, and what a caller may not see is
//! answered as if it did not exist.

mod permit;

use std::sync::Arc;

use freehold_domain::{Email, Error, ErrorCode, KeyId, ModelName, Role, Scope, TenantId, TenantName, Timestamp, UserId};
use freehold_store::{KeyOwner, KeyRow, PreviousHash, TenantRow};
use subtle::ConstantTimeEq;

pub use permit::{Action, Right, permit};

use crate::facade::Control;
use crate::key_cache::Entry;
use crate::keys;
use crate::secret::Secret;

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Manages the service, and may act for any tenant; does not use models.
    Operator {
        /// The key that was shown, or the user who is logged in.
        by: By,
    },
    /// A key that acts for a tenant.
    Tenant(Arc<TenantCaller>),
    /// A user who is logged in, in one of its tenants.
    User(Arc<UserCaller>),
}

/// Whom the trail names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A key.
    Key(KeyId),
    /// A user.
    User(UserId, Email),
}

/// The tenant that is acted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub tenant_name: TenantName,
    /// Its share of a busy machine, 1 to 1000.
    pub weight: u16,
}

impl From<TenantRow> for Tenancy {
    fn from(row: TenantRow) -> Self {
        Self { tenant: row.id, tenant_name: row.name, weight: row.weight }
    }
}

/// A key that acts for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantCaller {
    /// The tenant.
    pub tenancy: Tenancy,
    /// The key that was shown.
    pub key: KeyId,
    /// The models that the key may use; `None`: all.
    pub models: Option<Vec<ModelName>>,
    /// What the key is good for; `None`: everything that a key can do.
    pub scopes: Option<Vec<Scope>>,
    /// The key is good before this time.
    pub expires_at: Option<Timestamp>,
}

/// A user who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCaller {
    /// The user.
    pub user: UserId,
    /// Its address.
    pub email: Email,
    /// The tenant that it acts for, and what it is there; `None`: it has no tenant yet.
    pub membership: Option<(Tenancy, Role)>,
}

impl TenantCaller {
    pub(crate) fn allows(&self, model: &ModelName) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|name| name.as_str().eq_ignore_ascii_case(model.as_str())))
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope))
    }

    /// A key with an allow-list, scopes or an end must not get at a key without.
    pub(crate) fn is_limited(&self) -> bool {
        self.models.is_some() || self.expires_at.is_some() || self.scopes.is_some()
    }
}

impl Actor {
    /// The key that was shown, if it was a key.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Actor::Operator { by: By::Key(key) } => Some(*key),
            Actor::Operator { by: By::User(..) } | Actor::User(_) => None,
            Actor::Tenant(caller) => Some(caller.key),
        }
    }

    /// The user who is logged in, if it is a user.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Actor::Operator { by: By::User(user, _) } => Some(*user),
            Actor::Operator { by: By::Key(_) } | Actor::Tenant(_) => None,
            Actor::User(caller) => Some(caller.user),
        }
    }

    /// Whom the trail names.
    pub fn by(&self) -> By {
        match self {
            Actor::Operator { by } => by.clone(),
            Actor::Tenant(caller) => By::Key(caller.key),
            Actor::User(caller) => By::User(caller.user, caller.email.clone()),
        }
    }

    /// The tenant that is acted for.
    pub fn tenant(&self) -> Option<&Tenancy> {
        match self {
            Actor::Operator { .. } => None,
            Actor::Tenant(caller) => Some(&caller.tenancy),
            Actor::User(caller) => caller.membership.as_ref().map(|(tenancy, _)| tenancy),
        }
    }

    /// Whether it manages the service.
    pub fn is_operator(&self) -> bool {
        matches!(self, Actor::Operator { .. })
    }
}

/// There is no such thing, or none that the caller may see.
pub fn not_found(what: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("There is no such {what}."))
}

/// The tenant of a caller who is no operator.
///
/// # Errors
/// `permission_denied` for a user who has no tenant yet.
pub fn own_tenant(actor: &Actor) -> Result<TenantId, Error> {
    let tenancy = actor.tenant().ok_or_else(permit::no_tenant)?;
    Ok(tenancy.tenant)
}

/// There is no such model, or none that the caller may see.
pub fn model_not_found(name: &str) -> Error {
    let name: String = name.chars().take(200).collect();
    Error::new(ErrorCode::ModelNotFound, format!("There is no model `{name}`, or this key may not use it.")).with_param("model")
}

/// What of a stored key matters when someone shows its secret.
#[derive(Debug)]
pub(crate) struct StoredKey {
    pub(crate) id: KeyId,
    pub(crate) actor: Actor,
    hash: [u8; 32],
    previous: Option<PreviousHash>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl StoredKey {
    fn new(row: KeyRow, tenant: Option<TenantRow>) -> Result<Self, Error> {
        let actor = match (row.owner, tenant) {
            (KeyOwner::Operator, _) => Actor::Operator { by: By::Key(row.id) },
            (KeyOwner::Tenant(_), Some(tenant)) => Actor::Tenant(Arc::new(TenantCaller {
                tenancy: tenant.into(),
                key: row.id,
                models: keys::allow_list(&row)?,
                scopes: keys::scopes(&row)?,
                expires_at: row.expires_at,
            })),
            (KeyOwner::Tenant(id), None) => return Err(Error::internal(format!("the tenant {id} of {} is gone", row.id))),
        };
        Ok(Self {
            id: row.id,
            actor,
            hash: row.secret.hash,
            previous: row.previous,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }

    /// Whether the hash is that of the secret, or of the one before it while that is good. Takes the same time for
    /// every hash.
    fn has_hash(&self, hash: &[u8; 32], now: Timestamp) -> bool {
        let current = self.hash.ct_eq(hash);
        let previous = self.previous.as_ref().filter(|previous| now < previous.valid_until);
        let before = previous.map_or(subtle::Choice::from(0), |previous| previous.hash.ct_eq(hash));
        bool::from(current | before)
    }

    fn admit(&self, hash: &[u8; 32], now: Timestamp) -> Result<Actor, Error> {
        if !self.has_hash(hash, now) {
            return Err(invalid_key());
        }
        // Only who has the secret learns why it is no longer good.
        if let Some(at) = self.revoked_at {
            return Err(Error::new(ErrorCode::InvalidApiKey, format!("This API key was revoked on {at}: use another one.")));
        }
        match self.expires_at {
            Some(at) if at <= now => Err(Error::new(ErrorCode::InvalidApiKey, format!("This API key expired on {at}: create a new one."))),
            _ => Ok(self.actor.clone()),
        }
    }
}

fn invalid_key() -> Error {
    Error::new(ErrorCode::InvalidApiKey, "The API key is wrong. Send a good one as `Authorization: Bearer fh-...`.")
}

impl Control {
    /// Finds out who shows this secret.
    ///
    /// # Errors
    /// `invalid_api_key` for a secret that is malformed, unknown, revoked or expired; which of the last three is
    /// told only to who has the secret.
    pub async fn authenticate(&self, secret: &str) -> Result<Actor, Error> {
        let secret: Secret = secret
            .trim()
            .parse()
            .map_err(|_| Error::new(ErrorCode::InvalidApiKey, "The API key is not of the right form: check that it was copied whole."))?;
        let (id, hash) = (secret.key(), secret.hash());
        let entry = match self.shared.keys.find(id) {
            Some(entry) => entry,
            None => self.read_key(id).await?.ok_or_else(invalid_key)?,
        };
        let now = self.now();
        let actor = entry.key.admit(&hash, now)?;
        entry.touch(now);
        Ok(actor)
    }

    async fn read_key(&self, id: KeyId) -> Result<Option<Arc<Entry>>, Error> {
        let generation = self.shared.keys.generation();
        let Some((row, tenant)) = self.store(move |store| store.key_with_tenant(id)).await? else { return Ok(None) };
        let entry = Arc::new(Entry::new(StoredKey::new(row, tenant)?));
        self.shared.keys.keep(id, &entry, generation);
        Ok(Some(entry))
    }

    /// Writes down when keys were last used. Called now and then, and before the service ends.
    ///
    /// # Errors
    /// When the store cannot be written; the times are then lost, which is harmless.
    pub async fn write_key_uses(&self) -> Result<(), Error> {
        let uses = self.shared.keys.take_uses();
        if uses.is_empty() {
            return Ok(());
        }
        Ok(self.store(move |store| store.touch_keys(&uses)).await?)
    }
}
