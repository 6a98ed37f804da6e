//! Invoices that run by themselves, and taxes: with a real store and a clock that is told the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freehold_control::billing::{ExportFormat, InvoiceRun, InvoiceView, NewCredit, NewCreditNote, RunView, TaxChange};
use freehold_control::clock::Clock;
use freehold_control::{Actor, BillingSettings, Control, Settings};
use freehold_domain::NanoUnits;
use freehold_ledger::UsageOutcome;
use freehold_ledger::usage::Quantities;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::billing::{balance, check_ledger, publish, try_admit, use_tokens};
use crate::{Fixture, HandClock, code, fixture, open, settings, started};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Fixtures begin on 2023-11-14 at 22:13:20.
const TO_DECEMBER_MS: i64 = 16 * DAY_MS + HOUR_MS + 46 * 60 * 1000 + 40 * 1000;

async fn due(fixture: &Fixture) {
    fixture.control.run_due_invoices().await.expect("a look");
}

async fn last_run(fixture: &Fixture) -> RunView {
    fixture.control.invoice_runs(&fixture.operator).await.expect("runs").data.into_iter().next().expect("a run")
}

async fn all_invoices(control: &Control, actor: &Actor) -> Vec<InvoiceView> {
    let mut all = control.list_invoices(actor, None, &Default::default()).await.expect("invoices").data;
    all.reverse();
    all
}

