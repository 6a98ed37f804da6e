//! Every shape of message, against a committed file: written as the file says, and read from it again.
//!
//! After an intended change: `FREEHOLD_GOLDEN=write cargo test --release -p freehold-dialects golden`, then look at the
//! difference.

use std::collections::BTreeSet;
use std::path::PathBuf;

use freehold_dialects::canonical::{
    AnswerHead, ChatAnswer, ChatEvent, ChatRequest, CompletionRequest, ContentPart, EmbeddingRequest, EmbeddingResponse, FinishReason,
    Message, ModelCard, ModerationRequest, ModerationResponse, Prompt, ResponseFormat, Role, Sampling, TokenLogprob, Tool, ToolCall,
    ToolChoice, Usage, Verdict,
};
use freehold_dialects::openai::{Extensions, completions, embeddings, responses};
use freehold_dialects::{llama, openai};
use freehold_domain::{Error, ErrorCode};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares with the file, or writes it; gives the file's bytes.
fn check(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    let text = if name.ends_with(".json") {
        let value: Value = serde_json::from_slice(bytes).unwrap();
        serde_json::to_string_pretty(&value).unwrap() + "\n"
    } else {
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    if std::env::var_os("FREEHOLD_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    assert_eq!(text, file, "{name}");
    file.into_bytes()
}

fn check_value(name: &str, value: &Value) -> Vec<u8> {
    check(name, &serde_json::to_vec(value).unwrap())
}

fn head() -> AnswerHead {
    AnswerHead { id: "0198c0de".into(), model: "llama-3.2-1b:pirate".into(), created_s: 1_790_000_000 }
}

fn usage() -> Usage {
    Usage { prompt_tokens: 24, cached_tokens: 16, completion_tokens: 7 }
}

fn weather_schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn weather_tool() -> Tool {
    let description = Some("The weather in a city.".to_owned());
    Tool { name: "get_weather".into(), description, parameters: Some(weather_schema()), strict: true }
}

fn weather_call(id: &str, city: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "get_weather".into(), arguments: format!("{{\"city\":\"{city}\"}}") }
}

fn conversation() -> Vec<Message> {
    let calls = vec![weather_call("call_a", "Oslo"), weather_call("call_b", "Rome")];
    let result = |id: &str, text: &str| Message { tool_call_id: Some(id.into()), ..Message::text(Role::Tool, text) };
    vec![
        Message::text(Role::System, "Be brief."),
        Message {
            content: vec![ContentPart::Text("What is the weather,".into()), ContentPart::Text("here and there?".into())],
            ..Message::text(Role::User, "")
        },
        Message { content: Vec::new(), tool_calls: calls, ..Message::text(Role::Assistant, "") },
        result("call_a", "rain"),
        result("call_b", "sun"),
        Message::text(Role::Assistant, "Rain here, sun there."),
        Message { content: vec![ContentPart::ImageUrl("https://example.com/a.png".into())], ..Message::text(Role::User, "") },
    ]
}

fn full_sampling() -> Sampling {
    Sampling {
        temperature: Some(0.7),
        top_p: Some(0.95),
        top_k: Some(40),
        min_p: Some(0.05),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(-0.5),
        repetition_penalty: Some(1.1),
        seed: Some(42),
        logit_bias: [(128_009, -100.0), (17, 1.5)].into(),
        max_tokens: Some(256),
        stop: vec!["\n\n".into(), "END".into()],
        logprobs: Some(2),
        n: 2,
    }
}

fn chat_request() -> ChatRequest {
    ChatRequest {
        model: "llama-3.2-1b:pirate".into(),
        messages: conversation(),
        tools: vec![weather_tool(), Tool { name: "noop".into(), description: None, parameters: None, strict: false }],
        tool_choice: ToolChoice::Function("get_weather".into()),
        parallel_tool_calls: false,
        response_format: ResponseFormat::JsonSchema { name: "weather".into(), schema: weather_schema(), strict: true },
        sampling: full_sampling(),
        stream: true,
        include_usage: true,
        user: Some("someone".into()),
    }
}

fn tokens() -> Vec<TokenLogprob> {
    let top = vec![(b"Hi".to_vec(), -0.25), (vec![0xf0, 0x9f], -2.5)];
    vec![TokenLogprob { bytes: b"Hi".to_vec(), logprob: -0.25, top }]
}

fn text_events() -> Vec<ChatEvent> {
    let text = |choice, text: &str, logprobs| ChatEvent::Text { choice, text: text.into(), logprobs };
    let finish = |choice, reason| ChatEvent::Finish { choice, reason };
    vec![
        ChatEvent::Start,
        text(0, "Hi", tokens()),
        text(0, " \"there\"\n🦙", Vec::new()),
        finish(0, FinishReason::Stop),
        text(1, "Hello", Vec::new()),
        finish(1, FinishReason::Length),
        ChatEvent::Usage(usage()),
    ]
}

fn call_events() -> Vec<ChatEvent> {
    let start = |call, id: &str| ChatEvent::ToolCallStart { choice: 0, call, id: id.into(), name: "get_weather".into() };
    let more = |call, text: &str| ChatEvent::ToolCallArguments { choice: 0, call, fragment: text.into() };
    vec![
        ChatEvent::Start,
        ChatEvent::Text { choice: 0, text: "Let me look.".into(), logprobs: Vec::new() },
        start(0, "call_a"),
        more(0, "{\"city\":"),
        more(0, "\"Oslo\"}"),
        start(1, "call_b"),
        more(1, "{\"city\":\"Rome\"}"),
        ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls },
        ChatEvent::Usage(usage()),
    ]
}

