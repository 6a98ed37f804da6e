//! The real binary, driven from outside: by HTTP, by its CLI and by the vendors' SDKs.

mod adapters;
mod admin;
mod billing;
mod billing_crash;
mod browser;
mod cli;
mod crash;
mod hostile;
mod house;
mod outside;
mod people;
mod routes;
mod schema;
mod sdk;
mod serving;
mod support;
mod visitor;
