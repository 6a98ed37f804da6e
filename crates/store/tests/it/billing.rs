//! What every store must do with money: the suite of [`crate::conformance`], for prices, accounts, usage, limits, vouchers,
//! invoices, taxes and messages.

use std::collections::HashMap;

use freehold_domain::{
    Currency, EventId, InvoiceId, KeyId, NanoUnits, PriceListId, RequestId, TenantId, Timestamp, TransferId, UsageId, VoucherId,
};
use freehold_ledger::invoices::{Heading, Invoice, InvoiceState, Party, Totals};
use freehold_ledger::usage::{Quantities, Subject, Usage};
use freehold_ledger::{
    AccountKind, Limits, Month, PriceList, Prices, Reason, Tax, TokenPrice, Treatment, UsageOutcome, UsageRecord, UsageState,
};
use freehold_ledger::{bill, calendar, derive};
use freehold_store::{
    BuyerRow, Created, Issued, LeftOver, LimitsRow, LoggedUsage, Movement, Note, Once, RecordKind, Redeemed, SplitBy, Store, StoreError,
    TaxChoice, TaxRuleRow, Terms, TrailRow, UsageWrite, VoucherRow, WebhookRow, account_id,
};

use crate::{at, fixture, tenant, uuid};

#[test]
fn sqlite_conforms_in_money() {
    for suite in [prices, transfers, terms, usage, usage_pages, recovery, limits, vouchers, invoices, credit_notes, taxes, runs, webhooks] {
        let made = fixture();
        for (n, name) in [(1, "a"), (2, "b")] {
            made.store.create_tenant(&tenant(n, name), 9, None).expect("created");
        }
        suite(&made.store);
        made.store.check().expect("sound");
        let sums = made.store.balances(Currency::EUR).expect("read");
        assert_eq!(sums.iter().map(|(_, balance)| balance).sum::<i64>(), 0, "the accounts add up: {sums:?}");
    }
}

fn a() -> TenantId {
    tenant(1, "a").id
}

fn b() -> TenantId {
    tenant(2, "b").id
}

fn stranger() -> TenantId {
    tenant(99, "x").id
}

fn month() -> Month {
    Month::of(at(0))
}

fn nano(amount: i64) -> NanoUnits {
    NanoUnits::new(amount)
}

fn once(key: &str, request: u8) -> Once {
    Once { scope: "test".to_owned(), key: key.to_owned(), request_hash: [request; 32], now: at(0) }
}

fn told(once: &Once) -> Note<'_> {
    Note { once: Some(once), trail: None }
}

fn event(n: u64) -> TrailRow {
    TrailRow { id: EventId::from_uuid(uuid(n)), tenant_id: Some(a()), at: at(0), event_json: "{}".to_owned() }
}

fn list(number: u32) -> PriceList {
    let price = TokenPrice { input: nano(1_000_000_000), cached: nano(0), output: nano(2_000_000_000) };
    PriceList {
        id: PriceListId::from_uuid(uuid(number.into())),
        number,
        effective_at: at(i64::from(number) - 1_000),
        currency: Currency::EUR,
        models: [("*".to_owned(), price)].into(),
        skus: std::collections::BTreeMap::new(),
    }
}

fn movement(n: u64, whose: TenantId, amount: i64) -> Movement {
    let accounts = (AccountKind::Cash, AccountKind::Customer);
    Movement::new(TransferId::from_uuid(uuid(n)), accounts, whose, Currency::EUR, nano(amount), Reason::TopUp, at(n as i64)).with_note("n")
}

fn balance(store: &Store, whose: TenantId, kind: AccountKind) -> i64 {
    let id = account_id(kind, whose, Currency::EUR);
    store.account(id).expect("read").map_or(0, |account| account.balance.get())
}

/// A record of `output` tokens of answer, each of 2,000 nano-units.
fn record(n: u64, whose: TenantId, started: Timestamp, output: u64) -> UsageRecord {
    let request = RequestId::from_uuid(uuid(n));
    let usage = Usage {
        id: derive::request_usage_id(whose, "chat", request),
        tenant: whose,
        key: Some(KeyId::from_uuid(uuid(5))),
        request: Some(request),
        subject: Subject::Model { model: "smol".to_owned() },
        provider: "own".to_owned(),
        started,
        ended: started.plus_ms(10),
        outcome: UsageOutcome::Complete,
        served: Quantities::tokens(0, 0, output),
        provider_reported: None,
    };
    bill(usage, &Prices::restore([list(1)]).expect("a list")).expect("it has a price")
}

