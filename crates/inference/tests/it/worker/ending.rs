use bytes::Bytes;
use freehold_inference::worker::Stop;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::support::{Worker, request};

const ABORTED: &str = "vllm:request_success_total{model_name=\"starter\",finished_reason=\"abort\"}";

fn story(max_tokens: u32) -> Bytes {
    let body = json!({
        "model": "starter", "messages": [{"role": "user", "content": "Tell me a long story."}],
        "stream": true, "temperature": 0, "max_completion_tokens": max_tokens, "logit_bias": {"2": -100},
    });
    Bytes::from(body.to_string())
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends() {
    let worker = Worker::start().await;
    let (mut sender, connection) = worker.connect().await.unwrap();
    let mut answer = sender.send_request(request("POST", "/v1/chat/completions", &[], story(3000))).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    connection.abort();
    worker.wait_for(ABORTED, 1.0).await;

    // Also while the whole answer is being gathered.
    let (mut sender, connection) = worker.connect().await.unwrap();
    let body = String::from_utf8(story(3000).to_vec()).unwrap().replace("\"stream\":true", "\"stream\":false");
    let pending =
        tokio::spawn(async move { sender.send_request(request("POST", "/v1/chat/completions", &[], Bytes::from(body))).await.map(|_| ()) });
    let running = "vllm:num_requests_running{model_name=\"starter\"}";
    while worker.figure(running).await < 1.0 {
        tokio::task::yield_now().await;
    }
    pending.abort();
    connection.abort();
    worker.wait_for(ABORTED, 2.0).await;
}

#[tokio::test]
async fn a_draining_worker_finishes_its_answers() {
    let worker = Worker::start().await;
    let (mut sender, _connection) = worker.connect().await.unwrap();
    let mut answer = sender.send_request(request("POST", "/v1/chat/completions", &[], story(48))).await.unwrap();
    let mut bytes = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    worker.stop(Stop::Drain);
    bytes.extend_from_slice(&answer.into_body().collect().await.unwrap().to_bytes());
    assert!(String::from_utf8(bytes).unwrap().ends_with("data: [DONE]\n\n"));
    drop(sender);
    let Worker { server, .. } = worker;
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_at_once_says_so_to_its_streams() {
    let worker = Worker::start().await;
    let (mut sender, _connection) = worker.connect().await.unwrap();
    let mut answer = sender.send_request(request("POST", "/v1/chat/completions", &[], story(3000))).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    worker.stop(Stop::Now);
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "unavailable", "{text}");
    let Worker { server, .. } = worker;
    server.await.unwrap().unwrap();
}
