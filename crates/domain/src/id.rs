//! Typed ids: a prefix that says what it is, then 26 characters of Crockford base 32.
//!
//! An id is 128 bits made by the caller (UUIDv7, so ids sort by time of creation). Text and value convert both
//! ways without loss; anything else is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {article} {what} id: expected `{prefix}_` and 26 characters, got `{got}`")]
pub struct IdError {
    article: &'static str,
    what: &'static str,
    prefix: &'static str,
    got: String,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

/// Ids are written many times a request: their text is made without memory of its own.
fn encode(value: u128) -> [u8; TEXT_LEN] {
    std::array::from_fn(|place| ALPHABET[((value >> ((TEXT_LEN - 1 - place) * 5)) & 31) as usize])
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)? as u128;
        if place == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | digit;
    }
    Some(value)
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $article:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id of 128 bits that the caller chose.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid.as_u128())
            }

            /// The 128 bits.
            pub const fn to_uuid(self) -> Uuid {
                Uuid::from_u128(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                f.write_str(concat!($prefix, "_"))?;
                // The alphabet is ASCII.
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| IdError {
                        article: $article,
                        what: $what,
                        prefix: $prefix,
                        got: text.chars().take(64).collect(),
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(
    /// A tenant: the unit of isolation and billing.
    TenantId, "ten", "a", "tenant"
);
typed_id!(
    /// An API key. The id is public; the secret is not part of it.
    KeyId, "key", "a", "key"
);
typed_id!(
    /// A model in the catalogue of this service.
    ModelId, "mod", "a", "model"
);
typed_id!(
    /// A LoRA adapter of a model.
    AdapterId, "ada", "an", "adapter"
);
typed_id!(
    /// A long-running operation: a download, a quantization.
    OperationId, "op", "an", "operation"
);
typed_id!(
    /// One request to an API.
    RequestId, "req", "a", "request"
);
typed_id!(
    /// A stored response: it has the bits of the request that it answers.
    ResponseId, "resp_req", "a", "response"
);

typed_id!(
    /// A person who logs in.
    UserId, "usr", "a", "user"
);
typed_id!(
    /// An invitation: to a tenant, or a code that lets someone sign up.
    InviteId, "ivt", "an", "invite"
);
typed_id!(
    /// A place on the waiting list.
    WaitingId, "wait", "a", "waiting list"
);
typed_id!(
    /// An event of the audit trail.
    EventId, "evt", "an", "event"
);
typed_id!(
    /// A usage record. Derived from meter, resource and period, so that the same usage has the same id.
    UsageId, "use", "a", "usage"
);
typed_id!(
    /// An account of the ledger.
    AccountId, "acc", "an", "account"
);
typed_id!(
    /// A transfer between two accounts.
    TransferId, "trf", "a", "transfer"
);
typed_id!(
    /// Money set aside for work that has begun.
    HoldId, "hld", "a", "hold"
);
typed_id!(
    /// An invoice or a credit note.
    InvoiceId, "inv", "an", "invoice"
);
typed_id!(
    /// A voucher that gives credit.
    VoucherId, "vou", "a", "voucher"
);
typed_id!(
    /// A version of the price list.
    PriceListId, "prl", "a", "price list"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_convert_both_ways() {
        for value in [0, 1, 31, 32, u128::MAX, 0x0191_2345_6789_7abc_8def_0123_4567_89ab] {
            let id = TenantId(value);
            assert_eq!(id.to_string().parse::<TenantId>(), Ok(id));
        }
    }

    #[test]
    fn foreign_texts_are_refused() {
        let good = KeyId(7).to_string();
        for bad in
            ["", "key_", "ten_00000000000000000000000007", &good[..20], "key_80000000000000000000000000", "key_0000000000000000000000000u"]
        {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
