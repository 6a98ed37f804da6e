//! The catalogue's own rules, written by the build script from `catalogue/*.toml` as statics.

use std::borrow::Cow;

use super::table::{Judgement, Table, When};
use super::words::{ApplicationPortability, Class, DataPortability, Effort, Facets, Interoperability, Test};

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));
