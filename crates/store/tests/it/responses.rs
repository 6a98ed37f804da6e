//! Stored responses: the sums are exact whatever happens, chains are walked within bounds, and nobody sees another's.

use std::collections::HashMap;

use freehold_domain::{KeyId, ResponseId, TenantId};
use freehold_store::{Chain, ChainMax, Freed, ResponseHead, ResponseRow, StorageMax, Store, StoreError};

use crate::{at, fixture, tenant, uuid};

const ANY: StorageMax = StorageMax { tenant: u64::MAX, key: None };
/// More bytes than are stored.
const ALL: u64 = u64::MAX;
const CHAIN: ChainMax = ChainMax { links: 8, bytes: 10_000 };

fn a() -> TenantId {
    TenantId::from_uuid(uuid(1))
}

fn b() -> TenantId {
    TenantId::from_uuid(uuid(2))
}

fn key(n: u64) -> KeyId {
    KeyId::from_uuid(uuid(100 + n))
}

fn id(n: u64) -> ResponseId {
    ResponseId::from_uuid(uuid(n))
}

fn row(n: u64, tenant_id: TenantId, previous: Option<u64>, size: usize) -> ResponseRow {
    let response_json = format!(r#"{{"output":[{{"text":"answer {n}"}}],"tools":["{}"]}}"#, "x".repeat(size));
    let input_json = format!(r#"[{{"text":"question {n}"}}]"#);
    let head = ResponseHead {
        id: id(n),
        tenant_id,
        key_id: None,
        previous_id: previous.map(id),
        model: "m".to_owned(),
        created_at: at(n as i64),
        expires_at: at(1000),
        bytes: (response_json.len() + input_json.len()) as u64,
    };
    ResponseRow { head, response_json, input_json }
}

fn with_key(mut row: ResponseRow, n: u64) -> ResponseRow {
    row.head.key_id = Some(key(n));
    row
}

fn sums(store: &Store, tenant: TenantId) -> (u64, u64) {
    (store.stored_bytes(tenant, None).expect("read"), store.stored_bytes(tenant, Some(key(1))).expect("read"))
}

#[test]
fn sqlite_conforms() {
    for suite in [puts_and_deletes, limits, chains, lists, expiry, any_order] {
        let made = fixture();
        for (n, name) in [(1, "a"), (2, "b")] {
            made.store.create_tenant(&tenant(n, name), 10, None).expect("created");
        }
        suite(&made.store);
        made.store.check().expect("sound");
    }
}

fn puts_and_deletes(store: &Store) {
    let first = with_key(row(5, a(), None, 10), 1);
    store.put_response(&first, ANY).expect("stored");
    assert_eq!(store.response(a(), id(5), at(0)).expect("read"), Some(first.clone()));
    assert_eq!(store.response(b(), id(5), at(0)).expect("read"), None, "another tenant's");
    assert_eq!(sums(store, a()), (first.head.bytes, first.head.bytes));
    assert_eq!(store.stored_bytes(b(), Some(key(1))).expect("read"), 0, "another tenant's key");
    assert!(matches!(store.put_response(&first, ANY), Err(StoreError::Exists(_))));
    assert!(matches!(store.put_response(&row(6, TenantId::from_uuid(uuid(9)), None, 1), ANY), Err(StoreError::NoParent)));
    assert_eq!(sums(store, a()), (first.head.bytes, first.head.bytes), "what failed left nothing");
    assert_eq!(store.delete_response(b(), id(5)).expect("written"), None);
    let freed = Freed { tenant_id: a(), key_id: Some(key(1)), bytes: first.head.bytes };
    assert_eq!(store.delete_response(a(), id(5)).expect("written"), Some(freed));
    assert_eq!(store.delete_response(a(), id(5)).expect("written"), None);
    assert_eq!(sums(store, a()), (0, 0));
}

fn limits(store: &Store) {
    let one = with_key(row(1, a(), None, 10), 1);
    let size = one.head.bytes;
    let max = |tenant, key| StorageMax { tenant, key };
    assert!(matches!(store.put_response(&one, max(size - 1, None)), Err(StoreError::StorageFull { .. })));
    assert!(matches!(store.put_response(&one, max(size, Some(size - 1))), Err(StoreError::StorageFull { .. })));
    assert_eq!((sums(store, a()), store.response(a(), id(1), at(0)).expect("read")), ((0, 0), None), "all or nothing");
    store.put_response(&one, max(size, Some(size))).expect("it fits exactly");
    assert!(matches!(store.put_response(&row(2, a(), None, 10), max(2 * size - 1, None)), Err(StoreError::StorageFull { .. })));
    store.put_response(&row(2, a(), None, 10), max(2 * size, Some(0))).expect("the key's limit is the key's");
    store.put_response(&row(3, b(), None, 10), max(size, None)).expect("a tenant's limit is the tenant's");
}

fn chains(store: &Store) {
    for n in 1..=8 {
        store.put_response(&row(n, a(), (n > 1).then(|| n - 1), 10), ANY).expect("stored");
    }
    let Chain::Whole(links) = store.response_chain(a(), id(8), at(0), CHAIN).expect("read") else { panic!("a whole chain") };
    assert_eq!((links.len(), links[0].input_json.as_str()), (8, r#"[{"text":"question 1"}]"#));
    assert_eq!(links[7].output_json, r#"[{"text":"answer 8"}]"#, "what was asked with is not part of the conversation");
    let chain = |tenant, last, max| store.response_chain(tenant, id(last), at(0), max).expect("read");
    assert_eq!(chain(a(), 8, ChainMax { links: 7, ..CHAIN }), Chain::TooLong);
    assert_eq!(chain(a(), 8, ChainMax { bytes: 100, ..CHAIN }), Chain::TooLong);
    assert_eq!((chain(b(), 8, CHAIN), chain(a(), 99, CHAIN)), (Chain::Broken, Chain::Broken));
    assert_eq!(store.response_chain(a(), id(8), at(1000), CHAIN).expect("read"), Chain::Broken, "expired");
    // What a response repeats of its request counts too, since it has to be read.
    store.put_response(&row(9, a(), Some(8), 20_000), ANY).expect("stored");
    assert_eq!(chain(a(), 9, CHAIN), Chain::TooLong);
    let has = |tenant| store.has_response(tenant, id(9)).expect("read");
    assert_eq!((has(a()), has(b())), (true, false));
    store.put_response(&row(20, b(), Some(8), 10), ANY).expect("stored");
    assert_eq!(chain(b(), 20, CHAIN), Chain::Broken, "a chain does not lead into another tenant's");
    store.delete_response(a(), id(3)).expect("deleted");
    assert_eq!(chain(a(), 8, CHAIN), Chain::Broken);
    assert!(matches!(chain(a(), 2, CHAIN), Chain::Whole(links) if links.len() == 2));
    // No row can be made to name itself or a later one; were there one, the walk would end all the same.
    store.put_response(&row(30, a(), Some(30), 10), ANY).expect("stored");
    assert_eq!(chain(a(), 30, CHAIN), Chain::TooLong);
}

fn lists(store: &Store) {
    for n in 1..=5 {
        store.put_response(&row(n, a(), None, 10), ANY).expect("stored");
    }
    store.put_response(&row(6, b(), None, 10), ANY).expect("stored");
    let ids = |before: Option<u64>, limit| {
        let rows = store.responses(a(), before.map(id), at(0), limit).expect("read");
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 3), [id(5), id(4), id(3)]);
    assert_eq!(ids(Some(3), 9), [id(2), id(1)]);
    assert!(store.responses(a(), None, at(1000), 9).expect("read").is_empty(), "expired");
    let (mut after, mut seen) = (None, Vec::new());
    while let Some(row) = store.response_after(a(), after, at(0)).expect("read") {
        after = Some(row.head.id);
        seen.push(row.head.id);
    }
    assert_eq!(seen, (1..=5).map(id).collect::<Vec<_>>());
}

fn expiry(store: &Store) {
    for n in 1..=5 {
        let mut row = with_key(row(n, a(), None, 10), 1);
        row.head.expires_at = at(n as i64);
        store.put_response(&row, ANY).expect("stored");
    }
    assert_eq!(store.response(a(), id(3), at(3)).expect("read"), None, "gone at its time, swept up or not");
    assert!(store.forget_responses(at(0), 9, ALL).expect("written").is_empty());
    assert_eq!(store.forget_responses(at(1), 9, 1).expect("written").len(), 1);
    store.put_response(&with_key(row(6, a(), None, 10), 1), ANY).expect("stored");
    assert_eq!(store.forget_responses(at(3), 9, 1).expect("written").len(), 1, "the bytes are reached with the first");
    assert_eq!(store.forget_responses(at(3), 9, ALL).expect("written").len(), 1);
    assert_eq!(store.forget_responses(at(5), 1, ALL).expect("written").len(), 1);
    let left: u64 = store.responses(a(), None, at(0), 9).expect("read").iter().map(|row| row.bytes).sum();
    assert_eq!(sums(store, a()), (left, left));
}

/// Puts, deletes, expiries and refusals in an order that nobody chose: the sums are those of the rows.
fn any_order(store: &Store) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut rows: HashMap<u64, ResponseRow> = HashMap::new();
    for n in 1..=600 {
        let tenant = if next(2) == 0 { a() } else { b() };
        match next(10) {
            0..=5 => {
                let mut row = row(n, tenant, None, next(3000) as usize);
                // A key belongs to one tenant.
                row.head.key_id = (next(3) > 0).then(|| key(if tenant == a() { 1 } else { 2 }));
                row.head.expires_at = at(n as i64 + next(200) as i64);
                let max = StorageMax { tenant: 60_000, key: Some(40_000) };
                match store.put_response(&row, max) {
                    Ok(()) => drop(rows.insert(n, row)),
                    Err(StoreError::StorageFull { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            6..=8 => {
                let wanted = next(n + 1);
                let freed = store.delete_response(tenant, id(wanted)).expect("written");
                let mine = rows.get(&wanted).is_some_and(|row| row.head.tenant_id == tenant);
                assert_eq!(freed.map(|freed| freed.bytes), mine.then(|| rows[&wanted].head.bytes));
                if mine {
                    rows.remove(&wanted);
                }
            }
            _ => {
                let (now, limit) = (at(n as i64), next(20) as u32);
                let expired = rows.values().filter(|row| row.head.expires_at <= now).count();
                let freed = store.forget_responses(now, limit, ALL).expect("written");
                assert_eq!(freed.len(), expired.min(limit as usize));
                let kept = |n: &u64| store.response(rows[n].head.tenant_id, id(*n), at(0)).expect("read").is_some();
                let left: Vec<u64> = rows.keys().copied().filter(kept).collect();
                rows.retain(|n, _| left.contains(n));
            }
        }
        for (tenant, key) in [(a(), key(1)), (b(), key(2))] {
            let of = |wanted: Option<KeyId>| {
                let mine = rows.values().filter(|row| row.head.tenant_id == tenant && (wanted.is_none() || row.head.key_id == wanted));
                mine.map(|row| row.head.bytes).sum::<u64>()
            };
            let stored = |key| store.stored_bytes(tenant, key).expect("read");
            assert_eq!((stored(None), stored(Some(key))), (of(None), of(Some(key))), "after step {n}");
            assert!(stored(None) <= 60_000 && stored(Some(key)) <= 40_000);
        }
    }
    assert!(rows.len() > 5, "something is left: {}", rows.len());
}
