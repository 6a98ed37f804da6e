//! What an answer must look like: the parts of `response_format` that dialects share.

use freehold_domain::Error;
use serde_json::{Map, Value};

use super::body::{Fields, wrong_type};
use super::function::check_name;

/// A schema with the name that the client gave it.
pub(crate) struct NamedSchema {
    /// 1 to 64 of `[a-zA-Z0-9_-]`.
    pub(crate) name: String,
    /// The schema; without one, any JSON is good.
    pub(crate) schema: Value,
}

/// Reads `name` and `schema`; the caller finishes the fields.
pub(crate) fn decode_schema(fields: &mut Fields) -> Result<NamedSchema, Error> {
    let name = fields.require_string("name")?;
    check_name(&name, &fields.path("name"))?;
    let schema = fields.take("schema").unwrap_or_else(|| Value::Object(Map::new()));
    if !schema.is_object() {
        return Err(wrong_type(&fields.path("schema"), "a JSON Schema (an object)", &schema));
    }
    Ok(NamedSchema { name, schema })
}
