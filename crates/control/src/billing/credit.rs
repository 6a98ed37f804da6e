//! Balance, credit and terms of payment.

use std::sync::{Arc, Weak};

use freehold_domain::{Currency, Error, NanoUnits, TenantId, Timestamp, TransferId};
use freehold_ledger::{AccountKind, Reason, derive};
use freehold_store::{Created, Movement, Terms, account_id};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::changes::ledger_error;
use crate::auth::{Action, Actor, permit};
use crate::facade::{Control, Shared};
use crate::hooks::TenantWatch;
use crate::once::IdempotencyKey;

/// The most that is given at once: a billion units.
const CREDIT_MAX: i64 = 1_000_000_000_000_000_000;
const NOTE_CHARS_MAX: usize = 500;
const TRANSFERS_MAX: u32 = 1000;

/// What a tenant has to spend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalanceView {
    /// The tenant.
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// What it has; below zero it owes that much.
    #[schema(value_type = String, example = "1500000000")]
    pub balance: NanoUnits,
    /// What is set aside for requests that are running.
    #[schema(value_type = String)]
    pub held: NanoUnits,
    /// What can still be spent; left out: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub available: Option<NanoUnits>,
    /// `prepaid` or `postpaid`.
    pub mode: String,
    /// What a postpaid tenant may owe; left out: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub credit_limit: Option<NanoUnits>,
    /// The currency.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
}

/// How a tenant is to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsChange {
    /// `prepaid` or `postpaid`.
    #[schema(pattern = "^(prepaid|postpaid)$", example = "prepaid")]
    pub mode: String,
    /// What a postpaid tenant may owe, in nano-units; left out: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$")]
    pub credit_limit: Option<NanoUnits>,
}

/// Credit to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredit {
    /// Who gets it, by id or name.
    pub tenant: String,
    /// How much, in nano-units: above zero.
    #[schema(value_type = String, pattern = "^([1-9][0-9]{0,17}|1000000000000000000)$", example = "10000000000")]
    pub amount: NanoUnits,
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub note: String,
    /// Somebody paid for it; otherwise it is a present of the operator's.
    #[serde(default)]
    pub paid: bool,
}

/// Money that moved, as the tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TransferId,
    /// How much the tenant's balance changed.
    #[schema(value_type = String)]
    pub amount: NanoUnits,
    /// The currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// `top_up`, `grant`, `voucher`, `credit_note`, `invoice`, `payment`.
    pub reason: String,
    /// For people.
    pub note: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// All accounts together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// What the accounts of each kind have.
    #[schema(value_type = Object)]
    pub accounts: std::collections::BTreeMap<String, NanoUnits>,
    /// What they have together: zero.
    #[schema(value_type = String, example = "0")]
    pub total: NanoUnits,
    /// Requests that hold money now.
    pub holds: u64,
    /// Usage records whose answer's end was not handed over yet.
    pub pending: u64,
    /// The currency.
    #[schema(value_type = String)]
    pub currency: Currency,
}

pub(super) fn read_note(note: &str) -> Result<(), Error> {
    if note.chars().count() <= NOTE_CHARS_MAX && !note.chars().any(|c| c.is_control() && c != '\n') {
        Ok(())
    } else {
        Err(Error::invalid("note", format!("`note` is at most {NOTE_CHARS_MAX} characters, without control characters.")))
    }
}

pub(super) fn read_amount(amount: NanoUnits) -> Result<(), Error> {
    if (1..=CREDIT_MAX).contains(&amount.get()) {
        Ok(())
    } else {
        Err(Error::invalid(
            "amount",
            format!("`amount` is 1 to {CREDIT_MAX} nano-units (0.000000001 of the currency), not {}.", amount.get()),
        ))
    }
}

