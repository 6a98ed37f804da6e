//! Which tax holds for whom from when, and what stands on a tenant's invoices beside its name.

use freehold_domain::{TenantId, Timestamp};
use freehold_ledger::{Month, Tax};
use rusqlite::{Connection, params};

use crate::columns::{Columns, all, corrupt, one};
use crate::connection::{Durability, Store};
use crate::error::StoreError;
use crate::trail::{self, Note};

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaxChoice {
    /// This tax.
    Tax(Tax),
    /// No tax, and no word of one.
    None,
    /// What holds for every tenant.
    Inherit,
}

impl TaxChoice {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Tax(_) => "tax",
            Self::None => "none",
            Self::Inherit => "inherit",
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxRuleRow {
    /// Whose; `None`: every tenant's that has none of its own.
    pub tenant: Option<TenantId>,
    /// The first month that it holds for.
    pub from: Month,
    /// What it says.
    pub choice: TaxChoice,
}

/// What stands on a tenant's invoices beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuyerRow {
    /// Its number with the tax office; empty: none is known.
    pub tax_id: String,
    /// Legal name and address; lines end with a newline.
    pub lines: String,
}

fn read(row: &Columns<'_>) -> Result<TaxRuleRow, StoreError> {
    let (choice, tax): (String, Option<String>) = (row.plain("choice")?, row.plain("tax")?);
    let choice = match (choice.as_str(), tax) {
        ("tax", Some(tax)) => TaxChoice::Tax(serde_json::from_str(&tax).map_err(|error| corrupt("tax", error))?),
        ("none", None) => TaxChoice::None,
        ("inherit", None) => TaxChoice::Inherit,
        (choice, _) => return Err(corrupt("choice", format!("`{choice}` does not fit the tax"))),
    };
    let tenant: String = row.plain("tenant_id")?;
    let tenant = if tenant.is_empty() { None } else { Some(tenant.parse().map_err(|error| corrupt("tenant_id", error))?) };
    Ok(TaxRuleRow { tenant, from: row.parsed("from_month")?, choice })
}

fn scope(tenant: Option<TenantId>) -> String {
    tenant.map(|tenant| tenant.to_string()).unwrap_or_default()
}

fn holds(connection: &Connection, tenant: Option<TenantId>, month: Month) -> Result<Option<TaxChoice>, StoreError> {
    let sql = "SELECT tenant_id, from_month, choice, tax FROM tax_rules WHERE tenant_id = ?1 AND from_month <= ?2 \
               ORDER BY from_month DESC LIMIT 1";
    Ok(one(connection, sql, params![scope(tenant), month.to_string()], read)?.map(|row| row.choice))
}

impl Store {
    /// The tax that holds for a tenant in a month, or for a tenant without a rule of its own.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tax(&self, tenant: Option<TenantId>, month: Month) -> Result<Option<Tax>, StoreError> {
        self.read(|connection| {
            let own = match tenant {
                Some(_) => holds(connection, tenant, month)?,
                None => None,
            };
            let choice = match own {
                None | Some(TaxChoice::Inherit) => holds(connection, None, month)?,
                own => own,
            };
            Ok(match choice {
                Some(TaxChoice::Tax(tax)) => Some(tax),
                _ => None,
            })
        })
    }

    /// The rules of a tenant, or those of every tenant without one, the newest first, up to `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tax_rules(&self, tenant: Option<TenantId>, limit: u32) -> Result<Vec<TaxRuleRow>, StoreError> {
        let sql = "SELECT tenant_id, from_month, choice, tax FROM tax_rules WHERE tenant_id = ?1 ORDER BY from_month DESC LIMIT ?2";
        self.read(|connection| all(connection, sql, params![scope(tenant), limit], read))
    }

    /// Writes a rule, in the place of one of the same month, and with it who the buyer is.
    ///
    /// # Errors
    /// [`StoreError::NoParent`] without such a tenant.
    pub fn set_tax(&self, rule: &TaxRuleRow, buyer: Option<&BuyerRow>, now: Timestamp, said: Note<'_>) -> Result<(), StoreError> {
        let tax = match &rule.choice {
            TaxChoice::Tax(tax) => Some(serde_json::to_string(tax).map_err(|error| corrupt("tax", error))?),
            TaxChoice::None | TaxChoice::Inherit => None,
        };
        self.write(Durability::Full, |transaction| {
            let sql = "INSERT INTO tax_rules (tenant_id, from_month, choice, tax, created_at) VALUES (?1, ?2, ?3, ?4, ?5) \
                       ON CONFLICT (tenant_id, from_month) DO UPDATE SET choice = excluded.choice, tax = excluded.tax, \
                       created_at = excluded.created_at";
            let values = params![scope(rule.tenant), rule.from.to_string(), rule.choice.as_str(), tax, now.unix_ms()];
            transaction.prepare_cached(sql)?.execute(values)?;
            if let (Some(tenant), Some(buyer)) = (rule.tenant, buyer) {
                let sql = "INSERT INTO buyers (tenant_id, tax_id, lines) VALUES (?1, ?2, ?3) \
                           ON CONFLICT (tenant_id) DO UPDATE SET tax_id = excluded.tax_id, lines = excluded.lines";
                transaction.prepare_cached(sql)?.execute(params![tenant.to_string(), buyer.tax_id, buyer.lines])?;
            }
            trail::insert(transaction, said.trail)
        })
    }

    /// What stands on a tenant's invoices beside its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn buyer(&self, tenant: TenantId) -> Result<BuyerRow, StoreError> {
        let sql = "SELECT tax_id, lines FROM buyers WHERE tenant_id = ?1";
        let read = |row: &Columns<'_>| Ok(BuyerRow { tax_id: row.plain("tax_id")?, lines: row.plain("lines")? });
        Ok(self.read(|connection| one(connection, sql, [tenant.to_string()], read))?.unwrap_or_default())
    }
}
