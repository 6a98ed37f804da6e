//! `freehold response`: what the tenant has stored.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::billing::query;
use super::client::{Client, segment};
use super::output;

/// Responses of a page of the list.
const PAGE_LIMIT: u32 = 1000;

/// What can be done with stored responses.
#[derive(Debug, Subcommand)]
pub enum ResponseCommand {
    /// List stored responses, newest first, and what is used of the limit
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Show a stored response, and what was asked
    Show {
        /// Its id (`resp_...`)
        id: String,
    },
    /// Delete stored responses
    Delete {
        /// Their ids (`resp_...`)
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Write all stored responses with what was asked, a JSON object a line
    Export {
        /// The file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Runs `freehold response`.
pub async fn run(client: &Client, command: ResponseCommand) -> anyhow::Result<ExitCode> {
    match command {
        ResponseCommand::List { limit } => list(client, limit).await?,
        ResponseCommand::Show { id } => show(client, &id).await?,
        ResponseCommand::Delete { ids } => {
            for id in &ids {
                client.delete(&format!("/api/v1/responses/{}", segment(id))).await?;
                output::note(&format!("{id} is deleted."));
            }
            if client.json {
                output::json(&json!({"deleted": ids}));
            }
        }
        ResponseCommand::Export { output: file } => export(client, file).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, limit: u32) -> anyhow::Result<()> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    let mut last = loop {
        let left = limit.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX)).clamp(1, PAGE_LIMIT);
        let size = left.to_string();
        let pairs = [("limit", Some(size.as_str())), ("after", after.as_deref())];
        let mut page = client.get(&format!("/api/v1/responses{}", query(&pairs))).await?;
        all.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() || all.len() >= limit as usize {
            break page;
        }
    };
    all.truncate(limit as usize);
    if client.json {
        last["data"] = Value::Array(all);
        output::json(&last);
        return Ok(());
    }
    let size = |value: &Value| output::bytes(value.as_u64().unwrap_or(0));
    let row = |row: &Value| {
        let texts = ["id", "model", "previous"].map(|name| output::cell(&row[name]));
        texts.into_iter().chain([output::moment(&row["created_at"]), output::moment(&row["expires_at"]), size(&row["bytes"])]).collect()
    };
    output::table(&["id", "model", "goes on from", "stored", "until", "size"], all.iter().map(row).collect());
    let more = if after.is_some() { " There are more: --limit shows them." } else { "" };
    output::note(&format!("{} of {} are used.{more}", size(&last["used_bytes"]), size(&last["limit_bytes"])));
    Ok(())
}

async fn show(client: &Client, id: &str) -> anyhow::Result<()> {
    let path = format!("/v1/responses/{}", segment(id));
    let response = client.get(&path).await?;
    let (mut items, mut after) = (Vec::new(), None::<String>);
    loop {
        let pairs = [("order", Some("asc")), ("limit", Some("100")), ("after", after.as_deref())];
        let mut page = client.get(&format!("{path}/input_items{}", query(&pairs))).await?;
        items.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
        after = page["last_id"].as_str().map(str::to_owned).filter(|_| page["has_more"] == json!(true));
        if after.is_none() {
            break;
        }
    }
    if client.json {
        output::json(&json!({"response": response, "input_items": items}));
        return Ok(());
    }
    let usage = &response["usage"];
    output::line(&format!(
        "{} · {} · {}",
        output::cell(&response["id"]),
        output::cell(&response["model"]),
        output::cell(&response["status"])
    ));
    if let Some(previous) = response["previous_response_id"].as_str() {
        output::line(&format!("goes on from {previous}"));
    }
    output::line(&format!("{} tokens in, {} out", output::cell(&usage["input_tokens"]), output::cell(&usage["output_tokens"])));
    for item in items.iter().chain(response["output"].as_array().into_iter().flatten()) {
        // It is somebody else's text: it must not command the terminal.
        let said: String = said(item).chars().map(|c| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c }).collect();
        output::line(&format!("\n{said}"));
    }
    Ok(())
}

/// An item of a conversation, for a person.
fn said(item: &Value) -> String {
    let text = |content: &Value| match content {
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| part["text"].as_str().or_else(|| part["image_url"].as_str()).unwrap_or("-"));
            texts.collect::<Vec<_>>().join("\n")
        }
        other => output::cell(other),
    };
    match item["type"].as_str() {
        Some("function_call") => format!("calls {}({})", output::cell(&item["name"]), output::cell(&item["arguments"])),
        Some("function_call_output") => format!("result: {}", text(&item["output"])),
        _ => format!("{}: {}", output::cell(&item["role"]), text(&item["content"])),
    }
}

async fn export(client: &Client, file: Option<PathBuf>) -> anyhow::Result<()> {
    let mut answer = client.send(Method::GET, "/api/v1/responses/export", None).await?;
    let mut out: Box<dyn Write> = match &file {
        Some(path) => Box::new(std::fs::File::create(path).with_context(|| format!("{} cannot be written", path.display()))?),
        None => Box::new(std::io::stdout().lock()),
    };
    while let Some(piece) = answer.chunk().await.context("the export broke off: what was written is not whole")? {
        if let Err(error) = out.write_all(&piece) {
            // A reader that has gone away (`| head`) is no error.
            if file.is_none() && error.kind() == std::io::ErrorKind::BrokenPipe {
                return Ok(());
            }
            return Err(error).context("the export cannot be written");
        }
    }
    out.flush()?;
    if let Some(path) = file {
        output::note(&format!("{} is written.", path.display()));
    }
    Ok(())
}
