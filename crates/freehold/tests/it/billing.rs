//! Money over HTTP and by CLI: what is refused, what is charged, what each side sees.

use std::io::{BufRead, Read};

use serde_json::{Value, json};

use super::support::{MODEL, Service, ask, kill, root, until};

/// Only tokens of answers cost: 1,000 nano-units each.
pub fn set_prices(service: &Service) {
    let prices = json!({"models": {"*": {"input": "0", "output": "1000000000"}}});
    let (status, answer) = service.post(&service.operator_key, "/api/v1/prices", &prices);
    assert_eq!(status, 201, "{answer}");
    until("the prices hold", || (get(service, "/api/v1/prices")["number"] == answer["number"]).then_some(()));
}

pub fn get(service: &Service, path: &str) -> Value {
    let (status, answer) = service.get(&service.operator_key, path);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn put(service: &Service, path: &str, body: &Value) -> (u16, Value) {
    let request = service.http.put(format!("{}{path}", service.url)).bearer_auth(&service.operator_key).json(body);
    let response = request.send().expect("an answer");
    (response.status().as_u16(), response.json().expect("JSON"))
}

/// A request whose answer has exactly so many tokens.
pub fn exactly(tokens: u32) -> Value {
    let mut body = ask("Tell a story.", tokens);
    body["logit_bias"] = json!({"2": -100, "0": -100});
    body
}

/// Nothing runs, everything is settled, the accounts add up.
pub fn check_settled(service: &Service) -> Value {
    until("everything is settled", || {
        let ledger = get(service, "/api/v1/ledger");
        (ledger["holds"] == 0 && ledger["pending"] == 0).then_some(())
    });
    let ledger = get(service, "/api/v1/ledger");
    assert_eq!(ledger["total"], "0", "{ledger}");
    ledger
}

fn records(service: &Service) -> Vec<Value> {
    get(service, "/api/v1/usage/records?tenant=main")["data"].as_array().expect("records").clone()
}

#[test]
fn five_hundred_at_once_against_a_budget_for_ten_admit_ten() {
    let service = Service::with_model(&[]);
    set_prices(&service);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &exactly(1)).0, 200, "the model is loaded");
    let key = get(&service, "/api/v1/keys?tenant=main")["data"][0]["id"].as_str().expect("an id").to_owned();
    // One token is spent; ten answers of eight tokens fit.
    let (status, limits) = put(&service, &format!("/api/v1/limits?key={key}"), &json!({"budget_day": "81000"}));
    assert_eq!((status, &limits["in_use"]["day_spent"]), (200, &json!("1000")), "{limits}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let statuses = runtime.block_on(async {
        let client = reqwest::Client::new();
        let requests = (0..500).map(|_| {
            let request = client.post(format!("{}/v1/chat/completions", service.url)).bearer_auth(&service.key).json(&exactly(8));
            tokio::spawn(async move {
                let response = request.send().await.expect("an answer");
                let status = response.status().as_u16();
                (status, response.json::<Value>().await.expect("JSON"))
            })
        });
        futures::future::join_all(requests).await
    });
    let answers: Vec<(u16, Value)> = statuses.into_iter().map(|answer| answer.expect("a task")).collect();
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 10);
    for (_, body) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!(body["error"]["code"], "insufficient_quota", "{body}");
    }
    check_settled(&service);
    assert_eq!(get(&service, &format!("/api/v1/limits?key={key}"))["in_use"]["day_spent"], "81000");
    assert_eq!(get(&service, "/api/v1/balance?tenant=main")["balance"], "-81000");
}

