//! Finds calls in an answer while it is being written.
//!
//! Read are: Llama 3.x JSON (`{"name": …, "parameters": {…}}`, also with `arguments`, after `<|python_tag|>`, several
//! one after the other or as an array), Python calls (`[f(a=1), g()]`), and `<tool_call>{…}</tool_call>`. Only
//! functions that were offered are called; everything else is text.
//!
//! **Invariant:** how the answer is cut into pieces does not change what comes out, and no character is lost: it
//! becomes text, arguments, or syntax of a call that was announced.

use super::json::JsonCall;
use super::pythonic::PythonCall;

/// What an answer consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text for the reader.
    Text(String),
    /// A call begins.
    Call {
        /// The function.
        name: String,
    },
    /// More of the last call's arguments, as JSON text.
    Arguments(String),
}

const PYTHON_TAG: &str = "<|python_tag|>";
const PYTHON_START: &str = "<|python_start|>";
const PYTHON_END: &str = "<|python_end|>";
const CALL_START: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// What a run of calls stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    tag: Option<&'static str>,
    array: bool,
}

const BARE: Frame = Frame { tag: None, array: false };

#[derive(Debug)]
enum State {
    /// Nothing but white space so far.
    Start,
    /// Plain text; `held` may begin a mark. With `after_call`, so may the separators of calls before it.
    Text {
        lead: usize,
        after_call: bool,
    },
    /// A call may begin here.
    Open(Frame),
    Json(Frame, Box<JsonCall>),
    Python(Frame, Box<PythonCall>),
    /// Behind a call: separators, or the end of its frame.
    After(Frame),
    /// As many calls as are allowed have been made.
    Silent,
}

/// Reads one answer.
#[derive(Debug)]
pub struct ToolStream {
    functions: Vec<String>,
    calls_max: u32,
    calls: u32,
    state: State,
    /// What is not handed out yet and becomes text if no call comes of it.
    held: String,
}

impl ToolStream {
    /// For an answer that may call these functions, at most so often.
    pub fn new(functions: Vec<String>, calls_max: u32) -> Self {
        Self { functions, calls_max, calls: 0, state: State::Start, held: String::new() }
    }

    /// How many calls were announced.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// Takes more of the answer.
    pub fn push(&mut self, text: &str, out: &mut Vec<Piece>) {
        for letter in text.chars() {
            self.feed(letter, out);
        }
    }

    /// The answer has ended.
    pub fn finish(&mut self, out: &mut Vec<Piece>) {
        let syntax_only = match &self.state {
            State::Silent | State::After(_) => true,
            State::Text { lead, after_call: true } => *lead == self.held.len(),
            // Models often leave out the last brace.
            State::Json(_, call) => call.announced() && self.held.trim().is_empty(),
            State::Python(_, call) => call.announced() && self.held.trim_matches([',', ' ', '\n']).is_empty(),
            State::Start | State::Text { .. } | State::Open(_) => false,
        };
        if syntax_only {
            self.held.clear();
        }
        if matches!(&self.state, State::Python(_, call) if call.announced()) {
            give(out, Piece::Arguments("}".to_owned()));
        }
        self.flush(out);
        self.state = State::Silent;
    }

    fn feed(&mut self, letter: char, out: &mut Vec<Piece>) {
        match std::mem::replace(&mut self.state, State::Silent) {
            State::Silent => {}
            State::Start => self.start(letter, out),
            State::Text { lead, after_call } => self.text(lead, after_call, letter, out),
            State::Open(frame) => self.open(frame, letter, out),
            State::Json(frame, call) => self.json(frame, call, letter, out),
            State::Python(frame, call) => self.python(frame, call, letter, out),
            State::After(frame) => self.after(frame, letter, out),
        }
    }

    fn start(&mut self, letter: char, out: &mut Vec<Piece>) {
        if letter.is_whitespace() {
            self.held.push(letter);
            self.state = State::Start;
        } else if letter == '{' || letter == '[' {
            self.open(BARE, letter, out);
        } else {
            self.text(self.held.len(), false, letter, out);
        }
    }

    /// `held` is `lead` bytes of white space or separators, then what may begin a mark.
    fn text(&mut self, lead: usize, after_call: bool, letter: char, out: &mut Vec<Piece>) {
        let begins = letter == '<';
        if begins && self.held.len() > lead {
            self.flush(out);
        }
        let lead = lead.min(self.held.len());
        self.held.push(letter);
        let mark = &self.held[lead..];
        let closes = after_call && mark == PYTHON_END;
        if let Some(tag) = [PYTHON_TAG, PYTHON_START, CALL_START].into_iter().find(|tag| *tag == mark) {
            self.state = State::Open(Frame { tag: Some(tag), array: false });
        } else if closes {
            self.held.clear();
            self.state = State::After(BARE);
        } else if [PYTHON_TAG, PYTHON_START, CALL_START, PYTHON_END].into_iter().any(|tag| tag.starts_with(mark)) {
            self.state = State::Text { lead, after_call };
        } else {
            self.plain(out);
        }
    }

