//! Workers that die and clients that leave.

use std::io::{BufRead, Read};

use serde_json::json;

use super::support::{Service, ask, kill, until};

#[test]
fn a_killed_worker_costs_its_own_streams_an_error_and_is_back() {
    let service = Service::with_model(&[]);
    let mut body = ask("Tell a very long story.", 2000);
    body["logit_bias"] = json!({"2": -100, "0": -100});
    let mut stream = service.stream(&body);
    let mut line = String::new();
    stream.read_line(&mut line).expect("the first event");
    let pid = service.workers()[0]["pid"].as_u64().expect("a pid");
    kill(u32::try_from(pid).expect("a pid"), "KILL");
    let rest: Vec<String> = stream.lines().map_while(Result::ok).filter(|line| !line.is_empty()).collect();
    let last = rest.last().expect("an end");
    assert!(last.contains("worker_lost"), "{last}");
    assert!(!rest.iter().any(|line| line.contains("[DONE]")), "an answer that broke off does not look complete");
    let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask("Hi", 2));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(service.workers()[0]["crashes"], 1);
}

#[test]
fn a_request_that_finds_its_worker_dead_is_asked_again() {
    let service = Service::with_model(&[]);
    for round in 1..=3 {
        let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask("Hi", 2));
        assert_eq!(status, 200, "{answer}");
        let pid = service.workers()[0]["pid"].as_u64().expect("a pid");
        kill(u32::try_from(pid).expect("a pid"), "KILL");
        let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask("Hi", 2));
        assert_eq!(status, 200, "round {round}: {answer}");
    }
}

#[test]
fn two_hundred_streams_with_half_of_the_clients_leaving() {
    let service = Service::with_model(&["queue=400"]);
    let ended = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|index| {
                let service = &service;
                scope.spawn(move || {
                    let mut stream = service.stream(&ask(&format!("Write about the number {index}."), 12));
                    if index % 2 == 0 {
                        let mut some = [0; 64];
                        stream.read_exact(&mut some).expect("some bytes");
                        return None;
                    }
                    let mut text = String::new();
                    stream.read_to_string(&mut text).expect("the whole answer");
                    Some(text)
                })
            })
            .collect();
        clients.into_iter().filter_map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    assert_eq!(ended.len(), 100);
    for text in ended {
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    until("nothing runs any more", || {
        (service.metric("vllm:num_requests_running") + service.metric("vllm:num_requests_waiting") == 0.0).then_some(())
    });
    until("no lease is left", || (service.workers()[0]["requests"] == 0).then_some(()));
    assert_eq!(service.metric("freehold_answers_running"), 0.0);
}

#[test]
fn a_client_that_leaves_ends_the_work() {
    let service = Service::with_model(&[]);
    let mut body = ask("Tell a very long story.", 4000);
    body["logit_bias"] = json!({"2": -100, "0": -100});
    let mut stream = service.stream(&body);
    let mut line = String::new();
    stream.read_line(&mut line).expect("the first event");
    drop(stream);
    until("the work has ended", || (service.metric("vllm:num_requests_running") == 0.0).then_some(()));
    assert!(service.metric("vllm:generation_tokens_total") < 2000.0);
}

#[test]
fn a_killed_service_starts_again_and_leaves_no_worker() {
    let mut service = Service::with_model(&[]);
    assert_eq!(service.post(&service.key, "/v1/chat/completions", &ask("Hi", 1)).0, 200);
    let worker = service.workers()[0]["pid"].as_u64().expect("a pid");
    service.signal("KILL");
    let key = service.key.clone();
    let data = std::mem::replace(&mut service.data, tempfile::tempdir().expect("a folder"));
    until("the worker ends with its service", || {
        (!std::path::Path::new(&format!("/proc/{worker}/cmdline")).exists()
            || std::fs::read(format!("/proc/{worker}/cmdline")).is_ok_and(|line| line.is_empty()))
        .then_some(())
    });
    drop(service);
    let again = Service::start_on(data, &[]);
    assert_eq!(again.post(&key, "/v1/chat/completions", &ask("Hi", 1)).0, 200);
}
