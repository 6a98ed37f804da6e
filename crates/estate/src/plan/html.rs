//! The plan as one HTML file.

use std::fmt::Write as _;

use super::markdown::{price, volume};
use super::shared::Shared;
use super::{Move, Plan};
use crate::contracts::clocks::{Ask, Clock};
use crate::contracts::{Amount, dates};
use crate::report::chart::{Range, ranges};
use crate::report::escape::{html, link};
use crate::report::page::{Page, badge};
use crate::report::{count, days};

/// The whole file.
pub fn to_html(plan: &Plan) -> String {
    let mut page = Page::new("Exit plan");
    page.lead(&format!("Made on {}.", dates::text(plan.date)));
    let gb = plan.egress.iter().fold(0_u64, |sum, row| sum.saturating_add(row.gb));
    let card = |big: &str, small: &str| {
        format!("<div class=\"card\"><div class=\"big\">{}</div><div class=\"dim\">{}</div></div>", html(big), html(small))
    };
    let mut cards = String::from("<div class=\"cards\">");
    cards.push_str(&card(
        &plan.moves.len().to_string(),
        &format!("moves in {}", count(plan.moves.iter().map(|one| one.wave).max().unwrap_or(0), "wave")),
    ));
    cards.push_str(&card(&days(plan.effort_days), "of one engineer who knows both sides"));
    cards.push_str(&card(&format!("{:.1}", plan.lock_in), "lock-in of 100"));
    if gb > 0 || plan.egress.iter().all(|row| row.stores_of_unknown_size == 0) {
        cards.push_str(&card(&format!("{gb} GB"), "known to leave"));
    } else {
        cards.push_str(&card("not known", "how much data leaves"));
    }
    if let Some(tie) = plan.contracts.last() {
        cards.push_str(&card(&dates::text(tie.ends), "end of the last contract"));
    }
    cards.push_str("</div>");
    page.push(&cards);
    contracts(&mut page, plan);
    egress(&mut page, plan);
    parts(&mut page, plan);
    chart(&mut page, plan);
    moves(&mut page, plan);
    page.push(&format!(
        "<p class=\"dim\">freehold {}. Dates and articles are arithmetic on Regulation (EU) 2023/2854, not legal advice.</p>",
        crate::report::VERSION
    ));
    page.finish()
}

fn money(amount: Option<Amount>, currency: &Option<String>) -> String {
    match amount {
        Some(amount) => html(format!("{} {}", amount.grouped(), currency.as_deref().unwrap_or_default()).trim()),
        None => "<span class=\"dim\">not on record</span>".to_owned(),
    }
}

fn contracts(page: &mut Page, plan: &Plan) {
    if plan.contracts.is_empty() {
        return;
    }
    page.push("<h2>Contracts</h2>");
    let shared = Shared::of(&plan.contracts, plan.date);
    if !shared.clocks.is_empty() || !shared.asks.is_empty() {
        let text = String::from("<section class=\"card\"><h3>Every contract</h3>");
        page.push(&(text + &terms(&shared.clocks, &shared.asks) + "</section>"));
    }
    for tie in &plan.contracts {
        let text = format!(
            "<section class=\"card\"><h3>{}</h3><p class=\"tag\">{}, ends {}; not yet used {}; leaving today costs {}</p>",
            html(&tie.title),
            html(&tie.provider),
            dates::text(tie.ends),
            money(tie.remaining, &tie.currency),
            money(tie.early_termination, &tie.currency),
        );
        let own = terms(&shared.own_clocks(tie).collect::<Vec<_>>(), &shared.own_asks(tie));
        page.push(&(text + &own + "</section>"));
    }
}

/// Dates, then the clauses to ask for.
fn terms(clocks: &[&Clock], asks: &[&Ask]) -> String {
    let mut text = String::from("<table><tbody>");
    for clock in clocks {
        let supposed = if clock.supposed { " <span class=\"dim\">if notice is given today</span>" } else { "" };
        let _ = write!(
            text,
            "<tr><td class=\"k\">{}</td><td>{}{supposed}</td><td class=\"k dim\">{}</td></tr>",
            dates::text(clock.date),
            html(&clock.title),
            html(&clock.basis)
        );
    }
    text.push_str("</tbody></table>");
    if !asks.is_empty() {
        text.push_str("<p><strong>Ask for</strong></p><ul>");
        for ask in asks {
            let _ = write!(
                text,
                "<li>{} <span class=\"dim\">({})</span><br><span class=\"dim\">{}</span></li>",
                html(&ask.clause),
                html(&ask.basis),
                html(&ask.why)
            );
        }
        text.push_str("</ul>");
    }
    text
}