fn pending(record: &UsageRecord) -> UsageWrite<'_> {
    UsageWrite::Pending { record, text: record.to_json_text().into() }
}

fn posted(record: &UsageRecord) -> UsageWrite<'_> {
    UsageWrite::Posted { record, text: record.to_json_text().into(), outcome: record.outcome, delivered_at: None }
}

fn post(record: &UsageRecord) -> UsageWrite<'_> {
    UsageWrite::Post { record, outcome: record.outcome, delivered_at: Some(record.ended) }
}

fn prices(store: &Store) {
    assert!(store.price_lists().expect("read").is_empty());
    let key = once("k", 1);
    assert_eq!(store.add_price_list(&list(1), at(0), told(&key)).expect("added"), Created::New);
    assert_eq!(store.add_price_list(&list(1), at(0), told(&key)).expect("added"), Created::Before(1));
    assert!(matches!(store.add_price_list(&list(2), at(0), told(&once("k", 2))), Err(StoreError::KeyReused)));
    assert!(matches!(store.add_price_list(&list(1), at(0), Note::default()), Err(StoreError::Exists(_))), "written once");
    store.add_price_list(&list(2), at(0), Note::default()).expect("added");
    assert_eq!(store.price_lists().expect("read"), [list(1), list(2)]);
}

fn transfers(store: &Store) {
    assert_eq!(store.account(account_id(AccountKind::Customer, a(), Currency::EUR)).expect("read"), None);
    let key = once("k", 1);
    assert_eq!(store.post(&movement(1, a(), 70), told(&key)).expect("posted"), Created::New);
    assert_eq!(store.post(&movement(2, a(), 70), told(&key)).expect("posted"), Created::Before(movement(1, a(), 70).transfer.id));
    assert_eq!(store.post(&movement(1, a(), 70), Note::default()).expect("posted"), Created::Before(movement(1, a(), 70).transfer.id));
    assert!(matches!(store.post(&movement(3, a(), 7), told(&once("k", 2))), Err(StoreError::KeyReused)));
    assert!(matches!(store.post(&movement(4, stranger(), 7), Note::default()), Err(StoreError::NoParent)));
    store.post(&movement(5, a(), 5), Note::default()).expect("posted");
    store.post(&movement(6, b(), 1), Note::default()).expect("posted");
    assert_eq!([a(), b()].map(|whose| balance(store, whose, AccountKind::Customer)), [75, 1]);
    assert_eq!(balance(store, a(), AccountKind::Cash), -76, "the operator's account is one for all tenants");
    let found = store.transfers(a(), 9).expect("read");
    assert_eq!(
        found.iter().map(|row| row.transfer.clone()).collect::<Vec<_>>(),
        [5, 1].map(|n| movement(n, a(), if n == 1 { 70 } else { 5 }).transfer)
    );
    assert_eq!((found[0].note.as_str(), store.transfers(a(), 1).expect("read").len()), ("n", 1));
    let tax = Movement::new(
        TransferId::from_uuid(uuid(7)),
        (AccountKind::Cash, AccountKind::Tax),
        a(),
        Currency::EUR,
        nano(3),
        Reason::Tax(InvoiceId::from_uuid(uuid(1))),
        at(7),
    );
    store.post(&tax, Note::default()).expect("posted");
    assert_eq!((balance(store, a(), AccountKind::Tax), store.transfers(a(), 9).expect("read").len()), (3, 2), "a tax is not the tenant's");
    assert!(store.operator_accounts().expect("read").iter().any(|account| account.kind == AccountKind::Tax));
}

fn terms(store: &Store) {
    assert_eq!(store.terms(a()).expect("read"), Terms::Prepaid, "without a word");
    for terms in [Terms::Postpaid { credit_limit: None }, Terms::Postpaid { credit_limit: Some(nano(5)) }, Terms::Prepaid] {
        store.set_terms(a(), terms, Note::default()).expect("set");
        assert_eq!(store.terms(a()).expect("read"), terms);
    }
    assert_eq!((Terms::Prepaid.floor(), Terms::Postpaid { credit_limit: None }.floor()), (Some(nano(0)), None));
    assert!(matches!(store.set_terms(stranger(), Terms::Prepaid, Note::default()), Err(StoreError::NoParent)));
}

