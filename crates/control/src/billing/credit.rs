//! Balance, credit and terms of payment.

use freehold_domain::{Currency, Error, NanoUnits, TenantId, Timestamp, TransferId};
use freehold_ledger::invoices::{Heading, Invoice};
use freehold_ledger::{AccountKind, Month, Reason, Tax, derive};
use freehold_store::{Movement, TenantRow, Terms, account_id};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::changes::ledger_error;
use super::invoices::series;
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
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
    /// How much, in nano-units: above zero. It is net: of what somebody paid for, the tax that is set was paid too.
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

    /// Gives a tenant credit. If somebody paid for it and a tax is set, there is a receipt with the tax.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_request`.
    pub async fn give_credit(&self, actor: &Actor, new: NewCredit, once: Option<&IdempotencyKey>) -> Result<BalanceView, Error> {
        permit(actor, Action::ManagePrices)?;
        let tenant = self.visible_tenant(actor, &new.tenant).await?;
        read_amount(new.amount)?;
        read_note(&new.note)?;
        let month = Month::of(self.now());
        let tax = if new.paid { self.store(move |store| store.tax(Some(tenant.id), month)).await? } else { None };
        let whose = tenant.id;
        match tax {
            Some(tax) => self.sell_credit(actor, tenant, new, tax, once).await?,
            None => self.add_credit(actor, whose, new, once).await?,
        }
        self.balance_of(whose).await
    }

    async fn add_credit(&self, actor: &Actor, tenant: TenantId, new: NewCredit, once: Option<&IdempotencyKey>) -> Result<(), Error> {
        let now = self.now();
        let once = once.map(|once| once.once(actor, "give_credit", &new, now)).transpose()?;
        let (from, reason) = if new.paid { (AccountKind::Cash, Reason::TopUp) } else { (AccountKind::OperatorCredit, Reason::Grant) };
        let id = TransferId::from_uuid(self.new_uuid());
        let accounts = (from, AccountKind::Customer);
        let movement = Movement::new(id, accounts, tenant, self.shared.billing.currency, new.amount, reason, now).with_note(&new.note);
        let data = json!({"amount": new.amount, "note": new.note, "paid": new.paid});
        let event = self.event(Some(&actor.by()), Some(tenant), "credit.given", &id.to_string(), data);
        self.book(movement, once, event).await.map(drop)
    }

    /// Books a payment for credit and the tax on it, with a receipt.
    async fn sell_credit(
        &self,
        actor: &Actor,
        tenant: TenantRow,
        new: NewCredit,
        tax: Tax,
        once: Option<&IdempotencyKey>,
    ) -> Result<(), Error> {
        let (now, whose, currency) = (self.now(), tenant.id, self.shared.billing.currency);
        let once = once.map(|once| once.once(actor, "sell_credit", &new, now)).transpose()?;
        let heading = self.heading(&tenant, now, Some(tax)).await?;
        let receipt_id = heading.id;
        let _changing = self.shared.billing.changing.lock().await;
        self.load_under_lock(whose, None).await?;
        let (credit_id, tax_id) = (TransferId::from_uuid(self.new_uuid()), TransferId::from_uuid(self.new_uuid()));
        let data = json!({"amount": new.amount, "note": new.note, "paid": true, "receipt": receipt_id.to_string()});
        let event = self.event(Some(&actor.by()), Some(whose), "credit.given", &credit_id.to_string(), data);
        let make = move |number: String| {
            let receipt = Invoice::top_up(Heading { number, ..heading }, new.amount, currency).map_err(Error::internal)?;
            let movement = |id, to, amount, reason| Movement::new(id, (AccountKind::Cash, to), whose, currency, amount, reason, now);
            let credit = movement(credit_id, AccountKind::Customer, receipt.total, Reason::TopUp).with_note(&new.note);
            let tax = movement(tax_id, AccountKind::Tax, receipt.tax_amount, Reason::Tax(receipt.id)).with_note(&receipt.number);
            let has_tax = receipt.tax_amount > NanoUnits::ZERO;
            Ok::<_, Error>((receipt, [Some(credit), has_tax.then_some(tax)].into_iter().flatten().collect::<Vec<_>>()))
        };
        let prefix = series("TOP", now);
        let moved = self
            .issue(move |store| {
                let mut moved = Vec::new();
                let make = |number| {
                    let (receipt, movements) = make(number)?;
                    moved.clone_from(&movements);
                    Ok::<_, Error>((receipt, movements))
                };
                store.top_up(&prefix, now, make, freehold_store::Note { once: once.as_ref(), trail: Some(&event) })?;
                Ok(moved)
            })
            .await?;
        self.post_all(moved);
        Ok(())
    }

    /// What a tenant that signs up gets, if it gets anything. Written with the tenant, so it is given once and never lost.
    pub(crate) fn signup_credit(&self, tenant: TenantId) -> Option<Movement> {
        let amount = NanoUnits::new(self.settings().people.signup_credit_nano);
        let accounts = (AccountKind::OperatorCredit, AccountKind::Customer);
        let id = derive::transfer_id(tenant, "signup", "");
        let movement = Movement::new(id, accounts, tenant, self.shared.billing.currency, amount, Reason::Grant, self.now());
        (amount > NanoUnits::ZERO).then(|| movement.with_note("sign-up"))
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

/// A note that has only an event for the trail.
pub(super) fn said(event: &freehold_store::TrailRow) -> freehold_store::Note<'_> {
    freehold_store::Note { once: None, trail: Some(event) }
}
