//! Creating calls that a client may repeat with an idempotency key.

use freehold_domain::{Error, Timestamp};
use freehold_store::Once;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::auth::Actor;

const KEY_LEN_MAX: usize = 255;

/// What a client sends with a creating call so that repeating it makes nothing new: 1 to 255 visible ASCII
/// characters, remembered for a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header's text.
    ///
    /// # Errors
    /// When it is empty, too long or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("Idempotency-Key", format!("Idempotency-Key is 1 to {KEY_LEN_MAX} visible ASCII characters.")))
        }
    }

    /// What the store is told. The scope is the caller and the call: a tenant's keys and users share it.
    pub(crate) fn once(&self, actor: &Actor, call: &str, request: &impl Serialize, now: Timestamp) -> Result<Once, Error> {
        let body = serde_json::to_vec(request).map_err(Error::internal)?;
        let caller = match (actor.tenant(), actor.user()) {
            (Some(tenancy), _) => tenancy.tenant.to_string(),
            (None, Some(user)) if !actor.is_operator() => user.to_string(),
            (None, _) => "operator".to_owned(),
        };
        Ok(Once { scope: format!("{caller} {call}"), key: self.0.clone(), request_hash: Sha256::digest(body).into(), now })
    }
}

/// Secrets that were shown to a call with an idempotency key, kept in memory for a short while: the same call, sent
/// again because the answer was lost, gets the same secret. Never on disk. By the id `I` of what the secret `S` opens.
pub(crate) struct ShownSecrets<I, S>(std::sync::Mutex<std::collections::VecDeque<(I, S, Timestamp)>>);

impl<I, S> Default for ShownSecrets<I, S> {
    fn default() -> Self {
        Self(std::sync::Mutex::default())
    }
}

const SHOWN_KEPT_MS: i64 = 10 * 60 * 1000;
const SHOWN_MAX: usize = 1000;

impl<I: Copy + PartialEq, S: Clone> ShownSecrets<I, S> {
    pub(crate) fn keep(&self, key: I, secret: S, now: Timestamp) {
        let mut shown = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shown.retain(|(_, _, at)| at.plus_ms(SHOWN_KEPT_MS) > now);
        if shown.len() >= SHOWN_MAX {
            shown.pop_front();
        }
        shown.push_back((key, secret, now));
    }

    pub(crate) fn find(&self, key: I, now: Timestamp) -> Option<S> {
        let shown = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shown.iter().rev().find(|(id, _, at)| *id == key && at.plus_ms(SHOWN_KEPT_MS) > now).map(|(_, secret, _)| secret.clone())
    }

    pub(crate) fn forget(&self, key: I) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|(id, _, _)| *id != key);
    }
}
