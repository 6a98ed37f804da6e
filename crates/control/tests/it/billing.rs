//! Metering, limits, credit, invoices: with a real store and a clock that is told the time.

use std::os::fd::AsFd;
use std::sync::Arc;

use freehold_control::billing::{
    Ask, ExportFormat, InvoiceRun, LimitsChange, NewCredit, NewCreditNote, NewPrices, NewVoucher, Redemption, TermsChange, Ticket,
    UsageRequest,
};
use freehold_control::{Actor, Control};
use freehold_domain::{Error, ModelName, NanoUnits, RequestId, TenantId};
use freehold_ledger::UsageOutcome;
use freehold_ledger::usage::Quantities;
use serde_json::{Value, json};

use crate::{Fixture, code, fixture, open};

/// 1 unit of the currency a million tokens of input, 2 of output.
const PRICES: &str = r#"{"models": {"*": {"input": "1000000000", "cached": "500000000", "output": "2000000000"}}}"#;

fn model() -> ModelName {
    "smol".parse().expect("a name")
}

fn tenant_of(actor: &Actor) -> TenantId {
    actor.tenant().expect("a tenant").tenant
}

pub(crate) async fn try_admit(control: &Control, actor: &Actor, prompt_max: u64, output_max: u64) -> Result<Ticket, Error> {
    let (model, request) = (model(), RequestId::from_uuid(control.new_uuid()));
    let ask =
        Ask { tenant: tenant_of(actor), key: actor.key(), model: &model, request, provider: "own", meter: "chat", prompt_max, output_max };
    control.admit_request(ask).await
}

pub(crate) async fn use_tokens(control: &Control, actor: &Actor, input: u64, output: u64) {
    let ticket = try_admit(control, actor, input, output).await.expect("admitted");
    let served = Quantities::tokens(input, 0, output);
    ticket.settle(UsageOutcome::Complete, served, Some(served)).await.expect("written").confirm();
}

pub(crate) async fn publish(fixture: &Fixture) {
    let new: NewPrices = serde_json::from_str(PRICES).expect("prices");
    fixture.control.publish_prices(&fixture.operator, new, None).await.expect("published");
    fixture.clock.advance_ms(1000);
}

pub(crate) async fn give(fixture: &Fixture, tenant: &str, nano: i64) {
    let new = NewCredit { tenant: tenant.to_owned(), amount: NanoUnits::new(nano), note: String::new(), paid: true };
    fixture.control.give_credit(&fixture.operator, new, None).await.expect("given");
}

pub(crate) async fn balance(control: &Control, actor: &Actor) -> (i64, i64) {
    let view = control.balance(actor, None).await.expect("a balance");
    (view.balance.get(), view.held.get())
}

/// Everything is on the disk, nothing is held, the accounts add up.
pub(crate) async fn check_ledger(fixture: &Fixture) {
    fixture.control.settle_usage().await;
    let ledger = fixture.control.ledger(&fixture.operator).await.expect("a ledger");
    assert_eq!((ledger.total, ledger.holds, ledger.pending), (NanoUnits::ZERO, 0, 0), "{ledger:?}");
}

#[tokio::test]
async fn without_prices_everything_is_free_and_recorded() {
    let fixture = fixture().await;
    let other = fixture.tenant("other").await;
    use_tokens(&fixture.control, &other, 100, 10).await;
    check_ledger(&fixture).await;
    let usage = fixture.control.usage(&other, &UsageRequest::default()).await.expect("usage");
    assert_eq!((usage.data[0].requests, usage.data[0].input_tokens, usage.data[0].amount.get()), (1, 100, 0));
    assert_eq!(fixture.control.prices(None).number, 0);
}

