//! `freehold tenant`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, segment};
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
    /// Show a tenant
    Show {
        /// Id or name
        tenant: String,
    },
    /// Give a tenant another name
    Rename {
        /// Id or name
        tenant: String,
        /// The new name
        name: String,
    },
}

fn row(tenant: &Value) -> Vec<String> {
    vec![output::cell(&tenant["id"]), output::cell(&tenant["name"]), output::moment(&tenant["created_at"])]
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
        TenantCommand::Show { tenant } => {
            let tenant = client.get(&format!("/api/v1/tenants/{}", segment(&tenant))).await?;
            if client.json {
                output::json(&tenant);
            } else {
                output::table(&["id", "name", "created"], vec![row(&tenant)]);
            }
        }
        TenantCommand::Rename { tenant, name } => {
            let changed = client.patch(&format!("/api/v1/tenants/{}", segment(&tenant)), &json!({"name": name})).await?;
            if client.json { output::json(&changed) } else { output::note(&format!("It is called {name} now.")) }
        }
        TenantCommand::List => {
            let tenants = client.get("/api/v1/tenants").await?;
            if client.json {
                output::json(&tenants);
            } else {
                output::table(&["id", "name", "created"], tenants["data"].as_array().into_iter().flatten().map(row).collect());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
