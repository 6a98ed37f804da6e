//! The head of the OpenAPI document, and what every route shares.

use serde::Serialize;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

/// The document without its routes.
pub fn head() -> Document {
    Head::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Freehold", description = "Freehold's own API: tenants, keys, models, operations.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    modifiers(&Key),
    security(("key" = [])),
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
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
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
