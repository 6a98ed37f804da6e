//! A model's own chat template, rendered as its makers' tooling would.
//!
//! Templates are Jinja with a few functions that model files rely on (`raise_exception`, `strftime_now`, `tojson`
//! as Python writes it). The module knows nothing of requests or tokens: values in, text out.
//!
//! **Invariant:** a template is foreign text. It sees only the values that are handed in, its steps and its output
//! are limited, and the moment is handed in, never read from a clock.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, State, context};

use super::defaults;
use super::python;

/// Most steps that one rendering may take.
const STEPS_MAX: u64 = 20_000_000;
/// Most bytes that one rendering may produce.
const OUTPUT_BYTES_MAX: usize = 32 << 20;
/// Most bytes of a template: the largest in use have about 20 kB.
const SOURCE_BYTES_MAX: usize = 1 << 20;
const NAME: &str = "chat";
const MOMENT: &str = "freehold_moment_unix_s";

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template says that it cannot take this conversation.
    #[error("the model's chat template refuses the conversation: {0}")]
    Refused(String),
    /// The template cannot be read, or fails.
    #[error("the model's chat template fails: {0}")]
    Broken(String),
    /// The template does not end, or its output does not.
    #[error("the model's chat template exceeds its limit of steps or output")]
    Unbounded,
}

/// What a template can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// It shows the functions in `tools` to the model.
    pub tools: bool,
    /// It can show calls that were made, and their results.
    pub tool_turns: bool,
    /// It can show a system message.
    pub system: bool,
}

/// What a conversation is rendered from.
#[derive(Debug)]
pub struct Rendering {
    /// A list of messages, as templates expect them.
    pub messages: Value,
    /// A list of functions, or none.
    pub tools: Value,
    /// End with the head of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Now, in seconds since the Unix epoch (UTC).
    pub moment_unix_s: i64,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_text: String,
    eos_text: String,
    abilities: Abilities,
    built_in: Option<defaults::Family>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// Compiles a model's template; without one, the default for the model's control tokens is taken.
    ///
    /// # Errors
    /// The template is not Jinja, or is larger than any in use.
    pub fn new(source: Option<&str>, bos_text: &str, eos_text: &str, control_texts: &[String]) -> Result<Self, TemplateError> {
        let built_in = source.is_none().then(|| defaults::Family::of(control_texts));
        let source = match (source, built_in) {
            (Some(source), _) => source,
            (None, family) => family.unwrap_or(defaults::Family::Plain).source(),
        };
        if source.len() > SOURCE_BYTES_MAX {
            return Err(TemplateError::Broken(format!("it has {} bytes, more than {SOURCE_BYTES_MAX}", source.len())));
        }
        let mut environment = environment();
        environment.add_template_owned(NAME, without_training_marks(source)).map_err(|error| TemplateError::Broken(describe(&error)))?;
        let mut template = Self {
            environment,
            bos_text: bos_text.to_owned(),
            eos_text: eos_text.to_owned(),
            abilities: Abilities { tools: false, tool_turns: false, system: true },
            built_in,
        };
        template.abilities = template.probe();
        Ok(template)
    }

    /// What the template can say, found by trying it.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// The default that stands in for a missing template.
    pub fn built_in(&self) -> Option<defaults::Family> {
        self.built_in
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// As [`TemplateError`] says.
    pub fn render(&self, rendering: &Rendering) -> Result<String, TemplateError> {
        let template = self.environment.get_template(NAME).map_err(|error| TemplateError::Broken(describe(&error)))?;
        let mut output = Limited { bytes: Vec::new() };
        let values = context! {
            messages => rendering.messages,
            tools => rendering.tools,
            documents => Value::from(()),
            add_generation_prompt => rendering.add_generation_prompt,
            bos_token => self.bos_text,
            eos_token => self.eos_text,
            date_string => python::strftime(rendering.moment_unix_s, "%d %b %Y"),
            freehold_moment_unix_s => rendering.moment_unix_s,
        };
        template.render_captured_to(values, &mut output).map_err(|error| classify(&error))?;
        String::from_utf8(output.bytes).map_err(|_| TemplateError::Broken("its output is not UTF-8".to_owned()))
    }

    fn probe(&self) -> Abilities {
        let shows = |messages: Value, tools: Value, marks: &[&str]| {
            let rendering = Rendering { messages, tools, add_generation_prompt: true, moment_unix_s: 0 };
            self.render(&rendering).is_ok_and(|text| marks.iter().all(|mark| text.contains(mark)))
        };
        let user = context! { role => "user", content => "probe-user" };
        let system = context! { role => "system", content => "probe-system" };
        let call = context! {
            id => "probe00id", type => "function",
            function => context! { name => "probe_function", arguments => context! { probe_argument => 1 } },
        };
        let assistant = context! { role => "assistant", content => "", tool_calls => vec![call] };
        let result = context! { role => "tool", content => "probe-result", tool_call_id => "probe00id", name => "probe_function" };
        let tool = context! {
            type => "function",
            function => context! { name => "probe_function", description => "probe", parameters => context! { type => "object" } },
        };
        Abilities {
            tools: shows(Value::from(vec![user.clone()]), Value::from(vec![tool]), &["probe_function"]),
            tool_turns: shows(
                Value::from(vec![user.clone(), assistant, result]),
                Value::from(()),
                &["probe_function", "probe_argument", "probe-result"],
            ),
            system: shows(Value::from(vec![system, user]), Value::from(()), &["probe-system"]),
        }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(STEPS_MAX));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raised by the template").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |state: &State<'_, '_>, format: &str| -> String {
        let moment = state.lookup(MOMENT).and_then(|value| i64::try_from(value).ok()).unwrap_or(0);
        python::strftime(moment, format)
    });
    environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<String, minijinja::Error> {
        let indent: Option<usize> = options.get("indent")?;
        python::json(&value, indent)
    });
    environment
}

/// `{% generation %}` marks what is trained on; for answers it means nothing, and no Jinja engine knows it.
fn without_training_marks(source: &str) -> String {
    let mut text = source.to_owned();
    for mark in ["generation", "endgeneration"] {
        for open in ["{%", "{%-"] {
            for close in ["%}", "-%}"] {
                let tag = format!("{open} {mark} {close}");
                if text.contains(&tag) {
                    let bare = format!("{open} if true {close}{open} endif {close}");
                    text = text.replace(&tag, &bare);
                }
            }
        }
    }
    text
}

fn classify(error: &minijinja::Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        cause = current.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel | ErrorKind::WriteFailure => TemplateError::Unbounded,
        _ => TemplateError::Broken(describe(error)),
    }
}

fn describe(error: &minijinja::Error) -> String {
    match error.line() {
        Some(line) => format!("{error} (line {line} of the template)"),
        None => error.to_string(),
    }
}

struct Limited {
    bytes: Vec<u8>,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("the output is too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