async fn json_of(fixture: &Fixture, invoice: &InvoiceView) -> Value {
    match fixture.control.invoice(&fixture.operator, &invoice.id.to_string(), None).await.expect("an invoice") {
        freehold_control::billing::Document::Json(value) => value,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_month_is_invoiced_by_itself_once_it_is_over() {
    let fixture = fixture().await;
    publish(&fixture).await;
    due(&fixture).await;
    let run = last_run(&fixture).await;
    assert_eq!((run.month.as_str(), run.state.as_str(), run.by.as_str(), run.invoices), ("2023-10", "done", "service", 0));
    use_tokens(&fixture.control, &fixture.main, 1, 1).await;
    fixture.clock.advance_ms(TO_DECEMBER_MS + HOUR_MS - 1000 - 1000);
    due(&fixture).await;
    assert_eq!(last_run(&fixture).await.month, "2023-10", "a second too early");
    fixture.clock.advance_ms(1000);
    for _ in 0..3 {
        due(&fixture).await;
    }
    let run = last_run(&fixture).await;
    assert_eq!((run.month.as_str(), run.state.as_str(), run.by.as_str(), run.invoices), ("2023-11", "done", "service", 1));
    let invoices = all_invoices(&fixture.control, &fixture.main).await;
    assert_eq!(invoices.iter().map(|one| (one.number.as_str(), one.total.get())).collect::<Vec<_>>(), [("INV-2023-000001", 3_000)]);
    let runs = fixture.control.invoice_runs(&fixture.operator).await.expect("runs");
    let upcoming = runs.upcoming.expect("the next");
    assert_eq!((runs.monthly, upcoming.month.as_str(), upcoming.at.to_string().as_str()), (true, "2023-12", "2024-01-01T01:00:00Z"));
    assert_eq!(code(fixture.control.invoice_runs(&fixture.main).await), "permission_denied");
    let trail = fixture.control.trail(&fixture.main, &Default::default()).await.expect("the trail").data;
    assert!(trail.iter().any(|event| event.kind == "freehold.invoice.issued"), "{trail:?}");
    // Months that the service was not there for are made up for.
    use_tokens(&fixture.control, &fixture.main, 5, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    use_tokens(&fixture.control, &fixture.main, 7, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let months: Vec<_> = all_invoices(&fixture.control, &fixture.main).await.into_iter().map(|one| (one.month, one.total.get())).collect();
    assert_eq!(months, [("2023-11".to_owned(), 3_000), ("2023-12".to_owned(), 5_000), ("2024-01".to_owned(), 7_000)]);
    check_ledger(&fixture).await;
}

async fn without_monthly() -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(HandClock::new());
    let billing = BillingSettings { invoice_monthly: false, ..BillingSettings::default() };
    let settings = Settings { billing, ..settings(&dir) };
    let control = Control::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).expect("opens");
    started(control, clock, dir).await
}

#[tokio::test]
async fn where_the_operator_runs_the_months_nothing_runs_by_itself() {
    let fixture = without_monthly().await;
    publish(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 1, 1).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let runs = fixture.control.invoice_runs(&fixture.operator).await.expect("runs");
    assert!(!runs.monthly && runs.upcoming.is_none() && runs.data.is_empty(), "{runs:?}");
    let run = InvoiceRun { month: "2023-11".to_owned() };
    assert_eq!(fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run").issued.len(), 1);
    assert_eq!(last_run(&fixture).await.by, "operator");
}

#[tokio::test]
async fn months_that_are_invoiced_in_the_wrong_order_ask_for_the_same() {
    let fixture = without_monthly().await;
    publish(&fixture).await;
    let terms = serde_json::from_value(json!({"mode": "postpaid"})).expect("terms");
    fixture.control.set_terms(&fixture.operator, Some("main"), terms).await.expect("set");
    let before = fixture.control.balance(&fixture.main, None).await.expect("a balance").balance.get();
    use_tokens(&fixture.control, &fixture.main, 300, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    use_tokens(&fixture.control, &fixture.main, 400, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    for month in ["2023-12", "2023-11"] {
        let run = InvoiceRun { month: month.to_owned() };
        assert_eq!(fixture.control.run_invoices(&fixture.operator, &run).await.expect("a run").issued.len(), 1, "{month}");
    }
    let asked: i64 = all_invoices(&fixture.control, &fixture.main).await.iter().map(|one| one.due.get()).sum();
    assert_eq!(asked, 700_000 - before, "credit pays first, the rest is asked for");
    check_ledger(&fixture).await;
}

#[tokio::test]
async fn who_is_still_being_answered_is_invoiced_soon_after() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let other = fixture.tenant("other").await;
    let ticket = try_admit(&fixture.control, &fixture.main, 100, 50).await.expect("admitted");
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let run = last_run(&fixture).await;
    assert_eq!((run.state.as_str(), run.waiting.as_slice(), run.finished_at), ("waiting", ["main".to_owned()].as_slice(), None));
    assert!(run.next_at.is_some_and(|at| at == fixture.control.now().plus_ms(60_000)), "{run:?}");
    let served = Quantities::tokens(100, 0, 50);
    ticket.settle(UsageOutcome::Complete, served, None).await.expect("written").confirm();
    fixture.clock.advance_ms(59_000);
    due(&fixture).await;
    assert_eq!(last_run(&fixture).await.state, "waiting", "not yet");
    fixture.clock.advance_ms(1_000);
    due(&fixture).await;
    let run = last_run(&fixture).await;
    assert_eq!((run.state.as_str(), run.invoices, run.waiting.len()), ("done", 1, 0));
    assert!(all_invoices(&fixture.control, &other).await.is_empty());
    check_ledger(&fixture).await;
}

/// A service with tenants of which each used something.
async fn with_tenants(count: usize) -> (Fixture, Vec<Actor>) {
    let fixture = fixture().await;
    publish(&fixture).await;
    let mut tenants = Vec::new();
    for n in 0..count {
        let tenant = fixture.tenant(&format!("t{n:03}")).await;
        let terms = serde_json::from_value(json!({"mode": "postpaid"})).expect("terms");
        fixture.control.set_terms(&fixture.operator, Some(&format!("t{n:03}")), terms).await.expect("set");
        use_tokens(&fixture.control, &tenant, 1 + n as u64, 0).await;
        tenants.push(tenant);
    }
    fixture.control.settle_usage().await;
    (fixture, tenants)
}

/// Each tenant has one invoice over what it used, and the numbers have no gap.
async fn check_each_once(control: &Control, operator: &Actor, count: usize) {
    let mut found = Vec::new();
    let mut page = freehold_control::page::PageRequest { limit: Some(1000), after: None };
    loop {
        let next = control.list_invoices(operator, None, &page).await.expect("invoices");
        found.extend(next.data);
        match next.next {
            Some(after) => page.after = Some(after),
            None => break,
        }
    }
    let mut totals: Vec<i64> = found.iter().map(|one| one.total.get()).collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=count as i64).map(|n| n * 1000).collect::<Vec<_>>());
    let mut numbers: Vec<String> = found.into_iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=count).map(|n| format!("INV-2023-{n:06}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runs_at_once_are_one() {
    let (fixture, _) = with_tenants(20).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    let run = InvoiceRun { month: "2023-11".to_owned() };
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let (control, operator, run) = (fixture.control.clone(), fixture.operator.clone(), run.clone());
            tokio::spawn(async move {
                match n % 2 {
                    0 => control.run_due_invoices().await.map(|()| 0),
                    _ => control.run_invoices(&operator, &run).await.map(|done| done.issued.len()),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task").expect("a run");
    }
    check_each_once(&fixture.control, &fixture.operator, 20).await;
    check_ledger(&fixture).await;
}

/// What a process that is killed now leaves behind.
fn left_behind(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(copy.path().join("data")).expect("a folder");
    for entry in std::fs::read_dir(dir.path().join("data")).expect("files") {
        let entry = entry.expect("a file");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), copy.path().join("data").join(entry.file_name())).expect("copied");
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_was_cut_short_is_taken_up() {
    let (fixture, _) = with_tenants(40).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    let control = fixture.control.clone();
    let running = tokio::spawn(async move { control.run_due_invoices().await });
    let deadline = Instant::now() + Duration::from_secs(60);
    while all_invoices(&fixture.control, &fixture.operator).await.len() < 5 {
        assert!(Instant::now() < deadline, "no invoices");
        tokio::task::yield_now().await;
    }
    running.abort();
    let copy = left_behind(&fixture.dir);
    let after = open(&copy, &fixture.clock);
    let made = all_invoices(&after, &fixture.operator).await.len();
    assert!((5..40).contains(&made), "{made} of 40: it was cut short");
    let run = after.invoice_runs(&fixture.operator).await.expect("runs").data.remove(0);
    assert_eq!((run.state.as_str(), run.month.as_str()), ("running", "2023-11"));
    after.run_due_invoices().await.expect("taken up");
    check_each_once(&after, &fixture.operator, 40).await;
    let run = after.invoice_runs(&fixture.operator).await.expect("runs").data.remove(0);
    assert_eq!((run.state.as_str(), run.invoices), ("done", 40));
    let ledger = after.ledger(&fixture.operator).await.expect("a ledger");
    assert_eq!((ledger.total.get(), ledger.accounts["customer"].get(), ledger.accounts["receivable"].get()), (0, 0, -820_000));
}

#[tokio::test]
async fn a_clock_that_jumps_charges_for_everything_once() {
    let fixture = fixture().await;
    publish(&fixture).await;
    due(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 1, 0).await;
    fixture.clock.advance_ms(200 * DAY_MS);
    due(&fixture).await;
    let first = &all_invoices(&fixture.control, &fixture.main).await[0];
    assert_eq!((first.month.as_str(), first.total.get()), ("2023-11", 1_000), "too early, by a clock that is wrong");
    fixture.clock.advance_ms(-200 * DAY_MS);
    due(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 20, 0).await;
    let late = fixture.tenant("late").await;
    crate::billing::give(&fixture, "late", 1_000_000_000).await;
    use_tokens(&fixture.control, &late, 3, 0).await;
    fixture.clock.advance_ms(TO_DECEMBER_MS + 2 * HOUR_MS);
    due(&fixture).await;
    let run = last_run(&fixture).await;
    assert_eq!(run.month, "2024-05", "the wrong clock's months are still there");
    assert_eq!(all_invoices(&fixture.control, &late).await[0].total.get(), 3_000, "the month was run again");
    use_tokens(&fixture.control, &fixture.main, 300, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 4_000, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    due(&fixture).await;
    let found = all_invoices(&fixture.control, &fixture.main).await;
    let totals: Vec<_> = found.iter().map(|one| (one.month.as_str(), one.total.get())).collect();
    assert_eq!(totals, [("2023-11", 1_000), ("2023-12", 320_000), ("2024-01", 4_000_000)], "what came late is on the next one");
    let december = json_of(&fixture, &found[1]).await;
    let lines: Vec<_> = december["lines"].as_array().expect("lines").iter().map(|line| (&line["month"], &line["amount"])).collect();
    assert_eq!(lines, [(&Value::Null, &json!("300000")), (&json!("2023-11"), &json!("20000"))]);
    assert_eq!(balance(&fixture.control, &fixture.main).await.0, 0, "every charge is on an invoice");
    check_ledger(&fixture).await;
}

fn tax(value: Value) -> TaxChange {
    serde_json::from_value(value).expect("a tax")
}

async fn set_tax(fixture: &Fixture, tenant: Option<&str>, value: Value) {
    fixture.control.set_tax(&fixture.operator, tenant, tax(value)).await.expect("set");
}

#[tokio::test]
async fn taxes_are_added_to_what_is_due() {
    let fixture = fixture().await;
    publish(&fixture).await;
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "19", "note": "MwSt."})).await;
    let abroad = fixture.tenant("abroad").await;
    let terms = || serde_json::from_value(json!({"mode": "postpaid"})).expect("terms");
    fixture.control.set_terms(&fixture.operator, Some("abroad"), terms()).await.expect("set");
    set_tax(
        &fixture,
        Some("abroad"),
        json!({"treatment": "reverse_charge", "tax_id": "FR123", "billed_to": "Abroad SARL\n1 rue X\nParis"}),
    )
    .await;
    use_tokens(&fixture.control, &fixture.main, 1, 1).await;
    use_tokens(&fixture.control, &abroad, 7, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    // A rate that is set later, for a later month, holds for that one.
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "20"})).await;
    due(&fixture).await;
    let found = all_invoices(&fixture.control, &fixture.operator).await;
    let numbers: Vec<_> = found.iter().map(|one| (one.total.get(), one.tax.get(), one.gross.get(), one.due.get())).collect();
    assert_eq!(numbers, [(3_000, 570, 3_570, 3_570), (7_000, 0, 7_000, 7_000)]);
    let document = json_of(&fixture, &found[1]).await;
    assert_eq!(document["buyer"]["lines"], json!(["Abroad SARL", "1 rue X", "Paris", "Tax id: FR123"]));
    assert!(document["note"].as_str().is_some_and(|note| note.contains("Reverse charge")), "{document}");
    let account = async |kind: &str| fixture.control.ledger(&fixture.operator).await.expect("a ledger").accounts[kind].get();
    assert_eq!((account("tax").await, account("receivable").await), (570, -10_570));
    // What was issued stays as it is, whatever is set now for then.
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "7", "from": "2023-11"})).await;
    assert_eq!(json_of(&fixture, &found[0]).await["tax"]["rate_percent"], "19");
    let id = found[0].id.to_string();
    let note = |nano: i64| NewCreditNote { amount: NanoUnits::new(nano), reason: "a mistake".to_owned() };
    assert_eq!(code(fixture.control.credit_note(&fixture.operator, &id, note(3_000), None).await), "conflict", "all that is due");
    let whole = fixture.control.credit_note(&fixture.operator, &id, note(3_570), None).await.expect("a note");
    assert_eq!((whole.total.get(), whole.tax.get(), whole.gross.get()), (3_000, 570, 3_570));
    assert_eq!((account("tax").await, account("receivable").await), (0, -7_000));
    assert_eq!(fixture.control.pay_invoice(&fixture.operator, &found[1].id.to_string()).await.expect("paid").state, "paid");
    assert_eq!((account("receivable").await, account("cash").await), (0, -7_000));
    check_ledger(&fixture).await;
}

