//! The whole answer, written and read.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::{Deserialize, Serialize};

use super::ID_PREFIX;
use super::logprobs::WireLogprobs;
use crate::canonical::{AnswerHead, ChatAnswer, ChatChoice};
use crate::openai::chunk::{check_choice, finish_of_word, finish_word};
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
    #[serde(borrow)]
    text: Cow<'a, str>,
    index: u32,
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// Writes a whole answer. The dialect has no calls.
pub fn encode_answer(head: &AnswerHead, answer: &ChatAnswer) -> Vec<u8> {
    let choice = |(choice, index)| {
        let choice: &ChatChoice = choice;
        WireChoice {
            text: Cow::Borrowed(&choice.text),
            index,
            logprobs: WireLogprobs::of(&choice.logprobs, &mut 0),
            finish_reason: choice.finish.map(|reason| Cow::Borrowed(finish_word(reason))),
        }
    };
    write::bytes(&WireAnswer {
        id: Cow::Owned(format!("{ID_PREFIX}{}", head.id)),
        object: "text_completion".into(),
        created: head.created_s,
        model: Cow::Borrowed(&head.model),
        choices: answer.choices.iter().zip(0..).map(choice).collect(),
        usage: Some(WireUsage::from(&answer.usage)),
    })
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
        answer.choices[index] = ChatChoice {
            text: choice.text.into_owned(),
            tool_calls: Vec::new(),
            finish: choice.finish_reason.as_deref().map(finish_of_word),
            logprobs: choice.logprobs.map(WireLogprobs::into_tokens).unwrap_or_default(),
        };
    }
    let id = wire.id.strip_prefix(ID_PREFIX).unwrap_or(&wire.id).to_owned();
    Ok((AnswerHead { id, model: wire.model.into_owned(), created_s: wire.created }, answer))
}
