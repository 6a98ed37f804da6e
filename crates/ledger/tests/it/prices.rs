//! Price lists: which one holds, what it says, what it costs.

use freehold_domain::{Currency, NanoUnits, Timestamp};
use freehold_ledger::prices::{PRICE_MAX, PriceError};
use freehold_ledger::{PriceList, Prices, Quantities, TokenPrice};
use num_bigint::BigInt;
use proptest::prelude::*;

use super::support::{NOON, list, model, nano, prices};

#[test]
fn the_newest_version_that_has_begun_holds() {
    let prices = prices();
    let number = |moment| prices.at(moment).map(|list| list.number);
    assert_eq!((number(NOON.plus_ms(-1)), number(NOON), number(Timestamp::from_unix_ms(i64::MAX))), (Ok(1), Ok(2), Ok(2)));
    assert_eq!(number(Timestamp::from_unix_ms(0)), Err(PriceError::NoList(Timestamp::from_unix_ms(0))));
    assert_eq!((prices.next_number(), prices.number(2).map(|list| list.number), prices.number(3)), (3, Some(2), None));
}

#[test]
fn a_price_never_changes_backwards() {
    let mut prices = prices();
    let refused = |prices: &mut Prices, list: PriceList, now: Timestamp| prices.publish(list, now).expect_err("refused");
    assert!(matches!(refused(&mut prices, list(3, NOON), NOON), PriceError::NotLater { .. }));
    assert!(matches!(refused(&mut prices, list(3, NOON.plus_ms(5)), NOON.plus_ms(6)), PriceError::Past { .. }));
    assert!(matches!(refused(&mut prices, list(5, NOON.plus_ms(5)), NOON), PriceError::Number { got: 5, expect: 3 }));
    let dollars = PriceList { currency: Currency::USD, ..list(3, NOON.plus_ms(5)) };
    assert!(matches!(refused(&mut prices, dollars, NOON), PriceError::Currency { .. }));
    for bad in [nano(-1), PRICE_MAX.plus(nano(1)).expect("it fits"), NanoUnits::MIN, NanoUnits::MAX] {
        let mut wrong = list(3, NOON.plus_ms(5));
        wrong.skus.insert("x".to_owned(), bad);
        assert!(matches!(refused(&mut prices, wrong, NOON), PriceError::OutOfRange { .. }));
    }
    for name in ["", "a\nb", &"x".repeat(201)] {
        let mut wrong = list(3, NOON.plus_ms(5));
        wrong.skus.insert(name.to_owned(), nano(1));
        assert!(matches!(refused(&mut prices, wrong, NOON), PriceError::Malformed(_)));
    }
    prices.publish(list(3, NOON.plus_ms(5)), NOON.plus_ms(5)).expect("from now on");
}

#[test]
fn a_model_without_an_entry_has_the_default_or_none() {
    let mut list = list(1, NOON);
    assert_eq!(list.model("unheard of").map(|price| price.input), Ok(nano(500_000_000)));
    list.models.remove("*");
    assert_eq!(list.model("unheard of"), Err(PriceError::NoPrice { subject: "unheard of".to_owned(), number: 1 }));
    assert!(list.sku("unheard of").is_err());
    let text = list.model("unheard of").expect_err("no price").to_string();
    assert!(text.contains("unheard of") && text.contains("add an entry"), "{text}");
}

#[test]
fn json_of_another_version_or_with_faults_is_refused() {
    let good = list(1, NOON).to_json();
    assert_eq!(PriceList::from_json(good.clone()), Ok(list(1, NOON)));
    for (field, value) in [
        ("format", serde_json::json!("freehold.prices/2")),
        ("format", serde_json::json!(null)),
        ("currency", serde_json::json!("eur")),
        ("models", serde_json::json!({"m": {"input": "-1", "cached": "0", "output": "0"}})),
        ("models", serde_json::json!({"m": {"input": 1, "cached": "0", "output": "0"}})),
        ("skus", serde_json::json!({"m": "9223372036854775808"})),
        ("colour", serde_json::json!("blue")),
        ("effective_at", serde_json::json!("tomorrow")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(PriceList::from_json(bad.clone()).is_err(), "{bad}");
    }
    assert!(PriceList::from_json(serde_json::json!([])).is_err());
}

/// Floor, then up if the rest is more than half, or half and the floor is odd.
fn half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let two = BigInt::from(2);
    let mut floor = numerator / denominator;
    if numerator.sign() == num_bigint::Sign::Minus && &floor * denominator != *numerator {
        floor -= 1;
    }
    let twice = (numerator - &floor * denominator) * &two;
    let odd = &floor % &two != BigInt::from(0);
    if twice > *denominator || (twice == *denominator && odd) { floor + 1 } else { floor }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rounding_is_half_to_even(
        numerator in prop_oneof![any::<i64>().prop_map(i128::from), -10_000..10_000_i128, any::<i128>()],
        denominator in prop_oneof![1..=20_i128, Just(1_000_000), 1..i128::MAX],
    ) {
        let oracle = half_even(&BigInt::from(numerator), &BigInt::from(denominator));
        let expect = i64::try_from(oracle).ok().map(NanoUnits::new);
        prop_assert_eq!(NanoUnits::from_ratio(numerator, denominator).ok(), expect);
    }

    #[test]
    fn a_cost_is_rounded_once_and_never_above_the_worst_case(
        (input, cached, output) in (0..200_000_u64, 0..200_000_u64, 0..200_000_u64),
        (a, b, c) in (0..=PRICE_MAX.get(), 0..=PRICE_MAX.get(), 0..=PRICE_MAX.get()),
    ) {
        let mut list = list(1, NOON);
        list.models.insert("m".to_owned(), TokenPrice { input: nano(a), cached: nano(b), output: nano(c) });
        let cost = list.cost(&model("m"), &Quantities::tokens(input, cached, output)).expect("it fits");
        let exact = BigInt::from(input) * a + BigInt::from(cached) * b + BigInt::from(output) * c;
        prop_assert_eq!(BigInt::from(cost.get()), half_even(&exact, &BigInt::from(1_000_000)));
        prop_assert!(cost <= list.worst_case("m", input + cached, output).expect("it fits"));
    }
}

#[test]
fn a_cost_that_does_not_fit_is_an_error() {
    let list = list(1, NOON);
    let huge = Quantities::tokens(u64::MAX, u64::MAX, u64::MAX);
    assert!(matches!(list.cost(&model("smollm2"), &huge), Err(PriceError::Money(_))));
    assert!(list.worst_case("smollm2", u64::MAX, u64::MAX).is_err());
}