fn egress(page: &mut Page, plan: &Plan) {
    if plan.egress.is_empty() {
        return;
    }
    let mut text = String::from(
        "<h2>Egress</h2><table><thead><tr><th>Provider</th><th class=\"n\">Volume</th><th>From</th><th class=\"n\">List price</th><th>Source</th><th>For those who leave</th></tr></thead><tbody>",
    );
    for row in &plan.egress {
        let price = price(row);
        let source = row
            .price_url
            .as_deref()
            .map(|url| {
                format!(
                    "{}, {}",
                    link(url, row.price_name.as_deref().unwrap_or("price list")),
                    html(row.price_date.as_deref().unwrap_or_default())
                )
            })
            .unwrap_or_default();
        let leaving = match (&row.leaving, &row.leaving_url) {
            (Some(leaving), Some(url)) => format!("{} {}", html(leaving), link(url, "source")),
            _ => String::new(),
        };
        let unknown = if row.stores_of_unknown_size > 0 {
            format!("<br><span class=\"dim\">without {} of unknown size</span>", count(row.stores_of_unknown_size, "store"))
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "<tr><td>{}</td><td class=\"n\">{}</td><td>{}{unknown}</td><td class=\"n\">{price}</td><td>{source}</td><td>{leaving}</td></tr>",
            row.provider,
            volume(row),
            row.volume_from
        );
    }
    let _ = write!(text, "</tbody></table><p class=\"dim\">{}</p>", html(crate::contracts::clocks::switching_charge_rule(plan.date)));
    page.push(&text);
}

fn parts(page: &mut Page, plan: &Plan) {
    if !plan.freehold.is_empty() {
        let mut text = String::from("<h2>What Freehold takes over</h2><div class=\"card\"><dl>");
        for part in &plan.freehold {
            let types: Vec<String> = part.types.iter().map(|(kind, number)| format!("{number} <code>{}</code>", html(kind))).collect();
            let _ = write!(
                text,
                "<dt>{}</dt><dd>{}<br><span class=\"dim\">{}</span></dd>",
                html(&part.title),
                html(&part.how.replace('`', "")),
                types.join(", ")
            );
        }
        page.push(&(text + "</dl></div>"));
    }
    if !plan.without_replacement.is_empty() {
        let mut text = String::from("<h2>What cannot be taken along</h2>");
        for loss in &plan.without_replacement {
            let addresses: Vec<String> = loss.addresses.iter().take(5).map(|address| format!("<code>{}</code>", html(address))).collect();
            let _ = write!(
                text,
                "<section class=\"card warn keep\"><h3>{} <span class=\"dim\">{}</span></h3><p>{} {}</p><p class=\"dim\">{}</p></section>",
                html(&loss.service),
                loss.provider,
                html(&loss.why),
                html(&loss.exit_path),
                addresses.join(", ")
            );
        }
        page.push(&text);
    }
    if !plan.unknown.is_empty() {
        let mut text = String::from("<h2>Not in the catalogue: look before you plan</h2><ul>");
        for (kind, number) in &plan.unknown {
            let _ = write!(text, "<li><code>{}</code> × {number}</li>", html(kind));
        }
        page.push(&(text + "</ul>"));
    }
}

fn chart(page: &mut Page, plan: &Plan) {
    if plan.moves.is_empty() {
        page.push("<p>Nothing has to move.</p>");
        return;
    }
    let mut hardest: Vec<&Move> = plan.moves.iter().filter(|one| one.effort_days.high > 0.0).collect();
    hardest.sort_by(|one, other| other.effort_days.high.total_cmp(&one.effort_days.high));
    let rows: Vec<Range<'_>> = hardest
        .iter()
        .take(15)
        .map(|one| Range {
            letter: one.class.letter(),
            name: &one.service,
            low: f64::from(one.effort_days.low),
            high: f64::from(one.effort_days.high),
            text: days(one.effort_days),
        })
        .collect();
    if !rows.is_empty() {
        page.push(&format!("<h2>Where the work is</h2><div class=\"card keep wide\">{}</div>", ranges(&rows, "Working days by move")));
    }
}

fn moves(page: &mut Page, plan: &Plan) {
    page.push("<h2>Order of moves</h2><p class=\"dim\">What is referred to moves first; within a wave, what others stand on, then data, the heaviest first, then what runs.</p>");
    let mut wave = 0;
    for one in &plan.moves {
        if one.wave != wave {
            wave = one.wave;
            page.push(&format!("<h2>Wave {wave}</h2>"));
        }
        let resources: Vec<String> =
            one.resources.iter().rev().map(|(class, number)| format!("{} {number}", badge(class.letter()))).collect();
        let mut text = format!(
            "<section class=\"card keep\"><h3>{}. {} <span class=\"dim\">{}</span></h3><p class=\"tag\">{} &nbsp; {}</p><dl>",
            one.step,
            html(&one.service),
            one.provider,
            resources.join(" &nbsp; "),
            days(one.effort_days)
        );
        let mut term = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = write!(text, "<dt>{name}</dt><dd>{value}</dd>");
            }
        };
        term("Replacement", html(&one.replacements.join("; ")));
        term("After", html(&one.after.join(", ")));
        term("Together with", html(&one.together.join(", ")));
        term("Data", one.declared_gb.map(|gb| format!("{gb} GB declared")).unwrap_or_default());
        let steps: Vec<String> = one.steps.iter().map(|step| format!("<li>{}</li>", html(&step.replace('`', "")))).collect();
        let _ = write!(text, "<dt>Steps</dt><dd><ol>{}</ol></dd></dl></section>", steps.concat());
        page.push(&text);
    }
}
