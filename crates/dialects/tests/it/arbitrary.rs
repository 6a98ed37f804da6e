//! Strategies for canonical values, and what the property tests share.

use std::collections::BTreeMap;

use freehold_dialects::canonical::{
    AnswerHead, ChatAnswer, ChatChoice, ChatEvent, ContentPart, FinishReason, Message, ResponseFormat, Role, Sampling, TokenLogprob, Tool,
    ToolCall, ToolChoice, Usage,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,24}",
        2 => Just("line\r\nbreak\n\ndata: [DONE]\n\n\u{2028}\"quoted\" \\ \u{0}\u{7f} 🦙".to_owned()),
        1 => any::<String>(),
    ]
}

pub fn some_text() -> impl Strategy<Value = String> {
    text().prop_map(|text| if text.is_empty() { "x".to_owned() } else { text })
}

pub fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,64}"
}

pub fn model() -> impl Strategy<Value = String> {
    "[a-z0-9./:-]{1,40}"
}

pub fn user() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn schema() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]})),
        some_text().prop_map(|text| json!({"const": text, "n": [1, 2.5, -3, null, true]})),
    ]
}

pub fn tool() -> impl Strategy<Value = Tool> {
    (name(), option::of(text()), option::of(schema()), any::<bool>()).prop_map(|(name, description, parameters, strict)| Tool {
        name,
        description,
        parameters,
        strict,
    })
}

pub fn tools() -> impl Strategy<Value = (Vec<Tool>, ToolChoice)> {
    (vec(tool(), 0..4), 0..4usize).prop_map(|(mut tools, choice)| {
        for (index, tool) in tools.iter_mut().enumerate() {
            tool.name.truncate(60);
            tool.name.push_str(&index.to_string());
        }
        let choice = match (choice, tools.last()) {
            (0, _) => ToolChoice::None,
            (1, Some(_)) => ToolChoice::Required,
            (2, Some(tool)) => ToolChoice::Function(tool.name.clone()),
            _ => ToolChoice::Auto,
        };
        (tools, choice)
    })
}

pub fn call() -> impl Strategy<Value = ToolCall> {
    (some_text(), name(), text()).prop_map(|(id, name, arguments)| ToolCall { id, name, arguments })
}

fn part(images: bool) -> impl Strategy<Value = ContentPart> {
    prop_oneof![3 => text().prop_map(ContentPart::Text), 1 => text().prop_map(move |text| {
        if images { ContentPart::ImageUrl(text) } else { ContentPart::Text(text) }
    })]
}

/// A message. `names`: the dialect has names of speakers; `many`: an assistant's content may have several parts.
pub fn message(names: bool, many: bool) -> impl Strategy<Value = Message> {
    let name = move || option::of(some_text()).prop_map(move |name| name.filter(|_| names));
    let plain = |role| (vec(part(role == Role::User), 1..3), Just(role));
    prop_oneof![
        (plain(Role::System), name()).prop_map(|((content, role), name)| Message { content, name, ..Message::text(role, "") }),
        (plain(Role::User), name()).prop_map(|((content, role), name)| Message { content, name, ..Message::text(role, "") }),
        (plain(Role::Tool), name(), text()).prop_map(|((content, role), name, id)| Message {
            content,
            name,
            tool_call_id: Some(id),
            ..Message::text(role, "")
        }),
        (vec(part(false), 0..3), name(), vec(call(), 0..3)).prop_map(move |(mut content, name, tool_calls)| {
            if !many {
                content.truncate(1);
            }
            if content.is_empty() && tool_calls.is_empty() {
                content.push(ContentPart::Text(String::new()));
            }
            Message { content, name, tool_calls, ..Message::text(Role::Assistant, "") }
        }),
    ]
}

pub fn format() -> impl Strategy<Value = ResponseFormat> {
    prop_oneof![
        Just(ResponseFormat::Text),
        Just(ResponseFormat::JsonObject),
        (name(), schema(), any::<bool>()).prop_map(|(name, schema, strict)| ResponseFormat::JsonSchema { name, schema, strict }),
    ]
}

