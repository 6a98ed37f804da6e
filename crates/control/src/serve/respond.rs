//! Answers that go on from stored ones, and that are stored themselves.
//!
//! The conversation so far is put before the input before anything is reckoned, so that it counts in every bound. Room for
//! the answer is held before the model begins: its input, what it repeats of the request, and the most bytes that its
//! tokens can be. An answer that turns out larger all the same takes what room there is, or fails.
//!
//! **Invariant:** an answer says `store: true` only with room held for it, and ends only after it is on the disk.

use freehold_dialects::canonical::{AnswerHead, ChatEvent};
use freehold_dialects::openai::responses::{Asked, Echo, Gathering};
use freehold_domain::{Error, ErrorCode, ResponseId, TenantId};
use serde_json::Value;

use super::answer::Answer;
use super::{Call, Serving, bounds};
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
use crate::responses::NewResponse;
use crate::storage::Place;

/// Bytes of a token in a JSON text, at most: the longest of Llama's tokens have 128, and what must be escaped is shorter.
const TOKEN_BYTES: u64 = 128;
/// Bytes of a token with its probability: its text, its bytes one by one, two names.
const LOGPROB_BYTES: u64 = 1024;
/// Bytes of what stands around the text of an answer: an item, the account of its tokens.
const FRAME_BYTES: u64 = 1024;

/// What will be stored, and where.
struct Draft {
    new: NewResponse,
    place: Place,
}

/// Gathers an answer while it is made, and stores it at its end.
pub(super) struct Keeper {
    control: Control,
    gathering: Gathering,
    draft: Draft,
}

/// An answer that is stored.
pub(super) struct Kept {
    control: Control,
    tenant: TenantId,
    id: ResponseId,
    text: String,
}

impl Keeper {
    /// Takes in what goes out.
    pub(super) fn see(&mut self, events: &[ChatEvent]) {
        events.iter().for_each(|event| self.gathering.see(event));
    }

    /// Stores the answer.
    pub(super) async fn put(self) -> Result<Kept, Error> {
        let text = self.gathering.response();
        let (id, tenant) = (self.draft.new.id, self.draft.new.tenant);
        self.control.keep_response(self.draft.new, text.clone(), self.draft.place).await?;
        Ok(Kept { control: self.control, tenant, id, text })
    }
}

impl Kept {
    /// The response object, which is what a client is to get.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Takes back what was stored of an answer that failed after all.
    pub(super) async fn take_back(self) {
        if let Err(error) = self.control.drop_response(self.tenant, self.id).await {
            tracing::error!(id = %self.id, context = error.context, "a failed answer stays stored");
        }
    }
}

impl Serving {
    /// Answers a request of the Responses API, and says what the answer repeats of it.
    ///
    /// # Errors
    /// Everything that can be known before the first token; `previous_response_not_found`, and `storage_exhausted` for a
    /// request that asks to be stored.
    pub async fn respond(&self, actor: &Actor, mut asked: Asked, call: Call) -> Result<(Answer, Echo), Error> {
        if asked.store == Some(false) && asked.previous.is_none() {
            return Ok((self.chat(actor, asked.request, call).await?, asked.echo));
        }
        let (caller, spec, _) = self.find(actor, &asked.request.model).await?;
        permit(actor, Action::UseResponses(caller.tenant))?;
        let mut previous = None;
        if let Some(text) = &asked.previous {
            let (id, so_far) = self.control.conversation(caller.tenant, text).await?;
            asked.follow(so_far);
            previous = Some(id);
        }
        let draft = match asked.store {
            Some(false) => None,
            wish => {
                let context = u64::from(self.workers.context_tokens(&spec));
                let (_, tokens) = bounds::chat(&asked.request).within(context);
                let drafted = self.draft(actor, &mut asked, previous, tokens, call).await;
                match drafted {
                    Err(error) if wish.is_none() && error.code == ErrorCode::StorageExhausted => None,
                    other => Some(other?),
                }
            }
        };
        asked.echo.set_store(draft.is_some());
        let mut answer = self.chat(actor, asked.request, call).await?;
        if let Some(draft) = draft {
            let gathering = Gathering::new(answer.head.clone(), asked.echo.clone());
            answer.keep(Keeper { control: self.control.clone(), gathering, draft });
        }
        Ok((answer, asked.echo))
    }

    /// Holds room for the answer.
    async fn draft(&self, actor: &Actor, asked: &mut Asked, previous: Option<ResponseId>, tokens: u64, call: Call) -> Result<Draft, Error> {
        let tenant = crate::auth::own_tenant(actor)?;
        let model = asked.request.model.clone();
        let head = AnswerHead { id: call.id.to_string(), model: model.clone(), created_s: self.control.now().unix_s() };
        let input = Value::Array(asked.stored_items(&head.id)).to_string();
        let repeated = Gathering::new(head, asked.echo.clone()).response().len();
        let a_token = TOKEN_BYTES + asked.request.sampling.logprobs.map_or(0, |top| (u64::from(top) + 1) * LOGPROB_BYTES);
        let bytes = tokens.saturating_mul(a_token).saturating_add((input.len() + repeated) as u64 + FRAME_BYTES);
        let place = self.control.hold_storage(tenant, actor.key(), bytes).await?;
        let id = ResponseId::from_uuid(call.id.to_uuid());
        Ok(Draft { new: NewResponse { id, tenant, key: actor.key(), previous, model, input }, place })
    }
}
