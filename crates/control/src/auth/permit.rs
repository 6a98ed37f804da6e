//! Who may do what: one table.
//!
//! An action is first put into words that know nothing of callers: whose it is, and which right it takes. Then it is
//! seen whether the caller belongs there, and whether its role or scopes give the right.
//!
//! **Invariant:** what belongs to another tenant is answered with "not found", whatever the right.

use freehold_domain::{Error, ErrorCode, KeyId, ModelName, Role, Scope, TenantId, UserId};
use freehold_store::KeyOwner;

use super::{Actor, TenantCaller, UserCaller, model_not_found, not_found};

/// Something that a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Let a model compute.
    UseModel(&'a ModelName),
    /// Read, go on from, list, export and delete the stored responses of a tenant.
    UseResponses(TenantId),
    /// See a model in a list, or what is known of it.
    SeeModel(&'a ModelName),
    /// Add, remove, pin and unpin models and adapters.
    ManageModels,
    /// See and cancel operations.
    ManageOperations,
    /// See what runs where: workers, memory, devices.
    SeeService,
    /// List all tenants, create them, change what they are entitled to.
    ManageTenants,
    /// See all users and the waiting list, make operators, verify addresses, invite to the service.
    ManageUsers,
    /// Set prices, top credit up, run invoices.
    ManagePrices,
    /// See one tenant.
    SeeTenant(TenantId),
    /// Change a tenant's name.
    ChangeTenant(TenantId),
    /// See the keys of an owner.
    SeeKeys(KeyOwner),
    /// Create a key for an owner.
    CreateKey(KeyOwner),
    /// Revoke or rotate a key.
    ChangeKey(KeyId, KeyOwner),
    /// See who is in a tenant.
    SeeMembers(TenantId),
    /// Invite to a tenant, change roles, see and take back invitations.
    ManageMembers(TenantId),
    /// Take a member out of a tenant; everybody may take out themselves.
    RemoveMember(TenantId, UserId),
    /// See what was done in a tenant.
    SeeTrail(TenantId),
    /// See usage, balance, limits and invoices of a tenant.
    SeeBilling(TenantId),
    /// Change limits and budgets of a tenant, redeem vouchers.
    ManageBilling(TenantId),
}

/// What the actions of a tenant take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see what the tenant has.
    Read,
    /// To let models compute.
    UseModels,
    /// To create and end keys.
    Keys,
    /// To change what is spent.
    Billing,
    /// To say who belongs to the tenant and what it is called.
    Members,
}

/// The table: which roles have a right.
const ROLES: &[(Right, &[Role])] = &[
    (Right::Read, &[Role::Owner, Role::Developer, Role::Billing, Role::Viewer]),
    (Right::UseModels, &[Role::Owner, Role::Developer]),
    (Right::Keys, &[Role::Owner, Role::Developer]),
    (Right::Billing, &[Role::Owner, Role::Billing]),
    (Right::Members, &[Role::Owner]),
];

/// The same for keys. A developer makes keys, so no key can do what a developer cannot.
const SCOPES: &[(Right, &[Scope])] = &[
    (Right::Read, &[Scope::Read, Scope::Manage]),
    (Right::UseModels, &[Scope::Inference]),
    (Right::Keys, &[Scope::Manage]),
    (Right::Billing, &[]),
    (Right::Members, &[]),
];

impl Right {
    fn roles(self) -> &'static [Role] {
        ROLES.iter().find(|(right, _)| *right == self).map_or(&[], |(_, roles)| roles)
    }

    fn scopes(self) -> &'static [Scope] {
        SCOPES.iter().find(|(right, _)| *right == self).map_or(&[], |(_, scopes)| scopes)
    }
}

