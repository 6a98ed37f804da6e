//! `freehold tenant`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::output;

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Create a tenant
    Create {
        /// Its name
        name: String,
    },
    /// List the tenants
    List,
}

/// Runs the command.
pub async fn run(client: &Client, command: TenantCommand) -> anyhow::Result<ExitCode> {
    match command {
        TenantCommand::Create { name } => {
            let tenant = client.post("/api/v1/tenants", &json!({"name": name})).await?;
            if client.json {
                output::json(&tenant);
            } else {
                output::line(&output::cell(&tenant["id"]));
                output::note(&format!("Give it a key: freehold key create --tenant {name}"));
            }
        }
        TenantCommand::List => {
            let tenants = client.get("/api/v1/tenants").await?;
            if client.json {
                output::json(&tenants);
            } else {
                let row = |tenant: &Value| {
                    vec![output::cell(&tenant["id"]), output::cell(&tenant["name"]), output::moment(&tenant["created_at"])]
                };
                output::table(&["id", "name", "created"], tenants["data"].as_array().into_iter().flatten().map(row).collect());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
