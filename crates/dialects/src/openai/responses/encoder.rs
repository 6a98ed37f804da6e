//! The stream, written: typed events with a running number.
//!
//! **Invariant:** every item that is added is also done before the answer ends, unless the answer fails.

use freehold_domain::{Error, ErrorCode};
use serde_json::{Value, json};

use super::answer::{Echo, Standing, call_item, call_item_id, ending, message_id, message_item, text_part};
use crate::canonical::{AnswerHead, ChatEvent, FinishReason, TokenLogprob, Usage};
use crate::openai::{error, logprobs};
use crate::shape::write;

/// Writes the events of one answer as server-sent events.
///
/// The last one is `response.completed`, `response.incomplete`, `response.failed` or, if the answer had not begun,
/// `error`. There is no `[DONE]`. Choices other than the first are left out.
#[derive(Debug)]
pub struct StreamEncoder {
    head: AnswerHead,
    echo: Echo,
    sequence_number: u32,
    started: bool,
    items: Vec<Item>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// Nothing is written.
    quiet: bool,
}

/// Makes the response object of an answer from its events: what the stream's last event has.
#[derive(Debug)]
pub struct Gathering(StreamEncoder);

impl Gathering {
    /// Gathers one answer.
    pub fn new(head: AnswerHead, echo: Echo) -> Self {
        Self(StreamEncoder { quiet: true, ..StreamEncoder::new(head, echo) })
    }

    /// Takes in one event.
    pub fn see(&mut self, event: &ChatEvent) {
        self.0.encode(event, &mut Vec::new());
    }

    /// The response object as it is now, in JSON; whole after the account of the tokens came.
    pub fn response(&self) -> String {
        self.0.response().to_string()
    }
}

/// One item of the output, as far as it has come.
#[derive(Debug)]
struct Item {
    id: String,
    /// The status that was reported when the item was done.
    done: Option<&'static str>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Message { text: String, logprobs: Vec<TokenLogprob> },
    Call { call: u32, id: String, name: String, arguments: String },
}

impl Item {
    fn encode(&self) -> Value {
        let status = self.done.unwrap_or("incomplete");
        match &self.content {
            Content::Message { text, logprobs } => message_item(&self.id, status, Some((text, logprobs))),
            Content::Call { id, name, arguments, .. } => call_item(&self.id, status, id, name, arguments),
        }
    }
}

impl StreamEncoder {
    /// An encoder for one answer.
    pub fn new(head: AnswerHead, echo: Echo) -> Self {
        Self { head, echo, sequence_number: 0, started: false, items: Vec::new(), finish: None, usage: None, quiet: false }
    }

