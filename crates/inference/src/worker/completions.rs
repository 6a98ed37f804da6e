//! `POST /v1/completions`: text or tokens continued without a chat template.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freehold_dialects::canonical::{CompletionRequest, Prompt};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode};
use http::Request;

use super::app::App;
use super::pump::{Encoder, Merged, Pump};
use super::reply::{self, Refusal};
use super::request::Received;
use crate::chat::answer::{AnswerReader, CallIds};
use crate::chat::tools::grammar::response_schema;
use crate::chat::{Envelope, sampling};
use crate::engine::{Constraint, GenerateRequest, Token};

/// OpenAI's default for this route.
const MAX_TOKENS_DEFAULT: u32 = 16;

pub(super) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Refusal> {
    let received = Received::read(&app, request).await?;
    let (request, extensions) = openai::completions::decode_worker_request(&received.body)?;
    refuse_unsupported(&request)?;
    let running_usage = extensions.running_usage;
    let envelope = received.envelope(&app, &request.model, extensions)?;
    let head = received.head(&request.model);
    if app.log_prompts {
        tracing::info!(request_id = envelope.request_id, prompts = ?request.prompts, "asked");
    }
    let n = request.sampling.n.max(1);
    let mut generations = Vec::with_capacity(request.prompts.len());
    let mut prompt_tokens = 0;
    for (index, prompt) in request.prompts.iter().enumerate() {
        let prompt = tokens(&app, prompt, index)?;
        prompt_tokens += prompt.len();
        generations.push(app.engine.generate(generate_request(&request, &envelope, prompt, n)?)?);
    }
    let choices = n.saturating_mul(u32::try_from(generations.len()).unwrap_or(u32::MAX));
    let reader = AnswerReader::new(choices, None, CallIds { seed: envelope.seed });
    let pump = Pump::new(&app, received.arrived, Merged::new(generations, n), reader, choices);
    if request.stream {
        let response = pump.stream(Encoder::completions(&head, request.include_usage, running_usage)).await?;
        return Ok(reply::with_prompt_tokens(response, prompt_tokens));
    }
    Ok(reply::json(openai::completions::encode_answer(&head, &pump.gather().await?)))
}

fn refuse_unsupported(request: &CompletionRequest) -> Result<(), Error> {
    let unsupported = |param: &str, message: &str| Err(Error::new(ErrorCode::UnsupportedFeature, message).with_param(param));
    if request.echo {
        return unsupported("echo", "`echo` is not supported. Put the prompt before the answer yourself.");
    }
    if request.suffix.as_deref().is_some_and(|suffix| !suffix.is_empty()) {
        return unsupported("suffix", "`suffix` is not supported: this model does not fill in the middle of a text.");
    }
    Ok(())
}

/// Text is read as plain text with a begin token; tokens are taken as they are.
pub(super) fn tokens(app: &App, prompt: &Prompt, index: usize) -> Result<Vec<Token>, Error> {
    let tokens = match prompt {
        Prompt::Text(text) => app.tokenize(text, true, true)?,
        Prompt::Tokens(tokens) => {
            let token = |&token: &u32| {
                let known = token < app.engine.info().vocabulary_size;
                Token::try_from(token)
                    .ok()
                    .filter(|_| known)
                    .ok_or_else(|| Error::invalid("prompt", format!("The model has no token {token} (prompt {index}).")))
            };
            tokens.iter().map(token).collect::<Result<_, _>>()?
        }
    };
    if tokens.is_empty() {
        return Err(Error::invalid("prompt", format!("The prompt {index} is empty. Write something.")));
    }
    Ok(tokens)
}

fn generate_request(request: &CompletionRequest, envelope: &Envelope, prompt: Vec<Token>, n: u32) -> Result<GenerateRequest, Error> {
    Ok(GenerateRequest {
        request_id: envelope.request_id.clone(),
        share: envelope.share.clone(),
        cache_salt: envelope.cache_salt.clone(),
        prompt,
        adapter: envelope.adapter.clone(),
        sampling: sampling::params(&request.sampling, envelope.seed)?,
        max_tokens: Some(request.sampling.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT)),
        stop: request.sampling.stop.clone(),
        constraint: response_schema(&request.response_format).map(Constraint::JsonSchema),
        n,
        logprobs: request.sampling.logprobs,
        deadline: envelope.deadline,
        show_special: false,
    })
}
