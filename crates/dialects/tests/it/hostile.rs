//! Requests that are wrong: each gets the right code, names the field, and says what to do.

use freehold_dialects::openai::{chat, completions, embeddings, responses};
use freehold_dialects::{canonical::Role, llama};
use freehold_domain::{Error, ErrorCode};
use serde_json::{Value, json};

use ErrorCode::{InvalidJson, InvalidRequest, UnknownParameter, UnsupportedFeature};

type Decode = fn(&[u8]) -> Option<Error>;

const CHAT: Decode = |bytes| chat::decode_request(bytes).err();
const COMPLETIONS: Decode = |bytes| completions::decode_request(bytes).err();
const EMBEDDINGS: Decode = |bytes| embeddings::decode_request(bytes).err();
const RESPONSES: Decode = |bytes| responses::decode_request(bytes).err();
const LLAMA: Decode = |bytes| llama::chat::decode_request(bytes).err();
const MODERATIONS: Decode = |bytes| llama::moderations::decode_request(bytes).err();
const ALL: [Decode; 6] = [CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, LLAMA, MODERATIONS];

fn base() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
}

/// The base with some fields replaced or added.
fn with(mut base: Value, fields: Value) -> Vec<u8> {
    let map = base.as_object_mut().unwrap();
    map.extend(fields.as_object().unwrap().clone());
    serde_json::to_vec(&base).unwrap()
}

#[track_caller]
fn check(decode: Decode, body: &[u8], code: ErrorCode, param: impl Into<Option<&'static str>>, words: &str) {
    let error = decode(body).unwrap_or_else(|| panic!("accepted: {}", String::from_utf8_lossy(body)));
    assert_eq!((error.code, error.param.as_deref()), (code, param.into()), "{error}");
    assert!(error.message.contains(words), "{error} does not contain {words}");
    assert!(error.message.len() < 700, "{error}");
}

#[test]
fn bodies_that_are_no_requests() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for decode in ALL {
        check(decode, b"", InvalidJson, None, "empty");
        check(decode, b" \n\t", InvalidJson, None, "empty");
        check(decode, b"{\"model\":\"\xff\"}", InvalidJson, None, "UTF-8 at byte 10");
        check(decode, b"{\"model\":", InvalidJson, None, "not valid JSON");
        check(decode, b"{\"model\":\"m\"} x", InvalidJson, None, "not valid JSON");
        check(decode, b"{\"model\":1e999}", InvalidJson, None, "not valid JSON");
        check(decode, b"{\"model\":\"\\ud800\"}", InvalidJson, None, "not valid JSON");
        check(decode, b"[1]", InvalidRequest, None, "must be a JSON object, but is an array");
        check(decode, b"null", InvalidRequest, None, "but is null");
        check(decode, deep.as_bytes(), InvalidJson, None, "more than 64 deep");
    }
}

