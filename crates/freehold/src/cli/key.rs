//! `freehold key`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key; it is shown once
    Create {
        /// A name to recognise it by
        #[arg(default_value = "key")]
        name: String,
        /// Models that the key may use; all when not given
        #[arg(long = "model", value_name = "MODEL")]
        models: Vec<String>,
        /// What the key is good for: inference, read or manage; everything when not given
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Days until it expires
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
        /// Tenant that the key is for (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// List the keys
    List {
        /// Tenant whose keys to list (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Revoke a key at once
    Revoke {
        /// The key's id (`key_...`)
        id: String,
        /// Tenant whose key it is (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Give a key a new secret
    Rotate {
        /// The key's id (`key_...`)
        id: String,
        /// Seconds for which the old secret stays valid
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        grace_s: u32,
        /// Tenant whose key it is (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
}

impl KeyCommand {
    /// Acting for a named tenant takes the operator's key.
    pub fn needs_operator(&self) -> bool {
        let (Self::Create { tenant, .. } | Self::List { tenant } | Self::Revoke { tenant, .. } | Self::Rotate { tenant, .. }) = self;
        tenant.is_some()
    }
}

/// Runs the command.
pub async fn run(client: &Client, command: KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Create { name, models, scopes, expires_in_days, tenant } => {
            let mut body = json!({"name": name});
            if !models.is_empty() {
                body["models"] = json!(models);
            }
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            if let Some(days) = expires_in_days {
                let end = time::OffsetDateTime::now_utc().checked_add(time::Duration::days(days.into())).context("that is too far away")?;
                body["expires_at"] = json!(end.format(&time::format_description::well_known::Rfc3339)?);
            }
            if let Some(tenant) = tenant {
                body["tenant"] = json!(tenant);
            }
            show_secret(client, &client.post("/api/v1/keys", &body).await?);
        }
        KeyCommand::List { tenant } => {
            let query = tenant.map(|tenant| format!("?tenant={}", segment(&tenant))).unwrap_or_default();
            let keys = client.get(&format!("/api/v1/keys{query}")).await?;
            if client.json {
                output::json(&keys);
            } else {
                let row = |key: &Value| {
                    let models = if key["models"].is_null() { "all".to_owned() } else { output::cell(&key["models"]) };
                    vec![
                        output::cell(&key["id"]),
                        output::cell(&key["name"]),
                        output::cell(&key["hint"]),
                        models,
                        output::moment(&key["created_at"]),
                        output::moment(&key["last_used_at"]),
                        output::moment(&key["expires_at"]),
                        output::cell(&key["state"]),
                    ]
                };
                let rows = keys["data"].as_array().into_iter().flatten().map(row).collect();
                output::table(&["id", "name", "key", "models", "created", "last used", "expires", "state"], rows);
            }
        }
        KeyCommand::Revoke { id, tenant } => {
            check_owner(client, &id, tenant.as_deref()).await?;
            let key = client.delete(&format!("/api/v1/keys/{}", segment(&id))).await?;
            if client.json { output::json(&key) } else { output::note(&format!("{id} is revoked: the next request with it fails.")) }
        }
        KeyCommand::Rotate { id, grace_s, tenant } => {
            check_owner(client, &id, tenant.as_deref()).await?;
            show_secret(client, &client.post(&format!("/api/v1/keys/{}/rotate", segment(&id)), &json!({"grace_s": grace_s})).await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An operator who names a tenant means a key of that tenant, and no other.
async fn check_owner(client: &Client, id: &str, tenant: Option<&str>) -> anyhow::Result<()> {
    let Some(tenant) = tenant else { return Ok(()) };
    let key = client.get(&format!("/api/v1/keys/{}", segment(id))).await?;
    let named = client.get(&format!("/api/v1/tenants/{}", segment(tenant))).await?;
    if key["tenant"] != named["id"] {
        anyhow::bail!("{id} is not a key of `{tenant}`");
    }
    Ok(())
}

fn show_secret(client: &Client, created: &Value) {
    if client.json {
        output::json(created);
    } else {
        output::line(&output::cell(&created["secret"]));
        output::note(&format!("This is {}. Keep it: it is not shown again.", output::cell(&created["id"])));
    }
}
