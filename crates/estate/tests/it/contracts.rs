//! Contracts: the book, the imports as the providers' APIs return them, the Data Act's clocks, the calendar.

use freehold_estate::contracts::calendar::calendar;
use freehold_estate::contracts::clocks::{ClockKind, asks, clocks, switching_charge_rule, switching_notice_end};
use freehold_estate::contracts::import::{import, import_csv};
use freehold_estate::contracts::{Amount, Book, BookFormat, Contract, ContractError, EarlyTermination, dates, list};
use proptest::prelude::*;
use time::Date;
use time::macros::{date, datetime};

const TODAY: Date = date!(2026 - 11 - 23);

const SAVINGS_PLANS: &str = r#"{
  "savingsPlans": [{
    "offeringId": "4ccb0a7c-0000-4000-8000-b4d6e5a0c2a1",
    "savingsPlanId": "9f1b2c3d-0000-4000-8000-000000000001",
    "savingsPlanArn": "arn:aws:savingsplans::123456789012:savingsplan/9f1b2c3d-0000-4000-8000-000000000001",
    "description": "1 year No Upfront Compute Savings Plan",
    "start": "2026-03-01T09:00:00.000Z",
    "end": "2027-03-01T08:59:59.000Z",
    "state": "active",
    "savingsPlanType": "Compute",
    "paymentOption": "No Upfront",
    "productTypes": ["Fargate", "Lambda", "EC2"],
    "currency": "USD",
    "commitment": "2.5",
    "upfrontPaymentAmount": "0.0",
    "recurringPaymentAmount": "2.5",
    "termDurationInSeconds": 31536000,
    "tags": {},
    "returnableUntil": "2026-03-01T09:00:00.000Z"
  }],
  "nextToken": null
}"#;

const AZURE_LOTS: &str = r#"{"value": [
  {"id": "/providers/Microsoft.Billing/billingAccounts/1234:5678_2019-05-31/providers/Microsoft.Consumption/lots/G2026",
   "name": "G2026", "type": "Microsoft.Consumption/lots", "eTag": null,
   "properties": {"purchasedDate": "2026-03-24T16:26:46.0000000Z", "status": "Active",
     "originalAmount": {"currency": "USD", "value": 10000.0}, "closedBalance": {"currency": "USD", "value": 9899.42},
     "source": "ConsumptionCommitment", "startDate": "2026-03-01T00:00:00.0000000Z", "expirationDate": "2029-02-28T00:00:00.0000000Z"}},
  {"name": "promo", "type": "Microsoft.Consumption/lots",
   "properties": {"source": "PromotionalCredit", "startDate": "2026-03-01T00:00:00Z", "expirationDate": "2027-02-28T00:00:00Z"}}
]}"#;

const AZURE_MACC: &str = r#"{"value": [{
  "name": "13810867107109237", "type": "Microsoft.BillingBenefits/applicableMaccs",
  "id": "/providers/Microsoft.Billing/billingAccounts/acct:org/providers/Microsoft.BillingBenefits/applicableMaccs/13810867107109237",
  "properties": {"automaticShortfall": "Enabled", "billingAccountResourceId": "/providers/Microsoft.Billing/billingAccounts/acct:org",
    "commitment": {"amount": 20000, "currencyCode": "USD", "grain": "FullTerm"}, "displayName": "macc 2026",
    "startAt": "2026-07-01T00:00:00Z", "endAt": "2027-07-01T00:00:00Z", "status": "Active", "systemId": "13810867107109237"}}]}"#;

fn contract() -> Contract {
    let mut contract = Contract::new("edp-1", "aws", date!(2025 - 01 - 01), date!(2027 - 01 - 01));
    contract.cost = Some("730000".parse().expect("an amount"));
    contract.currency = Some("USD".to_owned());
    contract.notice_days = Some(90);
    contract.auto_renew = Some(true);
    contract.renewal_months = Some(12);
    contract.early_termination = Some(EarlyTermination::ShareOfRemaining(100));
    contract
}

