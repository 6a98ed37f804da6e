//! API keys: create, list, show, revoke, rotate.
//!
//! **Invariant:** a secret leaves the service once, in the answer to the call that made it, and is never on its
//! disk (the first keys of a new data directory, which `credentials.json` holds for the CLI, excepted).

use freehold_domain::{Error, ErrorCode, KeyId, ModelName, Scope, TenantId, Timestamp, UserId};
use freehold_store::{Created, KeyOwner, KeyRow, KeySecret, Note, StoreError, TrailRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::auth::{Action, Actor, not_found, own_tenant, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::page::{Page, PageRequest};
use crate::secret::{Secret, SecretKind};

/// The most keys of one owner that are good at the same time.
pub const KEYS_MAX: u32 = 1000;
/// The most models on a key's list.
pub const MODELS_MAX: usize = 100;
/// The longest that a rotated key's old secret stays good: a week.
pub const GRACE_S_MAX: u32 = 7 * 24 * 60 * 60;
const NAME_CHARS_MAX: usize = 96;

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// It manages the service.
    Operator,
    /// It acts for a tenant.
    Tenant,
}

/// Whether a key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is good.
    Active,
    /// Its time is over.
    Expired,
    /// Someone ended it.
    Revoked,
}

/// A key, as it is shown: never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its id.
    #[schema(value_type = String, example = "key_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: KeyId,
    /// Whose it is.
    pub kind: KeyKind,
    /// The tenant that it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// Start and end of its secret, to recognise it by.
    pub hint: String,
    /// Whether it is good.
    pub state: KeyState,
    /// The models that it may use; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub models: Option<Vec<ModelName>>,
    /// What it is good for: `inference`, `read`, `manage`; left out: everything that a key can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub scopes: Option<Vec<Scope>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It is good before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within some seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// A key with its new secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// What to send as `Authorization: Bearer`. Keep it: it cannot be shown again.
    pub secret: String,
}

impl std::fmt::Debug for KeyWithSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyWithSecret").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A key to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What people call it: 1 to 96 characters.
    #[schema(min_length = 1, max_length = 96, example = "backend")]
    pub name: String,
    /// The tenant that it acts for, by id or name. A tenant's own when a tenant asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Make it an operator key instead.
    #[serde(default)]
    pub operator: bool,
    /// The models that it may use, at most 100; left out: all, also those that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    pub models: Option<Vec<String>>,
    /// What it is good for: `inference` (let models compute), `read` (see what the tenant has), `manage` (manage keys);
    /// left out: everything that a key can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// It is good before this time; left out: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// How to rotate a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How many seconds the old secret stays good, at most a week; 0 when it is left out.
    #[serde(default)]
    #[schema(maximum = 604800)]
    pub grace_s: u32,
}

/// The models on a stored key's list.
pub(crate) fn allow_list(row: &KeyRow) -> Result<Option<Vec<ModelName>>, Error> {
    let read = |json: &String| serde_json::from_str(json);
    row.models_json.as_ref().map(read).transpose().map_err(|error| Error::internal(format!("the model list of {}: {error}", row.id)))
}

/// What a stored key is good for.
pub(crate) fn scopes(row: &KeyRow) -> Result<Option<Vec<Scope>>, Error> {
    let read = |json: &String| serde_json::from_str(json);
    row.scopes_json.as_ref().map(read).transpose().map_err(|error| Error::internal(format!("the scopes of {}: {error}", row.id)))
}

fn view(row: KeyRow, now: Timestamp) -> Result<KeyView, Error> {
    let models = allow_list(&row)?;
    let scopes = scopes(&row)?;
    let state = if row.revoked_at.is_some() {
        KeyState::Revoked
    } else if row.expires_at.is_some_and(|at| at <= now) {
        KeyState::Expired
    } else {
        KeyState::Active
    };
    let (kind, tenant) = match row.owner {
        KeyOwner::Operator => (KeyKind::Operator, None),
        KeyOwner::Tenant(id) => (KeyKind::Tenant, Some(id)),
    };
    Ok(KeyView {
        id: row.id,
        kind,
        tenant,
        name: row.name,
        hint: row.secret.hint,
        state,
        models,
        scopes,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    })
}

fn read_name(name: &str) -> Result<(), Error> {
    let chars = name.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control) && name.trim() == name {
        Ok(())
    } else {
        let message = format!("The name of a key is 1 to {NAME_CHARS_MAX} characters, without control characters or spaces at its ends.");
        Err(Error::invalid("name", message))
    }
}

fn read_models(models: &[String]) -> Result<Vec<ModelName>, Error> {
    if models.is_empty() || models.len() > MODELS_MAX {
        return Err(Error::invalid("models", format!("`models` names 1 to {MODELS_MAX} models; leave it out for all.")));
    }
    let read = |(index, name): (usize, &String)| {
        name.parse().map_err(|error| Error::invalid(format!("models[{index}]"), format!("{error}. Adapters come with their model.")))
    };
    models.iter().enumerate().map(read).collect()
}

