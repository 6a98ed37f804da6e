//! Ids that follow from what they stand for, so that doing a thing twice makes the same id twice; and the tag that says
//! which version of a format a stored value is in.
//!
//! **Invariant:** the parts are hashed with their lengths; no two different lists of parts run together.

use freehold_domain::{TenantId, TransferId, UsageId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// A UUID (version 8, RFC 9562) that is the SHA-256 of what it names.
pub fn uuid(namespace: &str, parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in std::iter::once(&namespace).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The id of a usage record: which meter (`chat`, `instance`), of which resource (a request, an instance), in which
/// period (empty for a request; the start of the hour for what runs on).
pub fn usage_id(tenant: TenantId, meter: &str, resource: &str, period: &str) -> UsageId {
    UsageId::from_uuid(uuid("freehold.usage", &[&tenant.to_string(), meter, resource, period]))
}

/// The id of the transfer that charges a usage record.
pub fn charge_id(usage: UsageId) -> TransferId {
    TransferId::from_uuid(uuid("freehold.charge", &[&usage.to_string()]))
}

/// The id of the transfer that gives a charge back.
pub fn fault_credit_id(usage: UsageId) -> TransferId {
    TransferId::from_uuid(uuid("freehold.fault-credit", &[&usage.to_string()]))
}

/// The id of the transfer that a caller's idempotency key stands for.
pub fn transfer_id(tenant: TenantId, action: &str, idempotency_key: &str) -> TransferId {
    TransferId::from_uuid(uuid("freehold.transfer", &[&tenant.to_string(), action, idempotency_key]))
}

/// A value as JSON with the tag of its format in front.
pub(crate) fn tag<T: Serialize>(value: &T, format: &str) -> Value {
    let mut tagged = serde_json::Map::new();
    tagged.insert("format".to_owned(), format.into());
    // The formats here are structs with text as keys: they are always objects.
    if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
        tagged.extend(fields);
    }
    Value::Object(tagged)
}

/// The value behind a tag of this format.
pub(crate) fn untag<T: DeserializeOwned>(mut value: Value, format: &str) -> Result<T, String> {
    let tag = value.as_object_mut().and_then(|fields| fields.shift_remove("format"));
    match tag.as_ref().and_then(Value::as_str) {
        Some(tag) if tag == format => serde_json::from_value(value).map_err(|error| error.to_string()),
        Some(tag) => Err(format!("the format `{tag}` is not known here; this version reads `{format}`")),
        None => Err(format!("the field `format` is missing; write `{format}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(uuid("n", &["ab", "c"]), uuid("n", &["a", "bc"]));
        assert_ne!(uuid("n", &["a", ""]), uuid("n", &["a"]));
        assert_eq!(uuid("n", &["a"]), uuid("n", &["a"]));
        assert_eq!(uuid("n", &["a"]).get_version_num(), 8);
    }
}
