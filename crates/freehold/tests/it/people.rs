//! Signing up and logging in over HTTP: cookies, CSRF, what strangers learn, and what they cannot break.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::support::{Service, cli, until};
use super::visitor::{Browser, PASSWORD, letter, letters, make_user, token};

/// A service that anybody may sign up at, and the folder of its mails.
fn open(options: &[&str]) -> (Service, PathBuf) {
    let data = tempfile::tempdir().expect("a folder");
    let mail = data.path().join("mail");
    let set = format!("mail=file:{}", mail.display());
    let mut all = vec!["signup=open", set.as_str()];
    all.extend(options);
    (Service::start_on(data, &all), mail)
}

#[test]
fn sign_up_log_in_make_a_key_log_out() {
    let (service, mail) = open(&["signup_credit=5000000000"]);
    let mut browser = Browser::new(&service);
    let info = browser.get("/api/v1/signup").body;
    assert_eq!(info, json!({"mode": "open", "mail": true, "oidc": []}));
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "name": "Ada", "tenant": "engines"});
    let answer = browser.post("/api/v1/signup", &body);
    assert_eq!((answer.status, &answer.body["state"]), (201, &json!("verify")), "{answer:?}");
    let answer = browser.verify(&token(&letter(&mail, "ada@example.org", 0)));
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("ready")), "{answer:?}");

    let answer = browser.log_in("ada@example.org", PASSWORD);
    assert_eq!(answer.body["tenants"][0]["name"], "engines");
    assert_eq!(answer.body["tenants"][0]["role"], "owner");
    let set = answer.header("set-cookie");
    assert!(set.contains("; HttpOnly; SameSite=Lax; Max-Age=1209600") && set.contains("Path=/") && !set.contains("Secure"), "{set}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(browser.get("/api/v1/session").body["csrf_token"], answer.body["csrf_token"]);
    let who = browser.get("/api/v1/whoami").body;
    assert_eq!((&who["role"], &who["tenant_name"], &who["email"]), (&json!("owner"), &json!("engines"), &json!("ada@example.org")));

    let key = browser.post("/api/v1/keys", &json!({"name": "laptop", "scopes": ["inference"]}));
    assert_eq!(key.status, 201, "{key:?}");
    let secret = key.body["secret"].as_str().expect("a secret");
    assert_eq!(service.get(secret, "/v1/models").0, 200);
    assert_eq!(service.get(secret, "/api/v1/keys").0, 403, "the key lacks the scope");
    assert_eq!(browser.get("/v1/models").status, 200, "a session reaches the models too");
    let trail = browser.get("/api/v1/trail").body;
    let kinds: Vec<&str> = trail["data"].as_array().expect("events").iter().map(|event| event["type"].as_str().expect("text")).collect();
    assert_eq!(
        kinds,
        ["freehold.key.created", "freehold.session.created", "freehold.credit.given", "freehold.tenant.created", "freehold.user.created"]
    );
    assert!(trail["data"].as_array().expect("events").iter().all(|event| event["specversion"] == "1.0" && event["source"].is_string()));

    let before = browser.clone();
    assert_eq!(browser.delete("/api/v1/session").status, 204);
    assert_eq!(before.get("/api/v1/session").code(), "invalid_session", "an ended session is refused at once");
    assert_eq!(before.get("/api/v1/keys").code(), "invalid_session");
    let log = service.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&before.session.expect("a session")) && !log.contains(secret), "{log}");
}