#[test]
fn refusals_have_the_shape_of_their_dialect() {
    let service = Service::with_model(&[]);
    set_prices(&service);
    service.cli(&["tenant", "create", "poor"]);
    let poor = service.cli(&["key", "create", "k", "--tenant", "poor"]);
    let poor = poor.trim();
    let llama = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 8});
    let (status, body) = service.post(poor, "/v1/chat/completions", &exactly(8));
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["type"]),
        (402, &json!("insufficient_quota"), &json!("insufficient_credit"))
    );
    let message = body["error"]["message"].as_str().expect("a message");
    assert!(message.contains("0.000008") && message.contains("max_tokens"), "{message}");
    let (status, body) = service.post(poor, "/llama/v1/chat/completions", &llama);
    assert_eq!((status, &body["code"], &body["title"]), (402, &json!("insufficient_credit"), &json!("Payment Required")));
    let (status, body) = service.post(poor, "/v1/embeddings", &json!({"model": MODEL, "input": "Hi"}));
    assert_eq!(status, 200, "what costs nothing is not refused: {body}");

    put(&service, "/api/v1/limits?tenant=poor", &json!({"requests_per_minute": 1}));
    service.cli(&["credit", "add", "poor", "1"]);
    assert_eq!(service.post(poor, "/v1/chat/completions", &exactly(1)).0, 200);
    let request = service.http.post(format!("{}/v1/chat/completions", service.url)).bearer_auth(poor).json(&exactly(1));
    let response = request.send().expect("an answer");
    let wait: u32 = response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(response.status().as_u16() == 429 && (1..=61).contains(&wait), "{wait}");
    assert_eq!(response.json::<Value>().expect("JSON")["error"]["code"], "rate_limit_exceeded");
    let (status, body) = service.post(poor, "/llama/v1/chat/completions", &llama);
    assert_eq!((status, &body["code"]), (429, &json!("rate_limited")));
    check_settled(&service);
}

#[test]
fn each_end_of_an_answer_is_charged_as_it_should() {
    let service = Service::with_model(&[]);
    set_prices(&service);
    let outcome = |count: usize| {
        until("a record", || (records(&service).len() == count).then_some(()));
        check_settled(&service);
        let record = records(&service)[0].clone();
        let text = |name: &str| record[name].as_str().expect("text").to_owned();
        (text("state"), text("outcome"), text("amount").parse::<u64>().expect("an amount"), record["delivered_at"].is_string())
    };
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &exactly(5)).0, 200);
    assert_eq!(outcome(1), ("posted".to_owned(), "complete".to_owned(), 5000, true));
    let mut whole = String::new();
    service.stream(&exactly(6)).read_to_string(&mut whole).expect("the answer");
    assert_eq!(outcome(2), ("posted".to_owned(), "complete".to_owned(), 6000, true));

    // The client leaves.
    let mut stream = service.stream(&exactly(2000));
    let mut line = String::new();
    stream.read_line(&mut line).expect("the first event");
    drop(stream);
    let (state, how, amount, delivered) = outcome(3);
    assert_eq!((state.as_str(), how.as_str(), delivered), ("posted", "client_gone", false));
    assert!((1000..2_000_000).contains(&amount), "{amount}");
    let record = &records(&service)[0];
    assert_eq!(record["served"], record["provider_reported"], "the worker says how far it came: {record}");
    let tokens = |name: &str| record["served"][name].as_u64().expect("a number");
    assert_eq!(tokens("output_tokens") * 1000, amount);
    assert!(tokens("cached_tokens") > 0, "the prompt of the request before: {record}");

    // The worker dies.
    let mut stream = service.stream(&exactly(2000));
    stream.read_line(&mut line).expect("the first event");
    kill(u32::try_from(service.workers()[0]["pid"].as_u64().expect("a pid")).expect("a pid"), "KILL");
    stream.read_to_string(&mut whole).expect("the rest");
    assert_eq!(outcome(4), ("posted".to_owned(), "failed".to_owned(), 0, false));

    // What is refused leaves nothing.
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &json!({"model": MODEL, "messages": [], "max_tokens": 1})).0, 400);
    check_settled(&service);
    assert_eq!(records(&service).len(), 4);
    let usage = get(&service, "/api/v1/usage?tenant=main&by=model");
    assert_eq!((&usage["data"][0]["requests"], &usage["data"][0]["failed"]), (&json!(4), &json!(1)), "{usage}");
}

#[test]
fn a_judgement_that_is_none_costs_nothing() {
    let service = Service::with_model(&[]);
    set_prices(&service);
    let ask = json!({"model": MODEL, "messages": [{"role": "user", "content": "Tell me a story about a fox."}]});
    let (status, answer) = service.post(&service.key, "/llama/v1/moderations", &ask);
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("Llama Guard"), "{answer}");
    let ledger = check_settled(&service);
    let records = records(&service);
    assert_eq!((records.len(), &records[0]["outcome"], &records[0]["amount"]), (1, &json!("failed"), &json!("0")), "{records:?}");
    assert!(records[0]["served"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "what was computed is on record: {records:?}");
    assert!(ledger["accounts"]["revenue"].is_null() || ledger["accounts"]["revenue"] == "0", "{ledger}");
}

