//! The first start, and those after it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use freehold_control::bootstrap::{CREDENTIALS_FILE, Credentials, Start};
use freehold_control::page::PageRequest;

use crate::{fixture, open};

#[tokio::test]
async fn the_first_start_leaves_credentials_that_work() {
    let made = fixture().await;
    let data = made.dir.path().join("data");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join(CREDENTIALS_FILE)), 0o600);
    assert_eq!(Credentials::read(&data).expect("read"), Some(made.credentials.clone()));
    assert_eq!(made.main.tenant().map(|caller| caller.tenant_name.as_str()), Some("main"));
    assert!(made.operator.tenant().is_none());
}

#[tokio::test]
async fn later_starts_keep_the_keys_and_note_the_address() {
    let made = fixture().await;
    let again = made.control.bootstrap("http://127.0.0.1:9999").await.expect("starts");
    let expected = Credentials { base_url: "http://127.0.0.1:9999".to_owned(), ..made.credentials.clone() };
    assert_eq!(again, Start::Again(Some(expected.clone())));
    let data = made.dir.path().join("data");
    assert_eq!(Credentials::read(&data).expect("read"), Some(expected));
    fs::remove_file(data.join(CREDENTIALS_FILE)).expect("removed");
    assert_eq!(made.control.bootstrap("http://127.0.0.1:1").await.expect("starts"), Start::Again(None));
    assert!(!data.join(CREDENTIALS_FILE).exists(), "the owner took it away");
}

#[tokio::test]
async fn a_start_that_crashed_before_the_database_had_the_keys_is_made_again() {
    let made = fixture().await;
    let crate::Fixture { control, clock, dir, credentials, .. } = made;
    drop(control);
    let data = dir.path().join("data");
    for entry in fs::read_dir(&data).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().contains("sqlite3") {
            fs::remove_file(path).expect("removed");
        }
    }
    fs::write(data.join("credentials.json.new"), "half").expect("a leftover");
    let again = open(&dir, &clock);
    let Start::First(fresh) = again.bootstrap(&credentials.base_url).await.expect("starts") else { panic!("no keys yet") };
    assert_ne!(fresh.key, credentials.key);
    let operator = again.authenticate(&fresh.operator_key).await.expect("good");
    assert_eq!(again.list_tenants(&operator, &PageRequest::default()).await.expect("tenants").data.len(), 1);
}

#[test]
fn a_file_of_another_version_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(Credentials::read(dir.path()).expect("none"), None);
    for text in ["", "{}", "{\"version\":2,\"base_url\":\"\",\"operator_key\":\"\",\"tenant\":\"\",\"key\":\"\"}"] {
        fs::write(dir.path().join(CREDENTIALS_FILE), text).expect("written");
        assert!(Credentials::read(dir.path()).is_err(), "{text}");
    }
}
