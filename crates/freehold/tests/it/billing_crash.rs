//! kill -9 under load: every answer whose end a client saw is charged once, and no other is.
//!
//! `FREEHOLD_TEST_KILLS` says how often; 20 when it is left out, 1,000 in `make soak`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::billing::{check_settled, exactly, get, set_prices};
use super::support::{MODEL, Service, until};

const CLIENTS: usize = 8;

/// What a client saw: the request, and how many tokens its answer had.
type Ends = Mutex<HashMap<String, u64>>;

/// A number below `end` that nobody can foresee.
fn random(end: u64) -> u64 {
    RandomState::new().hash_one(std::thread::current().id()) % end
}

/// Asks until the service is gone, and notes each answer whose end came.
fn client(service: &Service, index: usize, over: &AtomicBool, ends: &Ends) {
    let http = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).tcp_nodelay(true).build().expect("a client");
    let mut turn = index;
    while !over.load(Ordering::Relaxed) {
        turn += 1;
        let tokens = 1 + random(6);
        if let Some(id) = one(service, &http, turn, tokens) {
            ends.lock().expect("the ends").insert(id, tokens);
        }
    }
}

/// One request in one of four ways; its id if the end came.
fn one(service: &Service, http: &reqwest::blocking::Client, turn: usize, tokens: u64) -> Option<String> {
    let mut body = exactly(u32::try_from(tokens).expect("a small number"));
    let path = match turn % 4 {
        0 => {
            body["stream"] = json!(true);
            "/v1/chat/completions"
        }
        1 => "/v1/chat/completions",
        2 => {
            body = json!({"model": MODEL, "prompt": "Once upon a time", "max_tokens": tokens, "stream": true, "logit_bias": {"2": -100, "0": -100}});
            "/v1/completions"
        }
        _ => {
            body = json!({"model": MODEL, "prompt": "Once upon a time", "max_tokens": tokens, "logit_bias": {"2": -100, "0": -100}});
            "/v1/completions"
        }
    };
    let response = http.post(format!("{}{path}", service.url)).bearer_auth(&service.key).json(&body).send().ok()?;
    let id = response.headers().get("x-request-id")?.to_str().ok()?.to_owned();
    if response.status().as_u16() != 200 {
        return None;
    }
    if turn % 2 == 1 {
        let answer: Value = serde_json::from_slice(&response.bytes().ok()?).ok()?;
        assert_eq!(answer["usage"]["completion_tokens"], tokens, "{answer}");
        return Some(id);
    }
    let mut lines = BufReader::new(response).lines();
    lines.find_map(|line| (line.ok()? == "data: [DONE]").then_some(()))?;
    Some(id)
}

/// Runs the clients against a service until it is killed; what they saw.
fn round(service: &Service) -> HashMap<String, u64> {
    let (over, ends) = (AtomicBool::new(false), Ends::default());
    std::thread::scope(|scope| {
        for index in 0..CLIENTS {
            let (over, ends) = (&over, &ends);
            scope.spawn(move || client(service, index, over, ends));
        }
        until("the first end", || (!ends.lock().expect("the ends").is_empty()).then_some(()));
        std::thread::park_timeout(Duration::from_micros(random(700_000)));
        service.signal("KILL");
        over.store(true, Ordering::Relaxed);
    });
    ends.into_inner().expect("the ends")
}

/// The records that are new since the record `last`.
fn new_records(service: &Service, last: &mut Option<String>) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = String::new();
    let newest = 'pages: loop {
        let page = get(service, &format!("/api/v1/usage/records?tenant=main&limit=1000{after}"));
        for record in page["data"].as_array().expect("records") {
            if record["id"].as_str() == last.as_deref() {
                break 'pages found.first().cloned();
            }
            found.push(record.clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break found.first().cloned(),
        }
    };
    *last = newest.map(|record: Value| record["id"].as_str().expect("an id").to_owned()).or(last.take());
    found
}

fn check(ends: &HashMap<String, u64>, records: &[Value], kill: u32) {
    let mut posted: HashMap<&str, u64> = HashMap::new();
    for record in records.iter().filter(|record| record["state"] == "posted") {
        let request = record["request"].as_str().expect("a request");
        let amount = record["amount"].as_str().expect("an amount").parse().expect("a number");
        assert_eq!(posted.insert(request, amount), None, "kill {kill}: {request} is charged twice");
    }
    for (request, tokens) in ends {
        let record = || records.iter().find(|record| record["request"] == request.as_str());
        assert_eq!(posted.remove(request.as_str()), Some(tokens * 1000), "kill {kill}: a client saw the end of {request}: {:?}", record());
    }
    assert!(posted.is_empty(), "kill {kill}: charged without an end that a client saw: {posted:?}");
    for record in records {
        assert!(["posted", "void"].contains(&record["state"].as_str().expect("a state")), "kill {kill}: {record}");
    }
}

