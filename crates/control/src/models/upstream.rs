//! A model that another server serves: looked at before it is added, and added with its key sealed.
//!
//! **Invariant:** the key leaves this module in two ways only: sealed, to the store, and as a header, to the server that
//! it is for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use freehold_domain::{Error, ErrorCode, ModelId, ModelName, OperationId, TenantId};
use freehold_store::{StoreError, UpstreamRow};
use http::{HeaderValue, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::add::name_taken;
use super::view::ModelView;
use crate::auth::Actor;
use crate::facade::Control;
use crate::operations::Live;
use crate::workers::{UpstreamSpec, WorkerClient};

/// Header of `/healthz` that tells one service from another.
pub const INSTANCE_HEADER: &str = "x-freehold-instance";

const URL_BYTES_MAX: usize = 2048;
const KEY_BYTES_MAX: usize = 4096;
const MODEL_BYTES_MAX: usize = 256;
const PROVIDER_BYTES_MAX: usize = 64;
const CA_BYTES_MAX: usize = 256 << 10;
const PARALLEL_DEFAULT: u32 = 256;
const PARALLEL_MAX: u32 = 10_000;
const QUEUE_DEFAULT: u32 = 1024;
const QUEUE_MAX: u32 = 100_000;
const CONTEXT_MAX: u32 = 100_000_000;
/// How long the server may take to list its models.
const LOOK_PATIENCE: Duration = Duration::from_secs(15);
/// Names that an error lists.
const NAMES_SHOWN: usize = 8;

/// A server that is to serve a model: vLLM, or any other with an API of OpenAI's shape.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpstream {
    /// The address of its API: what SDKs call the base URL.
    #[schema(example = "http://gpu1:8000/v1")]
    pub url: String,
    /// Its own name of the model; left out: the only one that it has, or the one with the name of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The key to it; kept sealed and never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub api_key: Option<String>,
    /// Longest prompt and answer together, in tokens; left out: what it says itself (vLLM does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// Who fulfils, as usage records name it; left out: `upstream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Most requests at the same time; left out: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_max: Option<u32>,
    /// Most requests that wait for their turn; left out: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_max: Option<u32>,
    /// Certificates in PEM that it may be signed by, beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// It is vLLM, or takes `cache_salt` as vLLM does: send another salt for each tenant, so that no tenant finds the
    /// cached prefixes of another.
    #[serde(default)]
    pub cache_salt: bool,
}

impl fmt::Debug for NewUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUpstream")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("api_key", &self.api_key.as_ref().map(|_| "(set)"))
            .finish_non_exhaustive()
    }
}

/// The server that serves a model, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamView {
    /// The address of its API.
    pub url: String,
    /// Its own name of the model.
    pub model: String,
    /// Who fulfils, as usage records name it.
    pub provider: String,
    /// Whether it is asked with a key.
    pub has_key: bool,
    /// Most requests at the same time.
    pub parallel_max: u32,
    /// Most requests that wait for their turn.
    pub queue_max: u32,
    /// Whether tenants' cached prefixes are kept apart by `cache_salt`.
    pub cache_salt: bool,
}

impl From<&UpstreamRow> for UpstreamView {
    fn from(row: &UpstreamRow) -> Self {
        Self {
            url: row.url.clone(),
            model: row.model.clone(),
            provider: row.provider.clone(),
            has_key: row.sealed_key.is_some(),
            parallel_max: row.parallel_max,
            queue_max: row.queue_max,
            cache_salt: row.cache_salt,
        }
    }
}

/// A request that was checked.
#[derive(Clone)]
pub(super) struct UpstreamPlan {
    pub name: ModelName,
    new: NewUpstream,
    spec: UpstreamSpec,
}

/// What a server says of a model that it has.
struct Offered {
    id: String,
    context_tokens: Option<u32>,
}

