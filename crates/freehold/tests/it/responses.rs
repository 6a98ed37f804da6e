//! Stored responses over HTTP, with a real model: conversations by link, who sees them, limits, export, a killed service.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::support::{MODEL, Service};
use super::visitor::{Browser, make_user};

fn ask(input: Value) -> Value {
    json!({"model": MODEL, "input": input, "max_output_tokens": 12, "temperature": 0})
}

fn respond(service: &Service, key: &str, body: &Value) -> Value {
    let (status, answer) = service.post(key, "/v1/responses", body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn said(answer: &Value) -> String {
    text(&answer["output"][0]["content"][0]["text"])
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn set_limit(service: &Service, query: &str, bytes: u64) {
    let request = service.http.put(format!("{}/api/v1/limits?{query}", service.url)).bearer_auth(&service.operator_key);
    assert!(request.json(&json!({"storage_bytes": bytes})).send().expect("an answer").status().is_success());
}

fn used(service: &Service) -> u64 {
    let (status, list) = service.get(&service.key, "/api/v1/responses?limit=1000");
    assert_eq!(status, 200, "{list}");
    let rows: u64 = list["data"].as_array().expect("rows").iter().map(|row| row["bytes"].as_u64().expect("a size")).sum();
    assert_eq!(list["used_bytes"].as_u64(), Some(rows), "the sum is that of the rows");
    rows
}

#[test]
fn a_conversation_goes_on_from_what_is_stored() {
    let service = Service::with_model(&[]);
    let key = &service.key;
    let first = respond(&service, key, &with(ask(json!("My name is Ada.")), "instructions", json!("You are a pirate of few words.")));
    let id = text(&first["id"]);
    assert_eq!((&first["store"], &first["previous_response_id"]), (&json!(true), &Value::Null));
    assert_eq!(service.get(key, &format!("/v1/responses/{id}")), (200, first.clone()), "what is stored is what was answered");
    let (status, items) = service.get(key, &format!("/v1/responses/{id}/input_items"));
    assert_eq!((status, &items["data"][0]["content"][0]["text"]), (200, &json!("My name is Ada.")), "{items}");

    // The same conversation, sent whole: the same tokens in the prompt, the same answer. The instructions are not carried on.
    let chained = respond(&service, key, &with(ask(json!("What is my name?")), "previous_response_id", json!(id)));
    assert_eq!(chained["previous_response_id"], json!(id));
    let whole = json!([
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": said(&first)},
        {"role": "user", "content": "What is my name?"},
    ]);
    let sent = respond(&service, key, &with(ask(whole), "store", json!(false)));
    assert_eq!(chained["usage"]["input_tokens"], sent["usage"]["input_tokens"]);
    assert_eq!(said(&chained), said(&sent));
    assert_eq!(sent["store"], json!(false));
    assert_eq!(service.get(key, &format!("/v1/responses/{}", text(&sent["id"]))).0, 404, "what is not stored is not there");

    // A third turn, as a stream, with instructions of its own.
    let body = with(with(ask(json!("Thank you.")), "previous_response_id", chained["id"].clone()), "instructions", json!("Be kind."));
    let request = service.http.post(format!("{}/v1/responses", service.url)).bearer_auth(key).json(&with(body, "stream", json!(true)));
    let events: Vec<Value> = BufReader::new(request.send().expect("an answer"))
        .lines()
        .filter_map(|line| Some(serde_json::from_str(line.expect("a line").strip_prefix("data: ")?).expect("JSON")))
        .collect();
    let last = &events.last().expect("events")["response"];
    for response in [&events[0]["response"], last] {
        assert_eq!((&response["store"], &response["previous_response_id"]), (&json!(true), &chained["id"]), "{response}");
    }
    assert_eq!(&service.get(key, &format!("/v1/responses/{}", text(&last["id"]))).1, last);
    let tokens = |response: &Value| response["usage"]["input_tokens"].as_u64().expect("a count");
    assert!(tokens(last) > tokens(&chained) + 12, "{} after {}", tokens(last), tokens(&chained));
    assert_eq!(service.get(key, "/api/v1/responses").1["data"].as_array().map(Vec::len), Some(3));
}

#[test]
fn calls_and_their_results_are_part_of_a_conversation() {
    let service = Service::with_model(&[]);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": false});
    let tools = json!([{"type": "function", "name": "get_weather", "parameters": parameters, "strict": true}]);
    let mut body = with(ask(json!("What is the weather in Paris?")), "tools", tools);
    body["tool_choice"] = json!("required");
    body["max_output_tokens"] = json!(120);
    let called = respond(&service, &service.key, &body);
    let call = called["output"].as_array().expect("items").iter().find(|item| item["type"] == "function_call").expect("a call").clone();
    let result = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny, 31 degrees"}]);
    let next = respond(&service, &service.key, &with(ask(result.clone()), "previous_response_id", called["id"].clone()));
    let whole = json!([{"role": "user", "content": "What is the weather in Paris?"}, call, result[0]]);
    let sent = respond(&service, &service.key, &with(ask(whole), "store", json!(false)));
    assert_eq!((&next["usage"]["input_tokens"], said(&next)), (&sent["usage"]["input_tokens"], said(&sent)));
    let (_, items) = service.get(&service.key, &format!("/v1/responses/{}/input_items", text(&next["id"])));
    assert_eq!((&items["data"][0]["type"], &items["data"][0]["output"]), (&json!("function_call_output"), &json!("sunny, 31 degrees")));
}

#[test]
fn a_conversation_is_its_tenants_own() {
    let data = tempfile::tempdir().expect("a folder");
    let mail = format!("mail=file:{}", data.path().join("mail").display());
    let service = Service::start_on(data, &[mail.as_str()]);
    service.add_model(MODEL);
    service.cli(&["tenant", "create", "other"]);
    let other = service.cli(&["key", "create", "k", "--tenant", "other"]).trim().to_owned();
    let id = text(&respond(&service, &service.key, &ask(json!("A secret.")))["id"]);
    let nobodys = "resp_req_00000000000000000000000000";
    let same = |(status, body): (u16, Value), (other_status, other_body): (u16, Value)| {
        assert_eq!((status, body.to_string().replace(&id, nobodys)), (other_status, other_body.to_string()));
        status
    };
    let path = |id: &str| format!("/v1/responses/{id}");
    assert_eq!(same(service.get(&other, &path(&id)), service.get(&other, &path(nobodys))), 404);
    assert_eq!(same(service.delete(&other, &path(&id)), service.delete(&other, &path(nobodys))), 404);
    let items = |id: &str| service.get(&other, &format!("{}/input_items", path(id)));
    assert_eq!(same(items(&id), items(nobodys)), 404);
    let own = |id: &str| service.delete(&other, &format!("/api/v1/responses/{id}")).0;
    assert_eq!((own(&id), own(nobodys)), (404, 404));
    let go_on = |id: &str| service.post(&other, "/v1/responses", &with(ask(json!("Go on.")), "previous_response_id", json!(id)));
    assert_eq!(same(go_on(&id), go_on(nobodys)), 400);
    let (_, refused) = go_on(&id);
    assert_eq!(refused["error"]["code"], "previous_response_not_found");
    assert_eq!((&refused["error"]["type"], &refused["error"]["param"]), (&json!("invalid_request_error"), &json!("previous_response_id")));
    assert_eq!(service.get(&other, "/api/v1/responses").1["data"], json!([]));

    // An operator reads no conversation, nor does a member who does not use models, nor a key that only reads.
    for path in [path(&id), format!("{}/input_items", path(&id)), "/api/v1/responses?tenant=main".to_owned()] {
        assert_eq!(service.get(&service.operator_key, &path).0, 403, "{path}");
    }
    let key = |scope: &str| {
        let body = json!({"name": scope, "tenant": "main", "scopes": [scope]});
        text(&service.post(&service.operator_key, "/api/v1/keys", &body).1["secret"])
    };
    assert_eq!((service.get(&key("inference"), &path(&id)).0, service.get(&key("read"), &path(&id)).0), (200, 403));
    for (role, status) in [("owner", 200), ("developer", 200), ("billing", 403), ("viewer", 403)] {
        let email = format!("{role}@example.org");
        make_user(&service, &email, Some(("main", role)), false);
        let browser = Browser::logged_in(&service, &email);
        for path in [path(&id), format!("{}/input_items", path(&id)), "/api/v1/responses/export".to_owned()] {
            assert_eq!(browser.get(&path).status, status, "{path} by {role}");
        }
    }
}

#[test]
fn a_limit_holds_for_the_request_at_hand() {
    let service = Service::with_model(&[]);
    set_limit(&service, "tenant=main", 20_000);
    // Each needs 2.7 KB of room at most, and takes about 1.3 KB in the end.
    let body = with(with(ask(json!("Say hello.")), "max_output_tokens", json!(4)), "store", json!(true));
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let (http, url, key, body) = (service.http.clone(), service.url.clone(), service.key.clone(), body.clone());
            std::thread::spawn(move || {
                let answer = http.post(format!("{url}/v1/responses")).bearer_auth(key).json(&body).send().expect("an answer");
                (answer.status().as_u16(), answer.json::<Value>().expect("JSON"))
            })
        })
        .collect();
    let answers: Vec<(u16, Value)> = threads.into_iter().map(|thread| thread.join().expect("a thread")).collect();
    let stored: Vec<&Value> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, answer)| answer).collect();
    for (status, answer) in &answers {
        assert!(*status == 200 || (*status == 403 && answer["error"]["code"] == "storage_exhausted"), "{status} {answer}");
    }
    assert!((5..=20).contains(&stored.len()), "{}", stored.len());
    assert!(used(&service) <= 20_000);
    for answer in &stored {
        assert_eq!((&answer["store"], service.get(&service.key, &format!("/v1/responses/{}", text(&answer["id"]))).0), (&json!(true), 200));
    }
    let records = service.get(&service.key, "/api/v1/usage/records?limit=1000").1["data"].as_array().expect("records").len();
    assert_eq!(records, stored.len(), "what was refused was not begun");

    // Full: who asks for it is refused, who says nothing gets the answer without it.
    set_limit(&service, "tenant=main", used(&service));
    let (status, refused) = service.post(&service.key, "/v1/responses", &body);
    assert_eq!((status, &refused["error"]["param"]), (403, &json!("store")), "{refused}");
    let message = text(&refused["error"]["message"]);
    assert!(message.contains("`storage_bytes`") && message.contains("Delete stored responses"), "{message}");
    let quiet = respond(&service, &service.key, &ask(json!("Say hello.")));
    assert_eq!((&quiet["store"], service.get(&service.key, &format!("/v1/responses/{}", text(&quiet["id"]))).0), (&json!(false), 404));
    respond(&service, &service.key, &with(ask(json!("Say hello.")), "store", json!(false)));
    let shown = service.cli(&["limits", "show"]);
    assert!(shown.contains("bytes stored"), "{shown}");
    for answer in &stored[..4] {
        assert_eq!(service.delete(&service.key, &format!("/v1/responses/{}", text(&answer["id"]))).0, 200);
    }
    respond(&service, &service.key, &body);

    // The same for a key.
    service.cli(&["limits", "set", "--tenant", "main", "--storage-bytes", "none"]);
    respond(&service, &service.key, &body);
    let id = text(&service.get(&service.key, "/api/v1/whoami").1["key"]);
    set_limit(&service, &format!("key={id}"), 1);
    assert_eq!(service.post(&service.key, "/v1/responses", &body).0, 403);
}

