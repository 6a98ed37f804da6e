//! API keys: create, list, show.

use freehold_control::keys::{KEYS_MAX, KeyKind, KeyState, NewKey, Rotation};
use freehold_control::once::IdempotencyKey;
use freehold_control::page::PageRequest;

use crate::{code, fixture};

fn new(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), ..NewKey::default() }
}

#[tokio::test]
async fn the_secret_is_shown_once_and_never_written_down() {
    let made = fixture().await;
    let key = made.control.create_key(&made.main, new("laptop"), None).await.expect("created");
    assert_eq!((key.key.kind, key.key.state), (KeyKind::Tenant, KeyState::Active));
    assert!(!format!("{key:?}").contains(&key.secret));
    let shown = serde_json::to_string(&made.control.key(&made.main, &key.key.id.to_string()).await.expect("there")).expect("JSON");
    assert!(!shown.contains(&key.secret[30..60]), "{shown}");
    let data = made.dir.path().join("data");
    for entry in std::fs::read_dir(data).expect("the data directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).unwrap_or_default();
        assert!(!bytes.windows(40).any(|window| window == &key.secret.as_bytes()[30..70]));
    }
}

#[tokio::test]
async fn a_repeated_call_gives_the_same_key_and_secret() {
    let made = fixture().await;
    let once = IdempotencyKey::parse("again").expect("a key");
    let first = made.control.create_key(&made.main, new("k"), Some(&once)).await.expect("created");
    assert_eq!(made.control.create_key(&made.main, new("k"), Some(&once)).await.expect("repeated"), first);
    assert_eq!(code(made.control.create_key(&made.main, new("other"), Some(&once)).await), "conflict");
    // Another caller's key of the same text is another key.
    let other = made.tenant("other").await;
    let theirs = made.control.create_key(&other, new("k"), Some(&once)).await.expect("created");
    assert_ne!(theirs.key.id, first.key.id);
    // Later the secret is gone from memory, and the answer says what to do.
    made.clock.advance_ms(10 * 60 * 1000);
    let late = made.control.create_key(&made.main, new("k"), Some(&once)).await.expect_err("too late");
    assert!(late.message.contains(&first.key.id.to_string()) && late.message.contains("Rotate"), "{}", late.message);
    assert_eq!(made.control.list_keys(&made.main, None, &PageRequest::default()).await.expect("keys").data.len(), 2);
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let made = fixture().await;
    let past = made.control.now();
    let models = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    for (new_key, param) in [
        (new(""), "name"),
        (new(" a"), "name"),
        (new("a\nb"), "name"),
        (new(&"x".repeat(97)), "name"),
        (NewKey { expires_at: Some(past), ..new("k") }, "expires_at"),
        (NewKey { models: models(&[]), ..new("k") }, "models"),
        (NewKey { models: models(&["good", "b/d"]), ..new("k") }, "models[1]"),
        (NewKey { models: models(&["x"; 101]), ..new("k") }, "models"),
    ] {
        let error = made.control.create_key(&made.main, new_key.clone(), None).await.expect_err(param);
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some(param)), "{new_key:?}");
    }
    assert_eq!(code(made.control.create_key(&made.operator, new("whose"), None).await), "invalid_request");
    let both = NewKey { operator: true, tenant: Some("main".to_owned()), ..new("k") };
    assert_eq!(code(made.control.create_key(&made.operator, both, None).await), "invalid_request");
    let grace = Rotation { grace_s: u32::MAX };
    assert_eq!(code(made.control.rotate_key(&made.main, &made.main.key().expect("a key").to_string(), grace).await), "invalid_request");
}

#[tokio::test]
async fn a_tenant_has_at_most_a_thousand() {
    let made = fixture().await;
    for n in 1..KEYS_MAX {
        made.control.create_key(&made.main, new(&format!("k{n}")), None).await.expect("created");
    }
    let error = made.control.create_key(&made.main, new("one more"), None).await.expect_err("full");
    assert!(error.message.contains("1000"), "{}", error.message);
    let page = made.control.list_keys(&made.main, None, &PageRequest { limit: Some(1000), after: None }).await.expect("keys");
    assert_eq!((page.data.len(), page.next), (1000, None));
    made.control.revoke_key(&made.main, &page.data[1].id.to_string()).await.expect("revoked");
    made.control.create_key(&made.main, new("one more"), None).await.expect("room again");
}

#[tokio::test]
async fn a_limited_key_manages_no_key_but_itself() {
    let made = fixture().await;
    let expires_at = Some(made.control.now().plus_ms(60_000));
    for limits in [NewKey { models: Some(vec!["m".to_owned()]), ..new("by model") }, NewKey { expires_at, ..new("by time") }] {
        let key = made.control.create_key(&made.main, limits, None).await.expect("created");
        let limited = made.actor(&key).await;
        assert_eq!(code(made.control.create_key(&limited, new("k"), None).await), "permission_denied");
        let other = made.main.key().expect("a key").to_string();
        assert_eq!(code(made.control.rotate_key(&limited, &other, Rotation::default()).await), "permission_denied");
        assert_eq!(code(made.control.revoke_key(&limited, &other).await), "permission_denied");
        let own = key.key.id.to_string();
        let rotated = made.control.rotate_key(&limited, &own, Rotation::default()).await.expect("itself");
        assert_eq!((rotated.key.models, rotated.key.expires_at), (key.key.models, key.key.expires_at));
        assert_eq!(made.control.revoke_key(&limited, &own).await.expect("itself").state, KeyState::Revoked);
    }
}

#[tokio::test]
async fn the_last_operator_key_stays() {
    let made = fixture().await;
    let first = made.operator.key().expect("a key").to_string();
    assert_eq!(code(made.control.revoke_key(&made.operator, &first).await), "conflict");
    let second = made.control.create_key(&made.operator, NewKey { operator: true, ..new("second") }, None).await.expect("created");
    assert!(second.secret.starts_with("fho-"));
    made.control.revoke_key(&made.operator, &first).await.expect("another is there");
    assert_eq!(code(made.control.authenticate(&made.credentials.operator_key).await), "invalid_api_key");
}
