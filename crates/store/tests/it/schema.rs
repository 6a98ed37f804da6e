//! The schema: held by a committed file, never opened when it is newer, never by two services.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use freehold_store::{DATABASE_FILE, LOCK_FILE, SCHEMA_VERSION, Store, StoreError};
use rusqlite::Connection;

use crate::fixture;

#[test]
fn the_schema_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/schema_v{SCHEMA_VERSION}.sql"));
    let schema = fixture().store.schema().expect("a schema");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &schema).expect("the golden file is written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(schema, golden, "the schema changed: add a migration instead of editing one (UPDATE_GOLDEN=1 writes a new version's file)");
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let made = fixture();
    drop(made.store);
    let path = made.dir.path().join(DATABASE_FILE);
    Connection::open(&path).expect("opens").pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("writes");
    match Store::open(made.dir.path()) {
        Err(StoreError::Newer { found, known }) => assert_eq!((found, known), (SCHEMA_VERSION + 1, SCHEMA_VERSION)),
        other => panic!("{other:?}"),
    }
    let version: u32 = Connection::open(&path).expect("opens").query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    assert_eq!(version, SCHEMA_VERSION + 1);
}

#[test]
fn another_programs_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    Connection::open(dir.path().join(DATABASE_FILE)).expect("opens").execute_batch("CREATE TABLE theirs (x)").expect("writes");
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Foreign { .. })));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(DATABASE_FILE), "not a database, but long enough to look at".repeat(100)).expect("writes");
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Sqlite(_))));
}

#[test]
fn one_service_at_a_time() {
    let made = fixture();
    match Store::open(made.dir.path()) {
        Err(StoreError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(made.store);
    Store::open(made.dir.path()).expect("free again").check().expect("sound");
}

#[test]
fn only_the_owner_may_read_the_files() {
    let made = fixture();
    made.store.create_tenant(&crate::tenant(1, "a"), 10, None).expect("created");
    for file in [DATABASE_FILE, LOCK_FILE, &format!("{DATABASE_FILE}-wal")] {
        let mode = fs::metadata(made.dir.path().join(file)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