#[test]
fn what_is_stored_can_be_taken_along_and_away() {
    let service = Service::with_model(&[]);
    let ids: Vec<String> =
        ["One.", "Two.", "Three."].iter().map(|input| text(&respond(&service, &service.key, &ask(json!(input)))["id"])).collect();
    let export = service.cli(&["response", "export"]);
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| text(&line["response"]["id"])).collect::<Vec<_>>(), ids);
    assert_eq!(lines[1]["input_items"][0]["content"][0]["text"], "Two.");
    let file = service.data.path().join("all.ndjson");
    service.cli(&["response", "export", "--output", file.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), export);
    let list: Value = serde_json::from_str(&service.cli(&["--json", "response", "list", "--limit", "2"])).expect("JSON");
    assert_eq!((list["data"].as_array().map(Vec::len), &list["data"][0]["id"]), (Some(2), &json!(ids[2])));
    assert!(service.cli(&["response", "list"]).contains(&ids[0]));
    assert!(service.cli(&["response", "show", &ids[1]]).contains("user: Two."));
    let shown: Value = serde_json::from_str(&service.cli(&["--json", "response", "show", &ids[1]])).expect("JSON");
    assert_eq!(shown["response"], lines[1]["response"]);
    service.cli(&["response", "delete", &ids[0], &ids[1]]);
    let (status, deleted) = service.delete(&service.key, &format!("/v1/responses/{}", ids[2]));
    assert_eq!((status, deleted), (200, json!({"id": ids[2], "object": "response", "deleted": true})));
    assert_eq!((used(&service), service.cli(&["response", "export"]).as_str()), (0, ""));
    let gone = service.try_cli(&["response", "show", &ids[0]]);
    assert!(!gone.status.success() && String::from_utf8_lossy(&gone.stderr).contains("not found"));
}