impl UpstreamPlan {
    /// Checks what can be checked without asking the server.
    pub fn read(name: Option<&str>, new: &NewUpstream) -> Result<Self, Error> {
        let name = name.ok_or_else(|| Error::invalid("name", "Give the model a name (`name`): requests use it."))?;
        let name: ModelName = name.parse().map_err(|error| Error::invalid("name", format!("{error}.")))?;
        let provider = new.provider.as_deref().unwrap_or("upstream");
        if provider == "own" {
            return Err(Error::invalid("upstream.provider", "`own` is the service itself: choose another name."));
        }
        check_word("upstream.provider", provider, PROVIDER_BYTES_MAX)?;
        if let Some(model) = &new.model {
            check_word("upstream.model", model, MODEL_BYTES_MAX)?;
        }
        if new.ca_pem.as_ref().is_some_and(|pem| pem.len() > CA_BYTES_MAX) {
            return Err(Error::invalid("upstream.ca_pem", format!("The certificates have more than {CA_BYTES_MAX} bytes.")));
        }
        let spec = UpstreamSpec {
            url: address(&new.url)?,
            model: new.model.clone().unwrap_or_default(),
            provider: provider.to_owned(),
            authorization: new.api_key.as_deref().map(authorization).transpose()?,
            ca_pem: new.ca_pem.clone(),
            parallel_max: within("upstream.parallel_max", new.parallel_max.unwrap_or(PARALLEL_DEFAULT), 1, PARALLEL_MAX)?,
            queue_max: within("upstream.queue_max", new.queue_max.unwrap_or(QUEUE_DEFAULT), 0, QUEUE_MAX)?,
            cache_salt: new.cache_salt,
        };
        if let Some(tokens) = new.context_tokens {
            within("upstream.context_tokens", tokens, 1, CONTEXT_MAX)?;
        }
        spec.client()?;
        Ok(Self { name, new: new.clone(), spec })
    }

    /// The model of the server that is meant, and its context in tokens.
    fn choose(&self, offered: &[Offered]) -> Result<(String, u32), Error> {
        let find = |wanted: &str| offered.iter().find(|one| one.id == wanted);
        let chosen = match (&self.new.model, offered) {
            (Some(wanted), _) => find(wanted).or_else(|| offered.iter().find(|one| one.id.ends_with(&format!("/{wanted}")))),
            (None, [only]) => Some(only),
            (None, _) => offered.iter().find(|one| one.id.eq_ignore_ascii_case(self.name.as_str())),
        };
        let Some(chosen) = chosen else {
            let names: Vec<&str> = offered.iter().take(NAMES_SHOWN).map(|one| one.id.as_str()).collect();
            let more = if offered.len() > NAMES_SHOWN { ", and others" } else { "" };
            let which = self
                .new
                .model
                .as_ref()
                .map_or_else(|| "Say which of its models is meant".to_owned(), |id| format!("It has no model `{id}`"));
            let message = format!("{which} (`--upstream-model`, `upstream.model`): it has {}{more}.", names.join(", "));
            return Err(Error::invalid("upstream.model", message));
        };
        let context = self.new.context_tokens.or(chosen.context_tokens).ok_or_else(|| {
            let message = "The server does not say how long its context is: say it (`--context-tokens`, `upstream.context_tokens`).";
            Error::invalid("upstream.context_tokens", message)
        })?;
        Ok((chosen.id.clone(), context))
    }
}

fn check_word(param: &str, text: &str, bytes_max: usize) -> Result<(), Error> {
    if (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Error::invalid(param, format!("`{param}` has 1 to {bytes_max} bytes and no control characters.")))
    }
}

fn within(param: &str, value: u32, least: u32, most: u32) -> Result<u32, Error> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(Error::invalid(param, format!("`{param}` is {least} to {most}."))) }
}

