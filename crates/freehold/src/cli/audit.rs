//! `freehold audit`: what ties infrastructure code to a provider. Walks, reads in parallel, prints.
//!
//! Everything that judges or formats is in `freehold-estate`; here are files, the clock and the terminal.

mod files;
mod walk;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use freehold_estate::catalogue::{Catalogue, Class, Explanation, Verdict};
use freehold_estate::contracts::{Contract, dates};
use freehold_estate::finding::{Audit, Baseline, audit};
use freehold_estate::plan::{self, Volume};
use freehold_estate::report::{self, table};
use freehold_estate::resource::Estate;
use time::{Date, OffsetDateTime};

pub use files::{read_text, write_atomically, write_out};
use walk::{WalkOptions, walk};

/// Exit code when a finding reaches `--fail-on`; 1 stays an error, 2 a wrong command line.
const EXIT_FINDINGS: u8 = 3;

/// Name of the user's rules, looked for in the audited folders and in the current one.
const RULES_FILE: &str = "freehold-audit.toml";

/// Largest rules, baseline or contracts file, in bytes.
const SIDE_FILE_BYTES_MAX: u64 = 512 << 20;

/// Say what ties infrastructure code to a cloud provider and what leaving would take
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Reads Terraform and OpenTofu (HCL, JSON, plan and state), CloudFormation, SAM and CDK output, ARM, Bicep, Pulumi YAML, Kubernetes, Compose, Dockerfiles, and cloud SDK calls in source code.\n\nA folder that is called plan or explain is named as ./plan.\n\nExit codes: 0 done, 1 error, 2 wrong command line, 3 a finding reached --fail-on."
)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show the rule for a resource type, with its evidence
    Explain(ExplainArgs),
    /// Write the exit plan: order of moves, replacements, work, egress, contracts
    Plan(PlanArgs),
}

/// What is read, and how.
#[derive(Debug, Args)]
struct InputArgs {
    /// Folders and files to read
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Rules of your own and accepted findings [default: freehold-audit.toml in PATH or here, if there is one]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Read files that .gitignore and the like exclude, too
    #[arg(long)]
    no_ignore: bool,
    /// Read hidden files and folders, too
    #[arg(long)]
    hidden: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The day to audit for, instead of today (YYYY-MM-DD)
    #[arg(long, value_name = "DATE", hide = true, value_parser = date)]
    today: Option<Date>,
}

#[derive(Debug, Args)]
struct ReportArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// File to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Report only what this earlier JSON report does not have
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// End with exit code 3 if an open finding has this class or one that takes more work (S, M, G, C, X, E), or is unknown (U)
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = threshold)]
    fail_on: Vec<Class>,
    /// List every resource in the table
    #[arg(long)]
    all: bool,
    /// Colour in the table
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Format
    #[arg(long, value_enum, default_value_t = PlanFormat::Markdown)]
    format: PlanFormat,
    /// File to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Gigabytes that leave, of all or of one provider (5000, aws=5000); sizes in the code are used otherwise
    #[arg(long, value_name = "[PROVIDER=]GB")]
    egress_gb: Vec<Volume>,
    /// Contracts file [default: that of `freehold contracts`, if there is one]
    #[arg(long, value_name = "FILE")]
    contracts: Option<PathBuf>,
    /// Leave contracts out
    #[arg(long, conflicts_with = "contracts")]
    no_contracts: bool,
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Resource type, such as aws_s3_bucket, AWS::S3::Bucket or Microsoft.Storage/storageAccounts
    #[arg(value_name = "TYPE")]
    type_name: String,
    /// Rules of your own [default: freehold-audit.toml here, if there is one]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Sarif,
    Html,
    Markdown,
    Csv,
    Cyclonedx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    Markdown,
    Html,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// Reads a date of the command line.
pub fn date(text: &str) -> Result<Date, String> {
    dates::parse(text).map_err(|error| error.to_string())
}