#[test]
fn chat_fields() {
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"model": null}), InvalidRequest, "model", "`model` is required."),
        (json!({"model": ""}), InvalidRequest, "model", "must not be empty"),
        (json!({"model": 7}), InvalidRequest, "model", "must be a string, but is a number"),
        (json!({"model": "m".repeat(300)}), InvalidRequest, "model", "at most 256 characters"),
        (json!({"messages": null}), InvalidRequest, "messages", "`messages` is required."),
        (json!({"messages": []}), InvalidRequest, "messages", "at least one message"),
        (json!({"messages": "hi"}), InvalidRequest, "messages", "must be an array, but is a string"),
        (json!({"temperature": 2.5}), InvalidRequest, "temperature", "must be from 0 to 2, but is 2.5"),
        (json!({"temperature": -0.1}), InvalidRequest, "temperature", "from 0 to 2"),
        (json!({"temperature": "hot"}), InvalidRequest, "temperature", "must be a number, but is a string"),
        (json!({"temperature": 1e300}), InvalidRequest, "temperature", "from 0 to 2"),
        (json!({"top_p": 0}), InvalidRequest, "top_p", "over 0 and at most 1"),
        (json!({"top_p": 1e-60}), InvalidRequest, "top_p", "over 0 and at most 1"),
        (json!({"top_k": -2}), InvalidRequest, "top_k", "from -1 to"),
        (json!({"min_p": 1.5}), InvalidRequest, "min_p", "from 0 to 1"),
        (json!({"presence_penalty": 3}), InvalidRequest, "presence_penalty", "from -2 to 2"),
        (json!({"frequency_penalty": -3}), InvalidRequest, "frequency_penalty", "from -2 to 2"),
        (json!({"repetition_penalty": 0}), InvalidRequest, "repetition_penalty", "over 0"),
        (json!({"seed": 1.5}), InvalidRequest, "seed", "whole number"),
        (json!({"max_tokens": 0}), InvalidRequest, "max_tokens", "from 1 to"),
        (json!({"max_completion_tokens": -1}), InvalidRequest, "max_completion_tokens", "from 1 to"),
        (json!({"max_tokens": 5_000_000_000u64}), InvalidRequest, "max_tokens", "from 1 to"),
        (json!({"max_tokens": 1.5}), InvalidRequest, "max_tokens", "whole number"),
        (json!({"max_tokens": 5, "max_completion_tokens": 6}), InvalidRequest, "max_tokens", "send only `max_completion_tokens`"),
        (json!({"n": 0}), InvalidRequest, "n", "from 1 to 128"),
        (json!({"n": 17}), UnsupportedFeature, "n", "at most 16 answers"),
        (json!({"n": 129}), InvalidRequest, "n", "from 1 to 128"),
        (json!({"stop": ""}), InvalidRequest, "stop", "1 to 1024 characters"),
        (json!({"stop": ["a", 1]}), InvalidRequest, "stop[1]", "must be a string"),
        (json!({"stop": vec!["x"; 17]}), InvalidRequest, "stop", "at most 16 strings"),
        (json!({"stop": {}}), InvalidRequest, "stop", "string or an array of strings"),
        (json!({"logit_bias": {"the": 1}}), InvalidRequest, "logit_bias.the", "token ids"),
        (json!({"logit_bias": {"5": 101}}), InvalidRequest, "logit_bias.5", "from -100 to 100"),
        (json!({"logit_bias": []}), InvalidRequest, "logit_bias", "object"),
        (json!({"logprobs": 3}), InvalidRequest, "logprobs", "true or false"),
        (json!({"top_logprobs": 3}), InvalidRequest, "top_logprobs", "needs `logprobs`"),
        (json!({"logprobs": true, "top_logprobs": 21}), InvalidRequest, "top_logprobs", "from 0 to 20"),
        (json!({"stream": "yes"}), InvalidRequest, "stream", "true or false"),
        (json!({"stream_options": {"include_usag": true}}), UnknownParameter, "stream_options.include_usag", "`include_usage`?"),
        (json!({"response_format": {"type": "xml"}}), InvalidRequest, "response_format.type", "`json_schema`"),
        (json!({"response_format": {"type": "json_schema"}}), InvalidRequest, "response_format.json_schema", "required"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}}),
            InvalidRequest,
            "response_format.json_schema.name",
            "letters",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 1}}}),
            InvalidRequest,
            "response_format.json_schema.schema",
            "JSON Schema",
        ),
        (json!({"functions": []}), UnsupportedFeature, "functions", "use `tools`"),
        (json!({"function_call": "auto"}), UnsupportedFeature, "function_call", "use `tool_choice`"),
        (json!({"audio": {}}), UnsupportedFeature, "audio", "text"),
        (json!({"modalities": ["text", "audio"]}), UnsupportedFeature, "modalities[1]", "`audio`"),
        (json!({"web_search_options": {}}), UnsupportedFeature, "web_search_options", "tool"),
        (json!({"verbosity": "low"}), UnsupportedFeature, "verbosity", "medium"),
        (json!({"temprature": 1}), UnknownParameter, "temprature", "Did you mean `temperature`?"),
        (json!({"max_token": 1}), UnknownParameter, "max_token", "Did you mean `max_tokens`?"),
        (json!({"cache_salt": "theirs"}), UnknownParameter, "cache_salt", "not a field"),
        (json!({"xyzzy": 1}), UnknownParameter, "xyzzy", "`xyzzy` is not a field of this request."),
        (json!({"user": 5}), InvalidRequest, "user", "must be a string"),
    ];
    for (fields, code, param, words) in table {
        check(CHAT, &with(base(), fields.clone()), *code, *param, words);
    }
}

