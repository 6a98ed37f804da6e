//! Taxes: which one is added to whose invoices, from which month on.
//!
//! **Invariant:** a rule never changes a document that was issued; a document carries the tax that it was issued with.

use freehold_domain::{Error, TenantId};
use freehold_ledger::tax::{TaxRate, Treatment};
use freehold_ledger::{Month, Tax};
use freehold_store::{BuyerRow, TaxChoice, TaxRuleRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::credit::said;
use super::invoices::read_month;
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;

const NAME_CHARS_MAX: usize = 40;
const NOTE_CHARS_MAX: usize = 1000;
const TAX_ID_CHARS_MAX: usize = 40;
const BUYER_CHARS_MAX: usize = 500;
const BUYER_LINES_MAX: usize = 8;
/// The most rules that are shown.
const RULES_MAX: u32 = 100;
const REVERSE_CHARGE: &str = "Reverse charge: the buyer owes the tax.";

/// A rule about taxes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaxRuleView {
    /// The first month that it holds for.
    pub from: String,
    /// `taxed`, `exempt`, `reverse_charge`, `none` or, of a tenant, `inherit`.
    pub treatment: String,
    /// What the tax is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its rate in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "19")]
    pub rate_percent: Option<String>,
    /// What stands on documents because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The tax on what a tenant buys, or on what tenants buy that have no rule of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaxView {
    /// The tenant; left out: what holds for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What holds this month.
    pub now: TaxRuleView,
    /// Whether it is what holds for all tenants.
    pub inherited: bool,
    /// The tenant's number with the tax office.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tax_id: String,
    /// The tenant's legal name and address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub billed_to: String,
    /// Its own rules, those of the latest months first. Only operators see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<TaxRuleView>,
}

/// A rule to set. It replaces the rule of the same month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxChange {
    /// `taxed` at a rate; `exempt`, for the reason in `note`; `reverse_charge`: the buyer owes it; `none`: documents say
    /// nothing of a tax; `inherit` (of a tenant): what holds for all.
    #[schema(pattern = "^(taxed|exempt|reverse_charge|none|inherit)$", example = "taxed")]
    pub treatment: String,
    /// The first month that it holds for; this month when it is left out. Invoices of that month and of later ones that are
    /// not issued yet have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])$", example = "2026-11")]
    pub from: Option<String>,
    /// What the tax is called, 1 to 40 characters; `VAT` when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 40, example = "VAT")]
    pub name: Option<String>,
    /// The rate in percent, with at most four decimals. `taxed` takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{1,3}([.][0-9]{1,4})?$", example = "19")]
    pub rate_percent: Option<String>,
    /// What has to stand on documents because of it. `exempt` takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub note: Option<String>,
    /// The tenant's number with the tax office, at most 40 characters; stays as it is when it is left out. `reverse_charge`
    /// takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 40, example = "DE123456789")]
    pub tax_id: Option<String>,
    /// The tenant's legal name and address, at most 8 lines; stays as it is when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub billed_to: Option<String>,
}

fn is_text(text: &str, chars_max: usize, lines: bool) -> bool {
    text.chars().count() <= chars_max && !text.chars().any(|c| c.is_control() && !(lines && c == '\n'))
}

/// Reads a text of a form; what is around it goes.
fn read_text(param: &str, text: Option<&str>, chars_max: usize, lines: bool) -> Result<Option<String>, Error> {
    let Some(text) = text.map(str::trim) else { return Ok(None) };
    if is_text(text, chars_max, lines) {
        return Ok(Some(text.to_owned()));
    }
    Err(Error::invalid(param, format!("`{param}` is at most {chars_max} characters, without control characters.")))
}

fn read_rate(text: &str) -> Result<TaxRate, Error> {
    text.trim().parse().map_err(|error| Error::invalid("rate_percent", format!("{error}.")))
}

