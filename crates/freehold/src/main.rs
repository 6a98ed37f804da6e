//! The `freehold` program: one binary for the service, its workers and everything a person types.

use std::process::ExitCode;

mod cli;
mod http;
mod options;
mod wiring;

// A request takes and gives back some hundred pieces of memory, on several threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