#[test]
fn chat_messages() {
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!("hi"), InvalidRequest, "messages[0]", "must be an object"),
        (json!({"content": "hi"}), InvalidRequest, "messages[0].role", "required"),
        (json!({"role": "robot", "content": "hi"}), InvalidRequest, "messages[0].role", "`robot`"),
        (json!({"role": "function", "content": "hi"}), UnsupportedFeature, "messages[0].role", "use `tool`"),
        (json!({"role": "user"}), InvalidRequest, "messages[0].content", "required"),
        (json!({"role": "user", "content": []}), InvalidRequest, "messages[0].content", "empty array"),
        (json!({"role": "user", "content": 5}), InvalidRequest, "messages[0].content", "string or an array"),
        (json!({"role": "user", "content": [{"type": "txt"}]}), InvalidRequest, "messages[0].content[0].type", "`txt`"),
        (json!({"role": "user", "content": [{"type": "text"}]}), InvalidRequest, "messages[0].content[0].text", "required"),
        (json!({"role": "user", "content": [{"type": "input_audio"}]}), UnsupportedFeature, "messages[0].content[0].type", "text"),
        (json!({"role": "system", "content": [{"type": "image_url"}]}), InvalidRequest, "messages[0].content[0].type", "`text`"),
        (
            json!({"role": "user", "content": [{"type": "image_url", "image_url": {"uri": "x"}}]}),
            InvalidRequest,
            "messages[0].content[0].image_url.url",
            "required",
        ),
        (json!({"role": "tool", "content": "5"}), InvalidRequest, "messages[0].tool_call_id", "required"),
        (json!({"role": "user", "content": "x", "tool_call_id": "a"}), UnknownParameter, "messages[0].tool_call_id", "`messages[0]`"),
        (json!({"role": "assistant"}), InvalidRequest, "messages[0].content", "required"),
        (json!({"role": "assistant", "tool_calls": []}), InvalidRequest, "messages[0].content", "required"),
        (json!({"role": "assistant", "function_call": {}}), UnsupportedFeature, "messages[0].function_call", "`tool_calls`"),
        (json!({"role": "assistant", "tool_calls": [{}]}), InvalidRequest, "messages[0].tool_calls[0].id", "required"),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]}),
            InvalidRequest,
            "messages[0].tool_calls[0].function.arguments",
            "must be a string",
        ),
    ];
    for (message, code, param, words) in table {
        check(CHAT, &with(base(), json!({"messages": [message]})), *code, *param, words);
    }
}

#[test]
fn tools() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"tools": [tool("a"), tool("a")]}), InvalidRequest, "tools[1].function.name", "Two tools are named `a`"),
        (json!({"tools": [tool("get weather")]}), InvalidRequest, "tools[0].function.name", "`get weather`"),
        (json!({"tools": [tool("")]}), InvalidRequest, "tools[0].function.name", "1 to 64"),
        (json!({"tools": [tool(&"x".repeat(65))]}), InvalidRequest, "tools[0].function.name", "1 to 64"),
        (json!({"tools": vec![tool("a"); 129]}), InvalidRequest, "tools", "at most 128 items, but has 129"),
        (json!({"tools": [{"type": "web_search"}]}), UnsupportedFeature, "tools[0].type", "`web_search`"),
        (json!({"tools": [{"type": "function"}]}), InvalidRequest, "tools[0].function", "required"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a", "parameters": "x"}}]}),
            InvalidRequest,
            "tools[0].function.parameters",
            "JSON Schema",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a", "parameter": {}}}]}),
            UnknownParameter,
            "tools[0].function.parameter",
            "`parameters`?",
        ),
        (json!({"tool_choice": "required"}), InvalidRequest, "tool_choice", "no `tools`"),
        (json!({"tool_choice": "any"}), InvalidRequest, "tool_choice", "`required`"),
        (
            json!({"tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}),
            InvalidRequest,
            "tool_choice",
            "`b`, which is not among",
        ),
    ];
    for decode in [CHAT, LLAMA] {
        for (fields, code, param, words) in table {
            check(decode, &with(base(), fields.clone()), *code, *param, words);
        }
    }
}

