//! Stored responses without a model: limits under many at once, chains, time.

use std::sync::atomic::{AtomicI64, Ordering};

use freehold_domain::Timestamp;
use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::bootstrap::Start;
use crate::clock::Clock;
use crate::{BillingSettings, PeopleSettings, Settings, StorageSettings};

struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

struct Fixture {
    control: Control,
    clock: Arc<HandClock>,
    main: Actor,
    operator: Actor,
    dir: TempDir,
}

fn open(dir: &TempDir, clock: &Arc<HandClock>, bytes_default: u64) -> Control {
    let settings = Settings {
        data_dir: dir.path().join("data"),
        memory_budget_bytes: 1 << 30,
        hf_endpoint: "http://127.0.0.1:9".to_owned(),
        hf_token: None,
        starter_file: None,
        task_threads: Some(1),
        people: PeopleSettings::default(),
        billing: BillingSettings::default(),
        storage: StorageSettings { bytes_default, response_days: 30 },
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        // The thread of a service before may still be on its way out.
        match Control::open(settings.clone(), Arc::clone(clock) as Arc<dyn Clock>) {
            Ok(control) => return control,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

async fn fixture(bytes_default: u64) -> Fixture {
    let (dir, clock) = (tempfile::tempdir().expect("a directory"), Arc::new(HandClock(AtomicI64::new(1_700_000_000_000))));
    let control = open(&dir, &clock, bytes_default);
    let Start::First(credentials) = control.bootstrap("http://127.0.0.1:8080").await.expect("starts") else { panic!("a new directory") };
    let main = control.authenticate(&credentials.key).await.expect("the tenant");
    let operator = control.authenticate(&credentials.operator_key).await.expect("the operator");
    Fixture { control, clock, main, operator, dir }
}

/// Stores an answer of about `size` bytes as a request would, with room for `held`.
async fn put(control: &Control, actor: &Actor, previous: Option<ResponseId>, size: usize, held: u64) -> Result<ResponseId, Error> {
    let (tenant, key) = (crate::auth::own_tenant(actor)?, actor.key());
    let place = control.hold_storage(tenant, key, held).await?;
    tokio::task::yield_now().await;
    let id = ResponseId::from_uuid(control.new_uuid());
    let response = format!(r#"{{"id":"{id}","output":[{{"type":"message","role":"assistant","content":"{}"}}]}}"#, "x".repeat(size));
    let input = r#"[{"id":"a","type":"message","role":"user","content":"y"}]"#.to_owned();
    let new = NewResponse { id, tenant, key, previous, model: "m".to_owned(), input };
    control.keep_response(new, response, place).await.map(|()| id)
}

async fn listed(fixture: &Fixture) -> StoredResponses {
    let page = PageRequest { limit: Some(1000), after: None };
    let list = fixture.control.list_responses(&fixture.main, None, &page).await.expect("a list");
    assert_eq!(list.data.iter().map(|one| one.bytes).sum::<u64>(), list.used_bytes, "the sum is that of the rows");
    list
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    result.map_or_else(|error| error.code.as_str(), |_| "ok")
}

async fn limit(fixture: &Fixture, key: bool, bytes: u64) {
    let key = key.then(|| fixture.main.key().expect("a key").to_string());
    let change = crate::billing::LimitsChange { storage_bytes: Some(bytes), ..Default::default() };
    let tenant = key.is_none().then_some("main");
    fixture.control.set_limits(&fixture.operator, tenant, key.as_deref(), change).await.expect("set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_store_what_fits() {
    let fixture = fixture(10_000).await;
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let (control, actor) = (fixture.control.clone(), fixture.main.clone());
            tokio::spawn(async move { put(&control, &actor, None, 100 + n % 400, 1000).await })
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(code(task.await.expect("a task")));
    }
    let stored = codes.iter().filter(|code| **code == "ok").count();
    assert!(codes.iter().all(|code| ["ok", "storage_exhausted"].contains(code)));
    let list = listed(&fixture).await;
    assert!((10..=40).contains(&stored) && list.data.len() == stored, "{stored}");
    assert!(list.used_bytes <= 10_000 && list.limit_bytes == 10_000, "{list:?}");
    let shelf = fixture.control.shelf(crate::auth::own_tenant(&fixture.main).expect("a tenant"), None).await.expect("a sum");
    assert_eq!((shelf.used, shelf.held), (list.used_bytes, 0), "nothing is left held");
}

#[tokio::test]
async fn limits_of_tenants_and_keys_hold_and_are_shown() {
    let fixture = fixture(1 << 20).await;
    limit(&fixture, true, 2000).await;
    put(&fixture.control, &fixture.main, None, 100, 1000).await.expect("it fits");
    let used = listed(&fixture).await.used_bytes;
    let refused = put(&fixture.control, &fixture.main, None, 100, 1900).await.expect_err("the key has no room");
    assert_eq!((refused.code.http_status(), refused.param.as_deref()), (403, Some("store")));
    assert!(refused.message.contains("The key's limit `storage_bytes` is 2000") && refused.message.contains("1900"), "{}", refused.message);
    let key = fixture.main.key().expect("a key").to_string();
    let view = fixture.control.limits(&fixture.main, None, Some(&key)).await.expect("limits");
    assert_eq!((view.limits.storage_bytes, view.in_use.storage_bytes, view.storage_bytes_default), (Some(2000), used, None));
    let view = fixture.control.limits(&fixture.main, None, None).await.expect("limits");
    assert_eq!((view.limits.storage_bytes, view.in_use.storage_bytes, view.storage_bytes_default), (None, used, Some(1 << 20)));
    limit(&fixture, false, used).await;
    assert_eq!(code(put(&fixture.control, &fixture.main, None, 1, 1).await), "storage_exhausted");
    limit(&fixture, false, 0).await;
    limit(&fixture, true, 1 << 20).await;
    assert_eq!(code(put(&fixture.control, &fixture.main, None, 1, 1).await), "storage_exhausted", "nothing may be stored");
    // A limit that is raised while an answer is made is taken over; the room that others took meanwhile does not end it.
    limit(&fixture, false, used + 1000).await;
    let (tenant, key) = (crate::auth::own_tenant(&fixture.main).expect("a tenant"), fixture.main.key());
    let place = fixture.control.hold_storage(tenant, key, 1000).await.expect("it just fits");
    limit(&fixture, false, 8000).await;
    let other = put(&fixture.control, &fixture.main, None, 2000, 2500).await.expect("there is room now");
    let new = NewResponse {
        id: ResponseId::from_uuid(fixture.control.new_uuid()),
        tenant,
        key,
        previous: None,
        model: "m".to_owned(),
        input: "[]".to_owned(),
    };
    let id = new.id;
    fixture.control.keep_response(new, "{}".to_owned(), place).await.expect("what was admitted is stored");
    for id in [id, other] {
        fixture.control.delete_response(&fixture.main, &id.to_string()).await.expect("deleted");
    }
    limit(&fixture, false, 5000).await;
    // An answer that outgrows its place takes what room there is, and no more.
    put(&fixture.control, &fixture.main, None, 1000, 10).await.expect("there is room");
    assert_eq!(code(put(&fixture.control, &fixture.main, None, 4000, 10).await), "storage_exhausted");
    assert_eq!(listed(&fixture).await.data.len(), 2);
}

#[tokio::test]
async fn what_is_deleted_or_expired_makes_room_and_is_gone() {
    let fixture = fixture(10_000).await;
    let first = put(&fixture.control, &fixture.main, None, 3000, 4000).await.expect("stored");
    let second = put(&fixture.control, &fixture.main, Some(first), 3000, 4000).await.expect("stored");
    assert_eq!(code(put(&fixture.control, &fixture.main, None, 3000, 4000).await), "storage_exhausted");
    let tenant = crate::auth::own_tenant(&fixture.main).expect("a tenant");
    let (_, messages) = fixture.control.conversation(tenant, &second.to_string()).await.expect("a conversation");
    assert_eq!(messages.len(), 4);
    fixture.control.delete_response(&fixture.main, &first.to_string()).await.expect("deleted");
    assert_eq!(code(fixture.control.delete_response(&fixture.main, &first.to_string()).await), "not_found");
    let gone = fixture.control.conversation(tenant, &second.to_string()).await.expect_err("its beginning is gone");
    assert_eq!((gone.code.as_str(), gone.param.as_deref()), ("previous_response_not_found", Some("previous_response_id")));
    put(&fixture.control, &fixture.main, None, 3000, 4000).await.expect("there is room again");

    fixture.clock.0.fetch_add(30 * DAY_MS - 1, Ordering::Relaxed);
    assert_eq!(code(fixture.control.response(&fixture.main, &second.to_string()).await), "ok");
    fixture.clock.0.fetch_add(1, Ordering::Relaxed);
    assert_eq!(code(fixture.control.response(&fixture.main, &second.to_string()).await), "not_found");
    assert_eq!(code(fixture.control.conversation(tenant, &second.to_string()).await), "previous_response_not_found");
    fixture.control.forget_responses().await.expect("forgotten");
    assert_eq!(listed(&fixture).await.used_bytes, 0);
    put(&fixture.control, &fixture.main, None, 3000, 4000).await.expect("stored");

    // After a restart the sum is what it was, and nothing is held.
    let used = listed(&fixture).await.used_bytes;
    let Fixture { control, clock, main, operator, dir } = fixture;
    drop(control);
    let again = Fixture { control: open(&dir, &clock, 10_000), clock, main, operator, dir };
    assert_eq!(listed(&again).await.used_bytes, used);
}

#[tokio::test]
async fn a_conversation_is_read_within_bounds() {
    let fixture = fixture(1 << 30).await;
    let tenant = crate::auth::own_tenant(&fixture.main).expect("a tenant");
    let mut last = None;
    for _ in 0..CHAIN_MAX.links {
        last = Some(put(&fixture.control, &fixture.main, last, 1, 1000).await.expect("stored"));
    }
    let longest = last.expect("a chain").to_string();
    assert_eq!(fixture.control.conversation(tenant, &longest).await.expect("just so").1.len(), 2 * CHAIN_MAX.links);
    let beyond = put(&fixture.control, &fixture.main, last, 1, 1000).await.expect("stored");
    let refused = fixture.control.conversation(tenant, &beyond.to_string()).await.expect_err("too long");
    assert_eq!((refused.code.as_str(), refused.message.contains("512 responses")), ("invalid_request", true));
    let large = put(&fixture.control, &fixture.main, None, 8 << 20, 16 << 20).await.expect("stored");
    assert_eq!(code(fixture.control.conversation(tenant, &large.to_string()).await), "invalid_request");
    for bad in ["", "resp_", "resp_req_1", "\u{0}", "resp_req_zzzzzzzzzzzzzzzzzzzzzzzzzz"] {
        assert_eq!(code(fixture.control.conversation(tenant, bad).await), "previous_response_not_found", "{bad}");
        assert_eq!(code(fixture.control.response(&fixture.main, bad).await), "not_found", "{bad}");
    }
}

#[tokio::test]
async fn an_export_has_a_line_for_each() {
    let fixture = fixture(1 << 30).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(put(&fixture.control, &fixture.main, None, n * 1000, 1000).await.expect("stored").to_string());
    }
    let mut pieces = std::pin::pin!(fixture.control.export_responses(&fixture.main, None).await.expect("an export"));
    let mut seen = Vec::new();
    while let Some(piece) = pieces.next().await {
        let value: Value = serde_json::from_slice(&piece.expect("a line")).expect("JSON");
        assert_eq!((value["format"].as_str(), value["input_items"][0]["id"].as_str()), (Some(FORMAT), Some("a")));
        seen.push(value["response"]["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(seen, ids);
    // Two at a time; one that has ended, or is given up, makes room.
    let one = fixture.control.export_responses(&fixture.main, None).await.expect("one");
    let _other = fixture.control.export_responses(&fixture.main, None).await.expect("another");
    let third = fixture.control.export_responses(&fixture.main, None).await.map(drop);
    assert_eq!(code(third), "rate_limited");
    drop(one);
    drop(fixture.control.export_responses(&fixture.main, None).await.expect("again"));
    assert_eq!(code(fixture.control.export_responses(&fixture.operator, Some("main")).await), "permission_denied");
    assert_eq!(code(fixture.control.export_responses(&fixture.operator, None).await), "permission_denied");
    assert_eq!(code(fixture.control.export_responses(&fixture.main, Some("nobody")).await), "not_found");
}
