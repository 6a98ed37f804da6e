//! Chat templates for model files that carry none.
//!
//! **Invariant:** the choice depends only on the control tokens of the vocabulary: a format is used only if its
//! marks are single tokens of the model. Without any, turns are labelled in plain text.

/// A format of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `<|im_start|>role` … `<|im_end|>`.
    ChatMl,
    /// `<|start_header_id|>role<|end_header_id|>` … `<|eot_id|>`.
    Llama3,
    /// `User: …`, for base models.
    Plain,
}

const CHAT_ML: &str = "{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const LLAMA_3: &str = "{{ bos_token }}{% for message in messages %}\
    {{ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' ~ message.content | trim ~ '<|eot_id|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";
const PLAIN: &str = "{% for message in messages %}{{ message.role | capitalize ~ ': ' ~ message.content | trim ~ '\\n\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

impl Family {
    /// The format that a vocabulary with these control tokens has.
    pub fn of(control_texts: &[String]) -> Self {
        let has = |text: &str| control_texts.iter().any(|control| control == text);
        if has("<|im_start|>") && has("<|im_end|>") {
            Self::ChatMl
        } else if has("<|start_header_id|>") && has("<|end_header_id|>") && has("<|eot_id|>") {
            Self::Llama3
        } else {
            Self::Plain
        }
    }

    /// The template.
    pub fn source(self) -> &'static str {
        match self {
            Self::ChatMl => CHAT_ML,
            Self::Llama3 => LLAMA_3,
            Self::Plain => PLAIN,
        }
    }

    /// Texts at which an answer in this format ends, beside the model's own end token.
    pub fn stops(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl | Self::Llama3 => &[],
            Self::Plain => &["\n\nUser:", "\n\nSystem:"],
        }
    }
}