fn usage(store: &Store) {
    let (one, two) = (record(1, a(), at(0), 1), record(2, a(), at(20), 2));
    for _ in 0..2 {
        store.write_usage(&[pending(&one), posted(&two)]).expect("written");
    }
    assert_eq!(
        (store.pending_usage().expect("read"), balance(store, a(), AccountKind::Customer)),
        (1, -4_000),
        "the pending is not charged"
    );
    assert_eq!(store.pending_before(at(0)).expect("read"), []);
    assert_eq!(store.pending_before(at(1)).expect("read"), [a()]);
    for _ in 0..2 {
        store.write_usage(&[post(&one)]).expect("written");
    }
    assert_eq!(balance(store, a(), AccountKind::Customer), -6_000, "posted once");
    let gone = UsageRecord { outcome: UsageOutcome::ClientGone, ..record(3, a(), at(30), 1) };
    store.write_usage(&[pending(&record(3, a(), at(30), 1))]).expect("written");
    store.write_usage(&[UsageWrite::Post { record: &gone, outcome: gone.outcome, delivered_at: None }]).expect("written");
    let row = &store.usage_records(a(), (at(30), at(31)), None, 9).expect("read")[0];
    assert_eq!((row.record.outcome, row.record.state, row.delivered_at), (UsageOutcome::ClientGone, UsageState::Posted, None));
    // A capped record is stored as it is charged, and says why.
    let capped = record(4, b(), at(40), 10).capped(nano(7));
    store.write_usage(&[posted(&capped)]).expect("written");
    let row = &store.usage_records(b(), (at(0), at(99)), None, 9).expect("read")[0];
    assert_eq!((row.record.amount, row.record.uncapped_amount), (nano(7), Some(nano(20_000))));
    assert_eq!(balance(store, b(), AccountKind::Customer), -7);
    // All or nothing.
    let (good, bad) = (record(5, a(), at(50), 1), record(6, stranger(), at(50), 1));
    assert!(store.write_usage(&[posted(&good), posted(&bad)]).is_err());
    assert!(store.usage_records(a(), (at(50), at(51)), None, 9).expect("read").is_empty());
    let split = SplitBy { tenant: true, name: true, ..SplitBy::default() };
    let sums = store.usage_sums(None, (0, i64::MAX), split, 9).expect("read");
    let found: Vec<_> = sums.iter().map(|sum| (sum.tenant, sum.requests, sum.billable.output, sum.amount.get())).collect();
    assert_eq!(found, [(Some(a()), 3, 4, 8_000), (Some(b()), 1, 10, 7)]);
    let day = calendar::day_of(at(0));
    assert_eq!(store.spent(a(), None, day).expect("read"), nano(8_000));
    assert_eq!(store.spent(a(), Some(KeyId::from_uuid(uuid(6))), day).expect("read"), nano(0), "another key");
    assert_eq!(store.spent(a(), None, day + 1).expect("read"), nano(0));
}

fn usage_pages(store: &Store) {
    let records: Vec<UsageRecord> = (1..=7).map(|n| record(n, a(), at((n / 2) as i64), 1)).collect();
    for record in &records {
        store.write_usage(&[posted(record)]).expect("written");
    }
    store.write_usage(&[posted(&record(8, b(), at(0), 1))]).expect("written");
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.usage_records(a(), (at(0), at(3)), after, 2).expect("read");
        let Some(last) = page.last() else { break };
        after = Some(last.record.id);
        seen.extend(page.into_iter().map(|row| row.record.id));
    }
    let newest_first: Vec<UsageId> = records[..5].iter().rev().map(|record| record.id).collect();
    assert_eq!(seen, newest_first, "each once, also those of one moment");
    let (mut after, mut count) = (None, 0);
    while let Some(last) = {
        let page = store.posted_usage(a(), (at(0), at(99)), after, 3).expect("read");
        count += page.len();
        page.last().map(|row| (row.record.started, row.seq))
    } {
        after = Some(last);
    }
    assert_eq!(count, 7);
    let account = store.month_account(
        a(),
        (calendar::day_of(at(0)), calendar::day_of(at(0)) + 1),
        account_id(AccountKind::Customer, a(), Currency::EUR),
    );
    let account = account.expect("read");
    assert_eq!((account.totals.len(), account.totals[0].records, account.balance, account.since), (1, 7, nano(-14_000), nano(0)));
    assert_eq!(store.usage_totals(a(), (calendar::day_of(at(0)), calendar::day_of(at(0)) + 1)).expect("read"), account.totals);
    let kind = RecordKind { meter: "tokens".to_owned(), name: "smol".to_owned(), price_number: 1 };
    // The last record is another tenant's.
    assert_eq!(store.places(a(), month(), &kind, &[0, 1, 6, 7, 9]).expect("read"), [0, 1, 6, 8, 8]);
    assert_eq!(store.places(b(), month(), &kind, &[0, 1]).expect("read"), [0, 8]);
    let other = RecordKind { meter: "seconds".to_owned(), ..kind.clone() };
    assert_eq!(store.places(a(), month(), &other, &[0, 1]).expect("read"), [8, 8], "there are none");
    store.write_usage(&[pending(&record(9, a(), at(0), 1))]).expect("written");
    assert_eq!(store.places(a(), month(), &kind, &[6]).expect("read"), [6], "what is pending does not count");
    assert_eq!(store.forget_usage(at(1_000), 5).expect("forgotten"), 5);
    assert_eq!(store.places(a(), month(), &kind, &[4, 5, 6]).expect("read"), [0, 5, 6], "what is forgotten was the first");
    assert_eq!(store.forget_usage(at(1_000), 50).expect("forgotten"), 3, "what is pending stays");
    assert_eq!(store.usage_sums(Some(a()), (0, i64::MAX), SplitBy::default(), 9).expect("read")[0].requests, 7, "the sums stay");
}

