//! Real servers of others: an OpenID Connect provider and an SMTP server, each a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::support::{Service, root};
use super::visitor::{Answer, Browser, PASSWORD, letter, make_user, token};

/// A process that ends when its standard input closes.
struct Outside {
    child: Child,
    said: String,
}

impl Outside {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let python = root().join("target/venv-people/bin/python");
        assert!(python.exists(), "run make people first");
        let mut command = Command::new(python);
        command.arg(root().join("tests/people").join(script)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut said).expect("a line");
        Self { child, said: said.trim().to_owned() }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends");
    }
}

/// A service that lets people log in through a provider.
fn with_provider(provider: &Outside, options: &[&str]) -> Service {
    let data = tempfile::tempdir().expect("a folder");
    let secret = data.path().join("secret");
    std::fs::write(&secret, "hidden\n").expect("written");
    let (issuer, secret) = (&provider.said, secret.display());
    let oidc = format!(
        "oidc=[{{name = \"mock\", title = \"Mock\", issuer = \"{issuer}\", client_id = \"freehold\", client_secret_file = \"{secret}\"}}]"
    );
    let mut all = vec![oidc.as_str()];
    all.extend(options);
    Service::start_on(data, &all)
}

/// Tells the provider what to say of somebody.
fn set_claims(provider: &Outside, browser: &Browser, subject: &str, claims: &Value) {
    assert_eq!(browser.send("put", &format!("{}/users/{subject}", provider.said), Some(claims), &[]).status, 204);
}

/// From the first page to the answer of the callback.
fn log_in(browser: &mut Browser, subject: &str, start: &str) -> Answer {
    let started = browser.get(start);
    assert_eq!(started.status, 302, "{started:?}");
    let kept = started.cookie("freehold_oidc").expect("a cookie");
    let authorize = started.header("location");
    assert!(
        authorize.contains("code_challenge_method=S256") && authorize.contains("nonce=") && authorize.contains("state="),
        "{authorize}"
    );
    let form = browser.form(authorize).header("content-type", "application/x-www-form-urlencoded").body(format!("sub={subject}"));
    let back = form.send().expect("an answer");
    assert_eq!(back.status().as_u16(), 302, "the provider sends the browser back");
    let location = back.headers()["location"].to_str().expect("text").to_owned();
    let mut cookie = format!("freehold_oidc={kept}");
    if let Some(session) = browser.session.take() {
        cookie.push_str(&format!("; freehold_session={session}"));
    }
    let answer = browser.send("get", &location, None, &[("cookie", &cookie)]);
    browser.session = answer.cookie("freehold_session");
    answer
}

const START: &str = "/api/v1/oidc/mock/start";

#[test]
fn somebody_new_gets_an_account_and_comes_back_to_it() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &["signup=open"]);
    let mut browser = Browser::new(&service);
    assert_eq!(browser.get("/api/v1/signup").body["oidc"], json!([{"name": "mock", "title": "Mock"}]));
    set_claims(&provider, &browser, "ada", &json!({"email": "ada@example.org", "email_verified": true, "name": "Ada"}));
    let answer = log_in(&mut browser, "ada", START);
    assert_eq!((answer.status, answer.header("location")), (302, "/"), "{answer:?}");
    let session = browser.get("/api/v1/session").body;
    assert_eq!((&session["user"]["name"], &session["tenants"][0]["name"]), (&json!("Ada"), &json!("ada")), "{session}");
    // Another address at the provider is still the same person.
    set_claims(&provider, &browser, "ada", &json!({"email": "new@example.org", "email_verified": false}));
    let mut later = Browser::new(&service);
    log_in(&mut later, "ada", START);
    assert_eq!(later.get("/api/v1/session").body["user"]["id"], session["user"]["id"]);
    let (_, users) = service.get(&service.operator_key, "/api/v1/users");
    assert_eq!(users["data"].as_array().map(Vec::len), Some(1));
    let mut with_password = Browser::new(&service);
    assert_eq!(with_password.log_in("ada@example.org", PASSWORD).status, 401, "the account has no password");
}

#[test]
fn only_a_verified_address_is_linked() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &["signup=open"]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let mut browser = Browser::new(&service);
    for claims in [json!({"email": "ada@example.org", "email_verified": false}), json!({"email": "ada@example.org"}), json!({"name": "x"})]
    {
        set_claims(&provider, &browser, "mallory", &claims);
        let answer = log_in(&mut browser, "mallory", START);
        assert_eq!(answer.header("location"), "/#/login?error=permission_denied", "{claims}");
        assert_eq!(browser.session, None);
    }
    set_claims(&provider, &browser, "ada", &json!({"email": "Ada@Example.org", "email_verified": true}));
    assert_eq!(log_in(&mut browser, "ada", START).header("location"), "/");
    assert_eq!(browser.get("/api/v1/session").body["tenants"][0]["name"], "main");
    let mut with_password = Browser::new(&service);
    assert_eq!(with_password.log_in("ada@example.org", PASSWORD).status, 401, "nobody had proved the address before");
    let (_, trail) = service.get(&service.operator_key, "/api/v1/trail");
    assert!(trail.to_string().contains("freehold.identity.linked"), "{trail}");

    let closed = json!({"verified": false});
    let operator = [("authorization", format!("Bearer {}", service.operator_key))];
    let operator: Vec<(&str, &str)> = operator.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(Browser::new(&service).send("patch", "/api/v1/users/ada@example.org", Some(&closed), &operator).status, 200);
    assert_eq!(log_in(&mut browser, "ada", START).header("location"), "/#/login?error=permission_denied", "closed by the operator");
    assert_eq!(browser.session, None);
}

