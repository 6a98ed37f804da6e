//! What every store must do, whatever is behind it: functions over a [`Store`], run against each.

use std::collections::HashMap;

use freehold_domain::{AdapterId, KeyId, ModelId, OperationId, TenantId};
use freehold_store::{
    AdapterRow, Created, Failure, IDEMPOTENCY_KEPT_MS, KeyOwner, KeyRow, KeySecret, ModelRow, Once, OperationRow, OperationState, Outcome,
    PreviousHash, Store, StoreError, UpstreamRow,
};

use crate::{at, fixture, tenant, uuid};

#[test]
fn sqlite_conforms() {
    for suite in [tenants, keys, key_limits, operator_keys, idempotency, upstreams, models_and_adapters, operations, operation_retention] {
        let made = fixture();
        suite(&made.store);
        made.store.check().expect("sound");
    }
}

fn key(n: u64, owner: KeyOwner) -> KeyRow {
    KeyRow {
        id: KeyId::from_uuid(uuid(n)),
        owner,
        name: format!("key {n}"),
        secret: KeySecret { hash: [n as u8; 32], hint: "fh-0…abcd".to_owned() },
        previous: None,
        models_json: Some("[\"a\"]".to_owned()),
        scopes_json: None,
        user_id: None,
        created_at: at(n as i64),
        expires_at: Some(at(1_000_000)),
        revoked_at: None,
        last_used_at: None,
    }
}

fn once(key: &str, request: u8, ms: i64) -> Once {
    Once { scope: "test".to_owned(), key: key.to_owned(), request_hash: [request; 32], now: at(ms) }
}

fn model(n: u64, name: &str) -> ModelRow {
    ModelRow {
        id: ModelId::from_uuid(uuid(n)),
        name: name.parse().expect("a name"),
        path: format!("/models/{name}/model.gguf"),
        original_path: Some(format!("/models/{name}/original.gguf")),
        sha256: "0".repeat(64),
        size_bytes: 98_000_000,
        source: "hf:owner/repo".to_owned(),
        licence: Some("apache-2.0".to_owned()),
        architecture: "llama".to_owned(),
        parameter_count: 134_515_008,
        quantization: "Q4_1".to_owned(),
        context_length: 2048,
        chat_template: true,
        kv_bytes_per_token: 23_040,
        measurements_json: "[]".to_owned(),
        pinned: false,
        added_at: at(n as i64),
    }
}

fn operation(n: u64, subject: &str) -> OperationRow {
    OperationRow {
        id: OperationId::from_uuid(uuid(n)),
        kind: "add_model".to_owned(),
        subject: subject.to_owned(),
        state: OperationState::Pending,
        progress_permille: 0,
        step: "waiting".to_owned(),
        result_json: None,
        failure: None,
        created_at: at(n as i64),
        updated_at: at(n as i64),
    }
}

fn tenants(store: &Store) {
    let rows: Vec<_> = (1..=5).map(|n| tenant(n, &format!("tenant-{n}"))).collect();
    for row in &rows {
        assert_eq!(store.create_tenant(row, 5, None).expect("created"), Created::New);
    }
    assert_eq!(store.tenant(rows[2].id).expect("read").as_ref(), Some(&rows[2]));
    assert_eq!(store.tenant_by_name(&"TENANT-3".parse().expect("a name")).expect("read").as_ref(), Some(&rows[2]));
    assert_eq!(store.tenants(None, 2).expect("read"), rows[..2]);
    assert_eq!(store.tenants(Some(rows[1].id), 10).expect("read"), rows[2..]);

    let one_more = tenant(9, "x");
    assert!(matches!(store.create_tenant(&one_more, 5, None), Err(StoreError::LimitReached { limit: 5 })));
    assert!(matches!(store.create_tenant(&tenant(9, "Tenant-1"), 9, None), Err(StoreError::Exists(_))));

    let renamed = "other".parse().expect("a name");
    store.update_tenant(rows[0].id, Some(&renamed), None, None).expect("changed");
    store.update_tenant(rows[0].id, None, Some(7), None).expect("changed");
    let changed = store.tenant(rows[0].id).expect("read").expect("there");
    assert_eq!((changed.name, changed.weight), (renamed, 7));
    assert!(matches!(store.update_tenant(rows[0].id, Some(&rows[1].name), Some(7), None), Err(StoreError::Exists(_))));
    assert!(matches!(store.update_tenant(one_more.id, Some(&one_more.name), Some(7), None), Err(StoreError::Missing)));
}

