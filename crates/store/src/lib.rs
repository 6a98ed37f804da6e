//! What is persisted: tenants, keys, models, adapters, operations, people, stored responses,
//! and the trail of what was done.
//!
//! One SQLite database in the data directory, in WAL mode, with one connection that writes and one that reads. The
//! interface is synchronous: callers in async code use `spawn_blocking`. Times, ids and hashes are handed in; the
//! store writes what it is given and knows no rule of business beyond keys and limits.
//!
//! Durability: a write is on the disk (`synchronous=FULL`, the log is flushed at commit) before its call returns,
//! with exceptions that may be lost when the machine loses power and are harmless then: the time of a key's and a
//! session's last use and the progress of a running operation (`synchronous=NORMAL`). A killed process loses neither.
//! Usage is written so too, and flushed by who writes it, who has it in a log until then.
//!
//! **Invariant:** one service at a time has a data directory open: `service.lock` is held as long as the [`Store`].

mod accounts;
mod adapters;
mod arrivals;
mod billed;
mod charges;
mod columns;
mod connection;
mod error;
mod idempotency;
mod invites;
mod invoices;
mod keys;
mod limits;
mod migrate;
mod models;
mod operations;
mod prices;
mod responses;
mod runs;
mod sessions;
mod taxes;
mod tenants;
mod tokens;
mod trail;
mod upstreams;
mod usage;
mod users;
mod vouchers;
mod webhooks;

pub use accounts::{Movement, Terms, TransferRow, account_id};
pub use adapters::AdapterRow;
pub use arrivals::{Account, Arrival, Consumed, Place};
pub use billed::RecordKind;
pub use connection::{DATABASE_FILE, LOCK_FILE, Store};
pub use error::StoreError;
pub use idempotency::{Created, IDEMPOTENCY_KEPT_MS, Once};
pub use invites::{InviteRow, InviteTo, WaitingRow};
pub use invoices::Issued;
pub use keys::{KeyOwner, KeyRow, KeySecret, PreviousHash};
pub use limits::LimitsRow;
pub use migrate::SCHEMA_VERSION;
pub use models::ModelRow;
pub use operations::{Failure, OperationRow, OperationState, Outcome};
pub use responses::{Chain, ChainMax, Freed, Link, ResponseHead, ResponseRow, StorageMax};
pub use runs::{LeftOver, RunRow};
pub use sessions::{OpenedWith, SessionFound, SessionRow};
pub use taxes::{BuyerRow, TaxChoice, TaxRuleRow};
pub use tenants::TenantRow;
pub use tokens::{SignedUp, SignupMax, TokenPurpose, TokenRow};
pub use trail::{Note, TrailRow};
pub use upstreams::UpstreamRow;
pub use usage::{LoggedUsage, MonthAccount, SplitBy, UsageRow, UsageSum, UsageWrite};
pub use users::{Identity, Member, UserChange, UserRow};
pub use vouchers::{Redeemed, VoucherRow};
pub use webhooks::WebhookRow;
