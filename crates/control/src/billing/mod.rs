//! What is used, what it costs, who may go on: metering, holds, limits, prices, credit, invoices.
//!
//! Money is in three places. In memory is the [`Meter`]: accounts with their holds and the limits in use; a request
//! is admitted there without a look at the database. In the usage log ([`log`]) are the records of answers that may
//! end, written by one thread ([`commit`]) in groups. In the database are usage records and transfers, written by
//! another one ([`posting`]) a little later. Between them is the delivery journal ([`journal`]), which knows which
//! answers' ends were handed to the kernel. docs/billing.md says what is billed when.
//!
//! **Invariant:** an end leaves the service after its record is in the log; a hold ends on every way out.

mod admit;
mod changes;
mod commit;
mod credit;
mod export;
mod invoices;
mod journal;
mod limits;
mod log;
mod meter;
mod posting;
mod prices;
mod runs;
mod taxes;
mod usage;
mod vouchers;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use freehold_domain::{Currency, Error, ErrorCode, TenantId};
use freehold_ledger::prices::{PriceError, Prices};
use freehold_store::{Store, StoreError};

pub use admit::{Ask, Ticket};
pub(crate) use commit::Ended;
pub use commit::Receipt;
pub use credit::{BalanceView, LedgerView, NewCredit, TermsChange, TransferView};
pub use export::{ExportFormat, Piece};
pub use invoices::{Document, InvoiceView, NewCreditNote};
pub use limits::{LimitsChange, LimitsView};
pub use prices::{NewPrices, PricesView};
pub use runs::{InvoiceRun, InvoiceRunView, LeftView, NotInvoiced, RunView, RunsView, Upcoming};
pub use taxes::{TaxChange, TaxRuleView, TaxView};
pub use usage::{RecordView, RevenueRequest, UsageRequest, UsageRow, UsageView};
pub use vouchers::{NewVoucher, Redemption, VoucherView, VoucherWithCode};

use commit::{Job, Link};
use journal::Journal;
use log::UsageLog;
use meter::Meter;
use posting::Queue;

use crate::clock::Clock;
use crate::facade::{Control, Shared};
use crate::settings::Settings;

/// What is set about billing.
#[derive(Clone, Debug)]
pub struct BillingSettings {
    /// The currency of everything.
    pub currency: Currency,
    /// Who sells: the first line is the name, the others stand under it on invoices.
    pub seller: String,
    /// What stands at the end of every invoice.
    pub invoice_note: String,
    /// Days to pay an invoice.
    pub invoice_due_days: u32,
    /// Issue the invoices of each month when it is over.
    pub invoice_monthly: bool,
    /// Milliseconds within which usage is flushed to the disk; 0: before the end of its answer goes out.
    pub usage_flush_ms: u32,
    /// Days that usage records are kept.
    pub usage_retention_days: u32,
    /// Send alerts to addresses of this machine and of private networks too.
    pub webhook_private: bool,
}

impl Default for BillingSettings {
    fn default() -> Self {
        Self {
            currency: Currency::EUR,
            seller: "Freehold".to_owned(),
            invoice_note: String::new(),
            invoice_due_days: 14,
            invoice_monthly: true,
            usage_flush_ms: 0,
            usage_retention_days: 400,
            webhook_private: false,
        }
    }
}

/// What is in memory about money.
pub(crate) struct Billing {
    pub(crate) currency: Currency,
    meter: Mutex<Meter>,
    /// Held by whoever brings a tenant into memory, or changes what is in memory and on the disk.
    changing: tokio::sync::Mutex<()>,
    /// Held by whoever makes the invoices of a month.
    invoicing: tokio::sync::Mutex<()>,
    link: Arc<Link>,
    threads: Mutex<Option<Threads>>,
    webhook_secret: [u8; 32],
    webhook_wake: tokio::sync::Notify,
}

/// What the threads have for themselves.
struct Threads {
    jobs: mpsc::Receiver<Job>,
    log: UsageLog,
}

