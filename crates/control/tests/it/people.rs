//! People, with a clock that moves when it is told to: what expires, what is limited, what is told to whom.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use freehold_control::once::IdempotencyKey;
use freehold_control::page::PageRequest;
use freehold_control::people::invites::NewInvite;
use freehold_control::people::mail::MailSettings;
use freehold_control::people::members::{ChangedUser, NewUser, UserListRequest, WhichTenant};
use freehold_control::people::password::Password;
use freehold_control::people::recovery::NewPassword;
use freehold_control::people::session::LogIn;
use freehold_control::people::signup::{Addressee, ShownToken, SignUp, SignupState};
use freehold_control::people::{Origin, SignupMode};
use freehold_control::trail::TrailRequest;
use freehold_control::{Actor, PeopleSettings};
use tempfile::TempDir;

use crate::{Fixture, code, fixture_with};

const PASSWORD: &str = "correct horse";
const HOUR_MS: i64 = 60 * 60 * 1000;

struct World {
    made: Fixture,
    mail: TempDir,
}

fn here() -> Origin {
    Origin::new(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn form(email: &str) -> SignUp {
    SignUp { email: email.to_owned(), password: Password::new(PASSWORD), ..SignUp::default() }
}

fn login(email: &str, password: &str) -> LogIn {
    LogIn { email: email.to_owned(), password: Password::new(password) }
}

async fn world(signup: SignupMode) -> World {
    let mail = tempfile::tempdir().expect("a folder");
    let settings = PeopleSettings { signup, mail: MailSettings::Folder(mail.path().to_owned()), ..PeopleSettings::default() };
    World { made: fixture_with(settings).await, mail }
}

/// The letters in a folder, in the order of their writing.
fn letters(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("a letter")).collect()
}

impl World {
    /// The `n`th letter, once it is there.
    async fn letter(&self, n: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(letter) = letters(self.mail.path()).into_iter().nth(n) {
                return letter;
            }
            assert!(Instant::now() < deadline, "no letter {n}: {:?}", letters(self.mail.path()));
            tokio::task::yield_now().await;
        }
    }

    /// The token of the `n`th letter.
    async fn token(&self, n: usize) -> String {
        let letter = self.letter(n).await;
        let link = letter.lines().find(|line| line.contains("/#/")).unwrap_or_else(|| panic!("no link in {letter}"));
        link.trim().rsplit('/').next().expect("a token").to_owned()
    }

    async fn verify(&self, token: &str) -> Result<SignupState, freehold_domain::Error> {
        Ok(self.made.control.verify(&ShownToken { token: token.to_owned(), password: Some(Password::new(PASSWORD)) }, &here()).await?.state)
    }

    async fn log_in(&self, email: &str, password: &str) -> Result<String, freehold_domain::Error> {
        Ok(self.made.control.log_in(&login(email, password), &here(), None).await?.token)
    }

    async fn actor(&self, token: &str) -> Actor {
        self.made.control.session(token).await.expect("a session").actor(None).expect("an actor")
    }

    /// A user with a tenant, who is logged in.
    async fn user(&self, email: &str) -> Actor {
        let before = letters(self.mail.path()).len();
        self.made.control.sign_up(form(email), &here()).await.expect("signed up");
        let token = self.token(before).await;
        assert_eq!(self.verify(&token).await.expect("verified"), SignupState::Ready);
        self.actor(&self.log_in(email, PASSWORD).await.expect("logged in")).await
    }
}

