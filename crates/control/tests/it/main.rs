//! The use cases, without HTTP and without an engine: one data directory and one clock a test.

mod adapters;
mod auth;
mod billing;
mod bootstrap;
mod gguf;
mod invoices;
mod isolation;
mod keys;
mod models;
mod people;
mod roles;
mod tenants;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use freehold_control::bootstrap::{Credentials, Start};
use freehold_control::clock::Clock;
use freehold_control::keys::{KeyWithSecret, NewKey};
use freehold_control::{Actor, BillingSettings, Control, PeopleSettings, Settings, StorageSettings};
use freehold_domain::{Error, Timestamp};
use tempfile::TempDir;

/// A clock that moves when it is told to.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(1_700_000_000_000))
    }

    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

/// A service that was started for the first time.
pub(crate) struct Fixture {
    pub(crate) control: Control,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) credentials: Credentials,
    pub(crate) operator: Actor,
    pub(crate) main: Actor,
    pub(crate) dir: TempDir,
}

pub(crate) fn settings(dir: &TempDir) -> Settings {
    Settings {
        data_dir: dir.path().join("data"),
        memory_budget_bytes: 1 << 30,
        hf_endpoint: "http://127.0.0.1:9".to_owned(),
        hf_token: None,
        starter_file: None,
        task_threads: Some(1),
        people: PeopleSettings::default(),
        billing: BillingSettings::default(),
        storage: StorageSettings::default(),
    }
}

pub(crate) fn open(dir: &TempDir, clock: &Arc<HandClock>) -> Control {
    Control::open(settings(dir), Arc::clone(clock) as Arc<dyn Clock>).expect("opens")
}

/// Opens again what the service before has just let go of: its thread may still be on its way out.
pub(crate) fn reopen(dir: &TempDir, clock: &Arc<HandClock>) -> Control {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match Control::open(settings(dir), Arc::clone(clock) as Arc<dyn Clock>) {
            Ok(control) => return control,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// A service that may send alerts to this machine.
pub(crate) async fn fixture_in(dir: TempDir, webhook_private: bool) -> Fixture {
    let clock = Arc::new(HandClock::new());
    let billing = BillingSettings { webhook_private, ..BillingSettings::default() };
    let settings = Settings { billing, ..settings(&dir) };
    let control = Control::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).expect("opens");
    started(control, clock, dir).await
}

pub(crate) async fn fixture() -> Fixture {
    fixture_with(PeopleSettings::default()).await
}

pub(crate) async fn fixture_with(people: PeopleSettings) -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(HandClock::new());
    let settings = Settings { people, ..settings(&dir) };
    let control = Control::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).expect("opens");
    started(control, clock, dir).await
}

pub(crate) async fn started(control: Control, clock: Arc<HandClock>, dir: TempDir) -> Fixture {
    let Start::First(credentials) = control.bootstrap("http://127.0.0.1:8080").await.expect("starts") else { panic!("a new directory") };
    let operator = control.authenticate(&credentials.operator_key).await.expect("the operator");
    let main = control.authenticate(&credentials.key).await.expect("the tenant");
    Fixture { control, clock, credentials, operator, main, dir }
}

impl Fixture {
    pub(crate) async fn tenant(&self, name: &str) -> Actor {
        let new = serde_json::from_value(serde_json::json!({ "name": name })).expect("a request");
        self.control.create_tenant(&self.operator, new, None).await.expect("created");
        let key = self.key_for(name).await;
        self.actor(&key).await
    }

    pub(crate) async fn key_for(&self, tenant: &str) -> KeyWithSecret {
        self.key(NewKey { name: "k".to_owned(), tenant: Some(tenant.to_owned()), ..NewKey::default() }).await
    }

    pub(crate) async fn key(&self, new: NewKey) -> KeyWithSecret {
        self.control.create_key(&self.operator, new, None).await.expect("created")
    }

    pub(crate) async fn actor(&self, key: &KeyWithSecret) -> Actor {
        self.control.authenticate(&key.secret).await.expect("a good key")
    }
}

/// The code of an error that must be there.
pub(crate) fn code<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => error.code.as_str(),
    }
}
