//! Ids, prices and records to test with.

use std::path::PathBuf;

use freehold_domain::{Currency, KeyId, NanoUnits, PriceListId, RequestId, TenantId, Timestamp};
use freehold_ledger::{PriceList, Prices, Quantities, Subject, TokenPrice, Usage, UsageOutcome, UsageRecord, UsageState, bill, derive};
use uuid::Uuid;

/// 2026-11-23T10:00:00Z.
pub const NOON: Timestamp = Timestamp::from_unix_ms(1_795_428_000_000);

pub fn nano(amount: i64) -> NanoUnits {
    NanoUnits::new(amount)
}

pub fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(1))
}

pub fn key() -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(2))
}

/// A list of two models, a default and a sku. The second version is dearer.
pub fn list(number: u32, effective_at: Timestamp) -> PriceList {
    let price = |input: i64| TokenPrice { input: nano(input * i64::from(number)), cached: nano(input / 4), output: nano(3 * input + 1) };
    PriceList {
        id: PriceListId::from_uuid(Uuid::from_u128(100 + u128::from(number))),
        number,
        effective_at,
        currency: Currency::EUR,
        models: [("llama-3.1-8b", 150_000_007), ("smollm2", 20_000_000), ("*", 500_000_000)]
            .map(|(name, nano)| (name.to_owned(), price(nano)))
            .into(),
        skus: [("c1.small".to_owned(), nano(8_333))].into(),
    }
}

pub fn prices() -> Prices {
    let early = Timestamp::from_unix_ms(NOON.unix_ms() - 30 * 86_400_000);
    Prices::restore([list(1, early), list(2, NOON)]).expect("two lists")
}

pub fn usage(index: u128, subject: Subject, served: Quantities, outcome: UsageOutcome) -> Usage {
    let request = RequestId::from_uuid(Uuid::from_u128(1000 + index));
    Usage {
        id: derive::usage_id(tenant(), subject.meter(), &request.to_string(), ""),
        tenant: tenant(),
        key: Some(key()),
        request: Some(request),
        subject,
        provider: "own".to_owned(),
        started: NOON.plus_ms(i64::try_from(index).expect("small") * 777),
        ended: NOON.plus_ms(i64::try_from(index).expect("small") * 777 + 1500),
        outcome,
        served,
        provider_reported: None,
    }
}

pub fn model(name: &str) -> Subject {
    Subject::Model { model: name.to_owned() }
}

pub fn posted(index: u128, subject: Subject, served: Quantities) -> UsageRecord {
    let record = bill(usage(index, subject, served, UsageOutcome::Complete), &prices()).expect("it has a price");
    UsageRecord { state: UsageState::Posted, ..record }
}

/// Records of every kind of subject.
pub fn records(count: u128) -> Vec<UsageRecord> {
    let record = |index: u128| {
        let small = u64::try_from(index).expect("small");
        match index % 4 {
            0 => posted(index, model("llama-3.1-8b"), Quantities::tokens(small * 13 + 1, small * 7, small * 5 + 3)),
            1 => posted(index, model("smollm2"), Quantities::tokens(small, 0, 17)),
            2 => posted(index, model("no entry of its own"), Quantities::tokens(0, small, 1)),
            _ => posted(
                index,
                Subject::Sku { sku: "c1.small".to_owned(), resource: format!("ins_{index}") },
                Quantities::seconds(small * 60),
            ),
        }
    };
    (0..count).map(record).collect()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}
