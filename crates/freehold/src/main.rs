//! The `freehold` program: one binary for the service, its workers and everything a person types.

use std::process::ExitCode;

mod cli;
mod http;
mod options;
mod wiring;

fn main() -> ExitCode {
    cli::main()
}
