//! Models that another server serves: added, asked, metered to the token, and what becomes of each way to fail.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::billing::{check_settled, get};
use super::far::{Far, KEY, TEXT, WAYS};
use super::support::{Service, root, until};

/// A token of a prompt costs 1,000 nano-units, one of the cache 100, one of an answer 10,000.
fn set_prices(service: &Service) {
    let prices = json!({"models": {"*": {"input": "1000000000", "cached": "100000000", "output": "10000000000"}}});
    let (status, answer) = service.post(&service.operator_key, "/api/v1/prices", &prices);
    assert_eq!(status, 201, "{answer}");
    until("the prices hold", || (get(service, "/api/v1/prices")["number"] == answer["number"]).then_some(()));
}

/// Asks for a model with this body; how the operation ended.
fn add(service: &Service, name: &str, upstream: &Value) -> Value {
    let (status, started) = service.post(&service.operator_key, "/api/v1/models", &json!({"name": name, "upstream": upstream}));
    assert_eq!(status, 202, "{started}");
    let path = format!("/api/v1/operations/{}", started["id"].as_str().expect("an id"));
    until("the operation ends", || {
        let operation = get(service, &path);
        ["done", "failed"].contains(&operation["state"].as_str().expect("a state")).then_some(operation)
    })
}

fn server(far: &Far, way: &str) -> Value {
    json!({"url": far.url(), "model": way, "api_key": KEY})
}

/// A service whose models are the server's ways to behave.
fn service_with(far: &Far, options: &[&str]) -> Service {
    let service = Service::start(options);
    set_prices(&service);
    for way in WAYS {
        let added = add(&service, way, &server(far, way));
        assert_eq!(added["state"], "done", "{added}");
    }
    service
}

fn ask(model: &str, stream: bool) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20, "stream": stream, "user": "somebody"})
}

/// The newest record, once there are so many and everything is settled.
fn record(service: &Service, count: usize) -> Value {
    let records = || get(service, "/api/v1/usage/records?tenant=main")["data"].as_array().expect("records").clone();
    until("a record", || (records().len() == count).then_some(()));
    check_settled(service);
    records()[0].clone()
}

fn stream(service: &Service, path: &str, body: &Value) -> (u16, String) {
    let response = service.http.post(format!("{}{path}", service.url)).bearer_auth(&service.key).json(body).send().expect("an answer");
    let status = response.status().as_u16();
    let mut text = String::new();
    let mut response = response;
    response.read_to_string(&mut text).expect("the answer ends as it should");
    (status, text)
}

#[test]
fn a_model_of_another_server_is_added_asked_and_metered_to_the_token() {
    let far = Far::start();
    let service = Service::start(&[]);
    set_prices(&service);
    let key = service.data.path().join("far.key");
    std::fs::write(&key, format!("{KEY}\n")).expect("written");
    let key = key.to_str().expect("UTF-8");
    let url = far.url();
    let added = service.cli(&[
        "--json",
        "model",
        "add",
        "sky",
        "--upstream",
        &url,
        "--upstream-model",
        "good",
        "--api-key-file",
        key,
        "--provider",
        "far",
    ]);
    let added: Value = serde_json::from_str(&added).expect("JSON");
    assert_eq!((&added["state"], &added["context_length"], &added["size_bytes"]), (&json!("ready"), &json!(4096), &Value::Null), "{added}");
    assert_eq!((&added["upstream"]["url"], &added["upstream"]["has_key"]), (&json!(url), &json!(true)), "{added}");
    let shown = service.cli(&["model", "show", "sky"]);
    assert!(shown.contains(&url) && !shown.contains(KEY), "{shown}");
    assert!(service.cli(&["model", "list"]).contains("sky"));
    let (_, theirs) = service.get(&service.key, "/api/v1/models/sky");
    assert!(theirs["upstream"].is_null() && theirs["name"] == "sky", "where the server is, is the operator's business: {theirs}");
    let (_, cards) = service.get(&service.key, "/v1/models");
    assert_eq!(cards["data"][0]["id"], "sky", "{cards}");

    // 8 computed, 3 cached, 5 of the answer.
    let exact = json!({"input_tokens": 8, "cached_tokens": 3, "output_tokens": 5, "seconds": 0});
    let check = |count: usize| {
        let record = record(&service, count);
        assert_eq!((&record["provider"], &record["outcome"], &record["state"]), (&json!("far"), &json!("complete"), &json!("posted")));
        assert_eq!((&record["provider_reported"], &record["billable"], &record["amount"]), (&exact, &exact, &json!("58300")), "{record}");
        assert!(record["delivered_at"].is_string(), "{record}");
    };
    let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask("sky", false));
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!(TEXT.concat())), "{answer}");
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["model"]), (&json!(11), &json!("sky")), "{answer}");
    check(1);
    let (status, text) = stream(&service, "/v1/chat/completions", &ask("sky", true));
    assert!(status == 200 && text.ends_with("data: [DONE]\n\n") && TEXT.iter().all(|piece| text.contains(piece)), "{text}");
    check(2);
    let (status, text) = stream(&service, "/v1/completions", &json!({"model": "sky", "prompt": "Hi", "stream": true}));
    assert!(status == 200 && text.contains("blue"), "{text}");
    check(3);
    let llama = json!({"model": "sky", "messages": [{"role": "user", "content": "Hi"}]});
    let (status, answer) = service.post(&service.key, "/llama/v1/chat/completions", &llama);
    assert_eq!((status, &answer["completion_message"]["content"]["text"]), (200, &json!(TEXT.concat())), "{answer}");
    check(4);
    let (status, answer) = service.post(&service.key, "/v1/embeddings", &json!({"model": "sky", "input": "Why is the sky blue?"}));
    assert_eq!((status, &answer["data"][0]["embedding"]), (200, &json!([0.5, -0.25])), "{answer}");
    assert_eq!(record(&service, 5)["amount"], "7000");

    what_it_was_told(&far, &service);
    assert!(!service.cli(&["--json", "model", "remove", "sky"]).contains(KEY));
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("sky", false)).0, 404);
    check_settled(&service);
}