#[tokio::test]
async fn an_address_is_verified_before_anything_opens() {
    let world = world(SignupMode::Open).await;
    let control = &world.made.control;
    let signed_up =
        control.sign_up(SignUp { tenant: Some("lab".to_owned()), ..form("Ada@Example.org") }, &here()).await.expect("signed up");
    assert_eq!((signed_up.state, signed_up.user.email.as_str()), (SignupState::Verify, "ada@example.org"));
    assert_eq!(code(world.log_in("ada@example.org", PASSWORD).await), "invalid_credentials");
    let token = world.token(0).await;
    assert_eq!(world.verify(&token).await.expect("verified"), SignupState::Ready);
    assert_eq!(code(world.verify(&token).await), "invalid_token", "a token is good once");
    assert_eq!(code(world.log_in("ada@example.org", "another password").await), "invalid_credentials");
    let actor = world.actor(&world.log_in("ADA@example.org", PASSWORD).await.expect("logged in")).await;
    assert_eq!(actor.tenant().map(|tenancy| tenancy.tenant_name.as_str()), Some("lab"));
    let events = control.trail(&actor, &TrailRequest::default()).await.expect("the trail").data;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["freehold.session.created", "freehold.tenant.created", "freehold.user.created"]);
    let text = serde_json::to_string(&events).expect("JSON");
    assert!(!text.contains(PASSWORD) && !text.contains(&token) && !text.contains("argon2"), "{text}");
    let disk = std::fs::read(world.made.dir.path().join("data/freehold.sqlite3-wal")).expect("the log");
    assert!(!disk.windows(token.len()).any(|window| window == token.as_bytes()), "tokens are not on the disk");
}

#[tokio::test]
async fn what_a_stranger_typed_never_opens_an_account() {
    let world = world(SignupMode::Open).await;
    let strangers = SignUp { password: Password::new("the stranger's"), ..form("ada@example.org") };
    world.made.control.sign_up(strangers, &here()).await.expect("signed up");
    let theirs = world.token(0).await;
    assert_eq!(code(world.verify(&theirs).await), "invalid_credentials", "the stranger's link with the owner's password");
    let without = ShownToken { token: theirs, password: None };
    assert_eq!(code(world.made.control.verify(&without, &here()).await), "invalid_request");
    world.made.control.sign_up(form("ada@example.org"), &here()).await.expect("signed up");
    world.verify(&world.token(1).await).await.expect("the owner's own link");
    assert_eq!(code(world.log_in("ada@example.org", "the stranger's").await), "invalid_credentials");
    world.log_in("ada@example.org", PASSWORD).await.expect("the owner's password");
    assert_eq!(code(world.verify(&world.token(0).await).await), "invalid_token", "the other link is gone");
}

#[tokio::test]
async fn forms_of_others_do_not_use_up_ones_own_link() {
    let world = world(SignupMode::Open).await;
    world.made.control.sign_up(form("ada@example.org"), &here()).await.expect("signed up");
    let own = world.token(0).await;
    let strangers = SignUp { password: Password::new("the stranger's"), ..form("ada@example.org") };
    let elsewhere = Origin::new("203.0.113.9".parse().expect("an address"));
    for _ in 1..15 {
        world.made.control.sign_up(strangers.clone(), &elsewhere).await.expect("signed up");
    }
    let refused = world.made.control.sign_up(form("ada@example.org"), &here()).await;
    assert_eq!(code(refused), "rate_limited", "it is said that no mail comes");
    world.verify(&own).await.expect("still good");
}

#[tokio::test]
async fn an_account_that_an_operator_closed_stays_closed() {
    let world = world(SignupMode::Open).await;
    world.user("ada@example.org").await;
    let set = |verified: bool| ChangedUser { verified: Some(verified), ..ChangedUser::default() };
    let (control, operator, all) = (&world.made.control, &world.made.operator, WhichTenant::default());
    control.change_user(operator, "ada@example.org", &all, set(false)).await.expect("closed");
    assert_eq!(code(world.log_in("ada@example.org", PASSWORD).await), "invalid_credentials");
    control.sign_up(form("ada@example.org"), &here()).await.expect("the same answer");
    assert!(world.letter(1).await.contains("You have an account already"), "no link opens it again");
    world.made.clock.advance_ms(30 * 24 * HOUR_MS);
    control.forget_ended().await.expect("forgotten");
    control.change_user(operator, "ada@example.org", &all, set(true)).await.expect("opened");
    world.log_in("ada@example.org", PASSWORD).await.expect("as before");
}