#[tokio::test]
async fn five_hundred_at_once_against_credit_for_ten_admit_ten() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let other = fixture.tenant("other").await;
    // 100 tokens of input and 50 of output cost 200,000 nano-units.
    give(&fixture, "other", 10 * 200_000).await;
    let tickets = many(&fixture.control, &other, 500).await;
    let admitted: Vec<Ticket> = tickets.into_iter().filter_map(Result::ok).collect();
    assert_eq!(admitted.len(), 10);
    assert_eq!(balance(&fixture.control, &other).await, (2_000_000, 2_000_000));
    drop(admitted);
    assert_eq!(balance(&fixture.control, &other).await, (2_000_000, 0), "what does not end well costs nothing");
    check_ledger(&fixture).await;
}

async fn many(control: &Control, actor: &Actor, count: usize) -> Vec<Result<Ticket, Error>> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (control, actor) = (control.clone(), actor.clone());
            tokio::spawn(async move { try_admit(&control, &actor, 100, 50).await })
        })
        .collect();
    let mut tickets = Vec::new();
    for task in tasks {
        tickets.push(task.await.expect("a task"));
    }
    tickets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_at_once_against_a_budget_for_ten_admit_ten() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let key = fixture.main.key().expect("a key").to_string();
    let limits = LimitsChange { budget_day: Some(NanoUnits::new(10 * 200_000)), ..LimitsChange::default() };
    fixture.control.set_limits(&fixture.operator, None, Some(&key), limits).await.expect("set");
    let tickets = many(&fixture.control, &fixture.main, 500).await;
    let refused: Vec<&'static str> = tickets.iter().filter_map(|ticket| ticket.as_ref().err().map(|error| error.code.as_str())).collect();
    assert_eq!((refused.len(), refused[0]), (490, "budget_exhausted"));
    for ticket in tickets.into_iter().flatten() {
        let served = Quantities::tokens(100, 0, 50);
        ticket.settle(UsageOutcome::Complete, served, None).await.expect("written").confirm();
    }
    assert_eq!(code(try_admit(&fixture.control, &fixture.main, 100, 50).await), "budget_exhausted", "what was held is spent now");
    check_ledger(&fixture).await;

    // After a restart the budget is still spent.
    let (dir, clock, credentials) = (fixture.dir, fixture.clock, fixture.credentials);
    drop((fixture.control, fixture.operator));
    let control = crate::reopen(&dir, &clock);
    let main = control.authenticate(&credentials.key).await.expect("the tenant");
    assert_eq!(code(try_admit(&control, &main, 100, 50).await), "budget_exhausted");
    clock.advance_ms(24 * 60 * 60 * 1000);
    assert_eq!(code(try_admit(&control, &main, 100, 50).await), "ok", "a new day");
}

#[tokio::test]
async fn limits_hold_for_the_request_at_hand() {
    let fixture = fixture().await;
    let set = async |limits: LimitsChange| {
        fixture.control.set_limits(&fixture.operator, Some("main"), None, limits).await.expect("set");
    };
    set(LimitsChange { parallel: Some(1), ..LimitsChange::default() }).await;
    let first = try_admit(&fixture.control, &fixture.main, 1, 1).await.expect("the first");
    let error = try_admit(&fixture.control, &fixture.main, 1, 1).await.err().expect("refused");
    assert_eq!((error.code.http_status(), error.retry_after_s), (429, Some(1)));
    drop(first);
    set(LimitsChange { tokens_per_minute: Some(100), ..LimitsChange::default() }).await;
    assert_eq!(code(try_admit(&fixture.control, &fixture.main, 90, 20).await), "rate_limited", "never fits");
    let ticket = try_admit(&fixture.control, &fixture.main, 50, 50).await.expect("fits");
    ticket.settle(UsageOutcome::Complete, Quantities::tokens(10, 0, 10), None).await.expect("written").confirm();
    assert_eq!(code(try_admit(&fixture.control, &fixture.main, 60, 20).await), "ok", "what was not used is free again");
    set(LimitsChange { requests_per_minute: Some(3), ..LimitsChange::default() }).await;
    fixture.clock.advance_ms(62_000);
    for expect in ["ok", "ok", "ok", "rate_limited"] {
        assert_eq!(code(try_admit(&fixture.control, &fixture.main, 1, 1).await), expect);
    }
    for bad in [json!({"budget_day": "-1"}), json!({"alert_at_percent": [0]}), json!({"webhook": {"url": "file:///etc/passwd"}})] {
        let limits: LimitsChange = serde_json::from_value(bad).expect("limits");
        assert_eq!(code(fixture.control.set_limits(&fixture.operator, Some("main"), None, limits).await), "invalid_request");
    }
}