    /// Appends what one event becomes.
    pub fn encode(&mut self, event: &ChatEvent, out: &mut Vec<u8>) {
        match event {
            ChatEvent::Start => {
                self.started = true;
                for kind in ["response.created", "response.in_progress"] {
                    let standing =
                        Standing { status: "in_progress", error: Value::Null, incomplete: false, output: Vec::new(), usage: None };
                    let response = self.echo.response(&self.head, standing);
                    self.emit(kind, &[("response", response)], out);
                }
            }
            ChatEvent::Text { choice: 0, text, logprobs } => self.text(text, logprobs, out),
            ChatEvent::ToolCallStart { choice: 0, call, id, name } => self.call(*call, id, name, out),
            ChatEvent::ToolCallArguments { choice: 0, call, fragment } => self.arguments(*call, fragment, out),
            ChatEvent::Finish { choice: 0, reason } => {
                self.finish = Some(*reason);
                self.settle(out);
            }
            ChatEvent::Usage(usage) => self.end(usage, out),
            ChatEvent::Error(fault) => self.fail(fault, out),
            ChatEvent::Text { .. } | ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. } | ChatEvent::Finish { .. } => {}
        }
    }

    fn text(&mut self, text: &str, tokens: &[TokenLogprob], out: &mut Vec<u8>) {
        if !matches!(self.items.last(), Some(Item { done: None, content: Content::Message { .. }, .. })) {
            self.open_message(out);
        }
        let index = self.items.len() - 1;
        let item = &mut self.items[index];
        if let Content::Message { text: all, logprobs } = &mut item.content {
            all.push_str(text);
            logprobs.extend_from_slice(tokens);
        }
        if self.quiet {
            return;
        }
        let id = item.id.clone();
        self.open("response.output_text.delta", index, &id, out);
        out.extend_from_slice(b",\"content_index\":0,\"delta\":");
        write::json(out, text);
        out.extend_from_slice(b",\"logprobs\":");
        write::json(out, &logprobs::list(tokens));
        out.extend_from_slice(b"}\n\n");
    }

    fn open_message(&mut self, out: &mut Vec<u8>) {
        let index = self.items.len();
        let id = message_id(&self.head, index);
        let item = message_item(&id, "in_progress", None);
        self.emit("response.output_item.added", &[("output_index", json!(index)), ("item", item)], out);
        let part = text_part("", &[]);
        let fields = [("item_id", json!(id)), ("output_index", json!(index)), ("content_index", json!(0)), ("part", part)];
        self.emit("response.content_part.added", &fields, out);
        self.items.push(Item { id, done: None, content: Content::Message { text: String::new(), logprobs: Vec::new() } });
    }

    fn call(&mut self, call: u32, id: &str, name: &str, out: &mut Vec<u8>) {
        self.close(|content| matches!(content, Content::Message { .. }), out);
        let index = self.items.len();
        let item_id = call_item_id(&self.head, index);
        let item = call_item(&item_id, "in_progress", id, name, "");
        self.emit("response.output_item.added", &[("output_index", json!(index)), ("item", item)], out);
        let content = Content::Call { call, id: id.to_owned(), name: name.to_owned(), arguments: String::new() };
        self.items.push(Item { id: item_id, done: None, content });
    }

    fn arguments(&mut self, wanted: u32, fragment: &str, out: &mut Vec<u8>) {
        let is_wanted = |item: &Item| matches!(&item.content, Content::Call { call, .. } if *call == wanted);
        let Some(index) = self.items.iter().rposition(is_wanted) else { return };
        let item = &mut self.items[index];
        if let Content::Call { arguments, .. } = &mut item.content {
            arguments.push_str(fragment);
        }
        if self.quiet {
            return;
        }
        let id = item.id.clone();
        self.open("response.function_call_arguments.delta", index, &id, out);
        out.extend_from_slice(b",\"delta\":");
        write::json(out, fragment);
        out.extend_from_slice(b"}\n\n");
    }

    /// Reports items that are complete.
    fn close(&mut self, which: impl Fn(&Content) -> bool, out: &mut Vec<u8>) {
        let (status, _) = ending(self.finish);
        for index in 0..self.items.len() {
            let item = &mut self.items[index];
            if item.done.is_some() || !which(&item.content) {
                continue;
            }
            item.done = Some(status);
            if self.quiet {
                continue;
            }
            let (place, whole) = ([("item_id", json!(item.id)), ("output_index", json!(index))], item.encode());
            match &item.content {
                Content::Message { text, logprobs } => {
                    let part = text_part(text, logprobs);
                    let [id, output_index] = place;
                    let content_index = ("content_index", json!(0));
                    let done = [
                        id.clone(),
                        output_index.clone(),
                        content_index.clone(),
                        ("text", json!(text)),
                        ("logprobs", part["logprobs"].clone()),
                    ];
                    self.emit("response.output_text.done", &done, out);
                    self.emit("response.content_part.done", &[id, output_index, content_index, ("part", part)], out);
                }
                Content::Call { name, arguments, .. } => {
                    let [id, output_index] = place;
                    let done = [id, output_index, ("name", json!(name)), ("arguments", json!(arguments))];
                    self.emit("response.function_call_arguments.done", &done, out);
                }
            }
            self.emit("response.output_item.done", &[("output_index", json!(index)), ("item", whole)], out);
        }
    }

    /// The items are complete; an answer without any gets an empty message.
    fn settle(&mut self, out: &mut Vec<u8>) {
        if self.items.is_empty() {
            self.open_message(out);
        }
        self.close(|_| true, out);
    }

    fn end(&mut self, usage: &Usage, out: &mut Vec<u8>) {
        self.settle(out);
        self.usage = Some(*usage);
        if !self.quiet {
            let (_, incomplete) = ending(self.finish);
            self.emit(if incomplete { "response.incomplete" } else { "response.completed" }, &[("response", self.response())], out);
        }
    }

    fn response(&self) -> Value {
        let (status, incomplete) = ending(self.finish);
        let output = self.items.iter().map(Item::encode).collect();
        let standing = Standing { status, error: Value::Null, incomplete, output, usage: self.usage.as_ref() };
        self.echo.response(&self.head, standing)
    }

    fn fail(&mut self, fault: &Error, out: &mut Vec<u8>) {
        if !self.started {
            let (_, code) = error::kind(fault.code);
            let fields = [("code", json!(code)), ("message", json!(fault.message)), ("param", json!(fault.param))];
            return self.emit("error", &fields, out);
        }
        // What failed is not stored.
        self.echo.set_store(false);
        let code = match fault.code {
            ErrorCode::RateLimited => "rate_limit_exceeded",
            code if code.http_status() < 500 => "invalid_prompt",
            _ => "server_error",
        };
        let output = self.items.iter().map(Item::encode).collect();
        let error = json!({"code": code, "message": fault.message});
        let standing = Standing { status: "failed", error, incomplete: false, output, usage: None };
        let response = self.echo.response(&self.head, standing);
        self.emit("response.failed", &[("response", response)], out);
    }

    fn emit(&mut self, kind: &str, fields: &[(&str, Value)], out: &mut Vec<u8>) {
        if self.quiet {
            return;
        }
        self.begin(kind, out);
        for (name, value) in fields {
            out.push(b',');
            write::json(out, name);
            out.push(b':');
            write::json(out, value);
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn begin(&mut self, kind: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"sequence_number\":");
        write::integer(out, self.sequence_number);
        self.sequence_number = self.sequence_number.saturating_add(1);
    }

    fn open(&mut self, kind: &str, index: usize, id: &str, out: &mut Vec<u8>) {
        self.begin(kind, out);
        out.extend_from_slice(b",\"item_id\":");
        write::json(out, id);
        out.extend_from_slice(b",\"output_index\":");
        write::json(out, &index);
    }
}
