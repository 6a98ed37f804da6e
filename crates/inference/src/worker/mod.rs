//! The worker process: one order on standard input, reports on standard output, one model on a Unix socket.
//!
//! The process starts before it knows its order (the service keeps a spare one), so everything that does not depend
//! on the order is done first. The HTTP side runs on one thread; the engine has the others.
//!
//! **Invariant:** the process ends when standard input closes, with an error code whenever the service should start
//! it again.

mod adapters;
mod app;
mod completions;
mod conversations;
mod embeddings;
mod figures;
mod metrics;
mod pump;
mod reply;
mod report;
mod request;
mod serve;
mod tokens;

use std::io::BufRead;
use std::process::ExitCode;

pub use app::{App, Stop};
pub use report::say;
pub use serve::{router, serve};

use crate::order::{Order, Report};
use crate::{engine, task};

/// Longest line of an order.
const ORDER_BYTES_MAX: u64 = 1 << 20;

/// Reads one order from standard input, carries it out and ends. Log lines go to `tracing`; standard output is for
/// reports only.
pub fn run_worker() -> ExitCode {
    engine::backend();
    let order = match read_order() {
        Ok(Some(order)) => order,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => return failed(&message),
    };
    match order {
        Order::Serve(order) => serve::run(order),
        Order::Quantize(order) => task::run(|progress| task::quantize(&order, progress)),
        Order::Optimize(order) => task::run(|progress| task::optimize(&order, progress)),
        Order::Devices => {
            say(&Report::Devices(engine::devices()));
            ExitCode::SUCCESS
        }
    }
}

/// `None`: standard input closed without an order.
fn read_order() -> Result<Option<Order>, String> {
    let mut line = String::new();
    let mut input = std::io::Read::take(std::io::stdin().lock(), ORDER_BYTES_MAX);
    input.read_line(&mut line).map_err(|error| format!("The order cannot be read: {error}."))?;
    if line.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| format!("The order is not one that this version knows: {error}."))
}

fn failed(message: &str) -> ExitCode {
    tracing::error!(message, "the order could not be carried out");
    say(&Report::Failed { message: message.to_owned() });
    ExitCode::FAILURE
}

/// Calls `closed` on a thread of its own when standard input closes.
pub(crate) fn on_input_closed(closed: impl FnOnce() + Send + 'static) {
    let watch = move || {
        let mut input = std::io::stdin().lock();
        loop {
            match input.fill_buf() {
                Ok([]) | Err(_) => break,
                Ok(bytes) => {
                    let length = bytes.len();
                    input.consume(length);
                }
            }
        }
        closed();
    };
    if let Err(error) = std::thread::Builder::new().name("input".to_owned()).spawn(watch) {
        tracing::warn!(%error, "standard input is not watched");
    }
}
