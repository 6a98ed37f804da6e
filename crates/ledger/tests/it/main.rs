//! Properties, tables and golden files of the ledger.

mod admission;
mod book;
mod focus;
mod golden;
mod invoices;
mod prices;
mod support;
mod usage;
