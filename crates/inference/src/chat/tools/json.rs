//! A JSON value, read character by character, and a call written as a JSON object.
//!
//! **Invariant:** a character is accepted only if the text so far can still become valid JSON, so that whatever
//! cannot be a call is known at its first wrong character.

use super::stream::Piece;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 96;
/// Longest name of a member, with its quotes: those of a call are all shorter.
const KEY_BYTES_MAX: usize = 16;

/// The text is not, and cannot become, what was expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// What a character did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More is needed.
    More,
    /// The value ended with this character.
    Done,
    /// The value ended before this character, which is not part of it.
    DoneBefore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    FirstKey,
    Key,
    Colon,
    FirstItem,
    AfterItem,
    String,
    Escape,
    Hex(u8),
    Literal(&'static str, usize),
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// Reads one JSON value.
#[derive(Debug)]
pub struct Scanner {
    expect: Expect,
    /// The containers that are open: `true` for an object.
    open: Vec<bool>,
    /// The string being read is the name of a member.
    in_key: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Before the value.
    pub fn new() -> Self {
        Self { expect: Expect::Value, open: Vec::new(), in_key: false }
    }

    /// Takes the next character.
    pub fn feed(&mut self, letter: char) -> Result<Step, Malformed> {
        match self.expect {
            Expect::Value => self.value(letter),
            Expect::FirstKey if letter == '}' => self.close(true),
            Expect::FirstKey | Expect::Key => match letter {
                '"' => {
                    self.in_key = true;
                    self.go(Expect::String)
                }
                _ => self.blank(letter),
            },
            Expect::Colon if letter == ':' => self.go(Expect::Value),
            Expect::Colon => self.blank(letter),
            Expect::FirstItem if letter == ']' => self.close(false),
            Expect::FirstItem => self.value(letter),
            Expect::AfterItem => match letter {
                ',' => self.go(if self.open.last() == Some(&true) { Expect::Key } else { Expect::Value }),
                '}' => self.close(true),
                ']' => self.close(false),
                _ => self.blank(letter),
            },
            Expect::String => match letter {
                '"' if self.in_key => {
                    self.in_key = false;
                    self.go(Expect::Colon)
                }
                '"' => Ok(self.ended(Step::Done)),
                '\\' => self.go(Expect::Escape),
                '\0'..='\u{1f}' => Err(Malformed),
                _ => Ok(Step::More),
            },
            Expect::Escape => match letter {
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => self.go(Expect::String),
                'u' => self.go(Expect::Hex(0)),
                _ => Err(Malformed),
            },
            Expect::Hex(count) if letter.is_ascii_hexdigit() => self.go(if count == 3 { Expect::String } else { Expect::Hex(count + 1) }),
            Expect::Hex(_) => Err(Malformed),
            Expect::Literal(text, at) if text.as_bytes()[at] == letter as u8 && letter.is_ascii() => {
                if at + 1 == text.len() {
                    Ok(self.ended(Step::Done))
                } else {
                    self.go(Expect::Literal(text, at + 1))
                }
            }
            Expect::Literal(..) => Err(Malformed),
            Expect::Number(state) => self.number(state, letter),
        }
    }

    fn go(&mut self, next: Expect) -> Result<Step, Malformed> {
        self.expect = next;
        Ok(Step::More)
    }

    fn blank(&self, letter: char) -> Result<Step, Malformed> {
        if is_blank(letter) { Ok(Step::More) } else { Err(Malformed) }
    }

    fn value(&mut self, letter: char) -> Result<Step, Malformed> {
        match letter {
            '{' | '[' if self.open.len() == DEPTH_MAX => Err(Malformed),
            '{' => {
                self.open.push(true);
                self.go(Expect::FirstKey)
            }
            '[' => {
                self.open.push(false);
                self.go(Expect::FirstItem)
            }
            '"' => self.go(Expect::String),
            't' => self.go(Expect::Literal("true", 1)),
            'f' => self.go(Expect::Literal("false", 1)),
            'n' => self.go(Expect::Literal("null", 1)),
            '-' => self.go(Expect::Number(Number::Minus)),
            '0' => self.go(Expect::Number(Number::Zero)),
            '1'..='9' => self.go(Expect::Number(Number::Integer)),
            _ => self.blank(letter),
        }
    }

    fn number(&mut self, state: Number, letter: char) -> Result<Step, Malformed> {
        use Number as N;
        let next = match (state, letter) {
            (N::Minus, '0') => N::Zero,
            (N::Minus, '1'..='9') | (N::Integer, '0'..='9') => N::Integer,
            (N::Zero | N::Integer, '.') => N::Point,
            (N::Point | N::Fraction, '0'..='9') => N::Fraction,
            (N::Zero | N::Integer | N::Fraction, 'e' | 'E') => N::Exponent,
            (N::Exponent, '+' | '-') => N::ExponentSign,
            (N::Exponent | N::ExponentSign | N::ExponentDigits, '0'..='9') => N::ExponentDigits,
            (N::Zero | N::Integer | N::Fraction | N::ExponentDigits, _) => {
                return match self.ended(Step::DoneBefore) {
                    Step::More => self.feed(letter),
                    done => Ok(done),
                };
            }
            _ => return Err(Malformed),
        };
        self.go(Expect::Number(next))
    }

    fn close(&mut self, object: bool) -> Result<Step, Malformed> {
        match self.open.pop() {
            Some(open) if open == object => Ok(self.ended(Step::Done)),
            _ => Err(Malformed),
        }
    }

    /// A value ended; it was the outermost if nothing is open.
    fn ended(&mut self, outermost: Step) -> Step {
        self.expect = Expect::AfterItem;
        if self.open.is_empty() { outermost } else { Step::More }
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    FirstKey,
    Key,
    InKey,
    Colon,
    BeforeValue(Member),
    InValue(Member),
    AfterValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Name,
    Arguments,
    Ignored,
}

/// A call written as `{"name": "f", "parameters": {…}}`, in any order of its members.
#[derive(Debug)]
pub struct JsonCall {
    place: Place,
    key: String,
    value: Scanner,
    name_text: String,
    name: Option<String>,
    arguments: Arguments,
    announced: bool,
}

#[derive(Debug, PartialEq)]
enum Arguments {
    None,
    /// An object, so far; handed out as it comes once the name is known.
    Object(String),
    /// A string that holds an object, or null, which is no arguments: handed out when whole.
    Whole(String),
}

impl Default for JsonCall {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonCall {
    /// Before the opening brace.
    pub fn new() -> Self {
        Self {
            place: Place::Open,
            key: String::new(),
            value: Scanner::new(),
            name_text: String::new(),
            name: None,
            arguments: Arguments::None,
            announced: false,
        }
    }

    /// Takes the next character. `Ok(true)`: the call is complete. A character that became part of the arguments is
    /// in `out`; every other one is syntax.
    pub fn feed(&mut self, letter: char, functions: &[String], out: &mut Vec<Piece>) -> Result<bool, Malformed> {
        match self.place {
            Place::Open if letter == '{' => self.place = Place::FirstKey,
            Place::FirstKey if letter == '}' => return Err(Malformed),
            Place::FirstKey | Place::Key if letter == '"' => {
                self.key.clear();
                self.place = Place::InKey;
            }
            Place::InKey => self.in_key(letter)?,
            Place::Colon if letter == ':' => self.place = Place::BeforeValue(self.member()?),
            Place::BeforeValue(member) if !is_blank(letter) => {
                self.value = Scanner::new();
                self.begin_value(member, letter)?;
                self.place = Place::InValue(member);
                self.in_value(member, letter, functions, out)?;
            }
            Place::InValue(member) => {
                if self.in_value(member, letter, functions, out)? {
                    return self.feed(letter, functions, out);
                }
            }
            Place::AfterValue if letter == ',' => self.place = Place::Key,
            Place::AfterValue if letter == '}' => return self.complete(out).map(|()| true),
            _ if is_blank(letter) => {}
            _ => return Err(Malformed),
        }
        Ok(false)
    }

    /// Whether the call was announced; from then on it cannot be taken back.
    pub fn announced(&self) -> bool {
        self.announced
    }

    fn in_key(&mut self, letter: char) -> Result<(), Malformed> {
        match letter {
            '"' => self.place = Place::Colon,
            'a'..='z' if self.key.len() < KEY_BYTES_MAX => self.key.push(letter),
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn member(&self) -> Result<Member, Malformed> {
        match self.key.as_str() {
            "name" | "function" if self.name.is_none() => Ok(Member::Name),
            "parameters" | "arguments" if self.arguments == Arguments::None => Ok(Member::Arguments),
            "type" | "id" => Ok(Member::Ignored),
            _ => Err(Malformed),
        }
    }

    fn begin_value(&mut self, member: Member, letter: char) -> Result<(), Malformed> {
        match (member, letter) {
            (Member::Name | Member::Ignored, '"') => Ok(()),
            (Member::Arguments, '{') => {
                self.arguments = Arguments::Object(String::new());
                Ok(())
            }
            (Member::Arguments, '"' | 'n') => {
                self.arguments = Arguments::Whole(String::new());
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// `Ok(true)`: the value had ended, and the character is not part of it.
    fn in_value(&mut self, member: Member, letter: char, functions: &[String], out: &mut Vec<Piece>) -> Result<bool, Malformed> {
        let step = self.value.feed(letter)?;
        if step == Step::DoneBefore {
            self.place = Place::AfterValue;
            return Ok(true);
        }
        match member {
            Member::Ignored => {}
            Member::Name => {
                self.name_text.push(letter);
                if step == Step::Done {
                    let name: String = serde_json::from_str(&self.name_text).map_err(|_| Malformed)?;
                    if !functions.contains(&name) {
                        return Err(Malformed);
                    }
                    self.name = Some(name);
                    self.announce(out);
                }
            }
            Member::Arguments => self.argument(letter, out),
        }
        if step == Step::Done {
            self.place = Place::AfterValue;
        }
        Ok(false)
    }

    fn argument(&mut self, letter: char, out: &mut Vec<Piece>) {
        self.announce(out);
        match &mut self.arguments {
            Arguments::Object(_) if self.announced => out.push(Piece::Arguments(letter.to_string())),
            Arguments::Object(text) | Arguments::Whole(text) => text.push(letter),
            Arguments::None => {}
        }
    }

    /// Announces the call once its name is known and its arguments have begun as an object.
    fn announce(&mut self, out: &mut Vec<Piece>) {
        if let (false, Some(name), Arguments::Object(text)) = (self.announced, &self.name, &mut self.arguments) {
            self.announced = true;
            out.push(Piece::Call { name: name.clone() });
            if !text.is_empty() {
                out.push(Piece::Arguments(std::mem::take(text)));
            }
        }
    }

    fn complete(&mut self, out: &mut Vec<Piece>) -> Result<(), Malformed> {
        let name = self.name.clone().ok_or(Malformed)?;
        let arguments = match &self.arguments {
            Arguments::Object(_) => return Ok(()),
            Arguments::None => "{}".to_owned(),
            Arguments::Whole(text) if text == "null" => "{}".to_owned(),
            Arguments::Whole(text) => {
                let inner: String = serde_json::from_str(text).map_err(|_| Malformed)?;
                let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&inner);
                object.map(|_| inner).map_err(|_| Malformed)?
            }
        };
        self.announced = true;
        out.extend([Piece::Call { name }, Piece::Arguments(arguments)]);
        Ok(())
    }
}