#[test]
fn behind_tls_the_cookie_is_secure_and_links_lead_there() {
    let (service, mail) = open(&["public_url=https://ai.example.org/"]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let mut browser = Browser::new(&service);
    assert!(browser.log_in("ada@example.org", PASSWORD).header("set-cookie").ends_with("; Secure"));
    browser.post("/api/v1/password/forgot", &json!({"email": "ada@example.org"}));
    assert!(letter(&mail, "ada@example.org", 0).contains("https://ai.example.org/#/reset/"));
}

#[test]
fn a_session_is_new_at_each_log_in() {
    let (service, _) = open(&[]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let mut browser = Browser::new(&service);
    let planted = "A".repeat(43);
    browser.session = Some(planted.clone());
    browser.log_in("ada@example.org", PASSWORD);
    let first = browser.clone();
    assert_ne!(first.session.as_deref(), Some(planted.as_str()), "a planted session is not taken over");
    assert_eq!(Browser { session: Some(planted), ..first.clone() }.get("/api/v1/session").status, 401);
    browser.log_in("ada@example.org", PASSWORD);
    assert_ne!(first.session, browser.session);
    assert_eq!(first.get("/api/v1/session").status, 401, "the session before ends with the new one");
    let other = Browser::logged_in(&service, "ada@example.org");
    assert_eq!(browser.delete("/api/v1/sessions").status, 204);
    assert_eq!((browser.get("/api/v1/session").status, other.get("/api/v1/session").status), (401, 401), "log out everywhere");
}

#[test]
fn another_sites_page_changes_nothing() {
    let (service, _) = open(&[]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let browser = Browser::logged_in(&service, "ada@example.org");
    let other = Browser::logged_in(&service, "ada@example.org");
    let body = json!({"name": "k"});
    for csrf in [None, Some(String::new()), Some("0".repeat(64)), other.csrf.clone()] {
        let forged = Browser { csrf, ..browser.clone() };
        for (method, path) in [("post", "/api/v1/keys"), ("delete", "/api/v1/session"), ("post", "/v1/chat/completions")] {
            assert_eq!(forged.send(method, path, Some(&body), &[]).status, 403, "{method} {path}");
        }
        assert_eq!(forged.post("/api/v1/keys", &body).code(), "invalid_csrf_token");
        assert_eq!(forged.get("/api/v1/keys").status, 200, "reading takes no token");
        let with_key = forged.send("post", "/api/v1/keys", Some(&body), &[("authorization", &format!("Bearer {}", service.key))]);
        assert_eq!(with_key.status, 201, "a key takes no token");
    }
    assert_eq!(browser.post("/api/v1/keys", &body).status, 201);
    let wrong_key = browser.send("get", "/api/v1/keys", None, &[("authorization", "Bearer fh-wrong")]);
    assert_eq!(wrong_key.code(), "invalid_api_key", "a bad key is not made up for by a cookie");
    let stranger = Browser::new(&service);
    let login = json!({"email": "ada@example.org", "password": PASSWORD});
    for site in ["cross-site", "same-site"] {
        assert_eq!(stranger.send("post", "/api/v1/session", Some(&login), &[("sec-fetch-site", site)]).code(), "invalid_csrf_token");
    }
    assert_eq!(stranger.send("post", "/api/v1/session", Some(&login), &[("sec-fetch-site", "same-origin")]).status, 200);
}

#[test]
fn strangers_do_not_learn_who_has_an_account() {
    let (service, mail) = open(&[]);
    make_user(&service, "known@example.org", Some(("main", "owner")), false);
    let browser = Browser::new(&service);
    let same = |path: &str, body: &dyn Fn(&str) -> Value| {
        let answers = ["known@example.org", "fresh@example.org"].map(|email| {
            let answer = browser.post(path, &body(email));
            let mut text = answer.body.clone();
            if let Some(error) = text["error"].as_object_mut() {
                error.remove("request_id");
            }
            (answer.status, text.to_string().replace(email, "EMAIL"))
        });
        assert_eq!(answers[0], answers[1], "{path}");
        answers[0].0
    };
    assert_eq!(same("/api/v1/signup", &|email| json!({"email": email, "password": PASSWORD})), 201);
    assert_eq!(same("/api/v1/signup/resend", &|email| json!({"email": email})), 202);
    assert_eq!(same("/api/v1/password/forgot", &|email| json!({"email": email})), 202);
    assert_eq!(same("/api/v1/session", &|email| json!({"email": email, "password": "not the password"})), 401);
    assert!(letter(&mail, "known@example.org", 0).contains("You have an account already"));
    assert!(letter(&mail, "fresh@example.org", 0).contains("Confirm your e-mail address"));
    assert!(letter(&mail, "known@example.org", 1).contains("Choose a new password"));
    assert!(letter(&mail, "fresh@example.org", 1).contains("Confirm your e-mail address"), "it was asked for again");
    assert_eq!(letters(&mail, "fresh@example.org").len(), 2, "no new password for who has no account");
}

/// The time of a refusal says nothing either: the medians of both kinds are close.
#[test]
fn a_refusal_takes_as_long_for_everybody() {
    let (service, _) = open(&[]);
    make_user(&service, "known@example.org", Some(("main", "owner")), false);
    let browser = Browser::new(&service);
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..18 {
        for (times, email) in times.iter_mut().zip(["known@example.org", "fresh@example.org"]) {
            let body = json!({"email": email, "password": format!("not the password {n}")});
            let started = std::time::Instant::now();
            assert_eq!(browser.post("/api/v1/session", &body).status, 401);
            times.push(started.elapsed());
        }
    }
    let [known, fresh] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    assert!((0.5..2.0).contains(&(known / fresh)), "known {known} s, fresh {fresh} s");
}

#[test]
fn a_new_password_ends_what_was_open_and_its_link_works_once() {
    let (service, mail) = open(&[]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let browser = Browser::logged_in(&service, "ada@example.org");
    browser.post("/api/v1/password/forgot", &json!({"email": "ada@example.org"}));
    let reset = json!({"token": token(&letter(&mail, "ada@example.org", 0)), "password": "battery staple"});
    let weak = json!({"token": reset["token"], "password": "short"});
    assert_eq!(browser.post("/api/v1/password/reset", &weak).code(), "invalid_request");
    assert_eq!(browser.post("/api/v1/password/reset", &reset).status, 204);
    assert_eq!(browser.post("/api/v1/password/reset", &reset).code(), "invalid_token");
    assert_eq!(browser.get("/api/v1/session").status, 401, "sessions end with the password");
    let mut again = Browser::new(&service);
    assert_eq!(again.log_in("ada@example.org", PASSWORD).code(), "invalid_credentials");
    assert_eq!(again.log_in("ada@example.org", "battery staple").status, 200);
}

#[test]
fn a_changed_password_ends_every_other_session() {
    let (service, mail) = open(&[]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let browser = Browser::logged_in(&service, "ada@example.org");
    let other = Browser::logged_in(&service, "ada@example.org");
    browser.post("/api/v1/password/forgot", &json!({"email": "ada@example.org"}));
    let link = token(&letter(&mail, "ada@example.org", 0));
    let change = |current: &str, new: &str| browser.post("/api/v1/password/change", &json!({"current": current, "new": new}));
    let refused = change("not the password", "battery staple");
    assert_eq!((refused.status, refused.code(), &refused.body["error"]["param"]), (401, "invalid_credentials", &json!("current")));
    let weak = change(PASSWORD, "short");
    assert_eq!((weak.code(), &weak.body["error"]["param"]), ("invalid_request", &json!("new")));
    assert_eq!(other.get("/api/v1/session").status, 200, "nothing has changed so far");
    assert_eq!(change(PASSWORD, "battery staple").status, 204);
    assert_eq!((browser.get("/api/v1/session").status, other.get("/api/v1/session").status), (200, 401));
    let reset = json!({"token": link, "password": "battery staple 2"});
    assert_eq!(browser.post("/api/v1/password/reset", &reset).code(), "invalid_token", "a link from before is over");
    let mut again = Browser::new(&service);
    assert_eq!(again.log_in("ada@example.org", PASSWORD).code(), "invalid_credentials");
    assert_eq!(again.log_in("ada@example.org", "battery staple").status, 200);
    // Guessing is limited as log-ins are, and counted with them: two were wrong already.
    for _ in 0..18 {
        assert_eq!(change("not the password", "battery staple").status, 401);
    }
    let refused = change("battery staple", "battery staple");
    assert_eq!((refused.status, refused.code()), (429, "rate_limited"));
    assert!(!service.log().contains("battery staple"));
}

#[test]
fn many_at_once_with_one_address_make_one_user() {
    let (service, mail) = open(&[]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(Browser::new(&service).sign_up("ada@example.org").status, 201));
        }
    });
    let sent = until("a letter for each", || Some(letters(&mail, "ada@example.org")).filter(|letters| letters.len() == 8));
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let tasks: Vec<_> = sent.iter().map(|letter| scope.spawn(|| Browser::new(&service).verify(&token(letter)).status)).collect();
        tasks.into_iter().map(|task| task.join().expect("no panic")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400], "all links are good until the first is used");
    let (_, users) = service.get(&service.operator_key, "/api/v1/users");
    assert_eq!(users["data"].as_array().map(Vec::len), Some(1), "{users}");
    let (_, tenants) = service.get(&service.operator_key, "/api/v1/tenants");
    assert!(tenants["data"].as_array().is_some_and(|tenants| tenants.len() == 2), "{tenants}");
}

#[test]
fn too_many_log_ins_are_told_to_wait() {
    let (service, _) = open(&["behind_proxy=true"]);
    make_user(&service, "ada@example.org", Some(("main", "owner")), false);
    let browser = Browser::new(&service);
    let from = |address: &str, email: &str| {
        let body = json!({"email": email, "password": "not the password"});
        browser.send("post", "/api/v1/session", Some(&body), &[("x-forwarded-for", &format!("6.6.6.6, {address}"))])
    };
    for _ in 0..20 {
        assert_eq!(from("203.0.113.1", "ada@example.org").status, 401);
    }
    let refused = from("203.0.113.2", "ada@example.org");
    assert_eq!((refused.status, refused.code()), (429, "rate_limited"));
    assert!((1..=901).contains(&refused.header("retry-after").parse::<u32>().expect("seconds")));
    for n in 0..80 {
        assert_eq!(from("203.0.113.1", &format!("u{n}@example.org")).status, 401);
    }
    assert_eq!(from("203.0.113.1", "another@example.org").status, 429, "the address is limited too");
    assert_eq!(from("203.0.113.3", "another@example.org").status, 401, "other addresses are not");
}

#[test]
fn every_form_refuses_what_is_wrong_empty_and_huge() {
    let (service, _) = open(&["body_limit=64KiB"]);
    let browser = Browser::new(&service);
    let forms: &[(&str, &[&str])] = &[
        ("/api/v1/signup", &["email", "password", "name", "tenant", "invite"]),
        ("/api/v1/signup/verify", &["token", "password"]),
        ("/api/v1/signup/resend", &["email"]),
        ("/api/v1/session", &["email", "password"]),
        ("/api/v1/password/forgot", &["email"]),
        ("/api/v1/password/reset", &["token", "password"]),
    ];
    let hostile = [
        json!(""),
        json!(null),
        json!(7),
        json!([]),
        json!({"$gt": ""}),
        json!("\u{0}"),
        json!("' OR 1=1 --"),
        json!("x".repeat(60_000)),
        json!("🦀".repeat(9000)),
    ];
    for (path, fields) in forms {
        for body in ["", "{", "[]", "[null, null]", "null", "\"x\"", "{}", "{\"unknown\": 1}", "\u{feff}{}"] {
            let answer = browser.form(&format!("{}{path}", service.url)).header("content-type", "application/json").body(body).send();
            assert_eq!(answer.expect("an answer").status().as_u16(), 400, "{path}: {body}");
        }
        let text =
            browser.form(&format!("{}{path}", service.url)).header("content-type", "text/plain").body("{}").send().expect("an answer");
        assert_eq!(text.status().as_u16(), 415, "{path}");
        let huge =
            browser.form(&format!("{}{path}", service.url)).header("content-type", "application/json").body(" ".repeat(70_000)).send();
        assert_eq!(huge.expect("an answer").status().as_u16(), 413, "{path}");
        for field in *fields {
            for value in &hostile {
                let mut body = json!({});
                for other in *fields {
                    body[*other] = match *other {
                        "email" => json!("someone@example.org"),
                        "password" => json!("not the password"),
                        _ => json!("x"),
                    };
                }
                body.as_object_mut().expect("an object").remove("invite");
                body[*field] = value.clone();
                let status = browser.post(path, &body).status;
                assert!(matches!(status, 201 | 202 | 400 | 401 | 429), "{path} {field} {value}: {status}");
            }
        }
    }
    assert_eq!(service.get(&service.operator_key, "/api/v1/users").0, 200);
}

#[test]
fn the_commands_sign_up_log_in_and_manage_people() {
    let (service, mail) = open(&[]);
    let home = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], input: &str| {
        use std::io::Write;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_freehold"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FREEHOLD_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .args(["--url", &service.url])
            .args(arguments);
        let piped = std::process::Stdio::piped;
        let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("it runs");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(PASSWORD), "{text}");
        (output.status.success(), text)
    };
    let input = format!("{PASSWORD}\n");
    let (done, text) = run(&["signup", "ada@example.org", "--tenant", "engines"], &input);
    assert!(done && text.contains("mail is on its way"), "{text}");
    assert!(!run(&["login", "ada@example.org"], &input).0, "not verified yet");
    Browser::new(&service).verify(&token(&letter(&mail, "ada@example.org", 0)));
    let (done, text) = run(&["login", "ada@example.org"], &input);
    assert!(done, "{text}");
    let kept = home.path().join(".config/freehold/session.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).expect("kept").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(run(&["whoami"], "").1.trim(), "ada@example.org, owner in engines");
    let (done, text) = run(&["password"], &format!("{PASSWORD}\n{PASSWORD}\n"));
    assert!(done && text.contains("new"), "{text}");
    assert!(!run(&["password"], &format!("wrong password\n{PASSWORD}\n")).0);
    let (done, text) = run(&["--json", "key", "create", "laptop"], "");
    assert!(done && text.contains("\"secret\""), "{text}");
    let (done, text) = run(&["user", "invite", "bob@example.org", "--role", "viewer"], "");
    assert!(done && text.contains("mail is on its way"), "{text}");
    let (done, text) = run(&["user", "list"], "");
    assert!(done && text.contains("ada@example.org") && text.contains("owner"), "{text}");
    assert!(run(&["tenant", "rename", "engines", "works"], "").0);
    let (done, text) = run(&["trail"], "");
    assert!(done && text.contains("freehold.tenant.changed"), "{text}");
    assert!(!run(&["user", "remove", "ada@example.org"], "").0, "the last owner stays");
    assert!(run(&["logout"], "").0 && !kept.exists());
    assert!(!run(&["login", "ada@example.org"], "wrong password\n").0);
    assert!(!run(&["login", "ada@example.org"], "").0, "no password");

    let operator = |arguments: &[&str]| cli(service.data.path(), arguments);
    let list = operator(&["--json", "user", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("ada@example.org"));
    assert!(!operator(&["user", "create", "root@example.org", "--operator"]).status.success(), "no password on standard input");
    let invite = operator(&["invite", "create", "--uses", "3", "--note", "friends"]);
    assert_eq!(String::from_utf8_lossy(&invite.stdout).trim().len(), 43);
    let invites = operator(&["invite", "list"]);
    assert!(String::from_utf8_lossy(&invites.stdout).contains("friends"));
    assert!(operator(&["waiting", "list"]).status.success());
}