fn recovery(store: &Store) {
    let (delivered, lost) = (record(1, a(), at(0), 1), record(2, a(), at(1), 1));
    store.write_usage(&[pending(&delivered), pending(&lost)]).expect("written");
    let notes: HashMap<UsageId, Timestamp> = [(delivered.id, at(9)), (record(7, a(), at(0), 1).id, at(9))].into();
    assert_eq!(store.recover_usage(&notes).expect("recovered"), (1, 1));
    assert_eq!(store.recover_usage(&notes).expect("recovered"), (0, 0));
    let rows = store.usage_records(a(), (at(0), at(99)), None, 9).expect("read");
    let states: Vec<_> = rows.iter().map(|row| (row.record.state, row.delivered_at)).collect();
    assert_eq!(states, [(UsageState::Void, None), (UsageState::Posted, Some(at(9)))]);
    store.write_usage(&[post(&lost)]).expect("written");
    assert_eq!(balance(store, a(), AccountKind::Customer), -2_000, "what is void is not posted any more");
    // What is in the log too is there already; what is only there is settled in the same way.
    let logged = |n: u64, is_final| LoggedUsage { record: record(n, a(), at(n as i64 - 1), 1), is_final };
    let logged = [logged(1, false), logged(2, false), logged(7, false), logged(8, true), logged(9, false)];
    assert_eq!(store.recover_logged(&logged, &notes).expect("recovered"), (2, 1));
    assert_eq!(store.recover_logged(&logged, &notes).expect("recovered"), (0, 0));
    assert_eq!((balance(store, a(), AccountKind::Customer), store.pending_usage().expect("read")), (-6_000, 0));
}

fn limits(store: &Store) {
    let key = KeyId::from_uuid(uuid(5));
    let row = |n: u64, webhook: Option<&str>| LimitsRow {
        limits: Limits { requests_per_minute: Some(n), budget_day: Some(nano(3)), alert_at_percent: vec![50], ..Limits::default() },
        webhook: webhook.map(str::to_owned),
    };
    assert_eq!(store.limits(a(), None).expect("read"), None);
    store.set_limits(a(), None, &row(1, None), at(0), Note::default()).expect("set");
    store.set_limits(a(), Some(key), &row(2, Some("https://x")), at(0), Note::default()).expect("set");
    store.set_limits(a(), None, &row(3, None), at(1), Note::default()).expect("set again");
    assert_eq!(store.limits(a(), None).expect("read"), Some(row(3, None)));
    assert_eq!(store.limits(a(), Some(key)).expect("read"), Some(row(2, Some("https://x"))));
    assert_eq!(store.limits(b(), Some(key)).expect("read"), None, "another tenant's");
    assert!(matches!(store.set_limits(stranger(), None, &row(1, None), at(0), Note::default()), Err(StoreError::NoParent)));
}

