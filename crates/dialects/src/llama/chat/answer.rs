//! The whole answer, written and read.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::{Deserialize, Serialize};

use super::{stop_of_word, stop_word};
use crate::canonical::{AnswerHead, ChatAnswer, ChatChoice, ToolCall};
use crate::llama::metrics::{self, Metric};
use crate::shape::write;

#[derive(Serialize, Deserialize)]
struct WireAnswer<'a> {
    #[serde(default, borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    completion_message: WireMessage<'a>,
    #[serde(default, borrow)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireMessage<'a> {
    #[serde(default, borrow)]
    role: Cow<'a, str>,
    #[serde(default, borrow)]
    content: Option<WireContent<'a>>,
    #[serde(default, borrow)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WireContent<'a> {
    #[serde(borrow)]
    Item(WireItem<'a>),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

#[derive(Serialize, Deserialize)]
struct WireItem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireCall<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    function: WireFunction<'a>,
}

#[derive(Serialize, Deserialize)]
struct WireFunction<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Cow<'a, str>,
}

/// Writes a whole answer: its first choice, as the dialect has only one.
pub fn encode_answer(head: &AnswerHead, answer: &ChatAnswer) -> Vec<u8> {
    let nothing = ChatChoice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    write::bytes(&WireAnswer {
        id: Cow::Borrowed(&head.id),
        completion_message: WireMessage {
            role: "assistant".into(),
            content: Some(WireContent::Item(WireItem { kind: "text".into(), text: Cow::Borrowed(&choice.text) })),
            stop_reason: choice.finish.map(|reason| stop_word(reason).into()),
            tool_calls: choice.tool_calls.iter().map(encode_call).collect(),
        },
        metrics: metrics::encode(&answer.usage),
    })
}

fn encode_call(call: &ToolCall) -> WireCall<'_> {
    let function = WireFunction { name: Cow::Borrowed(&call.name), arguments: Cow::Borrowed(&call.arguments) };
    WireCall { id: Cow::Borrowed(&call.id), function }
}

/// Reads a whole answer: its id, and what was answered.
///
/// # Errors
/// `internal`, with the reason for the log, if the body is not such an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<(String, ChatAnswer), Error> {
    let wire: WireAnswer<'_> =
        serde_json::from_slice(bytes).map_err(|fault| Error::internal(format!("the answer of the model's server: {fault}")))?;
    let message = wire.completion_message;
    let call = |call: WireCall<'_>| ToolCall {
        id: call.id.into_owned(),
        name: call.function.name.into_owned(),
        arguments: call.function.arguments.into_owned(),
    };
    let choice = ChatChoice {
        text: match message.content {
            Some(WireContent::Item(WireItem { text, .. }) | WireContent::Text(text)) => text.into_owned(),
            None => String::new(),
        },
        tool_calls: message.tool_calls.into_iter().map(call).collect(),
        finish: message.stop_reason.as_deref().map(stop_of_word),
        logprobs: Vec::new(),
    };
    Ok((wire.id.into_owned(), ChatAnswer { choices: vec![choice], usage: metrics::decode(&wire.metrics) }))
}
