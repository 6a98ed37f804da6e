//! The whole answer, written and read.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::{Deserialize, Serialize};

use super::ID_PREFIX;
use crate::canonical::{AnswerHead, ChatAnswer, ChatChoice, ToolCall};
use crate::openai::chunk::{check_choice, finish_of_word, finish_word};
use crate::openai::logprobs::WireLogprobs;
use crate::openai::usage::WireUsage;
use crate::shape::write;

#[derive(Serialize, Deserialize)]
struct WireAnswer<'a> {
    #[serde(default, borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    object: Cow<'a, str>,
    #[serde(default)]
    created: i64,
    #[serde(default, borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    choices: Vec<WireChoice<'a>>,
    usage: Option<WireUsage>,
}

#[derive(Serialize, Deserialize)]
struct WireChoice<'a> {
    index: u32,
    #[serde(borrow)]
    message: WireMessage<'a>,
    #[serde(default, borrow)]
    logprobs: Option<WireLogprobs<'a>>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct WireMessage<'a> {
    #[serde(default, borrow)]
    role: Cow<'a, str>,
    #[serde(default, borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(default, skip_deserializing)]
    refusal: Option<()>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<WireCall<'a>>>,
}

#[derive(Serialize, Deserialize)]
struct WireCall<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow, rename = "type")]
    kind: Cow<'a, str>,
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

/// Writes a whole answer.
pub fn encode_answer(head: &AnswerHead, answer: &ChatAnswer) -> Vec<u8> {
    let choices = answer.choices.iter().zip(0..).map(|(choice, index)| encode_choice(choice, index)).collect();
    write::bytes(&WireAnswer {
        id: Cow::Owned(format!("{ID_PREFIX}{}", head.id)),
        object: "chat.completion".into(),
        created: head.created_s,
        model: Cow::Borrowed(&head.model),
        choices,
        usage: Some(WireUsage::from(&answer.usage)),
    })
}

fn encode_choice(choice: &ChatChoice, index: u32) -> WireChoice<'_> {
    let calls: Vec<_> = choice.tool_calls.iter().map(encode_call).collect();
    WireChoice {
        index,
        message: WireMessage {
            role: "assistant".into(),
            content: (!choice.text.is_empty() || calls.is_empty()).then_some(Cow::Borrowed(&choice.text)),
            refusal: None,
            tool_calls: (!calls.is_empty()).then_some(calls),
        },
        logprobs: WireLogprobs::of(&choice.logprobs),
        finish_reason: choice.finish.map(|reason| Cow::Borrowed(finish_word(reason))),
    }
}

fn encode_call(call: &ToolCall) -> WireCall<'_> {
    let function = WireFunction { name: Cow::Borrowed(&call.name), arguments: Cow::Borrowed(&call.arguments) };
    WireCall { id: Cow::Borrowed(&call.id), kind: "function".into(), function }
}

/// Reads the whole answer of a worker or another server.
///
/// # Errors
/// `internal`, with the reason for the log, if the body is not such an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<(AnswerHead, ChatAnswer), Error> {
    let wire: WireAnswer<'_> =
        serde_json::from_slice(bytes).map_err(|fault| Error::internal(format!("the answer of the model's server: {fault}")))?;
    let mut answer = ChatAnswer { choices: Vec::new(), usage: wire.usage.map(Into::into).unwrap_or_default() };
    for choice in wire.choices {
        let index = check_choice(choice.index)? as usize;
        if index >= answer.choices.len() {
            answer.choices.resize_with(index + 1, ChatChoice::default);
        }
        answer.choices[index] = decode_choice(choice);
    }
    let id = wire.id.strip_prefix(ID_PREFIX).unwrap_or(&wire.id).to_owned();
    Ok((AnswerHead { id, model: wire.model.into_owned(), created_s: wire.created }, answer))
}

fn decode_choice(choice: WireChoice<'_>) -> ChatChoice {
    let call = |call: WireCall<'_>| ToolCall {
        id: call.id.into_owned(),
        name: call.function.name.into_owned(),
        arguments: call.function.arguments.into_owned(),
    };
    ChatChoice {
        text: choice.message.content.unwrap_or_default().into_owned(),
        tool_calls: choice.message.tool_calls.unwrap_or_default().into_iter().map(call).collect(),
        finish: choice.finish_reason.as_deref().map(finish_of_word),
        logprobs: choice.logprobs.map(WireLogprobs::into_tokens).unwrap_or_default(),
    }
}
