//! Rows as CSV (RFC 4180), one at a time.
//!
//! **Invariant:** nothing is kept: a row is in the writer's hands before the next one is taken.

use std::io::Write;

use super::{COLUMNS, Cell, FocusError, Row};
use crate::calendar::second_text;

/// Writes the header at once, then row by row.
pub struct CsvWriter<W: Write> {
    inner: csv::Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    pub fn new(out: W) -> Result<Self, FocusError> {
        let mut inner = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        inner.write_record(COLUMNS.iter().map(|(name, _)| name))?;
        Ok(Self { inner })
    }

    /// Writes a row. Null is an empty field.
    pub fn write(&mut self, row: &Row) -> Result<(), FocusError> {
        for cell in row.cells() {
            match cell {
                Cell::Null => self.inner.write_field("")?,
                // A spreadsheet would take the name that somebody gave a key for a formula.
                Cell::Text(text) if text.starts_with(['=', '+', '-', '@']) => self.inner.write_field(format!("'{text}"))?,
                Cell::Text(text) => self.inner.write_field(text.as_bytes())?,
                Cell::Decimal(number) => self.inner.write_field(number.to_string())?,
                Cell::Time(moment) => self.inner.write_field(second_text(moment))?,
            }
        }
        Ok(self.inner.write_record(None::<&[u8]>)?)
    }

    /// Writes what is left and gives the writer back.
    pub fn finish(self) -> Result<W, FocusError> {
        self.inner.into_inner().map_err(|error| FocusError::Io(error.into_error()))
    }
}
