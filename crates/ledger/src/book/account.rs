//! Accounts, holds and transfers as values.
//!
//! **Invariant:** a transfer never changes; what was wrong is put right by another one.

use freehold_domain::{AccountId, Currency, HoldId, InvoiceId, MoneyError, NanoUnits, TenantId, Timestamp, TransferId, UsageId, VoucherId};
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::derive;

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// What a tenant has to spend. Below zero it owes that much.
    Customer,
    /// What the operator earned.
    Revenue,
    /// Where credit comes from that nobody paid for: grants, vouchers.
    OperatorCredit,
    /// What tenants owe on invoices: an invoice moves the debt here, a payment moves it on to cash.
    Receivable,
    /// Where paid top-ups and paid invoices come from.
    Cash,
    /// Where credit comes from for answers that failed by the service's fault.
    FaultCredit,
    /// Taxes that were asked for on invoices and for credit: the operator owes them to the state.
    Tax,
}

impl AccountKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Customer, Self::Revenue, Self::OperatorCredit, Self::Receivable, Self::Cash, Self::FaultCredit, Self::Tax];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Revenue => "revenue",
            Self::OperatorCredit => "operator_credit",
            Self::Receivable => "receivable",
            Self::Cash => "cash",
            Self::FaultCredit => "fault_credit",
            Self::Tax => "tax",
        }
    }

    /// The id of the one account of this kind: of a tenant if it is a customer's, of the operator otherwise.
    pub fn id(self, tenant: Option<TenantId>, currency: Currency) -> AccountId {
        let tenant = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        AccountId::from_uuid(derive::uuid("freehold.account", &[self.as_str(), &tenant, currency.as_str()]))
    }

    /// The floor that an account of this kind starts with: customers and revenue cannot go below zero, sources can.
    pub const fn floor(self) -> Option<NanoUnits> {
        match self {
            Self::Customer | Self::Revenue => Some(NanoUnits::ZERO),
            Self::OperatorCredit | Self::Receivable | Self::Cash | Self::FaultCredit | Self::Tax => None,
        }
    }
}

/// An account. What is stored is everything but `held`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id, [`AccountKind::id`].
    pub id: AccountId,
    /// What it is for.
    pub kind: AccountKind,
    /// Whose it is; nobody's if it is the operator's.
    pub tenant: Option<TenantId>,
    /// The currency of every amount in it.
    pub currency: Currency,
    /// The lowest that balance less holds may be: zero for prepaid, minus the credit limit for postpaid. None: any.
    pub floor: Option<NanoUnits>,
    /// What came in less what went out.
    pub balance: NanoUnits,
    /// What is set aside in holds. Not stored.
    #[serde(skip)]
    pub held: NanoUnits,
}

impl Account {
    /// An empty account of a tenant, or of the operator.
    pub fn new(kind: AccountKind, tenant: Option<TenantId>, currency: Currency) -> Self {
        let (balance, held) = (NanoUnits::ZERO, NanoUnits::ZERO);
        Self { id: kind.id(tenant, currency), kind, tenant, currency, floor: kind.floor(), balance, held }
    }

    /// The same account with another floor.
    #[must_use]
    pub fn with_floor(self, floor: Option<NanoUnits>) -> Self {
        Self { floor, ..self }
    }

    /// Balance less holds.
    pub fn owned(&self) -> Result<NanoUnits, MoneyError> {
        self.balance.minus(self.held)
    }

    /// What can still be spent: balance less holds less floor, as much as fits. The largest amount if there is no floor.
    pub fn available(&self) -> NanoUnits {
        let Some(floor) = self.floor else { return NanoUnits::MAX };
        let wide = i128::from(self.balance.get()) - i128::from(self.held.get()) - i128::from(floor.get());
        NanoUnits::from_wide(wide).unwrap_or(if wide < 0 { NanoUnits::MIN } else { NanoUnits::MAX })
    }

    pub(super) fn can_spend(&self, needed: NanoUnits) -> Result<(), LedgerError> {
        let available = self.available();
        // Nothing can always be spent, so that free work goes on where an account is below its floor.
        if needed > available && needed > NanoUnits::ZERO {
            return Err(LedgerError::Insufficient { account: self.id, available, needed });
        }
        self.owned()?.minus(needed)?;
        Ok(())
    }

    pub(super) fn same_account(&self, other: &Self) -> bool {
        (self.id, self.kind, self.tenant, self.currency) == (other.id, other.kind, other.tenant, other.currency)
    }
}

/// Money set aside for work that has begun. Never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// Whose money.
    pub account: AccountId,
    /// The most that the work can cost.
    pub amount: NanoUnits,
}

/// Why money moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", content = "of", rename_all = "snake_case")]
pub enum Reason {
    /// A tenant used something.
    Usage(UsageId),
    /// Somebody paid in.
    TopUp,
    /// The operator gave credit.
    Grant,
    /// A voucher was redeemed.
    Voucher(VoucherId),
    /// A charge was given back because the service failed.
    FaultCredit(UsageId),
    /// An invoice moved the debt to receivables.
    Invoice(InvoiceId),
    /// A credit note gave back part of an invoice.
    CreditNote(InvoiceId),
    /// An invoice was paid.
    Payment(InvoiceId),
    /// An invoice, a credit note or a receipt asked for a tax, or took it back.
    Tax(InvoiceId),
}

/// A movement of money from one account to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id, and its idempotency key.
    pub id: TransferId,
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// How much: above zero.
    pub amount: NanoUnits,
    /// Why.
    pub reason: Reason,
    /// When it was first asked for.
    pub at: Timestamp,
}

impl Transfer {
    /// Whether another asks for the same: all but the time, which differs when a caller tries again.
    pub fn same_content(&self, other: &Self) -> bool {
        (self.id, self.from, self.to, self.amount, &self.reason) == (other.id, other.from, other.to, other.amount, &other.reason)
    }
}
