//! The head of the OpenAPI document, and what every route shares.

use serde::Serialize;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::http::caller::SESSION_COOKIE;

/// The document without its routes.
pub fn head() -> Document {
    Head::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Freehold", description = "Freehold's own API: tenants, people, keys, models, operations.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    modifiers(&Key),
    security(("key" = []), ("session" = [])),
    components(schemas(Refused))
)]
struct Head;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: `fh-...` of a tenant, `fho-...` of the operator."))
            .build();
        let cookie = ApiKeyValue::with_description(
            SESSION_COOKIE,
            "Set by POST /api/v1/session. Every method but GET and HEAD takes the header `x-csrf-token` too; `x-freehold-tenant` says which tenant is meant.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// How every error looks.
#[derive(Serialize, ToSchema)]
pub struct Refused {
    error: RefusedWhy,
}

/// What is wrong and what to do.
#[derive(Serialize, ToSchema)]
struct RefusedWhy {
    /// A code of the table in docs/errors.
    #[schema(example = "not_found")]
    code: String,
    /// For a person.
    message: String,
    /// The field that is wrong.
    param: Option<String>,
    /// The page about this error.
    docs: String,
    /// The request, as the log names it.
    request_id: String,
}
