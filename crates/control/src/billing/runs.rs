//! The invoices of a month, for every tenant: by themselves when the month is over, or when an operator asks.
//!
//! How far a month is stands in the store, so that a run that was interrupted goes on after a restart. A run that stands
//! there with a time that is still to come was made by a clock that was wrong, and is as if it had not been.
//!
//! **Invariant:** one run at a time; what a run does twice changes nothing, because a tenant's invoice of a month is written
//! once.

use std::collections::HashSet;

use freehold_domain::{Error, ErrorCode, TenantId, Timestamp};
use freehold_ledger::Month;
use freehold_store::{Issued, LeftOver, RunRow, Store, StoreError, TenantRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invoices::read_month;
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::page::{Page, PageRequest};

/// After so long nothing that began in a month can still be running.
const AFTER_THE_MONTH_MS: i64 = 60 * 60 * 1000;
const TENANTS_AT_ONCE: u32 = 200;
/// Pause before tenants are tried again whose requests were still running.
const WAIT_MS: i64 = 60 * 1000;
/// Pause before tenants are tried again where something was wrong.
const RETRY_MS: i64 = 15 * 60 * 1000;
/// How many months back the service makes up for what it missed.
const MONTHS_BACK: u32 = 12;
/// The most runs of one answer.
const RUNS_MAX: u32 = 24;
/// The most tenants of a kind that a run names.
const NAMED_MAX: usize = 100;

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
    /// How many tenants have no invoice yet, because requests that they began in the month are still being answered. With
    /// `invoice_monthly` the service tries them again by itself; otherwise run the month again in some minutes.
    pub waiting_count: u64,
    /// The first 100 of them. `/invoices/runs/{month}` has all, in pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub waiting: Vec<String>,
    /// How many tenants' invoices cannot be made; the others have theirs.
    pub failed_count: u64,
    /// The first 100 of them. `/invoices/runs/{month}` has all, in pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub failed: Vec<NotInvoiced>,
}

/// A tenant whose invoice cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotInvoiced {
    /// The tenant's name.
    pub tenant: String,
    /// What is wrong.
    pub why: String,
}

/// A tenant that has no invoice of a month yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftView {
    /// The tenant's name.
    pub tenant: String,
    /// `waiting` for requests to end, or `failed`.
    pub state: String,
    /// What is wrong, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How far the invoices of a month are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// The month.
    pub month: String,
    /// `done`; `running`, also while an interrupted run waits to be taken up; `waiting`: some tenants are left.
    pub state: String,
    /// Who began it last: `service` or `operator`.
    pub by: String,
    /// When it began last.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How many invoices the month has.
    pub invoices: u64,
    /// How many tenants wait for requests to end.
    pub waiting_count: u64,
    /// The first 100 of them. `/invoices/runs/{month}` has all, in pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub waiting: Vec<String>,
    /// How many tenants' invoices cannot be made.
    pub failed_count: u64,
    /// The first 100 of them. `/invoices/runs/{month}` has all, in pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub failed: Vec<NotInvoiced>,
    /// When the service tries again those that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

/// A month that the service is to invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upcoming {
    /// The month.
    pub month: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// The runs of the last months.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunsView {
    /// Whether the service makes the invoices of each month by itself (option `invoice_monthly`).
    pub monthly: bool,
    /// What it does next; left out where it does nothing by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upcoming: Option<Upcoming>,
    /// How far the last months are, the newest first.
    pub data: Vec<RunView>,
}

/// What one pass over tenants did.
#[derive(Default)]
struct Pass {
    issued: Vec<String>,
    before: u32,
    left: LeftOver,
    /// The first names of those who are left.
    waiting: Vec<String>,
    failed: Vec<NotInvoiced>,
}

/// When a month can be invoiced.
fn ready_at(month: Month) -> Timestamp {
    month.end().plus_ms(AFTER_THE_MONTH_MS)
}

/// The last month that can be invoiced, if there was one.
fn last_ready(now: Timestamp) -> Option<Month> {
    let month = Month::of(now.plus_ms(-AFTER_THE_MONTH_MS));
    (month.index() > 0).then(|| Month::from_index(i64::from(month.index()) - 1))
}

