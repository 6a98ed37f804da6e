//! What every dialect is translated to and from.

use std::collections::BTreeMap;

use serde_json::Value;

/// A conversation to be continued.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The model as the client names it: `model` or `model:adapter`.
    pub model: String,
    /// The conversation so far; never empty.
    pub messages: Vec<Message>,
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which of them it must call.
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// What the answer must look like.
    pub response_format: ResponseFormat,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Answer as a stream of events.
    pub stream: bool,
    /// In a stream, end with an account of the tokens.
    pub include_usage: bool,
    /// The client's own name for its end user; never interpreted.
    pub user: Option<String>,
}

/// A text to be continued as it stands, without a chat template.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The model as the client names it.
    pub model: String,
    /// One answer (or `n`) for each prompt.
    pub prompts: Vec<Prompt>,
    /// Put the prompt before the answer.
    pub echo: bool,
    /// Text that follows the answer, for models that fill in the middle.
    pub suffix: Option<String>,
    /// What the answer must look like.
    pub response_format: ResponseFormat,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Answer as a stream of events.
    pub stream: bool,
    /// In a stream, end with an account of the tokens.
    pub include_usage: bool,
    /// The client's own name for its end user.
    pub user: Option<String>,
}

/// Text, or the model's own tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Text in UTF-8.
    Text(String),
    /// Token ids of the model.
    Tokens(Vec<u32>),
}

/// Texts to be turned into vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRequest {
    /// The model as the client names it.
    pub model: String,
    /// One vector each; never empty.
    pub inputs: Vec<Prompt>,
    /// Cut the vectors to so many numbers and normalize them again.
    pub dimensions: Option<u32>,
    /// Vectors as base64 of little-endian `f32` instead of JSON numbers.
    pub base64: bool,
    /// The client's own name for its end user.
    pub user: Option<String>,
}

/// The vectors, in the order of the inputs, of length 1 each.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingResponse {
    /// The model that answered.
    pub model: String,
    /// One vector for each input.
    pub embeddings: Vec<Vec<f32>>,
    /// Tokens of all inputs together.
    pub prompt_tokens: u32,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a call.
    Tool,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text; parts that a dialect splits are kept apart.
    pub content: Vec<ContentPart>,
    /// Calls that the assistant made in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's turn: the call it answers.
    pub tool_call_id: Option<String>,
    /// The speaker's name, if given.
    pub name: Option<String>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum ContentPart {
    /// Text in UTF-8.
    Text(String),
    /// A picture by URL (or `data:` URL). The models served today refuse it with `unsupported_feature`.
    ImageUrl(String),
}

/// A call of a function that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Names the call; the result refers to it.
    pub id: String,
    /// The function.
    pub name: String,
    /// Arguments as JSON text, exactly as the model wrote them.
    pub arguments: String,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// The function's name: 1 to 64 of `[a-zA-Z0-9_-]`.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Option<Value>,
    /// Arguments must match the schema exactly.
    pub strict: bool,
}

/// Whether the model must call a function.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call at least one.
    Required,
    /// It must call this one.
    Function(String),
}

/// What the answer must look like.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum ResponseFormat {
    /// Anything.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema {
        /// The client's name for the schema.
        name: String,
        /// The schema.
        schema: Value,
        /// Enforce it exactly.
        strict: bool,
    },
}

/// How tokens are chosen. `None` leaves it to the model's own default.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sampling {
    /// 0 (always the likeliest token) to 2.
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens that together have this probability: over 0 to 1.
    pub top_p: Option<f32>,
    /// Keep so many of the likeliest tokens; 0 keeps all.
    pub top_k: Option<u32>,
    /// Drop tokens less likely than this share of the likeliest one: 0 to 1.
    pub min_p: Option<f32>,
    /// Subtracted from tokens that have occurred in the answer: -2 to 2.
    pub presence_penalty: Option<f32>,
    /// Subtracted once for each occurrence: -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Divides the logits of tokens that have occurred: over 0 to 2, 1 does nothing.
    pub repetition_penalty: Option<f32>,
    /// Same seed, same choice.
    pub seed: Option<u64>,
    /// Added to a token's logit: -100 to 100.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
    /// Report the log-probability of each token of the answer, and of so many alternatives (0 to 20).
    pub logprobs: Option<u8>,
    /// How many answers; 0 is read as 1.
    pub n: u32,
}

