//! An answer while it is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freehold_dialects::canonical::{AnswerHead, ChatAnswer, ChatEvent, GatherError, Usage};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_ledger::UsageOutcome;
use freehold_ledger::usage::Quantities;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::billing::{Receipt, Ticket};
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

    fn running_usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(decoder) => decoder.running_usage(),
            Self::Completion(decoder) => decoder.running_usage(),
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
    bill: Bill,
    receipt: Option<Receipt>,
    cut: CancellationToken,
    /// Ends of choices, which wait until what the answer costs is on the disk.
    held: Vec<ChatEvent>,
    over: bool,
    _lease: Lease,
}

/// A whole answer.
pub struct Finished {
    /// What names it.
    pub head: AnswerHead,
    /// The answer.
    pub answer: ChatAnswer,
    /// To be confirmed when the answer was handed over.
    pub receipt: Receipt,
}

/// What an answer will be charged for, until that is on the disk.
pub(super) struct Bill {
    ticket: Option<Ticket>,
    prompt_tokens: u64,
    /// Pieces of text that went out, each a token at least.
    pieces: u64,
    /// What the worker says it has used so far.
    running: Option<Quantities>,
}

impl Bill {
    pub(super) fn new(ticket: Ticket, prompt_tokens: u64) -> Self {
        Self { ticket: Some(ticket), prompt_tokens, pieces: 0, running: None }
    }

    /// What was served so far, as far as it is known. Before the first piece the prompt was not computed.
    fn so_far(&self) -> Quantities {
        match (self.pieces, self.running) {
            (0, _) => Quantities::default(),
            (_, Some(running)) => running,
            (pieces, None) => Quantities::tokens(self.prompt_tokens, 0, pieces),
        }
    }

    fn end(&mut self, outcome: UsageOutcome) {
        if let Some(ticket) = self.ticket.take() {
            ticket.end(outcome, self.so_far(), self.running);
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.end(UsageOutcome::ClientGone);
    }
}

fn quantities(usage: &Usage) -> Quantities {
    let cached = u64::from(usage.cached_tokens.min(usage.prompt_tokens));
    Quantities::tokens(u64::from(usage.prompt_tokens) - cached, cached, u64::from(usage.completion_tokens))
}

impl Answer {
    #[expect(clippy::too_many_arguments, reason = "an answer is made in one place, of these parts")]
    pub(super) fn new(
        head: AnswerHead,
        model: ModelName,
        body: Incoming,
        decoder: Decoder,
        lease: Lease,
        bill: Bill,
        metrics: Arc<Metrics>,
        received: Instant,
        cut: CancellationToken,
    ) -> Self {
        metrics.begun(&model);
        let meter = Meter { metrics, model, received, first_token: None, last_token: None, usage: None, failed: false };
        Self { head, body, decoder, meter, bill, receipt: None, cut, held: Vec::new(), over: false, _lease: lease }
    }

    /// The receipt, once the last event was given out. To be confirmed when it was handed over.
    pub fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }

    /// The next events, all that have come; `None` after the last. When the last event is given out, what the answer
    /// costs is on the disk.
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
            self.bill.running = self.decoder.running_usage().as_ref().map(quantities);
            self.hold_back(&mut events);
        }
        self.charge(&mut events).await;
        self.meter.see(&events);
        Some(events)
    }

    /// Keeps the ends of choices until the account of the answer comes, and puts them before it: a client that sees
    /// the end of an answer sees it after it was charged.
    fn hold_back(&mut self, events: &mut Vec<ChatEvent>) {
        self.held.extend(events.extract_if(.., |event| matches!(event, ChatEvent::Finish { .. })));
        if let Some(place) = events.iter().position(|event| matches!(event, ChatEvent::Usage(_))) {
            events.splice(place..place, self.held.drain(..));
        }
    }

    /// Counts what goes out, and settles when the end is among it.
    async fn charge(&mut self, events: &mut Vec<ChatEvent>) {
        let mut usage = None;
        for event in &*events {
            match event {
                ChatEvent::Text { .. } | ChatEvent::ToolCallStart { .. } | ChatEvent::ToolCallArguments { .. } => self.bill.pieces += 1,
                ChatEvent::Usage(found) => usage = Some(quantities(found)),
                // The deadline is the client's as much as the service's: what came before it was served.
                ChatEvent::Error(error) if error.code == ErrorCode::DeadlineExceeded => self.bill.end(UsageOutcome::Cancelled),
                ChatEvent::Error(_) => self.bill.end(UsageOutcome::Failed),
                ChatEvent::Start | ChatEvent::Finish { .. } => {}
            }
        }
        let Some((served, ticket)) = usage.zip(self.bill.ticket.take_if(|_| usage.is_some())) else { return };
        match ticket.settle(UsageOutcome::Complete, served, Some(served)).await {
            Ok(receipt) => self.receipt = Some(receipt),
            Err(error) => {
                // An end that is not on the disk must not leave the service.
                *events = vec![ChatEvent::Error(error)];
                self.over = true;
            }
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn whole(mut self) -> Result<Finished, Error> {
        let mut answer = ChatAnswer::default();
        while let Some(events) = self.next().await {
            for event in events {
                answer.push(event).map_err(|error| match error {
                    GatherError::Failed(error) => error,
                    disorder @ GatherError::OutOfOrder(_) => Error::internal(disorder),
                })?;
            }
        }
        let receipt = self.receipt.take().ok_or_else(|| Error::internal("an answer that ended without its account"))?;
        Ok(Finished { head: self.head, answer, receipt })
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
