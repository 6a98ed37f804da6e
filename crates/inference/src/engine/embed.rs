//! Embeddings: texts to vectors, in a context of their own that is made at the first request.
//!
//! The vector of a text is the mean of its tokens' last hidden states, or the first or last one if the model says
//! so, brought to length 1. Inputs are computed in steps between those of the answers.
//!
//! **Invariant:** an input's state lies in the context only between its first and its last step.

use std::sync::Arc;
use std::time::Instant;

use freehold_domain::{Error, ErrorCode};
use tokio::sync::oneshot;

use super::gate::Ticket;
use super::native::{Batch, Context, ContextOptions, Model, StepError};
use super::{EmbedRequest, Share, Token};

/// Longest input of an embedding, if the model's context is not shorter.
pub(crate) const INPUT_TOKENS_MAX: u32 = 4096;

/// Tokens of a step.
const STEP_TOKENS_MAX: u32 = 512;

/// Inputs of a step.
const STEP_INPUTS_MAX: u32 = 32;

/// Where the answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Vec<Vec<f32>>, Error>>;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub request: EmbedRequest,
    pub reply: Reply,
    vectors: Vec<Vec<f32>>,
    /// Tokens of the first unfinished input that are computed.
    computed: usize,
    _ticket: Ticket,
}

impl Job {
    /// Nothing computed yet.
    pub fn new(request: EmbedRequest, reply: Reply, ticket: Ticket) -> Self {
        Self { request, reply, vectors: Vec::new(), computed: 0, _ticket: ticket }
    }

    fn overdue(&self, now: Instant) -> bool {
        self.request.deadline <= now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    Mean,
    First,
    Last,
}

/// The context for embeddings and the requests that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Embedder {
    jobs: std::collections::VecDeque<Job>,
    context: Option<(Context, Pooling)>,
    batch: Batch,
    sum: Vec<f32>,
}

impl Embedder {
    /// Queues a request.
    pub fn submit(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Whether anything is to be done.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Requests that are not answered yet.
    pub fn waiting(&self) -> u32 {
        u32::try_from(self.jobs.len()).unwrap_or(u32::MAX)
    }

    /// Gives up all requests.
    pub fn fail_all(&mut self, error: &Error) {
        for job in self.jobs.drain(..) {
            // The receiver may be gone; then nobody wants to know.
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    /// Computes one step. Gives the share to be charged and the tokens.
    ///
    /// # Errors
    /// The context failed in a way that it does not recover from.
    pub fn step(&mut self, model: &Arc<Model>, threads: u32, tokens_max: u32, now: Instant) -> Result<Option<(Share, u32)>, StepError> {
        let Some(mut job) = self.jobs.pop_front() else { return Ok(None) };
        if job.reply.is_closed() {
            self.clear();
            return Ok(None);
        }
        if job.overdue(now) {
            self.clear();
            let error = Error::new(ErrorCode::DeadlineExceeded, "The request's deadline passed before its embeddings were done.");
            let _ = job.reply.send(Err(error));
            return Ok(None);
        }
        if !self.ensure_context(model, threads, tokens_max) {
            let error = Error::new(ErrorCode::Unavailable, "There is no memory for embeddings now.");
            let _ = job.reply.send(Err(error));
            return Ok(None);
        }
        let tokens = self.advance(&mut job)?;
        let share = job.request.share.clone();
        if job.vectors.len() == job.request.inputs.len() {
            let vectors = std::mem::take(&mut job.vectors);
            let _ = job.reply.send(Ok(vectors));
        } else if job.computed > 0 {
            // In the middle of an input: it goes on before others.
            self.jobs.push_front(job);
        } else {
            self.jobs.push_back(job);
        }
        Ok(Some((share, tokens)))
    }

    fn clear(&mut self) {
        if let Some((context, _)) = &mut self.context {
            context.clear_all();
        }
    }

    fn ensure_context(&mut self, model: &Arc<Model>, threads: u32, tokens_max: u32) -> bool {
        if self.context.is_none() {
            let architecture = model.metadata("general.architecture").unwrap_or_default();
            let pooling = match model.metadata(&format!("{architecture}.pooling_type")).as_deref() {
                Some("2") => Pooling::First,
                Some("3") => Pooling::Last,
                _ => Pooling::Mean,
            };
            let options = ContextOptions {
                cells: tokens_max.max(STEP_TOKENS_MAX),
                batch_tokens_max: STEP_TOKENS_MAX,
                outputs_max: STEP_TOKENS_MAX,
                sequences: STEP_INPUTS_MAX,
                threads,
                embeddings: true,
            };
            self.context = Context::new(model, &options).map(|context| (context, pooling));
        }
        self.context.is_some()
    }

    /// Computes a piece of one long input, or several short inputs at once.
    fn advance(&mut self, job: &mut Job) -> Result<u32, StepError> {
        let Some((context, pooling)) = &mut self.context else { return Ok(0) };
        let first = job.vectors.len();
        self.batch.clear();
        if job.computed == 0 {
            context.clear_all();
        }
        let mut pieces: Vec<(usize, usize, bool)> = Vec::new();
        let mut budget = STEP_TOKENS_MAX as usize;
        for (sequence, input) in (0..STEP_INPUTS_MAX).zip(&job.request.inputs[first..]) {
            let from = if sequence == 0 { job.computed } else { 0 };
            let count = (input.len() - from).min(budget);
            let whole = from + count == input.len();
            if sequence > 0 && !whole {
                break;
            }
            push_rows(&mut self.batch, input, from, count, sequence);
            pieces.push((from, count, whole));
            budget -= count;
            if budget == 0 || !whole {
                break;
            }
        }
        context.compute(&mut self.batch)?;
        let mut row = 0;
        for (from, count, whole) in pieces {
            if from == 0 {
                self.sum.clear();
                self.sum.resize(context.embedding_size(), 0.0);
            }
            for place in from..from + count {
                let last = whole && place + 1 == from + count;
                let wanted = match pooling {
                    Pooling::Mean => true,
                    Pooling::First => place == 0,
                    Pooling::Last => last,
                };
                if wanted {
                    let state = context.embedding(row).ok_or(StepError::Fatal(0))?;
                    for (sum, value) in self.sum.iter_mut().zip(state) {
                        *sum += value;
                    }
                }
                row += 1;
            }
            if whole {
                job.vectors.push(normalized(&self.sum));
                job.computed = 0;
            } else {
                job.computed = from + count;
            }
        }
        Ok(u32::try_from(row).unwrap_or(u32::MAX))
    }
}

fn push_rows(batch: &mut Batch, input: &[Token], from: usize, count: usize, sequence: u32) {
    for (place, &token) in input.iter().enumerate().skip(from).take(count) {
        batch.push(token, u32::try_from(place).unwrap_or(u32::MAX), sequence, true);
    }
}

/// The same direction with length 1; the mean needs no division.
fn normalized(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
    let scaled = |value: &f32| (f64::from(*value) * scale) as f32;
    vector.iter().map(scaled).collect()
}