fn vouchers(store: &Store) {
    let row = |n: u64, uses_max: u32, expires_at: Option<Timestamp>| VoucherRow {
        id: VoucherId::from_uuid(uuid(n)),
        hint: format!("h{n}"),
        amount: nano(7),
        uses: 0,
        uses_max,
        note: String::new(),
        created_at: at(0),
        expires_at,
    };
    for (n, uses, expires_at) in [(1, 1, None), (2, 9, Some(at(5)))] {
        assert_eq!(store.create_voucher(&row(n, uses, expires_at), &[n as u8; 32], 2, Note::default()).expect("made"), Created::New);
    }
    assert!(matches!(store.create_voucher(&row(3, 1, None), &[3; 32], 2, Note::default()), Err(StoreError::LimitReached { limit: 2 })));
    assert!(
        matches!(store.create_voucher(&row(3, 1, None), &[1; 32], 9, Note::default()), Err(StoreError::Exists(_))),
        "the code is taken"
    );
    let redeem = |n: u8, whose: TenantId, now: i64| {
        let transfer = 100 + u64::from(n) * 10 + u64::from(whose == b());
        store.redeem_voucher(&[n; 32], whose, at(now), |row| movement(transfer, whose, row.amount.get()), Note::default()).expect("asked")
    };
    assert_eq!(redeem(1, a(), 0), Redeemed::Done(VoucherRow { uses: 1, ..row(1, 1, None) }));
    assert_eq!((redeem(1, a(), 0), redeem(1, b(), 0), redeem(9, a(), 0)), (Redeemed::Before, Redeemed::Unknown, Redeemed::Unknown));
    assert_eq!(redeem(2, a(), 5), Redeemed::Unknown, "it is over");
    assert!(matches!(redeem(2, a(), 4), Redeemed::Done(_)));
    assert_eq!([a(), b()].map(|whose| balance(store, whose, AccountKind::Customer)), [14, 0]);
    let found = store.vouchers(Some(row(1, 1, None).id), 9).expect("read");
    assert_eq!(found, [VoucherRow { uses: 1, ..row(2, 9, Some(at(5))) }]);
}

fn heading(n: u64, whose: TenantId, number: String) -> Heading {
    Heading {
        id: InvoiceId::from_uuid(uuid(n)),
        number,
        tenant: whose,
        issued_at: at(0),
        due_at: None,
        seller: Party::default(),
        buyer: Party::default(),
        tax: Some(vat()),
        note: String::new(),
    }
}

fn vat() -> Tax {
    Tax { treatment: Treatment::Taxed, name: "VAT".to_owned(), rate_percent: "19".parse().expect("a rate"), note: String::new() }
}

/// Issues the invoice of one record of 2,000 nano-units and 380 of tax.
fn issue(store: &Store, n: u64, whose: TenantId) -> Issued {
    let mut totals = Totals::new();
    totals.add(&UsageRecord { state: UsageState::Posted, ..record(n, whose, at(0), 1) }).expect("it fits");
    let prices = Prices::restore([list(1)]).expect("a list");
    let make = |number: String| {
        let invoice = Invoice::of_month(heading(n, whose, number), month(), (&totals, &[]), &prices, Vec::new(), nano(0), Currency::EUR);
        let invoice = invoice.expect("it adds up");
        let moved = |id: u64, to: AccountKind, amount: NanoUnits, reason: Reason| {
            Movement::new(TransferId::from_uuid(uuid(id)), (AccountKind::Receivable, to), whose, Currency::EUR, amount, reason, at(0))
        };
        let movements = vec![
            moved(200 + n, AccountKind::Customer, invoice.taxable, Reason::Invoice(invoice.id)),
            moved(300 + n, AccountKind::Tax, invoice.tax_amount, Reason::Tax(invoice.id)),
        ];
        Ok::<_, StoreError>((invoice, movements, event(n)))
    };
    store.issue_invoice((whose, month()), "INV-", at(0), make).expect("issued")
}