#[test]
fn no_provider_opens_an_operators_account() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &["signup=open"]);
    make_user(&service, "root@example.org", None, true);
    let mut browser = Browser::new(&service);
    set_claims(&provider, &browser, "root", &json!({"email": "root@example.org", "email_verified": true}));
    assert_eq!(log_in(&mut browser, "root", START).header("location"), "/#/login?error=permission_denied");
    assert_eq!(browser.session, None);
    assert_eq!(browser.log_in("root@example.org", PASSWORD).status, 200, "its password stays");
    let bad = browser.get(&format!("{START}?invite={}", "x".repeat(5000)));
    assert_eq!((bad.status, bad.code()), (400, "invalid_token"));
}

#[test]
fn an_account_that_nobody_verified_loses_its_password() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &["signup=open"]);
    let mut browser = Browser::new(&service);
    // Without mail the account waits, with the password of whoever typed it.
    assert_eq!(browser.sign_up("ada@example.org").body["state"], "waiting");
    set_claims(&provider, &browser, "ada", &json!({"email": "ada@example.org", "email_verified": true}));
    assert_eq!(log_in(&mut browser, "ada", START).header("location"), "/");
    let mut stranger = Browser::new(&service);
    assert_eq!(stranger.log_in("ada@example.org", PASSWORD).code(), "invalid_credentials");
}

#[test]
fn a_log_in_that_did_not_begin_here_or_was_changed_is_refused() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &["signup=open"]);
    let mut browser = Browser::new(&service);
    set_claims(&provider, &browser, "ada", &json!({"email": "ada@example.org", "email_verified": true}));
    let started = browser.get(START);
    let kept = format!("freehold_oidc={}", started.cookie("freehold_oidc").expect("a cookie"));
    let form = browser.form(started.header("location")).header("content-type", "application/x-www-form-urlencoded").body("sub=ada");
    let back = form.send().expect("an answer").headers()["location"].to_str().expect("text").to_owned();
    let refused = "/#/login?error=invalid_credentials";
    assert_eq!(browser.send("get", &back, None, &[]).header("location"), refused, "another browser");
    assert_eq!(browser.send("get", &back, None, &[("cookie", "freehold_oidc=x")]).header("location"), refused);
    let other_code = back.replace("code=", "code=x");
    assert_eq!(browser.send("get", &other_code, None, &[("cookie", &kept)]).header("location"), refused, "a forged code");
    assert_eq!(browser.send("get", &back, None, &[("cookie", &kept)]).header("location"), refused, "the state is good once");
    assert_eq!(log_in(&mut browser, "ada", START).header("location"), "/");
    for query in ["", "?error=access_denied&state=x", "?code=&state=", "?state=x"] {
        let answer = browser.send("get", &format!("/api/v1/oidc/mock/callback{query}"), None, &[]);
        assert_eq!(answer.header("location"), refused, "{query}");
    }
    assert_eq!(browser.get("/api/v1/oidc/nobody/start").status, 404);
}

#[test]
fn closed_stays_closed_for_newcomers_of_a_provider() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &[]);
    let mut browser = Browser::new(&service);
    set_claims(&provider, &browser, "ada", &json!({"email": "ada@example.org", "email_verified": true}));
    assert_eq!(log_in(&mut browser, "ada", START).header("location"), "/#/login?error=signup_closed");
    let (_, invite) = service.post(&service.operator_key, "/api/v1/invites", &json!({}));
    let start = format!("{START}?invite={}", invite["code"].as_str().expect("a code"));
    assert_eq!(log_in(&mut browser, "ada", &start).header("location"), "/");
    assert_eq!(browser.get("/api/v1/session").body["tenants"][0]["role"], "owner");
}

#[test]
fn a_provider_that_is_away_is_said_to_be() {
    let provider = Outside::start("oidc.py", &[]);
    let service = with_provider(&provider, &[]);
    drop(provider);
    let answer = Browser::new(&service).get(START);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert!(!answer.body.to_string().contains("localhost"), "{answer:?}");
}

fn mail_arrives(mode: &str, folder: &Path, options: &[&str]) -> String {
    let server = Outside::start("smtp.py", &[mode, folder.to_str().expect("UTF-8")]);
    let address = match mode {
        "plain" => format!("mail=smtp://127.0.0.1:{}?tls=none", server.said),
        "starttls" => format!("mail=smtp://sender@localhost:{}?tls=required", server.said),
        _ => format!("mail=smtps://localhost:{}", server.said),
    };
    let ca = format!("mail_ca={}", folder.join("ca.pem").display());
    let mut all = vec!["signup=open", "mail_from=Cloud <cloud@example.org>", address.as_str()];
    all.extend(options);
    if mode != "plain" {
        all.push(&ca);
    }
    let service = Service::start(&all);
    let browser = Browser::new(&service);
    assert_eq!(browser.sign_up("ada@example.org").status, 201);
    let letter = letter(folder, "ada@example.org", 0);
    assert_eq!(browser.verify(&token(&letter)).body["state"], "ready", "{letter}");
    letter
}

#[test]
fn mail_goes_through_a_mail_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let letter = mail_arrives("plain", folder.path(), &[]);
    assert!(letter.contains("From: Cloud <cloud@example.org>") || letter.contains("From: \"Cloud\" <cloud@example.org>"), "{letter}");
    assert!(letter.contains("Content-Type: text/plain; charset=utf-8") && letter.contains("X-Tls: False"), "{letter}");
}

#[test]
fn mail_goes_over_tls_with_a_password() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(mail_arrives("starttls", folder.path(), &["mail_password=let me send"]).contains("X-Tls: True"));
    let folder = tempfile::tempdir().expect("a folder");
    mail_arrives("wrapped", folder.path(), &[]);
}