/// An action, in words that know nothing of callers.
enum Demand<'a> {
    /// Only who manages the service.
    Operator,
    /// A right in a tenant; what to say does not exist to who is not of the tenant.
    Tenant(TenantId, Right, &'static str),
    /// Nobody's: a model.
    Model(&'a ModelName, Right),
    /// An operator's key, seen from a tenant: it does not exist.
    Hidden(&'static str),
}

fn demand(action: Action<'_>) -> Demand<'_> {
    match action {
        Action::UseModel(model) => Demand::Model(model, Right::UseModels),
        Action::SeeModel(model) => Demand::Model(model, Right::Read),
        Action::UseResponses(tenant) => Demand::Tenant(tenant, Right::UseModels, "response"),
        Action::ManageModels
        | Action::ManageOperations
        | Action::SeeService
        | Action::ManageTenants
        | Action::ManageUsers
        | Action::ManagePrices
        | Action::CreateKey(KeyOwner::Operator) => Demand::Operator,
        Action::SeeTenant(tenant) | Action::SeeTrail(tenant) | Action::SeeBilling(tenant) => Demand::Tenant(tenant, Right::Read, "tenant"),
        Action::SeeMembers(tenant) => Demand::Tenant(tenant, Right::Read, "user"),
        Action::ChangeTenant(tenant) => Demand::Tenant(tenant, Right::Members, "tenant"),
        Action::ManageMembers(tenant) | Action::RemoveMember(tenant, _) => Demand::Tenant(tenant, Right::Members, "user"),
        Action::ManageBilling(tenant) => Demand::Tenant(tenant, Right::Billing, "tenant"),
        Action::SeeKeys(KeyOwner::Tenant(tenant)) => Demand::Tenant(tenant, Right::Read, "key"),
        Action::ChangeKey(_, KeyOwner::Tenant(tenant)) => Demand::Tenant(tenant, Right::Keys, "key"),
        Action::CreateKey(KeyOwner::Tenant(tenant)) => Demand::Tenant(tenant, Right::Keys, "tenant"),
        Action::SeeKeys(KeyOwner::Operator) | Action::ChangeKey(_, KeyOwner::Operator) => Demand::Hidden("key"),
    }
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
                Err(denied("An operator manages the service and does not use models: use a tenant's API key (`freehold key create`)."))
            }
            Action::UseResponses(_) => {
                Err(denied("What a tenant has stored is its own: be a member of it (owner or developer), or use its API key."))
            }
            _ => Ok(()),
        },
        Actor::Tenant(caller) => permit_key(caller, action),
        Actor::User(caller) => permit_user(caller, action),
    }
}

fn permit_key(caller: &TenantCaller, action: Action<'_>) -> Result<(), Error> {
    let has = |right: Right| right.scopes().iter().any(|scope| caller.has(*scope));
    match demand(action) {
        Demand::Operator => Err(needs_operator()),
        Demand::Hidden(what) => Err(not_found(what)),
        Demand::Model(model, _) if !caller.allows(model) => Err(model_not_found(model.as_str())),
        // Who may use a model may see it.
        Demand::Model(_, Right::Read) if has(Right::UseModels) => Ok(()),
        Demand::Tenant(tenant, _, what) if tenant != caller.tenancy.tenant => Err(not_found(what)),
        Demand::Model(_, right) | Demand::Tenant(_, right, _) if !has(right) => Err(lacks_scope(right)),
        Demand::Tenant(..) if is_kept_from(caller, action) => {
            Err(denied("A key with an end, scopes or a list of models manages no key but itself: use one without."))
        }
        Demand::Model(..) | Demand::Tenant(..) => Ok(()),
    }
}

/// A limited key must not make or get at a key that is less limited.
fn is_kept_from(caller: &TenantCaller, action: Action<'_>) -> bool {
    match action {
        Action::CreateKey(_) => caller.is_limited(),
        Action::ChangeKey(key, _) => caller.is_limited() && key != caller.key,
        _ => false,
    }
}

fn permit_user(caller: &UserCaller, action: Action<'_>) -> Result<(), Error> {
    let demanded = demand(action);
    if matches!(demanded, Demand::Operator) {
        return Err(needs_operator());
    }
    let Some((tenancy, role)) = &caller.membership else {
        return Err(no_tenant());
    };
    match demanded {
        Demand::Operator => Err(needs_operator()),
        Demand::Hidden(what) => Err(not_found(what)),
        Demand::Tenant(tenant, _, what) if tenant != tenancy.tenant => Err(not_found(what)),
        Demand::Tenant(..) if matches!(action, Action::RemoveMember(_, user) if user == caller.user) => Ok(()),
        Demand::Model(_, right) | Demand::Tenant(_, right, _) if right.roles().contains(role) => Ok(()),
        Demand::Model(_, right) | Demand::Tenant(_, right, _) => {
            let takes: Vec<&str> = right.roles().iter().map(|role| role.as_str()).collect();
            Err(denied(&format!("Your role here is {role}, and this takes {}: ask an owner.", takes.join(" or "))))
        }
    }
}

fn denied(message: &str) -> Error {
    Error::new(ErrorCode::PermissionDenied, message)
}

pub(super) fn no_tenant() -> Error {
    denied("You belong to no tenant yet: wait to be admitted, or ask for an invitation.")
}

fn needs_operator() -> Error {
    denied("This takes an operator; you act for a tenant.")
}

fn lacks_scope(right: Right) -> Error {
    match right.scopes() {
        [] => denied("No API key can do this: log in as a user."),
        scopes => {
            let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
            denied(&format!("This key lacks the scope for this, which takes {}.", words.join(" or ")))
        }
    }
}
