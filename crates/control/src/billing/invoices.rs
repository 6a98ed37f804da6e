//! Invoices of a month, credit notes, payments.
//!
//! An invoice is the month's usage as it was charged. What the tenant's account could pay is paid from credit; for a
//! postpaid tenant the rest is due, with the tax on it, and goes from its account to the receivables. [`super::runs`] says
//! when. Usage that comes after its month's invoice, because a clock was wrong, is on the next one.
//!
//! **Invariant:** a month is invoiced once for a tenant, and nothing that was used is on two invoices.

use freehold_domain::{Currency, Error, ErrorCode, InvoiceId, MoneyError, NanoUnits, TenantId, Timestamp, TransferId};
use freehold_ledger::invoices::{
    Heading, Invoice, InvoiceError, InvoiceKind, InvoiceState, Party, Totals, UsageTotal, render_html, render_pdf,
};
use freehold_ledger::{AccountKind, Month, Reason, Tax, calendar, derive};
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

/// How many months back usage is looked for that came after its month's invoice.
pub(super) const LATE_MONTHS: u32 = 3;
/// The most invoices of a tenant that can have lines of those months.
const INVOICES_SINCE_MAX: u32 = 50;

/// An invoice or a credit note, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InvoiceId,
    /// Its number.
    pub number: String,
    /// `invoice`, `credit_note`, or `top_up`: the receipt of a payment for credit.
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
    /// What was used, less what was given back: net, without tax.
    #[schema(value_type = String)]
    pub total: NanoUnits,
    /// The tax on what was not paid from credit.
    #[schema(value_type = String)]
    pub tax: NanoUnits,
    /// `total` and `tax`.
    #[schema(value_type = String)]
    pub gross: NanoUnits,
    /// What is to be paid: `gross` less what was paid from credit.
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
    /// How much is given back, in nano-units: net, or of an invoice that is not paid all that is due.
    #[schema(value_type = String, pattern = "^([1-9][0-9]{0,17}|1000000000000000000)$", example = "1000000000")]
    pub amount: NanoUnits,
    /// Why; it stands on the note.
    #[schema(max_length = 500)]
    pub reason: String,
}

