//! People in the store: what goes together goes in one transaction, or not at all.

use freehold_domain::{Email, EventId, InviteId, Role, TenantId, UserId, WaitingId};
use freehold_store::{
    Account, Arrival, Consumed, DATABASE_FILE, Identity, InviteRow, InviteTo, OpenedWith, Place, SessionRow, SignedUp, SignupMax, Store,
    StoreError, TokenPurpose, TokenRow, TrailRow, UserChange, UserRow, WaitingRow,
};
use rusqlite::Connection;

use crate::{at, fixture, tenant, uuid};

fn most(tokens: u32, users: u32, unverified: u32) -> SignupMax {
    SignupMax { tokens, users, unverified, waiting: 99 }
}

fn user(n: u64, verified: bool) -> UserRow {
    UserRow {
        id: UserId::from_uuid(uuid(n)),
        email: format!("u{n}@example.org").parse().expect("an address"),
        name: String::new(),
        password_hash: None,
        operator: false,
        verified_at: verified.then(|| at(1)),
        address_proved: verified,
        closed: false,
        created_at: at(n as i64),
        last_login_at: None,
    }
}

fn token(n: u8, user: &UserRow, purpose: TokenPurpose) -> TokenRow {
    TokenRow { hash: [n; 32], purpose, user_id: user.id, data_json: "{}".to_owned(), created_at: at(i64::from(n)), expires_at: at(1000) }
}

fn event(n: u64, tenant: Option<TenantId>) -> TrailRow {
    TrailRow { id: EventId::from_uuid(uuid(n)), tenant_id: tenant, at: at(n as i64), event_json: format!("{{\"n\":{n}}}") }
}

fn arrival(user: UserRow, account: Account, place: Place) -> Arrival {
    Arrival {
        user,
        account,
        identity: None,
        consumed: Consumed::Nothing,
        invite: None,
        place,
        now: at(10),
        users_max: 99,
        tenants_max: 99,
        waiting_max: 99,
        credit: None,
        trail: Vec::new(),
        once: None,
    }
}

fn with_members(store: &Store, roles: &[Role]) -> (TenantId, Vec<UserId>) {
    let made = tenant(1, "t");
    store.create_tenant(&made, 99, None).expect("made");
    let mut ids = Vec::new();
    for (n, role) in roles.iter().enumerate() {
        let user = user(100 + n as u64, true);
        store.arrive(&arrival(user.clone(), Account::New, Place::Tenant(made.id, *role))).expect("arrived");
        ids.push(user.id);
    }
    (made.id, ids)
}

#[test]
fn an_address_is_one_user_whatever_its_case() {
    let made = fixture();
    let first = user(1, true);
    made.store.arrive(&arrival(first.clone(), Account::New, Place::Nowhere)).expect("arrived");
    let second = UserRow { email: "U1@EXAMPLE.org".parse().expect("an address"), ..user(2, true) };
    assert!(matches!(made.store.arrive(&arrival(second.clone(), Account::New, Place::Nowhere)), Err(StoreError::Exists(_))));
    assert_eq!(made.store.user_by_email(&second.email).expect("read").map(|row| row.id), Some(first.id));
    let known = made.store.sign_up(&second, None, None, most(3, 99, 99)).expect("asked");
    assert_eq!(known, SignedUp::Known(first));
}

