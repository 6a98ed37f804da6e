//! Limits, budgets and money at admission.

use std::sync::Arc;

use freehold_domain::{Currency, HoldId, NanoUnits, Timestamp};
use freehold_ledger::limits::{InUse, LimitKind, Period, SettleError, Spent};
use freehold_ledger::{
    Account, AccountKind, Ask, Command, Entry, Event, Gate, Limiter, Limits, Reason, Refusal, Scope, Settlement, Transfer, derive,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::support::{NOON, key, nano, tenant};

fn hold(index: u128) -> HoldId {
    HoldId::from_uuid(Uuid::from_u128(index))
}

fn ask(index: u128, tokens: u64, amount: i64) -> Ask {
    Ask { hold: hold(index), tenant: tenant(), key: Some(key()), tokens, amount: nano(amount) }
}

fn budget(day: i64) -> Arc<Limits> {
    Arc::new(Limits { budget_day: Some(nano(day)), alert_at_percent: vec![50, 80, 100], ..Limits::default() })
}

fn none() -> Arc<Limits> {
    Arc::default()
}

fn gate(balance: i64) -> (Gate, Account, Account) {
    let mut gate = Gate::new(1000);
    let customer = Account::new(AccountKind::Customer, Some(tenant()), Currency::EUR);
    let revenue = Account::new(AccountKind::Revenue, None, Currency::EUR);
    let cash = Account::new(AccountKind::Cash, None, Currency::EUR);
    for account in [&customer, &revenue, &cash] {
        gate.book.apply(Command::Open(account.clone())).expect("it opens");
    }
    let id = derive::transfer_id(tenant(), "top-up", "first");
    let top_up = Transfer { id, from: cash.id, to: customer.id, amount: nano(balance), reason: Reason::TopUp, at: NOON };
    gate.book.apply(Command::Post(top_up)).expect("cash can pay");
    (gate, customer, revenue)
}

fn charge(index: u128, from: &Account, to: &Account, amount: i64) -> Transfer {
    let usage = derive::usage_id(tenant(), "tokens", &index.to_string(), "");
    Transfer { id: derive::charge_id(usage), from: from.id, to: to.id, amount: nano(amount), reason: Reason::Usage(usage), at: NOON }
}

#[test]
fn five_hundred_at_once_admit_exactly_what_fits() {
    for (balance, day, expect) in [(1_000_000, 1_000, 10), (1_000, 1_000_000, 10), (1_099, 1_099, 10), (99, 1_000, 0)] {
        let (mut gate, customer, revenue) = gate(balance);
        let (limits, free) = (budget(day), none());
        let entry = |index| Entry { ask: ask(index, 10, 100), account: customer.id, tenant_limits: &limits, key_limits: Some(&free) };
        let admitted: Vec<u128> = (0..500).filter(|&index| gate.admit(NOON, entry(index)).is_ok()).collect();
        assert_eq!((admitted.len(), gate.book.open_holds(), gate.limiter.open()), (expect, expect, expect));
        for index in admitted {
            gate.settle(NOON, Settlement { hold: hold(index), tokens: 5, transfer: charge(index, &customer, &revenue, 100) })
                .expect("it was admitted");
        }
        assert_eq!((gate.book.open_holds(), gate.limiter.open()), (0, 0));
        assert!(gate.admit(NOON, entry(999)).is_err() || expect == 0);
        assert_eq!(gate.book.total(Currency::EUR), 0);
    }
}

#[test]
fn a_refusal_takes_nothing_from_anybody() {
    let (mut gate, customer, _) = gate(1_000);
    let (tenant_limits, tight) = (budget(10_000), Arc::new(Limits { parallel: Some(0), ..Limits::default() }));
    let entry = Entry { ask: ask(1, 10, 100), account: customer.id, tenant_limits: &tenant_limits, key_limits: Some(&tight) };
    let Err(Refusal::Limit(refused)) = gate.admit(NOON, entry) else { panic!("the key's limit") };
    assert_eq!((refused.scope, refused.kind, refused.retry_after_s), (Scope::Key(key()), LimitKind::Parallel, None));
    assert_eq!(gate.limiter.in_use(NOON, Scope::Tenant(tenant())), InUse::default());
    assert_eq!(gate.book.account(customer.id).expect("open").held, NanoUnits::ZERO);
    let dear = Entry { ask: ask(2, 10, 1_001), account: customer.id, tenant_limits: &tenant_limits, key_limits: None };
    assert_eq!(gate.admit(NOON, dear), Err(Refusal::Money { available: nano(1_000), needed: nano(1_001) }));
}

#[test]
fn settling_twice_is_settling_once() {
    let (mut gate, customer, revenue) = gate(1_000);
    let free = none();
    gate.admit(NOON, Entry { ask: ask(1, 10, 100), account: customer.id, tenant_limits: &free, key_limits: None }).expect("it fits");
    let settlement = Settlement { hold: hold(1), tokens: 10, transfer: charge(1, &customer, &revenue, 70) };
    gate.settle(NOON, settlement.clone()).expect("it was admitted");
    assert_eq!(gate.settle(NOON, settlement).expect("again").event, Event::Already);
    assert_eq!(gate.book.account(customer.id).expect("open").balance, nano(930));
    gate.void(NOON, hold(1)).expect_err("it has ended");
}

#[test]
fn alerts_come_once_in_a_window() {
    let mut limiter = Limiter::new();
    let (limits, free) = (budget(100), none());
    let mut percents = Vec::new();
    for index in 0..10 {
        limiter.admit(NOON, ask(index, 0, 10), &limits, Some(&free)).expect("it fits");
        percents
            .push(limiter.settle(NOON, hold(index), 0, nano(10)).expect("admitted").iter().map(|alert| alert.percent).collect::<Vec<_>>());
    }
    assert_eq!(percents.concat(), [50, 80, 100]);
    assert_eq!(percents[4], [50], "when it is reached");
    let tomorrow = NOON.plus_ms(86_400_000);
    limiter.admit(tomorrow, ask(50, 0, 100), &limits, None).expect("a new day");
    let alerts = limiter.settle(tomorrow, hold(50), 0, nano(90)).expect("admitted");
    assert_eq!(alerts.iter().map(|alert| (alert.period, alert.percent)).collect::<Vec<_>>(), [(Period::Day, 50), (Period::Day, 80)]);
    assert_eq!(alerts[0].window_start.to_string(), "2026-11-24T00:00:00Z");
}

#[test]
fn what_a_store_knows_goes_on_after_a_restart() {
    let mut limiter = Limiter::new();
    let scope = Scope::Tenant(tenant());
    assert!(!limiter.knows(scope));
    limiter.restore(NOON, scope, Spent { day: nano(95), month: nano(95), day_alerted_percent: 80, month_alerted_percent: 0 });
    let limits = budget(100);
    let refused = limiter.admit(NOON, ask(1, 0, 6), &limits, None).expect_err("95 of 100 are spent");
    assert_eq!((refused.max, refused.used, refused.asked, refused.retry_after_s), (100, 95, 6, Some(14 * 3600)));
    limiter.admit(NOON, ask(1, 0, 5), &limits, None).expect("it fits");
    let alerts = limiter.settle(NOON, hold(1), 0, nano(5)).expect("admitted");
    assert_eq!(alerts.iter().map(|alert| alert.percent).collect::<Vec<_>>(), [100], "80 was reported before the restart");
}

#[test]
fn a_request_belongs_to_the_day_in_which_it_began() {
    let mut limiter = Limiter::new();
    let limits = budget(100);
    let midnight = Timestamp::from_unix_ms(NOON.unix_ms() + 14 * 3_600_000);
    limiter.admit(midnight.plus_ms(-1), ask(1, 0, 100), &limits, None).expect("it fits");
    limiter.admit(midnight, ask(2, 0, 100), &limits, None).expect("a new day has its own budget");
    limiter.settle(midnight, hold(1), 0, nano(100)).expect("admitted");
    let used = limiter.in_use(midnight, Scope::Tenant(tenant()));
    assert_eq!((used.day_spent, used.day_held, used.month_spent), (nano(0), nano(100), nano(100)));
}

#[test]
fn limits_are_counted_with_the_truth_once_it_is_known() {
    let mut limiter = Limiter::new();
    let limits = Arc::new(Limits { tokens_per_minute: Some(100), requests_per_minute: Some(3), ..Limits::default() });
    limiter.admit(NOON, ask(1, 100, 0), &limits, None).expect("all of it");
    assert_eq!(limiter.admit(NOON, ask(2, 1, 0), &limits, None).expect_err("full").kind, LimitKind::TokensPerMinute);
    limiter.settle(NOON, hold(1), 10, nano(0)).expect("admitted");
    limiter.admit(NOON, ask(2, 90, 0), &limits, None).expect("ninety are left");
    limiter.void(NOON, hold(2)).expect("admitted");
    limiter.admit(NOON, ask(3, 90, 0), &limits, None).expect("ninety are left again");
    let refused = limiter.admit(NOON.plus_ms(30_000), ask(4, 0, 0), &limits, None).expect_err("three a minute");
    assert_eq!((refused.kind, refused.retry_after_s), (LimitKind::RequestsPerMinute, Some(31)));
    let never = limiter.admit(NOON, ask(4, 101, 0), &limits, None).expect_err("it is too large");
    assert_eq!(never.retry_after_s, Some(31), "the first limit in the way is named");
    limiter.admit(NOON.plus_ms(61_000), ask(4, 101, 0), &limits, None).expect_err("it never fits");
    assert!(limiter.settle(NOON, hold(9), 0, nano(0)) == Err(SettleError::NoHold(hold(9))));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let bad = [
        Limits { budget_day: Some(nano(-1)), ..Limits::default() },
        Limits { alert_at_percent: vec![0], ..Limits::default() },
        Limits { alert_at_percent: vec![101], ..Limits::default() },
        Limits { alert_at_percent: vec![1; 11], ..Limits::default() },
    ];
    assert!(bad.iter().all(|limits| limits.check().is_err()));
    assert!(serde_json::from_str::<Limits>(r#"{"budget_days":"1"}"#).is_err(), "unknown fields");
    assert!(serde_json::from_str::<Limits>(r#"{"budget_day":1}"#).is_err(), "amounts are strings");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whichever order, with clocks that jump: limits hold at every moment, and nothing is left.
    #[test]
    fn limits_hold_and_nothing_is_left(steps in prop::collection::vec((0..6_u8, 0..40_u128, 0..50_u64, 0..50_i64, 0..90_000_i64), 1..200)) {
        let mut limiter = Limiter::new();
        let tenant_limits = Arc::new(Limits {
            requests_per_minute: Some(20), tokens_per_minute: Some(300), parallel: Some(6), budget_day: Some(nano(900)), ..Limits::default()
        });
        let key_limits = Arc::new(Limits { parallel: Some(4), budget_month: Some(nano(1500)), ..Limits::default() });
        let (mut now, mut open, mut last_minute) = (NOON, std::collections::HashMap::new(), Vec::new());
        for (what, index, tokens, amount, passes) in steps {
            now = now.plus_ms(passes / 20);
            if what < 4 {
                if open.contains_key(&index) { continue; }
                if limiter.admit(now, ask(index, tokens, amount), &tenant_limits, Some(&key_limits)).is_ok() {
                    open.insert(index, (tokens, amount));
                    last_minute.push(now.unix_ms());
                }
            } else if let Some((tokens, amount)) = open.remove(&index) {
                let ended = if what == 4 { limiter.void(now, hold(index)) } else { limiter.settle(now, hold(index), tokens / 2, nano(amount / 2)).map(drop) };
                prop_assert!(ended.is_ok());
            }
            let (tenant_use, key_use) = (limiter.in_use(now, Scope::Tenant(tenant())), limiter.in_use(now, Scope::Key(key())));
            prop_assert!(tenant_use.requests <= 20 && tenant_use.tokens <= 300 && tenant_use.parallel <= 6 && key_use.parallel <= 4);
            prop_assert!(tenant_use.day_spent.get() + tenant_use.day_held.get() <= 900);
            prop_assert!(key_use.month_spent.get() + key_use.month_held.get() <= 1500);
            last_minute.retain(|&at| at > now.unix_ms() - 60_000);
            prop_assert!(last_minute.len() <= 20, "more than the limit within sixty seconds");
        }
        for (index, _) in open {
            prop_assert!(limiter.void(now, hold(index)).is_ok());
        }
        let tenant_use = limiter.in_use(now, Scope::Tenant(tenant()));
        prop_assert_eq!((limiter.open(), tenant_use.parallel, tenant_use.day_held, tenant_use.month_held), (0, 0, nano(0), nano(0)));
        limiter.sweep(now.plus_ms(200_000), 0);
        prop_assert!(!limiter.knows(Scope::Tenant(tenant())));
    }
}
