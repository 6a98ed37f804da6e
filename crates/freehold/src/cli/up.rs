//! `freehold up`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::Common;
use crate::options::Options;
use crate::wiring;

/// How to start the service.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Address to serve HTTP on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Options file [default: freehold.toml in the data folder]
    #[arg(long, value_name = "FILE", env = "FREEHOLD_CONFIG")]
    config: Option<std::path::PathBuf>,
    /// Any option, as in freehold.toml
    #[arg(long = "set", value_name = "OPTION=VALUE")]
    set: Vec<String>,
}

/// How a worker logs, as its service does.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// What the log holds
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// One JSON object a line
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the service until it is stopped.
pub fn run(common: &Common, args: UpArgs) -> anyhow::Result<ExitCode> {
    let options = gather(common, &args)?;
    start_log(&options.log_level, options.log_json())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(wiring::run(options))?;
    Ok(ExitCode::SUCCESS)
}

fn gather(common: &Common, args: &UpArgs) -> anyhow::Result<Options> {
    let mut flags = Vec::new();
    for pair in &args.set {
        let Some((key, value)) = pair.split_once('=') else { bail!("--set takes OPTION=VALUE, got `{pair}`") };
        flags.push((key.to_owned(), value.to_owned()));
    }
    if let Some(data) = &common.data {
        let data = data.to_str().with_context(|| format!("{} is not UTF-8", data.display()))?;
        flags.push(("data".to_owned(), data.to_owned()));
    }
    if let Some(listen) = &args.listen {
        flags.push(("listen".to_owned(), listen.clone()));
    }
    let environment: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    Ok(Options::gather(args.config.as_deref(), &environment, &flags)?)
}

/// Logs to standard error: one JSON object a line, or for people.
pub fn start_log(level: &str, json: bool) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(level).with_context(|| format!("`log_level` cannot be `{level}`"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().flatten_event(true).with_current_span(false).init();
    } else {
        log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}

/// docs/configuration.md.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Options of the service\n\nOptions are read from `freehold.toml` in the data folder (or `--config FILE`), from the environment (`FREEHOLD_` and the\nname in capitals), and from the command line (`--set OPTION=VALUE`, `--data DIR`, `--listen ADDR`); later wins. An unknown\noption is refused.\n\n| option | default | what it does |\n|---|---|---|\n",
    );
    for row in Options::rows() {
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        page.push_str(&format!("| `{}` | {default} | {} |\n", row.key, row.doc));
    }
    page.trim_end().to_owned()
}