fn keys(store: &Store) {
    let (a, b) = (tenant(1, "a"), tenant(2, "b"));
    store.create_tenant(&a, 9, None).expect("created");
    store.create_tenant(&b, 9, None).expect("created");
    let rows = [key(1, KeyOwner::Tenant(a.id)), key(2, KeyOwner::Tenant(b.id)), key(3, KeyOwner::Operator), key(4, KeyOwner::Tenant(a.id))];
    for row in &rows {
        assert_eq!(store.create_key(row, 9, None).expect("created"), Created::New);
        assert_eq!(store.key(row.id).expect("read").as_ref(), Some(row));
    }
    assert_eq!(store.keys(None, None, 9).expect("read"), rows);
    assert_eq!(store.keys(Some(KeyOwner::Tenant(a.id)), None, 9).expect("read"), [rows[0].clone(), rows[3].clone()]);
    assert_eq!(store.keys(Some(KeyOwner::Tenant(a.id)), Some(rows[0].id), 9).expect("read"), [rows[3].clone()]);
    assert_eq!(store.keys(Some(KeyOwner::Operator), None, 9).expect("read"), [rows[2].clone()]);
    assert_eq!(store.key_with_tenant(rows[1].id).expect("read"), Some((rows[1].clone(), Some(b.clone()))));
    assert_eq!(store.key_with_tenant(rows[2].id).expect("read"), Some((rows[2].clone(), None)));
    let stranger = KeyOwner::Tenant(TenantId::from_uuid(uuid(99)));
    assert!(matches!(store.create_key(&key(9, stranger), 9, None), Err(StoreError::NoParent)));

    let fresh = KeySecret { hash: [77; 32], hint: "new".to_owned() };
    store.rotate_key(rows[0].id, &fresh, Some(at(500)), None, None).expect("rotated");
    let rotated = store.key(rows[0].id).expect("read").expect("there");
    assert_eq!(rotated.secret, fresh);
    assert_eq!(rotated.previous, Some(PreviousHash { hash: [1; 32], valid_until: at(500) }));
    store.rotate_key(rows[0].id, &rows[0].secret, None, None, None).expect("rotated");
    assert_eq!(store.key(rows[0].id).expect("read").expect("there").previous, None);

    store.revoke_key(rows[0].id, at(10), None).expect("revoked");
    store.revoke_key(rows[0].id, at(20), None).expect("again");
    assert_eq!(store.key(rows[0].id).expect("read").expect("there").revoked_at, Some(at(10)));
    assert!(matches!(store.rotate_key(rows[0].id, &fresh, None, None, None), Err(StoreError::Missing)));
    assert!(matches!(store.revoke_key(KeyId::from_uuid(uuid(99)), at(1), None), Err(StoreError::Missing)));

    store.touch_keys(&HashMap::from([(rows[1].id, at(50))])).expect("touched");
    store.touch_keys(&HashMap::from([(rows[1].id, at(40)), (rows[2].id, at(40))])).expect("touched");
    let used = |row: &KeyRow| store.key(row.id).expect("read").expect("there").last_used_at;
    assert_eq!((used(&rows[1]), used(&rows[2]), used(&rows[3])), (Some(at(50)), Some(at(40)), None));
}

fn key_limits(store: &Store) {
    let a = tenant(1, "a");
    store.create_tenant(&a, 9, None).expect("created");
    let owner = KeyOwner::Tenant(a.id);
    for n in 1..=3 {
        store.create_key(&key(n, owner), 3, None).expect("created");
    }
    assert!(matches!(store.create_key(&key(4, owner), 3, None), Err(StoreError::LimitReached { limit: 3 })));
    assert_eq!(store.create_key(&key(5, KeyOwner::Operator), 3, None).expect("another owner"), Created::New);
    // Keys that are dead do not count, and are forgotten, oldest first, once there are more than the limit.
    for n in 10..20 {
        let last = store.keys(Some(owner), None, 99).expect("read").pop().expect("a key");
        store.revoke_key(last.id, at(n as i64), None).expect("revoked");
        store.create_key(&key(n, owner), 3, None).expect("created");
    }
    let rows = store.keys(Some(owner), None, 99).expect("read");
    assert_eq!(rows.iter().filter(|row| row.revoked_at.is_none()).count(), 3);
    assert!(rows.iter().filter(|row| row.revoked_at.is_some()).count() <= 4, "{}", rows.len());
}

fn operator_keys(store: &Store) {
    assert!(!store.has_operator().expect("read"));
    let forever = |n| KeyRow { expires_at: None, ..key(n, KeyOwner::Operator) };
    let (main, first) = (tenant(1, "main"), [forever(1), key(2, KeyOwner::Tenant(tenant(1, "main").id))]);
    assert!(store.bootstrap(&main, &first).expect("written"));
    assert!(!store.bootstrap(&tenant(2, "other"), &[forever(3)]).expect("not again"));
    assert!(store.has_operator().expect("read"));
    assert_eq!(store.keys(None, None, 9).expect("read"), first);

    store.create_key(&key(4, KeyOwner::Operator), 9, None).expect("one that expires");
    assert!(matches!(store.revoke_key(first[0].id, at(5), None), Err(StoreError::LastOperator)));
    store.create_key(&forever(5), 9, None).expect("created");
    store.revoke_key(first[0].id, at(5), None).expect("another stays");
    assert!(matches!(store.revoke_key(KeyId::from_uuid(uuid(5)), at(5), None), Err(StoreError::LastOperator)));
}

