//! The plan as Markdown.

use std::fmt::Write as _;

use super::shared::Shared;
use super::{Egress, Plan};
use crate::contracts::clocks::{Ask, Clock};
use crate::contracts::{Amount, dates};
use crate::report::escape::{markdown, markdown_code};
use crate::report::{count, days};

/// The whole plan.
pub fn to_markdown(plan: &Plan) -> String {
    let mut text = format!(
        "# Exit plan\n\nMade on {}. Lock-in {:.1} of 100; {}, {} of one engineer who knows both sides, data transfer apart.\n",
        dates::text(plan.date),
        plan.lock_in,
        count(plan.moves.len(), "move"),
        days(plan.effort_days)
    );
    contracts(&mut text, plan);
    egress(&mut text, plan);
    if !plan.freehold.is_empty() {
        text.push_str("\n## What Freehold takes over\n\n");
        for part in &plan.freehold {
            let types: Vec<String> = part.types.iter().map(|(kind, number)| format!("{number} {}", markdown_code(kind))).collect();
            let _ = writeln!(text, "- **{}** ({}): {}", part.title, types.join(", "), part.how);
        }
    }
    if !plan.without_replacement.is_empty() {
        text.push_str("\n## What cannot be taken along\n\n");
        for loss in &plan.without_replacement {
            let addresses: Vec<String> = loss.addresses.iter().take(5).map(|address| markdown_code(address)).collect();
            let _ = writeln!(
                text,
                "- **{}** ({}): {} {} ({})",
                markdown(&loss.service),
                loss.provider,
                markdown(&loss.why),
                markdown(&loss.exit_path),
                addresses.join(", ")
            );
        }
    }
    if !plan.unknown.is_empty() {
        text.push_str("\n## Not in the catalogue: look before you plan\n\n");
        for (kind, number) in &plan.unknown {
            let _ = writeln!(text, "- {} × {number}", markdown_code(kind));
        }
    }
    moves(&mut text, plan);
    text
}

fn contracts(text: &mut String, plan: &Plan) {
    if plan.contracts.is_empty() {
        return;
    }
    text.push_str("\n## Contracts\n\n| contract | provider | ends | not yet used | leaving today costs |\n|---|---|---|---:|---:|\n");
    let money = |amount: Option<Amount>, currency: &Option<String>| match amount {
        Some(amount) => format!("{} {}", amount.grouped(), currency.as_deref().unwrap_or_default()).trim().to_owned(),
        None => "not on record".to_owned(),
    };
    for tie in &plan.contracts {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            markdown(&tie.title),
            markdown(&tie.provider),
            dates::text(tie.ends),
            money(tie.remaining, &tie.currency),
            money(tie.early_termination, &tie.currency)
        );
    }
    let shared = Shared::of(&plan.contracts, plan.date);
    if !shared.clocks.is_empty() || !shared.asks.is_empty() {
        text.push_str("\n### Every contract\n\n");
        terms(text, &shared.clocks, &shared.asks);
    }
    for tie in &plan.contracts {
        let _ = write!(text, "\n### {}\n\n", markdown(&tie.title));
        terms(text, &shared.own_clocks(tie).collect::<Vec<_>>(), &shared.own_asks(tie));
    }
}

/// Dates, then the clauses to ask for.
fn terms(text: &mut String, clocks: &[&Clock], asks: &[&Ask]) {
    for clock in clocks {
        let supposed = if clock.supposed { ", if notice is given today" } else { "" };
        let _ = writeln!(text, "- {}: {} ({}{supposed})", dates::text(clock.date), clock.title, clock.basis);
    }
    if !asks.is_empty() {
        text.push_str(if clocks.is_empty() { "Ask for:\n\n" } else { "\nAsk for:\n\n" });
        for ask in asks {
            let _ = writeln!(text, "- {} ({}). {}", ask.clause, ask.basis, ask.why);
        }
    }
}

fn egress(text: &mut String, plan: &Plan) {
    if plan.egress.is_empty() {
        return;
    }
    text.push_str("\n## Egress\n\n| provider | volume | from | list price | source |\n|---|---:|---|---:|---|\n");
    for row in &plan.egress {
        let price = price(row);
        let source = row.price_url.as_deref().map(|url| {
            format!("[{}]({url}), {}", row.price_name.as_deref().unwrap_or("price list"), row.price_date.as_deref().unwrap_or_default())
        });
        let _ = writeln!(text, "| {} | {} | {} | {price} | {} |", row.provider, volume(row), row.volume_from, source.unwrap_or_default());
    }
    text.push('\n');
    for row in &plan.egress {
        if row.stores_of_unknown_size > 0 {
            let _ = writeln!(
                text,
                "- {}: the size of {} is not in the code and not in the volume; give it with `--egress-gb {}=GB`.",
                row.provider,
                count(row.stores_of_unknown_size, "store"),
                row.provider
            );
        }
        if let (Some(leaving), Some(url)) = (&row.leaving, &row.leaving_url) {
            let _ = writeln!(text, "- {}: {leaving} ([source]({url}))", row.provider);
        }
    }
    let _ = writeln!(text, "- {}", crate::contracts::clocks::switching_charge_rule(plan.date));
}

/// The volume in words; a volume of which nothing is known is not 0.
pub(super) fn volume(row: &Egress) -> String {
    match row.gb {
        0 if row.stores_of_unknown_size > 0 => "not known".to_owned(),
        gb => format!("{gb} GB"),
    }
}

/// The list price in words.
pub(super) fn price(row: &Egress) -> String {
    match row.list_price_usd {
        _ if row.gb == 0 && row.stores_of_unknown_size > 0 => "not known".to_owned(),
        Some(price) => format!("{} USD", price.grouped()),
        None => "not known".to_owned(),
    }
}

fn moves(text: &mut String, plan: &Plan) {
    text.push_str(
        "\n## Order of moves\n\nWhat is referred to moves first; within a wave, what others stand on, then data, the heaviest first, then what runs.\n",
    );
    let mut wave = 0;
    for one in &plan.moves {
        if one.wave != wave {
            wave = one.wave;
            let _ = write!(text, "\n### Wave {wave}\n");
        }
        let resources: Vec<String> = one.resources.iter().rev().map(|(class, number)| format!("{} {number}", class.letter())).collect();
        let _ = write!(text, "\n#### {}. {} ({})\n\n", one.step, markdown(&one.service), one.provider);
        let _ = writeln!(
            text,
            "Class {} {}; resources {}; {}.\n",
            one.class.letter(),
            one.class.word(),
            resources.join(", "),
            days(one.effort_days)
        );
        if !one.replacements.is_empty() {
            let _ = writeln!(text, "- Replacement: {}", markdown(&one.replacements.join("; ")));
        }
        if !one.after.is_empty() {
            let _ = writeln!(text, "- After: {}", markdown(&one.after.join(", ")));
        }
        if !one.together.is_empty() {
            let _ = writeln!(text, "- Together with (they refer to each other): {}", markdown(&one.together.join(", ")));
        }
        if let Some(gb) = one.declared_gb {
            let _ = writeln!(text, "- Data: {gb} GB declared");
        }
        text.push('\n');
        for (index, step) in one.steps.iter().enumerate() {
            let _ = writeln!(text, "{}. {}", index + 1, step);
        }
    }
}