#[test]
fn completions_and_embeddings() {
    let base = json!({"model": "m", "prompt": "hi"});
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"prompt": null}), InvalidRequest, "prompt", "required"),
        (json!({"prompt": []}), InvalidRequest, "prompt", "empty"),
        (json!({"prompt": [[]]}), InvalidRequest, "prompt[0]", "empty"),
        (json!({"prompt": [1, "a"]}), InvalidRequest, "prompt[1]", "token id"),
        (json!({"prompt": [-1]}), InvalidRequest, "prompt[0]", "token id"),
        (json!({"prompt": [[1.5]]}), InvalidRequest, "prompt[0][0]", "token id"),
        (json!({"prompt": {}}), InvalidRequest, "prompt", "string or an array"),
        (json!({"prompt": vec!["a"; 129]}), InvalidRequest, "prompt", "at most 128"),
        (json!({"prompt": vec!["a"; 65], "n": 2}), InvalidRequest, "n", "130 answers"),
        (json!({"best_of": 3}), UnsupportedFeature, "best_of", "choose"),
        (json!({"logprobs": true}), InvalidRequest, "logprobs", "whole number"),
        (json!({"messages": []}), UnknownParameter, "messages", "not a field"),
    ];
    for (fields, code, param, words) in table {
        check(COMPLETIONS, &with(base.clone(), fields.clone()), *code, *param, words);
    }
    let base = json!({"model": "m", "input": "hi"});
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"input": ""}), InvalidRequest, "input", "empty string"),
        (json!({"input": []}), InvalidRequest, "input", "empty"),
        (json!({"input": vec!["a"; 2049]}), InvalidRequest, "input", "at most 2048"),
        (json!({"dimensions": 0}), InvalidRequest, "dimensions", "from 1"),
        (json!({"encoding_format": "hex"}), InvalidRequest, "encoding_format", "`base64`"),
        (json!({"encoding": "float"}), UnknownParameter, "encoding", "`encoding_format`?"),
    ];
    for (fields, code, param, words) in table {
        check(EMBEDDINGS, &with(base.clone(), fields.clone()), *code, *param, words);
    }
}

#[test]
fn responses_fields() {
    let base = json!({"model": "m", "input": "hi"});
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"input": null}), InvalidRequest, "input", "required"),
        (json!({"input": []}), InvalidRequest, "input", "empty"),
        (json!({"input": [{"type": "reasoning", "summary": []}]}), InvalidRequest, "input", "at least one message"),
        (json!({"previous_response_id": 1}), InvalidRequest, "previous_response_id", "a string"),
        (json!({"previous_response_id": ""}), InvalidRequest, "previous_response_id", "empty"),
        (json!({"previous_response_id": "x".repeat(129)}), InvalidRequest, "previous_response_id", "at most 128"),
        (json!({"store": "yes"}), InvalidRequest, "store", "true or false"),
        (json!({"conversation": "conv_1"}), UnsupportedFeature, "conversation", "`previous_response_id`"),
        (json!({"background": true}), UnsupportedFeature, "background", "use `stream`"),
        (json!({"prompt": {"id": "p"}}), UnsupportedFeature, "prompt", "`instructions`"),
        (json!({"truncation": "auto"}), UnsupportedFeature, "truncation", "shorten"),
        (json!({"tools": [{"type": "file_search"}]}), UnsupportedFeature, "tools[0].type", "`file_search`"),
        (json!({"tools": [{"type": "function", "name": "f", "function": {}}]}), UnknownParameter, "tools[0].function", "not a field"),
        (json!({"tool_choice": {"type": "function", "name": "f"}}), InvalidRequest, "tool_choice", "not among"),
        (json!({"text": {"format": {"type": "grammar"}}}), InvalidRequest, "text.format.type", "`json_object`"),
        (json!({"text": {"verbosity": "high"}}), UnsupportedFeature, "text.verbosity", "medium"),
        (json!({"top_logprobs": 2}), InvalidRequest, "top_logprobs", "`include`"),
        (json!({"max_output_tokens": 0}), InvalidRequest, "max_output_tokens", "from 1"),
        (json!({"max_tokens": 5}), UnknownParameter, "max_tokens", "not a field"),
        (json!({"metadata": {"a": 1}}), InvalidRequest, "metadata", "16 strings"),
        (json!({"metadata": {"a": "x".repeat(513)}}), InvalidRequest, "metadata", "512 characters"),
        (json!({"metadata": {"k".repeat(65): "x"}}), InvalidRequest, "metadata", "keys of up to 64"),
        (json!({"n": 2}), UnknownParameter, "n", "not a field"),
        (json!({"input": [{"type": "item_reference", "id": "x"}]}), UnsupportedFeature, "input[0].type", "send the item"),
        (json!({"input": [{"type": "computer_call"}]}), UnsupportedFeature, "input[0].type", "`computer_call`"),
        (json!({"input": [{"role": "tool", "content": "x"}]}), InvalidRequest, "input[0].role", "`tool`"),
        (json!({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}), UnsupportedFeature, "input[0].content[0].type", "text"),
        (json!({"input": [{"type": "function_call_output", "output": "x"}]}), InvalidRequest, "input[0].call_id", "required"),
        (json!({"input": [{"type": "function_call", "call_id": "a", "name": "f"}]}), InvalidRequest, "input[0].arguments", "required"),
    ];
    for (fields, code, param, words) in table {
        check(RESPONSES, &with(base.clone(), fields.clone()), *code, *param, words);
    }
}

