//! A person at a browser, and the person's mailbox.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Service, until};

pub const PASSWORD: &str = "correct horse";

/// A browser: keeps the session's cookie and the CSRF token, follows no redirect by itself.
#[derive(Clone)]
pub struct Browser {
    pub http: reqwest::blocking::Client,
    pub url: String,
    pub session: Option<String>,
    pub csrf: Option<String>,
    pub tenant: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value that a cookie is set to.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|text| text.split(';').next()?.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }
}

impl Browser {
    pub fn new(service: &Service) -> Self {
        let http = reqwest::blocking::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { http, url: service.url.clone(), session: None, csrf: None, tenant: None }
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&Value>, more: &[(&str, &str)]) -> Answer {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut request = self.http.request(method, url);
        if let Some(session) = &self.session {
            request = request.header("cookie", format!("freehold_session={session}"));
        }
        if let Some(csrf) = &self.csrf {
            request = request.header("x-csrf-token", csrf);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-freehold-tenant", tenant);
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().expect("a body");
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("get", path, None, &[])
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("post", path, Some(body), &[])
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("delete", path, None, &[])
    }

    pub fn form(&self, path: &str) -> reqwest::blocking::RequestBuilder {
        self.http.post(path)
    }

    /// Logs in, and keeps what a browser keeps.
    pub fn log_in(&mut self, email: &str, password: &str) -> Answer {
        let answer = self.send("post", "/api/v1/session", Some(&json!({"email": email, "password": password})), &[]);
        self.session = answer.cookie("freehold_session").or_else(|| self.session.take());
        self.csrf = answer.body["csrf_token"].as_str().map(str::to_owned);
        answer
    }

    /// A browser that is logged in.
    pub fn logged_in(service: &Service, email: &str) -> Self {
        let mut browser = Self::new(service);
        let answer = browser.log_in(email, PASSWORD);
        assert_eq!(answer.status, 200, "{email}: {answer:?}");
        browser
    }

    pub fn sign_up(&self, email: &str) -> Answer {
        self.post("/api/v1/signup", &json!({"email": email, "password": PASSWORD}))
    }

    pub fn verify(&self, token: &str) -> Answer {
        self.post("/api/v1/signup/verify", &json!({"token": token, "password": PASSWORD}))
    }
}

/// Makes a user at once, as an operator may.
pub fn make_user(service: &Service, email: &str, tenant: Option<(&str, &str)>, operator: bool) {
    let mut body = json!({"email": email, "password": PASSWORD, "operator": operator});
    if let Some((tenant, role)) = tenant {
        body["tenant"] = json!(tenant);
        body["role"] = json!(role);
    }
    let (status, answer) = service.post(&service.operator_key, "/api/v1/users", &body);
    assert_eq!(status, 201, "{answer}");
}

/// The letters of a folder that are to an address, oldest first.
pub fn letters(folder: &Path, to: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "eml"));
    paths.sort();
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).expect("a letter"));
    texts.filter(|text| text.lines().any(|line| line.starts_with("To: ") && line.contains(to))).collect()
}

/// The `n`th letter to an address, once it is there.
pub fn letter(folder: &Path, to: &str, n: usize) -> String {
    until(&format!("letter {n} to {to}"), || letters(folder, to).into_iter().nth(n))
}

/// The token in a letter's link.
pub fn token(letter: &str) -> String {
    let link = letter.lines().find(|line| line.contains("/#/")).unwrap_or_else(|| panic!("no link in {letter}"));
    link.trim().rsplit('/').next().expect("a token").to_owned()
}