#[tokio::test]
async fn every_way_out_is_settled() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let other = fixture.tenant("other").await;
    give(&fixture, "other", 1_000_000_000).await;
    let served = Quantities::tokens(100, 0, 50);
    let ticket = async || try_admit(&fixture.control, &other, 1000, 1000).await.expect("admitted");
    // Handed over.
    ticket().await.settle(UsageOutcome::Complete, served, Some(served)).await.expect("written").confirm();
    // Whole, but the client went away before its end.
    drop(ticket().await.settle(UsageOutcome::Complete, served, Some(served)).await.expect("written"));
    // The client went away in the middle.
    ticket().await.end(UsageOutcome::ClientGone, Quantities::tokens(100, 0, 5), None);
    // The worker died.
    ticket().await.end(UsageOutcome::Failed, served, None);
    // The worker refused.
    drop(ticket().await);
    check_ledger(&fixture).await;
    let spent = 2 * 200_000 + 110_000;
    assert_eq!(balance(&fixture.control, &other).await, (1_000_000_000 - spent, 0));
    let records = fixture.control.usage_records(&other, None, &Default::default()).await.expect("records").data;
    let found: Vec<_> =
        records.iter().map(|record| (record.outcome.as_str(), record.amount.get(), record.delivered_at.is_some())).collect();
    assert_eq!(
        found,
        [("failed", 0, false), ("client_gone", 110_000, false), ("client_gone", 200_000, false), ("complete", 200_000, true)]
    );
    assert_eq!((records[0].served.output_tokens, records[0].billable.output_tokens), (50, 0), "what was served is recorded, not billed");
    let usage = fixture.control.usage(&other, &UsageRequest { by: Some("day,model,key".to_owned()), ..Default::default() }).await;
    let row = &usage.expect("usage").data[0];
    assert_eq!((row.requests, row.failed, row.amount.get()), (4, 1, spent));
}

#[tokio::test]
async fn a_crash_charges_for_what_was_handed_over_and_for_nothing_else() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let served = Quantities::tokens(100, 0, 50);
    let ticket = async || try_admit(&fixture.control, &fixture.main, 100, 50).await.expect("admitted");
    use_tokens(&fixture.control, &fixture.main, 100, 50).await;
    fixture.control.settle_usage().await;
    let delivered = ticket().await.settle(UsageOutcome::Complete, served, None).await.expect("written");
    let on_its_way = ticket().await.settle(UsageOutcome::Complete, served, None).await.expect("written");
    let running = ticket().await;
    let (near, _far) = std::os::unix::net::UnixStream::pair().expect("a pair");
    delivered.hand_over(near.as_fd(), b"the end").expect("a slot").expect("sent");
    let long = vec![0; 8 << 20];
    assert!(on_its_way.hand_over(near.as_fd(), &long).expect("a slot").expect("a part") < long.len());
    // The process ends here: a copy of its folder is what the next one finds. Neither is posted.
    let data = fixture.dir.path().join("data");
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(copy.path().join("data")).expect("a folder");
    for entry in std::fs::read_dir(&data).expect("files") {
        let entry = entry.expect("a file");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), copy.path().join("data").join(entry.file_name())).expect("copied");
        }
    }
    let after = open(&copy, &fixture.clock);
    let states = async || {
        let records = after.usage_records(&fixture.main, None, &Default::default()).await.expect("records").data;
        records.into_iter().map(|record| (record.id, record.state)).collect::<Vec<_>>()
    };
    let found = states().await;
    assert_eq!(found.len(), 3, "a request that had no end has no record");
    for (record, state) in &found {
        let expect = if *record == on_its_way.record().id { "void" } else { "posted" };
        assert_eq!(state, expect);
    }
    let ledger = after.ledger(&fixture.operator).await.expect("a ledger");
    assert_eq!((ledger.total.get(), ledger.holds, ledger.pending, ledger.accounts["revenue"].get()), (0, 0, 0, 400_000));
    drop((running, delivered, on_its_way));
    let again = states().await;
    assert_eq!(again, found);
}

