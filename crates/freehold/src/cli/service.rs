//! `freehold status` and `freehold down`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::{Client, data_dir};
use super::{Common, output};
use crate::wiring::running;

/// How often a stopping service is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How to stop the service.
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// Seconds to wait for it
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait_s: u64,
}

/// Stops the service of the data folder, and waits for its end.
pub fn down(common: &Common, args: &DownArgs) -> anyhow::Result<ExitCode> {
    let folder = data_dir(common);
    let Some(process) = running(&folder) else {
        output::note(&format!("No service runs on {}.", folder.display()));
        return Ok(ExitCode::SUCCESS);
    };
    let pid = Pid::from_raw(process);
    kill(pid, Signal::SIGTERM).with_context(|| format!("the service (process {pid}) cannot be told to stop"))?;
    let deadline = Instant::now() + Duration::from_secs(args.wait_s);
    while kill(pid, None) != Err(Errno::ESRCH) && running(&folder).is_some() {
        if Instant::now() > deadline {
            bail!("the service (process {pid}) has not ended yet; running answers may take until `stop_grace_s`");
        }
        std::thread::sleep(LOOK);
    }
    output::note("Stopped.");
    Ok(ExitCode::SUCCESS)
}

/// Shows what the service is doing.
pub async fn status(client: &Client) -> anyhow::Result<ExitCode> {
    let status = client.get("/api/v1/status").await?;
    if client.json {
        output::json(&status);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "freehold {} at {}, up {}, {} requests served",
        output::cell(&status["version"]),
        output::cell(&status["address"]),
        indicatif::HumanDuration(Duration::from_secs(status["uptime_s"].as_u64().unwrap_or_default())),
        output::cell(&status["requests"]),
    ));
    let memory = |key: &str| output::bytes(status["memory"][key].as_u64().unwrap_or_default());
    output::line(&format!("memory for models: {} of {} reserved", memory("reserved_bytes"), memory("budget_bytes")));
    let devices: Vec<Vec<String>> = status["devices"].as_array().into_iter().flatten().map(device).collect();
    if !devices.is_empty() {
        output::line("");
        output::table(&["device", "kind", "memory", "free", "description"], devices);
    }
    let workers: Vec<Vec<String>> = status["workers"].as_array().into_iter().flatten().map(worker).collect();
    output::line("");
    if workers.is_empty() {
        output::line("No model is loaded; the first request loads one.");
    } else {
        output::table(&["model", "state", "requests", "memory", "context", "on", "process", "crashes"], workers);
    }
    Ok(ExitCode::SUCCESS)
}

fn device(device: &Value) -> Vec<String> {
    let bytes = |key: &str| output::bytes(device[key].as_u64().unwrap_or_default());
    vec![
        output::cell(&device["name"]),
        output::cell(&device["kind"]),
        bytes("memory_bytes"),
        bytes("memory_free_bytes"),
        output::cell(&device["description"]),
    ]
}

fn worker(worker: &Value) -> Vec<String> {
    let placement = worker["placement"].as_array().map_or_else(String::new, |places| {
        let places: Vec<String> =
            places.iter().map(|place| format!("{} ({} layers)", output::cell(&place["device"]), output::cell(&place["layers"]))).collect();
        places.join(", ")
    });
    vec![
        output::cell(&worker["model"]),
        output::cell(&worker["state"]),
        output::cell(&worker["requests"]),
        output::bytes(worker["memory_bytes"].as_u64().unwrap_or_default()),
        output::cell(&worker["context_tokens"]),
        placement,
        output::cell(&worker["pid"]),
        output::cell(&worker["crashes"]),
    ]
}
