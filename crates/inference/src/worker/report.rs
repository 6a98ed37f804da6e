//! Reports: lines of JSON on standard output.

use std::io::Write;

use crate::order::Report;

/// Writes a report. A service that no longer reads has ended; the worker then learns it from its standard input.
pub fn say(report: &Report) {
    match serde_json::to_vec(report) {
        Ok(mut line) => {
            line.push(b'\n');
            let mut output = std::io::stdout().lock();
            if let Err(error) = output.write_all(&line).and_then(|()| output.flush()) {
                tracing::debug!(%error, "a report was not read");
            }
        }
        Err(error) => tracing::error!(%error, "a report cannot be written"),
    }
}