#[tokio::test]
async fn credit_is_net_and_taxed_when_it_is_bought() {
    let fixture = fixture().await;
    publish(&fixture).await;
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "8.875", "name": "Sales tax"})).await;
    let other = fixture.tenant("other").await;
    let credit = |nano: i64, paid: bool| NewCredit { tenant: "other".to_owned(), amount: NanoUnits::new(nano), note: "x".to_owned(), paid };
    let once = freehold_control::once::IdempotencyKey::parse("k").expect("a key");
    for _ in 0..2 {
        fixture.control.give_credit(&fixture.operator, credit(1_000_001, true), Some(&once)).await.expect("bought");
    }
    fixture.control.give_credit(&fixture.operator, credit(5, false), None).await.expect("given");
    assert_eq!(balance(&fixture.control, &other).await, (1_000_006, 0), "net, and once");
    let receipts = all_invoices(&fixture.control, &other).await;
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    let receipt = &receipts[0];
    assert_eq!((receipt.kind.as_str(), receipt.number.as_str(), receipt.state.as_str()), ("top_up", "TOP-2023-000001", "paid"));
    // 88750.08875, rounded once.
    assert_eq!((receipt.total.get(), receipt.tax.get(), receipt.gross.get()), (1_000_001, 88_750, 1_088_751));
    for format in ["html", "pdf"] {
        assert_eq!(code(fixture.control.invoice(&other, &receipt.id.to_string(), Some(format)).await), "ok");
    }
    assert_eq!(code(fixture.control.pay_invoice(&fixture.operator, &receipt.id.to_string()).await), "conflict");
    use_tokens(&fixture.control, &other, 333, 111).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let invoice = all_invoices(&fixture.control, &other).await.into_iter().find(|one| one.kind == "invoice").expect("an invoice");
    assert_eq!((invoice.total.get(), invoice.tax.get(), invoice.due.get(), invoice.state.as_str()), (555_000, 0, 0, "paid"));
    let ledger = fixture.control.ledger(&fixture.operator).await.expect("a ledger");
    assert_eq!((ledger.accounts["tax"].get(), ledger.accounts["cash"].get()), (88_750, -1_088_751));
    // A note over what credit paid for is credit again, and its tax stays paid.
    let note = NewCreditNote { amount: NanoUnits::new(1_000), reason: "slow".to_owned() };
    let note = fixture.control.credit_note(&fixture.operator, &invoice.id.to_string(), note, None).await.expect("a note");
    assert_eq!((note.total.get(), note.tax.get(), note.gross.get()), (1_000, 0, 1_000));
    check_ledger(&fixture).await;
}