#[tokio::test]
async fn prices_never_change_backwards() {
    let fixture = fixture().await;
    let new: NewPrices = serde_json::from_str(PRICES).expect("prices");
    assert_eq!(code(fixture.control.publish_prices(&fixture.main, new.clone(), None).await), "permission_denied");
    publish(&fixture).await;
    let now = fixture.control.now();
    let at = |ms| NewPrices { effective_at: Some(now.plus_ms(ms)), ..new.clone() };
    assert_eq!(code(fixture.control.publish_prices(&fixture.operator, at(-1), None).await), "invalid_request");
    assert_eq!(fixture.control.publish_prices(&fixture.operator, at(60_000), None).await.expect("published").number, 2);
    assert_eq!(code(fixture.control.publish_prices(&fixture.operator, at(50_000), None).await), "conflict");
    assert_eq!((fixture.control.prices(None).number, fixture.control.prices(Some(now.plus_ms(60_000))).number), (1, 2));
    assert!(fixture.control.prices(None).upcoming.is_some());
    let bad = [
        json!({}),
        json!({"currency": "USD", "models": {"*": {"input": "1", "output": "1"}}}),
        json!({"models": {"*": {"input": "-1", "output": "1"}}}),
        json!({"models": {"": {"input": "1", "output": "1"}}}),
        json!({"models": {"*": {"input": "9223372036854775807", "output": "1"}}}),
    ];
    for bad in bad {
        let new: NewPrices = serde_json::from_value(bad).expect("prices");
        assert_eq!(code(fixture.control.publish_prices(&fixture.operator, new, None).await), "invalid_request");
    }
    let only: NewPrices = serde_json::from_value(json!({"models": {"another": {"input": "1", "output": "1"}}})).expect("prices");
    fixture.clock.advance_ms(120_000);
    fixture.control.publish_prices(&fixture.operator, only, None).await.expect("published");
    fixture.clock.advance_ms(1000);
    assert_eq!(code(try_admit(&fixture.control, &fixture.main, 1, 1).await), "model_not_found", "not sold");
}

#[tokio::test]
async fn vouchers_give_credit_once() {
    let fixture = fixture().await;
    let (a, b) = (fixture.tenant("a").await, fixture.tenant("b").await);
    let new = NewVoucher { amount: NanoUnits::new(7), uses: Some(2), expires_at: None, note: String::new() };
    assert_eq!(code(fixture.control.create_voucher(&a, new.clone(), None).await), "permission_denied");
    let voucher = fixture.control.create_voucher(&fixture.operator, new, None).await.expect("made");
    let code_text = voucher.code.expect("a code");
    let redeem = async |tenant: &str, text: &str| {
        let redemption = Redemption { code: text.to_owned(), tenant: Some(tenant.to_owned()) };
        code(fixture.control.redeem_voucher(&fixture.operator, redemption).await)
    };
    assert_eq!(redeem("a", &code_text.to_lowercase()).await, "ok");
    assert_eq!(redeem("a", &code_text).await, "conflict");
    assert_eq!(redeem("b", "AAAAA-AAAAA-AAAAA-AAAAA").await, "not_found");
    assert_eq!(redeem("b", "").await, "not_found");
    assert_eq!(redeem("b", &code_text).await, "ok");
    assert_eq!(redeem("main", &code_text).await, "not_found", "used up");
    assert_eq!((balance(&fixture.control, &a).await, balance(&fixture.control, &b).await), ((7, 0), (7, 0)));
    check_ledger(&fixture).await;
}

