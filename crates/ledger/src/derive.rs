//! Ids that follow from what they stand for, so that doing a thing twice makes the same id twice; and the tag that says
//! which version of a format a stored value is in.
//!
//! **Invariant:** the parts are hashed with their lengths; no two different lists of parts run together.

use freehold_domain::{RequestId, TenantId, TransferId, UsageId};
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

/// The id of the usage record of a request, which sorts beside the request's: what is written at the same time then stands
/// on the same pages of an index, and a database writes few of them instead of one for each record.
pub fn request_usage_id(tenant: TenantId, meter: &str, request: RequestId) -> UsageId {
    let id = usage_id(tenant, meter, &request.to_string(), "");
    UsageId::from_uuid(beside(request.to_uuid(), id.to_uuid()))
}

/// The id of the transfer that charges a usage record; it sorts beside the record's.
pub fn charge_id(usage: UsageId) -> TransferId {
    TransferId::from_uuid(beside(usage.to_uuid(), uuid("freehold.charge", &[&usage.to_string()])))
}

/// The id of the transfer that gives a charge back; it sorts beside the record's.
pub fn fault_credit_id(usage: UsageId) -> TransferId {
    TransferId::from_uuid(beside(usage.to_uuid(), uuid("freehold.fault-credit", &[&usage.to_string()])))
}

/// An id with the first 48 bits of another, which are the time of one that was made in the order of time (version 7).
fn beside(neighbour: Uuid, id: Uuid) -> Uuid {
    let mut bytes = id.into_bytes();
    bytes[..6].copy_from_slice(&neighbour.as_bytes()[..6]);
    Uuid::from_bytes(bytes)
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

/// The text of [`tag`].
pub(crate) fn tagged_text<T: Serialize>(value: &T, format: &str) -> String {
    match serde_json::to_string(value) {
        Ok(fields) if fields.len() > 2 => format!("{{\"format\":\"{format}\",{}", &fields[1..]),
        _ => tag(value, format).to_string(),
    }
}

/// The value behind a tag of this format.
pub(crate) fn untag<T: DeserializeOwned>(value: Value, format: &str) -> Result<T, String> {
    untag_chain(value, format, &[])
}

/// What makes the next version of a format out of the fields of one.
pub(crate) type Upgrade = fn(&mut serde_json::Map<String, Value>);

/// The value behind a tag of this format, or of an older version of it: `older` has each with what makes the next one of
/// it, the oldest first.
pub(crate) fn untag_chain<T: DeserializeOwned>(mut value: Value, format: &str, older: &[(&str, Upgrade)]) -> Result<T, String> {
    let tag = value.as_object_mut().and_then(|fields| fields.shift_remove("format"));
    let tag = tag.as_ref().and_then(Value::as_str).ok_or_else(|| format!("the field `format` is missing; write `{format}`"))?;
    if tag != format {
        let first = older.iter().position(|(known, _)| *known == tag);
        let first = first.ok_or_else(|| format!("the format `{tag}` is not known here; this version reads `{format}`"))?;
        if let Some(fields) = value.as_object_mut() {
            older[first..].iter().for_each(|(_, upgrade)| upgrade(fields));
        }
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_and_the_charge_of_a_request_sort_beside_it() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(7));
        let request = |n: u128| RequestId::from_uuid(Uuid::from_u128((n << 80) | 0x7000_8000_0000_0000_0001));
        let ids: Vec<UsageId> = (1..100).map(|n| request_usage_id(tenant, "chat", request(n))).collect();
        assert!(ids.is_sorted() && ids.iter().map(|id| charge_id(*id)).is_sorted());
        assert_ne!(ids[0], request_usage_id(tenant, "completion", request(1)));
        assert_ne!(charge_id(ids[0]).to_uuid(), fault_credit_id(ids[0]).to_uuid());
        assert_eq!((ids[0].to_uuid().get_version_num(), charge_id(ids[0]).to_uuid().get_version_num()), (8, 8));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(uuid("n", &["ab", "c"]), uuid("n", &["a", "bc"]));
        assert_ne!(uuid("n", &["a", ""]), uuid("n", &["a"]));
        assert_eq!(uuid("n", &["a"]), uuid("n", &["a"]));
        assert_eq!(uuid("n", &["a"]).get_version_num(), 8);
    }
}