fn read_choice(change: &TaxChange, of_tenant: bool) -> Result<TaxChoice, Error> {
    let treatment = match (change.treatment.as_str(), of_tenant) {
        ("taxed", _) => Treatment::Taxed,
        ("exempt", _) => Treatment::Exempt,
        ("reverse_charge", true) => Treatment::ReverseCharge,
        ("reverse_charge", false) => {
            return Err(Error::invalid("treatment", "`reverse_charge` is for a tenant with a tax id: name it with `?tenant=`."));
        }
        ("none", _) => return Ok(TaxChoice::None),
        ("inherit", true) => return Ok(TaxChoice::Inherit),
        ("inherit", false) => return Err(Error::invalid("treatment", "`inherit` is for a tenant: name it with `?tenant=`.")),
        _ => return Err(Error::invalid("treatment", "`treatment` is `taxed`, `exempt`, `reverse_charge`, `none` or `inherit`.")),
    };
    let rate_percent = match (treatment, change.rate_percent.as_deref()) {
        (Treatment::Taxed, Some(rate)) => read_rate(rate)?,
        (Treatment::Taxed, None) => return Err(Error::invalid("rate_percent", "`taxed` takes a rate: `\"rate_percent\": \"19\"`.")),
        (_, None) => TaxRate::ZERO,
        (_, Some(rate)) if read_rate(rate)? == TaxRate::ZERO => TaxRate::ZERO,
        (_, Some(_)) => return Err(Error::invalid("rate_percent", "Only what is `taxed` has a rate: leave it out.")),
    };
    let name = read_text("name", change.name.as_deref(), NAME_CHARS_MAX, false)?.unwrap_or_else(|| "VAT".to_owned());
    if name.is_empty() {
        return Err(Error::invalid("name", "`name` is what the tax is called, such as VAT."));
    }
    let note = read_text("note", change.note.as_deref(), NOTE_CHARS_MAX, true)?.unwrap_or_default();
    let note = match (treatment, note.is_empty()) {
        (Treatment::Exempt, true) => {
            return Err(Error::invalid("note", "`exempt` takes a `note`: the reason, as it has to stand on the invoice."));
        }
        (Treatment::ReverseCharge, true) => REVERSE_CHARGE.to_owned(),
        _ => note,
    };
    Ok(TaxChoice::Tax(Tax { treatment, name, rate_percent, note }))
}

fn read_buyer(change: &TaxChange, before: BuyerRow) -> Result<BuyerRow, Error> {
    let tax_id = read_text("tax_id", change.tax_id.as_deref(), TAX_ID_CHARS_MAX, false)?.unwrap_or(before.tax_id);
    let lines = read_text("billed_to", change.billed_to.as_deref(), BUYER_CHARS_MAX, true)?.unwrap_or(before.lines);
    if lines.lines().count() > BUYER_LINES_MAX {
        return Err(Error::invalid("billed_to", format!("`billed_to` is at most {BUYER_LINES_MAX} lines.")));
    }
    Ok(BuyerRow { tax_id, lines })
}

fn rule_view(from: Month, choice: &TaxChoice) -> TaxRuleView {
    let (treatment, tax) = match choice {
        TaxChoice::Tax(tax) => (tax.treatment.as_str(), Some(tax)),
        TaxChoice::None => ("none", None),
        TaxChoice::Inherit => ("inherit", None),
    };
    TaxRuleView {
        from: from.to_string(),
        treatment: treatment.to_owned(),
        name: tax.map(|tax| tax.name.clone()),
        rate_percent: tax.filter(|tax| tax.treatment == Treatment::Taxed).map(|tax| tax.rate_percent.to_string()),
        note: tax.map(|tax| tax.note.clone()).filter(|note| !note.is_empty()),
    }
}

/// The rule among these, the latest months first, that holds in a month.
fn holding(rules: &[TaxRuleRow], month: Month) -> Option<&TaxRuleRow> {
    rules.iter().find(|rule| rule.from <= month)
}