/// Why what was stored about money cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file in the data directory.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The price lists are not those of one service.
    #[error("the stored price lists: {0}")]
    Prices(#[from] PriceError),
    /// The option does not fit what was published.
    #[error("the option `currency` is {option}, but the published prices are in {published}: set it to that")]
    Currency {
        /// The option.
        option: Currency,
        /// The prices'.
        published: Currency,
    },
    /// The accounts are not consistent.
    #[error("the stored accounts: {0}")]
    Ledger(#[from] freehold_ledger::LedgerError),
}

impl Billing {
    /// Brings back what was stored, and settles what a crash left behind.
    pub(crate) fn open(settings: &Settings, store: &Store, clock: &Arc<dyn Clock>) -> Result<Self, BillingError> {
        let prices = Prices::restore(store.price_lists()?)?;
        let currency = settings.billing.currency;
        if let Some(list) = prices.all().last().filter(|list| list.currency != currency) {
            return Err(BillingError::Currency { option: currency, published: list.currency });
        }
        let (journal, delivered) = Journal::open(&settings.data_dir)?;
        let (mut posted, mut void) = store.recover_usage(&delivered)?;
        let log = UsageLog::open(&settings.data_dir, |logged| {
            let (more, less) = store.recover_logged(&logged, &delivered)?;
            (posted, void) = (posted + more, void + less);
            Ok(())
        })?;
        if posted + void > 0 {
            tracing::info!(posted, void, "usage that a crash left pending is settled");
        }
        journal.clear();
        let mut meter = Meter::new(currency, prices);
        for account in store.operator_accounts()?.into_iter().filter(|account| account.currency == currency) {
            meter.open_operator(account)?;
        }
        let (sender, jobs) = mpsc::channel();
        Ok(Self {
            currency,
            meter: Mutex::new(meter),
            changing: tokio::sync::Mutex::new(()),
            invoicing: tokio::sync::Mutex::new(()),
            link: Arc::new(Link::new(sender, Arc::new(Queue::default()), journal, Arc::clone(clock))),
            threads: Mutex::new(Some(Threads { jobs, log })),
            webhook_secret: webhooks::secret(&settings.data_dir)?,
            webhook_wake: tokio::sync::Notify::new(),
        })
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads that write. Once, when everything else is there.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let threads = shared.billing.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Threads { jobs, log }) = threads else { return Ok(()) };
    let allowed = posting::allowance(shared.settings.billing.usage_flush_ms);
    let (weak, queue, spare) = (Arc::downgrade(shared), Arc::clone(shared.billing.link.posting()), log.spare());
    std::thread::Builder::new().name("posting".to_owned()).spawn(move || posting::run(&weak, &queue, &spare, allowed))?;
    let weak = Arc::downgrade(shared);
    std::thread::Builder::new().name("ledger".to_owned()).spawn(move || commit::run(&weak, &jobs, log, allowed.is_none()))?;
    Ok(())
}

fn price_error(error: PriceError) -> Error {
    match error {
        PriceError::NoPrice { subject, .. } => {
            let message = format!("`{subject}` has no price, so it is not sold: the operator can publish one (`freehold prices set`).");
            Error::new(ErrorCode::ModelNotFound, message).with_param("model")
        }
        other => Error::internal(other),
    }
}

impl Control {
    /// Waits until the usage of everything that has ended is in the database, and on the disk. Before it is read, and before
    /// the service ends. False if it cannot be brought there now: it is in the log, and is tried again.
    pub async fn settle_usage(&self) -> bool {
        let (sender, done) = tokio::sync::oneshot::channel();
        self.shared.billing.link.send(Job::Settle(sender));
        // An error means that the thread is gone, and with it what it had to write.
        done.await.unwrap_or(false)
    }

    /// Small work that is done now and then: forgets idle tenants' windows and old usage records.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_billing(&self) -> Result<(), Error> {
        // A month can be exported until it is invoiced.
        const RETENTION_DAYS_MIN: u32 = 62;
        const IDLE_MS: i64 = 60 * 60 * 1000;
        const BATCH: u32 = 1000;
        const BATCHES_MAX: usize = 50;
        let now = self.now();
        // What is forgotten must not be in the log any more, which is read again at the next start.
        let is_settled = self.settle_usage().await;
        self.shared.billing.meter().sweep(now, IDLE_MS);
        if !is_settled {
            return Ok(());
        }
        let days = i64::from(self.settings().billing.usage_retention_days.max(RETENTION_DAYS_MIN));
        let before = now.plus_ms(-days * 24 * 60 * 60 * 1000);
        for _ in 0..BATCHES_MAX {
            if self.store(move |store| store.forget_usage(before, BATCH)).await? < BATCH as usize {
                break;
            }
        }
        Ok(())
    }

    /// The tenant that a billing call is about: the one that is named, or the caller's own.
    async fn billed_tenant(&self, actor: &crate::Actor, tenant: Option<&str>) -> Result<TenantId, Error> {
        match tenant {
            Some(text) => Ok(self.visible_tenant(actor, text).await?.id),
            None if actor.is_operator() => Err(Error::invalid("tenant", "Say for which tenant, by id or name: `?tenant=`.")),
            None => crate::auth::own_tenant(actor),
        }
    }
}