#[test]
fn a_token_takes_effect_once_with_all_that_goes_with_it() {
    let made = fixture();
    let (store, new) = (&made.store, user(1, false));
    assert_eq!(
        store.sign_up(&new, Some(&token(1, &new, TokenPurpose::Verify)), None, most(2, 99, 99)).expect("asked"),
        SignedUp::Open(new.id)
    );
    let again = user(2, false);
    let again = UserRow { email: new.email.clone(), ..again };
    for n in [2, 3] {
        let row = token(n, &again, TokenPurpose::Verify);
        assert_eq!(store.sign_up(&again, Some(&row), None, most(2, 99, 99)).expect("asked"), SignedUp::Open(new.id), "the same user");
    }
    let find = |n: u8, ms: i64| store.token(&[n; 32], TokenPurpose::Verify, at(ms)).expect("read").is_some();
    assert!(!find(1, 5) && find(2, 5) && find(3, 5), "the newest two are good");
    assert!(!find(2, 1000), "they end");
    assert!(store.token(&[2; 32], TokenPurpose::Reset, at(5)).expect("read").is_none(), "for nothing else");

    let wanted = arrival(
        UserRow { password_hash: Some("p".to_owned()), verified_at: Some(at(9)), address_proved: true, ..new.clone() },
        Account::Claimed,
        Place::NewTenant(tenant(5, "lab")),
    );
    let full = Arrival { consumed: Consumed::Token([2; 32]), tenants_max: 0, ..wanted.clone() };
    assert!(matches!(store.arrive(&full), Err(StoreError::LimitReached { .. })));
    assert!(find(2, 5) && store.user(new.id).expect("read").is_some_and(|row| row.verified_at.is_none()), "nothing was written");
    let good = Arrival { consumed: Consumed::Token([2; 32]), trail: vec![event(1, Some(tenant(5, "lab").id))], ..wanted };
    store.arrive(&good).expect("arrived");
    assert!(matches!(store.arrive(&good), Err(StoreError::Missing)), "once");
    assert!(!find(3, 5), "the other links of the user are gone");
    let memberships = store.memberships(new.id).expect("read");
    assert_eq!((memberships[0].0.name.as_str(), memberships[0].1), ("lab", Role::Owner));
    assert_eq!(store.trail(None, None, 9).expect("read").len(), 1);
}

#[test]
fn a_taken_name_gets_a_number() {
    let made = fixture();
    made.store.create_tenant(&tenant(1, "lab"), 99, None).expect("made");
    for (n, name) in [(2, "lab-2"), (3, "lab-3")] {
        let new = tenant(n, "LAB");
        made.store.arrive(&arrival(user(n, true), Account::New, Place::NewTenant(new.clone()))).expect("arrived");
        let found = made.store.tenant(new.id).expect("read").expect("there").name;
        assert_eq!(found.as_str().to_ascii_lowercase(), name);
    }
}

#[test]
fn a_tenant_keeps_an_owner() {
    let made = fixture();
    let (tenant, users) = with_members(&made.store, &[Role::Owner, Role::Viewer]);
    let (store, owner, viewer) = (&made.store, users[0], users[1]);
    assert!(matches!(store.remove_member(tenant, owner, None), Err(StoreError::LastOwner)));
    assert!(matches!(store.set_role(tenant, owner, Role::Billing, None), Err(StoreError::LastOwner)));
    assert!(matches!(store.delete_user(owner, Some(&event(1, None))), Err(StoreError::LastOwner)));
    assert!(store.trail(None, None, 9).expect("read").is_empty(), "what did not happen is not in the trail");
    store.set_role(tenant, owner, Role::Owner, None).expect("it stays one");
    store.set_role(tenant, viewer, Role::Owner, Some(&event(2, Some(tenant)))).expect("two");
    store.remove_member(tenant, owner, None).expect("one may go");
    assert!(matches!(store.remove_member(tenant, owner, None), Err(StoreError::Missing)));
    store.delete_user(viewer, None).expect("alone in it");
    assert!(store.members(tenant, None, 9).expect("read").is_empty());
    assert_eq!(store.trail(Some(tenant), None, 9).expect("read").len(), 1, "the trail outlives its users");
}