#[test]
fn savings_plans_are_taken_over() {
    let found = import(SAVINGS_PLANS).expect("valid");
    let plan = &found.contracts[0];
    assert_eq!((found.recognised, found.contracts.len(), found.skipped.len()), ("AWS Savings Plans", 1, 0));
    assert_eq!(plan.cost.map(|cost| cost.to_string()), Some("21900".to_owned()), "2.5 an hour for 365 days");
    assert_eq!((plan.period_start, plan.period_end), (date!(2026 - 03 - 01), date!(2027 - 03 - 01)));
    assert_eq!(plan.returnable_until, None, "the API gives the start where a plan cannot be returned");
    assert_eq!((plan.auto_renew, plan.early_termination), (Some(false), Some(EarlyTermination::ShareOfRemaining(100))));
}

#[test]
fn azure_lots_and_maccs_are_taken_over() {
    let lots = import(AZURE_LOTS).expect("valid");
    assert_eq!((lots.contracts.len(), lots.skipped.len()), (1, 1));
    let lot = &lots.contracts[0];
    assert_eq!(lot.contract_id.as_deref(), Some("1234:5678_2019-05-31"));
    assert_eq!(lot.remaining_on(TODAY).map(|left| left.to_string()), Some("9899.42".to_owned()));
    let maccs = import(AZURE_MACC).expect("valid");
    let macc = &maccs.contracts[0];
    assert_eq!((macc.title(), macc.provider.as_str()), ("macc 2026", "azure"));
    assert_eq!(macc.cost.map(|cost| cost.grouped()), Some("20,000".to_owned()));
    let both = import(&format!("[{AZURE_LOTS},{SAVINGS_PLANS}]")).expect("pages in one array");
    assert_eq!(both.contracts.len(), 2);
}

#[test]
fn csv_with_focus_columns_is_taken_over() {
    let text = "ContractCommitmentId;ServiceProviderName;ContractCommitmentCategory;ContractCommitmentCost;BillingCurrency;ContractCommitmentPeriodStart;ContractCommitmentPeriodEnd;x_Team;Notice days;Auto-renew;Early termination fee;Divert %\n\
                \"cud; 1\";Google;Spend;1000.50;EUR;2026-01-01T00:00:00Z;2027-01-01T00:00:00Z;a;30;yes;50%;\n";
    let found = import_csv(&text.replace("Divert %", "divert_percent")).expect("valid");
    let row = &found.contracts[0];
    assert_eq!((row.id.as_str(), row.provider.as_str(), row.notice_days), ("cud; 1", "google", Some(30)));
    assert_eq!((row.auto_renew, row.early_termination), (Some(true), Some(EarlyTermination::ShareOfRemaining(50))));
}