fn threshold(text: &str) -> Result<Class, String> {
    match text.parse::<Class>() {
        Ok(Class::N) => Err("N is no finding; use one of S, M, G, C, X, E, U".to_owned()),
        Ok(class) => Ok(class),
        Err(_) => Err("this is not a class; use one of S, M, G, C, X, E, U".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// When a path does not exist, a side file cannot be used, or the output cannot be written.
pub fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(AuditCommand::Explain(args)) => explain(&args),
        Some(AuditCommand::Plan(args)) => write_plan(args),
        None => write_report(args.report),
    }
}

fn today(given: Option<Date>) -> Date {
    given.unwrap_or_else(|| OffsetDateTime::now_utc().date())
}

fn read_estate(input: &InputArgs) -> anyhow::Result<Estate> {
    let options = WalkOptions { ignore: !input.no_ignore, hidden: input.hidden, threads: input.threads };
    let facts = walk(&input.paths, options)?;
    Ok(freehold_estate::read::assemble(facts, &freehold_estate::read::Options::default()))
}

fn catalogue(rules: Option<&PathBuf>, folders: &[PathBuf]) -> anyhow::Result<Catalogue> {
    let found = match rules {
        Some(path) => Some(path.clone()),
        None => folders.iter().map(|folder| folder.join(RULES_FILE)).chain([PathBuf::from(RULES_FILE)]).find(|path| path.is_file()),
    };
    let Some(path) = found else { return Ok(Catalogue::builtin().clone()) };
    let text = read_text(&path, SIDE_FILE_BYTES_MAX)?;
    Catalogue::with_user_rules(&text).with_context(|| path.display().to_string())
}

fn write_report(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let today = today(args.input.today);
    let catalogue = catalogue(args.input.rules.as_ref(), &args.input.paths)?;
    let baseline = args.baseline.as_ref().map(|path| -> anyhow::Result<Baseline> {
        let text = read_text(path, SIDE_FILE_BYTES_MAX)?;
        Baseline::read(&text).with_context(|| path.display().to_string())
    });
    let baseline = baseline.transpose()?;
    let estate = read_estate(&args.input)?;
    let mut found = audit(&estate, &catalogue, today);
    if let Some(baseline) = &baseline {
        found.apply(baseline);
    }
    for expired in catalogue.acceptances().iter().filter(|acceptance| acceptance.expires < today) {
        let _ = writeln!(
            std::io::stderr(),
            "note: the acceptance on line {} of the rules expired on {}: {}",
            expired.line,
            dates::text(expired.expires),
            report::escape::terminal(&expired.reason)
        );
    }
    let format = if args.json { Format::Json } else { args.format };
    write_out(args.output.as_deref(), |sink| format_report(&found, format, &args, sink))?;
    let failing = found.failing(&args.fail_on);
    if failing > 0 {
        let classes: Vec<&str> = args.fail_on.iter().map(|class| class.letter()).collect();
        let _ = writeln!(std::io::stderr(), "{} reached --fail-on {}", report::count(failing, "finding"), classes.join(","));
        return Ok(ExitCode::from(EXIT_FINDINGS));
    }
    Ok(ExitCode::SUCCESS)
}

fn format_report(found: &Audit<'_>, format: Format, args: &ReportArgs, sink: &mut dyn Write) -> std::io::Result<()> {
    let text = match format {
        Format::Json => return report::json::write(found, sink).map_err(std::io::Error::from),
        Format::Table => table::to_text(found, style(args)),
        Format::Sarif => report::sarif::to_text(found).map_err(std::io::Error::from)?,
        Format::Html => report::html::to_text(found),
        Format::Markdown => report::markdown::to_text(found),
        Format::Csv => report::csv::to_text(found),
        Format::Cyclonedx => report::cyclonedx::to_text(found).map_err(std::io::Error::from)?,
    };
    sink.write_all(text.as_bytes())
}

fn style(args: &ReportArgs) -> table::Style {
    let terminal = args.output.is_none() && std::io::stdout().is_terminal();
    let colour = match args.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    table::Style { colour, width: super::output::columns(terminal), all: args.all }
}

fn write_plan(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let today = today(args.input.today);
    let catalogue = catalogue(args.input.rules.as_ref(), &args.input.paths)?;
    let contracts = if args.no_contracts { Vec::new() } else { contracts(args.contracts.as_ref())? };
    let estate = read_estate(&args.input)?;
    let found = audit(&estate, &catalogue, today);
    let plan = plan::plan(&found, &args.egress_gb, &contracts)?;
    let format = if args.json { PlanFormat::Json } else { args.format };
    let text = match format {
        PlanFormat::Markdown => plan::to_markdown(&plan),
        PlanFormat::Html => plan::to_html(&plan),
        PlanFormat::Json => plan::to_json(&plan)?,
    };
    write_out(args.output.as_deref(), |sink| sink.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn contracts(given: Option<&PathBuf>) -> anyhow::Result<Vec<Contract>> {
    let path = match given {
        Some(path) => path.clone(),
        None => match super::contracts::default_file().filter(|path| path.is_file()) {
            Some(path) => path,
            None => return Ok(Vec::new()),
        },
    };
    Ok(super::contracts::read_book(&path)?.contracts().to_vec())
}

fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let catalogue = catalogue(args.rules.as_ref(), &[])?;
    let Some(explanation) = catalogue.explain(&args.type_name) else {
        let nearest = catalogue.nearest(&args.type_name, 3);
        let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(", ")) };
        bail!("no rule matches {:?}{hint}", args.type_name);
    };
    let text = if args.json { serde_json::to_string_pretty(&explanation)? + "\n" } else { explanation_text(&explanation) };
    write_out(None, |sink| sink.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn explanation_text(explanation: &Explanation) -> String {
    let by = if explanation.by_user { "your rule" } else { "rule" };
    let mut text = format!("{}\n", explanation.type_name);
    let mut columns = report::layout::Columns::plain(2);
    columns.row(vec![format!("  {by}"), format!("{}, by {}", explanation.verdict.rule, explanation.matched)]);
    verdict_rows(&mut columns, &explanation.verdict);
    text.push_str(&columns.render());
    for refinement in &explanation.refinements {
        text.push_str(&format!("\n  if {}\n", refinement.condition()));
        let mut columns = report::layout::Columns::plain(2).indent(2);
        verdict_rows(&mut columns, &refinement.verdict);
        text.push_str(&columns.render());
    }
    text
}

fn verdict_rows(columns: &mut report::layout::Columns, verdict: &Verdict) {
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            columns.row(vec![format!("  {name}"), value]);
        }
    };
    row("class", format!("{} {}: {}", verdict.class.letter(), verdict.class.word(), verdict.class.meaning()));
    row("service", verdict.service.to_string());
    row("why", verdict.why.to_string());
    row("replacement", verdict.replacement.to_string());
    row("data", verdict.exit_path.to_string());
    let facets = verdict.facets;
    row(
        "portability",
        format!("calls {}, data {}, application {}", facets.interoperability, facets.data_portability, facets.application_portability),
    );
    row("effort", report::days(verdict.effort_days));
    row("confidence", format!("{} of 100", verdict.confidence));
    row("evidence", verdict.evidence.as_ref().map(|evidence| format!("{} ({})", evidence.url, evidence.date)).unwrap_or_default());
}