#[test]
fn sessions_end_in_every_way() {
    let made = fixture();
    let (_, users) = with_members(&made.store, &[Role::Owner]);
    let store = &made.store;
    let session =
        |n: u8| SessionRow { hash: [n; 32], user_id: users[0], created_at: at(i64::from(n)), expires_at: at(500), seen_at: at(1) };
    let good = |n: u8, ms: i64| store.session(&[n; 32], at(ms)).expect("read").is_some();
    let password = |hash: &str| OpenedWith::Password(hash.to_owned());
    let set = |change: UserChange| store.change_user(users[0], &change, None).expect("changed");
    set(UserChange { password_hash: Some("old".to_owned()), ..UserChange::default() });
    for n in 1..=3 {
        store.create_session(&session(n), &password("old"), None, 2, None).expect("made");
    }
    assert!(!good(1, 5) && good(2, 5) && good(3, 5) && !good(3, 500));
    store.create_session(&session(4), &password("old"), Some(&[3; 32]), 9, None).expect("made");
    assert!(!good(3, 5) && good(4, 5), "one in place of another");
    let found = store.session(&[4; 32], at(5)).expect("read").expect("there");
    assert_eq!((found.user.id, found.memberships.len(), found.user.last_login_at), (users[0], 1, Some(at(4))));
    store.delete_session(&[4; 32], None).expect("ended");
    store.delete_sessions(users[0], None).expect("ended");
    assert!(!good(2, 5) && !good(4, 5));

    store.create_session(&session(5), &password("old"), None, 9, None).expect("made");
    let reset = token(9, &user(100, true), TokenPurpose::Reset);
    store.create_token(&reset, 3, None).expect("made");
    store.reset_password(&reset.hash, users[0], "new", at(6), &[]).expect("set");
    assert!(!good(5, 6), "a new password ends sessions");
    assert!(matches!(store.reset_password(&reset.hash, users[0], "newer", at(6), &[]), Err(StoreError::Missing)));

    let stale = store.create_session(&session(6), &password("old"), None, 9, None);
    assert!(matches!(stale, Err(StoreError::Missing)), "a password that was right a moment ago opens nothing");
    store.create_session(&session(6), &password("new"), None, 9, None).expect("made");
    set(UserChange { verified_at: Some(None), ..UserChange::default() });
    assert!(!good(6, 6), "so does a closed account");
    assert!(matches!(store.create_session(&session(7), &password("new"), None, 9, None), Err(StoreError::Missing)), "it stays closed");
    set(UserChange { verified_at: Some(Some(at(7))), ..UserChange::default() });
    store.create_session(&session(7), &password("new"), None, 9, None).expect("made");
    store.forget_ended(at(500), at(0), at(0), 99).expect("forgotten");
    assert!(!good(7, 5));
}

#[test]
fn a_changed_password_keeps_the_session_that_changed_it() {
    let made = fixture();
    let (_, users) = with_members(&made.store, &[Role::Owner]);
    let store = &made.store;
    let old = UserChange { password_hash: Some("old".to_owned()), ..UserChange::default() };
    store.change_user(users[0], &old, None).expect("changed");
    for n in 1..=2 {
        let session = SessionRow { hash: [n; 32], user_id: users[0], created_at: at(1), expires_at: at(500), seen_at: at(1) };
        store.create_session(&session, &OpenedWith::Password("old".to_owned()), None, 9, None).expect("made");
    }
    let reset = token(9, &user(100, true), TokenPurpose::Reset);
    store.create_token(&reset, 3, None).expect("made");
    let change = |before: &str, after: &str| store.change_password(users[0], (Some(before), after), &[1; 32], None);
    assert!(matches!(change("other", "new"), Err(StoreError::Missing)), "the password is another by now");
    change("old", "new").expect("changed");
    let good = |n: u8| store.session(&[n; 32], at(5)).expect("read").is_some();
    assert!(good(1) && !good(2));
    assert!(store.token(&reset.hash, TokenPurpose::Reset, at(5)).expect("read").is_none(), "links of mails end too");
    assert!(matches!(change("old", "newer"), Err(StoreError::Missing)));
}