/// The months that are due now, the oldest first. `rows` are the last runs, the newest month first.
fn due_months(rows: &[RunRow], now: Timestamp) -> Vec<Month> {
    let Some(last) = last_ready(now) else { return Vec::new() };
    let oldest = last.index().saturating_sub(MONTHS_BACK - 1);
    let is_true = |row: &&RunRow| row.started_at <= now;
    let newest = rows.iter().filter(is_true).map(|row| row.month.index()).max();
    let begun = rows.iter().filter(|row| match row.started_at <= now {
        // A time to try again that is far off is a wrong clock's too.
        true => row.finished_at.is_none() && (row.next_at <= now || row.next_at > now.plus_ms(RETRY_MS)),
        false => true,
    });
    let missed = newest.map_or(last.index(), |newest| newest + 1)..=last.index();
    let mut months: Vec<u32> =
        begun.map(|row| row.month.index()).chain(missed).filter(|index| (oldest..=last.index()).contains(index)).collect();
    months.sort_unstable();
    months.dedup();
    months.into_iter().map(|index| Month::from_index(index.into())).collect()
}

impl Control {
    /// Invoices a month that is over, for every tenant that used something that has a price.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request` for a month that is not over.
    pub async fn run_invoices(&self, actor: &Actor, run: &InvoiceRun) -> Result<InvoiceRunView, Error> {
        permit(actor, Action::ManagePrices)?;
        let month = read_month(&run.month)?;
        let ready = ready_at(month);
        if self.now() < ready {
            return Err(Error::invalid("month", format!("{month} can be invoiced from {ready} on, when everything in it has ended.")));
        }
        // Who asked may go away; the run does not end for that.
        let control = self.clone();
        let pass = tokio::spawn(async move { control.make_invoices(month, false).await }).await.map_err(Error::internal)??;
        let Pass { issued, before, left, waiting, failed } = pass;
        let (waiting_count, failed_count) = (left.waiting.len() as u64, left.failed.len() as u64);
        Ok(InvoiceRunView { month: month.to_string(), issued, before, waiting_count, waiting, failed_count, failed })
    }

    /// Issues the invoices of the months that are over, where the service is to do that by itself. Called now and then.
    ///
    /// # Errors
    /// When the store cannot be read or written. What is left is done at the next call.
    pub async fn run_due_invoices(&self) -> Result<(), Error> {
        if !self.settings().billing.invoice_monthly {
            return Ok(());
        }
        let rows = self.store(|store| store.latest_runs(RUNS_MAX)).await?;
        for month in due_months(&rows, self.now()) {
            self.make_invoices(month, true).await?;
        }
        Ok(())
    }

