//! Contracts from what providers' billing APIs return, and from CSV.
//!
//! Knows the shapes of AWS `DescribeSavingsPlans`, of Azure's `Microsoft.Consumption/lots` and
//! `Microsoft.BillingBenefits` MACCs, and FOCUS column names. What it cannot use is listed with a reason.
//!
//! **Invariant:** every entry of the input becomes a contract, a skipped entry with a reason, or an error.

use serde_json::Value;
use time::Date;

use super::{Amount, Contract, ContractError, EarlyTermination, dates};

/// What an import found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// The contracts.
    pub contracts: Vec<Contract>,
    /// Entries left out, each with its name and the reason.
    pub skipped: Vec<String>,
    /// What kind of input it was, in words.
    pub recognised: &'static str,
}

/// Reads an import whose kind is recognised from its content: JSON of AWS or Azure, otherwise CSV.
///
/// # Errors
/// When the content is none of these, or an entry in it cannot be understood.
pub fn import(text: &str) -> Result<Imported, ContractError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => import_json(text),
        Some(_) => import_csv(text),
        None => Err(ContractError::NotABook("the file is empty".to_owned())),
    }
}

/// Reads the JSON of `DescribeSavingsPlans`, of Azure lots or of Azure MACCs; several pages may stand in one array.
///
/// # Errors
/// When it is none of these, or an entry lacks a date or has a bad amount.
pub fn import_json(text: &str) -> Result<Imported, ContractError> {
    let value: Value = serde_json::from_str(text).map_err(|error| ContractError::NotABook(format!("invalid JSON: {error}")))?;
    let mut found = Imported::default();
    read_page(&value, &mut found)?;
    if found.recognised.is_empty() {
        let why = "the JSON has neither \"savingsPlans\" (aws savingsplans describe-savings-plans) nor \"value\" with \
                   Microsoft.Consumption/lots or Microsoft.BillingBenefits MACCs";
        return Err(ContractError::NotABook(why.to_owned()));
    }
    Ok(found)
}

fn read_page(value: &Value, found: &mut Imported) -> Result<(), ContractError> {
    if let Some(pages) = value.as_array() {
        return pages.iter().try_for_each(|page| match page.is_object() && is_azure_entry(page) {
            true => read_azure(page, found),
            false if page.get("savingsPlanId").is_some() => read_savings_plan(page, found),
            false => read_page(page, found),
        });
    }
    if let Some(plans) = value.get("savingsPlans").and_then(Value::as_array) {
        found.recognised = "AWS Savings Plans";
        return plans.iter().try_for_each(|plan| read_savings_plan(plan, found));
    }
    if let Some(entries) = value.get("value").and_then(Value::as_array) {
        found.recognised = "Azure commitments";
        return entries.iter().try_for_each(|entry| read_azure(entry, found));
    }
    if is_azure_entry(value) {
        return read_azure(value, found);
    }
    Ok(())
}

fn is_azure_entry(value: &Value) -> bool {
    let kind = text_at(value, "type").unwrap_or_default().to_ascii_lowercase();
    kind.starts_with("microsoft.consumption/") || kind.starts_with("microsoft.billingbenefits/")
}

fn text_at<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

fn row_error(place: &str, why: impl Into<String>) -> ContractError {
    ContractError::Row { place: place.chars().take(120).collect(), why: why.into() }
}

fn date_at(value: &Value, key: &str, place: &str) -> Result<Date, ContractError> {
    let text = text_at(value, key).ok_or_else(|| row_error(place, format!("\"{key}\" is missing")))?;
    dates::parse(text).map_err(|error| row_error(place, format!("\"{key}\": {error}")))
}

fn amount_at(value: &Value, key: &str, place: &str) -> Result<Option<Amount>, ContractError> {
    let text = match value.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Ok(None),
    };
    text.parse().map(Some).map_err(|error| row_error(place, format!("\"{key}\": {error}")))
}

