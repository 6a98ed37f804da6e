//! From the engine's events to the bytes of an answer.
//!
//! Several generations (one for each prompt of a completion) are merged into one answer. Whatever has happened since
//! the last write goes into the next one.
//!
//! **Invariant:** dropping the pump drops the generations, which ends their work; an answer that was begun ends with
//! its account or with an error.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::response::Response;
use freehold_dialects::canonical::{AnswerHead, ChatAnswer, ChatEvent, GatherError, Usage};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode};
use futures::stream;
use tokio::sync::watch;

use super::app::{App, Stop};
use super::reply;
use crate::chat::answer::AnswerReader;
use crate::engine::{Generation, GenerationEvent};

/// Generations that make one answer together, each with `n` choices.
#[derive(Debug)]
pub(super) struct Merged {
    generations: Vec<Option<Generation>>,
    n: u32,
    /// What each generation has used so far.
    usage: Vec<Usage>,
    open: usize,
    /// Where to look first, so that none is starved.
    turn: usize,
}

impl Merged {
    pub fn new(generations: Vec<Generation>, n: u32) -> Self {
        let open = generations.len();
        Self { generations: generations.into_iter().map(Some).collect(), n, usage: vec![Usage::default(); open], open, turn: 0 }
    }

    /// What all have used so far.
    fn usage(&self) -> Usage {
        let add = |sum: Usage, one: &Usage| Usage {
            prompt_tokens: sum.prompt_tokens + one.prompt_tokens,
            cached_tokens: sum.cached_tokens + one.cached_tokens,
            completion_tokens: sum.completion_tokens + one.completion_tokens,
        };
        self.usage.iter().fold(Usage::default(), add)
    }

    /// The next event of any of them, with the choice's number in the whole answer; one `Done` at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<GenerationEvent> {
        let count = self.generations.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(generation) = &mut self.generations[index] else { continue };
            if let Poll::Ready(event) = generation.events.poll_recv(context) {
                let first = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(self.n);
                let event = match event {
                    Some(GenerationEvent::Text { choice, text, logprobs, usage }) => {
                        self.usage[index] = usage;
                        GenerationEvent::Text { choice: first + choice, text, logprobs, usage }
                    }
                    Some(GenerationEvent::Finish { choice, reason }) => GenerationEvent::Finish { choice: first + choice, reason },
                    Some(GenerationEvent::Failed(error)) => GenerationEvent::Failed(error),
                    None => GenerationEvent::Failed(Error::new(ErrorCode::WorkerLost, "The model's engine failed. Try again.")),
                    Some(GenerationEvent::Done(usage)) => {
                        self.generations[index] = None;
                        self.usage[index] = usage;
                        self.open -= 1;
                        if self.open == 0 {
                            return Poll::Ready(GenerationEvent::Done(self.usage()));
                        }
                        continue;
                    }
                };
                self.turn = index;
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}

/// Measures one request.
struct Meter {
    app: Arc<App>,
    arrived: Instant,
    /// When the last token of each choice came.
    last: Vec<Option<Instant>>,
    first_seen: bool,
    over: bool,
}

impl Meter {
    /// A batch of events has come.
    fn note(&mut self, events: &[GenerationEvent]) {
        let now = Instant::now();
        let metrics = &self.app.metrics;
        let mut counts = vec![0_u32; self.last.len()];
        for event in events {
            match event {
                GenerationEvent::Text { choice, .. } => {
                    if let Some(count) = counts.get_mut(*choice as usize) {
                        *count += 1;
                    }
                }
                GenerationEvent::Finish { reason, .. } => metrics.finished(*reason),
                GenerationEvent::Done(_) => {
                    self.over = true;
                    metrics.whole.record(now - self.arrived, 1);
                }
                GenerationEvent::Failed(_) => {
                    self.over = true;
                    metrics.failed();
                }
            }
        }
        for (last, count) in self.last.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
            if !self.first_seen {
                self.first_seen = true;
                metrics.first_token.record(now - self.arrived, 1);
            }
            if let Some(before) = last.replace(now) {
                metrics.between_tokens.record((now - before) / count, count.into());
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.over {
            self.app.metrics.left();
        }
    }
}

/// The answer on its way.
pub(super) struct Pump {
    merged: Merged,
    reader: AnswerReader,
    stop: watch::Receiver<Stop>,
    meter: Meter,
    log: Option<String>,
}

impl Pump {
    pub fn new(app: &Arc<App>, arrived: Instant, merged: Merged, reader: AnswerReader, choices: u32) -> Self {
        let meter = Meter { app: Arc::clone(app), arrived, last: vec![None; choices as usize], first_seen: false, over: false };
        Self { merged, reader, stop: app.stop.clone(), meter, log: app.log_prompts.then(String::new) }
    }

