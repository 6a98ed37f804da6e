//! Stored responses: kept when an answer ends, gone on from, shown, listed, exported, deleted, and forgotten in time.
//!
//! What is in a conversation is its tenant's: who may use models for the tenant may read it, operators may not.
//!
//! **Invariant:** a response is committed before the end of its answer leaves the service, and what is there of another
//! tenant answers as if it were not.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use freehold_dialects::canonical::Message;
use freehold_dialects::openai::responses::{ItemsRequest, decode_turn, encode_items};
use freehold_domain::{Error, ErrorCode, KeyId, ResponseId, TenantId};
use freehold_store::{Chain, ChainMax, ResponseHead, ResponseRow};
use futures::Stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Action, Actor, permit};
use crate::billing::Piece;
use crate::facade::Control;
use crate::page::{Page, PageRequest};
use crate::storage::Place;

/// How much of a conversation is read to go on from it.
const CHAIN_MAX: ChainMax = ChainMax { links: 512, bytes: 8 << 20 };
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The form of a line of an export.
const FORMAT: &str = "freehold.response.1";
/// What a caller who has no tenant is asked about: nobody's.
const NOBODYS: TenantId = TenantId::from_uuid(Uuid::nil());

/// A stored response, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredResponse {
    /// Its id.
    #[schema(value_type = String, example = "resp_req_00000000000000000000000000")]
    pub id: ResponseId,
    /// The model, as the request named it.
    pub model: String,
    /// The response that it went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub previous: Option<ResponseId>,
    /// The key that asked; left out for a user who was logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// When it was stored, in RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it will be deleted, in RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Bytes of the response and its input items.
    pub bytes: u64,
}

/// Stored responses of a tenant, and how much it stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredResponses {
    /// The responses, newest first.
    pub data: Vec<StoredResponse>,
    /// What to send as `after` for the next page; left out when this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Bytes that the tenant stores in all.
    pub used_bytes: u64,
    /// Bytes that it may store.
    pub limit_bytes: u64,
    /// Days that a response is stored.
    pub days: u32,
}

impl From<ResponseHead> for StoredResponse {
    fn from(head: ResponseHead) -> Self {
        Self {
            id: head.id,
            model: head.model,
            previous: head.previous_id,
            key: head.key_id,
            created_at: head.created_at.to_string(),
            expires_at: head.expires_at.to_string(),
            bytes: head.bytes,
        }
    }
}

/// An answer that is to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewResponse {
    pub(crate) id: ResponseId,
    pub(crate) tenant: TenantId,
    pub(crate) key: Option<KeyId>,
    pub(crate) previous: Option<ResponseId>,
    pub(crate) model: String,
    /// The items of its input, as a JSON array.
    pub(crate) input: String,
}

fn missing(id: &str) -> Error {
    let id: String = id.chars().take(200).collect();
    Error::new(ErrorCode::NotFound, format!("Response with id '{id}' not found."))
}

fn previous_missing(id: &str) -> Error {
    let message = format!(
        "Previous response with id '{id}' not found: it, or one that it went on from, was not stored, was deleted or has expired. Send \
         the conversation as `input`."
    );
    Error::new(ErrorCode::PreviousResponseNotFound, message).with_param("previous_response_id")
}

fn too_long() -> Error {
    let message = format!(
        "The conversation is longer than {} responses or {} MiB: begin a new one, with what matters of this one as `input`.",
        CHAIN_MAX.links,
        CHAIN_MAX.bytes >> 20
    );
    Error::invalid("previous_response_id", message)
}

impl Control {
    /// Stores an answer in the place that is held for it. When this returns it is on the disk.
    ///
    /// # Errors
    /// `storage_exhausted` for an answer that is larger than its place, where there is no more room.
    pub(crate) async fn keep_response(&self, new: NewResponse, response: String, mut place: Place) -> Result<(), Error> {
        let bytes = (response.len() + new.input.len()) as u64;
        place.widen(self.storage_max(new.tenant, new.key).await?);
        place.reach(bytes)?;
        let now = self.now();
        let head = ResponseHead {
            id: new.id,
            tenant_id: new.tenant,
            key_id: new.key,
            previous_id: new.previous,
            model: new.model,
            created_at: now,
            expires_at: now.plus_ms(i64::from(self.settings().storage.response_days.max(1)) * DAY_MS),
            bytes,
        };
        let row = ResponseRow { head, response_json: response, input_json: new.input };
        let stored = self.store(move |store| {
            store.put_response(&row, place.max())?;
            place.fill(bytes);
            Ok(())
        });
        Ok(stored.await?)
    }

