//! The table of roles and scopes: what each may do in its own tenant, and that nobody may do anything in another.

use std::sync::Arc;

use freehold_control::auth::{TenantCaller, UserCaller, permit};
use freehold_control::{Action, Actor, KeyOwner, Tenancy};
use freehold_domain::{KeyId, Role, Scope, TenantId, UserId};
use uuid::Uuid;

use crate::code;

fn tenancy(n: u128) -> Tenancy {
    Tenancy { tenant: TenantId::from_uuid(Uuid::from_u128(n)), tenant_name: format!("t{n}").parse().expect("a name"), weight: 100 }
}

fn user(role: Option<Role>) -> Actor {
    let membership = role.map(|role| (tenancy(1), role));
    let email = "a@example.org".parse().expect("an address");
    Actor::User(Arc::new(UserCaller { user: UserId::from_uuid(Uuid::from_u128(7)), email, membership }))
}

fn key(scopes: &[Scope]) -> Actor {
    let key = KeyId::from_uuid(Uuid::from_u128(9));
    Actor::Tenant(Arc::new(TenantCaller { tenancy: tenancy(1), key, models: None, scopes: Some(scopes.to_vec()), expires_at: None }))
}

#[test]
fn roles_and_scopes() {
    let model = "m".parse().expect("a name");
    let own = tenancy(1).tenant;
    let (me, you) = (UserId::from_uuid(Uuid::from_u128(7)), UserId::from_uuid(Uuid::from_u128(8)));
    let other_key = KeyId::from_uuid(Uuid::from_u128(10));
    let owner = KeyOwner::Tenant(own);
    // For owner, developer, billing, viewer; for keys with inference, read, manage. `y`: may.
    for (action, expected) in [
        (Action::UseModel(&model), "yy-- y--"),
        (Action::UseResponses(own), "yy-- y--"),
        (Action::SeeModel(&model), "yyyy yyy"),
        (Action::ManageModels, "---- ---"),
        (Action::ManageOperations, "---- ---"),
        (Action::SeeService, "---- ---"),
        (Action::ManageTenants, "---- ---"),
        (Action::ManageUsers, "---- ---"),
        (Action::ManagePrices, "---- ---"),
        (Action::SeeTenant(own), "yyyy -yy"),
        (Action::ChangeTenant(own), "y--- ---"),
        (Action::SeeKeys(owner), "yyyy -yy"),
        // A key with scopes makes no key, and changes only itself.
        (Action::CreateKey(owner), "yy-- ---"),
        (Action::ChangeKey(other_key, owner), "yy-- ---"),
        (Action::ChangeKey(KeyId::from_uuid(Uuid::from_u128(9)), owner), "yy-- --y"),
        (Action::SeeMembers(own), "yyyy -yy"),
        (Action::ManageMembers(own), "y--- ---"),
        (Action::RemoveMember(own, me), "yyyy ---"),
        (Action::RemoveMember(own, you), "y--- ---"),
        (Action::SeeTrail(own), "yyyy -yy"),
        (Action::SeeBilling(own), "yyyy -yy"),
        (Action::ManageBilling(own), "y-y- ---"),
    ] {
        let roles: String = Role::ALL.iter().map(|role| mark(&user(Some(*role)), action)).collect();
        let scopes: String = Scope::ALL.iter().map(|scope| mark(&key(&[*scope]), action)).collect();
        assert_eq!(format!("{roles} {scopes}"), expected, "{action:?}");
        assert_eq!(code(permit(&user(None), action)), "permission_denied", "without a tenant: {action:?}");
    }
}

fn mark(actor: &Actor, action: Action<'_>) -> char {
    match code(permit(actor, action)) {
        "ok" => 'y',
        "permission_denied" => '-',
        other => panic!("{action:?}: {other}"),
    }
}

#[test]
fn another_tenant_does_not_exist() {
    let theirs = tenancy(2).tenant;
    let owner = KeyOwner::Tenant(theirs);
    let me = UserId::from_uuid(Uuid::from_u128(7));
    for action in [
        Action::SeeTenant(theirs),
        Action::UseResponses(theirs),
        Action::ChangeTenant(theirs),
        Action::SeeKeys(owner),
        Action::CreateKey(owner),
        Action::ChangeKey(KeyId::from_uuid(Uuid::from_u128(9)), owner),
        Action::SeeMembers(theirs),
        Action::ManageMembers(theirs),
        Action::RemoveMember(theirs, me),
        Action::SeeTrail(theirs),
        Action::SeeBilling(theirs),
        Action::ManageBilling(theirs),
        Action::SeeKeys(KeyOwner::Operator),
        Action::ChangeKey(KeyId::from_uuid(Uuid::from_u128(9)), KeyOwner::Operator),
    ] {
        for actor in Role::ALL.iter().map(|role| user(Some(*role))).chain(Scope::ALL.iter().map(|scope| key(&[*scope]))) {
            assert_eq!(code(permit(&actor, action)), "not_found", "{action:?} by {actor:?}");
        }
    }
}