/// The server learns its own key and what was asked, and nothing of who asked; nobody else learns the key.
fn what_it_was_told(far: &Far, service: &Service) {
    let seen = far.take();
    let streams: Vec<bool> = seen.iter().map(|seen| seen.body["stream"] == true).collect();
    assert_eq!(streams, [false, true, true, false, false], "who wants it whole is given it whole");
    for seen in &seen {
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
        let foreign: Vec<&str> = seen.headers.keys().map(|name| name.as_str()).filter(|name| name.contains("freehold")).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert_eq!(seen.body["model"], "good", "{}", seen.path);
        for field in ["cache_salt", "user"] {
            assert!(seen.body.get(field).is_none(), "{}", seen.body);
        }
        let text = format!("{:?} {}", seen.headers, seen.body);
        assert!(!text.contains(&service.key) && !text.contains("ten_"), "{text}");
    }
    assert!(!service.log().contains(KEY));
    for entry in std::fs::read_dir(service.data.path()).expect("the data folder").flatten() {
        if entry.path().is_file() && entry.file_name() != "far.key" {
            let bytes = std::fs::read(entry.path()).expect("a file");
            assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "{:?} has the key", entry.file_name());
        }
    }
}

#[test]
fn each_way_to_fail_is_a_clear_error_and_costs_nothing() {
    let far = Far::start();
    let service = service_with(&far, &[]);
    let mut count = 0;
    for (way, status, code, words) in [
        ("401", 502, "upstream_failed", "refuses the key"),
        ("402", 502, "upstream_failed", "to be paid"),
        ("404", 502, "upstream_failed", "no longer has it"),
        ("429", 429, "rate_limit_exceeded", "too much to do"),
        ("500", 502, "upstream_failed", "status 500"),
        ("bad-request", 400, "invalid_value", "takes no images"),
        ("rubbish", 502, "upstream_failed", "not in the protocol"),
        ("broken", 502, "upstream_failed", "not in the protocol"),
        ("cut", 502, "upstream_failed", "broke its answer off"),
    ] {
        let (found, body) = service.post(&service.key, "/v1/chat/completions", &ask(way, false));
        assert_eq!((found, &body["error"]["code"]), (status, &json!(code)), "{way}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains(words) && !text.contains(KEY)), "{way}: {body}");
        if !["broken", "cut"].contains(&way) {
            let (found, text) = stream(&service, "/v1/chat/completions", &ask(way, true));
            assert!(found == status && text.contains(code), "{way}, streamed: {found} {text}");
            continue;
        }
        count += 1;
        assert_eq!((&record(&service, count)["outcome"], &record(&service, count)["amount"]), (&json!("failed"), &json!("0")), "{way}");
        // What came before the break went out; then comes one error, and no end.
        let (found, text) = stream(&service, "/v1/chat/completions", &ask(way, true));
        assert!(found == 200 && text.contains(TEXT[0]) && text.contains("upstream_failed") && !text.contains("[DONE]"), "{way}: {text}");
        count += 1;
        let record = record(&service, count);
        assert_eq!((&record["outcome"], &record["amount"]), (&json!("failed"), &json!("0")), "{way}: {record}");
    }
    let request = service.http.post(format!("{}/v1/chat/completions", service.url)).bearer_auth(&service.key).json(&ask("429", false));
    assert_eq!(request.send().expect("an answer").headers()["retry-after"], "17");
    let log = service.log();
    assert!(log.contains("own trouble"), "the operator finds the server's own words: {log}");
    check_settled(&service);
}

#[test]
fn without_an_account_of_tokens_pieces_are_charged_and_the_record_says_so() {
    let far = Far::start();
    let service = service_with(&far, &[]);
    let (status, text) = stream(&service, "/v1/chat/completions", &ask("no-usage", true));
    assert!(status == 200 && text.contains("[DONE]"), "{text}");
    let streamed = record(&service, 1);
    assert_eq!((&streamed["billable"]["output_tokens"], &streamed["amount"]), (&json!(TEXT.len()), &json!("40000")), "{streamed}");
    assert!(streamed["provider_reported"].is_null(), "{streamed}");
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("no-usage", false)).0, 200);
    let whole = record(&service, 2);
    assert_eq!(whole["billable"]["output_tokens"], json!(TEXT.concat().len().div_ceil(4)), "{whole}");
    assert!(whole["provider_reported"].is_null(), "{whole}");
    assert_eq!(service.log().matches("gives no account of tokens").count(), 1, "the log says it once");
}