    /// A tenant's conversation up to a response, which is named as a client names it.
    ///
    /// # Errors
    /// `previous_response_not_found`, in the same words for one that is not there and for another tenant's;
    /// `invalid_request` for one that is too long.
    pub(crate) async fn conversation(&self, tenant: TenantId, previous: &str) -> Result<(ResponseId, Vec<Message>), Error> {
        let id: ResponseId = previous.parse().map_err(|_| previous_missing(previous))?;
        let now = self.now();
        let turn = self.shared.storage.read_turn(tenant).await?;
        let previous = previous.to_owned();
        // The texts are read here too: they may be long, and other connections are on the caller's thread.
        let read = self.store(move |store| {
            let _turn = turn;
            let links = match store.response_chain(tenant, id, now, CHAIN_MAX)? {
                Chain::Whole(links) => links,
                Chain::Broken => return Ok(Err(previous_missing(&previous))),
                Chain::TooLong => return Ok(Err(too_long())),
            };
            let mut messages = Vec::with_capacity(links.len() * 2);
            let mut turns = links.iter().map(|link| decode_turn(&link.input_json, &link.output_json, &mut messages));
            Ok(turns.try_for_each(|read| read).map(|()| messages))
        });
        Ok((id, read.await??))
    }

    /// A stored response as the API has it, in JSON.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`.
    pub async fn response(&self, actor: &Actor, id: &str) -> Result<String, Error> {
        self.stored_response(actor, id, |row| Ok(row.response_json)).await
    }

    /// A page of the input items of a stored response, as the API has it, in JSON.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `invalid_request` for a page that is none.
    pub async fn response_items(&self, actor: &Actor, id: &str, request: ItemsRequest) -> Result<String, Error> {
        self.stored_response(actor, id, move |row| Ok(encode_items(&row.input_json, &request)?.to_string())).await
    }

    /// What `show` makes of a stored response, on a thread where that may take its time.
    async fn stored_response(
        &self,
        actor: &Actor,
        text: &str,
        show: impl FnOnce(ResponseRow) -> Result<String, Error> + Send + 'static,
    ) -> Result<String, Error> {
        let tenant = self.storing_tenant(actor, None).await?;
        let id: ResponseId = text.parse().map_err(|_| missing(text))?;
        let now = self.now();
        let turn = self.shared.storage.read_turn(tenant).await?;
        let shown = self.store(move |store| {
            let _turn = turn;
            Ok(store.response(tenant, id, now)?.map(show))
        });
        shown.await?.unwrap_or_else(|| Err(missing(text)))
    }

    /// Deletes a stored response. Responses that went on from it stay, but nobody can go on from them.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`.
    pub async fn delete_response(&self, actor: &Actor, text: &str) -> Result<ResponseId, Error> {
        let tenant = self.storing_tenant(actor, None).await?;
        let id: ResponseId = text.parse().map_err(|_| missing(text))?;
        if self.drop_response(tenant, id).await? { Ok(id) } else { Err(missing(text)) }
    }

    /// Deletes a tenant's response; false when there is none.
    pub(crate) async fn drop_response(&self, tenant: TenantId, id: ResponseId) -> Result<bool, Error> {
        let turn = self.shared.storage.read_turn(tenant).await?;
        // Nobody else has to wait for what is not there.
        if !self.store(move |store| store.has_response(tenant, id)).await? {
            return Ok(false);
        }
        let alone = self.shared.storage.changing().await;
        let storage = Arc::clone(&self.shared.storage);
        let deleted = self.store(move |store| {
            let freed = store.delete_response(tenant, id)?;
            freed.iter().for_each(|freed| storage.free(freed));
            drop((alone, turn));
            Ok(freed.is_some())
        });
        Ok(deleted.await?)
    }

