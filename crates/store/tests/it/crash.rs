//! A killed writer: what it was told is written is there, and the database is sound.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use freehold_store::{KeyOwner, KeyRow, KeySecret, Store};

use crate::{at, tenant, uuid};

const CHILD_DIR: &str = "FREEHOLD_STORE_CRASH_DIR";
/// Tenants that the parent hears of before it kills the child.
const HEARD: u64 = 40;

/// Runs in a process of its own, started by the test below; does nothing otherwise.
#[test]
fn writer_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = Store::open(dir.as_ref()).expect("opens");
    let mut out = std::io::stdout().lock();
    for n in 1.. {
        let owner = tenant(n, &format!("t{n}"));
        let key = KeyRow {
            id: freehold_domain::KeyId::from_uuid(uuid(n)),
            owner: KeyOwner::Tenant(owner.id),
            name: "k".to_owned(),
            secret: KeySecret { hash: [0; 32], hint: String::new() },
            previous: None,
            models_json: None,
            scopes_json: None,
            user_id: None,
            created_at: at(0),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        store.create_tenant(&owner, u32::MAX, None).expect("written");
        store.create_key(&key, 1, None).expect("written");
        writeln!(out, "written {n}").and_then(|()| out.flush()).expect("the parent listens");
    }
}

#[test]
fn a_killed_writer_leaves_a_sound_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["crash::writer_that_is_killed", "--exact", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut heard = 0;
    for line in lines {
        // The first line shares its line with the harness's own words.
        if let Some((_, n)) = line.expect("a line").split_once("written ") {
            heard = n.parse().expect("a number");
        }
        if heard >= HEARD {
            break;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(heard >= HEARD, "the child ended early");

    let store = Store::open(dir.path()).expect("opens again: the lock went with the process");
    store.check().expect("sound");
    let tenants = store.tenants(None, u32::MAX).expect("read");
    let keys = store.keys(None, None, u32::MAX).expect("read");
    assert!(keys.len() as u64 >= heard, "{} keys after {heard} were promised", keys.len());
    assert!(tenants.len() - keys.len() <= 1, "{} tenants, {} keys", tenants.len(), keys.len());
}
