//! Alerts to tenants: signed, tried again, and never sent where a tenant should not reach.
//!
//! The signature is HMAC-SHA256 over the time, a point and the body, with a secret that follows from the tenant and
//! the service's own key: `x-freehold-signature: t=UNIX_S,v1=HEX`.
//!
//! **Invariant:** a message goes to an address that was looked up and found public at that moment (unless the operator
//! allows others), and a redirect is a failure.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use freehold_domain::{Error, EventId, TenantId, Timestamp};
use freehold_ledger::Alert;
use freehold_store::WebhookRow;
use futures::StreamExt;
use serde_json::json;

use super::BillingError;
use super::meter::alert_scope;
use crate::facade::{Control, Shared};
use crate::seal::{key_of_file, mac};

const FILE: &str = "webhook.key";
/// Most messages of a tenant that wait.
const WAITING_MAX: u32 = 100;
/// A message that was tried so often is given up: after about a day.
const ATTEMPTS_MAX: u32 = 12;
const FIRST_PAUSE_MS: i64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 8;
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The service's key for signatures: made at the first start, readable by the owner alone.
pub(super) fn secret(dir: &Path) -> Result<[u8; 32], BillingError> {
    key_of_file(dir, FILE).map_err(|error| BillingError::Io { path: dir.join(FILE), error })
}

/// What a tenant checks signatures with.
pub(super) fn tenant_secret(key: &[u8; 32], tenant: TenantId) -> String {
    format!("whsec_{}", hex::encode(mac(key, &[tenant.to_string().as_bytes()])))
}

fn signature(secret: &str, unix_s: i64, body: &str) -> String {
    let time = unix_s.to_string();
    format!("t={time},v1={}", hex::encode(mac(secret.as_bytes(), &[time.as_bytes(), b".", body.as_bytes()])))
}

/// An address that alerts may be sent to, as far as its text says.
pub(super) fn read_url(text: &str) -> Result<reqwest::Url, Error> {
    let wrong =
        |why: &str| Error::invalid("webhook.url", format!("`webhook.url` {why}: write an address such as https://example.org/hook."));
    let url = reqwest::Url::parse(text).map_err(|_| wrong("is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is not of http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user or a password in it"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("names no host"));
    }
    Ok(url)
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = a == 0 || a >= 224 || (a == 192 && b == 0) || (a == 198 && (b == 18 || b == 19));
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_documentation() || shared || special)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            // Of 2000::/3 everything but documentation, 6to4 and Teredo, which hold addresses of version 4.
            None => {
                let [a, b, ..] = v6.segments();
                a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
            }
        },
    }
}

/// Puts alerts into the queue. What goes wrong is only logged: an alert is a courtesy.
pub(super) fn queue(shared: &Arc<Shared>, alerts: &[(TenantId, Alert)], now: Timestamp) {
    let control = Control { shared: Arc::clone(shared) };
    let mut rows = Vec::new();
    for (tenant, alert) in alerts {
        match shared.store.limits(*tenant, alert_scope(alert)) {
            Ok(row) => {
                if let Some(url) = row.and_then(|row| row.webhook) {
                    rows.push(message(&control, *tenant, alert, url, now));
                }
            }
            Err(error) => tracing::warn!(%error, %tenant, "an alert is lost"),
        }
    }
    if rows.is_empty() {
        return;
    }
    match shared.store.queue_webhooks(&rows, WAITING_MAX) {
        Ok(0) => {}
        Ok(dropped) => tracing::warn!(dropped, "alerts are dropped: too many wait for their receiver"),
        Err(error) => tracing::warn!(%error, "alerts are lost"),
    }
    shared.billing.webhook_wake.notify_one();
}

