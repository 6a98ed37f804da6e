//! Downloads that work, and what is sent and kept on the way.

use std::sync::Arc;

use axum::http::Method;
use freehold_models::fetch::{Step, Token};
use freehold_models::{FetchError, FetchOptions, Fetched, Progress, Source, fetch};
use tokio::sync::Notify;

use crate::support::hub_server::{Behaviour, HubServer, REPO, Script, sha256, table};
use crate::support::{Reports, eventually, names, noise, options, silent};

pub fn source(file: &str) -> Source {
    let text = if file.is_empty() { format!("hf:{REPO}") } else { format!("hf:{REPO}:{file}") };
    text.parse().expect("a source")
}

/// Fetches in a task of its own, as the service does.
pub async fn fetched(file: &str, options: &FetchOptions) -> Result<Fetched, FetchError> {
    let (source, options) = (source(file), options.clone());
    tokio::spawn(async move { fetch(&source, &options, &silent).await }).await.expect("no panic")
}

#[tokio::test]
async fn a_file_is_fetched_and_verified() {
    let bytes = noise(300_000);
    let hub = HubServer::with_files(&[("m-Q8_0.gguf", &bytes), ("README.md", b"hello")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(&folder.path().join("new/folder"), &hub.endpoint);
    let reports = Reports::default();
    let found = fetch(&source(""), &options, &|progress| reports.push(progress)).await.expect("the file");

    assert_eq!(found.path, options.folder.join("m-Q8_0.gguf"));
    assert_eq!(std::fs::read(&found.path).expect("the file"), bytes);
    assert_eq!((found.bytes, found.sha256), (300_000, sha256(&bytes)));
    assert_eq!(found.source, format!("hf:{REPO}:m-Q8_0.gguf"));
    assert!(found.parts[0].is_verified);
    assert_eq!(names(&options.folder), ["m-Q8_0.gguf"], "nothing else is left");
    let last = reports.all().last().cloned().expect("progress");
    let expect = Progress { step: Step::Downloading, file: "m-Q8_0.gguf".into(), bytes_done: 300_000, bytes_total: Some(300_000) };
    assert_eq!(last, expect);

    hub.forget();
    fetched("m-Q8_0.gguf", &options).await.expect("the file again");
    assert!(hub.seen().iter().all(|seen| seen.method == Method::HEAD), "what is there is not fetched again");
}

#[tokio::test]
async fn the_best_file_is_chosen_from_all_pages_and_with_all_parts() {
    let (one, two, other) = (noise(1000), noise(500), noise(100));
    let files: &[(&str, &[u8])] = &[
        ("Q4_K_M/m-Q4_K_M-00001-of-00002.gguf", &one),
        ("Q4_K_M/m-Q4_K_M-00002-of-00002.gguf", &two),
        ("a-Q8_0.gguf", &other),
        ("mmproj-f16.gguf", &other),
    ];
    for page_length in [0, 1] {
        let hub = HubServer::start(Behaviour { files: table(files), page_length, ..Behaviour::default() }).await;
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path(), &hub.endpoint);
        let found = fetched("", &options).await.expect("the file");
        assert_eq!(names(folder.path()), ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"]);
        assert_eq!((found.bytes, found.parts.len()), (1500, 2));
        assert_eq!(found.path, folder.path().join("m-Q4_K_M-00001-of-00002.gguf"));
        assert_eq!(std::fs::read(&found.parts[1].path).expect("a part"), two);
        let q8 = fetched("q8_0", &options).await.expect("the other file");
        assert_eq!(q8.path, folder.path().join("a-Q8_0.gguf"));
    }
}

#[tokio::test]
async fn a_second_part_brings_all_parts() {
    let (one, two) = (noise(1000), noise(500));
    let hub = HubServer::with_files(&[("m-00001-of-00002.gguf", &one), ("m-00002-of-00002.gguf", &two)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let found = fetched("m-00002-of-00002.gguf", &options(folder.path(), &hub.endpoint)).await.expect("both parts");
    assert_eq!(found.path, folder.path().join("m-00001-of-00002.gguf"));
    assert_eq!(found.parts.len(), 2);
}

#[tokio::test]
async fn a_hub_that_only_describes_the_model() {
    let bytes = noise(1000);
    let files = table(&[("m.gguf", &bytes)]);
    let hub = HubServer::start(Behaviour { files, has_no_tree: true, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let found = fetched("", &options(folder.path(), &hub.endpoint)).await.expect("the file");
    assert_eq!(found.sha256, sha256(&bytes));
}

#[tokio::test]
async fn a_mirror_without_hashes() {
    let bytes = noise(100_000);
    let hub = HubServer::start(Behaviour { files: table(&[("m.gguf", &bytes)]), is_mirror: true, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    let named = fetched("m.gguf", &options).await.expect("the file");
    assert_eq!((named.sha256, named.parts[0].is_verified), (sha256(&bytes), false), "nothing to compare with");
    let listed = fetched("", &options).await.expect("the file");
    assert!(listed.parts[0].is_verified, "the list gives a hash");
}

#[tokio::test]
async fn the_token_stays_with_the_hub() {
    let bytes = noise(1000);
    let files = table(&[("m.gguf", &bytes)]);
    let hub = HubServer::start(Behaviour { files, token: Some("hf_secret".into()), ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = FetchOptions { token: Some(Token::new("hf_secret")), ..options(folder.path(), &hub.endpoint) };
    assert!(!format!("{options:?}").contains("hf_secret"));
    fetched("", &options).await.expect("the file");
    for seen in hub.seen() {
        assert_eq!(seen.authorization.is_some(), seen.is_hub, "{seen:?}");
    }
    assert!(hub.seen().iter().any(|seen| !seen.is_hub));

    let anonymous = FetchOptions { token: None, folder: folder.path().join("a"), ..options.clone() };
    let error = fetched("m.gguf", &anonymous).await.expect_err("no token").to_string();
    assert!(error.contains("accept its licence") && error.contains("HF_TOKEN") && error.contains(REPO), "{error}");
    let foreign = FetchOptions { token: Some(Token::new("hf_foreign")), folder: folder.path().join("b"), ..options };
    let error = fetched("m.gguf", &foreign).await.expect_err("a foreign token").to_string();
    assert!(error.contains("does not give access") && !error.contains("hf_foreign"), "{error}");
}

/// Fetches while the content network breaks the connection after 100,000 and again after 50,000 bytes.
async fn fetch_with_cuts(hub: &HubServer, options: &FetchOptions) -> Result<Fetched, FetchError> {
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    hub.change(|behaviour| {
        behaviour.scripts.push_back(Script::CutAt(100_000, Arc::clone(&first)));
        behaviour.scripts.push_back(Script::CutAt(50_000, Arc::clone(&second)));
    });
    let tell = |progress: Progress| match progress.bytes_done {
        100_000 => first.notify_one(),
        50_000 | 150_000 => second.notify_one(),
        _ => {}
    };
    fetch(&source("m.gguf"), options, &tell).await
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_again() {
    let bytes = noise(400_000);
    let hub = HubServer::with_files(&[("m.gguf", &bytes)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let found = fetch_with_cuts(&hub, &options(folder.path(), &hub.endpoint)).await.expect("the file");
    assert_eq!(std::fs::read(found.path).expect("the file"), bytes);
    let range = |start: usize| Some(format!("bytes={start}-"));
    assert_eq!(hub.ranges(), [None, range(100_000), range(150_000)]);
}

#[tokio::test]
async fn a_server_without_ranges_starts_over() {
    let bytes = noise(400_000);
    let hub = HubServer::start(Behaviour { files: table(&[("m.gguf", &bytes)]), ignores_ranges: true, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let found = fetch_with_cuts(&hub, &options(folder.path(), &hub.endpoint)).await.expect("the file");
    assert_eq!(std::fs::read(found.path).expect("the file"), bytes);
}

#[tokio::test]
async fn a_dropped_download_goes_on_where_it_stopped() {
    let bytes = noise(400_000);
    let hub = HubServer::with_files(&[("m.gguf", &bytes)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    hub.change(|behaviour| behaviour.scripts.push_back(Script::StallAt(250_000)));
    let stalled = Arc::new(Notify::new());
    let task = tokio::spawn({
        let (options, stalled) = (options.clone(), Arc::clone(&stalled));
        async move {
            let tell = |progress: Progress| {
                if progress.bytes_done == 250_000 {
                    stalled.notify_one();
                }
            };
            fetch(&source("m.gguf"), &options, &tell).await
        }
    });
    stalled.notified().await;
    let busy = fetched("m.gguf", &options).await.expect_err("two at once");
    assert!(matches!(busy, FetchError::Busy { .. }), "{busy}");
    task.abort();
    let partial = folder.path().join("m.gguf.partial");
    let is_free = || std::fs::File::open(&partial).is_ok_and(|file| file.try_lock().is_ok());
    eventually("the lock is free", is_free).await;
    assert_eq!(names(folder.path()), ["m.gguf.partial", "m.gguf.partial.json"]);

    hub.forget();
    let reports = Reports::default();
    let found = fetch(&source("m.gguf"), &options, &|progress| reports.push(progress)).await.expect("the rest");
    assert_eq!(hub.ranges(), [Some("bytes=250000-".to_owned())]);
    assert_eq!(std::fs::read(found.path).expect("the file"), bytes);
    assert_eq!(reports.all()[0].step, Step::Verifying, "what was there is hashed first");
    assert_eq!(names(folder.path()), ["m.gguf"]);
}

#[tokio::test]
async fn a_changed_file_is_fetched_anew() {
    let (old, new) = (noise(400_000), vec![7; 390_000]);
    let hub = HubServer::with_files(&[("m.gguf", &old)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    let cut = Arc::new(Notify::new());
    hub.change(|behaviour| behaviour.scripts.push_back(Script::CutAt(200_000, Arc::clone(&cut))));
    let tell = |progress: Progress| {
        if progress.bytes_done == 200_000 {
            hub.change(|behaviour| behaviour.files = table(&[("m.gguf", &new)]));
            cut.notify_one();
        }
    };
    let found = fetch(&source("m.gguf"), &options, &tell).await.expect("the new version");
    assert_eq!(std::fs::read(&found.path).expect("the file"), new);
    assert_eq!(found.sha256, sha256(&new));

    hub.change(|behaviour| behaviour.files = table(&[("m.gguf", &old)]));
    let found = fetched("m.gguf", &options).await.expect("the old version again");
    assert_eq!(std::fs::read(&found.path).expect("the file"), old, "a file of another version is replaced");
}

#[tokio::test]
async fn what_is_left_of_another_version_is_not_used() {
    let bytes = noise(1000);
    let hub = HubServer::with_files(&[("m.gguf", &bytes)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("m.gguf.partial"), [1; 500]).expect("a rest");
    let sidecar = r#"{"etag":"another","bytes_total":1000}"#;
    for text in [sidecar, "not JSON", ""] {
        std::fs::write(folder.path().join("m.gguf.partial.json"), text).expect("a sidecar");
        let found = fetched("m.gguf", &options(folder.path(), &hub.endpoint)).await.expect("the file");
        assert_eq!(found.sha256, sha256(&bytes));
        std::fs::remove_file(found.path).expect("the file");
        std::fs::write(folder.path().join("m.gguf.partial"), [1; 500]).expect("a rest");
    }
}
