//! The real binary, driven from outside: by HTTP, by its CLI and by the vendors' SDKs.

mod adapters;
mod admin;
mod billing;
mod billing_crash;
mod browser;
mod cli;
mod crash;
mod far;
mod hostile;
mod house;
mod outside;
mod parts;
mod people;
mod readme;
mod responses;
mod routes;
mod schema;
mod sdk;
mod serving;
mod support;
mod upstream;
mod visitor;
