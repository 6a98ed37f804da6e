//! An answer while it is made.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use freehold_dialects::canonical::{AnswerHead, ChatAnswer, ChatEvent, GatherError, Usage, Verdict};
use freehold_dialects::openai;
use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_ledger::UsageOutcome;
use freehold_ledger::usage::Quantities;
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::respond::{Keeper, Kept};
use super::upstream;
use super::whole::Whole;
use crate::billing::{Receipt, Ticket};
use crate::metrics::{Metrics, Outcome};
use crate::workers::{Lease, WireBody};

/// Most events that are given out together, about.
const EVENTS_AT_ONCE: usize = 64;
/// Bytes of text in a token, about, where nobody counted them.
const BYTES_PER_TOKEN: u64 = 4;

/// Reads the worker's stream.
pub(super) enum Decoder {
    Chat(openai::chat::StreamDecoder),
    Completion(openai::completions::StreamDecoder),
    /// An answer that comes in one piece.
    Whole(Whole),
}

impl Decoder {
    pub(super) fn chat() -> Self {
        Self::Chat(openai::chat::StreamDecoder::new())
    }

    pub(super) fn completion() -> Self {
        Self::Completion(openai::completions::StreamDecoder::new())
    }

    /// Of a server that may not say how many tokens there were.
    pub(super) fn foreign_chat() -> Self {
        Self::Chat(openai::chat::StreamDecoder::tolerant())
    }

    /// Of a server that may not say how many tokens there were.
    pub(super) fn foreign_completion() -> Self {
        Self::Completion(openai::completions::StreamDecoder::tolerant())
    }

    /// Of an answer that comes in one piece.
    pub(super) fn whole(chat: bool) -> Self {
        Self::Whole(Whole::new(chat))
    }

    fn push(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>) {
        match self {
            Self::Chat(decoder) => decoder.push(piece, events),
            Self::Completion(decoder) => decoder.push(piece, events),
            Self::Whole(whole) => whole.push(piece, events),
        }
    }

    fn running_usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(decoder) => decoder.running_usage(),
            Self::Completion(decoder) => decoder.running_usage(),
            Self::Whole(_) => None,
        }
    }

    /// The body is over: as it should be, or `broken` off.
    fn finish(&mut self, broken: bool, events: &mut Vec<ChatEvent>) {
        match self {
            Self::Chat(decoder) => decoder.finish(events),
            Self::Completion(decoder) => decoder.finish(events),
            Self::Whole(whole) => whole.finish(broken, events),
        }
    }
}

/// An answer: its name, and its events as they come. Dropping it ends the work.
pub struct Answer {
    /// What names it.
    pub head: AnswerHead,
    body: WireBody,
    decoder: Decoder,
    meter: Meter,
    bill: Bill,
    receipt: Option<Receipt>,
    cut: CancellationToken,
    /// Ends of choices, which wait until what the answer costs is on the disk.
    held: Vec<ChatEvent>,
    over: bool,
    /// Another server is at it, none of our workers.
    foreign: bool,
    /// Where it must be a judgement: one that is none is not charged.
    judgement: Option<Judgement>,
    /// Stores it at its end, if it is to be stored; and what was stored.
    keeper: Option<Box<Keeper>>,
    kept: Option<Kept>,
    /// Nothing goes out after this.
    until: Pin<Box<Sleep>>,
    lease: Lease,
}

/// What a guard model says: its text so far, and what that means once it is all there.
#[derive(Default)]
struct Judgement {
    text: String,
    verdict: Option<Verdict>,
}

/// A whole answer.
pub struct Finished {
    /// What names it.
    pub head: AnswerHead,
    /// The answer.
    pub answer: ChatAnswer,
    /// What was stored of it, if it was: the response object in JSON.
    pub kept: Option<String>,
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
    /// Bytes of them.
    bytes: u64,
}

impl Bill {
    pub(super) fn new(ticket: Ticket, prompt_tokens: u64) -> Self {
        Self { ticket: Some(ticket), prompt_tokens, pieces: 0, running: None, bytes: 0 }
    }

    /// What was served so far, as far as it is known. Before the first piece the prompt was not computed.
    fn so_far(&self) -> Quantities {
        match (self.pieces, self.running) {
            (0, _) => Quantities::default(),
            // Some servers count each choice for itself.
            (pieces, Some(running)) => Quantities { output: running.output.max(pieces), ..running },
            (pieces, None) => Quantities::tokens(self.prompt_tokens, 0, pieces),
        }
    }