#[test]
fn taxes_and_runs_by_cli() {
    let service = Service::start(&[]);
    let set = service.cli(&["tax", "set", "taxed", "--rate", "8.875", "--name", "Sales tax", "--note", "Nexus"]);
    assert!(set.contains("Sales tax 8.875 %"), "{set}");
    assert!(service.cli(&["tax", "show"]).contains("as for all tenants"), "the tenant's own");
    assert!(!service.cli(&["tax", "show", "--all"]).contains("as for all tenants"), "what holds for all");
    let set = service.cli(&["tax", "set", "reverse_charge", "--tenant", "main", "--tax-id", "DE1", "--billed-to", "Main GmbH\\nKöln"]);
    assert!(set.contains("reverse_charge") && set.contains("Main GmbH\nKöln"), "{set}");
    for bad in [vec!["tax", "set", "taxed"], vec!["tax", "set", "taxed", "--rate", "19%"], vec!["tax", "set", "sometimes"]] {
        assert!(!service.try_cli(&bad).status.success(), "{bad:?}");
    }
    service.cli(&["tax", "set", "inherit", "--tenant", "main"]);
    service.cli(&["credit", "add", "main", "100", "--paid"]);
    let invoices = service.cli(&["invoice", "list"]);
    assert!(invoices.contains("TOP-") && invoices.contains("8.875"), "{invoices}");
    let id = invoices.split_whitespace().find(|word| word.starts_with("inv_")).expect("an id");
    let shown = service.cli(&["invoice", "show", id]);
    assert!(shown.contains("Sales tax 8.875 % on 100") && shown.contains("Total with tax: 108.875"), "{shown}");
    until("the last month was looked at", || service.cli(&["invoice", "runs"]).contains("done").then_some(()));
    let runs: Value = serde_json::from_str(&service.cli(&["--json", "invoice", "runs"])).expect("JSON");
    assert_eq!((&runs["monthly"], &runs["data"][0]["by"], &runs["data"][0]["invoices"]), (&json!(true), &json!("service"), &json!(0)));
}