    /// Everything that has happened since the last call, at least one event; nothing once the answer is over.
    async fn next(&mut self) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        while events.is_empty() && !self.reader.over() {
            let merged = &mut self.merged;
            let stopped = async {
                // The sender lives as long as the server, so an error means the same.
                let _ = self.stop.wait_for(|stop| *stop == Stop::Now).await;
            };
            tokio::select! {
                biased;
                batch = poll_fn(|context| poll_batch(merged, context)) => {
                    self.meter.note(&batch);
                    for event in batch {
                        self.reader.read(event, &mut events);
                    }
                }
                () = stopped => {
                    let error = Error::new(ErrorCode::Unavailable, "The model is being stopped. Try again.").with_retry_after_s(1);
                    self.meter.over = true;
                    self.meter.app.metrics.failed();
                    self.reader.fail(error, &mut events);
                }
            }
        }
        if let Some(log) = &mut self.log {
            note_text(log, &events);
        }
        events
    }

    /// The answer as a stream of events. An error before the first event becomes an HTTP error.
    pub async fn stream(mut self, mut encoder: Encoder) -> Result<Response, Error> {
        let first = self.next().await;
        if let [ChatEvent::Error(error)] = first.as_slice() {
            return Err(error.clone());
        }
        let first = encoder.encode(&first, self.merged.usage());
        let rest = stream::unfold((self, encoder, VecDeque::from([first])), |(mut pump, mut encoder, mut ready)| async move {
            let bytes = match ready.pop_front() {
                Some(bytes) => bytes,
                None => {
                    let events = pump.next().await;
                    if events.is_empty() {
                        return None;
                    }
                    encoder.encode(&events, pump.merged.usage())
                }
            };
            Some((Ok::<Bytes, std::convert::Infallible>(bytes), (pump, encoder, ready)))
        });
        Ok(reply::events(Body::from_stream(rest)))
    }

    /// The whole answer.
    pub async fn gather(mut self) -> Result<ChatAnswer, Error> {
        let mut answer = ChatAnswer::default();
        loop {
            let events = self.next().await;
            if events.is_empty() {
                return Ok(answer);
            }
            for event in events {
                answer.push(event).map_err(|fault| match fault {
                    GatherError::Failed(error) => error,
                    GatherError::OutOfOrder(_) => Error::internal(fault),
                })?;
            }
        }
    }
}

/// Everything that is there now; pending only if that is nothing.
fn poll_batch(merged: &mut Merged, context: &mut Context<'_>) -> Poll<Vec<GenerationEvent>> {
    let mut batch = Vec::new();
    while let Poll::Ready(event) = merged.poll_next(context) {
        let last = matches!(event, GenerationEvent::Done(_) | GenerationEvent::Failed(_));
        batch.push(event);
        if last {
            break;
        }
    }
    if batch.is_empty() { Poll::Pending } else { Poll::Ready(batch) }
}

fn note_text(log: &mut String, events: &[ChatEvent]) {
    for event in events {
        match event {
            ChatEvent::Text { text, .. } => log.push_str(text),
            ChatEvent::ToolCallStart { name, .. } => log.push_str(name),
            ChatEvent::ToolCallArguments { fragment, .. } => log.push_str(fragment),
            ChatEvent::Usage(_) => tracing::info!(answer = log.as_str(), "answered"),
            ChatEvent::Start | ChatEvent::Finish { .. } | ChatEvent::Error(_) => {}
        }
    }
}

/// Writes events in the shape of the route.
pub(super) struct Encoder {
    stream: StreamEncoder,
    running_usage: bool,
}

enum StreamEncoder {
    Chat(openai::chat::StreamEncoder),
    Completions(openai::completions::StreamEncoder),
}

impl Encoder {
    pub fn chat(head: &AnswerHead, include_usage: bool, running_usage: bool) -> Self {
        Self { stream: StreamEncoder::Chat(openai::chat::StreamEncoder::new(head, include_usage)), running_usage }
    }

    pub fn completions(head: &AnswerHead, include_usage: bool, running_usage: bool) -> Self {
        Self { stream: StreamEncoder::Completions(openai::completions::StreamEncoder::new(head, include_usage)), running_usage }
    }

    fn encode(&mut self, events: &[ChatEvent], usage: Usage) -> Bytes {
        let mut out = Vec::with_capacity(256 * events.len());
        if self.running_usage {
            match &mut self.stream {
                StreamEncoder::Chat(encoder) => encoder.set_running_usage(&usage),
                StreamEncoder::Completions(encoder) => encoder.set_running_usage(&usage),
            }
        }
        for event in events {
            match &mut self.stream {
                StreamEncoder::Chat(encoder) => encoder.encode(event, &mut out),
                StreamEncoder::Completions(encoder) => encoder.encode(event, &mut out),
            }
        }
        Bytes::from(out)
    }
}
