//! Contracts as text for people: the list with its warnings, and one contract in full.

use time::Date;

use super::clocks::{Clock, asks, clocks, switching_charge_rule};
use super::{Contract, dates};
use crate::report::layout::{Columns, cut, wrap};

/// Days within which a decision is warned about.
pub const WARN_DAYS: i64 = 90;

/// The dates of a contract on which something must be decided within [`WARN_DAYS`] days.
pub fn due(contract: &Contract, today: Date) -> Vec<Clock> {
    let soon =
        |clock: &Clock| clock.kind.is_decision() && !clock.supposed && (0..=WARN_DAYS).contains(&dates::days_between(today, clock.date));
    clocks(contract, today).into_iter().filter(soon).collect()
}

/// The next date on which something must be decided.
pub fn next_decision(contract: &Contract, today: Date) -> Option<Clock> {
    clocks(contract, today).into_iter().find(|clock| clock.kind.is_decision() && !clock.supposed && clock.date >= today)
}

/// The list, the next decision first, with a warning for everything due within 90 days; in `width` characters as far as
/// ids and amounts allow.
pub fn list(contracts: &[Contract], today: Date, width: usize) -> String {
    if contracts.is_empty() {
        return "No contracts. Add one with `freehold contracts add`, or take them over with `freehold contracts import FILE`.\n"
            .to_owned();
    }
    let mut rows: Vec<(&Contract, Option<Clock>)> = contracts.iter().map(|contract| (contract, next_decision(contract, today))).collect();
    let when = |contract: &Contract, next: &Option<Clock>| match next {
        Some(clock) => clock.date,
        None if contract.period_end > today => contract.period_end,
        None => Date::MAX,
    };
    rows.sort_by_key(|(contract, next)| (when(contract, next), contract.id.clone()));
    let widest = |cell: &dyn Fn(&Contract) -> usize| contracts.iter().map(cell).max().unwrap_or(0);
    let cost = |contract: &Contract| contract.cost.map(|cost| contract.money(cost)).unwrap_or_else(|| "-".to_owned());
    let others = widest(&|contract| contract.id.chars().count().max(8))
        + widest(&|contract| contract.provider.chars().count().max(8))
        + widest(&|contract| cost(contract).chars().count().max(10));
    // A date, four digits of days, and two spaces between six columns.
    let room = width.saturating_sub(others + 10 + 4 + 10).max(24);
    let mut columns = Columns::new(&["CONTRACT", "PROVIDER", "COMMITMENT", "ENDS", "NEXT DECISION", "DAYS"]).right(2).right(5);
    for (contract, next) in &rows {
        let (what, days) = match next {
            Some(clock) => (format!("{}  {}", dates::text(clock.date), clock.title), dates::days_between(today, clock.date).to_string()),
            None if contract.period_end > today => (
                format!("{}  Renews by itself", dates::text(contract.period_end)),
                dates::days_between(today, contract.period_end).to_string(),
            ),
            None => ("over".to_owned(), String::new()),
        };
        let (id, provider) = (contract.id.clone(), contract.provider.clone());
        columns.row(vec![id, provider, cost(contract), dates::text(contract.period_end), cut(&what, room), days]);
    }
    let mut text = columns.render();
    let warnings: Vec<String> = rows.iter().flat_map(|(contract, _)| warnings(contract, today)).collect();
    if !warnings.is_empty() {
        text.push_str(&format!("\nTo decide in the next {WARN_DAYS} days:\n"));
        for warning in warnings {
            text.push_str("  ! ");
            text.push_str(wrap(&warning, 4, width).trim_start());
        }
    }
    text
}

fn warnings(contract: &Contract, today: Date) -> Vec<String> {
    let mut all: Vec<String> = due(contract, today)
        .iter()
        .map(|clock| {
            let days = dates::days_between(today, clock.date);
            let when = if days == 0 { "today".to_owned() } else { format!("in {days} days") };
            format!("{} {when} ({}): {} [{}]. {}", dates::text(clock.date), contract.id, clock.title, clock.basis, clock.detail)
        })
        .collect();
    if contract.auto_renew == Some(true) && contract.period_end > today {
        let last = dates::plus_days(contract.period_end, -i64::from(contract.notice_days.unwrap_or(0)));
        if last < today {
            let note = "the contract's notice day has passed and it will renew";
            let way_out =
                if contract.data_act == Some(false) { "" } else { "; the right to switch with two months' notice stays (Art. 25(2)(d))" };
            all.push(format!("{} ({}): {note}{way_out}.", dates::text(last), contract.id));
        }
    }
    all
}

/// One contract in full: terms, dates with their articles, what leaving costs, which clauses to ask for.
pub fn show(contract: &Contract, today: Date) -> String {
    let mut text = format!("{}\n", contract.title());
    let mut columns = Columns::plain(2);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            columns.row(vec![format!("  {name}"), value]);
        }
    };
    line("id", Some(contract.id.clone()));
    line("provider", Some(contract.provider.clone()));
    line("agreement", contract.contract_id.clone());
    line("type", contract.commitment_type.clone());
    line("commitment", contract.cost.map(|cost| contract.money(cost)));
    line("quantity", contract.quantity.map(|quantity| format!("{quantity} {}", contract.unit.as_deref().unwrap_or_default())));
    line("period", Some(format!("{} to {}", dates::text(contract.period_start), dates::text(contract.period_end))));
    line("state", contract.status.clone());
    line("not yet used", contract.remaining_on(today).map(|left| contract.money(left)));
    line("notice", contract.notice_days.map(|days| format!("{days} days")));
    line("renews by itself", contract.auto_renew.map(|renews| yes_no(renews).to_owned()));
    line("early termination", contract.early_termination.map(|fee| fee.to_string()));
    line("leaving today costs", contract.early_termination_on(today).map(|fee| contract.money(fee)));
    line("divert clause", divert(contract));
    line("EU Data Act", Some(covered(contract).to_owned()));
    line("source", contract.source.clone());
    line("note", contract.note.clone());
    text.push_str(&columns.render());
    text.push_str("\nDates\n");
    let mut table = Columns::plain(4);
    for clock in clocks(contract, today) {
        let when = if clock.date < today {
            "passed"
        } else if clock.supposed {
            "if notice is given today"
        } else {
            ""
        };
        table.row(vec![format!("  {}", dates::text(clock.date)), clock.title, clock.basis, when.to_owned()]);
    }
    text.push_str(&table.render());
    if contract.data_act != Some(false) {
        text.push_str(&format!("\n{}\n", switching_charge_rule(today)));
    }
    let asks = asks(contract);
    if !asks.is_empty() {
        text.push_str("\nClauses to ask for\n");
        for ask in asks {
            text.push_str(&format!("  - {} [{}]\n    {}\n", ask.clause, ask.basis, ask.why));
        }
    }
    text
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn divert(contract: &Contract) -> Option<String> {
    let share = contract.divert_percent?;
    let note = contract.divert_note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    Some(if share == 0 { format!("none{note}") } else { format!("{share}% of the commitment for AI workloads elsewhere{note}") })
}

fn covered(contract: &Contract) -> &'static str {
    match contract.data_act {
        Some(true) => "applies",
        Some(false) => "does not apply",
        None => "not stated; taken to apply (it does for customers in the Union)",
    }
}