#[test]
fn bad_imports_say_where_and_what() {
    let check = |text: &str, expect: &str| {
        let error = import(text).expect_err(text).to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("", "empty");
    check("{}", "savingsPlans");
    check("{\"savingsPlans\": [{\"start\": \"x\"}]}", "savingsPlanId");
    check("{\"savingsPlans\": [{\"savingsPlanId\": \"a\", \"start\": \"soon\", \"end\": \"2027-01-01\"}]}", "soon");
    check("{\"savingsPlans\": ", "invalid JSON");
    check("id,start,end\na,2026-01-01\n", "line 2");
    check("id,start,end\na,2026-01-01,2025-01-01\n", "not after its start");
    check("id,start,end,cost\na,2026-01-01,2027-01-01,1.000.000\n", "line 2");
    check("id,start,end,colour\n", "colour");
    check("id,start\n", "PeriodEnd");
    check("id,id,start,end\n", "twice");
}

#[test]
fn a_book_survives_both_formats_and_refuses_what_it_does_not_know() {
    let mut book = Book::default();
    book.add(contract()).expect("valid");
    let merged = book.merge(import(AZURE_LOTS).expect("valid").contracts).expect("valid");
    assert_eq!((merged.added, merged.updated, merged.unchanged), (1, 0, 0));
    for format in [BookFormat::Json, BookFormat::Toml] {
        let text = book.write(format).expect("writable");
        assert_eq!(Book::read(&text, format).expect("readable"), book);
    }
    let later = r#"{"schema": "freehold.contracts/9", "contracts": []}"#;
    assert!(matches!(Book::read(later, BookFormat::Json), Err(ContractError::Schema { .. })));
    let stray = r#"{"schema": "freehold.contracts/1", "contracts": [{"id":"a","provider":"aws","period_start":"2026-01-01","period_end":"2027-01-01","colour":"red"}]}"#;
    assert!(Book::read(stray, BookFormat::Json).expect_err("unknown key").to_string().contains("colour"));
    assert!(matches!(book.add(contract()), Err(ContractError::Contract { .. })), "the id is taken");
    assert!(book.get("edp").expect_err("missing").to_string().contains("edp-1"));
}

#[test]
fn a_second_import_keeps_what_a_person_entered() {
    let mut book = Book::default();
    book.merge(import(SAVINGS_PLANS).expect("valid").contracts).expect("valid");
    let mut known = book.contracts()[0].clone();
    known.notice_days = Some(30);
    known.divert_percent = Some(20);
    book.merge(vec![known]).expect("valid");
    let again = book.merge(import(SAVINGS_PLANS).expect("valid").contracts).expect("valid");
    assert_eq!(again.unchanged, 1);
    assert_eq!((book.contracts()[0].notice_days, book.contracts()[0].divert_percent), (Some(30), Some(20)));
}

#[test]
fn the_clocks_follow_the_articles() {
    let check = |kind: ClockKind, date: Date, basis: &str| {
        let found = clocks(&contract(), TODAY).into_iter().find(|clock| clock.kind == kind).unwrap_or_else(|| panic!("{}", kind.key()));
        assert_eq!((found.date, found.basis.as_str()), (date, basis), "{}", kind.key());
    };
    check(ClockKind::Notice, date!(2026 - 10 - 03), "contract");
    check(ClockKind::SwitchNoticeEnds, date!(2027 - 01 - 23), "Art. 25(2)(d)");
    check(ClockKind::TransitionEnds, date!(2027 - 02 - 22), "Art. 25(2)(a)");
    check(ClockKind::RetrievalEnds, date!(2027 - 03 - 24), "Art. 25(2)(g), (h)");
    check(ClockKind::TransitionExtendedEnds, date!(2027 - 08 - 23), "Art. 25(4)");
    check(ClockKind::ExtensionAnswer, date!(2026 - 12 - 11), "Art. 25(4)");
    check(ClockKind::StartSwitch, date!(2026 - 10 - 02), "Art. 25(2)(a), (d)");
    check(ClockKind::NoSwitchingCharges, date!(2027 - 01 - 12), "Art. 29(1)");
    check(ClockKind::Renews, date!(2027 - 01 - 01), "contract");
}

#[test]
fn a_shorter_notice_counts_and_a_longer_one_is_capped() {
    let mut short = contract();
    short.notice_days = Some(14);
    assert_eq!(switching_notice_end(&short, TODAY), date!(2026 - 12 - 07));
    assert_eq!(switching_notice_end(&contract(), TODAY), date!(2027 - 01 - 23));
    let mut outside = contract();
    outside.data_act = Some(false);
    assert!(clocks(&outside, TODAY).iter().all(|clock| clock.basis == "contract"));
    assert!(switching_charge_rule(date!(2027 - 01 - 11)).contains("limited"));
    assert!(switching_charge_rule(date!(2027 - 01 - 12)).starts_with("No switching charge"));
}

#[test]
fn leaving_early_is_priced_from_what_remains() {
    let paid = contract().early_termination_on(date!(2026 - 12 - 22)).expect("known");
    assert_eq!(paid.to_string(), "10000", "1000 a day, ten days left");
    assert_eq!(contract().early_termination_on(date!(2027 - 01 - 01)), Some(Amount::ZERO));
}

#[test]
fn the_list_warns_about_ninety_days_and_passed_notice() {
    let text = list::list(&[contract()], TODAY, 400);
    assert!(text.contains("notice day has passed and it will renew"), "{text}");
    let mut ends = contract();
    ends.auto_renew = Some(false);
    ends.notice_days = None;
    let text = list::list(&[ends], TODAY, 400);
    assert!(text.contains("To decide in the next 90 days"), "{text}");
    assert!(text.contains("in 39 days"), "{text}");
    let asks = asks(&contract());
    assert!(asks.iter().any(|ask| ask.clause.contains("divert clause")));
    assert!(asks.iter().any(|ask| ask.basis == "Art. 25(2)(d)" && ask.why.contains("90 days")));
    insta::assert_snapshot!("show", list::show(&contract(), TODAY));
}

#[test]
fn the_calendar_is_rfc_5545() {
    let mut odd = contract();
    odd.id = "Vertrag Nr. 7; München, ü\\".to_owned();
    odd.description = Some("Größe; des, Vertrags\\mit Überlänge 🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠\nzweite Zeile".to_owned());
    odd.switching_notice = Some(date!(2026 - 11 - 02));
    let stamp = datetime!(2026 - 11 - 23 08:30:00 +1);
    let text = calendar(&[contract(), odd], TODAY, stamp);
    assert_eq!(
        text,
        calendar(
            &[contract(), {
                let mut c = contract();
                c.id = "Vertrag Nr. 7; München, ü\\".to_owned();
                c.description =
                    Some("Größe; des, Vertrags\\mit Überlänge 🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠🏠\nzweite Zeile".to_owned());
                c.switching_notice = Some(date!(2026 - 11 - 02));
                c
            }],
            TODAY,
            stamp
        )
    );
    assert!(text.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") && text.ends_with("END:VCALENDAR\r\n"));
    assert!(text.contains("DTSTAMP:20261123T073000Z"));
    assert_eq!(text.matches("BEGIN:VEVENT").count(), text.matches("END:VEVENT").count());
    assert!(text.matches("BEGIN:VALARM").count() >= 4);
    assert_eq!(text.matches("UID:no-switching-charges.law@").count(), 1, "the law's date once, not once per contract");
    let mut uids: Vec<&str> =
        unfolded_lines(&text).filter(|line| line.starts_with("UID:")).map(|line| line.to_owned().leak() as &str).collect();
    let count = uids.len();
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), count, "ids are unique");
    check_lines(&text);
    insta::assert_snapshot!("calendar", calendar(&[contract()], TODAY, stamp).replace("\r\n", "\n"));
}

