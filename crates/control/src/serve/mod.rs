//! Requests to models: from a canonical request to a canonical stream of events.
//!
//! Each request is authorized, its model found and leased, and the request sent to the model's worker in OpenAI's
//! wire format, always as a stream. Whatever the worker refuses is refused before the first byte of the answer; what
//! goes wrong later ends the stream with one error.
//!
//! **Invariant:** a lease is held exactly as long as its [`Answer`] lives, and dropping the answer ends the work.

mod answer;
mod bounds;
mod host;
mod registry;
mod respond;
mod upstream;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use freehold_dialects::canonical::{
    AnswerHead, ChatRequest, CompletionRequest, EmbeddingRequest, EmbeddingResponse, ModelCard, ResponseFormat,
};
use freehold_dialects::openai;
use freehold_dialects::openai::Extensions;
use freehold_domain::{Error, ErrorCode, ModelName, ModelRef, RequestId};
use freehold_ledger::UsageOutcome;
use freehold_ledger::usage::Quantities;
use tokio_util::sync::CancellationToken;

pub use answer::{Answer, Finished};
use answer::{Bill, Decoder};
use registry::Registry;
use upstream::Recipient;

use crate::auth::{Action, Actor, Tenancy, model_not_found, permit};
use crate::billing::{Ask, Receipt, Ticket};
use crate::facade::Control;
use crate::metrics::Metrics;
use crate::workers::{Lease, ModelSpec, WireBody, WorkerClient, Workers, read_whole};

/// Serves models. Cheap to clone.
#[derive(Clone)]
pub struct Serving {
    control: Control,
    workers: Workers,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    deadline: Duration,
    cut: CancellationToken,
}

/// Where a worker says how many tokens a prompt has, before it answers.
const PROMPT_TOKENS: &str = "x-freehold-prompt-tokens";

/// How long after its deadline an answer may still be read.
const READING_MAX: Duration = Duration::from_secs(60);

/// How a request is sent and metered.
struct Route {
    path: &'static str,
    meter: &'static str,
    bound: bounds::Bound,
    /// It is a conversation, not a text to be continued.
    chat: bool,
}

/// One request, as the HTTP side knows it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its id.
    pub id: RequestId,
    /// When its head arrived.
    pub received: Instant,
}

