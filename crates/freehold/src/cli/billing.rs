//! `freehold prices`, `usage`, `credit` and `limits`.
//!
//! **Invariant:** people type and read amounts in units of the currency (`12.5`); the API has nano-units.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use freehold_domain::NanoUnits;
use serde_json::{Map, Value, json};

use super::client::{Client, segment};
use super::output;

/// Columns of the longest bar of a plot.
const BAR_WIDTH: u64 = 50;
/// Most bytes of a price list.
const FILE_LEN_MAX: u64 = 8 << 20;

/// What can be done with prices.
#[derive(Debug, Subcommand)]
pub enum PricesCommand {
    /// Show the prices that hold now
    Show,
    /// Publish a new version from a JSON file (operators only)
    Set {
        /// The file, as `POST /api/v1/prices` takes it; `-` is standard input
        file: PathBuf,
    },
}

/// What usage to show.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// By what to split it: day, model, key, or several with commas
    #[arg(long, value_name = "PARTS", default_value = "model")]
    by: String,
    /// Draw what each day cost
    #[arg(long)]
    plot: bool,
    /// The first day [default: the first of this month]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Tenant whose usage to show (operators only)
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

/// What can be done with credit.
#[derive(Debug, Subcommand)]
pub enum CreditCommand {
    /// Show what is left, and what was added
    Show {
        /// Tenant whose credit to show (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Give a tenant credit (operators only)
    Add {
        /// The tenant
        tenant: String,
        /// How much, such as 12.5
        amount: NanoUnits,
        /// What it is for
        #[arg(long, default_value = "")]
        note: String,
        /// The tenant paid for it, and the tax on it if one is set (`freehold tax`); otherwise it is a present
        #[arg(long)]
        paid: bool,
    },
    /// Make a voucher; its code is shown once (operators only)
    Voucher {
        /// What it gives, such as 5
        amount: NanoUnits,
        /// How many tenants may redeem it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// What it is for
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Turn a voucher's code into credit
    Redeem {
        /// The code
        code: String,
        /// Tenant that gets the credit (operators only)
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Set how a tenant pays (operators only)
    Terms {
        /// The tenant
        tenant: String,
        /// prepaid or postpaid
        mode: String,
        /// What a postpaid tenant may owe; anything when it is left out
        #[arg(long, value_name = "AMOUNT")]
        limit: Option<NanoUnits>,
    },
}

/// What can be done with limits.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Show limits and what is used of them
    Show(Scope),
    /// Set limits; those that are not named are kept, `none` takes one away
    Set {
        #[command(flatten)]
        scope: Scope,
        /// Requests in a minute
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<String>,
        /// Tokens in a minute
        #[arg(long, value_name = "N")]
        tokens_per_minute: Option<String>,
        /// Requests at the same time
        #[arg(long, value_name = "N")]
        parallel: Option<String>,
        /// Bytes stored
        #[arg(long, value_name = "N")]
        storage_bytes: Option<String>,
        /// Money in a day, such as 5
        #[arg(long, value_name = "AMOUNT")]
        budget_day: Option<String>,
        /// Money in a month, such as 100
        #[arg(long, value_name = "AMOUNT")]
        budget_month: Option<String>,
        /// Where to send alerts
        #[arg(long, value_name = "URL")]
        webhook: Option<String>,
        /// At which percent of a budget to send one
        #[arg(long, value_name = "PERCENT")]
        alert_at: Vec<u8>,
    },
}

/// Whose limits.
#[derive(Debug, Args)]
pub struct Scope {
    /// The tenant (operators only)
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// One of its keys (`key_...`)
    #[arg(long = "of-key", value_name = "KEY_ID")]
    of_key: Option<String>,
}

impl PricesCommand {
    /// Publishing takes the operator's key.
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
}

impl UsageArgs {
    /// Another tenant's usage takes the operator's key.
    pub fn needs_operator(&self) -> bool {
        self.tenant.is_some()
    }
}

impl CreditCommand {
    /// Only looking at one's own takes no operator's key: no tenant's key spends money.
    pub fn needs_operator(&self) -> bool {
        !matches!(self, Self::Show { tenant: None })
    }
}

impl LimitsCommand {
    /// No tenant's key changes limits.
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Show(scope) => scope.tenant.is_some(),
            Self::Set { .. } => true,
        }
    }
}

