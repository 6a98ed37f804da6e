//! Invoices of a month, credit notes, payments.
//!
//! An invoice is the month's usage as it was charged. What the tenant's account could pay is paid from credit; for a
//! postpaid tenant the rest is due, and goes from its account to the receivables.
//!
//! **Invariant:** a month is invoiced once, after it is over and after everything that began in it has ended.

use std::collections::HashSet;

use freehold_domain::{Currency, Error, ErrorCode, InvoiceId, NanoUnits, TenantId, Timestamp, TransferId};
use freehold_ledger::invoices::{Heading, Invoice, InvoiceError, InvoiceKind, InvoiceState, Party, Totals, render_html, render_pdf};
use freehold_ledger::{AccountKind, Month, Reason, calendar, derive};
use freehold_store::{Created, Issued, Movement, Note, TenantRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::credit::{read_amount, read_note, said};
use super::meter::FREE_NUMBER;
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::page::{Page, PageRequest};

/// After so long nothing that began in a month can still be running.
const AFTER_THE_MONTH_MS: i64 = 60 * 60 * 1000;
const TENANTS_AT_ONCE: u32 = 200;

/// A month to invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceRun {
    /// The month: `2026-11`.
    #[schema(pattern = "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])$", example = "2026-11")]
    pub month: String,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceRunView {
    /// The month.
    pub month: String,
    /// The numbers of the invoices that were made.
    pub issued: Vec<String>,
    /// How many tenants had their invoice before.
    pub before: u32,
    /// Tenants that have no invoice yet, because requests that they began in the month are still being answered: run
    /// the month again in some minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// An invoice or a credit note, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InvoiceId,
    /// Its number.
    pub number: String,
    /// `invoice` or `credit_note`.
    pub kind: String,
    /// The invoice that a credit note is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub of: Option<InvoiceId>,
    /// `issued`, `paid` or `credited`.
    pub state: String,
    /// The tenant.
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// The month.
    pub month: String,
    /// What was used, less what was given back.
    #[schema(value_type = String)]
    pub total: NanoUnits,
    /// What is to be paid.
    #[schema(value_type = String)]
    pub due: NanoUnits,
    /// The currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// When it was issued.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    /// By when it is to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
}

/// A credit note to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCreditNote {
    /// How much is given back, in nano-units.
    #[schema(value_type = String, pattern = "^([1-9][0-9]{0,17}|1000000000000000000)$", example = "1000000000")]
    pub amount: NanoUnits,
    /// Why; it stands on the note.
    #[schema(max_length = 500)]
    pub reason: String,
}

fn view(invoice: &Invoice) -> InvoiceView {
    let (kind, of) = match invoice.kind {
        InvoiceKind::Invoice => ("invoice", None),
        InvoiceKind::CreditNote { of, .. } => ("credit_note", Some(of)),
    };
    InvoiceView {
        id: invoice.id,
        number: invoice.number.clone(),
        kind: kind.to_owned(),
        of,
        state: invoice.state.as_str().to_owned(),
        tenant: invoice.tenant,
        month: invoice.month.to_string(),
        total: invoice.total,
        due: invoice.due,
        currency: invoice.currency,
        issued_at: invoice.issued_at,
        due_at: invoice.due_at,
    }
}

/// What a document's form is.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Its JSON form.
    Json(Value),
    /// A page.
    Html(String),
    /// A file.
    Pdf(Vec<u8>),
}

pub(super) fn read_month(text: &str) -> Result<Month, Error> {
    text.parse().map_err(|error| Error::invalid("month", format!("{error}.")))
}

fn refused(error: InvoiceError) -> Error {
    match error {
        InvoiceError::TooMuch { .. } | InvoiceError::NotPositive(_) => {
            Error::invalid("amount", format!("This amount does not fit: {error}."))
        }
        InvoiceError::NotCreditable(_) | InvoiceError::State { .. } => Error::new(ErrorCode::Conflict, format!("{error}.")),
        other => Error::internal(other),
    }
}

