//! `freehold invoice` and `tax`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::billing::{amount, query, rows};
use super::client::{Client, segment};
use super::output;

/// What can be done with invoices.
#[derive(Debug, Subcommand)]
pub enum InvoiceCommand {
    /// List invoices and credit notes
    List {
        /// Tenant whose invoices to list (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Show an invoice
    Show {
        /// Its id (`inv_...`)
        id: String,
    },
    /// Write an invoice to a file
    Download {
        /// Its id (`inv_...`)
        id: String,
        /// pdf, html or json
        #[arg(long, default_value = "pdf")]
        format: String,
        /// The file [default: the number, in this folder]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Invoice a month that is over (operators only)
    Run {
        /// The month, such as 2026-11
        month: String,
    },
    /// Show how far the invoices of the last months are, or who has none of a month yet (operators only)
    Runs {
        /// The month whose tenants without an invoice to list, such as 2026-11
        month: Option<String>,
    },
}

/// What can be done with taxes.
#[derive(Debug, Subcommand)]
pub enum TaxCommand {
    /// Show the tax that is added to invoices
    Show {
        /// The tenant (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// What holds for all tenants that have no rule of their own (operators only)
        #[arg(long, conflicts_with = "tenant")]
        all: bool,
    },
    /// Set the tax; documents that were issued stay as they are (operators only)
    Set(TaxRule),
}

/// A rule about taxes.
#[derive(Debug, Args)]
pub struct TaxRule {
    /// taxed, exempt, reverse_charge, none or, for a tenant, inherit
    treatment: String,
    /// The rate in percent, such as 19 or 8.875
    #[arg(long, value_name = "PERCENT")]
    rate: Option<String>,
    /// What the tax is called [default: VAT]
    #[arg(long)]
    name: Option<String>,
    /// What has to stand on the invoice because of it
    #[arg(long)]
    note: Option<String>,
    /// The first month that it holds for [default: this month]
    #[arg(long, value_name = "MONTH")]
    from: Option<String>,
    /// The tenant that it is for; all that have no rule of their own when it is left out
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The tenant's number with the tax office
    #[arg(long)]
    tax_id: Option<String>,
    /// The tenant's legal name and address; lines end with \n
    #[arg(long)]
    billed_to: Option<String>,
}

impl InvoiceCommand {
    /// Another tenant's invoices take the operator's key.
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::List { tenant: Some(_) } | Self::Run { .. } | Self::Runs { .. })
    }
}

impl TaxCommand {
    /// A tenant's key shows the tenant's own tax.
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::Show { tenant: Some(_), .. } | Self::Show { all: true, .. } | Self::Set(_))
    }
}

/// Runs `freehold invoice`.
pub async fn invoice(client: &Client, command: InvoiceCommand) -> anyhow::Result<ExitCode> {
    match command {
        InvoiceCommand::List { tenant } => {
            let invoices = client.get(&format!("/api/v1/invoices{}", query(&[("tenant", tenant.as_deref())]))).await?;
            if client.json {
                output::json(&invoices);
            } else {
                let row = |row: &Value| {
                    let total = format!("{} {}", amount(&row["total"]), output::cell(&row["currency"]));
                    let texts = ["id", "number", "month", "state"].map(|name| output::cell(&row[name]));
                    texts.into_iter().chain([total, amount(&row["tax"]), amount(&row["due"]), output::moment(&row["due_at"])]).collect()
                };
                let header = ["id", "number", "month", "state", "total", "tax", "due", "due until"];
                output::table(&header, rows(&invoices).map(row).collect());
            }
        }
        InvoiceCommand::Show { id } => {
            let invoice = client.get(&format!("/api/v1/invoices/{}", segment(&id))).await?;
            if client.json { output::json(&invoice) } else { show_invoice(&invoice) }
        }
        InvoiceCommand::Download { id, format, output: file } => {
            if !["pdf", "html", "json"].contains(&format.as_str()) {
                bail!("--format is pdf, html or json, not `{format}`");
            }
            let answer = client.send(Method::GET, &format!("/api/v1/invoices/{}?format={format}", segment(&id)), None).await?;
            let bytes = answer.bytes().await.context("the service's answer broke off")?;
            let file = file.unwrap_or_else(|| PathBuf::from(format!("{id}.{format}")));
            std::fs::write(&file, &bytes).with_context(|| format!("{} cannot be written", file.display()))?;
            output::note(&format!("{} is written.", file.display()));
        }
        InvoiceCommand::Run { month } => {
            let run = client.post("/api/v1/invoices/run", &json!({"month": month})).await?;
            if client.json { output::json(&run) } else { show_run(&run) }
        }
        InvoiceCommand::Runs { month: Some(month) } => {
            let left = all_left(client, &month).await?;
            if client.json {
                output::json(&left);
            } else {
                let row = |row: &Value| ["tenant", "state", "why"].map(|name| output::cell(&row[name])).to_vec();
                output::table(&["tenant", "state", "why"], rows(&left).map(row).collect());
            }
        }
        InvoiceCommand::Runs { month: None } => {
            let runs = client.get("/api/v1/invoices/runs").await?;
            if client.json { output::json(&runs) } else { show_runs(&runs) }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everybody who has no invoice of a month yet.
async fn all_left(client: &Client, month: &str) -> anyhow::Result<Value> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let query = query(&[("limit", Some("1000")), ("after", after.as_deref())]);
        let page = client.get(&format!("/api/v1/invoices/runs/{}{query}", segment(month))).await?;
        all.extend(rows(&page).cloned());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(json!({"data": all}));
        }
    }
}