#[test]
fn an_invitation_is_used_as_often_as_it_says() {
    let made = fixture();
    let store = &made.store;
    let invite = |n: u8, to: InviteTo, uses_max: u32| InviteRow {
        id: InviteId::from_uuid(uuid(n.into())),
        hash: [n; 32],
        to,
        inviter: None,
        note: String::new(),
        uses: 0,
        uses_max,
        created_at: at(0),
        expires_at: at(100),
    };
    store.create_invite(&invite(1, InviteTo::Service(None), 2), 1, None).expect("made");
    assert!(matches!(store.create_invite(&invite(2, InviteTo::Service(None), 1), 1, None), Err(StoreError::LimitReached { .. })));
    for n in 1..=2 {
        let used = Arrival { invite: Some(InviteId::from_uuid(uuid(1))), ..arrival(user(n, true), Account::New, Place::Nowhere) };
        store.arrive(&used).expect("arrived");
    }
    let third = Arrival { invite: Some(InviteId::from_uuid(uuid(1))), ..arrival(user(3, true), Account::New, Place::Nowhere) };
    assert!(matches!(store.arrive(&third), Err(StoreError::Missing)));
    assert!(store.user(user(3, true).id).expect("read").is_none());
    assert!(store.invite_by_code(&[1; 32], at(1)).expect("read").is_none());

    let (tenant, _) = with_members(store, &[Role::Owner]);
    let email: Email = "x@example.org".parse().expect("an address");
    let to = |role| InviteTo::Tenant { tenant, role, email: email.clone() };
    store.create_invite(&invite(4, to(Role::Viewer), 1), 9, None).expect("made");
    store.create_invite(&invite(5, to(Role::Owner), 1), 9, None).expect("made again");
    assert!(store.invite_by_code(&[4; 32], at(1)).expect("read").is_none(), "the newer one counts");
    assert!(store.invite_by_code(&[5; 32], at(100)).expect("read").is_none(), "it ends");
    assert_eq!(store.invites(Some(tenant), None, 9).expect("read").len(), 1);
    store.delete_invite(InviteId::from_uuid(uuid(5)), None).expect("taken back");
    assert!(matches!(store.delete_invite(InviteId::from_uuid(uuid(5)), None), Err(StoreError::Missing)));
}

#[test]
fn the_waiting_list_keeps_its_order() {
    let made = fixture();
    let store = &made.store;
    let wait = |n: u64| WaitingRow {
        id: WaitingId::from_uuid(uuid(n)),
        user_id: user(n, true).id,
        tenant_name: "t".parse().expect("a name"),
        created_at: at(0),
    };
    for n in 1..=3 {
        store.arrive(&arrival(user(n, true), Account::New, Place::Waiting(wait(n)))).expect("arrived");
    }
    let again = WaitingRow { id: WaitingId::from_uuid(uuid(9)), ..wait(1) };
    store.arrive(&arrival(user(1, true), Account::Kept, Place::Waiting(again))).expect("no second place");
    let positions: Vec<_> = (1..=4).map(|n| store.waiting_position(user(n, true).id).expect("read")).collect();
    assert_eq!(positions, [Some(1), Some(2), Some(3), None]);
    let admit =
        Arrival { consumed: Consumed::Waiting(wait(1).id), ..arrival(user(1, true), Account::Kept, Place::NewTenant(tenant(1, "a"))) };
    store.arrive(&admit).expect("admitted");
    assert!(matches!(store.arrive(&admit), Err(StoreError::Missing)));
    assert_eq!(store.waiting_position(user(3, true).id).expect("read"), Some(2));
    assert_eq!(store.waiting(None, 1).expect("read")[0].1, user(2, true).email);
}

#[test]
fn an_identity_is_one_users() {
    let made = fixture();
    let identity = Identity { issuer: "https://id.example.org".to_owned(), subject: "s".to_owned() };
    let linked = |n: u64| Arrival { identity: Some(identity.clone()), ..arrival(user(n, true), Account::New, Place::Nowhere) };
    made.store.arrive(&linked(1)).expect("linked");
    assert!(matches!(made.store.arrive(&linked(2)), Err(StoreError::Exists(_))));
    assert_eq!(made.store.user_by_identity(&identity).expect("read").map(|row| row.id), Some(user(1, true).id));
    let elsewhere = Identity { issuer: "https://other.example.org".to_owned(), ..identity };
    assert!(made.store.user_by_identity(&elsewhere).expect("read").is_none());
}

