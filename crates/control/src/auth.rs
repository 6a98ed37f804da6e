//! Who is calling, and what they may do.
//!
//! **Invariant:** [`permit`] is the only place that decides what an actor may do, and what a caller may not see is
//! answered as if it did not exist.

use std::sync::Arc;

use freehold_domain::{Error, ErrorCode, KeyId, ModelName, TenantId, TenantName, Timestamp};
use freehold_store::{KeyOwner, KeyRow, PreviousHash, TenantRow};
use subtle::ConstantTimeEq;

use crate::facade::Control;
use crate::key_cache::Entry;
use crate::keys;
use crate::secret::Secret;

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Manages the service, and may act for any tenant; does not use models.
    Operator {
        /// The key that was shown.
        key: KeyId,
    },
    /// Acts for a tenant.
    Tenant(Arc<TenantCaller>),
}

/// A key that acts for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantCaller {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub tenant_name: TenantName,
    /// Its share of a busy machine, 1 to 1000.
    pub weight: u16,
    /// The key that was shown.
    pub key: KeyId,
    /// The models that the key may use; `None`: all.
    pub models: Option<Vec<ModelName>>,
    /// The key is good before this time.
    pub expires_at: Option<Timestamp>,
}

impl TenantCaller {
    fn allows(&self, model: &ModelName) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|name| name.as_str().eq_ignore_ascii_case(model.as_str())))
    }

    /// A key with an allow-list or an end must not get at a key without.
    fn is_limited(&self) -> bool {
        self.models.is_some() || self.expires_at.is_some()
    }
}

impl Actor {
    /// The key that was shown.
    pub fn key(&self) -> KeyId {
        match self {
            Actor::Operator { key } => *key,
            Actor::Tenant(caller) => caller.key,
        }
    }

    /// The tenant that is acted for.
    pub fn tenant(&self) -> Option<&TenantCaller> {
        match self {
            Actor::Operator { .. } => None,
            Actor::Tenant(caller) => Some(caller),
        }
    }
}

/// Something that a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Let a model compute.
    UseModel(&'a ModelName),
    /// See a model in a list, or what is known of it.
    SeeModel(&'a ModelName),
    /// Add, remove, pin and unpin models and adapters.
    ManageModels,
    /// See and cancel operations.
    ManageOperations,
    /// See what runs where: workers, memory, devices.
    SeeService,
    /// List all tenants, create and change them.
    ManageTenants,
    /// See one tenant.
    SeeTenant(TenantId),
    /// See the keys of an owner.
    SeeKeys(KeyOwner),
    /// Create a key for an owner.
    CreateKey(KeyOwner),
    /// Revoke or rotate a key.
    ChangeKey(KeyId, KeyOwner),
}

/// Decides whether an actor may do something.
///
/// # Errors
/// `not_found` or `model_not_found` for what the actor may not see, `permission_denied` for what it may see but
/// not do.
pub fn permit(actor: &Actor, action: Action<'_>) -> Result<(), Error> {
    match actor {
        Actor::Operator { .. } => match action {
            Action::UseModel(_) => {
                Err(denied("An operator key manages the service and does not use models: use a tenant's API key (`freehold key create`)."))
            }
            Action::SeeModel(_)
            | Action::ManageModels
            | Action::ManageOperations
            | Action::SeeService
            | Action::ManageTenants
            | Action::SeeTenant(_)
            | Action::SeeKeys(_)
            | Action::CreateKey(_)
            | Action::ChangeKey(..) => Ok(()),
        },
        Actor::Tenant(caller) => permit_tenant(caller, action),
    }
}

fn permit_tenant(caller: &TenantCaller, action: Action<'_>) -> Result<(), Error> {
    let own = KeyOwner::Tenant(caller.tenant);
    match action {
        Action::UseModel(model) | Action::SeeModel(model) if caller.allows(model) => Ok(()),
        Action::UseModel(model) | Action::SeeModel(model) => Err(model_not_found(model.as_str())),
        Action::SeeTenant(tenant) if tenant == caller.tenant => Ok(()),
        Action::SeeTenant(_) => Err(not_found("tenant")),
        Action::SeeKeys(owner) if owner == own => Ok(()),
        Action::ChangeKey(key, owner) if owner == own && (key == caller.key || !caller.is_limited()) => Ok(()),
        Action::CreateKey(owner) if owner == own && !caller.is_limited() => Ok(()),
        Action::ChangeKey(_, owner) | Action::CreateKey(owner) if owner == own => {
            Err(denied("A key with an end or a list of models manages no key but itself: use one without."))
        }
        Action::CreateKey(KeyOwner::Operator) => Err(needs_operator()),
        Action::CreateKey(KeyOwner::Tenant(_)) => Err(not_found("tenant")),
        Action::SeeKeys(_) | Action::ChangeKey(..) => Err(not_found("key")),
        Action::ManageModels | Action::ManageOperations | Action::SeeService | Action::ManageTenants => Err(needs_operator()),
    }
}

fn denied(message: &str) -> Error {
    Error::new(ErrorCode::PermissionDenied, message)
}

fn needs_operator() -> Error {
    denied("This needs an operator key; yours acts for a tenant.")
}

/// There is no such thing, or none that the caller may see.
pub fn not_found(what: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("There is no such {what}."))
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
            (KeyOwner::Operator, _) => Actor::Operator { key: row.id },
            (KeyOwner::Tenant(_), Some(tenant)) => Actor::Tenant(Arc::new(TenantCaller {
                tenant: tenant.id,
                tenant_name: tenant.name,
                weight: tenant.weight,
                key: row.id,
                models: keys::allow_list(&row)?,
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
