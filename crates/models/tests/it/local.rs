use std::os::unix::fs::MetadataExt;

use freehold_models::fetch::{ImportMode, Step, import};
use freehold_models::{FetchError, Source, fetch};

use crate::support::hub_server::sha256;
use crate::support::{Reports, names, noise, options, silent};

#[tokio::test]
async fn a_link_or_a_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("m.gguf");
    let bytes = noise(3 << 20);
    std::fs::write(&original, &bytes).expect("the original");
    let inode = |path: &std::path::Path| std::fs::metadata(path).expect("a file").ino();

    let linked = import(&original, &folder.path().join("linked"), ImportMode::Link, &silent).await.expect("a link");
    assert_eq!((linked.sha256.as_str(), linked.bytes), (sha256(&bytes).as_str(), 3 << 20));
    assert_eq!(inode(&linked.path), inode(&original));
    let again = import(&original, &folder.path().join("linked"), ImportMode::Link, &silent).await.expect("the same link");
    assert_eq!(again, linked);

    let reports = Reports::default();
    let copies = folder.path().join("copied");
    let copied = import(&original, &copies, ImportMode::Copy, &|progress| reports.push(progress)).await.expect("a copy");
    assert_ne!(inode(&copied.path), inode(&original));
    assert_eq!(std::fs::read(&copied.path).expect("the copy"), bytes);
    assert_eq!(copied.sha256, linked.sha256);
    assert!(reports.all().iter().all(|report| report.step == Step::Copying && report.bytes_total == Some(3 << 20)));
    assert_eq!(reports.all().last().map(|report| report.bytes_done), Some(3 << 20));
    assert_eq!(names(&copies), ["m.gguf"]);
    import(&original, &copies, ImportMode::Copy, &silent).await.expect("the same content is there already");

    std::fs::write(&copied.path, noise(1000)).expect("other content");
    let error = import(&original, &copies, ImportMode::Link, &silent).await.expect_err("another file of that name");
    assert!(matches!(error, FetchError::Exists { .. }), "{error}");
}

#[tokio::test]
async fn across_file_systems_a_link_becomes_a_copy() {
    let shared_memory = std::path::Path::new("/dev/shm");
    let folder = tempfile::tempdir().expect("a folder");
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|facts| facts.dev()).ok();
    if device(shared_memory).is_none() || device(shared_memory) == device(folder.path()) {
        return;
    }
    let elsewhere = tempfile::tempdir_in(shared_memory).expect("a folder");
    let original = elsewhere.path().join("m.gguf");
    std::fs::write(&original, noise(1000)).expect("the original");
    let found = import(&original, folder.path(), ImportMode::Link, &silent).await.expect("a copy");
    assert_eq!(found.sha256, sha256(&noise(1000)));
}

#[tokio::test]
async fn a_local_source() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        std::fs::write(folder.path().join(name), noise(name.len())).expect("a part");
    }
    let first = folder.path().join("m-00001-of-00002.gguf");
    let options = options(&folder.path().join("models"), "http://127.0.0.1:1");
    let found = fetch(&Source::Local(first.clone()), &options, &silent).await.expect("both parts");
    assert_eq!(found.parts.len(), 2);
    assert_eq!(found.path, options.folder.join("m-00001-of-00002.gguf"));
    assert!(found.source.starts_with('/'), "it can be found again from anywhere: {}", found.source);

    std::fs::remove_file(folder.path().join("m-00002-of-00002.gguf")).expect("a part");
    let error = fetch(&Source::Local(first), &options, &silent).await.expect_err("a part is missing");
    assert!(error.to_string().contains("m-00002-of-00002.gguf"), "{error}");
    let error = fetch(&Source::Local("owner/repo".into()), &options, &silent).await.expect_err("no file");
    assert!(error.to_string().contains("written `hf:owner/repo`"), "{error}");
    let error = fetch(&Source::Local(folder.path().into()), &options, &silent).await.expect_err("a folder");
    assert!(error.to_string().contains("not a file"), "{error}");
}
