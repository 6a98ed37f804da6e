//! What the tests share.

pub mod gguf_writer;
pub mod hub_server;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use freehold_models::{FetchOptions, Progress};

/// The starter model, which `make starter` puts there.
pub fn starter_gguf() -> PathBuf {
    let path = std::env::var_os("FREEHOLD_STARTER_GGUF")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/starter/SmolLM2-135M-Instruct.Q4_1.gguf"));
    assert!(path.is_file(), "run make starter first ({} is missing)", path.display());
    path
}

/// Options that do not wait and do not reach beyond this machine.
pub fn options(folder: &Path, endpoint: &str) -> FetchOptions {
    FetchOptions {
        hub_endpoint: endpoint.to_owned(),
        retries_max: 2,
        retry_wait: Duration::from_millis(1),
        idle_timeout: Duration::from_secs(20),
        disk_reserve_bytes: 0,
        ..FetchOptions::new(folder)
    }
}

/// Keeps every report of progress.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Progress>>);

impl Reports {
    pub fn push(&self, progress: Progress) {
        self.0.lock().expect("reports").push(progress);
    }

    pub fn all(&self) -> Vec<Progress> {
        self.0.lock().expect("reports").clone()
    }
}

pub fn silent(_: Progress) {}

/// Waits until a condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Bytes that do not repeat soon.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