fn read_terms(change: &TermsChange) -> Result<Terms, Error> {
    if change.credit_limit.is_some_and(NanoUnits::is_negative) {
        return Err(Error::invalid("credit_limit", "`credit_limit` is zero or more."));
    }
    match (change.mode.as_str(), change.credit_limit) {
        ("prepaid", None) => Ok(Terms::Prepaid),
        ("prepaid", Some(_)) => Err(Error::invalid("credit_limit", "A prepaid tenant has no credit limit: leave it out.")),
        ("postpaid", credit_limit) => Ok(Terms::Postpaid { credit_limit }),
        _ => Err(Error::invalid("mode", "`mode` is `prepaid` or `postpaid`.")),
    }
}

impl Control {
    /// What a tenant has to spend.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see.
    pub async fn balance(&self, actor: &Actor, tenant: Option<&str>) -> Result<BalanceView, Error> {
        let tenant = self.billed_tenant(actor, tenant).await?;
        permit(actor, Action::SeeBilling(tenant))?;
        self.balance_of(tenant).await
    }

    async fn balance_of(&self, tenant: TenantId) -> Result<BalanceView, Error> {
        self.load_account(tenant, None).await?;
        let terms = self.store(move |store| store.terms(tenant)).await?;
        let account = self.shared.billing.meter().account(tenant).ok_or_else(|| Error::internal("an account is not in memory"))?;
        let (mode, credit_limit) = match terms {
            Terms::Prepaid => ("prepaid", None),
            Terms::Postpaid { credit_limit } => ("postpaid", credit_limit),
        };
        Ok(BalanceView {
            tenant,
            balance: account.balance,
            held: account.held,
            available: account.floor.map(|_| account.available().max(NanoUnits::ZERO)),
            mode: mode.to_owned(),
            credit_limit,
            currency: account.currency,
        })
    }

    /// Changes how a tenant pays.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_request`, and `conflict` where the tenant owes more than the new terms allow.
    pub async fn set_terms(&self, actor: &Actor, tenant: Option<&str>, change: TermsChange) -> Result<BalanceView, Error> {
        let tenant = self.billed_tenant(actor, tenant).await?;
        permit(actor, Action::ManagePrices)?;
        let terms = read_terms(&change)?;
        let event = self.event(Some(&actor.by()), Some(tenant), "terms.changed", &tenant.to_string(), json!({"mode": change.mode}));
        {
            let _changing = self.shared.billing.changing.lock().await;
            self.load_under_lock(tenant, None).await?;
            let before = self.shared.billing.meter().account(tenant).and_then(|account| account.floor);
            self.shared.billing.meter().set_floor(tenant, terms.floor()).map_err(ledger_error)?;
            let written = self.store(move |store| store.set_terms(tenant, terms, said(&event))).await;
            if written.is_err() {
                // What was there before was allowed a moment ago.
                self.shared.billing.meter().set_floor(tenant, before).map_err(ledger_error)?;
            }
            written?;
        }
        self.balance_of(tenant).await
    }

    /// Gives a tenant credit.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_request`.
    pub async fn give_credit(&self, actor: &Actor, new: NewCredit, once: Option<&IdempotencyKey>) -> Result<BalanceView, Error> {
        permit(actor, Action::ManagePrices)?;
        let tenant = self.visible_tenant(actor, &new.tenant).await?.id;
        read_amount(new.amount)?;
        read_note(&new.note)?;
        let now = self.now();
        let once = once.map(|once| once.once(actor, "give_credit", &new, now)).transpose()?;
        let (from, reason) = if new.paid { (AccountKind::Cash, Reason::TopUp) } else { (AccountKind::OperatorCredit, Reason::Grant) };
        let id = TransferId::from_uuid(self.new_uuid());
        let accounts = (from, AccountKind::Customer);
        let movement = Movement::new(id, accounts, tenant, self.shared.billing.currency, new.amount, reason, now).with_note(&new.note);
        let data = json!({"amount": new.amount, "note": new.note, "paid": new.paid});
        let event = self.event(Some(&actor.by()), Some(tenant), "credit.given", &id.to_string(), data);
        self.book(movement, once, event).await?;
        self.balance_of(tenant).await
    }