impl Serving {
    /// Serves the models of `control` with `workers`; every answer ends within `deadline`.
    ///
    /// # Errors
    /// The table of metrics is inconsistent.
    pub fn new(control: Control, workers: Workers, deadline: Duration) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::new().map_err(Error::internal)?);
        Ok(Self { control, workers, metrics, registry: Arc::default(), deadline, cut: CancellationToken::new() })
    }

    /// A new id for a request.
    pub fn new_request_id(&self) -> RequestId {
        RequestId::from_uuid(self.control.new_uuid())
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The pool of workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Ends every answer that is still running with an error.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Forgets what is remembered of a model that was changed or removed.
    pub fn forget(&self, model: &ModelName) {
        self.forget_spec(model);
        self.workers.forget_upstream(model);
    }

    /// Who waits for a worker looks the model up again.
    fn forget_spec(&self, model: &ModelName) {
        self.registry.forget(model);
        self.workers.look_again();
    }

    /// Answers a conversation.
    ///
    /// # Errors
    /// Everything that can be known before the first token.
    pub async fn chat(&self, actor: &Actor, request: ChatRequest, call: Call) -> Result<Answer, Error> {
        let model = request.model.clone();
        let route = Route { path: "/v1/chat/completions", meter: "chat", bound: bounds::chat(&request), chat: true };
        let mut wire = request;
        let ask = |to: Recipient| {
            wire.stream = to.is_to_stream(wire.stream);
            wire.include_usage = wire.stream;
            wire.user = wire.user.take_if(|_| !to.foreign);
            wire.model = to.model;
            openai::chat::encode_request(&wire, &to.extensions)
        };
        // Boxed: it is large, and each layer above would move all of it.
        Box::pin(self.stream(actor, &model, route, call, ask)).await
    }

    /// Continues texts.
    ///
    /// # Errors
    /// Everything that can be known before the first token.
    pub async fn complete(&self, actor: &Actor, request: CompletionRequest, call: Call) -> Result<Answer, Error> {
        let model = request.model.clone();
        let route = Route { path: "/v1/completions", meter: "completion", bound: bounds::completion(&request), chat: false };
        let mut wire = request;
        // What is held is what is asked for, whatever another server takes for granted.
        wire.sampling.max_tokens.get_or_insert(bounds::COMPLETION_TOKENS_DEFAULT);
        let ask = |to: Recipient| {
            wire.stream = to.is_to_stream(wire.stream);
            wire.include_usage = wire.stream;
            wire.user = wire.user.take_if(|_| !to.foreign);
            wire.model = to.model;
            openai::completions::encode_request(&wire, &to.extensions)
        };
        // Boxed: it is large, and each layer above would move all of it.
        Box::pin(self.stream(actor, &model, route, call, ask)).await
    }

    /// Turns texts into vectors. The receipt is to be confirmed when the answer was handed over.
    ///
    /// # Errors
    /// What the worker refuses, or its loss.
    pub async fn embed(&self, actor: &Actor, request: &EmbeddingRequest, call: Call) -> Result<(EmbeddingResponse, Receipt), Error> {
        let (caller, spec, reference) = self.find(actor, &request.model).await?;
        let ticket = self.admit(actor, caller, &spec, "embedding", bounds::embedding(request), call).await?;
        let to = self.to(&spec, caller, &reference);
        let wire = EmbeddingRequest { model: to.model, user: request.user.clone().filter(|_| !to.foreign), ..request.clone() };
        let wire = openai::embeddings::encode_request(&wire, &Extensions::default());
        let (_lease, answer) = self.ask(&spec, caller, "/v1/embeddings", wire, call).await?;
        let response = match &spec.upstream {
            None => {
                let body = self.in_time(&spec, call, read_whole(answer.into_body())).await?;
                openai::embeddings::decode_answer(&body.map_err(|error| worker_lost(error.to_string()))?)?
            }
            Some(_) => {
                let body = upstream::within(call.received + self.deadline, &spec.name, read_whole(answer.into_body())).await?;
                let decoded =
                    body.map_err(|error| worker_lost(error.to_string())).and_then(|body| openai::embeddings::decode_answer(&body));
                decoded.map_err(|error| upstream::blame(&spec.name, error))?
            }
        };
        let served = Quantities::tokens(u64::from(response.prompt_tokens), 0, 0);
        let receipt = ticket.settle(UsageOutcome::Complete, served, Some(served)).await?;
        Ok((EmbeddingResponse { model: request.model.clone(), ..response }, receipt))
    }

    /// The models that the caller may use, adapters included.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cards(&self, actor: &Actor) -> Result<Vec<ModelCard>, Error> {
        let mut cards = Vec::new();
        for (row, adapters) in registry::read_all(&self.control).await? {
            if permit(actor, Action::SeeModel(&row.name)).is_err() {
                continue;
            }
            let card = |id: String| ModelCard { id, created_s: row.added_at.unix_s(), owned_by: registry::owner(&row) };
            cards.push(card(row.name.to_string()));
            cards.extend(adapters.iter().map(|adapter| card(format!("{}:{}", row.name, adapter.name))));
        }
        for row in self.control.upstreams().await? {
            if permit(actor, Action::SeeModel(&row.name)).is_ok() {
                cards.push(ModelCard { id: row.name.to_string(), created_s: row.added_at.unix_s(), owned_by: row.provider });
            }
        }
        Ok(cards)
    }

    /// One of the models that the caller may use.
    ///
    /// # Errors
    /// `model_not_found`.
    pub async fn card(&self, actor: &Actor, name: &str) -> Result<ModelCard, Error> {
        let cards = self.cards(actor).await?;
        cards.into_iter().find(|card| card.id.eq_ignore_ascii_case(name)).ok_or_else(|| model_not_found(name))
    }

    /// The first model whose name says that it is a guard model, for moderations.
    ///
    /// # Errors
    /// `model_not_found` when there is none.
    pub async fn guard_model(&self, actor: &Actor) -> Result<String, Error> {
        let cards = self.cards(actor).await?;
        cards.into_iter().map(|card| card.id).find(|id| id.to_ascii_lowercase().contains("guard")).ok_or_else(|| {
            let message = "This service has no guard model to judge with. The operator can add one: freehold model pull llama-guard-3-1b.";
            Error::new(ErrorCode::ModelNotFound, message)
        })
    }

    /// Everything counted, the workers' own included.
    pub async fn render_metrics(&self) -> String {
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut texts = Vec::new();
        for (model, client) in self.workers.all_loaded() {
            match tokio::time::timeout(PATIENCE, client.get("/metrics")).await {
                Ok(Ok((200, body))) => texts.push(String::from_utf8_lossy(&body).into_owned()),
                Ok(Ok((status, _))) => tracing::warn!(%model, status, "a worker refused its metrics"),
                Ok(Err(error)) => tracing::debug!(%model, %error, "a worker's metrics cannot be read"),
                Err(_) => tracing::debug!(%model, "a worker did not give its metrics in time"),
            }
        }
        self.metrics.render(&texts)
    }

    async fn stream(
        &self,
        actor: &Actor,
        model: &str,
        route: Route,
        call: Call,
        ask: impl FnOnce(Recipient) -> Vec<u8>,
    ) -> Result<Answer, Error> {
        let (caller, spec, reference) = self.find(actor, model).await?;
        let ticket = self.admit(actor, caller, &spec, route.meter, route.bound, call).await?;
        let (lease, response) = self.ask(&spec, caller, route.path, ask(self.to(&spec, caller, &reference)), call).await?;
        let decoder = match &spec.upstream {
            None if route.chat => Decoder::chat(),
            None => Decoder::completion(),
            Some(_) => upstream::decoder(&spec, &response, route.chat)?,
        };
        let prompt_tokens = response.headers().get(PROMPT_TOKENS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let head = AnswerHead { id: call.id.to_string(), model: model.to_owned(), created_s: self.control.now().unix_s() };
        let answer = Answer::new(
            head,
            spec.name.clone(),
            response.into_body(),
            decoder,
            lease,
            Bill::new(ticket, prompt_tokens),
            Arc::clone(&self.metrics),
            call.received,
            self.until(&spec, call),
            self.cut.clone(),
        );
        Ok(answer.of_foreign(spec.upstream.is_some()))
    }

    /// When an answer ends, whatever becomes of it. A worker knows the deadline and ends by itself: what comes later is
    /// read by a client that takes its time.
    fn until(&self, spec: &ModelSpec, call: Call) -> Instant {
        call.received + self.deadline + if spec.upstream.is_some() { Duration::ZERO } else { READING_MAX }
    }

    /// Waits for a worker, but not for one that hangs.
    async fn in_time<T>(&self, spec: &ModelSpec, call: Call, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::time::timeout_at(self.until(spec, call).into(), work).await.map_err(|_| {
            let message = format!("The worker of `{}` did not answer before the request's deadline.", spec.name);
            Error::new(ErrorCode::DeadlineExceeded, message)
        })
    }

    /// To whom a request goes: the model's worker, or the server that serves it.
    fn to(&self, spec: &ModelSpec, caller: &Tenancy, reference: &ModelRef) -> Recipient {
        match &spec.upstream {
            Some(upstream) => self.recipient(upstream, caller.tenant),
            None => {
                let extensions = Extensions { cache_salt: Some(caller.tenant.to_string()), running_usage: true, old_max_tokens: false };
                Recipient { model: reference.to_string(), extensions, foreign: false }
            }
        }
    }

    /// Asks whoever is to answer.
    async fn ask(
        &self,
        spec: &ModelSpec,
        caller: &Tenancy,
        path: &str,
        body: Vec<u8>,
        call: Call,
    ) -> Result<(Lease, http::Response<WireBody>), Error> {
        if spec.upstream.is_none() {
            return self.post(spec, caller, path, body, call).await;
        }
        let lease = self.lease(spec, call.received + self.deadline).await?;
        let response = self.post_upstream(&lease, &spec.name, path, body, call).await?;
        Ok((lease, response))
    }

    /// Lets the request begin, with the most that it can cost held.
    async fn admit(
        &self,
        actor: &Actor,
        caller: &Tenancy,
        spec: &ModelSpec,
        meter: &str,
        bound: bounds::Bound,
        call: Call,
    ) -> Result<Ticket, Error> {
        let context = u64::from(self.workers.context_tokens(spec));
        let (prompt_max, output_max) = bound.within(context);
        let ask = Ask {
            tenant: caller.tenant,
            key: actor.key(),
            model: &spec.name,
            request: call.id,
            provider: spec.provider(),
            meter,
            prompt_max,
            output_max,
        };
        self.control.admit_request(ask).await
    }

    /// Who asks for which model, once it is clear that they may.
    async fn find<'a>(&self, actor: &'a Actor, model: &str) -> Result<(&'a Tenancy, Arc<ModelSpec>, ModelRef), Error> {
        let reference: ModelRef = model.parse().map_err(|_| model_not_found(model))?;
        permit(actor, Action::UseModel(&reference.model))?;
        let caller = actor.tenant().ok_or_else(|| Error::internal("a model used without a tenant"))?;
        let spec = self.registry.find(&self.control, &reference.model).await?.ok_or_else(|| model_not_found(model))?;
        let adapter = match &reference.adapter {
            None => None,
            Some(name) => {
                let known = spec
                    .adapters
                    .iter()
                    .find(|adapter| adapter.name.eq_ignore_ascii_case(name.as_str()))
                    .ok_or_else(|| model_not_found(model))?;
                Some(known.name.parse().map_err(Error::internal)?)
            }
        };
        let reference = ModelRef { model: spec.name.clone(), adapter };
        Ok((caller, spec, reference))
    }

    /// Asks a worker of the model, and once more if the one that was asked is found dead before it answered.
    async fn post(
        &self,
        spec: &ModelSpec,
        caller: &Tenancy,
        path: &str,
        body: Vec<u8>,
        call: Call,
    ) -> Result<(Lease, http::Response<WireBody>), Error> {
        let deadline = call.received + self.deadline;
        let body = Bytes::from(body);
        let ask = async |lease: &Lease| {
            let left = deadline.saturating_duration_since(Instant::now());
            let headers = [
                ("x-request-id", call.id.to_string()),
                ("x-freehold-tenant", caller.tenant.to_string()),
                ("x-freehold-weight", caller.weight.to_string()),
                ("x-freehold-deadline-ms", left.as_millis().to_string()),
            ];
            lease.client().post(path, &headers, body.clone()).await
        };
        let mut lease = self.lease(spec, deadline).await?;
        let response = match self.in_time(spec, call, ask(&lease)).await? {
            Ok(response) => response,
            Err(error) => {
                tracing::info!(%error, model = %spec.name, request_id = %call.id, "a worker is gone; the next one is asked");
                if !self.workers.may_ask_again(spec, lease).await {
                    return Err(worker_lost(error.to_string()));
                }
                lease = self.lease(spec, deadline).await?;
                self.in_time(spec, call, ask(&lease)).await?.map_err(|error| worker_lost(error.to_string()))?
            }
        };
        if response.status().is_success() {
            return Ok((lease, response));
        }
        let status = response.status().as_u16();
        let retry_after_s = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = self.in_time(spec, call, read_whole(response.into_body())).await?.map_err(|error| worker_lost(error.to_string()))?;
        let mut error = openai::error::decode(status, &body);
        error.retry_after_s = error.retry_after_s.or(retry_after_s);
        Err(error)
    }

    /// A lease on a model as it is when its turn comes: it may be changed while a request waits.
    async fn lease(&self, spec: &ModelSpec, deadline: Instant) -> Result<Lease, Error> {
        let mut lease = self.workers.lease(spec, deadline).await?;
        loop {
            if let Some(lease) = lease {
                return Ok(lease);
            }
            let now = self.spec(&spec.name).await?;
            if now.upstream.is_some() != spec.upstream.is_some() {
                return Err(model_not_found(spec.name.as_str()));
            }
            lease = self.workers.lease(&now, deadline).await?;
        }
    }

    async fn spec(&self, model: &ModelName) -> Result<Arc<ModelSpec>, Error> {
        self.registry.find(&self.control, model).await?.ok_or_else(|| model_not_found(model.as_str()))
    }

    /// Loads the pinned models, one after the other.
    ///
    /// # Errors
    /// The store cannot be read; a model that does not load is only logged.
    pub async fn load_pinned(&self) -> Result<(), Error> {
        for (row, _) in registry::read_all(&self.control).await? {
            if row.pinned {
                self.load(&row.name).await;
            }
        }
        Ok(())
    }

    /// Loads a model before anyone asks for it; what goes wrong is only logged.
    async fn load(&self, model: &ModelName) {
        let loaded = async { self.lease(&*self.spec(model).await?, Instant::now() + self.deadline).await };
        if let Err(error) = loaded.await {
            tracing::error!(%model, message = error.message, "a pinned model does not load");
        }
    }

    /// Tells a loaded worker of an adapter that was added or removed.
    async fn tell_worker(&self, model: &ModelName, path: &str, body: &serde_json::Value) -> Result<(), Error> {
        self.forget_spec(model);
        let Some(client) = self.workers.loaded(model) else { return Ok(()) };
        let told = tokio::time::timeout(self.deadline, expect_success(&client, path, body)).await;
        told.unwrap_or_else(|_| Err(worker_lost("it did not answer when it was told of an adapter".to_owned())))
    }
}