fn idempotency(store: &Store) {
    let first = tenant(1, "a");
    assert_eq!(store.create_tenant(&first, 9, Some(&once("k", 1, 0))).expect("made"), Created::New);
    assert_eq!(store.create_tenant(&tenant(2, "a"), 9, Some(&once("k", 1, 5))).expect("again"), Created::Before(first.id));
    assert!(matches!(store.create_tenant(&tenant(2, "b"), 9, Some(&once("k", 2, 5))), Err(StoreError::KeyReused)));
    let elsewhere = Once { scope: "other".to_owned(), ..once("k", 2, 5) };
    assert_eq!(store.create_tenant(&tenant(3, "c"), 9, Some(&elsewhere)).expect("another caller"), Created::New);
    // A call that failed may be repeated.
    assert!(store.create_tenant(&tenant(4, "c"), 9, Some(&once("l", 1, 5))).is_err());
    assert_eq!(store.create_tenant(&tenant(4, "d"), 9, Some(&once("l", 3, 6))).expect("made"), Created::New);
    let late = once("k", 2, IDEMPOTENCY_KEPT_MS + 100);
    assert_eq!(store.create_tenant(&tenant(5, "e"), 9, Some(&late)).expect("forgotten"), Created::New);
}

fn upstreams(store: &Store) {
    let row = UpstreamRow {
        id: ModelId::from_uuid(uuid(1)),
        name: "far".parse().expect("a name"),
        url: "http://gpu1:8000/v1".to_owned(),
        model: "big".to_owned(),
        provider: "upstream".to_owned(),
        sealed_key: Some(vec![0, 255, 7]),
        ca_pem: None,
        context_length: 4096,
        parallel_max: 8,
        queue_max: 0,
        cache_salt: true,
        added_at: at(1),
    };
    let ask = |n: u64, name: &str| {
        let asked = operation(n, name);
        store.create_operation(&asked, 9, None).expect("created");
        asked.id
    };
    let first = ask(1, "far");
    store.create_upstream(&row, first, "{}", at(9)).expect("added");
    assert_eq!(store.upstream(&"FAR".parse().expect("a name")).expect("read").as_ref(), Some(&row));
    assert_eq!(store.upstreams().expect("read"), std::slice::from_ref(&row));
    assert!(!format!("{row:?}").contains("255"), "sealed or not, a key is not for logs");

    // The names of both kinds are one set.
    let second = ask(2, "Far");
    assert!(matches!(store.create_model(&model(2, "Far"), second, "{}", at(9)), Err(StoreError::Exists(_))));
    let other = UpstreamRow { id: ModelId::from_uuid(uuid(3)), ..row.clone() };
    assert!(matches!(store.create_upstream(&other, second, "{}", at(9)), Err(StoreError::Exists(_))));
    store.delete_upstream(row.id, None).expect("removed");
    assert!(matches!(store.delete_upstream(row.id, None), Err(StoreError::Missing)));
    store.create_model(&model(2, "Far"), second, "{}", at(9)).expect("the name is free");
    let third = ask(3, "far");
    assert!(matches!(store.create_upstream(&other, third, "{}", at(9)), Err(StoreError::Exists(_))));
    assert!(matches!(
        store.create_upstream(&UpstreamRow { name: "new".parse().expect("a name"), ..other }, first, "{}", at(9)),
        Err(StoreError::Missing)
    ));
}

