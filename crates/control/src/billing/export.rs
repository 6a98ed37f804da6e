//! Usage of a month as rows of FOCUS 1.2, written as it is read.
//!
//! **Invariant:** a page of records and what the client has not read yet is all that is in memory.

use std::collections::HashMap;
use std::io::{self, Write};

use bytes::Bytes;
use freehold_domain::{Error, KeyId, MoneyError, NanoUnits, TenantId};
use freehold_ledger::focus::{CsvWriter, FocusError, Names, ParquetWriter, Row, Seller, TaxCharge, tax_row, usage_rows};
use freehold_ledger::invoices::{Invoice, Totals};
use freehold_ledger::{Month, Prices, UsageRecord};
use freehold_store::{RecordKind, Store, UsageRow};
use tokio::sync::mpsc;

use super::invoices::{LATE_MONTHS, read_month};
use super::meter::FREE_NUMBER;
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;

const RECORDS_AT_ONCE: u32 = 500;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 8;
const PIECE_LEN: usize = 64 << 10;

/// In which form an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// A piece of an export, or why it breaks off.
pub type Piece = Result<Bytes, io::Error>;

/// Hands what is written to whoever reads the pieces.
struct Pipe {
    pieces: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl Pipe {
    fn send(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_LEN {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Writer {
    Csv(CsvWriter<Pipe>),
    Parquet(ParquetWriter<Pipe>),
}

impl Writer {
    fn new(format: ExportFormat, pipe: Pipe) -> Result<Self, FocusError> {
        match format {
            ExportFormat::Csv => CsvWriter::new(pipe).map(Self::Csv),
            ExportFormat::Parquet => ParquetWriter::new(pipe).map(Self::Parquet),
        }
    }

    fn write(&mut self, row: Row) -> Result<(), FocusError> {
        match self {
            Self::Csv(writer) => writer.write(&row),
            Self::Parquet(writer) => writer.write(row),
        }
    }

    fn finish(self) -> Result<(), FocusError> {
        let mut pipe = match self {
            Self::Csv(writer) => writer.finish()?,
            Self::Parquet(writer) => writer.finish()?,
        };
        Ok(pipe.send()?)
    }
}

/// What an export is made of.
struct Export {
    tenant: TenantId,
    tenant_name: String,
    month: Month,
    seller: Seller,
    prices: std::sync::Arc<Prices>,
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Focus(#[from] FocusError),
    #[error(transparent)]
    Store(#[from] freehold_store::StoreError),
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("there is no version {0} of the price list")]
    NoPrices(u32),
}

/// Which invoices charged for a month: the month's own, and later ones for what came after it. Each charged for so many
/// records of a kind as its line says, in the order in which they were written.
struct Charged(HashMap<RecordKind, Vec<(i64, String)>>);

impl Charged {
    fn read(store: &Store, tenant: TenantId, month: Month, invoices: &[Invoice]) -> Result<Self, ExportError> {
        let mut counts: HashMap<RecordKind, Vec<(u64, String)>> = HashMap::new();
        for invoice in invoices {
            let mut totals = Totals::new();
            totals.add_invoiced(invoice, month)?;
            for total in totals.iter() {
                let kind = RecordKind { meter: total.meter.clone(), name: total.name.clone(), price_number: total.price_number };
                let before = counts.entry(kind).or_default();
                let so_far = before.last().map_or(0, |(count, _)| *count);
                before.push((so_far.saturating_add(total.records), invoice.number.clone()));
            }
        }
        let mut places = HashMap::new();
        for (kind, counts) in counts {
            let (counts, numbers): (Vec<u64>, Vec<String>) = counts.into_iter().unzip();
            let found = store.places(tenant, month, &kind, &counts)?;
            places.insert(kind, found.into_iter().zip(numbers).collect());
        }
        Ok(Self(places))
    }

    /// The number of the invoice that a record is on, if it is on one yet.
    fn number(&self, row: &UsageRow) -> Option<String> {
        let UsageRecord { subject, price_number, .. } = &row.record;
        let kind = RecordKind { meter: subject.meter().to_owned(), name: subject.name().to_owned(), price_number: *price_number };
        let (_, number) = self.0.get(&kind)?.iter().find(|(last, _)| row.seq <= *last)?;
        Some(number.clone())
    }
}

impl Export {
    fn run(&self, store: &Store, mut writer: Writer) -> Result<(), ExportError> {
        let last = Month::from_index(i64::from(self.month.index()) + i64::from(LATE_MONTHS));
        let invoices = store.invoices_as_issued(self.tenant, (self.month, last))?;
        let charged = Charged::read(store, self.tenant, self.month, &invoices)?;
        let span = (self.month.start(), self.month.end());
        let mut keys: HashMap<KeyId, Option<String>> = HashMap::new();
        let mut after = None;
        loop {
            let rows = store.posted_usage(self.tenant, span, after, RECORDS_AT_ONCE)?;
            let Some(last) = rows.last() else { break };
            after = Some((last.record.started, last.seq));
            // What was free has no price to show.
            for row in rows.into_iter().filter(|row| row.record.price_number != FREE_NUMBER) {
                let invoice = charged.number(&row);
                let record = row.record;
                let list = self.prices.number(record.price_number).ok_or(ExportError::NoPrices(record.price_number))?;
                let key = match record.key {
                    None => None,
                    Some(id) => match keys.get(&id) {
                        Some(name) => name.clone(),
                        None => keys.entry(id).or_insert(store.key(id)?.map(|row| row.name)).clone(),
                    },
                };
                let names = Names { tenant: self.tenant_name.clone(), key, invoice, ..Names::default() };
                for focus in usage_rows(&record, list, &self.seller, &names)? {
                    writer.write(focus)?;
                }
            }
        }
        let own = invoices.iter().find(|invoice| invoice.month == self.month);
        if let Some((document, tax)) = own.and_then(|document| Some((document, document.tax.as_ref()?))) {
            let charge = TaxCharge {
                tenant: self.tenant,
                amount: document.tax_amount,
                currency: document.currency,
                month: self.month,
                description: tax.label(),
            };
            if charge.amount > NanoUnits::ZERO {
                let invoice = Some(document.number.clone());
                let names = Names { tenant: self.tenant_name.clone(), invoice, ..Names::default() };
                writer.write(tax_row(&charge, &self.seller, &names))?;
            }
        }
        Ok(writer.finish()?)
    }
}

impl Control {
    /// A month of a tenant's usage as rows of FOCUS 1.2.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `invalid_request` for a month or a form that is none.
    pub async fn export_usage(
        &self,
        actor: &Actor,
        tenant: Option<&str>,
        month: &str,
        format: ExportFormat,
    ) -> Result<mpsc::Receiver<Piece>, Error> {
        let tenant = self.billed_tenant(actor, tenant).await?;
        permit(actor, Action::SeeBilling(tenant))?;
        let month = read_month(month)?;
        let row = self.store(move |store| store.tenant(tenant)).await?.ok_or_else(|| crate::auth::not_found("tenant"))?;
        let name = self.settings().billing.seller.lines().next().unwrap_or("Freehold").to_owned();
        let seller = Seller { name, service: "Freehold".to_owned(), region: None };
        let prices = self.shared.billing.meter().prices();
        self.settle_usage().await;
        let export = Export { tenant, tenant_name: row.name.to_string(), month, seller, prices };
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let shared = std::sync::Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let pipe = Pipe { pieces: sender.clone(), buffer: Vec::new() };
            let done = Writer::new(format, pipe).map_err(ExportError::from).and_then(|writer| export.run(&shared.store, writer));
            if let Err(error) = done
                && !sender.is_closed()
            {
                tracing::error!(%error, "an export broke off");
                // The client sees that the file is not whole.
                let _gone = sender.blocking_send(Err(io::Error::other("the export broke off")));
            }
        });
        Ok(pieces)
    }
}
