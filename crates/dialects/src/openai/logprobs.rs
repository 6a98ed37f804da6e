//! Log-probabilities of tokens, as chat completions and responses write them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::canonical::TokenLogprob;
use crate::shape::write::finite;

#[derive(Serialize, Deserialize)]
pub(super) struct WireToken<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    logprob: f32,
    #[serde(default)]
    bytes: Option<Cow<'a, [u8]>>,
    #[serde(default, borrow)]
    top_logprobs: Vec<WireTop<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireTop<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    logprob: f32,
    #[serde(default)]
    bytes: Option<Cow<'a, [u8]>>,
}

/// The `logprobs` object of a choice.
#[derive(Serialize, Deserialize)]
pub(super) struct WireLogprobs<'a> {
    #[serde(default, borrow)]
    content: Option<Vec<WireToken<'a>>>,
    #[serde(default, skip_deserializing)]
    refusal: Option<()>,
}

impl<'a> WireLogprobs<'a> {
    /// `None` where there is nothing to report.
    pub(super) fn of(tokens: &'a [TokenLogprob]) -> Option<Self> {
        (!tokens.is_empty()).then(|| Self { content: Some(list(tokens)), refusal: None })
    }

    /// The tokens.
    pub(super) fn into_tokens(self) -> Vec<TokenLogprob> {
        self.content.unwrap_or_default().into_iter().map(WireToken::into_token).collect()
    }
}

/// Tokens as an array.
pub(super) fn list(tokens: &[TokenLogprob]) -> Vec<WireToken<'_>> {
    tokens
        .iter()
        .map(|token| WireToken {
            token: String::from_utf8_lossy(&token.bytes),
            logprob: finite(token.logprob),
            bytes: Some(Cow::Borrowed(&token.bytes)),
            top_logprobs: token
                .top
                .iter()
                .map(|(bytes, logprob)| WireTop {
                    token: String::from_utf8_lossy(bytes),
                    logprob: finite(*logprob),
                    bytes: Some(Cow::Borrowed(bytes)),
                })
                .collect(),
        })
        .collect()
}

impl WireToken<'_> {
    fn into_token(self) -> TokenLogprob {
        let top = self.top_logprobs.into_iter().map(|top| (bytes_of(top.bytes, &top.token), top.logprob)).collect();
        TokenLogprob { bytes: bytes_of(self.bytes, &self.token), logprob: self.logprob, top }
    }
}

fn bytes_of(bytes: Option<Cow<'_, [u8]>>, token: &str) -> Vec<u8> {
    bytes.map_or_else(|| token.as_bytes().to_vec(), Cow::into_owned)
}
