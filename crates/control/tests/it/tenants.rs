//! Tenants: create, list, show, change.

use freehold_control::once::IdempotencyKey;
use freehold_control::page::PageRequest;
use freehold_control::tenants::{NewTenant, TenantChange};

use crate::{code, fixture};

fn new(name: &str) -> NewTenant {
    NewTenant { name: name.to_owned(), weight: None }
}

#[tokio::test]
async fn are_created_once() {
    let made = fixture().await;
    let key = IdempotencyKey::parse("a-key").expect("a key");
    let first = made.control.create_tenant(&made.operator, new("acme"), Some(&key)).await.expect("created");
    assert_eq!(first.weight, 100);
    let again = made.control.create_tenant(&made.operator, new("acme"), Some(&key)).await.expect("repeated");
    assert_eq!(first, again);
    assert_eq!(code(made.control.create_tenant(&made.operator, new("other"), Some(&key)).await), "conflict");
    assert_eq!(code(made.control.create_tenant(&made.operator, new("ACME"), None).await), "conflict");
    for bad in ["", "a/b", "..", "ten_01jz8v6w9qf3s8s4k2m1n0p7rt", &"x".repeat(97)] {
        let error = made.control.create_tenant(&made.operator, new(bad), None).await.expect_err(bad);
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some("name")));
    }
    let heavy = NewTenant { weight: Some(1001), ..new("heavy") };
    assert_eq!(code(made.control.create_tenant(&made.operator, heavy, None).await), "invalid_request");
    for bad in ["", " ", "ü", &"x".repeat(256)] {
        assert!(IdempotencyKey::parse(bad).is_err());
    }
}

#[tokio::test]
async fn are_listed_in_pages() {
    let made = fixture().await;
    for n in 0..4 {
        made.control.create_tenant(&made.operator, new(&format!("t{n}")), None).await.expect("created");
    }
    let mut names = Vec::new();
    let mut request = PageRequest { limit: Some(2), after: None };
    loop {
        let page = made.control.list_tenants(&made.operator, &request).await.expect("a page");
        assert!(page.data.len() <= 2);
        names.extend(page.data.into_iter().map(|tenant| tenant.name.to_string()));
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["main", "t0", "t1", "t2", "t3"]);
    for bad in [
        PageRequest { limit: Some(0), after: None },
        PageRequest { limit: Some(1001), after: None },
        PageRequest { limit: None, after: Some("x".to_owned()) },
    ] {
        assert_eq!(code(made.control.list_tenants(&made.operator, &bad).await), "invalid_request");
    }
}

#[tokio::test]
async fn a_new_weight_counts_from_the_next_request() {
    let made = fixture().await;
    let weight = async || made.control.authenticate(&made.credentials.key).await.expect("good").tenant().map(|caller| caller.weight);
    assert_eq!(weight().await, Some(100));
    let change = TenantChange { weight: Some(300), name: None };
    let changed = made.control.change_tenant(&made.operator, "main", change).await.expect("changed");
    assert_eq!((changed.weight, changed.name.as_str()), (300, "main"));
    assert_eq!(weight().await, Some(300));
    let rename = TenantChange { name: Some("home".to_owned()), weight: None };
    made.control.change_tenant(&made.operator, &changed.id.to_string(), rename).await.expect("changed");
    assert_eq!(made.control.tenant(&made.operator, "home").await.expect("there").id, changed.id);
    assert_eq!(code(made.control.tenant(&made.operator, "main").await), "not_found");
}