fn invoices(store: &Store) {
    let Issued::New(first) = issue(store, 1, a()) else { panic!("it is the first") };
    assert_eq!((first.number.as_str(), first.gross), ("INV-000001", nano(2_380)));
    assert_eq!(issue(store, 2, a()), Issued::Before(first.id), "a month is invoiced once");
    assert_eq!(
        [AccountKind::Customer, AccountKind::Tax, AccountKind::Receivable].map(|kind| balance(store, a(), kind)),
        [2_000, 380, -2_380]
    );
    // What fails leaves nothing, its number neither.
    let failed = store.issue_invoice((b(), month()), "INV-", at(0), |_| Err::<_, StoreError>(StoreError::Missing));
    assert!(matches!(failed, Err(StoreError::Missing)));
    let Issued::New(second) = issue(store, 3, b()) else { panic!("it is the first of b") };
    assert_eq!(second.number, "INV-000002", "no gap");
    assert_eq!(store.invoice(first.id).expect("read").as_ref(), Some(&*first));
    assert_eq!(store.invoices(None, None, 9).expect("read"), [(*second).clone(), (*first).clone()], "newest first");
    assert_eq!(store.invoices(Some(a()), None, 9).expect("read"), [(*first).clone()]);
    assert_eq!(store.invoices(None, Some(second.id), 9).expect("read"), [(*first).clone()]);
    assert_eq!(store.invoices_since(a(), month(), 9).expect("read"), [(*first).clone()]);
    assert!(store.invoices_since(a(), Month::of(month().end()), 9).expect("read").is_empty());
    assert_eq!(store.trail(Some(a()), None, 9).expect("read").len(), 2, "the trail says so");
    // A receipt is no invoice of the month.
    let key = once("k", 1);
    let top_up = |n: u64| {
        let make = move |number: String| {
            let receipt = Invoice::top_up(heading(n, b(), number), nano(100), Currency::EUR).expect("a receipt");
            Ok::<_, StoreError>((receipt, vec![movement(400 + n, b(), 100)]))
        };
        store.top_up("TOP-", at(0), make, told(&key)).expect("paid")
    };
    assert_eq!((top_up(10), top_up(11)), (Created::New, Created::Before(InvoiceId::from_uuid(uuid(10)))));
    assert_eq!(store.invoices_as_issued(b(), (month(), month())).expect("read"), [(*second).clone()]);
    assert_eq!(store.invoices(Some(b()), None, 9).expect("read").len(), 2);
}

fn credit_notes(store: &Store) {
    let Issued::New(invoice) = issue(store, 1, a()) else { panic!("it is the first") };
    let credit = |n: u64, amount: i64, once: &Once| {
        let original = (*invoice).clone();
        let make = move |number: String, already: NanoUnits| {
            let paid = Invoice { state: InvoiceState::Paid, ..original };
            let note = paid.credit_note(heading(n, a(), number), nano(amount), already, "slow").map_err(|_| StoreError::Missing)?;
            Ok::<_, StoreError>((note, vec![movement(500 + n, a(), amount)], paid))
        };
        store.issue_credit_note(invoice.id, "CN-", at(0), make, told(once))
    };
    assert_eq!(credit(5, 1_500, &once("k", 1)).expect("made"), Created::New);
    assert_eq!(credit(6, 1_500, &once("k", 1)).expect("made"), Created::Before(InvoiceId::from_uuid(uuid(5))));
    assert!(matches!(credit(7, 501, &once("l", 1)), Err(StoreError::Missing)), "more than is left");
    assert_eq!(credit(8, 500, &once("m", 1)).expect("made"), Created::New);
    let numbers: Vec<String> = store.invoices(Some(a()), None, 9).expect("read").into_iter().map(|row| row.number).collect();
    assert_eq!(numbers, ["CN-000002", "CN-000001", "INV-000001"]);
    assert_eq!(store.invoice(invoice.id).expect("read").expect("it").state, InvoiceState::Paid);
    let paid = Invoice { state: InvoiceState::Credited, ..(*invoice).clone() };
    store.update_invoice(&paid, &movement(600, a(), 1), Note::default()).expect("noted");
    assert_eq!(store.invoice(invoice.id).expect("read").expect("it").state, InvoiceState::Credited);
}