prop_compose! {
    pub fn sampling()(
        temperature in option::of(0f32..=2.0),
        top_p in option::of(0.0001f32..=1.0),
        top_k in option::of(any::<u32>()),
        min_p in option::of(0f32..=1.0),
        presence_penalty in option::of(-2f32..=2.0),
        frequency_penalty in option::of(-2f32..=2.0),
        repetition_penalty in option::of(0.0001f32..=2.0),
        seed in option::of(any::<u64>()),
        logit_bias in btree_map(any::<u32>(), -100f32..=100.0, 0..4),
        max_tokens in option::of(1u32..),
        stop in vec(some_text(), 0..4),
        n in 1u32..=16,
    ) -> Sampling {
        Sampling {
            temperature, top_p, top_k, min_p, presence_penalty, frequency_penalty, repetition_penalty, seed, logit_bias, max_tokens, stop,
            logprobs: None, n,
        }
    }
}

pub fn plain_sampling(sampling: Sampling) -> Sampling {
    Sampling {
        min_p: None,
        presence_penalty: None,
        frequency_penalty: None,
        seed: None,
        logit_bias: BTreeMap::new(),
        stop: Vec::new(),
        logprobs: None,
        n: 1,
        ..sampling
    }
}

pub fn head() -> impl Strategy<Value = AnswerHead> {
    ("[a-z0-9-]{1,36}", model(), any::<i64>()).prop_map(|(id, model, created_s)| AnswerHead { id, model, created_s })
}

pub fn usage() -> impl Strategy<Value = Usage> {
    (0u32..1 << 20, 0u32..1 << 20, any::<u32>()).prop_map(|(prompt_tokens, completion_tokens, cached)| Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens: cached % (prompt_tokens + 1),
    })
}

pub fn logprob() -> impl Strategy<Value = TokenLogprob> {
    let bytes = || prop_oneof![some_text().prop_map(String::into_bytes), vec(any::<u8>(), 1..4)];
    (bytes(), -50f32..0.0, btree_map(bytes(), -50f32..0.0, 0..3)).prop_map(|(bytes, logprob, top)| TokenLogprob {
        bytes,
        logprob,
        top: top.into_iter().collect(),
    })
}

pub fn finish() -> impl Strategy<Value = FinishReason> {
    prop_oneof![Just(FinishReason::Stop), Just(FinishReason::Length), Just(FinishReason::ToolCalls)]
}

fn choice(logprobs: bool) -> impl Strategy<Value = ChatChoice> {
    (text(), vec(call(), 0..3), finish(), vec(logprob(), 0..3)).prop_map(move |(text, tool_calls, finish, tokens)| ChatChoice {
        text,
        tool_calls,
        finish: Some(finish),
        logprobs: if logprobs { tokens } else { Vec::new() },
    })
}

pub fn answer(choices: std::ops::Range<usize>, logprobs: bool) -> impl Strategy<Value = ChatAnswer> {
    (vec(choice(logprobs), choices), usage()).prop_map(|(choices, usage)| ChatAnswer { choices, usage })
}

/// A stream in the order that the canonical type promises. `texts_before_calls` holds in every dialect's answers.
pub fn events(choices: std::ops::Range<usize>, logprobs: bool) -> impl Strategy<Value = Vec<ChatEvent>> {
    let piece = (some_text(), vec(logprob(), 0..2)).prop_map(move |(text, tokens)| (text, if logprobs { tokens } else { Vec::new() }));
    let pieces = vec(piece, 0..4);
    let calls = vec((some_text(), name(), vec(some_text(), 0..3)), 0..3);
    (vec((pieces, calls, finish()), choices), usage()).prop_map(|(choices, usage)| {
        let mut events = vec![ChatEvent::Start];
        for (index, (pieces, calls, reason)) in (0u32..).zip(choices) {
            for (text, logprobs) in pieces {
                events.push(ChatEvent::Text { choice: index, text, logprobs });
            }
            for (call, (id, name, fragments)) in (0u32..).zip(calls) {
                events.push(ChatEvent::ToolCallStart { choice: index, call, id: format!("{id}{call}"), name });
                for fragment in fragments {
                    events.push(ChatEvent::ToolCallArguments { choice: index, call, fragment });
                }
            }
            events.push(ChatEvent::Finish { choice: index, reason });
        }
        events.push(ChatEvent::Usage(usage));
        events
    })
}

/// Cuts bytes at the given places, taken modulo the length.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(any::<usize>(), 0..12)
}