    /// How far the invoices of the last months are, and when the service makes the next ones.
    ///
    /// # Errors
    /// `permission_denied` for a tenant.
    pub async fn invoice_runs(&self, actor: &Actor) -> Result<RunsView, Error> {
        permit(actor, Action::ManagePrices)?;
        let (now, monthly) = (self.now(), self.settings().billing.invoice_monthly);
        let rows = self
            .store(|store| {
                let with_names = |(row, invoices): (RunRow, u64)| {
                    let waiting = row.left.waiting.iter().take(NAMED_MAX).map(|id| name_of(store, *id)).collect::<Result<_, _>>()?;
                    let not_invoiced = |(id, why): &(TenantId, String)| {
                        Ok::<_, StoreError>(NotInvoiced { tenant: name_of(store, *id)?, why: why.clone() })
                    };
                    let failed = row.left.failed.iter().take(NAMED_MAX).map(not_invoiced).collect::<Result<_, _>>()?;
                    Ok((row, invoices, waiting, failed))
                };
                store.runs(RUNS_MAX)?.into_iter().map(with_names).collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        let this = Month::of(now.plus_ms(-AFTER_THE_MONTH_MS));
        let upcoming = monthly.then(|| Upcoming { month: this.to_string(), at: ready_at(this) });
        Ok(RunsView { monthly, upcoming, data: rows.into_iter().map(|row| view(row, monthly)).collect() })
    }

    /// The tenants that have no invoice of a month yet.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request` for a bad month or page, `not_found` for a month that nobody ran.
    pub async fn invoice_run_left(&self, actor: &Actor, month: &str, page: &PageRequest) -> Result<Page<LeftView>, Error> {
        permit(actor, Action::ManagePrices)?;
        let (month, (limit, after)) = (read_month(month)?, page.read::<TenantId>()?);
        let rows = self
            .store(move |store| {
                let Some(run) = store.run(month)? else { return Ok(None) };
                let waiting = run.left.waiting.into_iter().map(|id| (id, None));
                let failed = run.left.failed.into_iter().map(|(id, why)| (id, Some(why)));
                let mut left: Vec<_> = waiting.chain(failed).filter(|(id, _)| after.is_none_or(|after| *id > after)).collect();
                left.sort_unstable_by_key(|(id, _)| *id);
                left.truncate(limit as usize + 1);
                let named = left.into_iter().map(|(id, why)| Ok((id, name_of(store, id)?, why)));
                named.collect::<Result<Vec<_>, StoreError>>().map(Some)
            })
            .await?;
        let rows = rows.ok_or_else(|| not_found("invoice run"))?;
        let view = |(_, tenant, why): (TenantId, String, Option<String>)| {
            let state = if why.is_some() { "failed" } else { "waiting" };
            LeftView { tenant, state: state.to_owned(), why }
        };
        Ok(Page::of(rows, limit, |(id, _, _)| id.to_string(), view))
    }

    /// Makes the invoices of a month. The service goes on with the tenants that were left; an operator begins again.
    async fn make_invoices(&self, month: Month, by_service: bool) -> Result<Pass, Error> {
        let _running = self.shared.billing.invoicing.lock().await;
        let now = self.now();
        let before = self.store(move |store| store.run(month)).await?.filter(|row| by_service && row.started_at <= now);
        let left = match before {
            // Somebody was faster.
            Some(row) if row.finished_at.is_some() => return Ok(Pass::default()),
            Some(row) if row.passed_at.is_some() => Some(row.left),
            _ => None,
        };
        let in_use = self.in_use_since_before(month.end()).await?;
        let mut pass = Pass::default();
        match left {
            Some(left) => {
                let ids: Vec<TenantId> = left.waiting.into_iter().chain(left.failed.into_iter().map(|(id, _)| id)).collect();
                for id in ids {
                    if let Some(tenant) = self.store(move |store| store.tenant(id)).await? {
                        self.pass_tenant(tenant, month, &in_use, &mut pass).await;
                    }
                }
            }
            None => {
                self.store(move |store| store.begin_run(month, by_service, now)).await?;
                self.pass_all(month, &in_use, &mut pass).await?;
            }
        }
        let after_ms = match (pass.left.waiting.is_empty(), pass.left.failed.is_empty()) {
            (true, true) => 0,
            (true, false) => RETRY_MS,
            (false, _) => WAIT_MS,
        };
        let (left, ended) = (pass.left.clone(), self.now());
        self.store(move |store| store.pass_run(month, ended, &left, ended.plus_ms(after_ms))).await?;
        if !pass.issued.is_empty() || !pass.left.is_empty() {
            let (waiting, failed) = (pass.left.waiting.len(), pass.left.failed.len());
            tracing::info!(%month, by_service, issued = pass.issued.len(), waiting, failed, "invoices");
        }
        Ok(pass)
    }

    async fn pass_all(&self, month: Month, in_use: &HashSet<TenantId>, pass: &mut Pass) -> Result<(), Error> {
        let mut after = None;
        loop {
            let tenants = self.store(move |store| store.tenants(after, TENANTS_AT_ONCE)).await?;
            let Some(last) = tenants.last() else { return Ok(()) };
            after = Some(last.id);
            for tenant in tenants {
                self.pass_tenant(tenant, month, in_use, pass).await;
            }
        }
    }

    /// One tenant. What is wrong with it stops no other.
    async fn pass_tenant(&self, tenant: TenantRow, month: Month, in_use: &HashSet<TenantId>, pass: &mut Pass) {
        let (id, name) = (tenant.id, tenant.name.to_string());
        if in_use.contains(&id) {
            pass.left.waiting.push(id);
            if pass.waiting.len() < NAMED_MAX {
                pass.waiting.push(name);
            }
            return;
        }
        match self.invoice_tenant(tenant, month, self.now()).await {
            Ok(Some(Issued::New(invoice))) => pass.issued.push(invoice.number),
            Ok(Some(Issued::Before(_))) => pass.before += 1,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(tenant = %id, %month, message = error.message, context = error.context, "an invoice cannot be made");
                // Only operators see it.
                let why = error.context.unwrap_or(error.message);
                pass.left.failed.push((id, why.clone()));
                if pass.failed.len() < NAMED_MAX {
                    pass.failed.push(NotInvoiced { tenant: name, why });
                }
            }
        }
    }

    /// Whose requests that began before a moment have not ended, or their ends are still on their way. Nobody joins them
    /// once the moment is over.
    async fn in_use_since_before(&self, moment: Timestamp) -> Result<HashSet<TenantId>, Error> {
        let mut tenants = self.shared.billing.meter().open_before(moment);
        // What has just ended is written then.
        if !self.settle_usage().await {
            let message = "Usage cannot be written into the database now, so there are no invoices. Look at the log, and try again.";
            return Err(Error::new(ErrorCode::Unavailable, message));
        }
        tenants.extend(self.store(move |store| store.pending_before(moment)).await?);
        Ok(tenants)
    }
}

/// A tenant's name; of one that is gone, its id.
fn name_of(store: &Store, id: TenantId) -> Result<String, StoreError> {
    Ok(store.tenant(id)?.map_or_else(|| id.to_string(), |tenant| tenant.name.to_string()))
}

fn view((row, invoices, waiting, failed): (RunRow, u64, Vec<String>, Vec<NotInvoiced>), monthly: bool) -> RunView {
    let state = match (row.finished_at, row.passed_at) {
        (Some(_), _) => "done",
        (None, Some(_)) => "waiting",
        (None, None) => "running",
    };
    RunView {
        month: row.month.to_string(),
        state: state.to_owned(),
        by: if row.by_service { "service" } else { "operator" }.to_owned(),
        started_at: row.started_at,
        finished_at: row.finished_at,
        invoices,
        waiting_count: row.left.waiting.len() as u64,
        waiting,
        failed_count: row.left.failed.len() as u64,
        failed,
        next_at: (monthly && state == "waiting").then_some(row.next_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let month: Month = text[..7].parse().expect("a month");
        month.start().plus_ms(text[8..].parse::<i64>().expect("hours") * 60 * 60 * 1000)
    }

    fn row(month: &str, started: &str, finished: bool, next: &str) -> RunRow {
        let (started_at, next_at) = (at(started), at(next));
        let passed_at = Some(started_at);
        RunRow {
            month: month.parse().expect("a month"),
            by_service: true,
            started_at,
            passed_at,
            finished_at: passed_at.filter(|_| finished),
            left: LeftOver::default(),
            next_at,
        }
    }

    fn check(now: &str, rows: &[RunRow], expect: &[&str]) {
        let found: Vec<String> = due_months(rows, at(now)).iter().map(Month::to_string).collect();
        assert_eq!(found, expect, "at {now}: {rows:?}");
    }

    #[test]
    fn a_month_is_due_once_an_hour_after_its_end() {
        // Times are months with hours.
        check("2026-12 0", &[], &["2026-10"]);
        check("2026-12 1", &[], &["2026-11"]);
        let done = row("2026-11", "2026-12 1", true, "2026-12 1");
        check("2026-12 2", std::slice::from_ref(&done), &[]);
        check("2027-01 0", std::slice::from_ref(&done), &[]);
        check("2027-01 1", std::slice::from_ref(&done), &["2026-12"]);
        check("2027-03 1", &[done], &["2026-12", "2027-01", "2027-02"]);
        check("1970-01 5", &[], &[]);
    }

    #[test]
    fn who_was_left_is_tried_again_in_time() {
        let left = row("2026-11", "2026-12 1", false, "2026-12 3");
        check("2026-12 2", std::slice::from_ref(&left), &["2026-11"]);
        check("2026-12 3", &[left], &["2026-11"]);
        let mut soon = row("2026-11", "2026-12 1", false, "2026-12 2");
        soon.next_at = at("2026-12 2").plus_ms(WAIT_MS);
        check("2026-12 2", &[soon], &[]);
        check("2029-01 1", &[row("2026-11", "2026-12 1", false, "2026-12 1")], &TWELVE);
    }

    const TWELVE: [&str; 12] = [
        "2028-01", "2028-02", "2028-03", "2028-04", "2028-05", "2028-06", "2028-07", "2028-08", "2028-09", "2028-10", "2028-11", "2028-12",
    ];

    #[test]
    fn what_a_clock_that_was_wrong_has_run_is_run_again() {
        let wrong = [row("2027-05", "2027-06 1", true, "2027-06 1"), row("2026-11", "2027-06 1", true, "2027-06 1")];
        check("2026-12 1", &wrong, &["2026-11"]);
        let true_one = row("2026-10", "2026-11 1", true, "2026-11 1");
        check("2026-11 9", &[wrong[0].clone(), wrong[1].clone(), true_one], &[]);
    }
}