fn read_scopes(scopes: &[String]) -> Result<Vec<Scope>, Error> {
    if scopes.is_empty() || scopes.len() > Scope::ALL.len() {
        return Err(Error::invalid("scopes", "`scopes` names 1 to 3 of inference, read and manage; leave it out for all."));
    }
    let read =
        |(index, word): (usize, &String)| word.parse().map_err(|error| Error::invalid(format!("scopes[{index}]"), format!("{error}.")));
    scopes.iter().enumerate().map(read).collect()
}

/// A new key for an owner, with its secret. Also used for the first keys.
pub(crate) fn make(control: &Control, owner: KeyOwner, name: &str, now: Timestamp) -> Result<(KeyRow, Secret), Error> {
    let id = KeyId::from_uuid(control.new_uuid());
    let secret = new_secret(id, owner)?;
    let row = KeyRow {
        id,
        owner,
        name: name.to_owned(),
        secret: stored(&secret),
        previous: None,
        models_json: None,
        scopes_json: None,
        user_id: None,
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    Ok((row, secret))
}

fn new_secret(id: KeyId, owner: KeyOwner) -> Result<Secret, Error> {
    let kind = match owner {
        KeyOwner::Operator => SecretKind::Operator,
        KeyOwner::Tenant(_) => SecretKind::Tenant,
    };
    Secret::generate(kind, id).map_err(|error| Error::internal(format!("no randomness for a secret: {error}")))
}

fn stored(secret: &Secret) -> KeySecret {
    KeySecret { hash: secret.hash(), hint: secret.hint() }
}

impl Control {
    /// Creates a key. Its secret is in the answer and cannot be had again.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `permission_denied`, `conflict` at the limit of keys,
    /// `invalid_request`.
    pub async fn create_key(&self, actor: &Actor, new: NewKey, once: Option<&IdempotencyKey>) -> Result<KeyWithSecret, Error> {
        let owner = self.owner_of_new(actor, &new).await?;
        permit(actor, Action::CreateKey(owner))?;
        read_name(&new.name)?;
        let now = self.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid("expires_at", "`expires_at` must be in the future."));
        }
        let models = new.models.as_deref().map(read_models).transpose()?;
        let scopes = new.scopes.as_deref().map(read_scopes).transpose()?;
        if owner == KeyOwner::Operator && (models.is_some() || scopes.is_some()) {
            let param = if models.is_some() { "models" } else { "scopes" };
            return Err(Error::invalid(param, "An operator key does not use models and has no scopes: leave `models` and `scopes` out."));
        }
        let (mut row, secret) = make(self, owner, &new.name, now)?;
        row.expires_at = new.expires_at;
        row.user_id = self.shown_to(actor).await?;
        row.models_json = models.map(|models| serde_json::to_string(&models)).transpose().map_err(Error::internal)?;
        row.scopes_json = scopes.map(|scopes| serde_json::to_string(&scopes)).transpose().map_err(Error::internal)?;
        let event = self.key_event(actor, &row, "key.created");
        let remember = once.is_some();
        let once = once.map(|once| once.once(actor, "create_key", &new, now)).transpose()?;
        if remember {
            // Before the row can be found by a repeated call.
            self.shared.shown.keep(row.id, secret.clone(), now);
        }
        let created = {
            let row = row.clone();
            self.store(move |store| store.create_key(&row, KEYS_MAX, Note { once: once.as_ref(), trail: Some(&event) })).await
        };
        if !matches!(created, Ok(Created::New)) {
            self.shared.shown.forget(row.id);
        }
        match created? {
            Created::New => Ok(KeyWithSecret { key: view(row, now)?, secret: secret.reveal().to_owned() }),
            Created::Before(id) => self.shown_again(id, now).await,
        }
    }

    /// The user who gets to see a secret: who is logged in, or who was shown the key that is used.
    async fn shown_to(&self, actor: &Actor) -> Result<Option<UserId>, Error> {
        match (actor.user(), actor.key()) {
            (Some(user), _) => Ok(Some(user)),
            (None, Some(key)) => Ok(self.store(move |store| store.key(key)).await?.and_then(|row| row.user_id)),
            (None, None) => Ok(None),
        }
    }

    async fn owner_of_new(&self, actor: &Actor, new: &NewKey) -> Result<KeyOwner, Error> {
        match (new.operator, &new.tenant, actor) {
            (true, Some(_), _) => Err(Error::invalid("tenant", "An operator key belongs to no tenant: leave out `tenant` or `operator`.")),
            (true, None, _) => Ok(KeyOwner::Operator),
            (false, Some(text), _) => Ok(KeyOwner::Tenant(self.visible_tenant(actor, text).await?.id)),
            (false, None, Actor::Operator { .. }) => Err(Error::invalid("tenant", "Say for which tenant the key is, by id or name.")),
            (false, None, Actor::Tenant(_) | Actor::User(_)) => own_tenant(actor).map(KeyOwner::Tenant),
        }
    }

    async fn shown_again(&self, id: KeyId, now: Timestamp) -> Result<KeyWithSecret, Error> {
        let row = self.store(move |store| store.key(id)).await?;
        match (row, self.shared.shown.find(id, now)) {
            (Some(row), Some(secret)) => Ok(KeyWithSecret { key: view(row, now)?, secret: secret.reveal().to_owned() }),
            _ => {
                let message = format!("This call made the key {id} before; its secret is not shown again. Rotate the key for a new one.");
                Err(Error::new(ErrorCode::Conflict, message))
            }
        }
    }

    /// The keys of a tenant (by id or name), oldest first. Without one: a tenant's own, or all for an operator.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `invalid_request` for a bad page.
    pub async fn list_keys(&self, actor: &Actor, tenant: Option<&str>, page: &PageRequest) -> Result<Page<KeyView>, Error> {
        let (limit, after) = page.read::<KeyId>()?;
        let owner = match (tenant, actor) {
            (Some(text), _) => Some(KeyOwner::Tenant(self.visible_tenant(actor, text).await?.id)),
            (None, Actor::Operator { .. }) => None,
            (None, Actor::Tenant(_) | Actor::User(_)) => Some(KeyOwner::Tenant(own_tenant(actor)?)),
        };
        permit(actor, Action::SeeKeys(owner.unwrap_or(KeyOwner::Operator)))?;
        let now = self.now();
        let rows = self.store(move |store| store.keys(owner, after, limit + 1)).await?;
        let page = Page::of(rows, limit, |row| row.id.to_string(), |row| view(row, now));
        Ok(Page { data: page.data.into_iter().collect::<Result<_, _>>()?, next: page.next })
    }

    /// One key.
    ///
    /// # Errors
    /// `not_found` when there is none that the actor may see.
    pub async fn key(&self, actor: &Actor, id: &str) -> Result<KeyView, Error> {
        let row = self.visible_key(actor, id).await?;
        view(row, self.now())
    }

    /// Ends a key: the next request with its secret is refused. Revoking it again changes nothing.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, and `conflict` for the last operator key.
    pub async fn revoke_key(&self, actor: &Actor, id: &str) -> Result<KeyView, Error> {
        let row = self.visible_key(actor, id).await?;
        permit(actor, Action::ChangeKey(row.id, row.owner))?;
        let (id, now) = (row.id, self.now());
        let event = self.key_event(actor, &row, "key.revoked");
        let revoked = self.store(move |store| store.revoke_key(id, now, Some(&event))).await;
        self.shared.keys.forget(id);
        self.shared.shown.forget(id);
        revoked?;
        view(KeyRow { revoked_at: row.revoked_at.or(Some(now)), ..row }, now)
    }

    /// Gives a key a new secret; the old one stays good for the grace period.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `conflict` for a key that is revoked or has expired, `invalid_request`.
    pub async fn rotate_key(&self, actor: &Actor, id: &str, rotation: Rotation) -> Result<KeyWithSecret, Error> {
        let row = self.visible_key(actor, id).await?;
        permit(actor, Action::ChangeKey(row.id, row.owner))?;
        if rotation.grace_s > GRACE_S_MAX {
            return Err(Error::invalid("grace_s", format!("`grace_s` is at most {GRACE_S_MAX}, not {}.", rotation.grace_s)));
        }
        let now = self.now();
        if row.expires_at.is_some_and(|at| at <= now) {
            return Err(ended());
        }
        let secret = new_secret(row.id, row.owner)?;
        let valid_until = (rotation.grace_s > 0).then(|| now.plus_ms(i64::from(rotation.grace_s) * 1000));
        let (id, kept) = (row.id, stored(&secret));
        let event = self.key_event(actor, &row, "key.rotated");
        let user = self.shown_to(actor).await?;
        let rotated = self.store(move |store| store.rotate_key(id, &kept, valid_until, user, Some(&event))).await;
        self.shared.keys.forget(id);
        self.shared.shown.forget(id);
        rotated.map_err(|error| if matches!(error, StoreError::Missing) { ended() } else { error.into() })?;
        let key = view(KeyRow { secret: stored(&secret), ..row }, now)?;
        Ok(KeyWithSecret { key, secret: secret.reveal().to_owned() })
    }

    fn key_event(&self, actor: &Actor, row: &KeyRow, kind: &str) -> TrailRow {
        let tenant = match row.owner {
            KeyOwner::Operator => None,
            KeyOwner::Tenant(tenant) => Some(tenant),
        };
        self.event(Some(&actor.by()), tenant, kind, &row.id.to_string(), json!({"name": row.name}))
    }

    async fn visible_key(&self, actor: &Actor, id: &str) -> Result<KeyRow, Error> {
        let id: KeyId = id.parse().map_err(|_| not_found("key"))?;
        let row = self.store(move |store| store.key(id)).await?.ok_or_else(|| not_found("key"))?;
        permit(actor, Action::SeeKeys(row.owner))?;
        Ok(row)
    }
}

fn ended() -> Error {
    Error::new(ErrorCode::Conflict, "This key was revoked or has expired: create a new one.")
}