fn unfolded_lines(text: &str) -> impl Iterator<Item = String> {
    text.replace("\r\n ", "").split("\r\n").map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn check_lines(text: &str) {
    for line in text.split("\r\n") {
        assert!(line.len() <= 75, "{line:?} has {} octets", line.len());
        assert!(!line.contains(['\n', '\r']), "{line:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_stays_inside_its_line(id in "\\PC{1,40}", title in ".{0,300}") {
        let mut odd = contract();
        odd.id = id;
        odd.description = Some(title);
        let text = calendar(&[odd], TODAY, datetime!(2026 - 11 - 23 00:00:00 UTC));
        check_lines(&text);
        prop_assert_eq!(unfolded_lines(&text).filter(|line| line == "END:VEVENT").count(), text.matches("\r\nBEGIN:VEVENT\r\n").count());
    }

    #[test]
    fn imports_never_panic(text in "[\\[\\]{}\":,;a-zA-Z0-9 \n._-]{0,200}") {
        let _ = import(&text);
        let _ = import(&format!("{{\"savingsPlans\":[{{{text}}}]}}"));
        let _ = import(&format!("id,start,end\n{text}"));
        let _ = Book::read(&text, BookFormat::Toml);
    }

    #[test]
    fn amounts_round_trip(nanos in any::<i64>()) {
        let amount = Amount::from_nanos(nanos);
        prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        let _ = amount.grouped();
    }

    #[test]
    fn clocks_are_in_order_and_never_panic(start in 0_i64..80_000, length in 1_i64..20_000, offset in -3_000_i64..3_000, notice in proptest::option::of(0_u32..3_650)) {
        let start = dates::plus_days(date!(1990 - 01 - 01), start.min(76_000));
        let mut contract = Contract::new("c", "aws", start, dates::plus_days(start, length));
        contract.notice_days = notice;
        contract.auto_renew = Some(true);
        let today = dates::plus_days(start, offset);
        let found = clocks(&contract, today);
        prop_assert!(found.windows(2).all(|pair| pair[0].date <= pair[1].date));
        let notice_end = switching_notice_end(&contract, today);
        prop_assert!(notice_end >= today && notice_end <= dates::plus_days(today, 62));
        let _ = list::show(&contract, today);
    }
}

#[test]
fn the_list_fits_a_narrow_terminal() {
    let mut long = contract();
    long.auto_renew = Some(false);
    long.notice_days = None;
    long.period_end = date!(2028 - 01 - 01);
    let text = list::list(&[contract(), long], TODAY, 80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains('…'), "{text}");
}