    /// More pieces came than the request was admitted for, by far: a piece is not always a token.
    fn is_beyond_its_bound(&self) -> bool {
        const SLACK: u64 = 64;
        self.ticket.as_ref().is_some_and(|ticket| self.pieces > ticket.output_max().saturating_mul(2).saturating_add(SLACK))
    }

    fn count(&mut self, text: &str) {
        self.pieces += 1;
        self.bytes += text.len() as u64;
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
        body: WireBody,
        decoder: Decoder,
        lease: Lease,
        bill: Bill,
        metrics: Arc<Metrics>,
        received: Instant,
        until: Instant,
        cut: CancellationToken,
    ) -> Self {
        metrics.begun(&model);
        let until = Box::pin(tokio::time::sleep_until(until.into()));
        let meter = Meter { metrics, model, received, first_token: None, last_token: None, usage: None, failed: false };
        Self {
            head,
            body,
            decoder,
            meter,
            bill,
            receipt: None,
            cut,
            held: Vec::new(),
            over: false,
            foreign: false,
            judgement: None,
            keeper: None,
            kept: None,
            until,
            lease,
        }
    }

    /// Another server is at it, if that is so.
    pub(super) fn of_foreign(self, foreign: bool) -> Self {
        Self { foreign, ..self }
    }

