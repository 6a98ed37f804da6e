//! Requests to models over HTTP.

use std::io::BufRead;

use serde_json::{Value, json};

use super::support::{MODEL, Service, ask, text_of, until};

#[test]
fn a_chat_is_answered_whole_and_as_a_stream() {
    let service = Service::with_model(&[]);
    let body = ask("Say hello.", 24);
    let (status, whole) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{whole}");
    assert_eq!(whole["object"], "chat.completion");
    assert!(!text_of(&whole).is_empty());
    let usage = &whole["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64(),
        Some(usage["prompt_tokens"].as_u64().expect("a count") + usage["completion_tokens"].as_u64().expect("a count"))
    );

    let mut streamed = String::new();
    let mut body = body;
    body["stream_options"] = json!({"include_usage": true});
    let lines: Vec<String> = service.stream(&body).lines().map(|line| line.expect("a line")).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.last().map(String::as_str), Some("data: [DONE]"));
    for line in &lines[..lines.len() - 1] {
        let chunk: Value = serde_json::from_str(line.strip_prefix("data: ").expect("an event")).expect("JSON");
        streamed.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    assert_eq!(streamed, text_of(&whole), "the same request, the same text");
    let account: Value = serde_json::from_str(lines[lines.len() - 2].strip_prefix("data: ").expect("an event")).expect("JSON");
    assert_eq!(account["usage"]["completion_tokens"], usage["completion_tokens"], "the usage chunk is the last before [DONE]");
    assert!(
        account["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() > Some(0),
        "the second request finds the prefix of the first: {account}"
    );
}

#[test]
fn prefixes_are_not_shared_across_tenants() {
    let service = Service::with_model(&[]);
    service.cli(&["tenant", "create", "other"]);
    let other = service.cli(&["key", "create", "k", "--tenant", "other"]);
    let text = "A rather long prompt that both tenants send, word for word, to see whether one learns of the other. ".repeat(8);
    let body = ask(&text, 2);
    let cached = |key: &str| {
        let (status, answer) = service.post(key, "/v1/chat/completions", &body);
        assert_eq!(status, 200, "{answer}");
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
    };
    assert_eq!(cached(&service.key), 0);
    assert!(cached(&service.key) > 50);
    assert_eq!(cached(other.trim()), 0);
    assert!(service.metric("vllm:prefix_cache_hits_total") > 50.0);
    assert!(service.metric("vllm:prefix_cache_queries_total") > service.metric("vllm:prefix_cache_hits_total"));
}

#[test]
fn json_schemas_and_tools_are_enforced() {
    let service = Service::with_model(&[]);
    let schema = json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}, "size": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["city", "size"], "additionalProperties": false});
    let mut body = ask("Name a city.", 100);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": true}});
    let (status, answer) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let city: Value = serde_json::from_str(text_of(&answer)).expect("the answer is JSON");
    assert!(city["city"].is_string() && (1..=9).contains(&city["size"].as_i64().expect("a number")), "{city}");

    let mut body = ask("What is the weather in Paris?", 120);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}}, "required": ["city"], "additionalProperties": false});
    body["tools"] =
        json!([{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": parameters}}]);
    body["tool_choice"] = json!("required");
    let (status, answer) = service.post(&service.key, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "get_weather");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().expect("text")).expect("JSON");
    assert!(arguments["city"].is_string());
}

#[test]
fn completions_embeddings_and_responses() {
    let service = Service::with_model(&[]);
    let (status, answer) = service.post(
        &service.key,
        "/v1/completions",
        &json!({"model": MODEL, "prompt": "One, two, three,", "max_tokens": 8, "temperature": 0, "n": 2, "logprobs": 2}),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(2));
    assert!(answer["choices"][0]["text"].as_str().is_some_and(|text| text.contains("four")), "{answer}");

    let (status, answer) =
        service.post(&service.key, "/v1/embeddings", &json!({"model": MODEL, "input": ["A cat sleeps.", "A kitten naps."]}));
    assert_eq!(status, 200, "{answer}");
    let vector = answer["data"][1]["embedding"].as_array().expect("numbers");
    let norm: f64 = vector.iter().map(|number| number.as_f64().expect("a number").powi(2)).sum();
    assert!((norm - 1.0).abs() < 1e-3, "{norm}");

    let (status, answer) = service.post(
        &service.key,
        "/v1/responses",
        &json!({"model": MODEL, "input": "Say hi.", "max_output_tokens": 16, "temperature": 0}),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "response");
    assert!(answer["output"][0]["content"][0]["text"].is_string(), "{answer}");
}

#[test]
fn the_llama_api_answers_in_its_own_shape() {
    let service = Service::with_model(&[]);
    let (status, answer) = service.post(
        &service.key,
        "/llama/v1/chat/completions",
        &json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 8}),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["completion_message"]["role"], "assistant");
    assert!(answer["metrics"].as_array().is_some_and(|metrics| metrics.len() >= 3), "{answer}");
    let (status, answer) = service.post(&service.key, "/llama/v1/moderations", &json!({"messages": [{"role": "user", "content": "Hi"}]}));
    assert_eq!(status, 404, "no guard model: {answer}");
    let (status, answer) = service.get(&service.key, "/llama/compat/v1/models");
    assert_eq!((status, &answer["data"][0]["id"]), (200, &json!(MODEL)));
}

