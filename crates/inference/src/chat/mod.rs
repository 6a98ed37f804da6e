//! Conversations: from a canonical request to tokens, from generated text to canonical events.
//!
//! Here live chat templates, tool formats and the choice of grammar. Nothing here reads a clock, makes a random
//! number or knows HTTP; the tokenizer is handed in.
//!
//! **Invariant:** what a person wrote never becomes a control token, and a request is answered as it was put or
//! refused: nothing of it is dropped silently.

pub mod answer;
pub mod conversation;
pub mod defaults;
pub mod neutral;
pub mod python;
pub mod sampling;
pub mod template;
pub mod tools;

use std::time::Instant;

use freehold_dialects::canonical::ChatRequest;
use freehold_domain::{Error, ErrorCode};
use minijinja::Value;

use self::answer::{AnswerReader, CallIds, Callable};
use self::conversation::{has_parallel_calls, offered, shown, strings};
use self::neutral::{Controls, Neutralizer};
use self::template::{ChatTemplate, Rendering, TemplateError};
use self::tools::grammar::{self, CallForm};
use crate::engine::{EngineInfo, GenerateRequest, Share, Token};

/// The model's tokenizer: text, whether control tokens are read as such, whether a begin token may be added.
pub type Tokenize<'a> = dyn Fn(&str, bool, bool) -> Result<Vec<Token>, Error> + 'a;

/// What surrounds a request.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// For logs.
    pub request_id: String,
    /// Whose turn it is.
    pub share: Share,
    /// Cached prefixes are found only under the same salt.
    pub cache_salt: String,
    /// The adapter to use.
    pub adapter: Option<String>,
    /// Answers after this moment are too late.
    pub deadline: Instant,
    /// A fresh random number.
    pub seed: u64,
    /// Now, in seconds since the Unix epoch.
    pub moment_unix_s: i64,
}

/// A request for the engine, and how to read its answer.
#[derive(Debug)]
pub struct Prepared {
    /// For the engine.
    pub generate: GenerateRequest,
    /// Reads what the engine generates.
    pub reader: AnswerReader,
}

/// How to hold a conversation with one model.
#[derive(Debug)]
pub struct Chat {
    template: Result<ChatTemplate, TemplateError>,
    controls: Controls,
    form: CallForm,
    bos_text: String,
}

impl Chat {
    /// For a loaded model. A template that cannot be read does not prevent plain completions: conversations are
    /// refused with the reason.
    pub fn new(info: &EngineInfo) -> Self {
        let source = info.chat_template.as_deref();
        Self {
            template: ChatTemplate::new(source, &info.bos_text, &info.eos_text, &info.control_texts),
            controls: Controls::new(&info.control_texts),
            form: CallForm::of(source),
            bos_text: info.bos_text.clone(),
        }
    }

    /// Why conversations are refused, if they are.
    pub fn fault(&self) -> Option<&TemplateError> {
        self.template.as_ref().err()
    }

    /// The prompt's tokens.
    ///
    /// # Errors
    /// `unsupported_feature` for pictures or an unreadable template, `invalid_request` if the template refuses.
    pub fn tokens(&self, request: &ChatRequest, moment_unix_s: i64, tokenize: &Tokenize<'_>) -> Result<Vec<Token>, Error> {
        let template = self.template.as_ref().map_err(|fault| {
            Error::new(ErrorCode::UnsupportedFeature, format!("This model cannot hold conversations: {fault}. Use /v1/completions."))
        })?;
        let neutral = Neutralizer::new(&self.controls, strings(request).into_iter());
        let mut rendered = self.render(template, request, &neutral, moment_unix_s, false);
        if rendered.is_err() && has_parallel_calls(request) {
            // Some templates show one call a turn and refuse more.
            rendered = self.render(template, request, &neutral, moment_unix_s, true).or(rendered);
        }
        let text = rendered?;
        let mut begin = self.bos_text.is_empty() || !text.starts_with(&self.bos_text);
        let mut tokens = Vec::new();
        for piece in neutral.pieces(&text) {
            tokens.extend(tokenize(piece, true, begin)?);
            begin = false;
        }
        if tokens.is_empty() {
            return Err(Error::invalid("messages", "The conversation is empty. Write something."));
        }
        Ok(tokens)
    }

    /// Resolves a request.
    ///
    /// # Errors
    /// As [`Chat::tokens`]; also `invalid_request` for a `tool_choice` or a `logit_bias` that cannot be met.
    pub fn prepare(&self, request: &ChatRequest, envelope: Envelope, tokenize: &Tokenize<'_>) -> Result<Prepared, Error> {
        let constraint = grammar::constraint(request, self.form)?;
        let prompt = self.tokens(request, envelope.moment_unix_s, tokenize)?;
        let functions: Vec<String> = offered(request).iter().map(|tool| tool.name.clone()).collect();
        let calls_max = if request.parallel_tool_calls { grammar::CALLS_MAX } else { 1 };
        let callable = (!functions.is_empty()).then_some(Callable { functions, calls_max });
        let sampling = &request.sampling;
        let n = sampling.n.max(1);
        let mut stop = sampling.stop.clone();
        if let Some(family) = self.template.as_ref().ok().and_then(ChatTemplate::built_in) {
            stop.extend(family.stops().iter().map(|text| (*text).to_owned()));
        }
        let generate = GenerateRequest {
            request_id: envelope.request_id,
            share: envelope.share,
            cache_salt: envelope.cache_salt,
            prompt,
            adapter: envelope.adapter,
            sampling: sampling::params(sampling, envelope.seed)?,
            max_tokens: sampling.max_tokens,
            stop,
            constraint,
            n,
            logprobs: sampling.logprobs,
            deadline: envelope.deadline,
            show_special: callable.is_some(),
        };
        let reader = AnswerReader::new(n, callable.as_ref(), CallIds { seed: envelope.seed });
        Ok(Prepared { generate, reader })
    }

    fn render(
        &self,
        template: &ChatTemplate,
        request: &ChatRequest,
        neutral: &Neutralizer<'_>,
        moment_unix_s: i64,
        split_calls: bool,
    ) -> Result<String, Error> {
        let shown = shown(request, template.abilities(), neutral, split_calls)?;
        let rendering = Rendering {
            messages: Value::from_serialize(&shown.messages),
            tools: Value::from_serialize(&shown.tools),
            add_generation_prompt: true,
            moment_unix_s,
        };
        template.render(&rendering).map_err(|fault| match fault {
            TemplateError::Refused(reason) => {
                Error::invalid("messages", format!("This model cannot take the conversation in this form: {reason}"))
            }
            TemplateError::Broken(_) | TemplateError::Unbounded => Error::internal(fault),
        })
    }
}
