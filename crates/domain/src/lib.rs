//! The words that all crates share: typed ids, names, addresses, roles, money, times and the one table of errors.
//!
//! Pure, and at the bottom: it depends on nothing of Freehold's.
//!
//! **Invariant:** nothing here reads a clock or makes a random number. Ids and times are made in `control` and
//! handed down.

pub mod email;
pub mod error;
pub mod id;
pub mod money;
pub mod name;
pub mod role;
pub mod timestamp;

pub use email::{Email, EmailError};
pub use error::{Error, ErrorCode};
pub use id::{
    AccountId, AdapterId, EventId, HoldId, InviteId, InvoiceId, KeyId, ModelId, OperationId, PriceListId, RequestId, ResponseId, TenantId,
    TransferId, UsageId, UserId, VoucherId, WaitingId,
};
pub use money::{Currency, Money, MoneyError, NANO_PER_UNIT, NanoUnits};
pub use name::{ModelName, ModelRef, NameError, TenantName};
pub use role::{Role, Scope, WordError};
pub use timestamp::Timestamp;