    fn open(&mut self, frame: Frame, letter: char, out: &mut Vec<Piece>) {
        let tagged_python = matches!(frame.tag, Some(PYTHON_TAG | PYTHON_START));
        match letter {
            '{' => self.json(frame, Box::new(JsonCall::new()), letter, out),
            '[' if !frame.array && frame.tag != Some(CALL_START) => {
                self.held.push(letter);
                self.state = State::Open(Frame { array: true, ..frame });
            }
            _ if letter.is_whitespace() => {
                self.held.push(letter);
                self.state = State::Open(frame);
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' if frame.array || tagged_python => {
                self.python(frame, Box::new(PythonCall::new()), letter, out);
            }
            _ => self.reject(letter, out),
        }
    }

    fn json(&mut self, frame: Frame, mut call: Box<JsonCall>, letter: char, out: &mut Vec<Piece>) {
        let mut pieces = Vec::new();
        let fed = call.feed(letter, &self.functions, &mut pieces);
        match fed {
            Ok(complete) => {
                let handed_out = matches!(pieces.last(), Some(Piece::Arguments(_)));
                if !pieces.is_empty() {
                    self.held.clear();
                }
                if !handed_out {
                    self.held.push(letter);
                }
                if complete {
                    self.held.clear();
                }
                self.state = if complete { State::After(frame) } else { State::Json(frame, call) };
                self.hand_out(pieces, out);
            }
            Err(_) => self.reject(letter, out),
        }
    }

    fn python(&mut self, frame: Frame, mut call: Box<PythonCall>, letter: char, out: &mut Vec<Piece>) {
        let mut pieces = Vec::new();
        match call.feed(letter, &self.functions, &mut pieces) {
            Ok(complete) => {
                if !pieces.is_empty() {
                    self.held.clear();
                }
                if !complete {
                    self.held.push(letter);
                }
                self.state = if complete { State::After(frame) } else { State::Python(frame, call) };
                self.hand_out(pieces, out);
            }
            Err(_) => {
                if call.announced() {
                    give(out, Piece::Arguments("}".to_owned()));
                }
                self.reject(letter, out);
            }
        }
    }

    fn after(&mut self, frame: Frame, letter: char, out: &mut Vec<Piece>) {
        let separated = self.held.contains([';', ',']);
        if frame.tag == Some(CALL_START) {
            self.held.push(letter);
            let mark = self.held.trim_start();
            if mark == CALL_END {
                self.held.clear();
                self.state = State::After(BARE);
            } else if CALL_END.starts_with(mark) {
                self.state = State::After(frame);
            } else {
                self.held.pop();
                self.reject(letter, out);
            }
            return;
        }
        match letter {
            _ if letter.is_whitespace() => {
                self.held.push(letter);
                self.state = State::After(frame);
            }
            ']' if frame.array => {
                self.held.clear();
                self.state = State::After(Frame { array: false, ..frame });
            }
            ',' if frame.array => {
                self.held.push(letter);
                self.state = State::Open(frame);
            }
            ';' | ',' if !frame.array && !separated => {
                self.held.push(letter);
                self.state = State::After(frame);
            }
            '{' | '[' if !frame.array => self.open(Frame { tag: None, array: false }, letter, out),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' if !frame.array && frame.tag.is_some() && separated => self.open(frame, letter, out),
            '<' if !frame.array => self.text(self.held.len(), true, letter, out),
            _ => self.reject(letter, out),
        }
    }

    /// What was held is text after all; the character is looked at anew.
    fn reject(&mut self, letter: char, out: &mut Vec<Piece>) {
        self.flush(out);
        self.text(0, false, letter, out);
    }

    fn plain(&mut self, out: &mut Vec<Piece>) {
        self.flush(out);
        self.state = State::Text { lead: 0, after_call: false };
    }

    fn flush(&mut self, out: &mut Vec<Piece>) {
        if !self.held.is_empty() {
            give(out, Piece::Text(std::mem::take(&mut self.held)));
        }
    }

    fn hand_out(&mut self, pieces: Vec<Piece>, out: &mut Vec<Piece>) {
        for piece in pieces {
            if matches!(piece, Piece::Call { .. }) {
                if self.calls == self.calls_max {
                    self.held.clear();
                    self.state = State::Silent;
                    return;
                }
                self.calls += 1;
            }
            give(out, piece);
        }
    }
}

/// Adds a piece, joined to the last one if both are of the same kind.
fn give(out: &mut Vec<Piece>, piece: Piece) {
    match (out.last_mut(), piece) {
        (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
        (Some(Piece::Arguments(before)), Piece::Arguments(text)) => before.push_str(&text),
        (_, piece) => out.push(piece),
    }
}
