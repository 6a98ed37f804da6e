//! Properties of the book: sums, floors, repetition, replay.

use freehold_domain::{AccountId, Currency, HoldId, InvoiceId, NanoUnits, TransferId};
use freehold_ledger::{Account, AccountKind, Book, Command, Event, Hold, LedgerError, Reason, Transfer};
use proptest::prelude::*;
use uuid::Uuid;

use super::support::{NOON, nano, tenant};

const RECENT: usize = 8;

fn accounts() -> Vec<Account> {
    let of = |kind: AccountKind| Account::new(kind, None, Currency::EUR);
    vec![
        Account::new(AccountKind::Customer, Some(tenant()), Currency::EUR),
        Account::new(AccountKind::Customer, Some(freehold_domain::TenantId::from_uuid(Uuid::from_u128(9))), Currency::EUR)
            .with_floor(Some(nano(-500))),
        of(AccountKind::Revenue),
        of(AccountKind::Cash),
        of(AccountKind::FaultCredit),
        Account::new(AccountKind::Customer, Some(tenant()), Currency::USD),
        Account::new(AccountKind::Cash, None, Currency::USD),
    ]
}

fn account(index: usize) -> AccountId {
    let accounts = accounts();
    accounts[index % accounts.len()].id
}

fn hold_id(index: u8) -> HoldId {
    HoldId::from_uuid(Uuid::from_u128(u128::from(index)))
}

fn transfer(id: u8, from: usize, to: usize, amount: i64) -> Transfer {
    Transfer {
        id: TransferId::from_uuid(Uuid::from_u128(u128::from(id))),
        from: account(from),
        to: account(to),
        amount: nano(amount),
        reason: Reason::Grant,
        at: NOON,
    }
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..1000_i64, 1 => -10..0_i64, 1 => prop::sample::select(vec![i64::MAX, i64::MIN, i64::MAX - 1])]
}

fn command() -> impl Strategy<Value = Command> {
    let (id, place) = (|| 0..30_u8, || 0..7_usize);
    prop_oneof![
        4 => (id(), place(), place(), amount()).prop_map(|(id, from, to, amount)| Command::Post(transfer(id, from, to, amount))),
        4 => (id(), place(), amount())
            .prop_map(|(id, at, amount)| Command::Place(Hold { id: hold_id(id), account: account(at), amount: nano(amount) })),
        3 => (id(), id(), place(), place(), amount())
            .prop_map(|(hold, id, from, to, amount)| Command::Settle { hold: hold_id(hold), transfer: transfer(id, from, to, amount) }),
        2 => id().prop_map(|hold| Command::Void { hold: hold_id(hold) }),
        1 => (place(), -1000..1000_i64).prop_map(|(at, floor)| Command::SetFloor { account: account(at), floor: Some(nano(floor)) }),
    ]
}

fn opened() -> (Book, Vec<Event>) {
    let mut book = Book::new(RECENT);
    let events = accounts().into_iter().map(|account| book.apply(Command::Open(account)).expect("it opens")).collect();
    (book, events)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_zero_and_no_account_is_below_its_floor(commands in prop::collection::vec(command(), 0..120)) {
        let (mut book, mut events) = opened();
        for command in commands {
            let before = book.clone();
            match book.apply(command) {
                Ok(event) => events.push(event),
                Err(_) => prop_assert_eq!(&before, &book, "a refused command changes nothing"),
            }
            for currency in [Currency::EUR, Currency::USD] {
                prop_assert_eq!(book.total(currency), 0);
            }
            for account in book.accounts() {
                prop_assert!(!account.available().is_negative(), "{account:?}");
                prop_assert!(!account.held.is_negative());
            }
        }
        prop_assert_eq!(Book::replay(RECENT, events).expect("its own events"), book);
    }

    #[test]
    fn doing_it_again_changes_nothing(commands in prop::collection::vec(command(), 0..60)) {
        let (mut book, _) = opened();
        for command in commands {
            if !matches!(book.apply(command.clone()), Ok(ref event) if *event != Event::Already) {
                continue;
            }
            let after = book.clone();
            match (&command, book.apply(command.clone())) {
                (Command::Void { .. }, again) => prop_assert!(matches!(again, Err(LedgerError::NoHold(_)))),
                (_, again) => prop_assert_eq!(again, Ok(Event::Already)),
            }
            prop_assert_eq!(&after, &book);
        }
    }

    #[test]
    fn settling_and_voiding_releases_every_hold(amounts in prop::collection::vec((0..1000_i64, any::<bool>(), 0..=100_i64), 1..40)) {
        let (mut book, _) = opened();
        book.apply(Command::Post(transfer(200, 3, 0, 20_000))).expect("cash can pay");
        let mut taken = Vec::new();
        for (index, &(amount, settles, percent)) in amounts.iter().enumerate() {
            let id = hold_id(u8::try_from(index).expect("few"));
            if book.apply(Command::Place(Hold { id, account: account(0), amount: nano(amount) })).is_ok() {
                taken.push((id, settles.then_some(amount * percent / 100)));
            }
        }
        let mut spent = 0;
        for (index, (hold, settles)) in taken.into_iter().enumerate() {
            let command = match settles {
                None => Command::Void { hold },
                Some(cost) => {
                    spent += cost;
                    Command::Settle { hold, transfer: transfer(u8::try_from(index).expect("few"), 0, 2, cost) }
                }
            };
            book.apply(command).expect("it was held");
        }
        let customer = book.account(account(0)).expect("it is open");
        prop_assert_eq!((book.open_holds(), customer.held, customer.balance), (0, NanoUnits::ZERO, nano(20_000 - spent)));
    }
}

