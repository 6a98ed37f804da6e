//! Every route is asked by nobody, by each role and key of the tenant that a thing belongs to, by each role and key of
//! another tenant, and by operators. The list of routes comes from the OpenAPI document, and one that is missing here
//! fails.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::Service;
use super::visitor::{Browser, make_user};

/// Asks as another tenant's caller what the own tenant's is asked: the same status.
const SAME: u16 = 0;

/// Method, path with its query, body, and the status for: nobody; owner, developer, billing, viewer and key of the
/// tenant `main`, whose the things are; the roles of another tenant; its key; the operator's key; an operator who is
/// logged in. 400 and 404 where no thing is named mean that the caller got past the door.
type Row = (&'static str, &'static str, &'static str, [u16; 10]);

const MATRIX: &[Row] = &[
    ("get", "/keys?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("post", "/keys", r#"{"name":"k","tenant":"main"}"#, [401, 201, 201, 403, 403, 201, 404, 404, 201, 201]),
    ("get", "/keys/{key}", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("delete", "/keys/{key}", "", [401, 200, 200, 403, 403, 200, 404, 404, 200, 200]),
    ("post", "/keys/{key}/rotate", "{}", [401, 200, 200, 403, 403, 200, 404, 404, 200, 200]),
    ("get", "/tenants", "", [401, 200, 200, 200, 200, 200, SAME, SAME, 200, 200]),
    ("post", "/tenants", r#"{"name":"../x"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 400, 400]),
    ("get", "/tenants/{tenant}", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("patch", "/tenants/{tenant}", r#"{"name":"main"}"#, [401, 200, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("get", "/models", "", [401, 200, 200, 200, 200, 200, SAME, SAME, 200, 200]),
    ("post", "/models", r#"{"source":"starter","name":"../x"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 400, 400]),
    ("get", "/models/{model}", "", [401, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
    ("patch", "/models/{model}", "{}", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("delete", "/models/{model}", "", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("post", "/models/{model}/unload", "{}", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("post", "/models/{model}/revert", "{}", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("get", "/models/{model}/adapters", "", [401, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
    ("post", "/models/{model}/adapters", r#"{"name":"a","path":"/x"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("delete", "/models/{model}/adapters/{adapter}", "", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("get", "/catalogue", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/operations", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/operations/{operation}", "", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("delete", "/operations/{operation}", "", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("get", "/status", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/whoami", "", [401, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("get", "/openapi.json", "", [200; 10]),
    ("get", "/signup", "", [200; 10]),
    ("post", "/signup", r#"{"email":"x@example.org","password":"long enough"}"#, [403; 10]),
    ("post", "/signup/verify", r#"{"token":"x"}"#, [400; 10]),
    ("post", "/signup/resend", r#"{"email":"x@example.org"}"#, [202; 10]),
    ("post", "/session", r#"{"email":"x@example.org","password":"long enough"}"#, [401; 10]),
    ("get", "/session", "", [401, 200, 200, 200, 200, 401, 200, 401, 401, 200]),
    ("delete", "/session", "", [401, 204, 204, 204, 204, 401, 204, 401, 401, 204]),
    ("delete", "/sessions", "", [401, 204, 204, 204, 204, 401, 204, 401, 401, 204]),
    ("post", "/password/forgot", r#"{"email":"x@example.org"}"#, [202; 10]),
    ("post", "/password/reset", r#"{"token":"x","password":"long enough"}"#, [400; 10]),
    (
        "post",
        "/password/change",
        r#"{"current":"correct horse","new":"correct horse"}"#,
        [401, 204, 204, 204, 204, 401, 204, 401, 401, 204],
    ),
    ("get", "/oidc/{provider}/start", "", [404; 10]),
    ("get", "/oidc/{provider}/callback", "", [302; 10]),
    ("get", "/users?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    (
        "post",
        "/users",
        r#"{"email":"new@example.org","role":"viewer","tenant":"main"}"#,
        [401, 201, 403, 403, 403, 403, 404, 404, 201, 201],
    ),
    ("patch", "/users/{user}?tenant=main", r#"{"role":"viewer"}"#, [401, 200, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("delete", "/users/{user}?tenant=main", "", [401, 200, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("get", "/invites", "", [401, 200, 403, 403, 403, 403, SAME, SAME, 200, 200]),
    ("post", "/invites", "{}", [401, 403, 403, 403, 403, 403, 403, 403, 201, 201]),
    ("delete", "/invites/{invite}", "", [401, 200, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("get", "/waiting", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("delete", "/waiting/{entry}", "", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("post", "/waiting/{entry}/admit", "{}", [401, 403, 403, 403, 403, 403, 403, 403, 404, 404]),
    ("get", "/trail?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("get", "/prices", "", [200; 10]),
    ("post", "/prices", r#"{"models":{}}"#, [401, 403, 403, 403, 403, 403, 403, 403, 400, 400]),
    ("get", "/usage?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("get", "/usage/records?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("get", "/usage/focus?tenant=main&month=2026-11", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("get", "/revenue", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/ledger", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/balance?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("put", "/balance?tenant=main", r#"{"mode":"postpaid"}"#, [401, 403, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("get", "/credit?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("post", "/credit", r#"{"tenant":"main","amount":"1"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 201, 201]),
    ("get", "/vouchers", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("post", "/vouchers", r#"{"amount":"1"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 201, 201]),
    ("post", "/vouchers/redeem", r#"{"code":"x","tenant":"main"}"#, [401, 404, 403, 404, 403, 403, 404, 404, 404, 404]),
    ("get", "/limits?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("put", "/limits?tenant=main", "{}", [401, 200, 403, 200, 403, 403, 404, 404, 200, 200]),
    ("get", "/responses?tenant=main", "", [401, 200, 200, 403, 403, 200, 404, 404, 403, 403]),
    ("get", "/responses/export?tenant=main", "", [401, 200, 200, 403, 403, 200, 404, 404, 403, 403]),
    ("delete", "/responses/{response}", "", [401, 404, 404, 403, 403, 404, SAME, SAME, 403, 403]),
    ("get", "/invoices?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("post", "/invoices/run", r#"{"month":"2020-01"}"#, [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/invoices/runs", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/invoices/runs/{month}", "", [401, 403, 403, 403, 403, 403, 403, 403, 200, 200]),
    ("get", "/tax?tenant=main", "", [401, 200, 200, 200, 200, 200, 404, 404, 200, 200]),
    ("put", "/tax?tenant=main", r#"{"treatment":"inherit"}"#, [401, 403, 403, 403, 403, 403, 404, 404, 200, 200]),
    ("get", "/invoices/{invoice}", "", [401, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
    ("post", "/invoices/{invoice}/credit-note", r#"{"amount":"1","reason":"x"}"#, [401, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
    ("post", "/invoices/{invoice}/paid", "{}", [401, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
];

const ROLES: [&str; 4] = ["owner", "developer", "billing", "viewer"];

/// Somebody who asks, and what he is expected to hear: a column of the table, and the one that `SAME` means.
struct Asker {
    name: String,
    browser: Browser,
    key: Option<String>,
    column: usize,
    same: usize,
}

struct House {
    service: Service,
    made: Cell<u32>,
}

impl House {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mail = format!("mail=file:{}", data.path().join("mail").display());
        let house = Self { service: Service::start_on(data, &[mail.as_str()]), made: Cell::new(0) };
        house.operator("/tenants", json!({"name": "other"}));
        for tenant in ["main", "other"] {
            for role in ROLES {
                make_user(&house.service, &format!("{role}@{tenant}.example.org"), Some((tenant, role)), false);
            }
        }
        make_user(&house.service, "root@example.org", None, true);
        house
    }

    fn operator(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.service.post(&self.service.operator_key, &format!("/api/v1{path}"), &body);
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    fn askers(&self) -> Vec<Asker> {
        let nobody = Browser::new(&self.service);
        let with_key =
            |name: &str, key: String, column, same| Asker { name: name.to_owned(), browser: nobody.clone(), key: Some(key), column, same };
        let with_session = |email: &str, column, same| Asker {
            name: email.to_owned(),
            browser: Browser::logged_in(&self.service, email),
            key: None,
            column,
            same,
        };
        let mut askers = vec![Asker { name: "nobody".to_owned(), browser: nobody.clone(), key: None, column: 0, same: 0 }];
        for (index, role) in ROLES.iter().enumerate() {
            askers.push(with_session(&format!("{role}@main.example.org"), index + 1, 0));
            askers.push(with_session(&format!("{role}@other.example.org"), 6, index + 1));
        }
        let theirs = self.operator("/keys", json!({"name": "theirs", "tenant": "other"}))["secret"].as_str().expect("a secret").to_owned();
        askers.push(with_key("main's key", self.service.key.clone(), 5, 0));
        askers.push(with_key("other's key", theirs, 7, 5));
        askers.push(with_key("the operator's key", self.service.operator_key.clone(), 8, 0));
        askers.push(with_session("root@example.org", 9, 0));
        askers
    }

    /// The path with things of the tenant `main` in it, made for this one request.
    fn concrete(&self, path: &str) -> String {
        let n = self.made.replace(self.made.get() + 1);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut path = path.replace("{tenant}", "main").replace("{month}", "2020-01");
        if path.contains("{key}") {
            path = path.replace("{key}", &text(&self.operator("/keys", json!({"name": "k", "tenant": "main"}))["id"]));
        }
        if path.contains("{user}") {
            let email = format!("member{n}@example.org");
            make_user(&self.service, &email, Some(("main", "viewer")), false);
            path = path.replace("{user}", &email);
        }
        if path.contains("{invite}") {
            let body = json!({"email": format!("invited{n}@example.org"), "role": "viewer", "tenant": "main"});
            path = path.replace("{invite}", &text(&self.operator("/users", body)["invite"]["id"]));
        }
        format!("/api/v1{}", path.replace(['{', '}'], ""))
    }

    fn ask(&self, asker: &Asker, row: &Row) -> u16 {
        let (method, path, body, _) = row;
        let body = (!body.is_empty()).then(|| serde_json::from_str(body).expect("JSON"));
        let path = self.concrete(path);
        let bearer = asker.key.as_ref().map(|key| format!("Bearer {key}"));
        let more: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        // What ends the session gets one of its own.
        let ends = *method == "delete" && path.starts_with("/api/v1/session") && asker.browser.session.is_some();
        let once = ends.then(|| Browser::logged_in(&self.service, &asker.name));
        once.as_ref().unwrap_or(&asker.browser).send(method, &path, body.as_ref(), &more).status
    }
}

#[test]
fn every_route_asks_who_may() {
    let house = House::new();
    let (_, document) = house.service.get("", "/api/v1/openapi.json");
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        routes.extend(
            methods
                .filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str()))
                .map(|method| (path.clone(), method.clone())),
        );
    }
    let mut askers = house.askers();
    let mut wrong = Vec::new();
    for row in MATRIX {
        let (method, path, _, expected) = row;
        let plain = format!("/api/v1{}", path.split('?').next().unwrap_or_default());
        assert!(routes.remove(&(plain, (*method).to_owned())), "{method} {path} is not in the document");
        for asker in &askers {
            let expect = if expected[asker.column] == SAME { expected[asker.same] } else { expected[asker.column] };
            let status = house.ask(asker, row);
            if status != expect {
                wrong.push(format!("{method} {path} by {}: {status} instead of {expect}", asker.name));
            }
        }
        if *path == "/sessions" {
            // Everybody was logged out everywhere.
            askers = house.askers();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(routes.is_empty(), "routes without a row in the matrix: {routes:?}");
}

#[test]
fn every_route_that_changes_something_takes_the_csrf_token() {
    let house = House::new();
    let forged = Browser { csrf: None, ..Browser::logged_in(&house.service, "owner@main.example.org") };
    for (method, path, body, expected) in MATRIX.iter().filter(|(method, _, _, expected)| *method != "get" && expected[0] == 401) {
        // To log in is open to everybody, and refused for other reasons.
        if (*method, *path) == ("post", "/session") {
            continue;
        }
        let body = (!body.is_empty()).then(|| serde_json::from_str(body).expect("JSON"));
        let answer = forged.send(method, &house.concrete(path), body.as_ref(), &[]);
        assert_eq!((answer.status, answer.code()), (403, "invalid_csrf_token"), "{method} {path}: {expected:?}");
    }
    assert_eq!(forged.get("/api/v1/session").status, 200);
}

#[test]
fn the_model_apis_ask_for_a_key() {
    let service = Service::start(&[]);
    for prefix in ["/v1", "/llama/compat/v1", "/llama/v1"] {
        for path in ["chat/completions", "completions", "embeddings", "responses", "moderations"] {
            let response = service.http.post(format!("{}{prefix}/{path}", service.url)).json(&json!({})).send().expect("an answer");
            let status = response.status().as_u16();
            assert!(status == 401 || status == 404, "{prefix}/{path}: {status}");
            let body: Value = response.json().expect("JSON");
            assert!(body.is_object());
        }
        assert_eq!(service.http.get(format!("{}{prefix}/models", service.url)).send().expect("an answer").status().as_u16(), 401);
    }
    for prefix in ["/v1", "/llama/compat/v1"] {
        for (method, path) in [("GET", "responses/x"), ("DELETE", "responses/x"), ("GET", "responses/x/input_items")] {
            let request = service.http.request(method.parse().expect("a method"), format!("{}{prefix}/{path}", service.url));
            assert_eq!(request.send().expect("an answer").status().as_u16(), 401, "{method} {prefix}/{path}");
        }
    }
    let (status, body) = service.post(&service.operator_key, "/v1/chat/completions", &super::support::ask("Hi", 1));
    assert_eq!(status, 403, "{body}");
}
