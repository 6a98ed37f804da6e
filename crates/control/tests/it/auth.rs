//! Secrets and what they open.

use freehold_control::keys::{KeyWithSecret, NewKey, Rotation};
use freehold_control::secret::{Secret, SecretKind};
use freehold_control::{Action, auth};
use freehold_domain::KeyId;
use proptest::prelude::*;

use crate::{code, fixture, open};

proptest! {
    #[test]
    fn a_secret_parses_to_itself(bits in any::<u128>(), operator in any::<bool>()) {
        let kind = if operator { SecretKind::Operator } else { SecretKind::Tenant };
        let key = KeyId::from_uuid(uuid::Uuid::from_u128(bits));
        let secret = Secret::generate(kind, key).expect("randomness");
        let parsed: Secret = secret.reveal().parse().expect("a secret");
        prop_assert_eq!(parsed.key(), key);
        prop_assert_eq!(parsed.kind(), kind);
        prop_assert_eq!(parsed.hash(), secret.hash());
        let debug = format!("{secret:?}");
        prop_assert!(!debug.contains(&secret.reveal()[40..60]));
    }

    #[test]
    fn a_changed_secret_is_malformed(place in 0usize..78, byte in any::<u8>()) {
        let secret = Secret::generate(SecretKind::Tenant, KeyId::from_uuid(uuid::Uuid::from_u128(7))).expect("randomness");
        let mut bytes = secret.reveal().as_bytes().to_vec();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(text.parse::<Secret>().is_err());
        }
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in "(fh-|fho-)?\\PC{0,90}") {
        prop_assert!(text.parse::<Secret>().is_err());
    }
}

#[tokio::test]
async fn only_the_right_secret_is_good_and_strangers_learn_nothing() {
    let made = fixture().await;
    let id = made.main.key().expect("a key");
    let forged = Secret::generate(SecretKind::Tenant, id).expect("randomness");
    let unknown = Secret::generate(SecretKind::Tenant, KeyId::from_uuid(uuid::Uuid::from_u128(5))).expect("randomness");
    let wrong = made.control.authenticate(forged.reveal()).await.expect_err("forged");
    assert_eq!(wrong, made.control.authenticate(unknown.reveal()).await.expect_err("unknown"));
    assert_eq!(wrong.code.as_str(), "invalid_api_key");
    for malformed in ["", "sk-abc", "fh-", &made.credentials.key[..70], &made.credentials.operator_key.replace("fho-", "fh-")] {
        assert_eq!(code(made.control.authenticate(malformed).await), "invalid_api_key", "{malformed}");
    }

    made.control.revoke_key(&made.operator, &id.to_string()).await.expect("revoked");
    assert_eq!(made.control.authenticate(forged.reveal()).await.expect_err("forged"), wrong);
    let told = made.control.authenticate(&made.credentials.key).await.expect_err("revoked");
    assert!(told.message.contains("revoked"), "{}", told.message);
}

#[tokio::test]
async fn revoking_ends_a_key_at_once() {
    let made = fixture().await;
    let key = made.key_for("main").await;
    made.actor(&key).await;
    made.control.revoke_key(&made.operator, &key.key.id.to_string()).await.expect("revoked");
    assert_eq!(code(made.control.authenticate(&key.secret).await), "invalid_api_key");
}

#[tokio::test]
async fn a_key_expires_by_the_clock() {
    let made = fixture().await;
    let expires_at = Some(made.control.now().plus_ms(1000));
    let key = made.key(NewKey { name: "k".to_owned(), tenant: Some("main".to_owned()), expires_at, ..NewKey::default() }).await;
    made.actor(&key).await;
    made.clock.advance_ms(999);
    made.actor(&key).await;
    made.clock.advance_ms(1);
    let told = made.control.authenticate(&key.secret).await.expect_err("expired");
    assert!(told.message.contains("expired"), "{}", told.message);
}

async fn rotate(made: &crate::Fixture, key: &KeyWithSecret, grace_s: u32) -> KeyWithSecret {
    made.control.rotate_key(&made.operator, &key.key.id.to_string(), Rotation { grace_s }).await.expect("rotated")
}

#[tokio::test]
async fn a_rotated_keys_old_secret_is_good_for_the_grace_period() {
    let made = fixture().await;
    let first = made.key_for("main").await;
    made.actor(&first).await;
    let second = rotate(&made, &first, 0).await;
    assert_eq!(code(made.control.authenticate(&first.secret).await), "invalid_api_key");
    assert_eq!(made.actor(&second).await.key(), Some(first.key.id));

    let third = rotate(&made, &second, 60).await;
    made.actor(&second).await;
    made.actor(&third).await;
    made.clock.advance_ms(60_000);
    assert_eq!(code(made.control.authenticate(&second.secret).await), "invalid_api_key");
    made.actor(&third).await;

    made.control.revoke_key(&made.operator, &first.key.id.to_string()).await.expect("revoked");
    assert_eq!(code(made.control.authenticate(&third.secret).await), "invalid_api_key");
    assert_eq!(code(made.control.rotate_key(&made.operator, &first.key.id.to_string(), Rotation::default()).await), "conflict");
}

#[tokio::test]
async fn last_use_is_written_in_batches() {
    let made = fixture().await;
    let id = made.main.key().expect("a key").to_string();
    let last_used = async |control: &freehold_control::Control| control.key(&made.operator, &id).await.expect("a key").last_used_at;
    assert_eq!(last_used(&made.control).await, None, "not yet written");
    let used_at = made.control.now();
    made.control.write_key_uses().await.expect("written");
    assert_eq!(last_used(&made.control).await, Some(used_at));

    made.clock.advance_ms(5000);
    made.control.authenticate(&made.credentials.key).await.expect("good");
    made.control.write_key_uses().await.expect("written");
    assert_eq!(last_used(&made.control).await, Some(used_at.plus_ms(5000)));
}

#[tokio::test]
async fn keys_are_good_again_after_a_restart() {
    let made = fixture().await;
    let crate::Fixture { control, clock, dir, credentials, .. } = made;
    drop(control);
    let again = open(&dir, &clock);
    again.authenticate(&credentials.key).await.expect("good");
    again.authenticate(&credentials.operator_key).await.expect("good");
}

#[tokio::test]
async fn an_allow_list_hides_other_models() {
    let made = fixture().await;
    let models = Some(vec!["Small".to_owned()]);
    let key = made.key(NewKey { name: "k".to_owned(), tenant: Some("main".to_owned()), models, ..NewKey::default() }).await;
    let limited = made.actor(&key).await;
    let name = |text: &str| text.parse().expect("a name");
    for (actor, model, expected) in [
        (&limited, "Small", "ok"),
        (&limited, "small", "ok"),
        (&limited, "large", "model_not_found"),
        (&made.main, "large", "ok"),
        (&made.operator, "large", "permission_denied"),
    ] {
        assert_eq!(code(auth::permit(actor, Action::UseModel(&name(model)))), expected, "{model}");
    }
    assert_eq!(code(auth::permit(&made.operator, Action::SeeModel(&name("large")))), "ok");
}