#[tokio::test]
async fn a_month_is_invoiced_after_everything_in_it_has_ended() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let running = try_admit(&fixture.control, &fixture.main, 100, 50).await.expect("admitted");
    fixture.clock.advance_ms(31 * 24 * 60 * 60 * 1000);
    let run = InvoiceRun { month: "2023-11".to_owned() };
    let waiting = async || fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run").waiting;
    assert_eq!(waiting().await, ["main"], "it is running");
    let served = Quantities::tokens(100, 0, 50);
    let receipt = running.settle(UsageOutcome::Complete, served, None).await.expect("written");
    assert_eq!(waiting().await, ["main"], "it is on its way to the client");
    receipt.confirm();
    // What is used while the month is invoiced belongs to the next one.
    let later = use_tokens(&fixture.control, &fixture.main, 7, 7);
    let (done, ()) = tokio::join!(fixture.control.run_invoices(&fixture.operator, &run), later);
    assert_eq!(done.expect("a run").issued.len(), 1);
    let invoice = &fixture.control.list_invoices(&fixture.main, None, &Default::default()).await.expect("invoices").data[0];
    assert_eq!((invoice.total.get(), invoice.due.get()), (200_000, 200_000));
    check_ledger(&fixture).await;
}

#[tokio::test]
async fn a_months_invoice_adds_up() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let other = fixture.tenant("other").await;
    give(&fixture, "other", 1_000_000).await;
    use_tokens(&fixture.control, &other, 333, 111).await;
    use_tokens(&fixture.control, &fixture.main, 1, 1).await;
    let month = "2023-11";
    let run = InvoiceRun { month: month.to_owned() };
    assert_eq!(code(fixture.control.run_invoices(&fixture.operator, &run).await), "invalid_request", "the month is not over");
    assert_eq!(code(fixture.control.run_invoices(&fixture.operator, &InvoiceRun { month: "x".to_owned() }).await), "invalid_request");
    fixture.clock.advance_ms(31 * 24 * 60 * 60 * 1000);
    use_tokens(&fixture.control, &fixture.main, 1_000_000, 0).await;
    let done = fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run");
    assert_eq!(done.issued, ["INV-2023-000001", "INV-2023-000002"]);
    assert_eq!(fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run").before, 2);
    let all = fixture.control.list_invoices(&fixture.operator, None, &Default::default()).await.expect("invoices").data;
    let (of_other, of_main) = (&all[0], &all[1]);
    assert_eq!((of_other.total.get(), of_other.due.get(), of_other.state.as_str()), (555_000, 0, "paid"));
    assert_eq!((of_main.total.get(), of_main.due.get(), of_main.state.as_str()), (3_000, 3_000, "issued"));
    assert_eq!(balance(&fixture.control, &fixture.main).await.0, -1_000_000_000, "only what came after the month is owed");
    let id = of_main.id.to_string();
    assert_eq!(code(fixture.control.invoice(&other, &id, None).await), "not_found");
    for (format, expect) in [(None, "ok"), (Some("html"), "ok"), (Some("pdf"), "ok"), (Some("doc"), "invalid_request")] {
        assert_eq!(code(fixture.control.invoice(&fixture.main, &id, format).await), expect);
    }
    let early = NewCreditNote { amount: NanoUnits::new(1_000), reason: "slow".to_owned() };
    assert_eq!(
        code(fixture.control.credit_note(&fixture.operator, &id, early, None).await),
        "conflict",
        "what was not paid is not given back"
    );
    assert_eq!(fixture.control.pay_invoice(&fixture.operator, &id).await.expect("paid").state, "paid");
    assert_eq!(code(fixture.control.pay_invoice(&fixture.operator, &id).await), "conflict");
    let note = |nano| NewCreditNote { amount: NanoUnits::new(nano), reason: "slow".to_owned() };
    assert_eq!(code(fixture.control.credit_note(&fixture.operator, &id, note(3_001), None).await), "invalid_request");
    assert_eq!(fixture.control.credit_note(&fixture.operator, &id, note(1_000), None).await.expect("a note").number, "CN-2023-000001");
    assert_eq!(code(fixture.control.credit_note(&fixture.operator, &id, note(2_001), None).await), "invalid_request");
    fixture.control.credit_note(&fixture.operator, &id, note(2_000), None).await.expect("a note");
    let after = fixture.control.list_invoices(&fixture.main, None, &Default::default()).await.expect("invoices").data;
    assert_eq!(after.iter().find(|invoice| invoice.id == of_main.id).expect("it").state, "credited");
    check_ledger(&fixture).await;
    export(&fixture, &other, month).await;
}