#[tokio::test]
async fn inviting_has_limits_and_may_be_repeated() {
    let world = world(SignupMode::Open).await;
    let (ada, control) = (world.user("ada@example.org").await, &world.made.control);
    let new = |email: &str| NewUser { email: email.to_owned(), role: Some("viewer".to_owned()), ..NewUser::default() };
    for _ in 0..5 {
        control.create_user(&ada, new("bob@example.org"), None).await.expect("invited");
    }
    assert_eq!(code(control.create_user(&ada, new("bob@example.org"), None).await), "rate_limited", "one address");
    for n in 0..44 {
        control.create_user(&ada, new(&format!("u{n}@example.org")), None).await.expect("invited");
    }
    assert_eq!(code(control.create_user(&ada, new("last@example.org"), None).await), "rate_limited", "one tenant");

    let key = IdempotencyKey::parse("once").expect("a key");
    let operator = &world.made.operator;
    let first = control.create_invite(operator, Default::default(), Some(&key)).await.expect("made");
    assert_eq!(control.create_invite(operator, Default::default(), Some(&key)).await.expect("repeated"), first);
    let made = NewUser { email: "root@example.org".to_owned(), password: Some(Password::new(PASSWORD)), ..NewUser::default() };
    let key = IdempotencyKey::parse("twice").expect("a key");
    let user = control.create_user(operator, made.clone(), Some(&key)).await.expect("made");
    assert_eq!(control.create_user(operator, made, Some(&key)).await.expect("repeated"), user);
    assert_eq!(code(control.create_user(operator, new("x@example.org"), Some(&key)).await), "invalid_request");
}

#[tokio::test]
async fn a_code_for_anybody_proves_no_address() {
    let made = fixture_with(PeopleSettings::default()).await;
    let control = &made.control;
    let anybody = control.create_invite(&made.operator, NewInvite { uses: Some(2), ..NewInvite::default() }, None).await.expect("made");
    let with = |invite: &Option<String>, password: &str| SignUp {
        password: Password::new(password),
        invite: invite.clone(),
        ..form("ada@example.org")
    };
    assert_eq!(control.sign_up(with(&anybody.code, "the stranger's"), &here()).await.expect("signed up").state, SignupState::Ready);
    control.log_in(&login("ada@example.org", "the stranger's"), &here(), None).await.expect("may log in");
    assert_eq!(code(control.sign_up(with(&anybody.code, PASSWORD), &here()).await), "conflict", "no second one takes it over");

    let to_ada = NewUser {
        email: "ada@example.org".to_owned(),
        role: Some("viewer".to_owned()),
        tenant: Some("main".to_owned()),
        ..NewUser::default()
    };
    let bound = control.create_user(&made.operator, to_ada, None).await.expect("invited").invite.expect("an invitation").code;
    let shown = ShownToken { token: bound.clone().expect("a code"), password: None };
    assert_eq!(code(control.verify(&shown, &here()).await), "conflict", "the stranger's account does not get in");
    control.sign_up(with(&bound, PASSWORD), &here()).await.expect("who has the code for the address");
    let stranger = control.log_in(&login("ada@example.org", "the stranger's"), &here(), None).await.map(|_| ());
    assert_eq!(code(stranger), "invalid_credentials");
    control.log_in(&login("ada@example.org", PASSWORD), &here(), None).await.expect("the owner");
}

