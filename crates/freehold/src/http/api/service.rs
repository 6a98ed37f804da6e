//! The service itself: what runs where, who the caller is, and the OpenAPI document.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::response::Response;
use freehold_control::auth::{Action, permit};
use freehold_control::{Actor, By};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Refused;
use crate::http::App;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;
use crate::http::stream;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(whoami)).routes(routes!(openapi))
}

/// What the service is doing.
#[derive(Serialize, ToSchema)]
struct Status {
    /// Of the program.
    version: &'static str,
    /// Where it listens.
    address: String,
    /// Seconds since the start.
    uptime_s: u64,
    /// HTTP requests answered since the start.
    requests: u64,
    /// Memory for models.
    memory: Memory,
    /// What models can be put on; empty until it is known.
    devices: Vec<Device>,
    /// The workers.
    workers: Vec<Worker>,
}

#[derive(Serialize, ToSchema)]
struct Memory {
    /// For all models together.
    budget_bytes: u64,
    /// Of it, reserved for models that are loaded.
    reserved_bytes: u64,
}

#[derive(Serialize, ToSchema)]
struct Device {
    /// llama.cpp's name of it.
    name: String,
    /// What it is.
    description: String,
    /// `cpu`, `gpu`, `integrated-gpu` or `accelerator`.
    kind: String,
    /// All of its memory.
    memory_bytes: u64,
    /// What is free of it.
    memory_free_bytes: u64,
}

#[derive(Serialize, ToSchema)]
struct Worker {
    /// The model.
    model: String,
    /// `starting`, `ready`, `draining`, `stopping` or `failed`.
    state: &'static str,
    /// Requests that use it now.
    requests: u32,
    /// Memory reserved for it.
    memory_bytes: u64,
    /// Tokens of KV cache.
    context_tokens: Option<u32>,
    /// Where its layers are.
    placement: Vec<Placement>,
    /// Its process.
    pid: Option<u32>,
    /// How often it was lost.
    crashes: u32,
    /// Milliseconds that its load took.
    load_ms: Option<u64>,
    /// Why it failed.
    failure: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Placement {
    /// The device.
    device: String,
    /// How many layers.
    layers: u32,
}

impl From<freehold_control::workers::WorkerStatus> for Worker {
    fn from(status: freehold_control::workers::WorkerStatus) -> Self {
        let placement = status.ready.iter().flat_map(|ready| &ready.placement);
        Self {
            model: status.model.to_string(),
            state: status.state,
            requests: status.requests,
            memory_bytes: status.memory_bytes,
            context_tokens: status.ready.as_ref().map(|ready| ready.context_tokens),
            placement: placement.map(|place| Placement { device: place.device.clone(), layers: place.layers }).collect(),
            pid: status.pid,
            crashes: status.crashes,
            load_ms: status.ready.as_ref().map(|ready| ready.load_ms),
            failure: status.failure,
        }
    }
}

/// Shows what the service is doing.
#[utoipa::path(get, path = "/status", tag = "service", responses((status = 200, body = Status), (status = "default", body = Refused)))]
async fn status(State(app): State<App>, Caller(actor): Caller) -> Result<JsonBody<Status>, Refusal> {
    permit(&actor, Action::SeeService)?;
    let (budget_bytes, reserved_bytes) = app.serving.workers().memory();
    let device = |device: &freehold_inference::order::Device| Device {
        name: device.name.clone(),
        description: device.description.clone(),
        kind: device.kind.clone(),
        memory_bytes: device.memory_bytes,
        memory_free_bytes: device.memory_free_bytes,
    };
    Ok(JsonBody(Status {
        version: env!("CARGO_PKG_VERSION"),
        address: app.facts.address.clone(),
        uptime_s: app.facts.started.elapsed().as_secs(),
        requests: app.serving.metrics().requests(),
        memory: Memory { budget_bytes, reserved_bytes },
        devices: app.facts.devices.borrow().iter().map(device).collect(),
        workers: app.serving.workers().status().into_iter().map(Into::into).collect(),
    }))
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
struct WhoAmI {
    /// `operator`; `tenant` for a tenant's key; for a user what it is in the tenant: `owner`, `developer`, `billing`,
    /// `viewer`, or `none` without a tenant.
    role: &'static str,
    /// The key that was sent.
    key: Option<String>,
    /// The user who is logged in.
    user: Option<String>,
    /// The user's address.
    email: Option<String>,
    /// The tenant's id.
    tenant: Option<String>,
    /// The tenant's name.
    tenant_name: Option<String>,
    /// The models that the key may use; null: all.
    models: Option<Vec<String>>,
    /// What the key is good for; null: everything that a key can do.
    scopes: Option<Vec<&'static str>>,
}

/// Says who the caller is.
#[utoipa::path(get, path = "/whoami", tag = "service", responses((status = 200, body = WhoAmI), (status = "default", body = Refused)))]
async fn whoami(Caller(actor): Caller) -> JsonBody<WhoAmI> {
    let role = match &actor {
        Actor::Operator { .. } => "operator",
        Actor::Tenant(_) => "tenant",
        Actor::User(caller) => caller.membership.as_ref().map_or("none", |(_, role)| role.as_str()),
    };
    let email = match actor.by() {
        By::Key(_) => None,
        By::User(_, email) => Some(email.to_string()),
    };
    let (models, scopes) = match &actor {
        Actor::Tenant(caller) => (caller.models.as_ref(), caller.scopes.as_ref()),
        Actor::Operator { .. } | Actor::User(_) => (None, None),
    };
    JsonBody(WhoAmI {
        role,
        key: actor.key().map(|key| key.to_string()),
        user: actor.user().map(|user| user.to_string()),
        email,
        tenant: actor.tenant().map(|tenancy| tenancy.tenant.to_string()),
        tenant_name: actor.tenant().map(|tenancy| tenancy.tenant_name.to_string()),
        models: models.map(|models| models.iter().map(ToString::to_string).collect()),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect()),
    })
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()), responses((status = 200, description = "The OpenAPI document.")))]
async fn openapi() -> Result<Response, Refusal> {
    let (_, document) = super::routes();
    let text = document.to_json().map_err(freehold_domain::Error::internal)?;
    Ok(stream::json(text))
}