impl Control {
    /// Invoices a month that is over, for every tenant that used something that has a price.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request` for a month that is not over.
    pub async fn run_invoices(&self, actor: &Actor, run: &InvoiceRun) -> Result<InvoiceRunView, Error> {
        permit(actor, Action::ManagePrices)?;
        let month = read_month(&run.month)?;
        let now = self.now();
        let ready = month.end().plus_ms(AFTER_THE_MONTH_MS);
        if now < ready {
            return Err(Error::invalid("month", format!("{month} can be invoiced from {ready} on, when everything in it has ended.")));
        }
        let in_use = self.in_use_since_before(month.end()).await?;
        let mut done = InvoiceRunView { month: month.to_string(), issued: Vec::new(), before: 0, waiting: Vec::new() };
        let mut after = None;
        loop {
            let tenants = self.store(move |store| store.tenants(after, TENANTS_AT_ONCE)).await?;
            let Some(last) = tenants.last() else { return Ok(done) };
            after = Some(last.id);
            for tenant in tenants {
                if in_use.contains(&tenant.id) {
                    done.waiting.push(tenant.name.to_string());
                    continue;
                }
                match self.invoice_tenant(tenant, month, now).await? {
                    Some(Issued::New(invoice)) => done.issued.push(invoice.number),
                    Some(Issued::Before(_)) => done.before += 1,
                    None => {}
                }
            }
        }
    }

    /// Whose requests that began before a moment have not ended, or their ends are still on their way. Nobody joins them
    /// once the moment is over.
    async fn in_use_since_before(&self, moment: Timestamp) -> Result<HashSet<TenantId>, Error> {
        let mut tenants = self.shared.billing.meter().open_before(moment);
        // What has just ended is written then.
        self.settle_usage().await;
        tenants.extend(self.store(move |store| store.pending_before(moment)).await?);
        Ok(tenants)
    }

    async fn invoice_tenant(&self, tenant: TenantRow, month: Month, now: Timestamp) -> Result<Option<Issued>, Error> {
        let id = tenant.id;
        let days = (calendar::day_of(month.start()), calendar::day_of(month.end()));
        let _changing = self.shared.billing.changing.lock().await;
        let account = AccountKind::Customer.id(Some(id), self.shared.billing.currency);
        let used = self.store(move |store| store.month_account(id, days, account)).await?;
        let mut sums = Totals::new();
        for total in used.totals.into_iter().filter(|total| total.price_number != FREE_NUMBER) {
            sums.merge(total).map_err(Error::internal)?;
        }
        if sums.iter().next().is_none() {
            return Ok(None);
        }
        self.load_under_lock(id, None).await?;
        let at_the_end = used.balance.plus(used.since).map_err(Error::internal)?;
        let total = sums.amount().map_err(Error::internal)?;
        let due = if at_the_end.is_negative() { at_the_end.negated().map_err(Error::internal)?.min(total) } else { NanoUnits::ZERO };
        let paid = total.minus(due).map_err(Error::internal)?;
        let (prices, currency) = (self.shared.billing.meter().prices(), self.shared.billing.currency);
        let heading = self.heading(&tenant, now);
        let make = move |number: String| {
            let heading = Heading { number, ..heading };
            let invoice = Invoice::of_month(heading, month, &sums, &prices, Vec::new(), paid, currency).map_err(refused)?;
            let transfer = TransferId::from_uuid(derive::uuid("freehold.invoice", &[&invoice.id.to_string()]));
            let accounts = (AccountKind::Receivable, AccountKind::Customer);
            let movement =
                Movement::new(transfer, accounts, id, currency, due, Reason::Invoice(invoice.id), now).with_note(&invoice.number);
            Ok::<_, Error>((invoice, (due > NanoUnits::ZERO).then_some(movement)))
        };
        let prefix = format!("INV-{}-", calendar::date_text(now).get(..4).unwrap_or_default());
        let (issued, movement) = self
            .issue(move |store| {
                let mut moved = None;
                let issued = store.issue_invoice((id, month), &prefix, now, |number| {
                    let (invoice, movement) = make(number)?;
                    moved.clone_from(&movement);
                    Ok::<_, Error>((invoice, movement))
                })?;
                Ok((issued, moved))
            })
            .await?;
        if let (Issued::New(_), Some(movement)) = (&issued, movement) {
            self.shared.billing.meter().post(movement.transfer);
        }
        Ok(Some(issued))
    }

