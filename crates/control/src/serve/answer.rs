//! An answer while it is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freehold_dialects::canonical::{AnswerHead, ChatAnswer, ChatEvent, GatherError, Usage};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode, ModelName};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, Outcome};
use crate::workers::Lease;

/// Reads the worker's stream.
pub(super) enum Decoder {
    Chat(openai::chat::StreamDecoder),
    Completion(openai::completions::StreamDecoder),
}

impl Decoder {
    pub(super) fn chat() -> Self {
        Self::Chat(openai::chat::StreamDecoder::new())
    }

    pub(super) fn completion() -> Self {
        Self::Completion(openai::completions::StreamDecoder::new())
    }

    fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        match self {
            Self::Chat(decoder) => decoder.push(piece, events),
            Self::Completion(decoder) => decoder.push(piece, events),
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        match self {
            Self::Chat(decoder) => decoder.finish(events),
            Self::Completion(decoder) => decoder.finish(events),
        }
    }
}

/// An answer: its name, and its events as they come. Dropping it ends the work.
pub struct Answer {
    /// What names it.
    pub head: AnswerHead,
    body: Incoming,
    decoder: Decoder,
    meter: Meter,
    cut: CancellationToken,
    over: bool,
    _lease: Lease,
}

impl Answer {
    #[expect(clippy::too_many_arguments, reason = "an answer is made in one place, of these parts")]
    pub(super) fn new(
        head: AnswerHead,
        model: ModelName,
        body: Incoming,
        decoder: Decoder,
        lease: Lease,
        metrics: Arc<Metrics>,
        received: Instant,
        cut: CancellationToken,
    ) -> Self {
        metrics.begun(&model);
        let meter = Meter { metrics, model, received, first_token: None, last_token: None, usage: None, failed: false };
        Self { head, body, decoder, meter, cut, over: false, _lease: lease }
    }

    /// The next events, all that have come; `None` after the last.
    pub async fn next(&mut self) -> Option<Vec<ChatEvent>> {
        let mut events = Vec::new();
        while events.is_empty() {
            if self.over {
                return None;
            }
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                () = self.cut.cancelled() => {
                    self.over = true;
                    events.push(ChatEvent::Error(stopping()));
                    break;
                }
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        self.decoder.push(piece, &mut events);
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, model = %self.meter.model, "a worker's answer broke off");
                    self.decoder.finish(&mut events);
                    self.over = true;
                }
                None => {
                    self.decoder.finish(&mut events);
                    self.over = true;
                }
            }
        }
        self.meter.see(&events);
        Some(events)
    }

    /// The whole answer.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn whole(mut self) -> Result<(AnswerHead, ChatAnswer), Error> {
        let mut answer = ChatAnswer::default();
        while let Some(events) = self.next().await {
            for event in events {
                answer.push(event).map_err(|error| match error {
                    GatherError::Failed(error) => error,
                    disorder @ GatherError::OutOfOrder(_) => Error::internal(disorder),
                })?;
            }
        }
        Ok((self.head, answer))
    }
}

fn stopping() -> Error {
    Error::new(ErrorCode::Unavailable, "The service is stopping; this answer is incomplete.").with_retry_after_s(10)
}

/// Counts an answer, however it ends.
struct Meter {
    metrics: Arc<Metrics>,
    model: ModelName,
    received: Instant,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    usage: Option<Usage>,
    failed: bool,
}

impl Meter {
    fn see(&mut self, events: &[ChatEvent]) {
        for event in events {
            match event {
                ChatEvent::Text { .. } | ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. } => {
                    let now = Instant::now();
                    if self.first_token.is_none() {
                        self.first_token = Some(now);
                        self.metrics.first_token(&self.model, now - self.received);
                    }
                    self.last_token = Some(now);
                }
                ChatEvent::Usage(usage) => self.usage = Some(*usage),
                ChatEvent::Error(_) => self.failed = true,
                ChatEvent::Start | ChatEvent::Finish { .. } => {}
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let outcome = match (self.failed, self.usage) {
            (true, _) => Outcome::Failed,
            (false, Some(_)) => Outcome::Complete,
            (false, None) => Outcome::ClientGone,
        };
        let generating = self.first_token.zip(self.last_token).map_or(Duration::ZERO, |(first, last)| last - first);
        self.metrics.ended(&self.model, outcome, self.received.elapsed(), generating, self.usage.as_ref());
    }
}
