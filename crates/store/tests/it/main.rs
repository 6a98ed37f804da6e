//! The store against a real database file, one data directory a test.

mod billing;
mod conformance;
mod crash;
mod people;
mod responses;
mod schema;

use freehold_domain::Timestamp;
use freehold_store::{Store, TenantRow};
use tempfile::TempDir;
use uuid::Uuid;

/// A store in a directory of its own.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
}

pub(crate) fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Fixture { store: Store::open(dir.path()).expect("a new store"), dir }
}

/// The `n`th id: ids sort by `n`.
pub(crate) fn uuid(n: u64) -> Uuid {
    Uuid::from_u128(u128::from(n))
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_700_000_000_000 + ms)
}

pub(crate) fn tenant(n: u64, name: &str) -> TenantRow {
    TenantRow {
        id: freehold_domain::TenantId::from_uuid(uuid(n)),
        name: name.parse().expect("a tenant name"),
        weight: 100,
        created_at: at(n as i64),
    }
}
