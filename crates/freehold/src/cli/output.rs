//! Tables, JSON, progress bars and errors on a terminal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Writes a line to standard output. A reader that has gone away (`| head`) is no error.
pub fn line(text: &str) {
    write_out(&format!("{text}\n"));
}

/// Writes to standard output at once, without a line's end.
pub fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a line for the person to standard error.
pub fn note(text: &str) {
    if writeln!(std::io::stderr(), "{text}").is_err() {
        std::process::exit(1);
    }
}

/// Writes JSON, indented.
pub fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}

/// Prints rows under a header; only the header when there are none.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text: Vec<String> = table.lines().map(|row| row.trim_end().to_owned()).collect();
    line(&text.join("\n"));
}

/// Columns to print in: those of the terminal if that is where the text goes, `COLUMNS` if it is set, 120 otherwise.
pub fn columns(terminal: bool) -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    let seen = || terminal.then(terminal_size::terminal_size).flatten().map(|(width, _)| usize::from(width.0));
    set.or_else(seen).filter(|columns| (40..=400).contains(columns)).unwrap_or(120)
}

/// Says what went wrong and ends with status 1.
pub fn failure(error: &anyhow::Error, json: bool) -> ExitCode {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    if json {
        let value = match error.downcast_ref::<super::client::ApiError>() {
            Some(api) => api.body.clone(),
            None => serde_json::json!({"error": {"code": "client", "message": causes.join(": ")}}),
        };
        note(&value.to_string());
    } else {
        let paint = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (on, off) = if paint { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        note(&format!("{on}error:{off} {}", causes.join(": ")));
    }
    ExitCode::FAILURE
}

/// A bar in thousandths, on a terminal only.
pub fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{bar:32.cyan/dim} {percent:>3}%  {wide_msg}") {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Bytes for a person: `93.8 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A JSON value as a cell of a table.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A time of the API, to the minute.
pub fn moment(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |text| text.get(..16).unwrap_or(text).replace('T', " "))
}