    /// Stores the answer before its end is given out.
    pub(super) fn keep(&mut self, keeper: Keeper) {
        self.keeper = Some(Box::new(keeper));
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
            if let Some(error) = self.must_end() {
                self.over = true;
                events.push(ChatEvent::Error(error));
                break;
            }
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.cut.cancelled() => continue,
                () = self.until.as_mut() => continue,
            };
            self.take(frame, &mut events);
            if !events.is_empty() && !self.over {
                self.take_more(&mut events);
            }
            if self.foreign {
                blame(&self.meter.model, &mut events);
            }
            self.bill.running = self.decoder.running_usage().as_ref().map(quantities);
            self.hold_back(&mut events);
        }
        self.charge(&mut events).await;
        self.meter.see(&events);
        Some(events)
    }

    /// Why the answer ends now, whatever else may come.
    fn must_end(&self) -> Option<Error> {
        if self.cut.is_cancelled() {
            return Some(stopping());
        }
        if self.until.deadline() > tokio::time::Instant::now() {
            return None;
        }
        let message = "The answer was not complete, or not read, before the request's deadline.";
        Some(if self.foreign { upstream::late(&self.meter.model) } else { Error::new(ErrorCode::DeadlineExceeded, message) })
    }

    /// Reads what came, or that nothing more comes.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>, events: &mut Vec<ChatEvent>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.decoder.push(piece, events);
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, model = %self.meter.model, "the answer of a model's server broke off");
                self.decoder.finish(true, events);
                self.over = true;
            }
            None => {
                self.decoder.finish(false, events);
                self.over = true;
            }
        }
    }

    /// Takes what has come by now too, so that a busy service hands over several pieces at once; nobody waits for what is
    /// not there yet.
    fn take_more(&mut self, events: &mut Vec<ChatEvent>) {
        while !self.over && events.len() < EVENTS_AT_ONCE {
            let Some(frame) = self.body.frame().now_or_never() else { break };
            self.take(frame, events);
        }
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
        for event in &mut *events {
            match event {
                ChatEvent::Text { text, .. } => {
                    self.bill.count(text);
                    self.judgement.iter_mut().for_each(|judgement| judgement.text.push_str(text));
                }
                ChatEvent::ToolCallStart { name, .. } => self.bill.count(name),
                ChatEvent::ToolCallArguments { fragment, .. } => self.bill.count(fragment),
                ChatEvent::Usage(found) if self.foreign && *found == Usage::default() && self.bill.pieces > 0 => {
                    *found = self.estimate();
                    usage = Some((quantities(found), None));
                }
                ChatEvent::Usage(found) => usage = Some((quantities(found), Some(quantities(found)))),
                // The deadline is the client's as much as the service's: what came before it was served.
                ChatEvent::Error(error) if error.code == ErrorCode::DeadlineExceeded => self.bill.end(UsageOutcome::Cancelled),
                ChatEvent::Error(_) => self.bill.end(UsageOutcome::Failed),
                ChatEvent::Start | ChatEvent::Finish { .. } => {}
            }
        }
        if self.foreign && self.bill.is_beyond_its_bound() {
            tracing::warn!(model = %self.meter.model, pieces = self.bill.pieces, "a server gives more than it was asked for");
            self.bill.end(UsageOutcome::Cancelled);
            self.over = true;
            *events = vec![ChatEvent::Error(upstream::too_much(&self.meter.model))];
            return;
        }
        if let Some(judgement) = self.judgement.as_mut().filter(|_| usage.is_some()) {
            match super::read_verdict(&judgement.text) {
                Ok(verdict) => judgement.verdict = Some(verdict),
                Err(error) => {
                    self.bill.end(UsageOutcome::Failed);
                    self.over = true;
                    *events = vec![ChatEvent::Error(error)];
                    return;
                }
            }
        }
        if let Err(error) = self.store(events, usage.is_some()).await {
            // Without room the answer was made all the same, and larger than its tokens allow.
            let is_full = error.code == ErrorCode::StorageExhausted;
            self.bill.end(if is_full { UsageOutcome::Cancelled } else { UsageOutcome::Failed });
            self.over = true;
            *events = vec![ChatEvent::Error(error)];
            return;
        }
        let Some(((served, reported), ticket)) = usage.zip(self.bill.ticket.take_if(|_| usage.is_some())) else { return };
        match ticket.settle(UsageOutcome::Complete, served, reported).await {
            Ok(receipt) => {
                self.receipt = Some(receipt);
                // What ends after this ends well. A body that is read to its end leaves its connection to the next request.
                if !self.over {
                    let _end = self.body.frame().now_or_never();
                    self.over = true;
                }
            }
            Err(error) => {
                // An end that is not on the disk must not leave the service.
                if let Some(kept) = self.kept.take() {
                    kept.take_back().await;
                }
                *events = vec![ChatEvent::Error(error)];
                self.over = true;
            }
        }
    }

    /// Gathers what goes out, and stores it all when the end is among it.
    async fn store(&mut self, events: &[ChatEvent], is_end: bool) -> Result<(), Error> {
        if let Some(keeper) = &mut self.keeper {
            keeper.see(events);
        }
        if is_end && let Some(keeper) = self.keeper.take() {
            self.kept = Some(keeper.put().await?);
        }
        Ok(())
    }

    /// The account of an answer whose server gives none: the pieces that came, as a token each; of an answer that came
    /// whole, a token for every four bytes. Nobody here knows how many tokens the prompt had, so it is not charged.
    fn estimate(&self) -> Usage {
        self.lease.note_no_account();
        let whole = matches!(self.decoder, Decoder::Whole(_));
        let tokens = if whole { self.bill.bytes.div_ceil(BYTES_PER_TOKEN) } else { self.bill.pieces };
        Usage { prompt_tokens: 0, cached_tokens: 0, completion_tokens: u32::try_from(tokens).unwrap_or(u32::MAX) }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn whole(mut self) -> Result<Finished, Error> {
        let (answer, receipt) = self.gather().await?;
        Ok(Finished { head: self.head, answer, kept: self.kept.map(Kept::into_text), receipt })
    }

    /// The verdict of a guard model, and the receipt to be confirmed when it was handed over. An answer that is no judgement
    /// costs nothing.
    ///
    /// # Errors
    /// What ended it early, `unsupported_feature` for an answer that is no judgement.
    pub async fn judge(mut self) -> Result<(Verdict, Receipt), Error> {
        self.judgement = Some(Judgement::default());
        let (_, receipt) = self.gather().await?;
        let verdict = self.judgement.take().and_then(|judgement| judgement.verdict);
        Ok((verdict.ok_or_else(|| Error::internal("a judgement without a verdict"))?, receipt))
    }

    async fn gather(&mut self) -> Result<(ChatAnswer, Receipt), Error> {
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
        Ok((answer, receipt))
    }
}

/// Says of every error that a server's answer carries what it means to a client.
fn blame(model: &ModelName, events: &mut [ChatEvent]) {
    for event in events {
        if let ChatEvent::Error(error) = event {
            *error = upstream::blame(model, error.clone());
        }
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
