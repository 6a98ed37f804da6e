//! What posted usage costs, booked for many records together.
//!
//! Each record has a transfer of its own. The balances that the transfers move, and the days' sums, are added up first,
//! and written once for all records of a transaction.
//!
//! **Invariant:** balances and sums are written in the transaction that writes the transfers, or nothing is.

use std::collections::HashMap;

use freehold_domain::{AccountId, Currency, KeyId, TenantId};
use freehold_ledger::usage::Quantities;
use freehold_ledger::{AccountKind, UsageOutcome, UsageRecord, calendar};
use rusqlite::{Connection, params};

use crate::accounts::{account_id, insert_transfer, open_account};
use crate::columns::{corrupt, signed};
use crate::error::StoreError;

/// The place of a record in the days' sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place<'a> {
    tenant: TenantId,
    day: i64,
    key: Option<KeyId>,
    meter: &'static str,
    name: &'a str,
    price_number: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    requests: u64,
    failed: u64,
    billable: Quantities,
    amount: i64,
}

/// The charges of a transaction. They count when [`Charges::write`] was called.
pub(crate) struct Charges<'a, 'c> {
    connection: &'c Connection,
    balances: HashMap<AccountId, i64>,
    days: HashMap<Place<'a>, Sum>,
}

impl<'a, 'c> Charges<'a, 'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, balances: HashMap::new(), days: HashMap::new() }
    }

    /// Charges a record that is being posted, with the outcome that it has now.
    pub(crate) fn add(&mut self, record: &'a UsageRecord, outcome: UsageOutcome) -> Result<(), StoreError> {
        let amount = record.amount.get();
        if amount > 0 {
            let payer = self.account(AccountKind::Customer, record.tenant, record.currency)?;
            let payee = self.account(AccountKind::Revenue, record.tenant, record.currency)?;
            if !insert_transfer(self.connection, &record.charge(payer, payee), record.tenant, record.currency, "")? {
                // It was charged before, and its record is forgotten.
                return Ok(());
            }
            self.move_balance(payer, -amount)?;
            self.move_balance(payee, amount)?;
        }
        let place = Place {
            tenant: record.tenant,
            day: calendar::day_of(record.started),
            key: record.key,
            meter: record.subject.meter(),
            name: record.subject.name(),
            price_number: record.price_number,
        };
        let sum = self.days.entry(place).or_default();
        sum.requests += 1;
        sum.failed += u64::from(outcome == UsageOutcome::Failed);
        sum.billable = sum.billable.plus(&record.billable);
        sum.amount = sum.amount.checked_add(amount).ok_or_else(too_much)?;
        Ok(())
    }

    fn account(&mut self, kind: AccountKind, tenant: TenantId, currency: Currency) -> Result<AccountId, StoreError> {
        let id = account_id(kind, tenant, currency);
        if let std::collections::hash_map::Entry::Vacant(entry) = self.balances.entry(id) {
            open_account(self.connection, id, kind, tenant, currency)?;
            entry.insert(0);
        }
        Ok(id)
    }

    fn move_balance(&mut self, account: AccountId, change: i64) -> Result<(), StoreError> {
        let balance = self.balances.entry(account).or_default();
        *balance = balance.checked_add(change).ok_or_else(too_much)?;
        Ok(())
    }

    /// Writes the balances and the sums.
    pub(crate) fn write(self) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached("UPDATE accounts SET balance = balance + ?2 WHERE id = ?1")?;
        for (account, change) in self.balances {
            statement.execute(params![account.to_string(), change])?;
        }
        let sql = "INSERT INTO usage_daily (tenant_id, day, key_id, meter, name, price_number, requests, failed, input, cached, \
                   output, seconds, amount) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
                   ON CONFLICT (tenant_id, day, key_id, meter, name, price_number) DO UPDATE SET \
                   requests = requests + excluded.requests, failed = failed + excluded.failed, input = input + excluded.input, \
                   cached = cached + excluded.cached, output = output + excluded.output, seconds = seconds + excluded.seconds, \
                   amount = amount + excluded.amount";
        let mut statement = self.connection.prepare_cached(sql)?;
        for (place, sum) in self.days {
            statement.execute(params![
                place.tenant.to_string(),
                place.day,
                place.key.map(|key| key.to_string()).unwrap_or_default(),
                place.meter,
                place.name,
                place.price_number,
                signed(sum.requests),
                signed(sum.failed),
                signed(sum.billable.input),
                signed(sum.billable.cached),
                signed(sum.billable.output),
                signed(sum.billable.seconds),
                sum.amount
            ])?;
        }
        Ok(())
    }
}

fn too_much() -> StoreError {
    corrupt("amount", "the charges of one transaction are more than fits")
}
