//! Downloads that fail, and what they say and leave behind.

use std::time::Duration;

use axum::http::StatusCode;
use freehold_domain::ErrorCode;
use freehold_models::fetch::Token;
use freehold_models::{FetchError, FetchOptions, Source, fetch};
use tokio::io::AsyncWriteExt;

use crate::hub::fetched;
use crate::support::hub_server::{Behaviour, HubServer, REPO, Script, sha256, table};
use crate::support::{names, noise, options, silent};

#[tokio::test]
async fn a_wrong_hash_leaves_nothing() {
    let bytes = noise(100_000);
    let hub = HubServer::with_files(&[("m.gguf", &bytes)]).await;
    hub.change(|behaviour| behaviour.scripts.push_back(Script::Damage));
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    let error = fetched("m.gguf", &options).await.expect_err("damaged bytes");
    assert!(matches!(&error, FetchError::WrongHash { expected, .. } if *expected == sha256(&bytes)), "{error}");
    assert_eq!(names(folder.path()), [] as [&str; 0]);
    fetched("m.gguf", &options).await.expect("the right bytes");
}

#[tokio::test]
async fn passing_troubles_are_tried_again() {
    let bytes = noise(1000);
    let hub = HubServer::with_files(&[("m.gguf", &bytes)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    hub.change(|behaviour| {
        behaviour.refusals.extend([(StatusCode::BAD_GATEWAY, ""), (StatusCode::TOO_MANY_REQUESTS, "")]);
        behaviour.scripts.push_back(Script::Refuse(StatusCode::SERVICE_UNAVAILABLE));
        behaviour.scripts.push_back(Script::Refuse(StatusCode::FORBIDDEN));
    });
    fetched("m.gguf", &options).await.expect("the file, at last; a link that expired is made anew");

    std::fs::remove_file(folder.path().join("m.gguf")).expect("the file");
    hub.change(|behaviour| behaviour.refusals.extend([(StatusCode::SERVICE_UNAVAILABLE, ""); 3]));
    let error = fetched("m.gguf", &options).await.expect_err("too often");
    assert!(error.to_string().contains("status 503: as the test wants it"), "{error}");
    assert_eq!(error.code(), ErrorCode::Unavailable);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let hub = HubServer::with_files(&[("m.gguf", b"x")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path(), &hub.endpoint);
    let cases = [
        (StatusCode::UNAUTHORIZED, "GatedRepo", "is gated"),
        (StatusCode::FORBIDDEN, "GatedRepo", "is gated"),
        (StatusCode::FORBIDDEN, "", "is gated"),
        (StatusCode::UNAUTHORIZED, "", "is gated"),
        (StatusCode::UNAUTHORIZED, "RepoNotFound", "no repository"),
        (StatusCode::NOT_FOUND, "RepoNotFound", "no repository"),
        (StatusCode::NOT_FOUND, "EntryNotFound", "has no file `m.gguf`"),
        (StatusCode::NOT_FOUND, "", "has no file `m.gguf`"),
        (StatusCode::BAD_REQUEST, "", "status 400"),
    ];
    for (status, code, expect) in cases {
        hub.change(|behaviour| behaviour.refusals.push_back((status, code)));
        let error = fetched("m.gguf", &options).await.expect_err(expect).to_string();
        assert!(error.contains(expect), "{status} {code}: {error}");
    }
    let other: Source = "hf:nobody/nothing".parse().expect("a source");
    let error = fetch(&other, &options, &silent).await.expect_err("no such repository");
    assert!(matches!(error, FetchError::NoRepository { .. }), "{error}");
    let domain: freehold_domain::Error = error.into();
    assert_eq!(domain.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    for bad in ["../../etc/x.gguf", "/etc/x.gguf", "a/../../x.gguf", "a\\..\\x.gguf", ".ssh/x.gguf", "a//b.gguf"] {
        let behaviour = Behaviour { files: table(&[("m.gguf", b"x")]), also_listed: vec![bad.into()], ..Behaviour::default() };
        let hub = HubServer::start(behaviour).await;
        let folder = tempfile::tempdir().expect("a folder");
        let error = fetched("", &options(folder.path(), &hub.endpoint)).await.expect_err(bad);
        assert!(matches!(error, FetchError::UnsafeName { .. }), "{bad}: {error}");
        assert_eq!(names(folder.path()), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn redirects_are_watched() {
    let folder = tempfile::tempdir().expect("a folder");
    for (target, expect) in
        [("file:///etc/passwd", "not HTTP"), ("ftp://127.0.0.1/x", "not HTTP"), ("/owner/model-GGUF/resolve/main/m.gguf", "without end")]
    {
        let behaviour = Behaviour { files: table(&[("m.gguf", b"x")]), redirect: Some(target.into()), ..Behaviour::default() };
        let hub = HubServer::start(behaviour).await;
        let error = fetched("m.gguf", &options(folder.path(), &hub.endpoint)).await.expect_err(target).to_string();
        assert!(error.contains(expect), "{target}: {error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_seen_before_the_download() {
    let hub = HubServer::with_files(&[("m.gguf", &noise(1000))]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = FetchOptions { disk_reserve_bytes: u64::MAX / 2, ..options(folder.path(), &hub.endpoint) };
    let error = fetched("m.gguf", &options).await.expect_err("no room");
    assert!(matches!(error, FetchError::DiskFull { .. }), "{error}");
    assert_eq!(hub.ranges(), []);
}

#[tokio::test]
async fn silence_ends_in_an_error() {
    let hub = HubServer::with_files(&[("m.gguf", &noise(100_000))]).await;
    hub.change(|behaviour| behaviour.scripts.push_back(Script::StallAt(10)));
    let folder = tempfile::tempdir().expect("a folder");
    let options = FetchOptions { idle_timeout: Duration::from_secs(2), retries_max: 0, ..options(folder.path(), &hub.endpoint) };
    let error = fetched("m.gguf", &options).await.expect_err("silence").to_string();
    assert!(error.contains("nothing arrived") && error.contains("run the same command again"), "{error}");
    assert!(!error.contains("signature"), "a signed address is not for messages: {error}");
    assert_eq!(names(folder.path()), ["m.gguf.partial", "m.gguf.partial.json"]);
}

/// Fetches from a server that answers everything with these bytes and then stays silent.
async fn from_raw_server(answer: Vec<u8>, idle_timeout: Duration) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            // The client may hang up before it has read everything.
            let _ = socket.write_all(&answer).await;
            open.push(socket);
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let options = FetchOptions { idle_timeout, retries_max: 0, ..options(folder.path(), &endpoint) };
    let error = fetched("m.gguf", &options).await.expect_err("a bad answer").to_string();
    server.abort();
    error
}

#[tokio::test]
async fn headers_that_are_wrong_huge_or_never_end() {
    let long = Duration::from_secs(20);
    let mut huge = b"HTTP/1.1 200 OK\r\n".to_vec();
    (0..100_000).for_each(|index| huge.extend(format!("x-{index}: {index}\r\n").bytes()));
    let error = from_raw_server(huge, long).await;
    assert!(error.contains("connection to 127.0.0.1"), "{error}");
    let error = from_raw_server(b"SSH-2.0-server\r\n".to_vec(), long).await;
    assert!(error.contains("connection to 127.0.0.1"), "{error}");
    let error = from_raw_server(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Duration::from_millis(200)).await;
    assert!(error.contains("no answer"), "{error}");
    let error = from_raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(), long).await;
    assert!(error.contains("not that of a Hugging Face hub"), "{error}");
}

#[tokio::test]
async fn an_unreachable_or_impossible_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let error = fetched("m.gguf", &options(folder.path(), &format!("http://{free}"))).await.expect_err("nobody there");
    assert!(matches!(error, FetchError::Connection { .. }), "{error}");
    for bad in ["", "huggingface.co", "ftp://x", "file:///x"] {
        let error = fetched("m.gguf", &options(folder.path(), bad)).await.expect_err(bad);
        assert!(matches!(error, FetchError::Endpoint { .. }), "{error}");
    }
    let odd = FetchOptions { token: Some(Token::new("a\nb")), ..options(folder.path(), "http://127.0.0.1:1") };
    assert!(matches!(fetched("m.gguf", &odd).await, Err(FetchError::Token)));
}

#[tokio::test]
async fn several_files_and_none_preferred() {
    let hub = HubServer::with_files(&[("a.gguf", b"x"), ("b.gguf", b"x")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let error = fetched("", &options(folder.path(), &hub.endpoint)).await.expect_err("which?").to_string();
    assert!(error.contains("a.gguf\nb.gguf") && error.contains(&format!("hf:{REPO}:FILE.gguf")), "{error}");
    let none = HubServer::with_files(&[("model.safetensors", b"x")]).await;
    let error = fetched("", &options(folder.path(), &none.endpoint)).await.expect_err("none").to_string();
    assert!(error.contains("no GGUF file"), "{error}");
}

#[tokio::test]
async fn a_catalogue_entry_without_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let source: Source = "llama-3.1-405b-instruct".parse().expect("a source");
    let error = fetch(&source, &options(folder.path(), "http://127.0.0.1:1"), &silent).await.expect_err("no file");
    assert!(error.to_string().contains("meta-llama/Llama-3.1-405B-Instruct"), "{error}");
}
