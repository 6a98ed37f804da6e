//! Orders that end: write a model in another representation, find the representation that suits this machine.
//!
//! **Invariant:** a file under its final name is whole. What is being written carries `.partial` and is removed
//! when the work fails, when the service goes away, and before the same file is written again.

mod measure;
mod optimize;
mod partial;
mod quantizer;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::order::{QuantizeOrder, Report};
use crate::worker::{on_input_closed, say};

pub use optimize::optimize;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {error}")]
    File {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it could not be done.
        error: std::io::Error,
    },
    /// llama.cpp does not take the file.
    #[error("{path} is not a model that can be loaded: the file is damaged, incomplete or of an unknown architecture")]
    Refused {
        /// The file.
        path: PathBuf,
    },
    /// llama.cpp cannot convert the file.
    #[error("{path} cannot be converted to {quantization}: a tensor cannot be represented so, or the disk is full")]
    Conversion {
        /// The file.
        path: PathBuf,
        /// The representation.
        quantization: &'static str,
    },
    /// The model cannot be computed.
    #[error("{path} cannot be measured: {reason}")]
    Measurement {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Receives progress and interim results.
pub type Progress<'a> = &'a mut dyn FnMut(Report);

/// Carries out a task of this process and reports how it went.
pub(crate) fn run(work: impl FnOnce(Progress<'_>) -> Result<Report, TaskError>) -> ExitCode {
    on_input_closed(|| {
        partial::remove_unfinished();
        std::process::exit(1);
    });
    match work(&mut |report| say(&report)) {
        Ok(report) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "the task failed");
            say(&Report::Failed { message: format!("{error}.") });
            ExitCode::FAILURE
        }
    }
}

/// Writes a model in another representation and measures both.
///
/// # Errors
/// The source cannot be loaded or converted, or the target cannot be written; nothing is left behind.
pub fn quantize(order: &QuantizeOrder, progress: Progress<'_>) -> Result<Report, TaskError> {
    let threads = threads(order.threads);
    let name = quantizer::name(order.quantization);
    progress(step("measuring the original", 0));
    let before = measure::measure("original", &order.source, threads)?;
    progress(Report::Measured(before.clone()));
    progress(step(&format!("converting to {name}"), 350));
    quantizer::quantize(&order.source, &order.target, order.quantization, threads)?;
    progress(step(&format!("measuring {name}"), 700));
    let after = measure::measure(name, &order.target, threads).inspect_err(|_| partial::remove(&order.target))?;
    progress(Report::Measured(after.clone()));
    Ok(Report::Quantized { before, after })
}

fn step(step: &str, permille: u32) -> Report {
    Report::Progress { step: step.to_owned(), permille }
}

fn threads(wish: Option<u32>) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    wish.unwrap_or_else(cores).max(1)
}