#[test]
fn only_a_proof_takes_an_account_over() {
    let made = fixture();
    let store = &made.store;
    // Let in by an operator: it may log in, and nobody knows whose the address is.
    let open = UserRow { address_proved: false, password_hash: Some("first".to_owned()), ..user(1, true) };
    store.arrive(&arrival(open.clone(), Account::New, Place::Nowhere)).expect("arrived");
    let hash = || store.user(open.id).expect("read").and_then(|row| row.password_hash);
    let claim =
        |proved: bool| arrival(UserRow { password_hash: None, address_proved: proved, ..open.clone() }, Account::Claimed, Place::Nowhere);
    assert!(matches!(store.arrive(&claim(false)), Err(StoreError::Missing)), "no proof");
    let identity = Identity { issuer: "https://id.example.org".to_owned(), subject: "s".to_owned() };
    let linked = Arrival { identity: Some(identity.clone()), ..arrival(open.clone(), Account::Kept, Place::Nowhere) };
    assert!(matches!(store.arrive(&linked), Err(StoreError::Missing)), "linked only to a proved address");
    assert_eq!(hash().as_deref(), Some("first"));

    let row = SessionRow { hash: [1; 32], user_id: open.id, created_at: at(1), expires_at: at(500), seen_at: at(1) };
    store.create_session(&row, &OpenedWith::Password("first".to_owned()), None, 9, None).expect("made");
    store.arrive(&Arrival { identity: Some(identity.clone()), ..claim(true) }).expect("claimed");
    assert_eq!(hash(), None);
    assert!(store.session(&[1; 32], at(2)).expect("read").is_none(), "whoever was in is out");
    assert!(matches!(store.arrive(&claim(true)), Err(StoreError::Missing)), "a proved account is nobody else's");
    let with = OpenedWith::Identity(identity.clone());
    store.create_session(&row, &with, None, 9, None).expect("made");
    store.change_user(open.id, &UserChange { verified_at: Some(None), ..UserChange::default() }, None).expect("closed");
    assert!(store.user_by_identity(&identity).expect("read").is_none(), "closing ends the link");
    assert!(matches!(store.arrive(&claim(true)), Err(StoreError::Missing)), "a closed account stays closed");
    assert!(matches!(store.sign_up(&open, None, None, most(3, 99, 99)).expect("asked"), SignedUp::Known(_)));
}

#[test]
fn a_token_takes_no_account_over_that_is_open() {
    let made = fixture();
    let (store, new) = (&made.store, user(1, false));
    let verify = token(1, &new, TokenPurpose::Verify);
    store.sign_up(&new, Some(&verify), None, most(3, 99, 99)).expect("asked");
    let good = || store.token(&verify.hash, TokenPurpose::Verify, at(2)).expect("read").is_some();
    assert!(good());
    store.change_user(new.id, &UserChange { verified_at: Some(Some(at(2))), ..UserChange::default() }, None).expect("let in");
    assert!(!good(), "its links are gone");
    assert!(matches!(store.create_token(&verify, 3, None), Err(StoreError::Missing)));
    let reset = token(2, &user(2, false), TokenPurpose::Reset);
    store.sign_up(&user(2, false), None, None, most(3, 99, 99)).expect("asked");
    assert!(matches!(store.create_token(&reset, 3, None), Err(StoreError::Missing)), "no new password for who may not log in");
}

#[test]
fn who_waits_or_was_let_in_is_not_forgotten() {
    let made = fixture();
    let store = &made.store;
    let wait = |n: u64| WaitingRow {
        id: WaitingId::from_uuid(uuid(n)),
        user_id: user(n, false).id,
        tenant_name: "t".parse().expect("a name"),
        created_at: at(0),
    };
    store.sign_up(&user(1, false), None, Some(&wait(1)), most(3, 99, 3)).expect("waits");
    store.arrive(&arrival(user(2, true), Account::New, Place::Nowhere)).expect("arrived");
    store.change_user(user(2, true).id, &UserChange { verified_at: Some(None), ..UserChange::default() }, None).expect("closed");
    let there = |n: u64| store.user(user(n, false).id).expect("read").is_some();
    for n in 3..=6 {
        store.sign_up(&user(n, false), None, None, most(3, 99, 3)).expect("asked");
    }
    assert_eq!([1, 2, 3, 4, 5, 6].map(there), [true, true, false, false, true, true], "of three, the oldest went that does not wait");
    store.forget_ended(at(500), at(500), at(0), 99).expect("forgotten");
    assert_eq!([1, 2, 5, 6].map(there), [true, true, false, false]);
    store.sign_up(&user(7, false), None, Some(&wait(7)), most(3, 99, 2)).expect("waits");
    assert!(matches!(store.sign_up(&user(8, false), None, None, most(3, 99, 2)), Err(StoreError::LimitReached { .. })), "all wait");
}