    /// Gives a tenant that has just signed up its credit; a second time it changes nothing.
    pub(crate) async fn give_signup_credit(&self, tenant: TenantId) -> Result<(), Error> {
        let amount = NanoUnits::new(self.settings().people.signup_credit_nano);
        if amount <= NanoUnits::ZERO {
            return Ok(());
        }
        let (id, now) = (derive::transfer_id(tenant, "signup", ""), self.now());
        let accounts = (AccountKind::OperatorCredit, AccountKind::Customer);
        let movement = Movement::new(id, accounts, tenant, self.shared.billing.currency, amount, Reason::Grant, now);
        let event = self.event(None, Some(tenant), "credit.given", &id.to_string(), json!({"amount": amount, "note": "sign-up"}));
        match self.book(movement.with_note("sign-up"), None, event).await? {
            Created::New => tracing::info!(%tenant, %amount, "credit for signing up"),
            Created::Before(_) => {}
        }
        Ok(())
    }

    /// What moved on a tenant's account except for usage, newest first, the last thousand.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see.
    pub async fn transfers(&self, actor: &Actor, tenant: Option<&str>) -> Result<Vec<TransferView>, Error> {
        let tenant = self.billed_tenant(actor, tenant).await?;
        permit(actor, Action::SeeBilling(tenant))?;
        let currency = self.shared.billing.currency;
        let own = account_id(AccountKind::Customer, tenant, currency);
        let rows = self.store(move |store| store.transfers(tenant, TRANSFERS_MAX)).await?;
        let view = |row: freehold_store::TransferRow| {
            let size = row.transfer.amount;
            let amount = if row.transfer.to == own {
                size
            } else if row.transfer.from == own {
                NanoUnits::new(size.get().saturating_neg())
            } else {
                NanoUnits::ZERO
            };
            let reason = serde_json::to_value(&row.transfer.reason).map_err(Error::internal)?;
            let reason = reason["reason"].as_str().unwrap_or_default().to_owned();
            Ok(TransferView { id: row.transfer.id, amount, currency, reason, note: row.note, at: row.transfer.at })
        };
        rows.into_iter().map(view).collect()
    }

    /// All accounts together, to see that they add up.
    ///
    /// # Errors
    /// `permission_denied` for a tenant.
    pub async fn ledger(&self, actor: &Actor) -> Result<LedgerView, Error> {
        permit(actor, Action::ManagePrices)?;
        let currency = self.shared.billing.currency;
        self.settle_usage().await;
        let (balances, pending) = self.store(move |store| Ok((store.balances(currency)?, store.pending_usage()?))).await?;
        let total = NanoUnits::sum(balances.iter().map(|(_, balance)| NanoUnits::new(*balance))).map_err(Error::internal)?;
        let holds = self.shared.billing.meter().open_holds() as u64;
        let accounts = balances.into_iter().map(|(kind, balance)| (kind, NanoUnits::new(balance))).collect();
        Ok(LedgerView { accounts, total, holds, pending, currency })
    }
}

/// Gives credit to tenants that sign up.
pub(crate) struct SignupCredit(Weak<Shared>);

impl SignupCredit {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl TenantWatch for SignupCredit {
    fn created(&self, tenant: TenantId, by_signup: bool) {
        let Some(shared) = self.0.upgrade().filter(|_| by_signup) else { return };
        let control = Control { shared };
        tokio::spawn(async move {
            if let Err(error) = control.give_signup_credit(tenant).await {
                tracing::error!(%tenant, message = error.message, context = error.context, "the credit for signing up is not given");
            }
        });
    }
}

/// A note that has only an event for the trail.
pub(super) fn said(event: &freehold_store::TrailRow) -> freehold_store::Note<'_> {
    freehold_store::Note { once: None, trail: Some(event) }
}