#[tokio::test]
async fn links_sessions_and_invitations_expire_by_the_clock() {
    let world = world(SignupMode::Open).await;
    let control = &world.made.control;
    control.sign_up(form("late@example.org"), &here()).await.expect("signed up");
    let token = world.token(0).await;
    world.made.clock.advance_ms(24 * HOUR_MS);
    assert_eq!(code(world.verify(&token).await), "invalid_token");

    world.user("ada@example.org").await;
    let session = world.log_in("ada@example.org", PASSWORD).await.expect("logged in");
    control.forgot_password(&Addressee { email: "ada@example.org".to_owned() }, &here()).expect("asked");
    let reset = world.token(2).await;
    world.made.clock.advance_ms(HOUR_MS);
    let new = NewPassword { token: reset, password: Password::new("another password") };
    assert_eq!(code(control.reset_password(&new, &here()).await), "invalid_token");
    control.session(&session).await.expect("still good");
    world.made.clock.advance_ms(14 * 24 * HOUR_MS);
    assert_eq!(code(control.session(&session).await.map(|_| ())), "invalid_session");

    let invite = control.create_invite(&world.made.operator, Default::default(), None).await.expect("made");
    world.made.clock.advance_ms(7 * 24 * HOUR_MS);
    let late = SignUp { invite: invite.code, ..form("x@example.org") };
    assert_eq!(code(control.sign_up(late, &here()).await), "invalid_token");
    control.forget_ended().await.expect("forgotten");
    let users = control.list_users(&world.made.operator, &UserListRequest::default()).await.expect("users").data;
    assert_eq!(users.iter().map(|user| user.email.as_str()).collect::<Vec<_>>(), ["ada@example.org"], "the unverified account is gone");
    assert!(control.list_invites(&world.made.operator, &PageRequest::default()).await.expect("invites").data.is_empty());
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let world = world(SignupMode::Open).await;
    world.user("ada@example.org").await;
    for _ in 0..20 {
        assert_eq!(code(world.log_in("ada@example.org", "not the password").await), "invalid_credentials");
    }
    let error = world.log_in("ada@example.org", PASSWORD).await.expect_err("even the right one");
    assert_eq!((error.code.as_str(), error.retry_after_s), ("rate_limited", Some(15 * 60 + 1)));
    let elsewhere = Origin::new("203.0.113.9".parse().expect("an address"));
    let error = world.made.control.log_in(&login("ada@example.org", PASSWORD), &elsewhere, None).await.map(|_| ());
    assert_eq!(code(error), "rate_limited", "from another address too");
    assert_eq!(code(world.log_in("nobody@example.org", PASSWORD).await), "invalid_credentials", "another account is not slowed");
    world.made.clock.advance_ms(15 * 60 * 1000);
    world.log_in("ada@example.org", PASSWORD).await.expect("again");
}

#[tokio::test]
async fn a_waiting_list_has_positions_and_lets_in() {
    let world = world(SignupMode::Preview).await;
    let control = &world.made.control;
    for (n, email) in ["a@example.org", "b@example.org"].into_iter().enumerate() {
        control.sign_up(form(email), &here()).await.expect("signed up");
        let token = ShownToken { token: world.token(n).await, password: Some(Password::new(PASSWORD)) };
        let verified = control.verify(&token, &here()).await.expect("verified");
        assert_eq!((verified.state, verified.position), (SignupState::Waiting, Some(n as u32 + 1)));
    }
    let waits = world.actor(&world.log_in("b@example.org", PASSWORD).await.expect("logged in")).await;
    assert!(waits.tenant().is_none());
    assert_eq!(code(control.list_keys(&waits, None, &PageRequest::default()).await), "permission_denied");
    let list = control.list_waiting(&world.made.operator, &PageRequest::default()).await.expect("the list").data;
    assert_eq!(code(control.list_waiting(&world.made.main, &PageRequest::default()).await), "permission_denied");
    control.admit(&world.made.operator, &list[1].id.to_string()).await.expect("admitted");
    assert_eq!(code(control.admit(&world.made.operator, &list[1].id.to_string()).await), "not_found");
    assert!(world.letter(2).await.contains("You are in"));
    let is_in = world.actor(&world.log_in("b@example.org", PASSWORD).await.expect("logged in")).await;
    assert_eq!(is_in.tenant().map(|tenancy| tenancy.tenant_name.as_str()), Some("b"));

    let invite = control.create_invite(&world.made.operator, Default::default(), None).await.expect("made").code;
    control.sign_up(SignUp { invite: invite.clone(), ..form("c@example.org") }, &here()).await.expect("signed up");
    assert_eq!(world.verify(&world.token(3).await).await.expect("verified"), SignupState::Ready, "past the list");
    assert_eq!(code(control.sign_up(SignUp { invite, ..form("d@example.org") }, &here()).await), "invalid_token", "a code is used up");
}