fn taxes(store: &Store) {
    let next = Month::of(month().end());
    let rule = |tenant: Option<TenantId>, from: Month, choice: TaxChoice| TaxRuleRow { tenant, from, choice };
    let tax = |name: &str| TaxChoice::Tax(Tax { name: name.to_owned(), ..vat() });
    let name = |whose: Option<TenantId>, month: Month| store.tax(whose, month).expect("read").map(|tax| tax.name);
    assert_eq!(name(Some(a()), month()), None);
    store.set_tax(&rule(None, month(), tax("VAT")), None, at(0), Note::default()).expect("set");
    let buyer = BuyerRow { tax_id: "DE1".to_owned(), lines: "Acme GmbH\nKöln".to_owned() };
    store.set_tax(&rule(Some(a()), month(), tax("GST")), Some(&buyer), at(0), Note::default()).expect("set");
    store.set_tax(&rule(Some(a()), next, TaxChoice::Inherit), None, at(0), Note::default()).expect("set");
    assert_eq!([a(), b()].map(|whose| name(Some(whose), month())), [Some("GST".to_owned()), Some("VAT".to_owned())]);
    assert_eq!(name(Some(a()), next).as_deref(), Some("VAT"), "from the next month on, as everybody");
    assert_eq!(name(Some(b()), Month::from_index(0)), None, "not before its month");
    store.set_tax(&rule(None, next, TaxChoice::None), None, at(0), Note::default()).expect("set");
    assert_eq!((name(Some(b()), next), name(None, month()).as_deref()), (None, Some("VAT")));
    store.set_tax(&rule(None, next, tax("new")), None, at(1), Note::default()).expect("set again");
    assert_eq!(name(Some(b()), next).as_deref(), Some("new"));
    assert_eq!(store.tax_rules(Some(a()), 9).expect("read").iter().map(|row| row.from).collect::<Vec<_>>(), [next, month()]);
    assert_eq!((store.buyer(a()).expect("read"), store.buyer(b()).expect("read")), (buyer, BuyerRow::default()));
    let nobody = rule(Some(stranger()), month(), TaxChoice::None);
    assert!(matches!(store.set_tax(&nobody, Some(&BuyerRow::default()), at(0), Note::default()), Err(StoreError::NoParent)));
    assert!(store.tax_rules(Some(stranger()), 9).expect("read").is_empty());
}

fn runs(store: &Store) {
    let (first, second) = (month(), Month::of(month().end()));
    assert!(matches!(store.pass_run(first, at(0), &LeftOver::default(), at(0)), Err(StoreError::Missing)));
    store.begin_run(first, true, at(1)).expect("begun");
    let row = store.run(first).expect("read").expect("a run");
    assert_eq!((row.by_service, row.passed_at, row.finished_at, row.next_at), (true, None, None, at(1)));
    let left = LeftOver { waiting: vec![a()], failed: vec![(b(), "why".to_owned())] };
    store.pass_run(first, at(2), &left, at(9)).expect("passed");
    let row = store.run(first).expect("read").expect("a run");
    assert_eq!((row.passed_at, row.finished_at, row.left, row.next_at), (Some(at(2)), None, left, at(9)));
    store.pass_run(first, at(3), &LeftOver::default(), at(3)).expect("passed");
    assert_eq!(store.run(first).expect("read").expect("a run").finished_at, Some(at(3)));
    store.begin_run(second, false, at(4)).expect("begun");
    issue(store, 1, a());
    let months = |limit: u32| -> Vec<(Month, u64)> {
        store.runs(limit).expect("read").into_iter().map(|(row, invoices)| (row.month, invoices)).collect()
    };
    assert_eq!((months(9), months(1)), (vec![(second, 0), (first, 1)], vec![(second, 0)]));
    store.begin_run(first, false, at(5)).expect("begun again");
    let row = store.run(first).expect("read").expect("a run");
    assert_eq!((row.by_service, row.passed_at, row.finished_at), (false, None, None));
}

fn webhooks(store: &Store) {
    let row = |n: u64, whose: TenantId, next: i64| WebhookRow {
        id: EventId::from_uuid(uuid(n)),
        tenant: whose,
        url: "https://example.org".to_owned(),
        body: "{}".to_owned(),
        attempts: 0,
        next_at: at(next),
        created_at: at(0),
    };
    let rows = [row(1, a(), 5), row(2, a(), 1), row(3, a(), 0), row(4, b(), 9)];
    assert_eq!(store.queue_webhooks(&rows, 2).expect("queued"), 1, "a tenant's queue has an end");
    let due = |now: i64| store.due_webhooks(at(now), 9).expect("read").into_iter().map(|row| (row.id, row.attempts)).collect::<Vec<_>>();
    assert_eq!(due(0), []);
    assert_eq!(due(5), [(rows[1].id, 0), (rows[0].id, 0)], "the first in time first");
    store.tried_webhook(rows[1].id, Some(at(8))).expect("noted");
    store.tried_webhook(rows[0].id, None).expect("done");
    assert_eq!((due(7), due(9)), (vec![], vec![(rows[1].id, 1), (rows[3].id, 0)]));
}
