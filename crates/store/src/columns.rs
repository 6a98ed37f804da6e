//! Columns to domain values and back: the only place that decides how a value stands in a column.

use std::fmt::Display;
use std::str::FromStr;

use freehold_domain::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};

use crate::error::StoreError;

/// A row whose columns are read by name.
pub(crate) struct Columns<'a>(&'a Row<'a>);

impl Columns<'_> {
    pub(crate) fn plain<T: FromSql>(&self, column: &str) -> Result<T, StoreError> {
        Ok(self.0.get(column)?)
    }

    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StoreError> {
        parse(column, &self.plain::<String>(column)?)
    }

    pub(crate) fn parsed_or_null<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.plain::<Option<String>>(column)?.map(|text| parse(column, &text)).transpose()
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_unix_ms(self.plain(column)?))
    }

    pub(crate) fn time_or_null(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.plain::<Option<i64>>(column)?.map(Timestamp::from_unix_ms))
    }

    /// A count or a size: never negative in a sound database.
    pub(crate) fn size(&self, column: &str) -> Result<u64, StoreError> {
        let value: i64 = self.plain(column)?;
        u64::try_from(value).map_err(|_| corrupt(column, format!("{value} is negative")))
    }
}

fn parse<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error: T::Err| corrupt(column, error))
}

pub(crate) fn corrupt(column: &str, why: impl Display) -> StoreError {
    StoreError::Corrupt { column: column.to_owned(), why: why.to_string() }
}

/// SQLite's integers are signed; sizes past its largest stop there.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(&Columns(row))?);
    }
    Ok(values)
}

pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Columns<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| read(&Columns(row))).transpose()
}

/// Runs a statement that must change one row.
pub(crate) fn change_one(connection: &Connection, sql: &str, params: impl Params) -> Result<(), StoreError> {
    match connection.prepare_cached(sql)?.execute(params)? {
        0 => Err(StoreError::Missing),
        _ => Ok(()),
    }
}