#[tokio::test]
async fn without_mail_the_operator_lets_people_in() {
    let made = fixture_with(PeopleSettings { signup: SignupMode::Open, ..PeopleSettings::default() }).await;
    let signed_up = made.control.sign_up(form("ada@example.org"), &here()).await.expect("signed up");
    assert_eq!(signed_up.state, SignupState::Waiting);
    assert_eq!(made.control.sign_up(form("ada@example.org"), &here()).await.expect("again"), signed_up);
    assert_eq!(code(made.control.log_in(&login("ada@example.org", PASSWORD), &here(), None).await.map(|_| ())), "invalid_credentials");
    let list = made.control.list_waiting(&made.operator, &PageRequest::default()).await.expect("the list").data;
    assert_eq!(list.len(), 1);
    made.control.admit(&made.operator, &list[0].id.to_string()).await.expect("admitted");
    made.control.log_in(&login("ada@example.org", PASSWORD), &here(), None).await.expect("logged in");
    assert_eq!(made.control.sign_up(form("ada@example.org"), &here()).await.expect("the same answer"), signed_up);
}

#[tokio::test]
async fn a_team_is_invited_and_keeps_an_owner() {
    let world = world(SignupMode::Closed).await;
    let control = &world.made.control;
    assert_eq!(code(control.sign_up(form("a@example.org"), &here()).await), "signup_closed");
    let owner = NewUser {
        email: "owner@example.org".to_owned(),
        role: Some("owner".to_owned()),
        tenant: Some("main".to_owned()),
        password: Some(Password::new(PASSWORD)),
        ..NewUser::default()
    };
    control.create_user(&world.made.operator, owner.clone(), None).await.expect("made");
    assert_eq!(code(control.create_user(&world.made.operator, owner, None).await), "conflict");
    let owner = world.actor(&world.log_in("owner@example.org", PASSWORD).await.expect("logged in")).await;
    let invited = NewUser { email: "dev@example.org".to_owned(), role: Some("developer".to_owned()), ..NewUser::default() };
    let invite = control.create_user(&owner, invited.clone(), None).await.expect("invited").invite.expect("an invitation");
    assert_eq!((invite.code, invite.mailed), (None, true), "the inviter does not see the code");
    let code_of_mail = world.token(0).await;
    assert_eq!(code(world.verify(&code_of_mail).await), "conflict", "no account yet");
    let wrong = SignUp { invite: Some(code_of_mail.clone()), ..form("mallory@example.org") };
    assert_eq!(code(control.sign_up(wrong, &here()).await), "invalid_token", "it is for one address");
    let right = SignUp { invite: Some(code_of_mail.clone()), ..form("dev@example.org") };
    assert_eq!(control.sign_up(right.clone(), &here()).await.expect("signed up").state, SignupState::Ready);
    assert_eq!(code(control.sign_up(right, &here()).await), "invalid_token", "it is good once");
    assert_eq!(code(control.create_user(&owner, invited, None).await), "conflict", "a member already");

    let dev = world.actor(&world.log_in("dev@example.org", PASSWORD).await.expect("logged in")).await;
    let here_only = WhichTenant::default();
    let role = |role: &str| ChangedUser { role: Some(role.to_owned()), ..ChangedUser::default() };
    assert_eq!(code(control.change_user(&dev, "dev@example.org", &here_only, role("owner")).await), "permission_denied");
    assert_eq!(code(control.remove_user(&dev, "owner@example.org", &here_only).await), "permission_denied");
    assert_eq!(code(control.remove_user(&owner, "owner@example.org", &here_only).await), "conflict", "the last owner");
    assert_eq!(code(control.change_user(&owner, "owner@example.org", &here_only, role("viewer")).await), "conflict");
    assert_eq!(code(control.change_user(&owner, "dev@example.org", &here_only, role("king")).await), "invalid_request");
    assert_eq!(code(control.change_user(&owner, "nobody@example.org", &here_only, role("viewer")).await), "not_found");
    let operators = ChangedUser { operator: Some(true), ..ChangedUser::default() };
    assert_eq!(code(control.change_user(&owner, "owner@example.org", &here_only, operators).await), "permission_denied");
    control.change_user(&owner, "dev@example.org", &here_only, role("owner")).await.expect("two owners");
    control.remove_user(&owner, "owner@example.org", &here_only).await.expect("one may leave");
    assert_eq!(code(control.remove_user(&world.made.operator, "dev@example.org", &WhichTenant::default()).await), "ok", "alone in it");
}

