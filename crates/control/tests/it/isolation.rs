//! Two tenants: what is not one's own does not exist.

use freehold_control::keys::{NewKey, Rotation};
use freehold_control::page::PageRequest;
use freehold_control::tenants::{NewTenant, TenantChange};
use freehold_control::{Action, KeyOwner, auth};

use crate::{code, fixture};

fn key_of(actor: &freehold_control::Actor) -> String {
    actor.key().expect("a key").to_string()
}

#[tokio::test]
async fn a_tenant_sees_only_its_own() {
    let made = fixture().await;
    let control = &made.control;
    let (a, b) = (made.tenant("a").await, made.tenant("b").await);
    let (a_key, b_key) = (key_of(&a), key_of(&b));
    let (b_tenant, operator_key) = (b.tenant().expect("a tenant").tenant.to_string(), key_of(&made.operator));
    let page = PageRequest::default();
    let for_tenant = |tenant: &str| NewKey { name: "k".to_owned(), tenant: Some(tenant.to_owned()), ..NewKey::default() };
    let operator = NewKey { name: "k".to_owned(), operator: true, ..NewKey::default() };

    let table = [
        ("show own tenant", code(control.tenant(&a, "a").await), "ok"),
        ("show other tenant by name", code(control.tenant(&a, "b").await), "not_found"),
        ("show other tenant by id", code(control.tenant(&a, &b_tenant).await), "not_found"),
        ("show missing tenant", code(control.tenant(&a, "nobody").await), "not_found"),
        ("change own tenant", code(control.change_tenant(&a, "a", TenantChange::default()).await), "permission_denied"),
        ("change other tenant", code(control.change_tenant(&a, "b", TenantChange::default()).await), "not_found"),
        (
            "create tenant",
            code(control.create_tenant(&a, NewTenant { name: "c".to_owned(), weight: None }, None).await),
            "permission_denied",
        ),
        ("show own key", code(control.key(&a, &a_key).await), "ok"),
        ("show other key", code(control.key(&a, &b_key).await), "not_found"),
        ("show operator key", code(control.key(&a, &operator_key).await), "not_found"),
        ("show no key", code(control.key(&a, "nonsense").await), "not_found"),
        ("list other keys", code(control.list_keys(&a, Some("b"), &page).await), "not_found"),
        ("list own keys", code(control.list_keys(&a, Some("a"), &page).await), "ok"),
        ("create own key", code(control.create_key(&a, for_tenant("a"), None).await), "ok"),
        ("create other key", code(control.create_key(&a, for_tenant("b"), None).await), "not_found"),
        ("create operator key", code(control.create_key(&a, operator, None).await), "permission_denied"),
        ("rotate other key", code(control.rotate_key(&a, &b_key, Rotation::default()).await), "not_found"),
        ("rotate operator key", code(control.rotate_key(&a, &operator_key, Rotation::default()).await), "not_found"),
        ("revoke other key", code(control.revoke_key(&a, &b_key).await), "not_found"),
        ("revoke operator key", code(control.revoke_key(&a, &operator_key).await), "not_found"),
        ("operator shows any tenant", code(control.tenant(&made.operator, "b").await), "ok"),
        ("operator shows any key", code(control.key(&made.operator, &b_key).await), "ok"),
        ("operator creates any key", code(control.create_key(&made.operator, for_tenant("b"), None).await), "ok"),
        ("operator revokes any key", code(control.revoke_key(&made.operator, &b_key).await), "ok"),
    ];
    for (what, got, expected) in table {
        assert_eq!(got, expected, "{what}");
    }

    let own = control.list_keys(&a, None, &page).await.expect("keys");
    assert!(own.data.iter().all(|key| key.tenant == a.tenant().map(|caller| caller.tenant)));
    assert_eq!(own.data.len(), 2);
    let tenants = control.list_tenants(&a, &page).await.expect("tenants");
    assert_eq!(tenants.data.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(control.list_keys(&made.operator, None, &page).await.expect("keys").data.len() > 4);
}

#[tokio::test]
async fn the_table_of_permissions() {
    let made = fixture().await;
    let other = made.tenant("other").await;
    let (own, theirs) = (made.main.tenant().expect("a tenant").tenant, other.tenant().expect("a tenant").tenant);
    let model = "m".parse().expect("a name");
    let key = made.main.key().expect("a key");
    for (action, operator, tenant) in [
        (Action::UseModel(&model), "permission_denied", "ok"),
        (Action::SeeModel(&model), "ok", "ok"),
        (Action::UseResponses(own), "permission_denied", "ok"),
        (Action::UseResponses(theirs), "permission_denied", "not_found"),
        (Action::ManageModels, "ok", "permission_denied"),
        (Action::ManageOperations, "ok", "permission_denied"),
        (Action::SeeService, "ok", "permission_denied"),
        (Action::ManageTenants, "ok", "permission_denied"),
        (Action::ManageUsers, "ok", "permission_denied"),
        (Action::ManagePrices, "ok", "permission_denied"),
        (Action::ChangeTenant(own), "ok", "permission_denied"),
        (Action::ChangeTenant(theirs), "ok", "not_found"),
        (Action::SeeMembers(own), "ok", "ok"),
        (Action::SeeMembers(theirs), "ok", "not_found"),
        (Action::ManageMembers(own), "ok", "permission_denied"),
        (Action::SeeTrail(own), "ok", "ok"),
        (Action::SeeTrail(theirs), "ok", "not_found"),
        (Action::SeeBilling(own), "ok", "ok"),
        (Action::ManageBilling(own), "ok", "permission_denied"),
        (Action::ManageBilling(theirs), "ok", "not_found"),
        (Action::SeeTenant(own), "ok", "ok"),
        (Action::SeeTenant(theirs), "ok", "not_found"),
        (Action::SeeKeys(KeyOwner::Tenant(own)), "ok", "ok"),
        (Action::SeeKeys(KeyOwner::Tenant(theirs)), "ok", "not_found"),
        (Action::SeeKeys(KeyOwner::Operator), "ok", "not_found"),
        (Action::CreateKey(KeyOwner::Tenant(own)), "ok", "ok"),
        (Action::CreateKey(KeyOwner::Tenant(theirs)), "ok", "not_found"),
        (Action::CreateKey(KeyOwner::Operator), "ok", "permission_denied"),
        (Action::ChangeKey(key, KeyOwner::Tenant(own)), "ok", "ok"),
        (Action::ChangeKey(key, KeyOwner::Tenant(theirs)), "ok", "not_found"),
        (Action::ChangeKey(key, KeyOwner::Operator), "ok", "not_found"),
    ] {
        assert_eq!(code(auth::permit(&made.operator, action)), operator, "operator: {action:?}");
        assert_eq!(code(auth::permit(&made.main, action)), tenant, "tenant: {action:?}");
    }
}