/// One thing that happens while an answer is made. The order is: `Start`; for each choice text, tool calls and one
/// `Finish`; `Usage`. Or, at any point, one `Error`, and nothing after it.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// The answer begins.
    Start,
    /// Text of a choice; never cut inside a character.
    Text {
        /// Which of the `n` answers, from 0.
        choice: u32,
        /// The text.
        text: String,
        /// One entry a token of this text, if asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// A call begins.
    ToolCallStart {
        /// Which answer.
        choice: u32,
        /// Which call of the answer, from 0.
        call: u32,
        /// Names the call.
        id: String,
        /// The function.
        name: String,
    },
    /// More of a call's arguments.
    ToolCallArguments {
        /// Which answer.
        choice: u32,
        /// Which call of the answer.
        call: u32,
        /// A piece of JSON text.
        fragment: String,
    },
    /// A choice is complete.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why it ended.
        reason: FinishReason,
    },
    /// The account; always the last event of an answer that was completed.
    Usage(Usage),
    /// The answer could not be completed.
    Error(freehold_domain::Error),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or a stop string came.
    Stop,
    /// `max_tokens` was reached, or the context is full.
    Length,
    /// The model waits for the results of its calls.
    ToolCalls,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them that were found in the prefix cache.
    pub cached_tokens: u32,
    /// Tokens of all answers together.
    pub completion_tokens: u32,
}

/// A token and how likely it was.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's bytes; a token may hold part of a character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The likeliest tokens at this place, likeliest first.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// What names an answer: made by `control`, the same in every event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// The answer's id, without a dialect's prefix.
    pub id: String,
    /// The model that answers, as the client named it.
    pub model: String,
    /// Unix time in seconds.
    pub created_s: i64,
}

/// A whole answer: the events of a stream, gathered.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ChatAnswer {
    /// One for each of the `n` answers.
    pub choices: Vec<ChatChoice>,
    /// The account.
    pub usage: Usage,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ChatChoice {
    /// The text.
    pub text: String,
    /// The calls.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended; `None` while it goes on.
    pub finish: Option<FinishReason>,
    /// One entry a token of the text, if asked for.
    pub logprobs: Vec<TokenLogprob>,
}

/// A stream that broke the order that [`ChatEvent`] promises, or ended early.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GatherError {
    /// The stream carried an error.
    #[error(transparent)]
    Failed(#[from] freehold_domain::Error),
    /// Events for a choice or a call that is out of order.
    #[error("the stream of events is out of order: {0}")]
    OutOfOrder(&'static str),
}

/// Most choices that are gathered: more than any dialect allows to be asked for.
pub const CHOICES_MAX: u32 = 128;

impl ChatAnswer {
    /// Adds one event.
    ///
    /// # Errors
    /// The error that the stream carried, or events out of order.
    pub fn push(&mut self, event: ChatEvent) -> Result<(), GatherError> {
        match event {
            ChatEvent::Start => {}
            ChatEvent::Text { choice, text, logprobs } => {
                let choice = self.choice(choice)?;
                choice.text.push_str(&text);
                choice.logprobs.extend(logprobs);
            }
            ChatEvent::ToolCallStart { choice, call, id, name } => {
                let calls = &mut self.choice(choice)?.tool_calls;
                if calls.len() != call as usize {
                    return Err(GatherError::OutOfOrder("a call begins before the one ahead of it"));
                }
                calls.push(ToolCall { id, name, arguments: String::new() });
            }
            ChatEvent::ToolCallArguments { choice, call, fragment } => {
                let calls = &mut self.choice(choice)?.tool_calls;
                let call = calls.get_mut(call as usize).ok_or(GatherError::OutOfOrder("arguments of a call that did not begin"))?;
                call.arguments.push_str(&fragment);
            }
            ChatEvent::Finish { choice, reason } => self.choice(choice)?.finish = Some(reason),
            ChatEvent::Usage(usage) => self.usage = usage,
            ChatEvent::Error(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn choice(&mut self, index: u32) -> Result<&mut ChatChoice, GatherError> {
        if index >= CHOICES_MAX {
            return Err(GatherError::OutOfOrder("too many choices"));
        }
        let index = index as usize;
        if index >= self.choices.len() {
            self.choices.resize_with(index + 1, ChatChoice::default);
        }
        Ok(&mut self.choices[index])
    }
}

impl Message {
    /// A turn that is only text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![ContentPart::Text(text.into())], tool_calls: Vec::new(), tool_call_id: None, name: None }
    }
}

/// A model, as lists of models show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// The name to use in requests: `model` or `model:adapter`.
    pub id: String,
    /// When it was added: Unix time in seconds.
    pub created_s: i64,
    /// Who owns it.
    pub owned_by: String,
}

/// A conversation to be judged by a guard model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModerationRequest {
    /// The guard model; `None`: whichever is loaded.
    pub model: Option<String>,
    /// The conversation; never empty. Its last turn is the one that is judged.
    pub messages: Vec<Message>,
}

/// What a guard model found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModerationResponse {
    /// The model that judged.
    pub model: String,
    /// One verdict for each conversation judged.
    pub results: Vec<Verdict>,
}

/// One verdict of a guard model.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Something was found.
    pub flagged: bool,
    /// What was found, in the guard model's own names.
    pub categories: Vec<String>,
}
