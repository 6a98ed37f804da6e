//! The most tokens that a request can use, before anyone has counted them.
//!
//! **Invariant:** a bound is never below what is then used: a token has at least one byte, and what a chat template adds to a
//! message is short.

use freehold_dialects::canonical::{ChatRequest, CompletionRequest, ContentPart, EmbeddingRequest, Message, Prompt, ResponseFormat};

/// What a template adds to a conversation: a default system prompt, instructions for tools.
const TEMPLATE_TOKENS: u64 = 512;
/// What a template adds to a message or a tool.
const MESSAGE_TOKENS: u64 = 64;
/// Tokens of a continued text when nobody says how many: OpenAI's default.
pub(super) const COMPLETION_TOKENS_DEFAULT: u32 = 16;

/// The most that a request can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Tokens of a prompt.
    prompt: u64,
    /// Tokens of an answer; `None`: what the context holds.
    output: Option<u64>,
    /// Prompts.
    prompts: u64,
    /// Answers to each prompt.
    answers: u64,
}

impl Bound {
    /// Tokens of all prompts and of all answers, in a model with this context.
    pub fn within(self, context: u64) -> (u64, u64) {
        let prompt = self.prompt.min(context.saturating_mul(self.prompts));
        let output = self.output.unwrap_or(context).min(context);
        (prompt, output.saturating_mul(self.answers).saturating_mul(self.prompts))
    }
}

fn message(message: &Message) -> u64 {
    let content = message.content.iter().map(|part| match part {
        ContentPart::Text(text) | ContentPart::ImageUrl(text) => text.len(),
    });
    let calls = message.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len() + 64);
    let rest = message.tool_call_id.as_ref().map_or(0, String::len) + message.name.as_ref().map_or(0, String::len);
    (content.sum::<usize>() + calls.sum::<usize>() + rest) as u64 + MESSAGE_TOKENS
}

fn has_picture(message: &Message) -> bool {
    message.content.iter().any(|part| matches!(part, ContentPart::ImageUrl(_)))
}

/// Of a conversation.
pub(super) fn chat(request: &ChatRequest) -> Bound {
    let messages: u64 = request.messages.iter().map(message).sum();
    let tool = |tool: &freehold_dialects::canonical::Tool| {
        let schema = tool.parameters.as_ref().map_or(0, schema_len);
        (tool.name.len() + tool.description.as_ref().map_or(0, String::len)) as u64 + schema + MESSAGE_TOKENS
    };
    let tools: u64 = request.tools.iter().map(tool).sum();
    let format = match &request.response_format {
        ResponseFormat::Text | ResponseFormat::JsonObject => 0,
        ResponseFormat::JsonSchema { schema, .. } => schema_len(schema),
    };
    // Some templates show the tools twice.
    let text = messages + tools * 2 + format + TEMPLATE_TOKENS;
    // How many tokens a picture is, only the server that looks at it knows: as many as the context holds.
    let prompt = if request.messages.iter().any(has_picture) { u64::MAX } else { text };
    let sampling = &request.sampling;
    Bound { prompt, output: sampling.max_tokens.map(u64::from), prompts: 1, answers: u64::from(sampling.n.max(1)) }
}

/// A schema as it stands in a prompt, indented by four.
fn schema_len(schema: &serde_json::Value) -> u64 {
    let pretty = serde_json::to_string_pretty(schema).map_or(0, |text| text.len());
    pretty as u64 * 2
}

fn prompt(prompt: &Prompt) -> u64 {
    let tokens = match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Tokens(tokens) => tokens.len(),
    };
    // Beginning and end of the text are tokens too.
    tokens as u64 + 2
}

/// Of texts to be continued.
pub(super) fn completion(request: &CompletionRequest) -> Bound {
    let output = request.sampling.max_tokens.map_or(u64::from(COMPLETION_TOKENS_DEFAULT), u64::from);
    Bound {
        prompt: request.prompts.iter().map(prompt).sum(),
        output: Some(output),
        prompts: request.prompts.len() as u64,
        answers: u64::from(request.sampling.n.max(1)),
    }
}

/// Of texts to be turned into vectors.
pub(super) fn embedding(request: &EmbeddingRequest) -> Bound {
    let prompt = request.inputs.iter().map(prompt).sum();
    Bound { prompt, output: Some(0), prompts: request.inputs.len() as u64, answers: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_may_fill_the_context() {
        let ask = |content: serde_json::Value| {
            let body = serde_json::json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]});
            let request = freehold_dialects::openai::chat::decode_request(body.to_string().as_bytes()).expect("a request");
            chat(&request).within(100_000)
        };
        let picture = serde_json::json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}});
        assert_eq!(ask(serde_json::json!([{"type": "text", "text": "What is this?"}, picture])), (100_000, 5));
        assert!(ask(serde_json::json!("What is this?")).0 < 1000);
    }

    #[test]
    fn a_context_bounds_both_sides() {
        let bound = Bound { prompt: 10_000, output: None, prompts: 1, answers: 2 };
        assert_eq!(bound.within(4096), (4096, 8192));
        let bound = Bound { prompt: 30, output: Some(8), prompts: 3, answers: 1 };
        assert_eq!(bound.within(4096), (30, 24));
    }
}