async fn expect_success(client: &WorkerClient, path: &str, body: &serde_json::Value) -> Result<(), Error> {
    let answer = client.post(path, &[], Bytes::from(body.to_string())).await.map_err(|error| worker_lost(error.to_string()))?;
    let status = answer.status();
    let body = read_whole(answer.into_body()).await.map_err(|error| worker_lost(error.to_string()))?;
    if status.is_success() { Ok(()) } else { Err(openai::error::decode(status.as_u16(), &body)) }
}

fn worker_lost(context: String) -> Error {
    Error::new(ErrorCode::WorkerLost, "The model's worker was lost. It is started again; try again.")
        .with_retry_after_s(1)
        .with_context(context)
}

/// The request that asks a guard model for a judgement.
pub fn judgement_request(model: String, messages: Vec<freehold_dialects::canonical::Message>) -> ChatRequest {
    let sampling = freehold_dialects::canonical::Sampling { temperature: Some(0.0), max_tokens: Some(32), n: 1, ..Default::default() };
    ChatRequest {
        model,
        messages,
        tools: Vec::new(),
        tool_choice: Default::default(),
        parallel_tool_calls: false,
        response_format: ResponseFormat::Text,
        sampling,
        stream: false,
        include_usage: false,
        user: None,
    }
}

/// What a guard model of the Llama Guard family says: `safe`, or `unsafe` and the categories on the next line.
///
/// # Errors
/// It said something else: it is not a guard model.
fn read_verdict(text: &str) -> Result<freehold_dialects::canonical::Verdict, Error> {
    let mut lines = text.trim().lines();
    let flagged = match lines.next().map(str::trim) {
        Some("safe") => false,
        Some("unsafe") => true,
        _ => {
            return Err(Error::new(
                ErrorCode::UnsupportedFeature,
                "The model's answer is not a judgement; use a model of the Llama Guard family.",
            )
            .with_param("model"));
        }
    };
    let categories = lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    Ok(freehold_dialects::canonical::Verdict { flagged, categories })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_of_guard_models() {
        assert!(!read_verdict("\n\nsafe").expect("a verdict").flagged);
        let verdict = read_verdict("unsafe\nS1,S10\n").expect("a verdict");
        assert_eq!((verdict.flagged, verdict.categories), (true, vec!["S1".to_owned(), "S10".to_owned()]));
        assert!(read_verdict("Sure! It is safe.").is_err());
    }
}