/// The events with the other choices and the log-probabilities left out.
fn plain(events: Vec<ChatEvent>) -> Vec<ChatEvent> {
    let keep = |event| match event {
        ChatEvent::Text { choice: 0, text, .. } => Some(ChatEvent::Text { choice: 0, text, logprobs: Vec::new() }),
        ChatEvent::Text { .. } | ChatEvent::Finish { choice: 1.., .. } => None,
        other => Some(other),
    };
    events.into_iter().filter_map(keep).collect()
}

fn failed_events() -> Vec<ChatEvent> {
    vec![ChatEvent::Start, ChatEvent::Text { choice: 0, text: "Hi".into(), logprobs: Vec::new() }, ChatEvent::Error(worker_lost())]
}

fn worker_lost() -> Error {
    Error::new(ErrorCode::WorkerLost, "The model's worker was lost. Try again.").with_context("never to be seen")
}

fn answer(events: Vec<ChatEvent>) -> ChatAnswer {
    let mut answer = ChatAnswer::default();
    events.into_iter().for_each(|event| answer.push(event).unwrap());
    answer
}

fn cards() -> Vec<ModelCard> {
    let card = |id: &str, owned_by: &str| ModelCard { id: id.into(), created_s: 1_790_000_000, owned_by: owned_by.into() };
    vec![card("llama-3.2-1b", "operator"), card("llama-3.2-1b:pirate", "main")]
}

fn without_context(events: Vec<ChatEvent>) -> Vec<ChatEvent> {
    let strip = |event| match event {
        ChatEvent::Error(fault) => ChatEvent::Error(Error { context: None, ..fault }),
        other => other,
    };
    events.into_iter().map(strip).collect()
}

#[test]
fn openai_chat() {
    let salted = Extensions { cache_salt: Some("tenant".into()), ..Extensions::default() };
    let file = check("openai.chat.request.json", &openai::chat::encode_request(&chat_request(), &salted));
    assert_eq!(openai::chat::decode_worker_request(&file), Ok((chat_request(), salted)));
    for (name, events) in [("text", text_events()), ("calls", call_events())] {
        let expected = answer(events.clone());
        let file = check(&format!("openai.chat.{name}.answer.json"), &openai::chat::encode_answer(&head(), &expected));
        assert_eq!(openai::chat::decode_answer(&file), Ok((head(), expected)));
        let file = stream_openai_chat(&format!("openai.chat.{name}.sse"), &events, true);
        assert_eq!(crate::openai_chat::decode_stream(&file, &[]), events);
    }
    let file = stream_openai_chat("openai.chat.failed.sse", &failed_events(), true);
    assert_eq!(crate::openai_chat::decode_stream(&file, &[]), without_context(failed_events()));
    stream_openai_chat("openai.chat.no_usage.sse", &plain(text_events()), false);
}

