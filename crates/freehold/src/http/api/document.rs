//! The head of the OpenAPI document, and what every route shares.

use serde::Serialize;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Response};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::http::caller::SESSION_COOKIE;

/// The document without its routes.
pub fn head() -> Document {
    Head::openapi()
}

/// Names the headers that every answer has, and those that refusals may have.
pub fn add_headers(document: &mut Document) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response {
                describe(status, response);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn describe(status: &str, response: &mut Response) {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^req_[0-9a-z]{26}$"));
    let name = header("The request, as the log names it.", text);
    response.headers.insert("x-request-id".to_owned(), name);
    if status == "default" {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let wait = header("In how many seconds to try again, where that is known.", seconds);
        response.headers.insert("retry-after".to_owned(), wait);
    }
}

fn header(description: &str, schema: ObjectBuilder) -> Header {
    HeaderBuilder::new().schema(schema).description(Some(description)).build()
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