#[test]
fn the_same_id_with_other_content_is_refused() {
    let (mut book, _) = opened();
    let first = transfer(1, 3, 0, 10);
    assert_eq!(book.apply(Command::Post(first.clone())), Ok(Event::Posted(first.clone())));
    assert_eq!(book.apply(Command::Post(Transfer { at: NOON.plus_ms(5), ..first.clone() })), Ok(Event::Already), "a later try");
    for other in [
        Transfer { amount: nano(11), ..first.clone() },
        Transfer { to: account(1), ..first.clone() },
        Transfer { reason: Reason::Payment(InvoiceId::from_uuid(Uuid::nil())), ..first },
    ] {
        assert!(matches!(book.apply(Command::Post(other)), Err(LedgerError::Conflict(_))));
    }
}

#[test]
fn memory_does_not_grow_with_transfers() {
    let (mut book, _) = opened();
    for id in 0..200 {
        book.apply(Command::Post(transfer(id, 3, 0, 1))).expect("cash can pay");
    }
    assert!(matches!(book.apply(Command::Post(transfer(199, 3, 0, 1))), Ok(Event::Already)));
    assert!(
        matches!(book.apply(Command::Post(transfer(0, 3, 0, 1))), Ok(Event::Posted(_))),
        "the store refuses it, the book has forgotten"
    );
}

#[test]
fn what_is_refused_says_why() {
    let (mut book, _) = opened();
    book.apply(Command::Post(transfer(1, 3, 0, 100))).expect("cash can pay");
    let place = |id, amount| Command::Place(Hold { id: hold_id(id), account: account(0), amount: nano(amount) });
    book.apply(place(1, 60)).expect("it has 100");
    let refused = [
        (place(2, 41), LedgerError::Insufficient { account: account(0), available: nano(40), needed: nano(41) }),
        (place(1, 59), LedgerError::Conflict(hold_id(1).to_string())),
        (place(3, -1), LedgerError::BadAmount(nano(-1))),
        (Command::Post(transfer(2, 0, 2, 41)), LedgerError::Insufficient { account: account(0), available: nano(40), needed: nano(41) }),
        (Command::Post(transfer(2, 0, 0, 1)), LedgerError::SameAccount(account(0))),
        (Command::Post(transfer(2, 3, 0, 0)), LedgerError::BadAmount(nano(0))),
        (
            Command::Settle { hold: hold_id(1), transfer: transfer(2, 0, 2, 61) },
            LedgerError::AboveHold { hold: hold_id(1), held: nano(60), asked: nano(61) },
        ),
        (Command::Void { hold: hold_id(9) }, LedgerError::NoHold(hold_id(9))),
        (
            Command::SetFloor { account: account(0), floor: Some(nano(41)) },
            LedgerError::FloorTooHigh { account: account(0), owned: nano(40), floor: nano(41) },
        ),
    ];
    for (command, expect) in refused {
        assert_eq!(book.apply(command), Err(expect));
    }
    assert!(matches!(book.apply(Command::Post(transfer(2, 3, 6, 1))), Err(LedgerError::TwoCurrencies { .. })));
    assert!(matches!(book.evict(account(0)), Err(LedgerError::HasHolds(_))));
    book.apply(Command::Void { hold: hold_id(1) }).expect("it is held");
    let evicted = book.evict(account(0)).expect("nothing is held");
    assert_eq!(book.apply(Command::Open(evicted.clone())), Ok(Event::Opened(evicted)), "and back from the store, with its balance");
}