fn read_savings_plan(plan: &Value, found: &mut Imported) -> Result<(), ContractError> {
    found.recognised = "AWS Savings Plans";
    let id = text_at(plan, "savingsPlanId")
        .or_else(|| text_at(plan, "savingsPlanArn"))
        .ok_or_else(|| row_error("a Savings Plan", "\"savingsPlanId\" is missing"))?;
    let start = date_at(plan, "start", id)?;
    let mut contract = Contract::new(id, "aws", start, date_at(plan, "end", id)?);
    contract.contract_id = text_at(plan, "savingsPlanArn").map(str::to_owned);
    let kind = text_at(plan, "savingsPlanType").unwrap_or("unknown");
    contract.commitment_type = Some(format!("AWS Savings Plan ({kind})"));
    contract.description = text_at(plan, "description").map(str::to_owned).or_else(|| savings_plan_title(plan, kind));
    contract.currency = text_at(plan, "currency").map(str::to_owned);
    contract.status = text_at(plan, "state").map(str::to_owned);
    if let Some(hourly) = amount_at(plan, "commitment", id)? {
        let seconds = plan.get("termDurationInSeconds").and_then(Value::as_i64).filter(|seconds| *seconds > 0);
        let seconds = seconds.unwrap_or_else(|| dates::days_between(contract.period_start, contract.period_end) * 86_400);
        contract.cost = hourly.times(seconds, 3_600);
        contract.note = Some(format!("{hourly} per hour; {}", text_at(plan, "paymentOption").unwrap_or("payment option not stated")));
    }
    let returnable = text_at(plan, "returnableUntil").map(dates::parse).transpose();
    let returnable = returnable.map_err(|error| row_error(id, format!("\"returnableUntil\": {error}")))?;
    contract.returnable_until = returnable.filter(|until| *until > start);
    contract.auto_renew = Some(false);
    contract.early_termination = Some(EarlyTermination::ShareOfRemaining(100));
    contract.source = Some("AWS DescribeSavingsPlans".to_owned());
    found.contracts.push(contract);
    Ok(())
}

fn savings_plan_title(plan: &Value, kind: &str) -> Option<String> {
    let place = [text_at(plan, "ec2InstanceFamily"), text_at(plan, "region")];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    Some(if place.is_empty() { format!("{kind} Savings Plan") } else { format!("{kind} Savings Plan, {}", place.join(", ")) })
}

fn read_azure(entry: &Value, found: &mut Imported) -> Result<(), ContractError> {
    found.recognised = "Azure commitments";
    let name = text_at(entry, "name").or_else(|| text_at(entry, "id"));
    let name = name.ok_or_else(|| row_error("an Azure entry", "\"name\" is missing"))?;
    let Some(properties) = entry.get("properties") else {
        return Err(row_error(name, "\"properties\" is missing"));
    };
    if properties.get("commitment").is_some() {
        return read_macc(entry, name, properties, found);
    }
    read_lot(entry, name, properties, found)
}

fn read_lot(entry: &Value, name: &str, properties: &Value, found: &mut Imported) -> Result<(), ContractError> {
    let source = text_at(properties, "source").unwrap_or("unknown");
    let title = match source {
        "ConsumptionCommitment" => "Azure consumption commitment (MACC)",
        "PurchasedCredit" => "Azure prepayment",
        _ => {
            found.skipped.push(format!("{name}: source {source:?} is a credit, not a commitment"));
            return Ok(());
        }
    };
    let start = date_at(properties, "startDate", name)?;
    let mut contract = Contract::new(name, "azure", start, date_at(properties, "expirationDate", name)?);
    let original = properties.get("originalAmount").unwrap_or(&Value::Null);
    contract.cost = amount_at(original, "value", name)?;
    contract.currency = text_at(original, "currency").map(str::to_owned);
    contract.remaining = amount_at(properties.get("closedBalance").unwrap_or(&Value::Null), "value", name)?;
    contract.commitment_type = Some(title.to_owned());
    contract.contract_id = billing_account(text_at(entry, "id").unwrap_or_default());
    contract.status = text_at(properties, "status").map(str::to_owned);
    if source == "ConsumptionCommitment" {
        contract.early_termination = Some(EarlyTermination::ShareOfRemaining(100));
    }
    contract.note = text_at(properties, "poNumber").map(|number| format!("purchase order {number}"));
    contract.source = Some("Azure Microsoft.Consumption/lots".to_owned());
    found.contracts.push(contract);
    Ok(())
}