/// The rows of a month's export, as the values of their columns.
async fn exported(fixture: &Fixture, month: &str) -> Vec<std::collections::HashMap<String, String>> {
    let mut pieces = fixture.control.export_usage(&fixture.main, None, month, ExportFormat::Csv).await.expect("an export");
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece.expect("a piece"));
    }
    csv::Reader::from_reader(&*bytes).deserialize().collect::<Result<_, _>>().expect("rows")
}

#[tokio::test]
async fn usage_that_came_late_names_the_invoice_that_charged_for_it() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let billed = async |month: &str| -> Vec<(String, String)> {
        let row = |row: std::collections::HashMap<String, String>| (row["ConsumedQuantity"].clone(), row["InvoiceId"].clone());
        exported(&fixture, month).await.into_iter().map(row).collect()
    };
    let pair = |tokens: &str, invoice: &str| (tokens.to_owned(), invoice.to_owned());
    due(&fixture).await;
    fixture.clock.advance_ms(3 * HOUR_MS);
    for tokens in [1, 2] {
        use_tokens(&fixture.control, &fixture.main, tokens, 0).await;
    }
    assert_eq!(billed("2023-11").await, [pair("1.0", ""), pair("2.0", "")]);
    // A clock that is wrong closes the month; what comes then has begun before what is on the invoice, and after it.
    fixture.clock.advance_ms(200 * DAY_MS);
    due(&fixture).await;
    let first = all_invoices(&fixture.control, &fixture.main).await[0].number.clone();
    fixture.clock.advance_ms(-200 * DAY_MS - HOUR_MS);
    use_tokens(&fixture.control, &fixture.main, 10, 0).await;
    fixture.clock.advance_ms(2 * HOUR_MS);
    use_tokens(&fixture.control, &fixture.main, 20, 0).await;
    let early = [pair("10.0", ""), pair("1.0", &first), pair("2.0", &first), pair("20.0", "")];
    assert_eq!(billed("2023-11").await, early, "what is on no invoice names none");
    fixture.clock.advance_ms(TO_DECEMBER_MS + 2 * HOUR_MS);
    due(&fixture).await;
    use_tokens(&fixture.control, &fixture.main, 300, 0).await;
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let second = all_invoices(&fixture.control, &fixture.main).await[1].number.clone();
    let late = [pair("10.0", &second), pair("1.0", &first), pair("2.0", &first), pair("20.0", &second)];
    assert_eq!(billed("2023-11").await, late);
    assert_eq!(billed("2023-12").await, [pair("300.0", &second)]);
    // One more, when its month is on two invoices.
    fixture.clock.advance_ms(-47 * DAY_MS);
    use_tokens(&fixture.control, &fixture.main, 5, 0).await;
    let mut more = billed("2023-11").await;
    more.retain(|(tokens, _)| tokens == "5.0");
    assert_eq!(more, [pair("5.0", "")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_names_a_hundred_who_are_left_and_the_rest_in_pages() {
    const TENANTS: usize = 130;
    let (fixture, tenants) = with_tenants(TENANTS).await;
    let mut tickets = Vec::new();
    for tenant in &tenants {
        tickets.push(try_admit(&fixture.control, tenant, 1, 1).await.expect("admitted"));
    }
    fixture.clock.advance_ms(31 * DAY_MS);
    due(&fixture).await;
    let run = last_run(&fixture).await;
    assert_eq!((run.state.as_str(), run.waiting_count, run.waiting.len(), run.failed_count), ("waiting", TENANTS as u64, 100, 0));
    let by_hand = InvoiceRun { month: "2023-11".to_owned() };
    let by_hand = fixture.control.run_invoices(&fixture.operator, &by_hand).await.expect("a run");
    assert_eq!((by_hand.waiting_count, by_hand.waiting.len()), (TENANTS as u64, 100));
    let (mut names, mut page) = (Vec::new(), freehold_control::page::PageRequest { limit: Some(50), after: None });
    loop {
        let next = fixture.control.invoice_run_left(&fixture.operator, "2023-11", &page).await.expect("a page");
        assert!(next.data.len() <= 50 && next.data.iter().all(|one| one.state == "waiting" && one.why.is_none()), "{next:?}");
        names.extend(next.data.into_iter().map(|one| one.tenant));
        match next.next {
            Some(after) => page.after = Some(after),
            None => break,
        }
    }
    names.sort_unstable();
    assert_eq!(names, (0..TENANTS).map(|n| format!("t{n:03}")).collect::<Vec<_>>());
    let left = async |actor, month, after: Option<&str>| {
        let page = freehold_control::page::PageRequest { limit: None, after: after.map(str::to_owned) };
        code(fixture.control.invoice_run_left(actor, month, &page).await)
    };
    assert_eq!(left(&fixture.main, "2023-11", None).await, "permission_denied");
    assert_eq!(left(&fixture.operator, "2023-13", None).await, "invalid_request");
    assert_eq!(left(&fixture.operator, "2023-11", Some("x")).await, "invalid_request");
    assert_eq!(left(&fixture.operator, "2020-01", None).await, "not_found");
}

#[tokio::test]
async fn an_export_has_one_row_for_the_tax() {
    let fixture = fixture().await;
    publish(&fixture).await;
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "19"})).await;
    use_tokens(&fixture.control, &fixture.main, 1_000, 0).await;
    fixture.control.settle_usage().await;
    fixture.clock.advance_ms(31 * DAY_MS);
    let export = async || {
        let mut pieces = fixture.control.export_usage(&fixture.main, None, "2023-11", ExportFormat::Csv).await.expect("an export");
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece.expect("a piece"));
        }
        String::from_utf8(bytes).expect("text")
    };
    assert_eq!(export().await.lines().count(), 2, "before the invoice nothing is asked for");
    due(&fixture).await;
    let text = export().await;
    assert_eq!(text.lines().count(), 3, "{text}");
    let row = text.lines().last().expect("a row");
    assert!(row.contains("Tax") && row.contains("VAT 19 %") && row.contains("0.00019,") && row.contains("INV-2023-000001"), "{row}");
    assert!(text.lines().nth(1).expect("a row").contains("0.001"), "costs are without it: {text}");
}