/// Says who has no invoice yet, and why: the first of them.
fn show_left(run: &Value) {
    for tenant in run["waiting"].as_array().into_iter().flatten() {
        output::note(&format!("{} waits: requests of that month are still being answered.", output::cell(tenant)));
    }
    for one in run["failed"].as_array().into_iter().flatten() {
        output::note(&format!("{} has no invoice: {}", output::cell(&one["tenant"]), output::cell(&one["why"])));
    }
    let (count, named) = (|name: &str| run[name].as_u64().unwrap_or(0), |name: &str| run[name].as_array().map_or(0, Vec::len) as u64);
    let more = (count("waiting_count") + count("failed_count")).saturating_sub(named("waiting") + named("failed"));
    if more > 0 {
        output::note(&format!("{more} more have no invoice: freehold invoice runs {}", output::cell(&run["month"])));
    }
}

fn show_run(run: &Value) {
    run["issued"].as_array().into_iter().flatten().for_each(|number| output::line(&output::cell(number)));
    output::note(&format!("{} tenants had their invoice before.", run["before"]));
    show_left(run);
}

fn show_runs(runs: &Value) {
    let row = |row: &Value| {
        let texts = ["month", "state", "invoices", "by"].map(|name| output::cell(&row[name]));
        texts.into_iter().chain(["started_at", "finished_at", "next_at"].map(|name| output::moment(&row[name]))).collect()
    };
    output::table(&["month", "state", "invoices", "by", "began", "done", "tried again"], rows(runs).map(row).collect());
    rows(runs).for_each(show_left);
    match runs["upcoming"].as_object() {
        Some(next) => output::note(&format!("Next: {} on {} UTC.", output::cell(&next["month"]), output::moment(&next["at"]))),
        None => output::note("The service makes no invoices by itself (option invoice_monthly): freehold invoice run MONTH."),
    }
}

fn show_invoice(invoice: &Value) {
    let texts = ["number", "month", "state"].map(|name| output::cell(&invoice[name]));
    output::line(&texts.join("   "));
    let lines = invoice["lines"].as_array().into_iter().flatten();
    let row = |line: &Value| {
        let late = line["month"].as_str().map(|month| format!(" (in {month}, after its invoice)")).unwrap_or_default();
        let what = format!("{}{late}", output::cell(&line["description"]));
        vec![what, output::cell(&line["records"]), amount(&line["amount"])]
    };
    output::table(&["what", "records", "amount"], lines.map(row).collect());
    let tax = &invoice["tax"];
    let label = match tax["treatment"].as_str() {
        None => None,
        Some("taxed") => {
            Some(format!("{} {} % on {}", output::cell(&tax["name"]), output::cell(&tax["rate_percent"]), amount(&invoice["taxable"])))
        }
        Some("exempt") => Some(format!("{}, exempt", output::cell(&tax["name"]))),
        Some(_) => Some(format!("{}, reverse charge", output::cell(&tax["name"]))),
    };
    let mut sums = vec![("Total".to_owned(), "total")];
    if let Some(label) = label {
        sums = vec![("Net total".to_owned(), "total"), (label, "tax_amount"), ("Total with tax".to_owned(), "gross")];
    }
    if invoice["kind"]["kind"] == "invoice" {
        sums.extend([("Paid from credit".to_owned(), "paid_from_credit"), ("Due".to_owned(), "due")]);
    }
    for (name, field) in sums {
        output::line(&format!("{name}: {} {}", amount(&invoice[field]), output::cell(&invoice["currency"])));
    }
}

/// Runs `freehold tax`.
pub async fn tax(client: &Client, command: TaxCommand) -> anyhow::Result<ExitCode> {
    let tax = match command {
        TaxCommand::Show { tenant, .. } => client.get(&format!("/api/v1/tax{}", query(&[("tenant", tenant.as_deref())]))).await?,
        TaxCommand::Set(rule) => {
            let mut body = json!({"treatment": rule.treatment});
            let fields = [
                ("rate_percent", rule.rate),
                ("name", rule.name),
                ("note", rule.note),
                ("from", rule.from),
                ("tax_id", rule.tax_id),
                ("billed_to", rule.billed_to.map(|text| text.replace("\\n", "\n"))),
            ];
            for (field, value) in fields {
                if let Some(value) = value {
                    body[field] = json!(value);
                }
            }
            client.put(&format!("/api/v1/tax{}", query(&[("tenant", rule.tenant.as_deref())])), &body).await?
        }
    };
    if client.json {
        output::json(&tax)
    } else {
        show_tax(&tax)
    }
    Ok(ExitCode::SUCCESS)
}

fn show_tax(tax: &Value) {
    let now = &tax["now"];
    let rate = now["rate_percent"].as_str().map(|rate| format!(" {rate} %")).unwrap_or_default();
    let like = if tax["inherited"] == json!(true) { ", as for all tenants" } else { "" };
    let name = now["name"].as_str().unwrap_or("No tax");
    output::line(&format!("{name}{rate} ({}){like}", output::cell(&now["treatment"])));
    for (name, field) in [("Note", "note"), ("Tax id", "tax_id"), ("Billed to", "billed_to")] {
        let value = if field == "note" { &now[field] } else { &tax[field] };
        if let Some(text) = value.as_str() {
            output::line(&format!("{name}: {text}"));
        }
    }
    let row = |rule: &Value| ["from", "treatment", "name", "rate_percent"].map(|name| output::cell(&rule[name])).to_vec();
    let rules: Vec<Vec<String>> = tax["rules"].as_array().into_iter().flatten().map(row).collect();
    if !rules.is_empty() {
        output::table(&["from", "treatment", "name", "percent"], rules);
    }
}