#[test]
fn a_context_that_is_too_long_is_refused_with_both_numbers() {
    let service = Service::with_model(&["context_tokens=512"]);
    let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask(&"word ".repeat(2000), 16));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")), "{answer}");
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(message.contains("512") && message.matches(|c: char| c.is_ascii_digit()).count() >= 7, "{message}");
}

#[test]
fn a_full_queue_is_429_with_retry_after() {
    let service = Service::with_model(&["queue=2", "sequences=1"]);
    let running: Vec<_> = (0..3)
        .map(|_| {
            let (http, url, key) = (service.http.clone(), service.url.clone(), service.key.clone());
            std::thread::spawn(move || {
                http.post(format!("{url}/v1/chat/completions")).bearer_auth(key).json(&ask("Tell a long story.", 300)).send()
            })
        })
        .collect();
    until("the queue fills", || (service.metric("vllm:num_requests_waiting") >= 2.0).then_some(()));
    let refused = service
        .http
        .post(format!("{}/v1/chat/completions", service.url))
        .bearer_auth(&service.key)
        .json(&ask("Hi", 1))
        .send()
        .expect("an answer");
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    for thread in running {
        assert_eq!(thread.join().expect("a thread").expect("an answer").status().as_u16(), 200);
    }
}

#[test]
fn an_idle_model_is_unloaded_and_loaded_again() {
    let service = Service::with_model(&["idle_unload_s=1"]);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("Hi", 1)).0, 200);
    until("the model is unloaded", || service.workers().is_empty().then_some(()));
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("Hi", 1)).0, 200);
    service.cli(&["model", "pin", MODEL]);
    until("the pinned model is loaded", || (service.workers().first()?["state"] == "ready").then_some(()));
}

#[test]
fn two_models_take_turns_under_a_budget_for_one() {
    let service = Service::start(&["memory_budget=500MiB", "context_tokens=2048"]);
    service.add_model("one");
    service.add_model("two");
    let threads: Vec<_> = ["one", "two", "one", "two", "one", "two"]
        .into_iter()
        .map(|model| {
            let (http, url, key) = (service.http.clone(), service.url.clone(), service.key.clone());
            std::thread::spawn(move || {
                let mut body = ask("Count to ten.", 16);
                body["model"] = json!(model);
                http.post(format!("{url}/v1/chat/completions")).bearer_auth(key).json(&body).send().expect("an answer").status().as_u16()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().expect("a thread"), 200);
    }
    let (_, status) = service.get(&service.operator_key, "/api/v1/status");
    assert!(status["memory"]["reserved_bytes"].as_u64() <= status["memory"]["budget_bytes"].as_u64());

    let small = Service::start(&["memory_budget=100MiB"]);
    let added = small.try_cli(&["model", "add", super::support::starter().to_str().expect("UTF-8"), "--force", "--name", MODEL]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let (code, answer) = small.post(&small.key, "/v1/chat/completions", &ask("Hi", 1));
    assert_eq!(code, 503, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains("budget is 100 MiB")), "{answer}");
}

/// What the processor needs that the weights are put in another order for.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[test]
fn a_worker_holds_weights_that_lie_in_another_order_once() {
    let service = Service::with_model(&["context_tokens=2048"]);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("Count to ten.", 16)).0, 200);
    let worker = service.workers().remove(0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker["pid"])).expect("the worker runs");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")).expect(name);
        line.trim().parse::<u64>().expect("a number") << 10
    };
    let (all, of_files) = (bytes("VmRSS:"), bytes("RssFile:"));
    let file = std::fs::metadata(super::support::starter()).expect("the starter model").len();
    let reserved = worker["memory_bytes"].as_u64().expect("a size");
    assert!(of_files < file / 2, "{of_files} bytes of files, of which the model has {file}: {status}");
    assert!((file..reserved).contains(&all), "{all} bytes, of which {reserved} are reserved");
}

#[test]
fn a_stop_lets_answers_end_and_then_cuts_them() {
    let service = Service::with_model(&["stop_grace_s=1", "context_tokens=4096"]);
    let mut body = ask("Tell a very long story.", 4000);
    body["logit_bias"] = json!({"2": -100, "0": -100});
    let mut stream = service.stream(&body);
    let mut line = String::new();
    stream.read_line(&mut line).expect("the first event");
    service.signal("TERM");
    let rest: Vec<String> = stream.lines().map_while(Result::ok).filter(|line| !line.is_empty()).collect();
    let last = rest.last().expect("an end");
    assert!(last.contains("\"error\"") && last.contains("stopping"), "{last}");
    service.wait();
}
