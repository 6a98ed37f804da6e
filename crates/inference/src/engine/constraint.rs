//! Grammars: an answer that must match a JSON Schema or a Lark grammar.
//!
//! The grammar engine is llguidance. Its view of the vocabulary takes a moment to build and is built once, at the
//! first request that needs it; a grammar is compiled on the thread that asks, never on the engine's.
//!
//! **Invariant:** what a client sends can make its own request fail and cost bounded memory and time, no more.

use std::sync::{Arc, OnceLock};

use freehold_domain::Error;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::native::Model;
use super::sampler::Mask;
use super::{Constraint, Token};

/// Longest schema or grammar, in bytes.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// Compiles constraints for one model.
#[derive(Default)]
pub(crate) struct Compiler {
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("ready", &self.factory.get().is_some()).finish()
    }
}

/// The vocabulary as llguidance wants it.
struct Vocabulary {
    trie: TokTrie,
    model: Arc<Model>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let mut tokens = Vec::new();
            match self.model.tokenize(text, false, &mut tokens) {
                Some(()) => tokens.into_iter().map(i32::cast_unsigned).collect(),
                None => self.trie.greedy_tokenize(text.as_bytes()),
            }
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

fn vocabulary(model: &Arc<Model>) -> Option<TokEnv> {
    let size = model.vocabulary_size();
    let end = model.end_token()?.cast_unsigned();
    let mut ends = vec![end];
    let mut words = Vec::with_capacity(size as usize);
    for token in 0..size.cast_signed() {
        if model.is_end(token) && token.cast_unsigned() != end {
            ends.push(token.cast_unsigned());
        }
        let mut bytes = Vec::new();
        model.piece(token, false, &mut bytes);
        if bytes.is_empty() {
            model.piece(token, true, &mut bytes);
            if !bytes.is_empty() {
                bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
            }
        }
        words.push(bytes);
    }
    let trie = TokTrie::from(&TokRxInfo::new(size, end), &words).with_eos_tokens(&ends);
    Some(Arc::new(Vocabulary { trie, model: Arc::clone(model) }))
}

fn factory(model: &Arc<Model>) -> Result<ParserFactory, String> {
    let environment = vocabulary(model).ok_or("the model has no end-of-text token")?;
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices).map_err(|error| error.to_string())?;
    factory.quiet();
    let limits = factory.limits_mut();
    limits.max_grammar_size = 200_000;
    limits.initial_lexer_fuel = 1_000_000;
    limits.max_lexer_states = 50_000;
    limits.verbose_errors = false;
    Ok(factory)
}

impl Compiler {
    /// Compiles a constraint. Takes milliseconds; the first call for a model builds its vocabulary first, which can
    /// take a few tenths of a second.
    ///
    /// # Errors
    /// `invalid_request` if the grammar is too large or is none.
    pub fn compile(&self, model: &Arc<Model>, constraint: &Constraint) -> Result<Grammar, Error> {
        let refuse = |message: String| {
            let message = message.lines().next().unwrap_or_default().chars().take(400).collect::<String>();
            Error::invalid("response_format", format!("The answer's format cannot be enforced: {message}"))
        };
        let grammar = match constraint {
            Constraint::JsonSchema(schema) => {
                if schema.to_string().len() > SOURCE_BYTES_MAX {
                    return Err(refuse(format!("the schema is longer than {SOURCE_BYTES_MAX} bytes.")));
                }
                GrammarWithLexer::from_json_schema(with_fixed_spaces(schema.clone()))
            }
            Constraint::Lark(source) => {
                if source.len() > SOURCE_BYTES_MAX {
                    return Err(refuse(format!("the grammar is longer than {SOURCE_BYTES_MAX} bytes.")));
                }
                GrammarWithLexer::from_lark(source.clone())
            }
        };
        let factory = self.factory.get_or_init(|| factory(model));
        let factory = factory.as_ref().map_err(Error::internal)?;
        let mut matcher = Matcher::new(factory.create_parser(TopLevelGrammar::from_grammar(grammar)));
        match matcher.get_error() {
            Some(error) => Err(refuse(error)),
            None => {
                // The start of the answer is computed here rather than between two steps of everybody's tokens.
                matcher.compute_mask().map_err(|error| refuse(error.to_string()))?;
                Ok(Grammar { matcher })
            }
        }
    }
}

/// Leaves the model no choice of white space, in which small models lose themselves.
fn with_fixed_spaces(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        let options = json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
        members.entry("x-guidance").or_insert(options);
    }
    schema
}

/// A compiled constraint and how far an answer has come in it.
pub(crate) struct Grammar {
    matcher: Matcher,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("stopped", &self.matcher.is_stopped()).finish()
    }
}

impl Grammar {
    /// The same constraint for another answer that has not begun.
    pub fn fork(&self) -> Self {
        Self { matcher: self.matcher.deep_clone() }
    }

    /// Moves on by a token.
    ///
    /// # Errors
    /// The grammar does not allow the token or ran out of its limits.
    pub fn advance(&mut self, token: Token) -> Result<(), String> {
        self.matcher.consume_token(token.cast_unsigned()).map_err(|error| error.to_string())
    }

    /// Whether nothing more can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Why the grammar failed, if it did.
    pub fn fault(&self) -> Option<String> {
        self.matcher.get_error()
    }
}

impl Mask for Grammar {
    fn allows(&mut self, token: Token) -> bool {
        matches!(self.matcher.validate_tokens(&[token.cast_unsigned()]), Ok(1))
    }

    fn apply(&mut self, logits: &mut [f32]) {
        // After a failure nothing is masked: the answer ends with the fault that `fault` gives.
        if let Ok(mask) = self.matcher.compute_mask_or_eos() {
            mask_out(&mask, logits);
        }
    }
}

fn mask_out(mask: &SimpleVob, logits: &mut [f32]) {
    for (&word, logits) in mask.as_slice().iter().zip(logits.chunks_mut(32)) {
        if word == u32::MAX {
            continue;
        }
        for (bit, logit) in logits.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
    let covered = mask.as_slice().len() * 32;
    if let Some(rest) = logits.get_mut(covered..) {
        rest.fill(f32::NEG_INFINITY);
    }
}
