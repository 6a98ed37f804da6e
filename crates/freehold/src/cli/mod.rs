//! What a person types. Data goes to standard output, everything else to standard error; every command that prints
//! a table has `--json`.
//!
//! **Invariant:** commands talk to the service through its public API only; `up` and `worker` are the two that are
//! the service.

pub mod audit;
mod billing;
mod chat;
mod client;
pub mod contracts;
mod invoice;
mod key;
mod login;
mod model;
mod operation;
mod output;
mod readiness;
mod response;
mod service;
mod tenant;
mod up;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use client::Client;
pub use output::{line as say, progress_bar};

/// Turns computers you own into an AI cloud that customers can leave.
#[derive(Debug, Parser)]
#[command(name = "freehold", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Folder of the service's data [default: ~/.local/share/freehold]
    #[arg(long, global = true, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// Address of the service [default: from the data folder]
    #[arg(long, global = true, value_name = "URL", env = "FREEHOLD_URL")]
    url: Option<String>,
    /// API key [default: from the data folder]
    #[arg(long, global = true, value_name = "KEY", env = "FREEHOLD_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service
    Up(up::UpArgs),
    /// Stop the service
    Down(service::DownArgs),
    /// Show what the service is doing
    Status,
    /// List, add and remove models
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Talk with a model
    Chat(chat::ChatArgs),
    /// Let a model continue a text
    Complete(chat::CompleteArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Create, list and rename tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Sign up at a service; the password is asked for, or read from standard input
    Signup(login::SignupArgs),
    /// Log in; the password is asked for, or read from standard input
    Login(login::LoginArgs),
    /// Log out
    Logout {
        /// End every session of the user, not only this one
        #[arg(long)]
        everywhere: bool,
    },
    /// Change your password: the old and the new one are asked for, or read from two lines of standard input
    Password,
    /// Say who the commands act as
    Whoami,
    /// List, invite, change and remove users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make and list invite codes
    #[command(subcommand)]
    Invite(user::InviteCommand),
    /// Show the waiting list, and let people in
    #[command(subcommand)]
    Waiting(user::WaitingCommand),
    /// Show what was done by whom
    Trail(user::TrailArgs),
    /// Show the prices, or publish new ones
    Prices {
        #[command(subcommand)]
        command: Option<billing::PricesCommand>,
    },
    /// Show what was used and what it cost
    Usage(billing::UsageArgs),
    /// List, show and download invoices
    #[command(subcommand)]
    Invoice(invoice::InvoiceCommand),
    /// Show and set the tax that is added to invoices
    #[command(subcommand)]
    Tax(invoice::TaxCommand),
    /// Show credit, add it, and redeem vouchers
    #[command(subcommand)]
    Credit(billing::CreditCommand),
    /// Show and set limits and budgets
    #[command(subcommand)]
    Limits(billing::LimitsCommand),
    /// List, show, delete and export what the tenant has stored
    #[command(subcommand)]
    Response(response::ResponseCommand),
    /// Show long-running operations
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// Say what ties infrastructure code to a cloud provider and what leaving would take
    Audit(audit::AuditArgs),
    /// Keep track of contracts with cloud providers and of when they end
    Contracts(contracts::ContractsArgs),
    /// Print the hard questions to put to a cloud provider
    Readiness(readiness::ReadinessArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the reference page of the options
    #[command(hide = true)]
    Options,
    /// Take one order on standard input (started by the service)
    #[command(hide = true)]
    Worker(up::LogArgs),
}

/// Parses, dispatches and returns.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = cli.common;
    let outcome = match cli.command {
        Command::Worker(log) => up::start_log(&log.log_level, log.log_json).map(|()| freehold_inference::worker::run_worker()),
        Command::Audit(args) => audit::run(args),
        Command::Contracts(args) => contracts::run(args),
        Command::Readiness(args) => readiness::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "freehold", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Options => {
            output::line(&up::reference_page());
            Ok(ExitCode::SUCCESS)
        }
        Command::Up(args) => up::run(&common, args),
        Command::Down(args) => service::down(&common, &args),
        other => runtime().and_then(|runtime| runtime.block_on(ask(&common, other))),
    };
    outcome.unwrap_or_else(|error| output::failure(&error, common.json))
}

/// The commands that ask the service something.
async fn ask(common: &Common, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status => service::status(&Client::operator(common)?).await,
        Command::Model(command) => model::run(&Client::operator(common)?, command).await,
        Command::Chat(args) => chat::chat(common, args).await,
        Command::Complete(args) => chat::complete(&Client::tenant(common)?, args).await,
        Command::Key(command) => key::run(&Client::tenant_or_operator(common, command.needs_operator())?, command).await,
        Command::Tenant(command) => tenant::run(&Client::operator(common)?, command).await,
        Command::Operation(command) => operation::run(&Client::operator(common)?, command).await,
        Command::Prices { command } => {
            let needs_operator = command.as_ref().is_some_and(billing::PricesCommand::needs_operator);
            billing::prices(&Client::tenant_or_operator(common, needs_operator)?, command).await
        }
        Command::Usage(args) => billing::usage(&Client::tenant_or_operator(common, args.needs_operator())?, args).await,
        Command::Invoice(command) => invoice::invoice(&Client::tenant_or_operator(common, command.needs_operator())?, command).await,
        Command::Tax(command) => invoice::tax(&Client::tenant_or_operator(common, command.needs_operator())?, command).await,
        Command::Credit(command) => billing::credit(&Client::tenant_or_operator(common, command.needs_operator())?, command).await,
        Command::Limits(command) => billing::limits(&Client::tenant_or_operator(common, command.needs_operator())?, command).await,
        Command::Response(command) => response::run(&Client::tenant(common)?, command).await,
        Command::Signup(args) => login::sign_up(common, args).await,
        Command::Login(args) => login::log_in(common, args).await,
        Command::Logout { everywhere } => login::log_out(common, everywhere).await,
        Command::Password => login::change_password(common).await,
        Command::Whoami => login::whoami(&Client::tenant(common)?).await,
        Command::User(command) => user::run(&Client::operator(common)?, command).await,
        Command::Invite(command) => user::invite(&Client::operator(common)?, command).await,
        Command::Waiting(command) => user::waiting(&Client::operator(common)?, command).await,
        Command::Trail(args) => user::trail(&Client::operator(common)?, args).await,
        Command::Up(_)
        | Command::Down(_)
        | Command::Audit(_)
        | Command::Contracts(_)
        | Command::Readiness(_)
        | Command::Completions { .. }
        | Command::Options
        | Command::Worker(_) => {
            unreachable!("dispatched before a runtime was made")
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