#[test]
fn money_by_cli() {
    let service = Service::with_model(&[]);
    let file = service.data.path().join("prices.json");
    std::fs::write(&file, r#"{"models": {"*": {"input": "0", "output": "1000000000"}}}"#).expect("written");
    service.cli(&["prices", "set", file.to_str().expect("UTF-8")]);
    until("the prices hold", || service.cli(&["prices"]).contains("1M tokens").then_some(()));
    let (status, prices) = service.get("", "/api/v1/prices");
    assert_eq!((status, &prices["models"]["*"]["output"]), (200, &json!("1000000000")), "everybody may see the prices: {prices}");

    assert_eq!(service.post(&service.key, "/v1/chat/completions", &exactly(3)).0, 200);
    check_settled(&service);
    let usage = service.cli(&["usage", "--by", "day,model"]);
    assert!(usage.contains(MODEL) && usage.contains("0.000003"), "{usage}");
    assert!(service.cli(&["usage", "--plot"]).contains('█'));
    let json: Value = serde_json::from_str(&service.cli(&["--json", "usage"])).expect("JSON");
    assert_eq!(json["data"][0]["output_tokens"], 3);

    let code = service.cli(&["credit", "voucher", "2.5"]);
    assert!(service.cli(&["credit", "redeem", code.trim(), "--tenant", "main"]).contains("2.499997"));
    assert!(!service.try_cli(&["credit", "redeem", code.trim(), "--tenant", "main"]).status.success());
    let shown = service.cli(&["credit", "show"]);
    assert!(shown.contains("voucher") && shown.contains("2.5"), "{shown}");
    let limits = service.cli(&["limits", "set", "--tenant", "main", "--budget-day", "1.5", "--parallel", "4"]);
    assert!(limits.contains("1.5"), "{limits}");
    let limits = service.cli(&["limits", "set", "--tenant", "main", "--parallel", "none"]);
    assert!(limits.contains("1.5") && !limits.contains('4'), "{limits}");
    assert!(!service.try_cli(&["limits", "set", "--tenant", "main", "--budget-day", "much"]).status.success());
    assert!(service.cli(&["invoice", "list"]).contains("NUMBER"));
    assert!(!service.try_cli(&["invoice", "run", "9999-01"]).status.success(), "that month is not over");
    assert!(!service.try_cli(&["prices", "set", "/nonexistent"]).status.success());
}

#[test]
fn hostile_input_on_every_route() {
    let service = Service::start(&[]);
    let long = "9".repeat(400);
    let texts = ["", "'", "\"", "%00", "..%2f..", "-1", "1e999", "NaN", "%F0%9F%92%A9", "2026-13", "0000-00-00", "9999999999-01-01", &long];
    let routes = [
        "/prices?at=",
        "/usage?from=",
        "/usage?to=",
        "/usage?by=",
        "/usage?tenant=",
        "/usage/records?after=",
        "/usage/records?limit=",
        "/usage/focus?month=",
        "/usage/focus?month=2026-11&format=",
        "/balance?tenant=",
        "/credit?tenant=",
        "/vouchers?after=",
        "/limits?key=",
        "/limits?tenant=",
        "/invoices?after=",
        "/invoices?tenant=",
        "/invoices/",
        "/invoices/runs?x=",
        "/invoices/runs/",
        "/invoices/runs/2020-01?after=",
        "/tax?tenant=",
        "/revenue?from=",
        "/revenue?by=",
        "/ledger?x=",
    ];
    for route in routes {
        for text in texts {
            let (status, body) = service.get(&service.operator_key, &format!("/api/v1{route}{text}"));
            assert!(status < 500, "{route}{text}: {status} {body}");
        }
    }
    let amounts =
        [json!("-1"), json!("0"), json!(1), json!(1.5), json!("1.5"), json!("9223372036854775808"), json!(long), json!(null), json!([])];
    for amount in amounts {
        let bodies = [
            ("/credit", json!({"tenant": "main", "amount": amount})),
            ("/vouchers", json!({"amount": amount})),
            ("/prices", json!({"models": {"*": {"input": amount, "output": "-1"}}})),
            ("/invoices/inv_00000000000000000000000001/credit-note", json!({"amount": amount, "reason": ""})),
            ("/invoices/run", json!({"month": amount})),
            ("/tax", json!({"treatment": "taxed", "rate_percent": amount})),
            ("/vouchers/redeem", json!({"code": amount, "tenant": "main"})),
        ];
        for (route, body) in bodies {
            let (status, answer) = service.post(&service.operator_key, &format!("/api/v1{route}"), &body);
            assert!((400..500).contains(&status), "{route} {body}: {status} {answer}");
        }
        for (route, body) in [("/limits?tenant=main", json!({"parallel": amount})), ("/balance?tenant=main", json!({"mode": amount}))] {
            let (status, answer) = put(&service, &format!("/api/v1{route}"), &body);
            assert!(status < 500 && (status != 200 || body["parallel"] == 1 || body["parallel"].is_null()), "{route} {body}: {answer}");
        }
    }
    let (status, _) =
        service.post(&service.operator_key, "/api/v1/credit", &json!({"tenant": "main", "amount": "1", "note": "x".repeat(501)}));
    assert_eq!(status, 400);
    check_settled(&service);
    assert_eq!(get(&service, "/api/v1/balance?tenant=main")["balance"], "0");
}

#[test]
fn an_export_is_accepted_by_the_focus_validator() {
    let service = Service::with_model(&[]);
    set_prices(&service);
    for tokens in 1..4 {
        assert_eq!(service.post(&service.key, "/v1/chat/completions", &exactly(tokens)).0, 200);
    }
    check_settled(&service);
    let started = records(&service)[0]["started_at"].as_str().expect("a time").to_owned();
    for format in ["csv", "parquet"] {
        let path = format!("/api/v1/usage/focus?month={}&format={format}", &started[..7]);
        let response = service.http.get(format!("{}{path}", service.url)).bearer_auth(&service.key).send().expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        let file = service.data.path().join(format!("focus.{format}"));
        std::fs::write(&file, response.bytes().expect("a file")).expect("written");
        let output = std::process::Command::new(root().join("tests/focus/validate")).arg(&file).output().expect("make focus");
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
}