fn stream_openai_chat(name: &str, events: &[ChatEvent], include_usage: bool) -> Vec<u8> {
    let (mut encoder, mut out) = (openai::chat::StreamEncoder::new(&head(), include_usage), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    check(name, &out)
}

#[test]
fn openai_completions() {
    let request = CompletionRequest {
        model: "llama-3.2-1b".into(),
        prompts: vec![Prompt::Text("Once upon".into()), Prompt::Tokens(vec![1, 2, 3])],
        echo: true,
        suffix: Some("The end.".into()),
        response_format: ResponseFormat::JsonObject,
        sampling: full_sampling(),
        stream: true,
        include_usage: true,
        user: None,
    };
    let file = check("openai.completions.request.json", &completions::encode_request(&request, &Extensions::default()));
    assert_eq!(completions::decode_request(&file), Ok(request));
    let expected = answer(text_events());
    let file = check("openai.completions.answer.json", &completions::encode_answer(&head(), &expected));
    assert_eq!(completions::decode_answer(&file), Ok((head(), expected)));
    let (mut encoder, mut out) = (completions::StreamEncoder::new(&head(), true), Vec::new());
    text_events().iter().for_each(|event| encoder.encode(event, &mut out));
    check("openai.completions.sse", &out);
}

#[test]
fn openai_embeddings() {
    let inputs = vec![Prompt::Text("one".into()), Prompt::Text("two".into())];
    let request = EmbeddingRequest { model: "llama".into(), inputs, dimensions: Some(2), base64: true, user: Some("someone".into()) };
    let file = check("openai.embeddings.request.json", &embeddings::encode_request(&request, &Extensions::default()));
    assert_eq!(embeddings::decode_request(&file), Ok(request));
    let answer = EmbeddingResponse { model: "llama".into(), embeddings: vec![vec![0.6, -0.8], vec![1.0, 0.0]], prompt_tokens: 4 };
    for (name, base64) in [("openai.embeddings.float.json", false), ("openai.embeddings.base64.json", true)] {
        let file = check(name, &embeddings::encode_answer(&answer, base64));
        assert_eq!(embeddings::decode_answer(&file), Ok(answer.clone()));
    }
}

#[test]
fn openai_models_and_errors() {
    let file = check_value("openai.models.json", &openai::models::encode_list(&cards()));
    assert_eq!(openai::models::decode_list(&file), Ok(cards()));
    check_value("openai.model.json", &openai::models::encode(&cards()[0]));
    let all: Vec<Value> =
        ErrorCode::ALL.iter().map(|&code| openai::error::encode(&Error::new(code, "What is wrong.").with_param("n"))).collect();
    check_value("openai.errors.json", &json!(all));
}

#[test]
fn openai_responses() {
    let file = std::fs::read(folder().join("openai.responses.request.json")).unwrap();
    let responses::Asked { request, mut echo, store, previous, .. } = responses::decode_request(&file).unwrap();
    assert_eq!((store, previous.as_deref()), (Some(true), Some("resp_0198c0dd")));
    echo.set_store(true);
    let expected = ChatRequest {
        messages: vec![
            Message::text(Role::System, "Be brief."),
            Message::text(Role::User, "What is the weather in Oslo?"),
            Message {
                content: vec![ContentPart::Text("Let me look.".into())],
                tool_calls: vec![weather_call("call_a", "Oslo")],
                ..Message::text(Role::Assistant, "")
            },
            Message { tool_call_id: Some("call_a".into()), ..Message::text(Role::Tool, "rain") },
            Message {
                content: vec![ContentPart::Text("And on this picture?".into()), ContentPart::ImageUrl("https://example.com/a.png".into())],
                ..Message::text(Role::User, "")
            },
        ],
        tools: vec![weather_tool()],
        tool_choice: ToolChoice::Function("get_weather".into()),
        parallel_tool_calls: true,
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.95),
            max_tokens: Some(256),
            logprobs: Some(2),
            n: 1,
            ..Sampling::default()
        },
        ..chat_request()
    };
    assert_eq!(request, expected);
    for (name, events) in [("text", text_events()), ("calls", call_events())] {
        let whole = responses::encode_answer(&head(), &echo, &answer(events.clone()));
        check(&format!("openai.responses.{name}.answer.json"), &whole);
        check(&format!("openai.responses.{name}.sse"), &stream_responses(&echo, &events));
        let mut gathering = responses::Gathering::new(head(), echo.clone());
        events.iter().for_each(|event| gathering.see(event));
        assert_eq!(gathering.response().into_bytes(), whole, "what is stored is what is answered");
    }
    check("openai.responses.failed.sse", &stream_responses(&echo, &failed_events()));
    check("openai.responses.refused.sse", &stream_responses(&echo, &failed_events()[2..]));
    let mut cut = plain(text_events());
    cut[3] = ChatEvent::Finish { choice: 0, reason: FinishReason::Length };
    check("openai.responses.incomplete.sse", &stream_responses(&echo, &cut));
}