#[tokio::test]
async fn an_invitation_waits_for_who_has_an_account() {
    let world = world(SignupMode::Open).await;
    let ada = world.user("ada@example.org").await;
    world.user("bob@example.org").await;
    let invited = NewUser { email: "bob@example.org".to_owned(), role: Some("viewer".to_owned()), ..NewUser::default() };
    world.made.control.create_user(&ada, invited, None).await.expect("invited");
    world.made.clock.advance_ms(1000);
    let token = world.token(2).await;
    world.made.clock.advance_ms(1);
    assert_eq!(world.verify(&token).await.expect("accepted"), SignupState::Ready);
    assert_eq!(code(world.verify(&token).await), "invalid_token");
    let session = world.made.control.session(&world.log_in("bob@example.org", PASSWORD).await.expect("logged in")).await.expect("good");
    let there = session.actor(Some("ada")).expect("a member");
    let here_first = session.actor(None).expect("a member");
    assert_eq!(here_first.tenant().map(|tenancy| tenancy.tenant_name.as_str()), Some("bob"), "the own tenant stays the first");
    assert_eq!(code(world.made.control.create_key(&there, Default::default(), None).await), "permission_denied");
    assert_eq!(code(session.actor(Some("main"))), "not_found");
}

#[tokio::test]
async fn what_is_typed_is_checked() {
    let world = world(SignupMode::Open).await;
    let huge = "x".repeat(1 << 20);
    for (bad, param) in [
        (form(""), "email"),
        (form("no address"), "email"),
        (form(&format!("{huge}@example.org")), "email"),
        (form("a@example.org\r\nBcc: b@example.org"), "email"),
        (SignUp { password: Password::new(""), ..form("a@example.org") }, "password"),
        (SignUp { password: Password::new("short"), ..form("a@example.org") }, "password"),
        (SignUp { password: Password::new(huge.clone()), ..form("a@example.org") }, "password"),
        (SignUp { name: Some(huge.clone()), ..form("a@example.org") }, "name"),
        (SignUp { name: Some("a\nb".to_owned()), ..form("a@example.org") }, "name"),
        (SignUp { tenant: Some("../etc".to_owned()), ..form("a@example.org") }, "tenant"),
        (SignUp { tenant: Some("ten_01jz8v6w9qf3s8s4k2m1n0p7rt".to_owned()), ..form("a@example.org") }, "tenant"),
    ] {
        let error = world.made.control.sign_up(bad, &here()).await.expect_err(param);
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some(param)));
    }
    for token in ["", "x", "ä", "' OR 1=1 --", &huge] {
        assert_eq!(code(world.verify(token).await), "invalid_token");
        let new = NewPassword { token: token.to_owned(), password: Password::new(PASSWORD) };
        assert_eq!(code(world.made.control.reset_password(&new, &here()).await), "invalid_token");
        assert_eq!(code(world.made.control.session(token).await.map(|_| ())), "invalid_session");
    }
    for password in ["", &huge] {
        assert_eq!(code(world.log_in("a@example.org", password).await), "invalid_credentials");
    }
}

/// A service in which a stranger came in with Ada's address and a code for anybody: nobody has proved whose it is.
async fn taken() -> (Fixture, String) {
    let made = fixture_with(PeopleSettings::default()).await;
    let anybody = made.control.create_invite(&made.operator, NewInvite::default(), None).await;
    let invite = anybody.expect("made").code;
    let stranger = SignUp { password: Password::new("the stranger's"), invite, ..form("ada@example.org") };
    made.control.sign_up(stranger, &here()).await.expect("signed up");
    let token = made.control.log_in(&login("ada@example.org", "the stranger's"), &here(), None).await.expect("logged in").token;
    (made, token)
}