#[test]
fn llama_fields() {
    let table: &[(Value, ErrorCode, &'static str, &str)] = &[
        (json!({"model": null}), InvalidRequest, "model", "required"),
        (json!({"messages": []}), InvalidRequest, "messages", "at least one"),
        (json!({"messages": [{"role": "developer", "content": "x"}]}), InvalidRequest, "messages[0].role", "`system`"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), InvalidRequest, "messages[0].tool_call_id", "required"),
        (json!({"messages": [{"role": "assistant", "stop_reason": "end"}]}), InvalidRequest, "messages[0].stop_reason", "`length`"),
        (json!({"messages": [{"role": "assistant", "content": {"type": "image"}}]}), InvalidRequest, "messages[0].content.type", "`text`"),
        (json!({"response_format": {"type": "json_object"}}), InvalidRequest, "response_format.type", "`json_schema`"),
        (json!({"top_k": -1}), InvalidRequest, "top_k", "from 0"),
        (json!({"max_tokens": 5}), UnknownParameter, "max_tokens", "not a field"),
        (json!({"max_completion_token": 5}), UnknownParameter, "max_completion_token", "`max_completion_tokens`?"),
        (json!({"logprobs": true}), UnknownParameter, "logprobs", "not a field"),
    ];
    for (fields, code, param, words) in table {
        check(LLAMA, &with(base(), fields.clone()), *code, *param, words);
    }
    check(MODERATIONS, b"{\"model\":\"guard\"}", InvalidRequest, "messages", "required");
    check(MODERATIONS, &with(base(), json!({"input": "x"})), UnknownParameter, "input", "not a field");
}

#[test]
fn a_long_name_is_quoted_in_part() {
    let name = "x".repeat(1 << 20);
    let error = CHAT(&with(base(), json!({name: 1}))).unwrap();
    assert!(error.message.len() < 200 && error.param.unwrap().chars().count() <= 65);
}

/// What the official SDKs send and this service has no use for.
#[test]
fn what_makes_no_difference_is_accepted() {
    let body = with(
        base(),
        json!({
            "metadata": {"a": "b"}, "store": true, "service_tier": "auto", "prompt_cache_key": "k", "safety_identifier": "s",
            "reasoning_effort": "low", "modalities": ["text"], "stream_options": null, "audio": null, "functions": null, "top_k": -1,
            "prediction": {"type": "content", "content": "x"}, "verbosity": "medium", "n": null, "stop": null, "seed": -1, "tools": [],
            "tool_choice": "none", "logprobs": false, "top_logprobs": 0, "logit_bias": {}, "response_format": {"type": "text"},
        }),
    );
    let request = chat::decode_request(&body).unwrap();
    assert_eq!((request.sampling.top_k, request.sampling.n, request.sampling.seed), (Some(0), 1, Some(u64::MAX)));
    let echoed = json!({"messages": [
        {"role": "developer", "content": "x"},
        {"role": "assistant", "content": "hi", "refusal": null, "annotations": [], "audio": null, "function_call": null, "tool_calls": null},
    ]});
    let request = chat::decode_request(&with(base(), echoed)).unwrap();
    assert_eq!((request.messages[0].role, request.messages[1].role), (Role::System, Role::Assistant));
    for store in [json!(null), json!(true), json!(false)] {
        let body = json!({"model": "m", "input": "hi", "store": store, "previous_response_id": null, "background": false, "reasoning": {}});
        let asked = responses::decode_request(&serde_json::to_vec(&body).unwrap()).unwrap();
        assert_eq!((asked.store, asked.previous), (store.as_bool(), None));
    }
}