fn view(invoice: &Invoice) -> InvoiceView {
    let of = match invoice.kind {
        InvoiceKind::Invoice | InvoiceKind::TopUp => None,
        InvoiceKind::CreditNote { of, .. } => Some(of),
    };
    InvoiceView {
        id: invoice.id,
        number: invoice.number.clone(),
        kind: invoice.kind.as_str().to_owned(),
        of,
        state: invoice.state.as_str().to_owned(),
        tenant: invoice.tenant,
        month: invoice.month.to_string(),
        total: invoice.total,
        tax: invoice.tax_amount,
        gross: invoice.gross,
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

/// The series of numbers that a document issued now is in: `INV-2026-`.
pub(super) fn series(kind: &str, now: Timestamp) -> String {
    format!("{kind}-{}-", calendar::date_text(now).get(..4).unwrap_or_default())
}

fn refused(error: InvoiceError) -> Error {
    match error {
        InvoiceError::TooMuch { .. } | InvoiceError::NotPositive(_) | InvoiceError::NotWhole { .. } => {
            Error::invalid("amount", format!("This amount does not fit: {error}."))
        }
        InvoiceError::NotCreditable(_) | InvoiceError::State { .. } => Error::new(ErrorCode::Conflict, format!("{error}.")),
        other => Error::internal(other),
    }
}

/// What an invoice is made of.
struct Used {
    /// The invoice that the month has already.
    before: Option<InvoiceId>,
    /// The month's usage.
    totals: Totals,
    /// Usage of earlier months that came after their invoices.
    late: Vec<(Month, Totals)>,
    /// What the tenant's account had when the month was over.
    at_the_end: NanoUnits,
}

fn days(month: Month) -> (i64, i64) {
    (calendar::day_of(month.start()), calendar::day_of(month.end()))
}

/// What of a month's usage has a price and is on none of these invoices.
fn unbilled(month: Month, used: Vec<UsageTotal>, invoices: &[Invoice]) -> Result<Totals, MoneyError> {
    let (mut all, mut billed) = (Totals::new(), Totals::new());
    for total in used.into_iter().filter(|total| total.price_number != FREE_NUMBER) {
        all.merge(total)?;
    }
    invoices.iter().try_for_each(|invoice| billed.add_invoiced(invoice, month))?;
    all.less(&billed)
}

/// What an invoice moves: the debt and the tax on it go to what is to be received.
fn asked_for(invoice: &Invoice) -> Vec<Movement> {
    let movement = |name: &str, to, amount: NanoUnits, reason| {
        let id = TransferId::from_uuid(derive::uuid(name, &[&invoice.id.to_string()]));
        let accounts = (AccountKind::Receivable, to);
        let movement = Movement::new(id, accounts, invoice.tenant, invoice.currency, amount, reason, invoice.issued_at);
        (amount > NanoUnits::ZERO).then(|| movement.with_note(&invoice.number))
    };
    let debt = movement("freehold.invoice", AccountKind::Customer, invoice.taxable, Reason::Invoice(invoice.id));
    let tax = movement("freehold.invoice-tax", AccountKind::Tax, invoice.tax_amount, Reason::Tax(invoice.id));
    debt.into_iter().chain(tax).collect()
}

/// What a credit note moves: of an invoice that is not paid the debt goes, and the tax with it; otherwise it becomes credit.
fn given_back(note: &Invoice, of: InvoiceId, is_unpaid: bool) -> Vec<Movement> {
    let movement = |name: &str, accounts, amount: NanoUnits, reason| {
        let id = TransferId::from_uuid(derive::uuid(name, &[&note.id.to_string()]));
        let movement = Movement::new(id, accounts, note.tenant, note.currency, amount, reason, note.issued_at);
        (amount > NanoUnits::ZERO).then(|| movement.with_note(&note.number))
    };
    let target = if is_unpaid { AccountKind::Receivable } else { AccountKind::Customer };
    let net = movement("freehold.credit-note", (AccountKind::OperatorCredit, target), note.total, Reason::CreditNote(of));
    let accounts = (AccountKind::Tax, AccountKind::Receivable);
    let tax = movement("freehold.credit-note-tax", accounts, note.tax_amount, Reason::Tax(note.id));
    net.into_iter().chain(tax).collect()
}

impl Control {
    /// Issues a tenant's invoice of a month, unless there is one or nothing is to be charged.
    pub(super) async fn invoice_tenant(&self, tenant: TenantRow, month: Month, now: Timestamp) -> Result<Option<Issued>, Error> {
        let (id, currency) = (tenant.id, self.shared.billing.currency);
        let _changing = self.shared.billing.changing.lock().await;
        let used = self.used_in(id, month).await?;
        if let Some(before) = used.before {
            return Ok(Some(Issued::Before(before)));
        }
        let late = used.late.iter().map(|(_, totals)| totals.amount()).collect::<Result<Vec<_>, _>>().map_err(Error::internal)?;
        let own = used.totals.amount().map_err(Error::internal)?;
        let total = NanoUnits::sum(late.into_iter().chain([own])).map_err(Error::internal)?;
        if total <= NanoUnits::ZERO {
            return Ok(None);
        }
        self.load_under_lock(id, None).await?;
        let owed = used.at_the_end.negated().map_err(Error::internal)?.max(NanoUnits::ZERO).min(total);
        let paid = total.minus(owed).map_err(Error::internal)?;
        let tax = self.store(move |store| store.tax(Some(id), month)).await?;
        let heading = self.heading(&tenant, now, tax).await?;
        let (prices, control) = (self.shared.billing.meter().prices(), self.clone());
        let make = move |number: String| {
            let heading = Heading { number, ..heading };
            let invoice = Invoice::of_month(heading, month, (&used.totals, &used.late), &prices, Vec::new(), paid, currency);
            let invoice = invoice.map_err(refused)?;
            let data = json!({"number": invoice.number, "month": month.to_string(), "total": invoice.total, "due": invoice.due});
            let event = control.event(None, Some(id), "invoice.issued", &invoice.id.to_string(), data);
            let movements = asked_for(&invoice);
            Ok::<_, Error>((invoice, movements, event))
        };
        let prefix = series("INV", now);
        let (issued, moved) = self
            .issue(move |store| {
                let mut moved = Vec::new();
                let issued = store.issue_invoice((id, month), &prefix, now, |number| {
                    let (invoice, movements, event) = make(number)?;
                    moved.clone_from(&movements);
                    Ok::<_, Error>((invoice, movements, event))
                })?;
                Ok((issued, moved))
            })
            .await?;
        if matches!(issued, Issued::New(_)) {
            self.post_all(moved);
        }
        Ok(Some(issued))
    }

    /// What a tenant used in a month and in those before it that is on no invoice, and what its account had at the end.
    async fn used_in(&self, tenant: TenantId, month: Month) -> Result<Used, Error> {
        let account = AccountKind::Customer.id(Some(tenant), self.shared.billing.currency);
        let now = self.now();
        let found = self.store(move |store| {
            let first = Month::from_index(i64::from(month.index()) - i64::from(LATE_MONTHS));
            let invoices = store.invoices_since(tenant, first, INVOICES_SINCE_MAX)?;
            let own = store.month_account(tenant, days(month), account)?;
            let mut months = vec![(month, own.totals)];
            for index in first.index()..month.index() {
                let earlier = Month::from_index(index.into());
                let is_over = store.run(earlier)?.is_some_and(|run| run.finished_at.is_some_and(|at| at <= now));
                if is_over || invoices.iter().any(|invoice| invoice.month == earlier) {
                    months.push((earlier, store.usage_totals(tenant, days(earlier))?));
                }
            }
            Ok((invoices, months, own.balance, own.since))
        });
        let (invoices, months, balance, since) = found.await?;
        let mut left = Vec::new();
        for (month, totals) in months {
            left.push((month, unbilled(month, totals, &invoices).map_err(Error::internal)?));
        }
        let (_, totals) = left.remove(0);
        left.retain(|(_, totals)| !totals.is_empty());
        let before = invoices.iter().find(|invoice| invoice.month == month).map(|invoice| invoice.id);
        // What invoices of later months took to the receivables is of usage that `since` puts back.
        let later = invoices.iter().filter(|invoice| invoice.month > month).map(|invoice| invoice.taxable);
        let later = NanoUnits::sum(later).map_err(Error::internal)?;
        let at_the_end = balance.plus(since).and_then(|sum| sum.minus(later)).map_err(Error::internal)?;
        Ok(Used { before, totals, late: left, at_the_end })
    }

    pub(super) async fn heading(&self, tenant: &TenantRow, now: Timestamp, tax: Option<Tax>) -> Result<Heading, Error> {
        let settings = &self.settings().billing;
        let mut seller = settings.seller.lines().map(str::to_owned);
        let due_ms = i64::from(settings.invoice_due_days) * 24 * 60 * 60 * 1000;
        let id = tenant.id;
        let buyer = self.store(move |store| store.buyer(id)).await?;
        let tax_id = (!buyer.tax_id.is_empty()).then(|| format!("Tax id: {}", buyer.tax_id));
        Ok(Heading {
            id: InvoiceId::from_uuid(self.new_uuid()),
            number: String::new(),
            tenant: id,
            issued_at: now,
            due_at: Some(now.plus_ms(due_ms)),
            seller: Party { name: seller.next().unwrap_or_default(), lines: seller.collect() },
            buyer: Party { name: tenant.name.to_string(), lines: buyer.lines.lines().map(str::to_owned).chain(tax_id).collect() },
            tax,
            note: settings.invoice_note.clone(),
        })
    }

    /// Works with the store where the work itself can refuse.
    pub(super) async fn issue<T: Send + 'static>(
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
            tax: None,
            note: self.settings().billing.invoice_note.clone(),
        };
        let note_id = heading.id;
        let data = json!({"amount": new.amount, "reason": new.reason, "of": invoice.number});
        let event = self.event(Some(&actor.by()), Some(invoice.tenant), "invoice.credited", &invoice.id.to_string(), data);
        let prefix = series("CN", now);
        let (created, moved) = self
            .issue(move |store| {
                let mut moved = Vec::new();
                let make = |number: String, already: NanoUnits| {
                    let note = invoice.credit_note(Heading { number, ..heading }, new.amount, already, &new.reason).map_err(refused)?;
                    let mut original = invoice.clone();
                    if is_unpaid || already.plus(note.total).map_err(Error::internal)? == invoice.total {
                        original.become_state(InvoiceState::Credited).map_err(refused)?;
                    }
                    moved = given_back(&note, invoice.id, is_unpaid);
                    Ok::<_, Error>((note, moved.clone(), original))
                };
                let told = Note { once: once.as_ref(), trail: Some(&event) };
                let created = store.issue_credit_note(invoice.id, &prefix, now, make, told)?;
                Ok((created, moved))
            })
            .await?;
        let id = match created {
            Created::New => {
                self.post_all(moved);
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