#[test]
fn openai_responses_stored() {
    let file = std::fs::read(folder().join("openai.responses.request.json")).unwrap();
    let mut asked = responses::decode_request(&file).unwrap();
    let messages = asked.request.messages.clone();
    let items = Value::Array(asked.stored_items("req_1"));
    check_value("openai.responses.items.json", &responses::encode_items(&items.to_string(), &Default::default()).unwrap());
    let calls: Value = serde_json::from_slice(&std::fs::read(folder().join("openai.responses.calls.answer.json")).unwrap()).unwrap();
    let mut turn = Vec::new();
    responses::decode_turn(&items.to_string(), &calls["output"].to_string(), &mut turn).unwrap();
    assert_eq!(turn[..messages.len() - 1], messages[1..], "what was asked, without the instructions");
    let calls_made: usize = turn[messages.len() - 1..].iter().map(|message| message.tool_calls.len()).sum();
    assert!(calls_made > 0, "{turn:?}");
    asked.follow(turn.clone());
    assert_eq!(asked.request.messages[0], messages[0], "the instructions are those of the request at hand");
    assert_eq!(asked.request.messages[1..=turn.len()], turn[..]);
    assert_eq!(asked.request.messages[turn.len() + 1..], messages[1..]);
    check_value("openai.responses.deleted.json", &responses::encode_deleted("resp_1"));
}

fn stream_responses(echo: &responses::Echo, events: &[ChatEvent]) -> Vec<u8> {
    let (mut encoder, mut out) = (responses::StreamEncoder::new(head(), echo.clone()), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    out
}

#[test]
fn llama_chat() {
    let request = ChatRequest {
        parallel_tool_calls: true,
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.95),
            top_k: Some(40),
            repetition_penalty: Some(1.1),
            max_tokens: Some(256),
            n: 1,
            ..Sampling::default()
        },
        ..chat_request()
    };
    let file = check("llama.chat.request.json", &llama::chat::encode_request(&request));
    assert_eq!(llama::chat::decode_request(&file), Ok(request));
    for (name, events) in [("text", plain(text_events())), ("calls", call_events())] {
        let expected = answer(events.clone());
        let file = check(&format!("llama.chat.{name}.answer.json"), &llama::chat::encode_answer(&head(), &expected));
        assert_eq!(llama::chat::decode_answer(&file), Ok((head().id, expected)));
        let file = stream_llama_chat(&format!("llama.chat.{name}.sse"), &events);
        assert_eq!(crate::llama::decode_stream(&file, &[]), events);
    }
    let file = stream_llama_chat("llama.chat.failed.sse", &failed_events());
    assert_eq!(crate::llama::decode_stream(&file, &[]), without_context(failed_events()));
}

fn stream_llama_chat(name: &str, events: &[ChatEvent]) -> Vec<u8> {
    let (mut encoder, mut out) = (llama::chat::StreamEncoder::new(&head()), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    check(name, &out)
}

#[test]
fn llama_models_moderations_and_errors() {
    check_value("llama.models.json", &llama::models::encode_list(&cards()));
    check_value("llama.model.json", &llama::models::encode(&cards()[0]));
    let request = ModerationRequest { model: Some("llama-guard-3-1b".into()), messages: vec![Message::text(Role::User, "Hello")] };
    let file = check("llama.moderations.request.json", &llama::moderations::encode_request(&request));
    assert_eq!(llama::moderations::decode_request(&file), Ok(request));
    let results = vec![Verdict { flagged: true, categories: vec!["S1".into(), "S10".into()] }, Verdict::default()];
    let answer = ModerationResponse { model: "llama-guard-3-1b".into(), results };
    let file = check_value("llama.moderations.answer.json", &llama::moderations::encode_answer(&answer));
    assert_eq!(llama::moderations::decode_answer(&file), Ok(answer));
    let all: Vec<Value> =
        ErrorCode::ALL.iter().map(|&code| llama::error::encode(&Error::new(code, "What is wrong.").with_param("n"))).collect();
    check_value("llama.errors.json", &json!(all));
}

/// Every file is looked at by some test above.
#[test]
fn no_file_is_left_over() {
    let source = include_str!("golden.rs");
    let names: BTreeSet<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for name in names {
        let pattern = name.replace(".text.", ".{name}.").replace(".calls.", ".{name}.");
        assert!(source.contains(&format!("\"{name}\"")) || source.contains(&format!("\"{pattern}\"")), "{name} is not used");
    }
}
