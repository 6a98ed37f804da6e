//! The stream, read: events of the dialect become canonical events.

use std::borrow::Cow;

use freehold_domain::Error;
use serde::Deserialize;

use super::stop_of_word;
use crate::canonical::ChatEvent;
use crate::llama::error;
use crate::llama::metrics::{self, Metric};
use crate::shape::function::CALLS_MAX;
use crate::shape::stream::{Next, Reader};
use crate::sse;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: Event<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(default, borrow)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    metrics: Option<Vec<Metric<'a>>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    arguments: Option<Cow<'a, str>>,
}

/// Reads the server-sent events of one answer, piece by piece.
///
/// Yields what [`ChatEvent`] promises: a fault of the stream itself becomes one `Error`, and nothing after it.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    reader: Reader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    id: Option<String>,
    /// The ids of the calls that have begun.
    calls: Vec<String>,
}

impl StreamDecoder {
    /// A decoder at the start of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer's id, once its first event was read.
    pub fn id(&self) -> Option<&str> {
        self.state.id.as_deref()
    }

    /// The last event was given out: `Usage` or `Error`.
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Reads the next piece and appends the events that it completes.
    pub fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        let Self { reader, state } = self;
        reader.push(piece, events, |frame, events| state.frame(frame, events));
    }

    /// The stream has ended. If it ended too early, appends the error that says so.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        self.reader.finish(events);
    }
}

impl State {
    fn frame(&mut self, frame: &sse::Frame, events: &mut Vec<ChatEvent>) -> Result<Next, Error> {
        if frame.event == "error" {
            return Err(error::decode(500, &frame.data));
        }
        let chunk: Chunk<'_> =
            serde_json::from_slice(&frame.data).map_err(|fault| Error::internal(format!("an event of the model's server: {fault}")))?;
        if self.id.is_none() {
            self.id = Some(chunk.id.unwrap_or_default().into_owned());
            events.push(ChatEvent::Start);
        }
        let event = chunk.event;
        if let Some(function) = event.delta.function {
            self.call(event.delta.id, function, events)?;
        } else if let Some(text) = event.delta.text.filter(|text| !text.is_empty()) {
            events.push(ChatEvent::Text { choice: 0, text: text.into_owned(), logprobs: Vec::new() });
        }
        if let Some(word) = event.stop_reason {
            events.push(ChatEvent::Finish { choice: 0, reason: stop_of_word(&word) });
        }
        match event.metrics {
            Some(metrics) if event.event_type == "metrics" => {
                events.push(ChatEvent::Usage(metrics::decode(&metrics)));
                Ok(Next::Done)
            }
            _ => Ok(Next::More),
        }
    }

    fn call(&mut self, id: Option<Cow<'_, str>>, function: Function<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let known = match &id {
            Some(id) => self.calls.iter().position(|known| known == id),
            None => self.calls.len().checked_sub(1),
        };
        let call = match (known, id, function.name) {
            (Some(call), _, _) => call,
            (None, Some(id), Some(name)) if self.calls.len() < CALLS_MAX => {
                let call = self.calls.len();
                self.calls.push(id.clone().into_owned());
                events.push(ChatEvent::ToolCallStart { choice: 0, call: index(call), id: id.into_owned(), name: name.into_owned() });
                call
            }
            _ => return Err(Error::internal("the model's server sent more of a call that did not begin")),
        };
        let fragment = function.arguments.unwrap_or_default().into_owned();
        if !fragment.is_empty() {
            events.push(ChatEvent::ToolCallArguments { choice: 0, call: index(call), fragment });
        }
        Ok(())
    }
}

fn index(call: usize) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}