#[tokio::test]
async fn a_note_over_all_that_is_due_takes_the_debt_and_gives_nothing_to_spend() {
    let fixture = fixture().await;
    publish(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 1, 1).await;
    fixture.clock.advance_ms(31 * 24 * 60 * 60 * 1000);
    let run = InvoiceRun { month: "2023-11".to_owned() };
    fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run");
    let all = fixture.control.list_invoices(&fixture.main, None, &Default::default()).await.expect("invoices").data;
    let before = balance(&fixture.control, &fixture.main).await.0;
    let note = NewCreditNote { amount: all[0].due, reason: "a mistake".to_owned() };
    let id = all[0].id.to_string();
    fixture.control.credit_note(&fixture.operator, &id, note, None).await.expect("a note");
    assert_eq!(balance(&fixture.control, &fixture.main).await.0, before, "nothing to spend comes of a debt");
    assert_eq!(code(fixture.control.pay_invoice(&fixture.operator, &id).await), "conflict", "it is credited");
    check_ledger(&fixture).await;
}

/// The export has a row for each priced thing, and they add up to the invoice.
async fn export(fixture: &Fixture, actor: &Actor, month: &str) {
    for format in [ExportFormat::Csv, ExportFormat::Parquet] {
        let mut pieces = fixture.control.export_usage(actor, None, month, format).await.expect("an export");
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece.expect("a piece"));
        }
        if format == ExportFormat::Csv {
            let text = String::from_utf8(bytes).expect("text");
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.contains("0.000333") && text.contains("0.000222") && text.contains("INV-2023-000002"), "{text}");
        } else {
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        }
    }
    assert_eq!(code(fixture.control.export_usage(actor, None, "2023-13", ExportFormat::Csv).await), "invalid_request");
}