fn message(control: &Control, tenant: TenantId, alert: &Alert, url: String, now: Timestamp) -> WebhookRow {
    let id = EventId::from_uuid(control.new_uuid());
    let body = json!({
        "specversion": "1.0", "id": id, "source": "/freehold", "type": "freehold.budget.alert", "time": now,
        "subject": alert_scope(alert).map_or_else(|| tenant.to_string(), |key| key.to_string()),
        "datacontenttype": "application/json",
        "data": {
            "tenant": tenant, "key": alert_scope(alert), "period": alert.period, "window_start": alert.window_start,
            "percent": alert.percent, "spent": alert.spent, "budget": alert.budget, "currency": control.shared.billing.currency,
        },
    });
    WebhookRow { id, tenant, url, body: body.to_string(), attempts: 0, next_at: now, created_at: now }
}

impl Control {
    /// Sends what is in the queue, for as long as the service runs.
    pub async fn send_webhooks(&self) {
        loop {
            let wake = self.shared.billing.webhook_wake.notified();
            // Waiting for both: a message that failed has its time, a new one wakes.
            let _either = tokio::time::timeout(LOOK_EVERY, wake).await;
            if let Err(error) = self.send_due_webhooks().await {
                tracing::warn!(message = error.message, context = error.context, "the queue of alerts cannot be read");
            }
        }
    }

    /// Sends what is due now.
    ///
    /// # Errors
    /// The queue cannot be read or written.
    pub async fn send_due_webhooks(&self) -> Result<(), Error> {
        const BATCH: u32 = 64;
        let now = self.now();
        let rows = self.store(move |store| store.due_webhooks(now, BATCH)).await?;
        futures::stream::iter(rows).for_each_concurrent(AT_ONCE, |row| self.try_webhook(row)).await;
        Ok(())
    }

    async fn try_webhook(&self, row: WebhookRow) {
        let sent = tokio::time::timeout(PATIENCE, self.send_webhook(&row)).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let next = match &sent {
            Ok(()) => None,
            Err(why) if row.attempts + 1 >= ATTEMPTS_MAX => {
                tracing::warn!(id = %row.id, tenant = %row.tenant, why, "an alert is given up");
                None
            }
            Err(why) => {
                tracing::debug!(id = %row.id, tenant = %row.tenant, why, "an alert is tried again later");
                Some(self.now().plus_ms(FIRST_PAUSE_MS << row.attempts.min(16)))
            }
        };
        let id = row.id;
        if let Err(error) = self.store(move |store| store.tried_webhook(id, next)).await {
            tracing::warn!(%error, "the queue of alerts cannot be written");
        }
    }

    async fn send_webhook(&self, row: &WebhookRow) -> Result<(), String> {
        let url = read_url(&row.url).map_err(|error| error.message)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| format!("{host}: {error}"))?.collect();
        let allowed = self.settings().billing.webhook_private;
        if found.is_empty() || !found.iter().all(|address| allowed || is_public(address.ip())) {
            return Err(format!("{host} is not an address of the public internet"));
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .resolve_to_addrs(&host, &found)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string())?;
        let secret = tenant_secret(&self.shared.billing.webhook_secret, row.tenant);
        let answer = client
            .post(url)
            .header("content-type", "application/cloudevents+json")
            .header("user-agent", "Freehold")
            .header("x-freehold-event", row.id.to_string())
            .header("x-freehold-signature", signature(&secret, self.now().unix_s(), &row.body))
            .body(row.body.clone())
            .send()
            .await
            .map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("HTTP status {}", answer.status().as_u16())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        for bad in ["", "x", "file:///etc/passwd", "ftp://a/b", "http://", "http://u:p@example.org/", "javascript:alert(1)", "gopher://a"] {
            assert!(read_url(bad).is_err(), "{bad}");
        }
        assert!(read_url("https://example.org/hook?x=1").is_ok());
    }

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        // RFC 4231, test case 2, is the key `Jefe` and this text.
        assert_eq!(
            hex::encode(mac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_ne!(signature("a", 1, "x"), signature("a", 2, "x"));
    }
}