#[test]
fn invitations_go_with_their_inviter() {
    let made = fixture();
    let (tenant, users) = with_members(&made.store, &[Role::Owner, Role::Owner, Role::Owner]);
    let invite = |n: u8| InviteRow {
        id: InviteId::from_uuid(uuid(n.into())),
        hash: [n; 32],
        to: InviteTo::Tenant { tenant, role: Role::Owner, email: format!("x{n}@example.org").parse().expect("an address") },
        inviter: Some(users[usize::from(n)]),
        note: String::new(),
        uses: 0,
        uses_max: 1,
        created_at: at(0),
        expires_at: at(100),
    };
    for n in 0..3 {
        made.store.create_invite(&invite(n), 9, None).expect("made");
    }
    let good = |n: u8| made.store.invite_by_code(&[n; 32], at(1)).expect("read").is_some();
    made.store.set_role(tenant, users[1], Role::Developer, None).expect("changed");
    assert!(good(0) && !good(1) && good(2));
    made.store.remove_member(tenant, users[2], None).expect("removed");
    assert!(good(0) && !good(2));
}

/// A database of the first version, with a key in it, becomes one of this version, and the key stays as it was.
#[test]
fn the_first_version_is_brought_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let connection = Connection::open(dir.path().join(DATABASE_FILE)).expect("opens");
    connection.execute_batch(include_str!("../../migrations/sqlite/0001_start.sql")).expect("the first version");
    connection.pragma_update(None, "application_id", 0x4652_4844).expect("ours");
    connection.pragma_update(None, "user_version", 1).expect("the first");
    let id = freehold_domain::KeyId::from_uuid(uuid(1));
    let sql = "INSERT INTO api_keys (id, kind, name, hash, hint, created_at) VALUES (?1, 'operator', 'k', zeroblob(32), 'h', 0)";
    connection.execute(sql, [id.to_string()]).expect("a key");
    drop(connection);
    let store = Store::open(dir.path()).expect("brought up");
    store.check().expect("sound");
    let key = store.key(id).expect("read").expect("there");
    assert_eq!((key.scopes_json, key.models_json), (None, None));
}