impl Control {
    /// The tax on what a tenant buys; without one, for an operator, what holds for all.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see.
    pub async fn tax(&self, actor: &Actor, tenant: Option<&str>) -> Result<TaxView, Error> {
        let tenant = self.taxed_tenant(actor, tenant).await?;
        permit(actor, tenant.map_or(Action::ManagePrices, Action::SeeBilling))?;
        self.tax_of(tenant, actor.is_operator()).await
    }

    async fn taxed_tenant(&self, actor: &Actor, tenant: Option<&str>) -> Result<Option<TenantId>, Error> {
        match tenant {
            None if actor.is_operator() => Ok(None),
            text => self.billed_tenant(actor, text).await.map(Some),
        }
    }

    async fn tax_of(&self, tenant: Option<TenantId>, with_rules: bool) -> Result<TaxView, Error> {
        let month = Month::of(self.now());
        let (own, all, buyer) = self
            .store(move |store| {
                let own = if tenant.is_some() { store.tax_rules(tenant, RULES_MAX)? } else { Vec::new() };
                let buyer = tenant.map(|tenant| store.buyer(tenant)).transpose()?.unwrap_or_default();
                Ok((own, store.tax_rules(None, RULES_MAX)?, buyer))
            })
            .await?;
        let of_its_own = holding(&own, month).filter(|rule| rule.choice != TaxChoice::Inherit);
        let holds = of_its_own.or_else(|| holding(&all, month));
        let now = holds.map_or_else(|| rule_view(month, &TaxChoice::None), |rule| rule_view(rule.from, &rule.choice));
        let rules = if tenant.is_some() { own.as_slice() } else { all.as_slice() };
        let rules = rules.iter().filter(|_| with_rules).map(|rule| rule_view(rule.from, &rule.choice)).collect();
        let inherited = tenant.is_some() && of_its_own.is_none();
        Ok(TaxView { tenant, now, inherited, tax_id: buyer.tax_id, billed_to: buyer.lines, rules })
    }

    /// Sets the tax on what a tenant buys, or on what tenants buy that have no rule of their own.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `not_found`, `invalid_request`.
    pub async fn set_tax(&self, actor: &Actor, tenant: Option<&str>, change: TaxChange) -> Result<TaxView, Error> {
        let tenant = self.taxed_tenant(actor, tenant).await?;
        permit(actor, Action::ManagePrices)?;
        let from = change.from.as_deref().map(|text| read_month(text).map_err(|error| error.with_param("from"))).transpose()?;
        let from = from.unwrap_or_else(|| Month::of(self.now()));
        let choice = read_choice(&change, tenant.is_some())?;
        let buyer = match tenant {
            Some(tenant) => Some(read_buyer(&change, self.store(move |store| store.buyer(tenant)).await?)?),
            None if change.tax_id.is_some() || change.billed_to.is_some() => {
                return Err(Error::invalid("tax_id", "A tax id and an address are a tenant's: name it with `?tenant=`."));
            }
            None => None,
        };
        let is_reversed = matches!(&choice, TaxChoice::Tax(tax) if tax.treatment == Treatment::ReverseCharge);
        if is_reversed && buyer.as_ref().is_none_or(|buyer| buyer.tax_id.is_empty()) {
            return Err(Error::invalid("tax_id", "`reverse_charge` takes the tenant's tax id, which stands on its invoices."));
        }
        let rule = TaxRuleRow { tenant, from, choice };
        let view = rule_view(from, &rule.choice);
        let data = json!({"from": view.from, "treatment": view.treatment, "name": view.name, "rate_percent": view.rate_percent});
        let subject = tenant.map_or_else(|| "all".to_owned(), |tenant| tenant.to_string());
        let (event, now) = (self.event(Some(&actor.by()), tenant, "tax.changed", &subject, data), self.now());
        self.store(move |store| store.set_tax(&rule, buyer.as_ref(), now, said(&event))).await?;
        self.tax_of(tenant, true).await
    }
}
