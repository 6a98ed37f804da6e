//! `freehold operation`, and the progress bar of commands that start one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::Value;

use super::client::{Client, segment};
use super::output;

/// How often a running operation is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What can be done with operations.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List the operations, the newest first
    List,
    /// Show one
    Show {
        /// Its id (`op_...`)
        id: String,
    },
    /// Cancel one that is running
    Cancel {
        /// Its id (`op_...`)
        id: String,
    },
}

/// Runs the command.
pub async fn run(client: &Client, command: OperationCommand) -> anyhow::Result<ExitCode> {
    match command {
        OperationCommand::List => {
            let operations = client.get("/api/v1/operations").await?;
            if client.json {
                output::json(&operations);
            } else {
                output::table(
                    &["id", "kind", "subject", "state", "done", "step"],
                    operations["data"].as_array().into_iter().flatten().map(row).collect(),
                );
            }
        }
        OperationCommand::Show { id } => show(client, &client.get(&path(&id)).await?),
        OperationCommand::Cancel { id } => show(client, &client.delete(&path(&id)).await?),
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/api/v1/operations/{}", segment(id))
}

fn show(client: &Client, operation: &Value) {
    if client.json {
        output::json(operation);
    } else {
        output::table(&["id", "kind", "subject", "state", "done", "step"], vec![row(operation)]);
        if let Some(message) = operation["error"]["message"].as_str() {
            output::note(message);
        }
    }
}

fn row(operation: &Value) -> Vec<String> {
    let permille = operation["progress_permille"].as_u64().unwrap_or_default();
    vec![
        output::cell(&operation["id"]),
        output::cell(&operation["kind"]),
        output::cell(&operation["subject"]),
        output::cell(&operation["state"]),
        format!("{}%", permille / 10),
        output::cell(&operation["step"]),
    ]
}

/// Follows an operation to its end, with a bar on a terminal. Ctrl-C leaves it running.
///
/// # Errors
/// The operation failed or was cancelled.
pub async fn follow(client: &Client, started: &Value) -> anyhow::Result<Value> {
    let id = output::cell(&started["id"]);
    let bar = output::progress_bar();
    loop {
        let operation = client.get(&path(&id)).await?;
        bar.set_position(operation["progress_permille"].as_u64().unwrap_or_default());
        bar.set_message(operation["step"].as_str().unwrap_or_default().to_owned());
        match operation["state"].as_str() {
            Some("pending" | "running") => {}
            Some("done") => {
                bar.finish_and_clear();
                return Ok(operation);
            }
            state => {
                bar.finish_and_clear();
                bail!("{}", operation["error"]["message"].as_str().unwrap_or(state.unwrap_or("the operation has no state")));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bar.finish_and_clear();
                bail!("{id} goes on in the service: see it with `freehold operation show {id}`, end it with `freehold operation cancel {id}`");
            }
        }
    }
}