#[test]
fn an_answer_whose_end_was_seen_is_there_after_a_kill() {
    let mut service = Service::with_model(&["spare_worker=false"]);
    for turn in 0..4 {
        let body = with(ask(json!(format!("Say hello {turn}."))), "stream", json!(turn % 2 == 0));
        let answer = service.http.post(format!("{}/v1/responses", service.url)).bearer_auth(&service.key).json(&body).send().expect("one");
        let mut whole = String::new();
        let mut lines = BufReader::new(answer).lines();
        while let Some(Ok(line)) = lines.next() {
            if let Some(data) = line.strip_prefix("data: ") {
                let event: Value = serde_json::from_str(data).expect("JSON");
                if ["response.completed", "response.incomplete"].contains(&event["type"].as_str().unwrap_or_default()) {
                    whole = event["response"].to_string();
                    break;
                }
            } else if line.starts_with('{') {
                whole = line;
            }
        }
        service.signal("KILL");
        let data = std::mem::replace(&mut service.data, tempfile::tempdir().expect("a folder"));
        drop(service);
        service = Service::start_on(data, &["spare_worker=false"]);
        let seen: Value = serde_json::from_str(&whole).expect("a response");
        let id = text(&seen["id"]);
        assert_eq!(service.get(&service.key, &format!("/v1/responses/{id}")), (200, seen), "turn {turn}");
        respond(&service, &service.key, &with(with(ask(json!("Go on.")), "previous_response_id", json!(id)), "store", json!(false)));
        used(&service);
    }
}