    fn heading(&self, tenant: &TenantRow, now: Timestamp) -> Heading {
        let settings = &self.settings().billing;
        let mut seller = settings.seller.lines().map(str::to_owned);
        let due_ms = i64::from(settings.invoice_due_days) * 24 * 60 * 60 * 1000;
        Heading {
            id: InvoiceId::from_uuid(self.new_uuid()),
            number: String::new(),
            tenant: tenant.id,
            issued_at: now,
            due_at: Some(now.plus_ms(due_ms)),
            seller: Party { name: seller.next().unwrap_or_default(), lines: seller.collect() },
            buyer: Party { name: tenant.name.to_string(), lines: Vec::new() },
            note: settings.invoice_note.clone(),
        }
    }

    /// Works with the store where the work itself can refuse.
    async fn issue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&freehold_store::Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.store(move |store| Ok(work(store))).await?
    }

    /// Invoices and credit notes, newest first; an operator sees all, or a tenant's.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `invalid_request` for a bad page.
    pub async fn list_invoices(&self, actor: &Actor, tenant: Option<&str>, page: &PageRequest) -> Result<Page<InvoiceView>, Error> {
        let (limit, before) = page.read::<InvoiceId>()?;
        let tenant = match tenant {
            None if actor.is_operator() => None,
            text => Some(self.billed_tenant(actor, text).await?),
        };
        permit(actor, tenant.map_or(Action::ManagePrices, Action::SeeBilling))?;
        let rows = self.store(move |store| store.invoices(tenant, before, limit + 1)).await?;
        Ok(Page::of(rows, limit, |row| row.id.to_string(), |row| view(&row)))
    }

    /// One invoice or credit note: in JSON, as a page or as a file.
    ///
    /// # Errors
    /// `not_found`, and `invalid_request` for another form.
    pub async fn invoice(&self, actor: &Actor, id: &str, format: Option<&str>) -> Result<Document, Error> {
        let invoice = self.visible_invoice(actor, id).await?;
        match format.unwrap_or("json") {
            "json" => Ok(Document::Json(invoice.to_json())),
            "html" => render_html(&invoice).map(Document::Html).map_err(Error::internal),
            "pdf" => render_pdf(&invoice).map(Document::Pdf).map_err(Error::internal),
            _ => Err(Error::invalid("format", "`format` is `json`, `html` or `pdf`.")),
        }
    }

    async fn visible_invoice(&self, actor: &Actor, id: &str) -> Result<Invoice, Error> {
        let id: InvoiceId = id.parse().map_err(|_| not_found("invoice"))?;
        let invoice = self.store(move |store| store.invoice(id)).await?.ok_or_else(|| not_found("invoice"))?;
        permit(actor, Action::SeeBilling(invoice.tenant)).map_err(|error| match error.code {
            ErrorCode::NotFound => not_found("invoice"),
            _ => error,
        })?;
        Ok(invoice)
    }

    /// Gives back part or all of an invoice, as credit.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`, `invalid_request` for more than is left of the invoice.
    pub async fn credit_note(
        &self,
        actor: &Actor,
        id: &str,
        new: NewCreditNote,
        once: Option<&IdempotencyKey>,
    ) -> Result<InvoiceView, Error> {
        read_amount(new.amount)?;
        read_note(&new.reason)?;
        let now = self.now();
        let once = once.map(|once| once.once(actor, &format!("credit_note {id}"), &new, now)).transpose()?;
        let _changing = self.shared.billing.changing.lock().await;
        let invoice = self.visible_invoice(actor, id).await?;
        permit(actor, Action::ManagePrices)?;
        // What was never paid is not given back: the debt goes instead.
        let is_unpaid = invoice.state == InvoiceState::Issued && invoice.due > NanoUnits::ZERO;
        if is_unpaid && new.amount != invoice.due {
            let message = format!(
                "{} is not paid: credit all that is due on it ({} {}), or note its payment first.",
                invoice.number, invoice.due, invoice.currency
            );
            return Err(Error::new(ErrorCode::Conflict, message).with_param("amount"));
        }
        self.load_under_lock(invoice.tenant, None).await?;
        let heading = Heading {
            id: InvoiceId::from_uuid(self.new_uuid()),
            number: String::new(),
            tenant: invoice.tenant,
            issued_at: now,
            due_at: None,
            seller: invoice.seller.clone(),
            buyer: invoice.buyer.clone(),
            note: self.settings().billing.invoice_note.clone(),
        };
        let note_id = heading.id;
        let transfer = TransferId::from_uuid(derive::uuid("freehold.credit-note", &[&note_id.to_string()]));
        let target = if is_unpaid { AccountKind::Receivable } else { AccountKind::Customer };
        let accounts = (AccountKind::OperatorCredit, target);
        let movement = Movement::new(transfer, accounts, invoice.tenant, invoice.currency, new.amount, Reason::CreditNote(invoice.id), now);
        let moved = movement.transfer.clone();
        let data = json!({"amount": new.amount, "reason": new.reason, "of": invoice.number});
        let event = self.event(Some(&actor.by()), Some(invoice.tenant), "invoice.credited", &invoice.id.to_string(), data);
        let prefix = format!("CN-{}-", calendar::date_text(now).get(..4).unwrap_or_default());
        let created = self
            .issue(move |store| {
                let make = |number: String, already: NanoUnits| {
                    let note = invoice.credit_note(Heading { number, ..heading }, new.amount, already, &new.reason).map_err(refused)?;
                    let mut original = invoice.clone();
                    if is_unpaid || already.plus(new.amount).map_err(Error::internal)? == invoice.total {
                        original.become_state(InvoiceState::Credited).map_err(refused)?;
                    }
                    let movement = movement.with_note(&note.number);
                    Ok::<_, Error>((note, movement, original))
                };
                store.issue_credit_note(invoice.id, &prefix, now, make, Note { once: once.as_ref(), trail: Some(&event) })
            })
            .await?;
        let id = match created {
            Created::New => {
                self.shared.billing.meter().post(moved);
                note_id
            }
            Created::Before(id) => id,
        };
        let note = self.store(move |store| store.invoice(id)).await?.ok_or_else(|| Error::internal("a credit note is gone"))?;
        Ok(view(&note))
    }

    /// Notes that an invoice was paid.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`, `conflict` for one that is not waiting for money.
    pub async fn pay_invoice(&self, actor: &Actor, id: &str) -> Result<InvoiceView, Error> {
        let _changing = self.shared.billing.changing.lock().await;
        let mut invoice = self.visible_invoice(actor, id).await?;
        permit(actor, Action::ManagePrices)?;
        if invoice.kind != InvoiceKind::Invoice || invoice.due <= NanoUnits::ZERO {
            return Err(Error::new(ErrorCode::Conflict, format!("Nothing is due on {}.", invoice.number)));
        }
        invoice.become_state(InvoiceState::Paid).map_err(refused)?;
        let transfer = TransferId::from_uuid(derive::uuid("freehold.payment", &[&invoice.id.to_string()]));
        let accounts = (AccountKind::Cash, AccountKind::Receivable);
        let reason = Reason::Payment(invoice.id);
        let movement = Movement::new(transfer, accounts, invoice.tenant, invoice.currency, invoice.due, reason, self.now());
        let movement = movement.with_note(&invoice.number);
        let event = self.event(Some(&actor.by()), Some(invoice.tenant), "invoice.paid", &invoice.id.to_string(), json!({}));
        let (stored, moved) = (invoice.clone(), movement.transfer.clone());
        self.store(move |store| store.update_invoice(&stored, &movement, said(&event))).await?;
        self.shared.billing.meter().post(moved);
        Ok(view(&invoice))
    }
}