impl Scope {
    fn query(&self) -> String {
        query(&[("tenant", self.tenant.as_deref()), ("key", self.of_key.as_deref())])
    }
}

pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let pairs: Vec<String> = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", segment((*value)?)))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// An amount of the API, in units.
pub(super) fn amount(value: &Value) -> String {
    value.as_str().and_then(|text| NanoUnits::from_digits(text).ok()).map_or_else(|| "-".to_owned(), |amount| amount.to_string())
}

fn digits(amount: NanoUnits) -> Value {
    json!(amount.get().to_string())
}

pub(super) fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list["data"].as_array().into_iter().flatten()
}

/// Runs `freehold prices`.
pub async fn prices(client: &Client, command: Option<PricesCommand>) -> anyhow::Result<ExitCode> {
    let shown = match command.unwrap_or(PricesCommand::Show) {
        PricesCommand::Show => client.get("/api/v1/prices").await?,
        PricesCommand::Set { file } => client.post("/api/v1/prices", &read_file(&file)?).await?,
    };
    if client.json {
        output::json(&shown);
        return Ok(ExitCode::SUCCESS);
    }
    if shown["number"] == 0 {
        output::note("No prices are published: what this service computes is free.");
    }
    let models = shown["models"].as_object().into_iter().flatten().map(|(name, price)| {
        vec![name.clone(), amount(&price["input"]), amount(&price["cached"]), amount(&price["output"]), "1M tokens".to_owned()]
    });
    let skus = shown["skus"].as_object().into_iter().flatten();
    let skus = skus.map(|(name, price)| vec![name.clone(), amount(price), String::new(), String::new(), "1 s".to_owned()]);
    output::table(&["name", "input", "cached", "output", "per"], models.chain(skus).collect());
    let since = output::moment(&shown["effective_at"]);
    output::note(&format!("Version {}, from {since} UTC, in {}.", shown["number"], output::cell(&shown["currency"])));
    if let Some(next) = shown["upcoming"].as_object() {
        output::note(&format!("Version {} follows on {} UTC.", next["number"], output::moment(&next["effective_at"])));
    }
    Ok(ExitCode::SUCCESS)
}

fn read_file(path: &PathBuf) -> anyhow::Result<Value> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(FILE_LEN_MAX).read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        file.take(FILE_LEN_MAX).read_to_string(&mut text).with_context(|| format!("{} is not text", path.display()))?;
    }
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// Runs `freehold usage`.
pub async fn usage(client: &Client, args: UsageArgs) -> anyhow::Result<ExitCode> {
    let by = if args.plot { "day" } else { args.by.as_str() };
    let pairs = [("by", Some(by)), ("from", args.from.as_deref()), ("to", args.to.as_deref()), ("tenant", args.tenant.as_deref())];
    let usage = client.get(&format!("/api/v1/usage{}", query(&pairs))).await?;
    if client.json {
        output::json(&usage);
        return Ok(ExitCode::SUCCESS);
    }
    if args.plot {
        plot(&usage);
        return Ok(ExitCode::SUCCESS);
    }
    let parts: Vec<&str> = ["day", "model", "key"].into_iter().filter(|part| by.split(',').any(|word| word.trim() == *part)).collect();
    let currency = output::cell(&usage["currency"]);
    let row = |row: &Value| {
        let mut cells: Vec<String> = parts.iter().map(|part| output::cell(&row[*part])).collect();
        cells.extend(["requests", "input_tokens", "cached_tokens", "output_tokens"].map(|name| output::cell(&row[name])));
        cells.push(amount(&row["amount"]));
        cells
    };
    let mut header = parts.clone();
    header.extend(["requests", "input", "cached", "output", currency.as_str()]);
    output::table(&header, rows(&usage).map(row).collect());
    output::note(&format!("{} to {} (UTC).", output::cell(&usage["from"]), output::cell(&usage["to"])));
    Ok(ExitCode::SUCCESS)
}