#[tokio::test]
async fn what_a_stranger_made_ends_when_the_address_is_proved() {
    let (made, token) = taken().await;
    let control = &made.control;
    let stranger = control.session(&token).await.expect("a session").actor(None).expect("an actor");
    let new = |name: &str| freehold_control::keys::NewKey { name: name.to_owned(), ..Default::default() };
    let first = control.create_key(&stranger, new("first"), None).await.expect("made");
    let by_key = control.authenticate(&first.secret).await.expect("good");
    let second = control.create_key(&by_key, new("made with the first"), None).await.expect("made");
    control.authenticate(&second.secret).await.expect("good, and remembered");
    let tenant = stranger.tenant().expect("a tenant").tenant_name.to_string();
    let operators = made.key_for(&tenant).await;
    let rotated = made.key_for(&tenant).await;
    let rotation = freehold_control::keys::Rotation { grace_s: 0 };
    let rotated = control.rotate_key(&stranger, &rotated.key.id.to_string(), rotation).await.expect("rotated");

    // Ada is invited by name, which only she can know of.
    let to_ada = NewInvite { email: Some("ada@example.org".to_owned()), ..NewInvite::default() };
    let invite = control.create_invite(&made.operator, to_ada, None).await.expect("made").code;
    control.sign_up(SignUp { invite, ..form("ada@example.org") }, &here()).await.expect("hers");
    for secret in [&first.secret, &second.secret, &rotated.secret] {
        assert_eq!(code(control.authenticate(secret).await), "invalid_api_key");
    }
    assert_eq!(code(control.session(&token).await.map(|_| ())), "invalid_session");
    control.authenticate(&operators.secret).await.expect("the operator made this one");
    let ada = control.log_in(&login("ada@example.org", PASSWORD), &here(), None).await.expect("logged in").token;
    let ada = control.session(&ada).await.expect("a session").actor(Some(tenant.as_str())).expect("an actor");
    let events = control.trail(&ada, &TrailRequest::default()).await.expect("the trail").data;
    assert!(events.iter().any(|event| event.kind == "freehold.user.address_proved"), "{events:?}");
    // Her own keys stay when she changes her password.
    let hers = control.create_key(&ada, new("hers"), None).await.expect("made");
    control.authenticate(&hers.secret).await.expect("good");
}

#[tokio::test]
async fn a_new_password_by_mail_proves_the_address_too() {
    let world = world(SignupMode::Open).await;
    let control = &world.made.control;
    // The operator makes the account with a password that somebody told him.
    let new = NewUser { email: "ada@example.org".to_owned(), password: Some(Password::new("the stranger's")), ..NewUser::default() };
    let new = NewUser { role: Some("owner".to_owned()), tenant: Some("main".to_owned()), ..new };
    control.create_user(&world.made.operator, new, None).await.expect("made");
    let token = world.log_in("ada@example.org", "the stranger's").await.expect("logged in");
    let stranger = world.actor(&token).await;
    let named = freehold_control::keys::NewKey { name: "k".to_owned(), ..Default::default() };
    let key = control.create_key(&stranger, named.clone(), None).await.expect("made");
    control.authenticate(&key.secret).await.expect("good");
    let ask = || Addressee { email: "ada@example.org".to_owned() };
    control.forgot_password(&ask(), &here()).expect("asked");
    assert!(world.letter(0).await.contains("ends the API keys"), "who chooses a password knows what ends");
    let new = NewPassword { token: world.token(0).await, password: Password::new(PASSWORD) };
    control.reset_password(&new, &here()).await.expect("set");
    assert_eq!(code(control.authenticate(&key.secret).await), "invalid_api_key");
    assert_eq!(code(control.session(&token).await.map(|_| ())), "invalid_session");
    control.authenticate(&world.made.credentials.key).await.expect("the tenant's other keys go on");
    // The second time nothing is proved that was not.
    let ada = world.actor(&world.log_in("ada@example.org", PASSWORD).await.expect("logged in")).await;
    let key = control.create_key(&ada, named, None).await.expect("made");
    control.forgot_password(&ask(), &here()).expect("asked");
    assert!(!world.letter(1).await.contains("ends the API keys"));
    let new = NewPassword { token: world.token(1).await, password: Password::new(PASSWORD) };
    control.reset_password(&new, &here()).await.expect("set");
    control.authenticate(&key.secret).await.expect("her key goes on");
}