fn models_and_adapters(store: &Store) {
    let row = model(1, "smol");
    let asked = operation(1, "smol");
    store.create_operation(&asked, 9, None).expect("created");
    store.create_model(&row, asked.id, "{}", at(9)).expect("added");
    assert_eq!(store.operation(asked.id).expect("read").expect("there").state, OperationState::Done);
    assert_eq!(store.model(&"SMOL".parse().expect("a name")).expect("read").as_ref(), Some(&row));

    // An operation that has ended adds nothing.
    assert!(matches!(store.create_model(&model(2, "other"), asked.id, "{}", at(9)), Err(StoreError::Missing)));
    assert_eq!(store.models().expect("read"), std::slice::from_ref(&row));
    let second = operation(2, "Smol");
    store.create_operation(&second, 9, None).expect("created");
    assert!(matches!(store.create_model(&model(2, "Smol"), second.id, "{}", at(9)), Err(StoreError::Exists(_))));
    assert_eq!(store.operation(second.id).expect("read").expect("there").state, OperationState::Pending);

    store.pin_model(row.id, true, None).expect("pinned");
    assert!(store.model(&row.name).expect("read").expect("there").pinned);

    let adapter = |n: u64, name: &str| AdapterRow {
        id: AdapterId::from_uuid(uuid(n)),
        model_id: row.id,
        name: name.parse().expect("a name"),
        path: "/a.gguf".to_owned(),
        sha256: "1".repeat(64),
        size_bytes: 5,
        added_at: at(1),
    };
    assert_eq!(store.create_adapter(&adapter(1, "poet"), 2, None).expect("added"), Created::New);
    assert!(matches!(store.create_adapter(&adapter(2, "Poet"), 2, None), Err(StoreError::Exists(_))));
    store.create_adapter(&adapter(2, "clerk"), 2, None).expect("added");
    assert!(matches!(store.create_adapter(&adapter(3, "third"), 2, None), Err(StoreError::LimitReached { .. })));
    assert_eq!(store.adapters(row.id).expect("read"), [adapter(2, "clerk"), adapter(1, "poet")]);
    store.delete_adapter(adapter(2, "clerk").id, None).expect("removed");
    assert!(matches!(store.delete_adapter(adapter(2, "clerk").id, None), Err(StoreError::Missing)));
    assert_eq!(store.all_adapters().expect("read"), [adapter(1, "poet")]);

    store.delete_model(row.id, None).expect("removed");
    assert!(store.models().expect("read").is_empty() && store.all_adapters().expect("read").is_empty());
    assert!(matches!(store.create_adapter(&adapter(4, "late"), 2, None), Err(StoreError::NoParent)));
}

fn operations(store: &Store) {
    let first = operation(1, "m");
    assert_eq!(store.create_operation(&first, 9, Some(&once("k", 1, 0))).expect("created"), Created::New);
    assert_eq!(store.create_operation(&operation(2, "m"), 9, Some(&once("k", 1, 0))).expect("again"), Created::Before(first.id));
    assert!(matches!(store.create_operation(&operation(2, "M"), 9, None), Err(StoreError::Exists(_))), "one at a time");
    store.create_operation(&operation(3, "n"), 9, None).expect("another subject");

    store.update_operation(first.id, 420, "downloading", at(5)).expect("noted");
    let running = store.operation(first.id).expect("read").expect("there");
    assert_eq!((running.state, running.progress_permille, running.step.as_str()), (OperationState::Running, 420, "downloading"));

    let failure = Failure { code: "unavailable".to_owned(), message: "no network".to_owned() };
    store.finish_operation(first.id, &Outcome::Failed(failure.clone()), at(6)).expect("ended");
    let failed = store.operation(first.id).expect("read").expect("there");
    assert_eq!((failed.state, failed.progress_permille, failed.failure), (OperationState::Failed, 420, Some(failure)));
    assert!(matches!(store.update_operation(first.id, 430, "x", at(7)), Err(StoreError::Missing)));
    assert!(matches!(store.finish_operation(first.id, &Outcome::Cancelled, at(7)), Err(StoreError::Missing)));

    store.create_operation(&operation(4, "m"), 9, None).expect("may be tried again");
    store.finish_operation(operation(3, "n").id, &Outcome::Done { result_json: "{\"a\":1}".to_owned() }, at(8)).expect("ended");
    let done = store.operation(operation(3, "n").id).expect("read").expect("there");
    assert_eq!((done.progress_permille, done.result_json.as_deref()), (1000, Some("{\"a\":1}")));
    store.finish_operation(operation(4, "m").id, &Outcome::Cancelled, at(8)).expect("ended");
    assert!(store.open_operations().expect("read").is_empty());

    let ids = |rows: Vec<OperationRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let [one, three, four] = [1, 3, 4].map(|n| OperationId::from_uuid(uuid(n)));
    assert_eq!(ids(store.operations(None, 2).expect("read")), [four, three]);
    assert_eq!(ids(store.operations(Some(three), 2).expect("read")), [one]);
}

fn operation_retention(store: &Store) {
    for n in 1..=6 {
        store.create_operation(&operation(n, "m"), 2, None).expect("created");
        store.finish_operation(OperationId::from_uuid(uuid(n)), &Outcome::Cancelled, at(9)).expect("ended");
    }
    store.create_operation(&operation(7, "m"), 2, None).expect("created");
    let kept: Vec<_> = store.operations(None, 99).expect("read").into_iter().map(|row| row.id).collect();
    assert_eq!(kept, [7, 6, 5].map(|n| OperationId::from_uuid(uuid(n))));
}