fn read_macc(entry: &Value, name: &str, properties: &Value, found: &mut Imported) -> Result<(), ContractError> {
    let start = date_at(properties, "startAt", name)?;
    let mut contract = Contract::new(name, "azure", start, date_at(properties, "endAt", name)?);
    let commitment = properties.get("commitment").unwrap_or(&Value::Null);
    contract.cost = amount_at(commitment, "amount", name)?;
    contract.currency = text_at(commitment, "currencyCode").map(str::to_owned);
    contract.description = text_at(properties, "displayName").map(str::to_owned);
    contract.commitment_type = Some("Azure consumption commitment (MACC)".to_owned());
    let account = text_at(properties, "billingAccountResourceId").or_else(|| text_at(entry, "id"));
    contract.contract_id = account.and_then(billing_account);
    contract.status = text_at(properties, "status").map(str::to_owned);
    contract.early_termination = Some(EarlyTermination::ShareOfRemaining(100));
    contract.note = Some(match text_at(properties, "automaticShortfall") {
        Some("Enabled") => "a shortfall is charged automatically at the end".to_owned(),
        _ => "ask how a shortfall is charged at the end".to_owned(),
    });
    contract.source = Some("Azure Microsoft.BillingBenefits MACC".to_owned());
    found.contracts.push(contract);
    Ok(())
}

fn billing_account(id: &str) -> Option<String> {
    let mut parts = id.split('/').skip_while(|part| !part.eq_ignore_ascii_case("billingAccounts"));
    parts.nth(1).filter(|account| !account.is_empty()).map(str::to_owned)
}

/// Reads CSV with a header line. Column names are FOCUS's (`ContractCommitmentPeriodEnd`) or those of the contracts
/// file (`period_end`), in any case and with any punctuation. Commas, semicolons and tabs separate.
///
/// # Errors
/// When a necessary column is missing, one is unknown, or a line cannot be understood; the line is named.
pub fn import_csv(text: &str) -> Result<Imported, ContractError> {
    let header = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|byte| header.bytes().filter(|found| found == byte).count());
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter.unwrap_or(b',')).flexible(false).trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = columns(&reader.headers().map_err(|error| row_error("line 1", error.to_string()))?.clone())?;
    let mut found = Imported { recognised: "CSV", ..Imported::default() };
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            row_error(&format!("line {line}"), "the number of columns differs from the header's, or a quote is open")
        })?;
        let place = format!("line {}", record.position().map_or(0, csv::Position::line));
        if record.iter().all(str::is_empty) {
            continue;
        }
        found.contracts.push(csv_contract(&columns, &record, &place)?);
        if found.contracts.len() > super::CONTRACTS_MAX {
            return Err(ContractError::TooMany);
        }
    }
    Ok(found)
}

/// A column that the CSV reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Provider,
    Description,
    ContractId,
    Category,
    Type,
    Cost,
    Currency,
    Quantity,
    Unit,
    PeriodStart,
    PeriodEnd,
    ContractPeriodStart,
    ContractPeriodEnd,
    Remaining,
    Status,
    NoticeDays,
    AutoRenew,
    RenewalMonths,
    EarlyTermination,
    DivertPercent,
    DivertNote,
    DataAct,
    SwitchingNotice,
    Note,
    /// A FOCUS column that says nothing a contract holds.
    Ignored,
}

fn columns(header: &csv::StringRecord) -> Result<Vec<Column>, ContractError> {
    let mut columns: Vec<Column> = Vec::new();
    for name in header {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let column = match plain.as_str() {
            "contractcommitmentid" | "id" => Column::Id,
            "provider" | "providername" | "serviceprovidername" => Column::Provider,
            "contractcommitmentdescription" | "description" => Column::Description,
            "contractid" => Column::ContractId,
            "contractcommitmentcategory" | "category" => Column::Category,
            "contractcommitmenttype" | "type" | "commitmenttype" => Column::Type,
            "contractcommitmentcost" | "cost" => Column::Cost,
            "billingcurrency" | "currency" => Column::Currency,
            "contractcommitmentquantity" | "quantity" => Column::Quantity,
            "contractcommitmentunit" | "unit" => Column::Unit,
            "contractcommitmentperiodstart" | "periodstart" | "start" => Column::PeriodStart,
            "contractcommitmentperiodend" | "periodend" | "end" => Column::PeriodEnd,
            "contractperiodstart" => Column::ContractPeriodStart,
            "contractperiodend" => Column::ContractPeriodEnd,
            "remaining" => Column::Remaining,
            "contractcommitmentlifecyclestatus" | "status" => Column::Status,
            "noticedays" | "notice" => Column::NoticeDays,
            "autorenew" => Column::AutoRenew,
            "renewalmonths" => Column::RenewalMonths,
            "earlytermination" | "earlyterminationfee" => Column::EarlyTermination,
            "divertpercent" => Column::DivertPercent,
            "divertnote" | "divertclause" => Column::DivertNote,
            "dataact" => Column::DataAct,
            "switchingnotice" => Column::SwitchingNotice,
            "note" => Column::Note,
            other if other.starts_with("contractcommitment") || other.starts_with('x') => Column::Ignored,
            "invoiceissuername" | "pricingcurrency" | "pricingcurrencycontractcommitmentcost" | "publishername" => Column::Ignored,
            _ => return Err(row_error("line 1", format!("column {name:?} is not known; FOCUS names or those of the contracts file are"))),
        };
        if column != Column::Ignored && columns.contains(&column) {
            return Err(row_error("line 1", format!("column {name:?} stands there twice")));
        }
        columns.push(column);
    }
    for (needed, name) in [
        (Column::Id, "ContractCommitmentId"),
        (Column::PeriodStart, "ContractCommitmentPeriodStart"),
        (Column::PeriodEnd, "ContractCommitmentPeriodEnd"),
    ] {
        if !columns.contains(&needed) {
            return Err(row_error("line 1", format!("column {name} is missing")));
        }
    }
    Ok(columns)
}

