//! Rows as Parquet, a row group at a time.
//!
//! Numbers are `DECIMAL(38, 15)`, moments `TIMESTAMP(MILLIS, UTC)`, text `STRING`; every column can be null.
//!
//! **Invariant:** at most [`ROW_GROUP_ROWS`] rows are in memory.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::row::{PRECISION, SCALE};
use super::{COLUMNS, Cell, ColumnType, FocusError, Row};

/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = 8192;

/// Writes rows; the file is whole after [`ParquetWriter::finish`] only.
pub struct ParquetWriter<W: Write + Send> {
    inner: SerializedFileWriter<W>,
    rows: Vec<Row>,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Writes the head of the file.
    pub fn new(out: W) -> Result<Self, FocusError> {
        let properties = WriterProperties::builder().set_created_by("Freehold".to_owned()).build();
        let inner = SerializedFileWriter::new(out, Arc::new(schema()?), Arc::new(properties))?;
        Ok(Self { inner, rows: Vec::new() })
    }

    /// Takes a row; writes a row group when one is full.
    pub fn write(&mut self, row: Row) -> Result<(), FocusError> {
        self.rows.push(row);
        if self.rows.len() == ROW_GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes the rest and the foot of the file, and gives the writer back.
    pub fn finish(mut self) -> Result<W, FocusError> {
        self.flush()?;
        Ok(self.inner.into_inner()?)
    }

    fn flush(&mut self) -> Result<(), FocusError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut cells: Vec<_> = self.rows.iter().map(|row| row.cells().into_iter()).collect();
        let mut group = self.inner.next_row_group()?;
        for &(name, kind) in COLUMNS {
            let Some(mut writer) = group.next_column()? else { break };
            let column: Vec<Cell<'_>> = cells.iter_mut().map(|cells| cells.next().unwrap_or(Cell::Null)).collect();
            write_column(&mut writer, name, kind, &column)?;
            writer.close()?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

fn schema() -> Result<Type, FocusError> {
    let column = |&(name, kind): &(&str, ColumnType)| {
        let (physical, logical) = match kind {
            ColumnType::Text => (Physical::BYTE_ARRAY, LogicalType::String),
            ColumnType::Decimal => (Physical::FIXED_LEN_BYTE_ARRAY, LogicalType::decimal(SCALE.cast_signed(), PRECISION.cast_signed())),
            ColumnType::Time => (Physical::INT64, LogicalType::timestamp(true, TimeUnit::MILLIS)),
        };
        let mut builder =
            Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL).with_logical_type(Some(logical));
        if kind == ColumnType::Decimal {
            builder = builder.with_length(16).with_precision(PRECISION.cast_signed()).with_scale(SCALE.cast_signed());
        }
        builder.build().map(Arc::new)
    };
    let columns = COLUMNS.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(Type::group_type_builder("focus").with_fields(columns).build()?)
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    name: &'static str,
    kind: ColumnType,
    column: &[Cell<'_>],
) -> Result<(), FocusError> {
    let levels: Vec<i16> = column.iter().map(|cell| i16::from(*cell != Cell::Null)).collect();
    match kind {
        ColumnType::Text => {
            let text = |cell: &Cell<'_>| match cell {
                Cell::Text(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
                _ => None,
            };
            let values: Vec<_> = column.iter().filter_map(text).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        ColumnType::Decimal => {
            let number = |cell: &Cell<'_>| match cell {
                Cell::Decimal(number) => Some(number.scaled()),
                _ => None,
            };
            let numbers: Vec<i128> = column.iter().filter_map(number).collect();
            if numbers.iter().any(|number| number.unsigned_abs() >= 10_u128.pow(PRECISION)) {
                return Err(FocusError::TooLarge(name));
            }
            let values: Vec<_> = numbers.iter().map(|number| FixedLenByteArray::from(number.to_be_bytes().to_vec())).collect();
            writer.typed::<FixedLenByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        ColumnType::Time => {
            let moment = |cell: &Cell<'_>| match cell {
                Cell::Time(moment) => Some(moment.unix_ms()),
                _ => None,
            };
            let values: Vec<_> = column.iter().filter_map(moment).collect();
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
    }
    Ok(())
}