#[test]
fn a_server_is_never_asked_more_than_it_may_be_and_the_line_has_an_end() {
    let far = Far::start();
    let service = Service::start(&["deadline_s=60"]);
    let mut one_at_a_time = server(&far, "hold");
    (one_at_a_time["parallel_max"], one_at_a_time["queue_max"]) = (json!(1), json!(2));
    assert_eq!(add(&service, "hold", &one_at_a_time)["state"], "done");
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| service.post(&service.key, "/v1/chat/completions", &ask("hold", false)));
        let asked: Vec<_> = (0..5).map(|_| ask()).collect();
        // One is with the server, two wait, and two have been told to come back.
        until("two are refused", || (asked.iter().filter(|asked| asked.is_finished()).count() == 2).then_some(()));
        until("one is with the server", || (far.count() == 1).then_some(()));
        for served in 1..=3 {
            far.let_go();
            until("it is answered", || (asked.iter().filter(|asked| asked.is_finished()).count() == 2 + served).then_some(()));
            assert_eq!(far.count(), (served + 1).min(3));
        }
        let mut statuses: Vec<u16> = asked.into_iter().map(|asked| asked.join().expect("an answer").0).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
    });
    let worker = service.workers().into_iter().find(|worker| worker["model"] == "hold").expect("its line in the status");
    assert_eq!((&worker["requests"], &worker["state"], &worker["pid"]), (&json!(0), &json!("ready"), &Value::Null), "{worker}");
    check_settled(&service);
}

#[test]
fn a_deadline_a_departure_and_a_revoked_key() {
    let far = Far::start();
    let service = Service::start(&["deadline_s=1"]);
    for way in ["slow", "good"] {
        assert_eq!(add(&service, way, &server(&far, way))["state"], "done");
    }
    let (status, body) = service.post(&service.key, "/v1/chat/completions", &ask("slow", false));
    assert_eq!((status, &body["error"]["code"]), (504, &json!("deadline_exceeded")), "{body}");
    check_settled(&service);

    let key = service.cli(&["--json", "key", "create", "brief", "--tenant", "main"]);
    let key: Value = serde_json::from_str(&key).expect("JSON");
    let (id, secret) = (key["id"].as_str().expect("an id"), key["secret"].as_str().expect("a secret"));
    for _ in 0..3 {
        assert_eq!(service.post(secret, "/v1/chat/completions", &ask("good", false)).0, 200);
    }
    assert_eq!(service.delete(&service.operator_key, &format!("/api/v1/keys/{id}")).0, 200);
    let (status, body) = service.post(secret, "/v1/chat/completions", &ask("good", false));
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")), "the very next request is refused: {body}");

    // A limit holds for the very next request too.
    let limit = service.http.put(format!("{}/api/v1/limits?tenant=main", service.url)).bearer_auth(&service.operator_key);
    assert!(limit.json(&json!({"requests_per_minute": 1})).send().expect("an answer").status().is_success());
    let statuses = [(); 2].map(|()| service.post(&service.key, "/v1/chat/completions", &ask("good", false)).0);
    assert_eq!(statuses, [200, 429]);
    check_settled(&service);
}