#[tokio::test]
async fn terms_and_credit_are_the_operators() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let other = fixture.tenant("other").await;
    assert_eq!(code(try_admit(&fixture.control, &other, 1, 1).await), "insufficient_credit");
    let terms = |value: Value| serde_json::from_value::<TermsChange>(value).expect("terms");
    let set = async |actor: &Actor, value: Value| code(fixture.control.set_terms(actor, Some("other"), terms(value)).await);
    assert_eq!(set(&other, json!({"mode": "postpaid"})).await, "permission_denied");
    assert_eq!(set(&fixture.operator, json!({"mode": "never"})).await, "invalid_request");
    assert_eq!(set(&fixture.operator, json!({"mode": "prepaid", "credit_limit": "1"})).await, "invalid_request");
    assert_eq!(set(&fixture.operator, json!({"mode": "postpaid", "credit_limit": "3000"})).await, "ok");
    use_tokens(&fixture.control, &other, 1, 1).await;
    assert_eq!(code(try_admit(&fixture.control, &other, 1, 1).await), "insufficient_credit");
    fixture.control.settle_usage().await;
    assert_eq!(set(&fixture.operator, json!({"mode": "prepaid"})).await, "conflict", "it owes something");
    give(&fixture, "other", 3000).await;
    assert_eq!(set(&fixture.operator, json!({"mode": "prepaid"})).await, "ok");
    assert_eq!(balance(&fixture.control, &other).await, (0, 0));
    let new = NewCredit { tenant: "other".to_owned(), amount: NanoUnits::new(0), note: String::new(), paid: false };
    assert_eq!(code(fixture.control.give_credit(&fixture.operator, new, None).await), "invalid_request");
    let once = freehold_control::once::IdempotencyKey::parse("k").expect("a key");
    for _ in 0..2 {
        let new = NewCredit { tenant: "other".to_owned(), amount: NanoUnits::new(5), note: String::new(), paid: false };
        fixture.control.give_credit(&fixture.operator, new, Some(&once)).await.expect("given");
    }
    assert_eq!(balance(&fixture.control, &other).await, (5, 0), "the second call was the first again");
    check_ledger(&fixture).await;
}

#[tokio::test]
async fn old_records_go_and_sums_stay() {
    let fixture = fixture().await;
    publish(&fixture).await;
    for _ in 0..5 {
        use_tokens(&fixture.control, &fixture.main, 10, 0).await;
    }
    fixture.control.settle_usage().await;
    fixture.clock.advance_ms(401 * 24 * 60 * 60 * 1000);
    fixture.control.keep_billing().await.expect("kept");
    assert!(fixture.control.usage_records(&fixture.main, None, &Default::default()).await.expect("records").data.is_empty());
    let request = UsageRequest { from: Some("2023-11-01".to_owned()), ..Default::default() };
    assert_eq!(fixture.control.usage(&fixture.main, &request).await.expect("usage").data[0].requests, 5);
    for bad in [("x", "2023-11-01"), ("2023-11-02", "2023-11-01"), ("2023-02-30", "2024-01-01")] {
        let request = UsageRequest { from: Some(bad.0.to_owned()), to: Some(bad.1.to_owned()), ..Default::default() };
        assert_eq!(code(fixture.control.usage(&fixture.main, &request).await), "invalid_request", "{bad:?}");
    }
    let request = UsageRequest { by: Some("day,colour".to_owned()), ..Default::default() };
    assert_eq!(code(fixture.control.usage(&fixture.main, &request).await), "invalid_request");
}

#[tokio::test]
async fn an_alert_is_sent_signed_and_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (listener, url) = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        (listener, url)
    };
    let fixture = crate::fixture_in(dir, true).await;
    publish(&fixture).await;
    let limits: LimitsChange =
        serde_json::from_value(json!({"budget_day": "1000", "alert_at_percent": [50, 100], "webhook": {"url": url}})).expect("limits");
    let view = fixture.control.set_limits(&fixture.operator, Some("main"), None, limits).await.expect("set");
    assert!(view.webhook_secret.is_some_and(|secret| secret.starts_with("whsec_")));
    use_tokens(&fixture.control, &fixture.main, 0, 0).await;
    let ticket = try_admit(&fixture.control, &fixture.main, 1, 0).await;
    assert_eq!(code(ticket), "ok");
    use_tokens(&fixture.control, &fixture.main, 1, 0).await;
    fixture.control.settle_usage().await;
    let control: Arc<Control> = Arc::new(fixture.control.clone());
    let sending = tokio::spawn(async move { control.send_due_webhooks().await });
    let (mut stream, _) = listener.accept().await.expect("a message");
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.ends_with(b"}") {
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut piece).await.expect("bytes");
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("x-freehold-signature: t=") && text.contains(r#""percent":"#), "{text}");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.expect("answered");
    drop(stream);
    drop(listener);
    sending.await.expect("a task").expect("sent");
}