#[tokio::test]
async fn a_flood_from_one_network_does_not_fill_the_waiting_list() {
    let made = fixture_with(PeopleSettings { signup: SignupMode::Preview, ..PeopleSettings::default() }).await;
    let from = |n: u32, address: &str| {
        let origin = Origin::new(address.replace('N', &(n % 250).to_string()).parse().expect("an address"));
        let form = form(&format!("x{n}@example.org"));
        let control = made.control.clone();
        async move { control.sign_up(form, &origin).await.map(|signed_up| signed_up.state) }
    };
    for n in 0..40 {
        assert_eq!(from(n, "203.0.113.N").await.expect("waits"), SignupState::Waiting);
    }
    let error = from(40, "203.0.113.N").await.expect_err("too many from there");
    assert_eq!((error.code.as_str(), error.retry_after_s.is_some()), ("rate_limited", true));
    assert_eq!(from(41, "203.0.114.N").await.expect("from elsewhere"), SignupState::Waiting);
    for n in 100..140 {
        from(n, "2001:db8:1:N::1").await.expect("waits");
    }
    assert_eq!(code(from(140, "2001:db8:1:ffff::1").await), "rate_limited", "one network has many addresses");
    let page = PageRequest { limit: Some(1000), after: None };
    let list = made.control.list_waiting(&made.operator, &page).await.expect("the list").data;
    assert_eq!(list.len(), 81);
    let id = list[0].id.to_string();
    assert_eq!(code(made.control.remove_waiting(&made.main, &id).await), "permission_denied");
    assert_eq!(made.control.remove_waiting(&made.operator, &id).await.expect("removed").email.as_str(), "x0@example.org");
    assert_eq!(code(made.control.remove_waiting(&made.operator, &id).await), "not_found");
    assert_eq!(code(made.control.remove_waiting(&made.operator, "../x").await), "not_found");
    made.clock.advance_ms(24 * HOUR_MS);
    assert_eq!(from(200, "203.0.113.N").await.expect("a new day"), SignupState::Waiting);
}

#[tokio::test]
async fn the_credit_for_signing_up_is_there_when_the_account_is() {
    let mail = tempfile::tempdir().expect("a folder");
    let settings = PeopleSettings {
        signup: SignupMode::Open,
        mail: MailSettings::Folder(mail.path().to_owned()),
        signup_credit_nano: 7,
        ..PeopleSettings::default()
    };
    let world = World { made: fixture_with(settings).await, mail };
    let ada = world.user("ada@example.org").await;
    // The process ends right after the sign-up: a copy of its folder is what the next one finds.
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(copy.path().join("data")).expect("a folder");
    for entry in std::fs::read_dir(world.made.dir.path().join("data")).expect("files") {
        let entry = entry.expect("a file");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), copy.path().join("data").join(entry.file_name())).expect("copied");
        }
    }
    let after = crate::open(&copy, &world.made.clock);
    for control in [&world.made.control, &after] {
        assert_eq!(control.balance(&ada, None).await.expect("a balance").balance.get(), 7);
    }
    let ledger = after.ledger(&world.made.operator).await.expect("a ledger");
    assert_eq!((ledger.total.get(), ledger.accounts["operator_credit"].get()), (0, -7));
    let transfers = after.transfers(&ada, None).await.expect("transfers");
    assert_eq!((transfers.len(), transfers[0].note.as_str()), (1, "sign-up"));
    // A tenant that the operator makes gets none.
    let other = world.made.tenant("other").await;
    assert_eq!(world.made.control.balance(&other, None).await.expect("a balance").balance.get(), 0);
}

#[tokio::test]
async fn who_was_let_in_from_the_waiting_list_gets_the_credit_too() {
    let settings = PeopleSettings { signup: SignupMode::Preview, signup_credit_nano: 7, ..PeopleSettings::default() };
    let made = fixture_with(settings).await;
    made.control.sign_up(form("ada@example.org"), &here()).await.expect("waits");
    let list = made.control.list_waiting(&made.operator, &PageRequest::default()).await.expect("the list").data;
    made.control.admit(&made.operator, &list[0].id.to_string()).await.expect("admitted");
    let token = made.control.log_in(&login("ada@example.org", PASSWORD), &here(), None).await.expect("logged in").token;
    let ada = made.control.session(&token).await.expect("a session").actor(None).expect("an actor");
    assert_eq!(made.control.balance(&ada, None).await.expect("a balance").balance.get(), 7);
}