/// A bar for each day: what it cost, or its tokens where nothing cost anything.
fn plot(usage: &Value) {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
    let cost = |row: &Value| number(&row["amount"]);
    let tokens = |row: &Value| number(&row["input_tokens"]) + number(&row["cached_tokens"]) + number(&row["output_tokens"]);
    let is_free = rows(usage).all(|row| cost(row) == 0);
    let size = |row: &Value| if is_free { tokens(row) } else { cost(row) };
    let longest = rows(usage).map(size).max().unwrap_or(0).max(1);
    for row in rows(usage) {
        // A wide product: an amount has up to 63 bits.
        let width = (u128::from(size(row)) * u128::from(BAR_WIDTH)).div_ceil(u128::from(longest));
        let bar = "█".repeat(usize::try_from(width).unwrap_or(0));
        let text = if is_free {
            format!("{} tokens", tokens(row))
        } else {
            format!("{} {}", amount(&row["amount"]), output::cell(&usage["currency"]))
        };
        output::line(&format!("{}  {bar} {text}", output::cell(&row["day"])));
    }
}

/// Runs `freehold credit`.
pub async fn credit(client: &Client, command: CreditCommand) -> anyhow::Result<ExitCode> {
    let balance = match command {
        CreditCommand::Show { tenant } => return show_credit(client, tenant.as_deref()).await,
        CreditCommand::Add { tenant, amount, note, paid } => {
            client.post("/api/v1/credit", &json!({"tenant": tenant, "amount": digits(amount), "note": note, "paid": paid})).await?
        }
        CreditCommand::Voucher { amount, uses, note } => {
            let voucher = client.post("/api/v1/vouchers", &json!({"amount": digits(amount), "uses": uses, "note": note})).await?;
            if client.json {
                output::json(&voucher);
            } else {
                output::line(&output::cell(&voucher["code"]));
                output::note("Keep the code: it is not shown again. A tenant redeems it with `freehold credit redeem`.");
            }
            return Ok(ExitCode::SUCCESS);
        }
        CreditCommand::Redeem { code, tenant } => {
            let mut body = json!({"code": code});
            if let Some(tenant) = tenant {
                body["tenant"] = json!(tenant);
            }
            client.post("/api/v1/vouchers/redeem", &body).await?
        }
        CreditCommand::Terms { tenant, mode, limit } => {
            let mut body = json!({"mode": mode});
            if let Some(limit) = limit {
                body["credit_limit"] = digits(limit);
            }
            client.put(&format!("/api/v1/balance{}", query(&[("tenant", Some(&tenant))])), &body).await?
        }
    };
    if client.json {
        output::json(&balance)
    } else {
        show_balance(&balance)
    }
    Ok(ExitCode::SUCCESS)
}

fn show_balance(balance: &Value) {
    let currency = output::cell(&balance["currency"]);
    let left = if balance["available"].is_null() { "anything".to_owned() } else { format!("{} {currency}", amount(&balance["available"])) };
    output::line(&format!("Balance {} {currency}, held {}, left to spend: {left}", amount(&balance["balance"]), amount(&balance["held"])));
}

async fn show_credit(client: &Client, tenant: Option<&str>) -> anyhow::Result<ExitCode> {
    let query = query(&[("tenant", tenant)]);
    let balance = client.get(&format!("/api/v1/balance{query}")).await?;
    let transfers = client.get(&format!("/api/v1/credit{query}")).await?;
    if client.json {
        output::json(&json!({"balance": balance, "transfers": transfers["data"]}));
        return Ok(ExitCode::SUCCESS);
    }
    show_balance(&balance);
    let row =
        |row: &Value| vec![output::moment(&row["at"]), output::cell(&row["reason"]), amount(&row["amount"]), output::cell(&row["note"])];
    output::table(&["when", "what", "amount", "note"], rows(&transfers).map(row).collect());
    Ok(ExitCode::SUCCESS)
}