    /// The stored responses of a tenant, newest first, without their content.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `permission_denied`, `invalid_request` for a bad page.
    pub async fn list_responses(&self, actor: &Actor, tenant: Option<&str>, page: &PageRequest) -> Result<StoredResponses, Error> {
        let (limit, before) = page.read::<ResponseId>()?;
        let tenant = self.storing_tenant(actor, tenant).await?;
        let now = self.now();
        let rows = self.store(move |store| store.responses(tenant, before, now, limit + 1)).await?;
        let Page { data, next } = Page::of(rows, limit, |row| row.id.to_string(), StoredResponse::from);
        let (shelf, max) = (self.shelf(tenant, None).await?, self.storage_max(tenant, None).await?);
        let days = self.settings().storage.response_days.max(1);
        Ok(StoredResponses { data, next, used_bytes: shelf.used, limit_bytes: max.tenant, days })
    }

    /// All stored responses of a tenant with their input items, oldest first: a JSON object a line.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `permission_denied`.
    pub async fn export_responses(&self, actor: &Actor, tenant: Option<&str>) -> Result<impl Stream<Item = Piece> + Send + use<>, Error> {
        let tenant = self.storing_tenant(actor, tenant).await?;
        let turn = self.shared.storage.export_turn(tenant)?;
        let begin = Some((self.clone(), turn, None));
        // A line is read when the client takes it: one that is slow keeps no thread.
        Ok(futures::stream::unfold(begin, move |state| async move {
            let (control, turn, after) = state?;
            match control.export_line(tenant, after).await {
                Ok(None) => None,
                Ok(Some((id, line))) => Some((Ok(line), Some((control, turn, Some(id))))),
                Err(error) => {
                    tracing::error!(context = error.context, "an export of responses broke off");
                    // The client sees that the file is not whole.
                    Some((Err(io::Error::other("the export broke off")), None))
                }
            }
        }))
    }

    /// The next line of an export.
    async fn export_line(&self, tenant: TenantId, after: Option<ResponseId>) -> Result<Option<(ResponseId, Bytes)>, Error> {
        let (turn, now) = (self.shared.storage.read_turn(tenant).await?, self.now());
        let read = self.store(move |store| {
            let _turn = turn;
            Ok(store.response_after(tenant, after, now)?.map(|row| (row.head.id, line(&row))))
        });
        Ok(read.await?)
    }

    /// Deletes responses that have expired, some at a time, and forgets the sums of who stores nothing just now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_responses(&self) -> Result<(), Error> {
        const BATCH: u32 = 200;
        const BATCH_BYTES: u64 = 16 << 20;
        const BATCHES_MAX: usize = 200;
        let now = self.now();
        for _ in 0..BATCHES_MAX {
            let alone = self.shared.storage.changing().await;
            let storage = Arc::clone(&self.shared.storage);
            let forgotten = self.store(move |store| {
                let freed = store.forget_responses(now, BATCH, BATCH_BYTES)?;
                freed.iter().for_each(|freed| storage.free(freed));
                storage.forget_idle();
                drop(alone);
                Ok(freed.len())
            });
            if forgotten.await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The tenant whose stored responses are meant, once it is clear that the actor may use them.
    async fn storing_tenant(&self, actor: &Actor, tenant: Option<&str>) -> Result<TenantId, Error> {
        let own = actor.tenant();
        let is_own =
            |text: &str| own.is_some_and(|own| own.tenant.to_string() == text || own.tenant_name.as_str().eq_ignore_ascii_case(text));
        let tenant = match tenant.filter(|text| !is_own(text)) {
            None => own.map_or(NOBODYS, |own| own.tenant),
            Some(text) => self.visible_tenant(actor, text).await?.id,
        };
        permit(actor, Action::UseResponses(tenant))?;
        Ok(tenant)
    }
}

/// A line of an export. What is stored has no line breaks of its own.
fn line(row: &ResponseRow) -> Bytes {
    let (response, items) = (&row.response_json, &row.input_json);
    Bytes::from(format!("{{\"format\":\"{FORMAT}\",\"response\":{response},\"input_items\":{items}}}\n"))
}

#[cfg(test)]
mod tests;
