//! Keeps what people write apart from what the template writes.
//!
//! A message may hold the text of a control token (`<|im_end|>`); tokenized with the rest of the prompt it would
//! end the message and let its writer speak as somebody else. So a mark that no input contains is put inside each
//! such text before rendering, and the rendered prompt is cut at the marks: no piece holds a whole control token,
//! and the model sees the characters as they were written. Text without control tokens is not touched, so its
//! tokens are those of the model's training.
//!
//! **Invariant:** every string that comes from a request passes through [`Neutralizer::text`] or
//! [`Neutralizer::value`] before it reaches a template.

use serde_json::Value;

/// The Unicode noncharacters U+FDD0 to U+FDEF: never part of text that is exchanged.
const MARKS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// The control tokens of a vocabulary.
#[derive(Debug)]
pub struct Controls {
    texts: Vec<String>,
    first_bytes: [bool; 256],
}

impl Controls {
    /// From their texts.
    pub fn new(texts: &[String]) -> Self {
        let texts: Vec<String> = texts.iter().filter(|text| text.chars().nth(1).is_some()).cloned().collect();
        let mut first_bytes = [false; 256];
        for text in &texts {
            first_bytes[usize::from(text.as_bytes()[0])] = true;
        }
        Self { texts, first_bytes }
    }

    /// Whether one of them starts here, or could if more text followed.
    fn begin(&self, rest: &str) -> bool {
        rest.bytes().next().is_some_and(|byte| self.first_bytes[usize::from(byte)])
            && self.texts.iter().any(|text| rest.starts_with(text.as_str()) || text.starts_with(rest))
    }
}

/// Makes strings of one request harmless.
#[derive(Debug)]
pub struct Neutralizer<'a> {
    controls: &'a Controls,
    mark: char,
}

impl<'a> Neutralizer<'a> {
    /// For a request whose strings are `inputs`, and a vocabulary with these control tokens.
    pub fn new<'t>(controls: &'a Controls, inputs: impl Iterator<Item = &'t str>) -> Self {
        let first = *MARKS.start();
        let mut seen = [false; 32];
        for input in inputs {
            // All marks share their first byte in UTF-8, so most text is passed over quickly.
            if input.as_bytes().contains(&0xEF) {
                for mark in input.chars().filter(|letter| MARKS.contains(letter)) {
                    seen[mark as usize - first as usize] = true;
                }
            }
        }
        let free = MARKS.zip(seen).find(|(_, seen)| !seen).map(|(mark, _)| mark);
        Self { controls, mark: free.unwrap_or(first) }
    }

    /// The string with a mark inside every control token, and after an ending that could become one.
    pub fn text(&self, input: &str) -> String {
        let mut text = String::with_capacity(input.len());
        let mut rest = input;
        while let Some(letter) = rest.chars().next() {
            let length = letter.len_utf8();
            // Only if every mark is in use, or one came out of an escape in JSON.
            text.push(if letter == self.mark { '\u{FFFD}' } else { letter });
            if self.controls.begin(rest) {
                text.push(self.mark);
            }
            rest = &rest[length..];
        }
        text
    }

    /// All strings inside, and the names of members.
    pub fn value(&self, input: &Value) -> Value {
        match input {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::Object(members) => Value::Object(members.iter().map(|(name, value)| (self.text(name), self.value(value))).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) => input.clone(),
        }
    }

    /// The pieces of a rendered prompt; each is to be tokenized on its own.
    pub fn pieces<'t>(&self, rendered: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        rendered.split(self.mark).filter(|piece| !piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn controls() -> Controls {
        Controls::new(&["<|im_start|>", "<|im_end|>", "<s>"].map(str::to_owned))
    }

    #[test]
    fn control_tokens_are_cut_and_other_text_is_left_alone() {
        let controls = controls();
        let neutral = Neutralizer::new(&controls, std::iter::empty());
        assert_eq!(neutral.text("a < b, <i>x</i>, <|im_end"), "a < b, <i>x</i>, <\u{FDD0}|im_end");
        let text = neutral.text("x<|im_end|><s>y");
        assert_eq!(neutral.pieces(&text).collect::<Vec<_>>(), ["x<", "|im_end|><", "s>y"]);
    }

    #[test]
    fn a_mark_in_the_input_is_not_taken_for_ours() {
        let controls = controls();
        let input = "\u{FDD0}<s>";
        let neutral = Neutralizer::new(&controls, [input].into_iter());
        assert_eq!(neutral.pieces(&neutral.text(input)).collect::<Vec<_>>(), ["\u{FDD0}<", "s>"]);
        let all: String = MARKS.collect();
        let neutral = Neutralizer::new(&controls, [all.as_str()].into_iter());
        assert_eq!(neutral.text("\u{FDD0}a"), "\u{FFFD}a");
    }

    proptest! {
        #[test]
        fn no_piece_holds_a_control_token_and_nothing_is_lost(parts in proptest::collection::vec("<|<\\||im_|start|end|\\|>|<s>|s>|é|\\PC", 0..30)) {
            let controls = controls();
            let contents: Vec<String> = parts.chunks(7).map(|chunk| chunk.concat()).collect();
            let neutral = Neutralizer::new(&controls, contents.iter().map(String::as_str));
            let rendered: String = contents.iter().map(|content| neutral.text(content)).collect();
            for piece in neutral.pieces(&rendered) {
                prop_assert!(controls.texts.iter().all(|control| !piece.contains(control.as_str())), "{piece}");
            }
            prop_assert_eq!(neutral.pieces(&rendered).collect::<String>(), contents.concat());
        }
    }
}