const COUNTS: [&str; 4] = ["requests_per_minute", "tokens_per_minute", "parallel", "storage_bytes"];
const BUDGETS: [&str; 2] = ["budget_day", "budget_month"];

/// Runs `freehold limits`.
pub async fn limits(client: &Client, command: LimitsCommand) -> anyhow::Result<ExitCode> {
    let limits = match command {
        LimitsCommand::Show(scope) => client.get(&format!("/api/v1/limits{}", scope.query())).await?,
        LimitsCommand::Set {
            scope,
            requests_per_minute,
            tokens_per_minute,
            parallel,
            storage_bytes,
            budget_day,
            budget_month,
            webhook,
            alert_at,
        } => {
            let path = format!("/api/v1/limits{}", scope.query());
            let before = client.get(&path).await?;
            let kept = COUNTS.iter().chain(&BUDGETS).chain(&["alert_at_percent", "webhook"]);
            let mut body: Map<String, Value> =
                kept.filter(|name| !before[**name].is_null()).map(|name| ((*name).to_owned(), before[*name].clone())).collect();
            for (name, text) in COUNTS.into_iter().zip([requests_per_minute, tokens_per_minute, parallel, storage_bytes]) {
                change(&mut body, name, text, |text| {
                    Ok(json!(text.parse::<u64>().with_context(|| format!("`{text}` is not a whole number"))?))
                })?;
            }
            for (name, text) in BUDGETS.into_iter().zip([budget_day, budget_month]) {
                change(&mut body, name, text, |text| Ok(digits(text.parse()?)))?;
            }
            change(&mut body, "webhook", webhook, |url| Ok(json!({"url": url})))?;
            if !alert_at.is_empty() {
                body.insert("alert_at_percent".to_owned(), json!(alert_at));
            }
            client.put(&path, &Value::Object(body)).await?
        }
    };
    if client.json {
        output::json(&limits)
    } else {
        show_limits(&limits)
    }
    Ok(ExitCode::SUCCESS)
}

fn change(
    body: &mut Map<String, Value>,
    name: &str,
    text: Option<String>,
    read: impl Fn(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<()> {
    match text.as_deref() {
        None => {}
        Some("none") => {
            body.remove(name);
        }
        Some(text) => {
            body.insert(name.to_owned(), read(text)?);
        }
    }
    Ok(())
}

fn show_limits(limits: &Value) {
    let used = &limits["in_use"];
    let count = |name: &str| output::cell(&limits[name]);
    let budget = |name: &str| if limits[name].is_null() { "-".to_owned() } else { amount(&limits[name]) };
    let size = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), output::bytes);
    // A tenant without a limit of its own has the operator's.
    let stored = if limits["storage_bytes"].is_null() { &limits["storage_bytes_default"] } else { &limits["storage_bytes"] };
    let rows = vec![
        vec!["requests in a minute".to_owned(), count("requests_per_minute"), output::cell(&used["requests"])],
        vec!["tokens in a minute".to_owned(), count("tokens_per_minute"), output::cell(&used["tokens"])],
        vec!["requests at the same time".to_owned(), count("parallel"), output::cell(&used["parallel"])],
        vec!["bytes stored".to_owned(), size(stored), size(&used["storage_bytes"])],
        vec!["money in a day".to_owned(), budget("budget_day"), amount(&used["day_spent"])],
        vec!["money in a month".to_owned(), budget("budget_month"), amount(&used["month_spent"])],
    ];
    output::table(&["limit", "at most", "used"], rows);
    if let Some(url) = limits["webhook"]["url"].as_str() {
        output::note(&format!("Alerts at {} percent go to {url}.", output::cell(&limits["alert_at_percent"])));
    }
}
