//! Usage records: what is billed, what is given back, what a crash leaves.

use freehold_domain::{Currency, NanoUnits};
use freehold_ledger::{AccountKind, Quantities, Reason, UsageOutcome, UsageRecord, UsageState, bill, derive};

use super::support::{NOON, model, nano, posted, prices, tenant, usage};

#[test]
fn what_was_served_is_billed_unless_the_provider_failed() {
    let served = Quantities::tokens(1000, 500, 100);
    let billed = |outcome| bill(usage(0, model("smollm2"), served, outcome), &prices()).expect("it has a price");
    for outcome in [UsageOutcome::Complete, UsageOutcome::Cancelled, UsageOutcome::ClientGone] {
        let record = billed(outcome);
        // Version 2: 40_000_000 for input, 5_000_000 for cached, 60_000_001 for output, for a million tokens.
        assert_eq!((record.billable, record.amount, record.price_number), (served, nano(40_000 + 2_500 + 6_000), 2));
    }
    let failed = billed(UsageOutcome::Failed);
    assert_eq!((failed.served, failed.billable, failed.amount), (served, Quantities::default(), NanoUnits::ZERO));
}

#[test]
fn a_charge_is_given_back_once_and_only_if_there_was_one() {
    let customer = AccountKind::Customer.id(Some(tenant()), Currency::EUR);
    let fault = AccountKind::FaultCredit.id(None, Currency::EUR);
    let record = posted(1, model("smollm2"), Quantities::tokens(1000, 0, 0));
    let credit = record.fault_credit(fault, customer, NOON).expect("it was charged");
    assert_eq!((credit.amount, credit.reason, credit.to), (record.amount, Reason::FaultCredit(record.id), customer));
    let again = record.fault_credit(fault, customer, NOON.plus_ms(9)).expect("it was charged");
    assert_eq!(credit.id, again.id);
    assert_ne!(credit.id, record.charge(customer, fault).id);
    for state in [UsageState::Pending, UsageState::Void] {
        assert_eq!(UsageRecord { state, ..record.clone() }.fault_credit(fault, customer, NOON), None);
    }
    assert_eq!(UsageRecord { amount: NanoUnits::ZERO, ..record }.fault_credit(fault, customer, NOON), None);
}

#[test]
fn a_crash_charges_for_what_was_delivered_only() {
    use UsageState::{Delivered, Pending, Posted, Void};
    assert_eq!([Pending, Delivered, Posted, Void].map(UsageState::after_crash), [Void, Posted, Posted, Void]);
    let allowed = [(Pending, Delivered), (Pending, Void), (Delivered, Posted)];
    for from in [Pending, Delivered, Posted, Void] {
        assert_eq!(UsageState::from_text(from.as_str()), Some(from));
        for to in [Pending, Delivered, Posted, Void] {
            assert_eq!(from.can_become(to), allowed.contains(&(from, to)));
        }
    }
}

#[test]
fn the_same_usage_has_the_same_id() {
    let id = |resource: &str, period: &str| derive::usage_id(tenant(), "tokens", resource, period);
    assert_eq!(id("req_1", ""), id("req_1", ""));
    assert_ne!(id("req_1", ""), id("req_2", ""));
    assert_ne!(id("ins_1", "2026-11-23T10"), id("ins_1", "2026-11-23T11"));
}