/// The address without a slash at its end, if it is one that can be asked.
fn address(text: &str) -> Result<String, Error> {
    let bad = |why: &str| Error::invalid("upstream.url", format!("The address {why}. Give one like `http://gpu1:8000/v1`."));
    if text.len() > URL_BYTES_MAX {
        return Err(bad("is too long"));
    }
    let uri: Uri = text.trim().parse().map_err(|_| bad("is none"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("does not begin with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| bad("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("holds a user or a password: give a key instead"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(bad("has a query or a fragment"));
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

fn authorization(key: &str) -> Result<HeaderValue, Error> {
    let bad = || Error::invalid("upstream.api_key", format!("A key is 1 to {KEY_BYTES_MAX} visible ASCII characters."));
    let key = key.trim();
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

/// How the server of a stored upstream is asked.
pub(crate) fn spec(control: &Control, row: &UpstreamRow) -> Result<UpstreamSpec, Error> {
    let key = row.sealed_key.as_ref().map(|sealed| control.shared.seal.read(&row.id.to_string(), sealed)).transpose()?;
    Ok(UpstreamSpec {
        url: row.url.clone(),
        model: row.model.clone(),
        provider: row.provider.clone(),
        authorization: key.as_deref().map(authorization).transpose()?,
        ca_pem: row.ca_pem.clone(),
        parallel_max: row.parallel_max,
        queue_max: row.queue_max,
        cache_salt: row.cache_salt,
    })
}

impl Control {
    /// Looks at the server and writes the model down.
    pub(super) async fn add_upstream(&self, plan: UpstreamPlan, operation: OperationId, live: &Arc<Live>) -> Result<(), Error> {
        live.tell(100, format!("asking {}", plan.spec.url));
        let client = plan.spec.client()?;
        let look = async {
            self.check_no_loop(&plan.spec.url, &client).await?;
            list(&plan.spec.url, &client).await
        };
        let offered = tokio::time::timeout(LOOK_PATIENCE, look)
            .await
            .map_err(|_| failed(format!("{} did not list its models within {} seconds.", plan.spec.url, LOOK_PATIENCE.as_secs())))??;
        let (model, context_length) = plan.choose(&offered)?;
        live.tell(900, "writing it down");
        let id = ModelId::from_uuid(self.new_uuid());
        let key = plan.new.api_key.as_deref().map(str::trim);
        let row = UpstreamRow {
            id,
            name: plan.name.clone(),
            url: plan.spec.url,
            model,
            provider: plan.spec.provider,
            sealed_key: key.map(|key| self.shared.seal.close(&id.to_string(), key)).transpose()?,
            ca_pem: plan.spec.ca_pem,
            context_length,
            parallel_max: plan.spec.parallel_max,
            queue_max: plan.spec.queue_max,
            cache_salt: plan.spec.cache_salt,
            added_at: self.now(),
        };
        let result = serde_json::to_string(&self.upstream_view(row.clone(), true)).map_err(Error::internal)?;
        let now = self.now();
        let created = self.store(move |store| store.create_upstream(&row, operation, &result, now)).await;
        created.map_err(|error| if matches!(error, StoreError::Exists(_)) { name_taken(&plan.name) } else { error.into() })?;
        self.shared.hooks.changed(&plan.name);
        Ok(())
    }

    /// A service that asks itself asks itself for ever.
    async fn check_no_loop(&self, url: &str, client: &WorkerClient) -> Result<(), Error> {
        // A server without the page is another one; one that cannot be reached fails when it is asked for its models.
        let Ok(answer) = client.get_outside("/healthz").await else { return Ok(()) };
        let says = answer.headers().get(INSTANCE_HEADER).and_then(|value| value.to_str().ok());
        if says == Some(self.instance().as_str()) {
            let message = format!("{url} is this service itself: give the address of the server that has the model.");
            return Err(Error::invalid("upstream.url", message));
        }
        Ok(())
    }

    pub(crate) fn upstream_view(&self, row: UpstreamRow, for_operator: bool) -> ModelView {
        let state = self.shared.hooks.host().map(|host| host.state(&row.name)).filter(|state| state != "unloaded");
        ModelView::of_upstream(row, state.unwrap_or_else(|| "ready".to_owned()), for_operator)
    }

    /// Every upstream.
    pub(crate) async fn upstreams(&self) -> Result<Vec<UpstreamRow>, Error> {
        Ok(self.store(|store| store.upstreams()).await?)
    }

    /// What an upstream knows a tenant by.
    pub(crate) fn pseudonym(&self, tenant: TenantId) -> String {
        self.shared.seal.pseudonym(&tenant.to_string())
    }

    /// The upstream that this name means, if it means one. Whether the actor may see it was asked before.
    pub(super) async fn find_upstream(&self, name: &ModelName) -> Result<Option<UpstreamRow>, Error> {
        let name = name.clone();
        Ok(self.store(move |store| store.upstream(&name)).await?)
    }

    pub(super) async fn remove_upstream(&self, actor: &Actor, row: UpstreamRow) -> Result<ModelView, Error> {
        let details = serde_json::json!({"name": row.name.as_str()});
        let event = self.event(Some(&actor.by()), None, "model.removed", &row.id.to_string(), details);
        let (id, name) = (row.id, row.name.clone());
        let view = self.upstream_view(row, true);
        self.store(move |store| store.delete_upstream(id, Some(&event))).await?;
        self.shared.hooks.changed(&name);
        Ok(view)
    }
}

fn failed(message: String) -> Error {
    Error::new(ErrorCode::UpstreamFailed, message)
}

/// The models that the server has.
async fn list(url: &str, client: &WorkerClient) -> Result<Vec<Offered>, Error> {
    let answer = client.get("/v1/models").await;
    let (status, body) = answer.map_err(|error| failed(format!("{url} cannot be reached: {}.", causes(&error))))?;
    match status {
        200 => {}
        401 | 403 => return Err(failed(format!("{url} refuses the key (HTTP status {status}): check --api-key-file or --api-key-env."))),
        404 => return Err(failed(format!("{url}/models is not there (HTTP status 404): the address usually ends in `/v1`."))),
        other => return Err(failed(format!("{url}/models answered with HTTP status {other}."))),
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let models =
        value["data"].as_array().ok_or_else(|| failed(format!("{url}/models is no list of models: is it an API of OpenAI's shape?")))?;
    let offered = |model: &Value| {
        let context = ["max_model_len", "context_length", "context_window"].iter().find_map(|name| model[*name].as_u64());
        let context_tokens = context.and_then(|tokens| u32::try_from(tokens).ok()).filter(|tokens| (1..=CONTEXT_MAX).contains(tokens));
        Some(Offered { id: model["id"].as_str()?.to_owned(), context_tokens })
    };
    let offered: Vec<Offered> = models.iter().filter_map(offered).collect();
    if offered.is_empty() { Err(failed(format!("{url}/models is empty: the server has no model."))) } else { Ok(offered) }
}

/// An error and what it comes from, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str, model: Option<&str>) -> Result<UpstreamPlan, Error> {
        UpstreamPlan::read(Some("m"), &NewUpstream { url: url.to_owned(), model: model.map(str::to_owned), ..NewUpstream::default() })
    }

    #[test]
    fn addresses_are_checked_and_tidied() {
        assert_eq!(plan("http://gpu1:8000/v1/", None).expect("good").spec.url, "http://gpu1:8000/v1");
        for bad in
            ["", "gpu1:8000", "/v1", "ftp://x/v1", "http://user:pw@x/v1", "http://x/v1?k=1", "http://x/v1#a", "http://", "http://x y/"]
        {
            let error = plan(bad, None).err().unwrap_or_else(|| panic!("{bad:?} is taken"));
            assert_eq!(error.param.as_deref(), Some("upstream.url"), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let new = NewUpstream { url: "http://x/v1".to_owned(), api_key: Some("sk-secret".to_owned()), ..NewUpstream::default() };
        let plan = UpstreamPlan::read(Some("m"), &new).expect("good");
        assert!(!format!("{new:?} {:?}", plan.spec).contains("sk-secret"));
        assert!(UpstreamPlan::read(Some("m"), &NewUpstream { api_key: Some("a\nb".to_owned()), ..new }).is_err());
    }

    #[test]
    fn the_model_is_found_or_the_choice_is_shown() {
        let offered = |ids: &[(&str, Option<u32>)]| -> Vec<Offered> {
            ids.iter().map(|(id, context)| Offered { id: (*id).to_owned(), context_tokens: *context }).collect()
        };
        let any = plan("http://x/v1", None).expect("good");
        assert_eq!(any.choose(&offered(&[("a/b", Some(100))])).expect("the only one"), ("a/b".to_owned(), 100));
        assert_eq!(any.choose(&offered(&[("a", Some(1)), ("m", Some(2))])).expect("its name"), ("m".to_owned(), 2));
        let message = any.choose(&offered(&[("a", Some(1)), ("b", None)])).expect_err("which").message;
        assert!(message.contains("a, b"), "{message}");
        assert!(any.choose(&offered(&[("a", None)])).expect_err("no context").message.contains("--context-tokens"));
        let named = plan("http://x/v1", Some("c")).expect("good");
        assert!(named.choose(&offered(&[("a", Some(1))])).expect_err("none").message.contains("no model `c`"));
    }
}
