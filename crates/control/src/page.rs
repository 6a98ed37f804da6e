//! Lists in pages.

use std::fmt::Display;
use std::str::FromStr;

use freehold_domain::Error;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many things a page has when nobody says.
pub const LIMIT_DEFAULT: u32 = 100;
/// The most things that a page has.
pub const LIMIT_MAX: u32 = 1000;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// How many, 1 to 1000; 100 when it is left out.
    #[param(minimum = 1, maximum = 1000)]
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The things.
    pub data: Vec<T>,
    /// What to send as `after` for the next page; left out when this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl PageRequest {
    /// The limit, and the id after which the page starts.
    pub(crate) fn read<Id: FromStr<Err: Display>>(&self) -> Result<(u32, Option<Id>), Error> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", format!("`limit` is 1 to {LIMIT_MAX}, not {limit}.")));
        }
        let after = self.after.as_ref().map(|text| text.parse()).transpose();
        Ok((limit, after.map_err(|error: Id::Err| Error::invalid("after", format!("`after` is the `next` of an earlier page: {error}.")))?))
    }
}

impl<T> Page<T> {
    /// The page of rows that were read with one more than `limit`, so that it is known whether there are more.
    pub(crate) fn of<Row>(mut rows: Vec<Row>, limit: u32, id: impl Fn(&Row) -> String, view: impl Fn(Row) -> T) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = if more { rows.last().map(id) } else { None };
        Self { data: rows.into_iter().map(view).collect(), next }
    }
}