#[test]
fn what_cannot_be_a_server_is_refused_with_what_to_do() {
    let far = Far::start();
    let service = Service::start(&[]);
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port that was free");
    let own = format!("{}/v1", service.url);
    for (upstream, code, words) in [
        (json!({"url": format!("http://{closed}/v1")}), "upstream_failed", "cannot be reached"),
        (json!({"url": format!("http://{}", far.address), "api_key": KEY}), "upstream_failed", "ends in `/v1`"),
        (json!({"url": far.url(), "api_key": "wrong"}), "upstream_failed", "refuses the key"),
        (json!({"url": far.url(), "api_key": KEY}), "invalid_request", "--upstream-model"),
        (json!({"url": far.url(), "api_key": KEY, "model": "none"}), "invalid_request", "no model `none`"),
        (json!({"url": own, "api_key": service.key}), "invalid_request", "is this service itself"),
    ] {
        let ended = add(&service, "m", &upstream);
        assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!(code)), "{upstream}: {ended}");
        assert!(ended["error"]["message"].as_str().is_some_and(|text| text.contains(words)), "{upstream}: {ended}");
    }
    let good = server(&far, "good");
    for (body, param) in [
        (json!({"name": "m", "upstream": {"url": "nonsense"}}), "upstream.url"),
        (json!({"name": "m", "upstream": {"url": far.url(), "api_key": "a b"}}), "upstream.api_key"),
        (json!({"name": "m", "upstream": {"url": far.url(), "parallel_max": 0}}), "upstream.parallel_max"),
        (json!({"name": "m", "upstream": {"url": far.url(), "ca_pem": "no certificate"}}), "upstream.ca_pem"),
        (json!({"upstream": good}), "name"),
        (json!({"name": "m", "source": "starter", "upstream": good}), "upstream"),
        (json!({"name": "m"}), "source"),
    ] {
        let (status, answer) = service.post(&service.operator_key, "/api/v1/models", &body);
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{body}: {answer}");
    }
    assert_eq!(service.post(&service.key, "/api/v1/models", &json!({"name": "m", "upstream": good})).0, 403);
    assert_eq!(add(&service, "m", &good)["state"], "done");
    let (status, again) = service.post(&service.operator_key, "/api/v1/models", &json!({"name": "M", "upstream": good}));
    assert_eq!(status, 409, "{again}");
    for command in [["model", "pin", "m"], ["model", "unload", "m"]] {
        let refused = service.try_cli(&command);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("Another server serves"), "{command:?}");
    }
    assert!(!service.log().contains(KEY));
}

#[test]
fn a_server_behind_tls_is_believed_only_with_a_certificate() {
    let file = |name: &str| -> PathBuf { root().join("crates/freehold/tests/it/tls").join(name) };
    let far = Far::start_tls(&file("server.pem"), &file("server.key"));
    let service = Service::start(&[]);
    let mut upstream = server(&far, "good");
    upstream["url"] = json!(format!("https://{}/v1", far.address));
    let refused = add(&service, "m", &upstream);
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(refused["state"] == "failed" && message.contains("certificate"), "{refused}");
    upstream["ca_pem"] = json!(std::fs::read_to_string(file("ca.pem")).expect("a file"));
    assert_eq!(add(&service, "m", &upstream)["state"], "done");
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("m", false)).0, 200);
    assert_eq!(stream(&service, "/v1/chat/completions", &ask("m", true)).0, 200);
}

#[test]
fn a_server_that_goes_away_and_comes_back() {
    let far = Far::start();
    let service = Service::start(&[]);
    let mut upstream = server(&far, "good");
    upstream["cache_salt"] = json!(true);
    assert_eq!(add(&service, "m", &upstream)["state"], "done");
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("m", false)).0, 200);
    let salt = far.take()[0].body["cache_salt"].as_str().expect("a salt").to_owned();
    assert!(salt.len() == 32 && !salt.contains("ten"), "{salt}");
    drop(far);
    let (status, body) = until("the server is gone", || {
        Some(service.post(&service.key, "/v1/chat/completions", &ask("m", false))).filter(|(status, _)| *status != 200)
    });
    assert_eq!((status, &body["error"]["code"]), (502, &json!("upstream_failed")), "{body}");
    assert_eq!(get(&service, "/api/v1/models/m")["state"], "unreachable");
    // What is stored of it is enough after a restart.
    service.signal("TERM");
    let (data, _) = service.wait();
    let service = Service::start_on(data, &[]);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("m", false)).0, 502);
    assert!(service.cli(&["model", "remove", "m"]).is_empty());
    check_settled(&service);
}