#[test]
fn hostile_ids_pages_and_inputs() {
    let service = Service::with_model(&[]);
    let id =
        text(&respond(&service, &service.key, &ask(json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])))["id"]);
    for bad in
        ["x", "resp_", "%00", "%F0%9F%A6%99", "resp_req_0000000000000000000000000g", "..%2F..%2Fetc", &"y".repeat(4000), &id.to_uppercase()]
    {
        for path in [format!("/v1/responses/{bad}"), format!("/v1/responses/{bad}/input_items")] {
            let (status, body) = service.get(&service.key, &path);
            assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")), "{path}");
            assert!(body.to_string().len() < 1000, "{body}");
        }
        assert_eq!(service.delete(&service.key, &format!("/v1/responses/{bad}")).0, 404);
    }
    for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "order=up", "after=nothing"] {
        let (status, body) = service.get(&service.key, &format!("/v1/responses/{id}/input_items?{query}"));
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_value")), "{query}: {body}");
    }
    let (status, page) = service.get(&service.key, &format!("/v1/responses/{id}/input_items?limit=1&order=asc&include[]=x"));
    assert_eq!((status, &page["has_more"], &page["data"][0]["content"][0]["text"]), (200, &json!(true), &json!("a")));
    assert_eq!(service.get(&service.key, &format!("/v1/responses/{id}?stream=true")).1["error"]["code"], "unsupported_feature");
    for bad in [json!(7), json!(""), json!("x".repeat(129)), json!({})] {
        assert_eq!(service.post(&service.key, "/v1/responses", &with(ask(json!("Hi")), "previous_response_id", bad)).0, 400);
    }
    assert_eq!(service.post(&service.key, "/v1/responses", &with(ask(json!("Hi")), "store", json!("yes"))).0, 400);
    // What is refused later leaves nothing behind: no row, and no room that is held.
    let (status, refused) = service.post(&service.key, "/v1/responses", &ask(json!("word ".repeat(100_000))));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("context_length_exceeded")), "{refused}");
    assert_eq!(service.get(&service.key, "/api/v1/responses").1["data"].as_array().map(Vec::len), Some(1));
    for bad in ["/api/v1/responses?limit=0", "/api/v1/responses?after=x", "/api/v1/responses?x=1", "/api/v1/responses/export?x=1"] {
        assert_eq!(service.get(&service.key, bad).0, 400, "{bad}");
    }
}