#[test]
fn who_proves_the_address_ends_what_the_account_has_opened() {
    let made = fixture();
    let store = &made.store;
    let stranger = UserRow { address_proved: false, ..user(1, true) };
    let place = Place::NewTenant(tenant(1, "t"));
    store.arrive(&arrival(stranger.clone(), Account::New, place)).expect("let in");
    let key = |n: u64, user_id: Option<UserId>| freehold_store::KeyRow {
        id: freehold_domain::KeyId::from_uuid(uuid(n)),
        owner: freehold_store::KeyOwner::Tenant(tenant(1, "t").id),
        name: format!("k{n}"),
        secret: freehold_store::KeySecret { hash: [n as u8; 32], hint: String::new() },
        previous: Some(freehold_store::PreviousHash { hash: [9; 32], valid_until: at(500) }),
        models_json: None,
        scopes_json: None,
        user_id,
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    let rows = [key(1, Some(stranger.id)), key(2, None), key(3, None)];
    for row in &rows {
        store.create_key(row, 9, None).expect("made");
    }
    let fresh = freehold_store::KeySecret { hash: [7; 32], hint: String::new() };
    store.rotate_key(rows[2].id, &fresh, None, Some(stranger.id), None).expect("rotated: the stranger has its secret now");
    let reset = token(5, &stranger, TokenPurpose::Reset);
    store.create_token(&reset, 3, None).expect("asked");
    store.reset_password(&reset.hash, stranger.id, "new", at(6), &[]).expect("set");
    let ends = |n: usize| store.key(rows[n].id).expect("read").expect("there").revoked_at;
    assert_eq!([ends(0), ends(1), ends(2)], [Some(at(6)), None, Some(at(6))], "the operator's own key goes on");
    assert_eq!(store.key(rows[1].id).expect("read").expect("there").previous, None, "but not with the secret that it had before");
    // Nor does an operator's first mail end what tenants use.
    let operator = UserRow { operator: true, address_proved: false, ..user(2, true) };
    store.arrive(&arrival(operator.clone(), Account::New, Place::Nowhere)).expect("made");
    store.create_key(&key(5, Some(operator.id)), 9, None).expect("made");
    let reset = token(8, &operator, TokenPurpose::Reset);
    store.create_token(&reset, 3, None).expect("asked");
    store.reset_password(&reset.hash, operator.id, "new", at(6), &[]).expect("set");
    assert_eq!(store.key(key(5, None).id).expect("read").expect("there").revoked_at, None);
    // With a proved address a new password ends no key.
    store.create_key(&key(4, Some(stranger.id)), 9, None).expect("made");
    let reset = token(6, &stranger, TokenPurpose::Reset);
    store.create_token(&reset, 3, None).expect("asked");
    store.reset_password(&reset.hash, stranger.id, "newer", at(7), &[]).expect("set");
    assert_eq!(store.key(key(4, None).id).expect("read").expect("there").revoked_at, None);
}

#[test]
fn the_waiting_list_has_an_end() {
    let made = fixture();
    let store = &made.store;
    let wait = |n: u64| WaitingRow {
        id: WaitingId::from_uuid(uuid(n)),
        user_id: user(n, false).id,
        tenant_name: "t".parse().expect("a name"),
        created_at: at(0),
    };
    let two = SignupMax { tokens: 3, users: 99, unverified: 99, waiting: 2 };
    for n in 1..=2 {
        store.sign_up(&user(n, false), None, Some(&wait(n)), two).expect("waits");
    }
    // Who is known and who is not hear the same.
    for n in [2, 3] {
        assert!(matches!(store.sign_up(&user(n, false), None, Some(&wait(n)), two), Err(StoreError::ListFull { limit: 2 })));
    }
    let arrives = Arrival { waiting_max: 2, ..arrival(user(4, true), Account::New, Place::Waiting(wait(4))) };
    assert!(matches!(store.arrive(&arrives), Err(StoreError::ListFull { .. })));
    assert!(store.user(user(4, true).id).expect("read").is_none(), "or nothing of it");
    store.remove_waiting(wait(1).id, None).expect("removed");
    assert!(matches!(store.remove_waiting(wait(1).id, None), Err(StoreError::Missing)));
    assert!(store.user(user(1, false).id).expect("read").is_none(), "nobody misses the account");
    store.arrive(&arrives).expect("there is room");
    store.remove_waiting(wait(4).id, None).expect("removed");
    assert!(store.user(user(4, true).id).expect("read").is_some(), "who has proved his address keeps his account");
}

#[test]
fn credit_comes_with_the_tenant_or_not_at_all() {
    let made = fixture();
    let store = &made.store;
    let credit = |tenant: TenantId, n: u64| {
        let accounts = (freehold_ledger::AccountKind::OperatorCredit, freehold_ledger::AccountKind::Customer);
        let id = freehold_domain::TransferId::from_uuid(uuid(n));
        let amount = freehold_domain::NanoUnits::new(5);
        freehold_store::Movement::new(id, accounts, tenant, freehold_domain::Currency::EUR, amount, freehold_ledger::Reason::Grant, at(0))
    };
    let new = tenant(1, "t");
    let place = || Place::NewTenant(new.clone());
    let arrives = Arrival { credit: Some(credit(new.id, 1)), ..arrival(user(1, true), Account::New, place()) };
    let full = Arrival { tenants_max: 0, ..arrives.clone() };
    assert!(matches!(store.arrive(&full), Err(StoreError::LimitReached { .. })));
    assert!(store.balances(freehold_domain::Currency::EUR).expect("read").is_empty());
    store.arrive(&arrives).expect("arrived");
    let account = freehold_store::account_id(freehold_ledger::AccountKind::Customer, new.id, freehold_domain::Currency::EUR);
    assert_eq!(store.account(account).expect("read").map(|account| account.balance.get()), Some(5));
}
