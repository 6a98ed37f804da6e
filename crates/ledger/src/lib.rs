//! Money that is owed and spent: accounts, holds and transfers, limits and budgets, price lists, usage, invoices,
//! FOCUS rows.
//!
//! Pure: no clock, no randomness, no I/O, no async. Ids and times are handed in, and writers get whatever
//! `impl Write` the caller has. What must be durable is for the caller to write; the types say what that is.
//!
//! **Invariant:** every amount comes from [`usage::bill`], which rounds once, from adding such amounts up, or, if it is a
//! tax, from [`tax::Tax::on`].

pub mod book;
pub mod calendar;
pub mod derive;
pub mod focus;
pub mod gate;
pub mod invoices;
pub mod limits;
pub mod prices;
pub mod storage;
pub mod tax;
pub mod usage;

pub use book::{Account, AccountKind, Book, Command, Event, Hold, LedgerError, Reason, Transfer};
pub use calendar::Month;
pub use gate::{Entry, Gate, Refusal, Settled, Settlement};
pub use limits::{Admitted, Alert, Ask, Limiter, Limits, Refused, Scope};
pub use prices::{PriceList, Prices, TokenPrice};
pub use storage::{Shelf, Shelves};
pub use tax::{Tax, TaxRate, Treatment};
pub use usage::{Quantities, Subject, Usage, UsageOutcome, UsageRecord, UsageState, bill};