fn csv_contract(columns: &[Column], record: &csv::StringRecord, place: &str) -> Result<Contract, ContractError> {
    let cell = |wanted: Column| {
        let index = columns.iter().position(|column| *column == wanted)?;
        record.get(index).map(str::trim).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null"))
    };
    let text = |wanted| cell(wanted).map(str::to_owned);
    let read = |wanted, name: &str| {
        cell(wanted).map(|text| dates::parse(text).map_err(|error| row_error(place, format!("{name}: {error}")))).transpose()
    };
    let need = |date: Option<Date>, name: &str| date.ok_or_else(|| row_error(place, format!("{name} is empty")));
    let id = cell(Column::Id).ok_or_else(|| row_error(place, "ContractCommitmentId is empty"))?;
    let start = need(read(Column::PeriodStart, "period start")?, "ContractCommitmentPeriodStart")?;
    let end = need(read(Column::PeriodEnd, "period end")?, "ContractCommitmentPeriodEnd")?;
    let mut contract = Contract::new(id, cell(Column::Provider).unwrap_or("other").to_ascii_lowercase(), start, end);
    contract.description = text(Column::Description);
    contract.contract_id = text(Column::ContractId);
    contract.category = parsed(cell(Column::Category), place)?.unwrap_or_default();
    contract.commitment_type = text(Column::Type);
    contract.cost = parsed::<Amount>(cell(Column::Cost), place)?;
    contract.currency = text(Column::Currency);
    contract.quantity = parsed::<Amount>(cell(Column::Quantity), place)?;
    contract.unit = text(Column::Unit);
    contract.contract_period_start = read(Column::ContractPeriodStart, "contract period start")?;
    contract.contract_period_end = read(Column::ContractPeriodEnd, "contract period end")?;
    contract.remaining = parsed::<Amount>(cell(Column::Remaining), place)?;
    contract.status = text(Column::Status);
    contract.notice_days = parsed::<u32>(cell(Column::NoticeDays), place)?;
    contract.auto_renew = yes_no(cell(Column::AutoRenew), place)?;
    contract.renewal_months = parsed::<u32>(cell(Column::RenewalMonths), place)?;
    contract.early_termination = parsed::<EarlyTermination>(cell(Column::EarlyTermination), place)?;
    contract.divert_percent = parsed::<u8>(cell(Column::DivertPercent).map(|text| text.trim_end_matches('%')), place)?;
    contract.divert_note = text(Column::DivertNote);
    contract.data_act = yes_no(cell(Column::DataAct), place)?;
    contract.switching_notice = read(Column::SwitchingNotice, "switching notice")?;
    contract.note = text(Column::Note);
    contract.source = Some("CSV".to_owned());
    contract.check()?;
    Ok(contract)
}

fn parsed<T: std::str::FromStr>(cell: Option<&str>, place: &str) -> Result<Option<T>, ContractError>
where
    T::Err: std::fmt::Display,
{
    let refuse = |text: &str, error: String| row_error(place, if error.contains(text) { error } else { format!("{text:?}: {error}") });
    cell.map(|text| text.parse::<T>().map_err(|error| refuse(text, error.to_string()))).transpose()
}

fn yes_no(cell: Option<&str>, place: &str) -> Result<Option<bool>, ContractError> {
    cell.map(|text| match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" => Ok(true),
        "false" | "no" | "n" | "0" => Ok(false),
        _ => Err(row_error(place, format!("{text:?} is neither yes nor no"))),
    })
    .transpose()
}