#[tokio::test]
async fn taxes_are_the_operators_and_are_checked() {
    let fixture = fixture().await;
    let other = fixture.tenant("other").await;
    assert_eq!(code(fixture.control.set_tax(&fixture.main, None, tax(json!({"treatment": "none"}))).await), "permission_denied");
    assert_eq!(code(fixture.control.set_tax(&fixture.main, Some("other"), tax(json!({"treatment": "none"}))).await), "not_found");
    assert_eq!(code(fixture.control.tax(&fixture.main, Some("other")).await), "not_found");
    let long = "x".repeat(1001);
    let bad = [
        (None, json!({"treatment": "taxed"}), "rate_percent"),
        (None, json!({"treatment": "taxed", "rate_percent": "19,5"}), "rate_percent"),
        (None, json!({"treatment": "taxed", "rate_percent": "-1"}), "rate_percent"),
        (None, json!({"treatment": "taxed", "rate_percent": "100.0001"}), "rate_percent"),
        (None, json!({"treatment": "taxed", "rate_percent": "1e2"}), "rate_percent"),
        (None, json!({"treatment": "taxed", "rate_percent": "19", "name": " "}), "name"),
        (None, json!({"treatment": "taxed", "rate_percent": "19", "name": "a\u{0}b"}), "name"),
        (None, json!({"treatment": "taxed", "rate_percent": "19", "note": long}), "note"),
        (None, json!({"treatment": "taxed", "rate_percent": "19", "from": "2023-13"}), "from"),
        (None, json!({"treatment": "taxed", "rate_percent": "19", "tax_id": "x"}), "tax_id"),
        (None, json!({"treatment": "exempt"}), "note"),
        (None, json!({"treatment": "exempt", "note": "x", "rate_percent": "7"}), "rate_percent"),
        (None, json!({"treatment": "reverse_charge"}), "treatment"),
        (None, json!({"treatment": "inherit"}), "treatment"),
        (None, json!({"treatment": "free"}), "treatment"),
        (None, json!({"treatment": ""}), "treatment"),
        (Some("other"), json!({"treatment": "reverse_charge"}), "tax_id"),
        (Some("other"), json!({"treatment": "inherit", "tax_id": "x".repeat(41)}), "tax_id"),
        (Some("other"), json!({"treatment": "inherit", "billed_to": "a\n".repeat(9)}), "billed_to"),
        (Some("other"), json!({"treatment": "inherit", "billed_to": "a\tb"}), "billed_to"),
    ];
    for (tenant, value, param) in bad {
        let error = fixture.control.set_tax(&fixture.operator, tenant, tax(value.clone())).await.expect_err("refused");
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some(param)), "{value}");
    }
    let none = fixture.control.tax(&fixture.main, None).await.expect("the own");
    assert_eq!((none.now.treatment.as_str(), none.inherited), ("none", true), "nothing was set: {none:?}");
    set_tax(&fixture, None, json!({"treatment": "taxed", "rate_percent": "19.50"})).await;
    let seen = fixture.control.tax(&fixture.main, None).await.expect("the own");
    assert_eq!((seen.now.rate_percent.as_deref(), seen.inherited, seen.rules.len()), (Some("19.5"), true, 0));
    set_tax(&fixture, Some("other"), json!({"treatment": "exempt", "note": "§ 4", "from": "2023-12", "tax_id": "T1"})).await;
    let seen = fixture.control.tax(&other, None).await.expect("the own");
    assert_eq!((seen.now.treatment.as_str(), seen.inherited, seen.tax_id.as_str()), ("taxed", true, "T1"), "not before its month");
    fixture.clock.advance_ms(31 * DAY_MS);
    let seen = fixture.control.tax(&fixture.operator, Some("other")).await.expect("the tenant's");
    assert_eq!((seen.now.treatment.as_str(), seen.inherited, seen.rules.len()), ("exempt", false, 1));
    set_tax(&fixture, Some("other"), json!({"treatment": "inherit"})).await;
    let seen = fixture.control.tax(&other, None).await.expect("the own");
    assert_eq!((seen.now.treatment.as_str(), seen.inherited, seen.tax_id.as_str()), ("taxed", true, "T1"), "what is left out stays");
}

#[tokio::test]
async fn a_request_that_costs_more_than_its_bound_says_so() {
    let fixture = fixture().await;
    publish(&fixture).await;
    let ticket = try_admit(&fixture.control, &fixture.main, 10, 10).await.expect("admitted");
    let served = Quantities::tokens(100, 0, 10);
    ticket.settle(UsageOutcome::Complete, served, Some(served)).await.expect("written").confirm();
    use_tokens(&fixture.control, &fixture.main, 10, 10).await;
    fixture.control.settle_usage().await;
    let records = fixture.control.usage_records(&fixture.main, None, &Default::default()).await.expect("records").data;
    let found: Vec<_> =
        records.iter().map(|one| (one.billable.input_tokens, one.amount.get(), one.uncapped_amount.map(NanoUnits::get))).collect();
    assert_eq!(found, [(10, 30_000, None), (100, 30_000, Some(120_000))]);
    assert_eq!(balance(&fixture.control, &fixture.main).await.0, -60_000);
    check_ledger(&fixture).await;
}
