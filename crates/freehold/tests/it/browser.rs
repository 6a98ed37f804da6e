//! The console: what it is served with, and what a person does with it in Chromium.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::support::{MODEL, Service, root, starter, until};

fn drive(script: &str, service: &Service) {
    let python = root().join("target/venv-browser/bin/python");
    assert!(python.exists(), "run make browser first");
    let output = Command::new(python)
        .arg(root().join("tests/browser").join(script))
        .env("FREEHOLD_TEST_URL", &service.url)
        .env("FREEHOLD_TEST_KEY", &service.key)
        .env("FREEHOLD_TEST_OPERATOR_KEY", &service.operator_key)
        .env("FREEHOLD_TEST_MODEL", MODEL)
        .env("FREEHOLD_TEST_STARTER", starter())
        .env("FREEHOLD_TEST_MAIL", service.data.path().join("mail"))
        .env("FREEHOLD_TEST_DOWNLOADS", downloads(service))
        .env("FREEHOLD_TEST_DB", service.data.path().join("freehold.sqlite3"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn downloads(service: &Service) -> PathBuf {
    let folder = service.data.path().join("downloads");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A service that sends its mails to a folder.
fn with_mail(options: &[&str]) -> Service {
    let data = tempfile::tempdir().expect("a folder");
    let mail = format!("mail=file:{}", data.path().join("mail").display());
    let mut all = vec![mail.as_str()];
    all.extend(options);
    Service::start_on(data, &all)
}

#[test]
fn a_customer_signs_up_chats_and_sees_the_spend_without_a_mouse() {
    let service = with_mail(&["signup=open", "signup_credit=5000000000"]);
    service.add_model(MODEL);
    let prices = json!({"models": {"*": {"input": "200000000", "cached": "50000000", "output": "400000000"}}});
    let (status, answer) = service.post(&service.operator_key, "/api/v1/prices", &prices);
    assert_eq!(status, 201, "{answer}");
    until("the prices hold", || (service.get("", "/api/v1/prices").1["number"] == 1).then_some(()));
    drive("story.py", &service);
}

#[test]
fn people_wait_are_admitted_invited_and_change_roles() {
    drive("people.py", &with_mail(&["signup=preview"]));
}

#[test]
fn money_is_set_given_limited_billed_and_credited() {
    drive("money.py", &Service::with_model(&[]));
}

#[test]
fn a_key_is_enough_for_everything() {
    drive("console.py", &Service::with_model(&[]));
}

fn head<'a>(answer: &'a reqwest::blocking::Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[test]
fn the_page_is_guarded_and_its_files_are_kept_for_ever() {
    let service = Service::start(&[]);
    let get = |path: &str| service.http.get(format!("{}{path}", service.url)).send().expect("an answer");
    for path in ["/", "/keys", "/billing/inv_1", "/operator/models"] {
        let page = get(path);
        assert_eq!(page.status().as_u16(), 200, "{path}");
        assert_eq!(head(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(head(&page, "cache-control"), "no-cache");
        assert_eq!(head(&page, "x-content-type-options"), "nosniff");
        assert_eq!(head(&page, "referrer-policy"), "no-referrer");
        let policy = head(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        let again = service.http.get(format!("{}{path}", service.url)).header("if-none-match", head(&page, "etag"));
        assert_eq!(again.send().expect("an answer").status().as_u16(), 304, "{path}");
    }
    let page = get("/").text().expect("text");
    let script = page.split('"').find(|part| part.ends_with("js/main.js")).expect("the script's path");
    let file = get(script);
    assert_eq!(file.status().as_u16(), 200);
    assert_eq!(head(&file, "content-type"), "text/javascript; charset=utf-8");
    assert!(head(&file, "cache-control").contains("immutable"));
    let folder = script.strip_suffix("js/main.js").expect("its folder");
    for path in
        ["js/nothing.js", "index.html", "../Cargo.toml", "%2e%2e/Cargo.toml", "js/../../Cargo.toml", "js%2fmain.js/", "", "%00", "%ff"]
    {
        let status = service.http.get(format!("{}{folder}{path}", service.url)).send().expect("an answer").status().as_u16();
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
    assert_eq!(get("/console/0000/js/main.js").status().as_u16(), 404);
}

#[test]
fn what_is_not_there_is_not_a_page() {
    let service = Service::start(&[]);
    for path in ["/nothing", "/keys/nothing", "/operator/nothing", "/api", "/api/v1/nothing", "/v1/nothing", "/console", "/index.html"] {
        let answer = service.http.get(format!("{}{path}", service.url)).send().expect("an answer");
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        assert_eq!(head(&answer, "content-type"), "application/json", "{path}");
    }
    let answer = service.http.post(format!("{}/keys", service.url)).send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 405);
}
