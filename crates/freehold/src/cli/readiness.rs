//! `freehold readiness`: the hard questions to put to a provider.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use freehold_estate::readiness;

use super::audit::write_out;

/// Print the hard questions to put to a cloud provider, with what it has published
#[derive(Debug, Args)]
pub struct ReadinessArgs {
    /// aws, azure, google, or any other name (the questions then come without published facts)
    #[arg(value_name = "PROVIDER", value_parser = NonEmptyStringValueParser::new())]
    provider: String,
    /// Format
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// File to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Markdown,
    Html,
    Json,
}

/// Runs the command.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: ReadinessArgs) -> anyhow::Result<ExitCode> {
    let questionnaire = readiness::questionnaire(&args.provider)?;
    let format = if args.json { Format::Json } else { args.format };
    let text = match format {
        Format::Markdown => readiness::to_markdown(&questionnaire),
        Format::Html => readiness::to_html(&questionnaire),
        Format::Json => serde_json::to_string_pretty(&questionnaire).context("writing JSON")? + "\n",
    };
    write_out(args.output.as_deref(), |sink| sink.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}
