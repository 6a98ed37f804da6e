//! `freehold contracts`: the book of contracts with providers, kept in one file.
//!
//! Terms, clocks and formats are in `freehold-estate`; here are the file, the clock and the terminal.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use freehold_estate::contracts::calendar::calendar;
use freehold_estate::contracts::clocks::{asks, clocks};
use freehold_estate::contracts::import::{Imported, import};
use freehold_estate::contracts::{Amount, Book, BookFormat, Category, Contract, EarlyTermination, list};
use serde_json::json;
use time::{Date, OffsetDateTime};

use super::audit::{date, read_text, write_atomically, write_out};

/// Largest contracts file or import, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Keep track of contracts with cloud providers and of when they end
#[derive(Debug, Args)]
pub struct ContractsArgs {
    #[command(subcommand)]
    command: ContractsCommand,
    /// Contracts file, JSON or TOML by its name [default: ~/.local/share/freehold/contracts.json]
    #[arg(long, global = true, value_name = "FILE", env = "FREEHOLD_CONTRACTS")]
    file: Option<PathBuf>,
    /// The day to reckon from, instead of today (YYYY-MM-DD)
    #[arg(long, global = true, value_name = "DATE", hide = true, value_parser = date)]
    today: Option<Date>,
}

#[derive(Debug, Subcommand)]
enum ContractsCommand {
    /// Add a contract
    Add(Box<AddArgs>),
    /// Change terms of a contract
    Set(Box<SetArgs>),
    /// List contracts, the next decision first, with warnings for the next 90 days
    List(OutputArgs),
    /// Show one contract: terms, Data Act dates with their articles, clauses to ask for
    Show {
        /// The contract's id
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take over AWS Savings Plans or Azure lots and MACCs as their APIs return them, or CSV with FOCUS columns
    Import {
        /// File, or - for standard input
        #[arg(value_name = "FILE")]
        from: PathBuf,
        /// Show what would be taken over, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the dates as an iCalendar file
    Calendar {
        /// File to write instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove a contract
    Remove {
        /// The contract's id
        id: String,
    },
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// An id of your choice, unique in the file
    id: String,
    /// Who it is with: aws, azure, google or any other name
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// First day
    #[arg(long, value_name = "DATE", value_parser = date)]
    start: Date,
    /// Day on which it is over
    #[arg(long, value_name = "DATE", value_parser = date)]
    end: Date,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Debug, Args)]
struct SetArgs {
    /// The contract's id
    id: String,
    /// First day
    #[arg(long, value_name = "DATE", value_parser = date)]
    start: Option<Date>,
    /// Day on which it is over
    #[arg(long, value_name = "DATE", value_parser = date)]
    end: Option<Date>,
    #[command(flatten)]
    terms: TermsArgs,
}

/// Terms that can be given when adding and changed later.
#[derive(Debug, Args)]
struct TermsArgs {
    /// What it is, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The agreement that it belongs to
    #[arg(long, value_name = "ID")]
    contract_id: Option<String>,
    /// Spend or Usage
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// The whole commitment
    #[arg(long, value_name = "AMOUNT")]
    cost: Option<Amount>,
    /// Currency, ISO 4217
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// What is not yet consumed
    #[arg(long, value_name = "AMOUNT")]
    remaining: Option<Amount>,
    /// Days of notice that end it or stop its renewal
    #[arg(long, value_name = "DAYS")]
    notice_days: Option<u32>,
    /// Whether it renews by itself
    #[arg(long, value_name = "YES|NO", value_parser = yes_no)]
    auto_renew: Option<bool>,
    /// For how many months it renews
    #[arg(long, value_name = "MONTHS")]
    renewal_months: Option<u32>,
    /// What leaving early costs: none, an amount, a share such as 50%, or remaining
    #[arg(long, value_name = "FEE")]
    early_termination: Option<EarlyTermination>,
    /// Share of the commitment that AI workloads elsewhere may meet, in percent; 0 for no such clause
    #[arg(long, value_name = "PERCENT")]
    divert_percent: Option<u8>,
    /// The divert clause's words
    #[arg(long, value_name = "TEXT")]
    divert_note: Option<String>,
    /// Whether the EU Data Act's switching rules cover it (customer in the Union)
    #[arg(long, value_name = "YES|NO", value_parser = yes_no)]
    data_act: Option<bool>,
    /// Day on which notice of switching was given
    #[arg(long, value_name = "DATE", value_parser = date)]
    switching_notice: Option<Date>,
    /// Anything else
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

fn yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}

impl TermsArgs {
    fn apply(self, contract: &mut Contract) {
        fn take<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        take(&mut contract.description, self.description);
        take(&mut contract.contract_id, self.contract_id);
        contract.category = self.category.unwrap_or(contract.category);
        take(&mut contract.cost, self.cost);
        take(&mut contract.currency, self.currency);
        take(&mut contract.remaining, self.remaining);
        take(&mut contract.notice_days, self.notice_days);
        take(&mut contract.auto_renew, self.auto_renew);
        take(&mut contract.renewal_months, self.renewal_months);
        take(&mut contract.early_termination, self.early_termination);
        take(&mut contract.divert_percent, self.divert_percent);
        take(&mut contract.divert_note, self.divert_note);
        take(&mut contract.data_act, self.data_act);
        take(&mut contract.switching_notice, self.switching_notice);
        take(&mut contract.note, self.note);
    }
}

/// Where the book is kept when nobody says otherwise.
pub fn default_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = set("FREEHOLD_CONTRACTS") {
        return Some(file);
    }
    let folder = set("FREEHOLD_DATA").or_else(|| set("HOME").map(|home| home.join(".local/share/freehold")));
    folder.map(|folder| folder.join("contracts.json"))
}

/// The book in a file; an empty one where there is no file yet.
///
/// # Errors
/// When the file is not a contracts file.
pub fn read_book(path: &Path) -> anyhow::Result<Book> {
    if !path.exists() {
        return Ok(Book::default());
    }
    let text = read_text(path, FILE_BYTES_MAX)?;
    Book::read(&text, BookFormat::of_path(&path.to_string_lossy())).with_context(|| path.display().to_string())
}

fn write_book(path: &Path, book: &Book) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let text = book.write(BookFormat::of_path(&path.to_string_lossy()))?;
    write_atomically(path, |sink| sink.write_all(text.as_bytes()))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs the command.
///
/// # Errors
/// When the contracts file or an import cannot be used, or the output cannot be written.
pub fn run(args: ContractsArgs) -> anyhow::Result<ExitCode> {
    let Some(path) = args.file.or_else(default_file) else {
        bail!("there is no home folder to keep contracts in; name a file with --file");
    };
    let now = OffsetDateTime::now_utc();
    let today = args.today.unwrap_or(now.date());
    let mut book = read_book(&path)?;
    match args.command {
        ContractsCommand::Add(add) => {
            let mut contract = Contract::new(add.id, add.provider, add.start, add.end);
            add.terms.apply(&mut contract);
            let id = contract.id.clone();
            book.add(contract)?;
            write_book(&path, &book)?;
            say(&format!("added {id} to {}", path.display()));
        }
        ContractsCommand::Set(set) => {
            let mut contract = book.get(&set.id)?.clone();
            contract.period_start = set.start.unwrap_or(contract.period_start);
            contract.period_end = set.end.unwrap_or(contract.period_end);
            set.terms.apply(&mut contract);
            book.merge(vec![contract])?;
            write_book(&path, &book)?;
            say(&format!("changed {}", set.id));
        }
        ContractsCommand::List(output) => print_list(&book, today, output.json)?,
        ContractsCommand::Show { id, output } => print_one(book.get(&id)?, today, output.json)?,
        ContractsCommand::Import { from, dry_run } => take_over(&mut book, &path, &from, dry_run)?,
        ContractsCommand::Calendar { output } => {
            let text = calendar(book.contracts(), today, now);
            write_out(output.as_deref(), |sink| sink.write_all(text.as_bytes()))?;
        }
        ContractsCommand::Remove { id } => {
            book.remove(&id)?;
            write_book(&path, &book)?;
            say(&format!("removed {id}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_list(book: &Book, today: Date, as_json: bool) -> anyhow::Result<()> {
    let text = if as_json {
        let rows: Vec<_> = book
            .contracts()
            .iter()
            .map(|contract| json!({"contract": contract, "next_decision": list::next_decision(contract, today), "due_in_90_days": list::due(contract, today)}))
            .collect();
        serde_json::to_string_pretty(&rows)? + "\n"
    } else {
        list::list(book.contracts(), today, super::output::columns(std::io::stdout().is_terminal()))
    };
    write_out(None, |sink| sink.write_all(text.as_bytes()))
}

fn print_one(contract: &Contract, today: Date, as_json: bool) -> anyhow::Result<()> {
    let text = if as_json {
        let row = json!({
            "contract": contract,
            "clocks": clocks(contract, today),
            "remaining_today": contract.remaining_on(today),
            "early_termination_today": contract.early_termination_on(today),
            "asks": asks(contract),
        });
        serde_json::to_string_pretty(&row)? + "\n"
    } else {
        list::show(contract, today)
    };
    write_out(None, |sink| sink.write_all(text.as_bytes()))
}

fn take_over(book: &mut Book, path: &Path, from: &Path, dry_run: bool) -> anyhow::Result<()> {
    let is_standard = from == Path::new("-");
    let text = if is_standard {
        let mut text = String::new();
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
        text
    } else {
        read_text(from, FILE_BYTES_MAX)?
    };
    let Imported { contracts, skipped, recognised } =
        import(&text).with_context(|| if is_standard { "standard input".to_owned() } else { from.display().to_string() })?;
    for reason in &skipped {
        say(&format!("left out: {reason}"));
    }
    let merged = book.merge(contracts)?;
    if !dry_run {
        write_book(path, book)?;
    }
    let would = if dry_run { " (nothing was changed)" } else { "" };
    say(&format!("{recognised}: {} added, {} updated, {} unchanged{would}", merged.added, merged.updated, merged.unchanged));
    Ok(())
}