/// Every tenant of a service used in the last month what `main` used in this one, and no month was invoiced. Python has
/// SQLite at hand; the service is stopped.
const LAST_MONTH: &str = "
import datetime, sqlite3, sys
first = datetime.datetime.now(datetime.UTC).date().replace(day=1)
day = ((first - datetime.timedelta(days=1)).replace(day=15) - datetime.date(1970, 1, 1)).days
connection = sqlite3.connect(sys.argv[1])
with connection:
    columns = 'key_id, meter, name, price_number, requests, failed, input, cached, output, seconds, amount'
    used = ', '.join('u.' + column for column in columns.split(', '))
    connection.execute('DELETE FROM invoice_runs')
    connection.execute('UPDATE usage_daily SET day = ?', (day,))
    connection.execute(f'INSERT OR IGNORE INTO usage_daily (tenant_id, day, {columns}) SELECT t.id, u.day, {used} FROM tenants t, usage_daily u')
connection.close()
";

/// Starts a service on a folder, and kills it after a while that nobody can foresee.
fn start_and_kill(data: &std::path::Path, after: Duration) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_freehold"))
        .arg("--data")
        .arg(data)
        .args(["up", "--listen", "127.0.0.1:0", "--set", "starter=false", "--set", "spare_worker=false"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the service starts");
    std::thread::park_timeout(after);
    child.kill().expect("killed");
    child.wait().expect("gone");
}

#[test]
fn a_killed_service_invoices_every_tenant_once() {
    const TENANTS: usize = 120;
    let service = Service::with_model(&["spare_worker=false"]);
    set_prices(&service);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &exactly(3)).0, 200);
    check_settled(&service);
    for n in 1..TENANTS {
        let (status, answer) = service.post(&service.operator_key, "/api/v1/tenants", &json!({"name": format!("t{n}")}));
        assert_eq!(status, 201, "{answer}");
    }
    service.signal("TERM");
    let (data, _) = service.wait();
    let database = data.path().join("freehold.sqlite3");
    let moved = std::process::Command::new("python3").arg("-c").arg(LAST_MONTH).arg(&database).output().expect("python runs");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    for _ in 0..12 {
        start_and_kill(data.path(), Duration::from_millis(20 + random(180)));
    }
    let service = Service::start_on(data, &["spare_worker=false"]);
    let run = until("the month is invoiced", || {
        let runs = get(&service, "/api/v1/invoices/runs");
        (runs["data"][0]["state"] == "done").then(|| runs["data"][0].clone())
    });
    assert_eq!((run["invoices"].as_u64(), run["by"].as_str()), (Some(TENANTS as u64), Some("service")), "{run}");
    let invoices = get(&service, "/api/v1/invoices?limit=1000")["data"].as_array().expect("invoices").clone();
    let mut numbers: Vec<&str> = invoices.iter().map(|one| one["number"].as_str().expect("a number")).collect();
    numbers.sort_unstable();
    let prefix = &numbers[0][..9];
    let expect: Vec<String> = (1..=TENANTS).map(|n| format!("{prefix}{n:06}")).collect();
    assert_eq!(numbers, expect, "each once, and no gap");
    let tenants: std::collections::HashSet<&str> = invoices.iter().map(|one| one["tenant"].as_str().expect("a tenant")).collect();
    assert_eq!((tenants.len(), invoices.iter().all(|one| one["total"] == "3000")), (TENANTS, true));
    check_settled(&service);
}

#[test]
fn a_killed_service_charges_for_the_ends_that_were_seen() {
    let kills: u32 = std::env::var("FREEHOLD_TEST_KILLS").ok().map_or(20, |text| text.parse().expect("a number"));
    let mut service = Service::with_model(&["spare_worker=false", "context_tokens=2048"]);
    set_prices(&service);
    let (mut last, mut charged) = (None, 0);
    for kill in 1..=kills {
        let ends = round(&service);
        let data = std::mem::replace(&mut service.data, tempfile::tempdir().expect("a folder"));
        drop(service);
        service = Service::start_on(data, &["spare_worker=false", "context_tokens=2048"]);
        let ledger = check_settled(&service);
        check(&ends, &new_records(&service, &mut last), kill);
        charged += ends.values().sum::<u64>() * 1000;
        assert_eq!(ledger["accounts"]["revenue"], charged.to_string(), "kill {kill}: {ledger}");
        assert_eq!(ledger["accounts"]["customer"], format!("-{charged}"), "kill {kill}: {ledger}");
    }
    let usage = get(&service, "/api/v1/usage?tenant=main&by=day");
    let sum: u64 = usage["data"]
        .as_array()
        .expect("days")
        .iter()
        .map(|day| day["amount"].as_str().expect("text").parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(sum, charged, "the days add up to what was charged");
}
