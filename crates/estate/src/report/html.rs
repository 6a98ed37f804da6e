//! The audit as one HTML file: charts, a filter, every finding; works offline and on paper.

use std::fmt::Write as _;

use super::chart::{Range, Slice, ranges, stacked};
use super::escape::{html, html_into, link};
use super::page::{Page, badge};
use super::{count, days, total};
use crate::catalogue::Class;
use crate::contracts::dates;
use crate::finding::{Audit, Group, provider_key, provider_name};

const SCRIPT: &str = include_str!("filter.js");

/// Services in the effort chart.
const CHART_ROWS: usize = 15;

/// The whole file.
pub fn to_text(audit: &Audit<'_>) -> String {
    let groups = audit.groups(|finding| finding.is_open());
    let mut page = Page::new("Lock-in audit");
    let files = count(usize::try_from(audit.files).unwrap_or(usize::MAX), "file");
    page.lead(&format!("{} in {files}, audited on {}.", count(audit.findings.len(), "resource"), dates::text(audit.today)));
    cards(&mut page, audit, &groups);
    classes(&mut page, audit);
    efforts(&mut page, &groups);
    services(&mut page, audit, &groups);
    notes(&mut page, audit);
    about(&mut page);
    page.script(SCRIPT);
    page.finish()
}

fn cards(page: &mut Page, audit: &Audit<'_>, groups: &[Group<'_, '_>]) {
    let effort = total(groups.iter().map(|group| &group.effort));
    let of = |class: Class| audit.by_class.get(&class).copied().unwrap_or(0);
    let card = |big: &str, small: &str| {
        format!("<div class=\"card\"><div class=\"big\">{}</div><div class=\"dim\">{}</div></div>", html(big), html(small))
    };
    let mut cards = String::from("<div class=\"cards\">");
    cards.push_str(&card(
        &format!("{:.1}", audit.lock_in.figure),
        &format!("lock-in of 100, over {}", count(audit.lock_in.services, "service")),
    ));
    cards.push_str(&card(&of(Class::E).to_string(), "entangled resources: redesign"));
    cards.push_str(&card(&of(Class::X).to_string(), "exportable resources: rewrite the adapter"));
    let what = if audit.has_baseline || audit.accepted_count() > 0 { "work to leave what is listed" } else { "work to leave" };
    cards.push_str(&card(&days(effort), &format!("{what}, data transfer apart")));
    if of(Class::U) > 0 {
        cards.push_str(&card(&of(Class::U).to_string(), "of a type that the catalogue does not know"));
    }
    cards.push_str("</div>");
    page.push(&cards);
}

fn classes(page: &mut Page, audit: &Audit<'_>) {
    page.push("<h2>What it is made of</h2>");
    let order = [Class::E, Class::X, Class::C, Class::G, Class::M, Class::S, Class::U, Class::N];
    let slices: Vec<Slice<'_>> = order
        .iter()
        .map(|class| {
            let number = audit.by_class.get(class).copied().unwrap_or(0);
            Slice { letter: class.letter(), value: number as f64, title: format!("{}: {}", class.word(), count(number, "resource")) }
        })
        .collect();
    page.push(&stacked(&slices, "Resources by class"));
    let mut table = String::from(
        "<table class=\"classes\"><thead><tr><th>Class</th><th>Meaning</th><th>Work to leave</th><th class=\"n\">Resources</th><th class=\"n\">Services</th><th class=\"n\">Points</th></tr></thead><tbody>",
    );
    for class in order {
        let number = audit.by_class.get(&class).copied().unwrap_or(0);
        let part = audit.lock_in.parts.iter().find(|part| part.class == class);
        let services = part.map(|part| part.services.to_string()).unwrap_or_default();
        let points = part.map(|part| format!("{:.1}", part.points)).unwrap_or_default();
        let _ = write!(
            table,
            "<tr><td class=\"k\">{} {}</td><td>{}</td><td>{}</td><td class=\"n\">{number}</td><td class=\"n\">{services}</td><td class=\"n\">{points}</td></tr>",
            badge(class.letter()),
            class.word(),
            class.meaning(),
            class.work()
        );
    }
    let _ = write!(
        table,
        "<tr><td><strong>Lock-in</strong></td><td colspan=\"2\">the mean weight of the services, each by its hardest resource</td><td></td><td class=\"n\">{}</td><td class=\"n\"><strong>{:.1}</strong></td></tr></tbody></table>",
        audit.lock_in.services, audit.lock_in.figure
    );
    page.push(&table);
}

fn efforts(page: &mut Page, groups: &[Group<'_, '_>]) {
    let mut hardest: Vec<&Group<'_, '_>> = groups.iter().filter(|group| group.effort.high > 0.0).collect();
    hardest.sort_by(|one, other| other.effort.high.total_cmp(&one.effort.high));
    if hardest.is_empty() {
        return;
    }
    page.push("<h2>Where the work is</h2>");
    let rows: Vec<Range<'_>> = hardest
        .iter()
        .take(CHART_ROWS)
        .map(|group| Range {
            letter: group.class.letter(),
            name: group.service,
            low: f64::from(group.effort.low),
            high: f64::from(group.effort.high),
            text: days(group.effort),
        })
        .collect();
    page.push(&format!(
        "<div class=\"card keep wide\">{}</div>",
        ranges(&rows, "Working days by service, from favourable to unfavourable")
    ));
    let rest = hardest.len().saturating_sub(CHART_ROWS);
    let more = if rest > 0 { format!(" {} more below.", count(rest, "service")) } else { String::new() };
    page.push(&format!(
        "<p class=\"dim\">Working days of one engineer who knows both sides: solid when all goes well, pale when it does not.{more}</p>"
    ));
}

fn services(page: &mut Page, audit: &Audit<'_>, groups: &[Group<'_, '_>]) {
    page.push("<h2>Findings</h2>");
    let mut tools = String::from(
        "<div class=\"tools\"><input type=\"search\" id=\"q\" placeholder=\"Filter by service, type, address or file\" aria-label=\"Filter\">",
    );
    for class in [Class::E, Class::X, Class::C, Class::G, Class::M, Class::S, Class::U, Class::N] {
        if groups.iter().any(|group| group.class == class) {
            let _ = write!(
                tools,
                "<label title=\"{}\"><input type=\"checkbox\" class=\"k\" value=\"{letter}\" checked> {}</label>",
                class.meaning(),
                badge(class.letter()),
                letter = class.letter()
            );
        }
    }
    let providers: Vec<_> = audit.by_provider.keys().copied().collect();
    if providers.len() > 1 {
        tools.push_str("<select id=\"p\" aria-label=\"Provider\"><option value=\"\">all providers</option>");
        for provider in providers {
            let _ = write!(tools, "<option value=\"{}\">{}</option>", provider_key(provider), provider_name(provider));
        }
        tools.push_str("</select>");
    }
    tools.push_str("<span id=\"shown\" class=\"dim\" aria-live=\"polite\"></span></div>");
    page.push(&tools);
    for group in groups {
        service(page, group);
    }
    if groups.is_empty() {
        page.push("<p>Nothing to report.</p>");
    }
}

fn service(page: &mut Page, group: &Group<'_, '_>) {
    let mut text = format!(
        "<details class=\"card g\" data-k=\"{}\" data-p=\"{}\"><summary>{}<span class=\"name\">{} <span class=\"dim\">{}</span></span><span class=\"k\">{}</span><span class=\"k dim\">{}</span></summary><div>",
        group.class.letter(),
        provider_key(group.provider),
        badge(group.class.letter()),
        html(group.service),
        provider_name(group.provider),
        count(group.findings.len(), "resource"),
        if group.effort.high > 0.0 { days(group.effort) } else { String::new() },
    );
    text.push_str("<dl>");
    let mut term = |name: &str, texts: Vec<&str>| {
        if !texts.is_empty() {
            let _ =
                write!(text, "<dt>{name}</dt><dd>{}</dd>", texts.iter().take(4).map(|text| html(text)).collect::<Vec<_>>().join("<br>"));
        }
    };
    term("Why", group.distinct(|verdict| &verdict.why));
    term("Replacement", group.distinct(|verdict| &verdict.replacement));
    term("Data", group.distinct(|verdict| &verdict.exit_path));
    if let Some(first) = group.findings.first() {
        let facets = first.verdict.facets;
        let _ = write!(
            text,
            "<dt>Portability</dt><dd>calls {}, data {}, application {}</dd>",
            facets.interoperability, facets.data_portability, facets.application_portability
        );
    }
    let evidence: std::collections::BTreeSet<(&str, &str)> = group
        .findings
        .iter()
        .filter_map(|finding| finding.verdict.evidence.as_ref())
        .map(|evidence| (evidence.url.as_ref(), evidence.date.as_ref()))
        .collect();
    if !evidence.is_empty() {
        let links: Vec<String> = evidence.iter().take(4).map(|(url, date)| format!("{} ({})", link(url, url), html(date))).collect();
        let _ = write!(text, "<dt>Evidence</dt><dd>{}</dd>", links.join("<br>"));
    }
    text.push_str("</dl><table><thead><tr><th>Resource</th><th>Type</th><th>Where</th></tr></thead><tbody>");
    for finding in &group.findings {
        let resource = finding.resource;
        text.push_str("<tr class=\"r\"><td class=\"mono\">");
        html_into(&mut text, &resource.address);
        if finding.verdict.confidence < 60 {
            let _ = write!(text, " <span class=\"dim\">confidence {}</span>", finding.verdict.confidence);
        }
        text.push_str("</td><td class=\"mono\">");
        html_into(&mut text, &resource.kind);
        text.push_str("</td><td class=\"mono\">");
        html_into(&mut text, &resource.file);
        let _ = write!(text, ":{}</td></tr>", resource.line);
    }
    text.push_str("</tbody></table></div></details>");
    page.push(&text);
}

fn notes(page: &mut Page, audit: &Audit<'_>) {
    let accepted: Vec<_> = audit.findings.iter().filter(|finding| finding.accepted.is_some()).collect();
    if !accepted.is_empty() {
        page.push(&format!("<h2>Accepted ({})</h2>", accepted.len()));
        let mut table = String::from("<table><thead><tr><th>Class</th><th>Resource</th><th>Where</th><th>Reason</th></tr></thead><tbody>");
        for finding in accepted {
            let resource = finding.resource;
            let _ = write!(
                table,
                "<tr><td>{}</td><td class=\"mono\">{}</td><td class=\"mono\">{}:{}</td><td>{}</td></tr>",
                badge(finding.verdict.class.letter()),
                html(&resource.address),
                html(&resource.file),
                resource.line,
                html(finding.accepted.as_deref().unwrap_or_default())
            );
        }
        table.push_str("</tbody></table>");
        page.push(&table);
    }
    if audit.has_baseline {
        page.push(&format!("<p>{} in the baseline and not listed.</p>", count(audit.known_count(), "finding")));
    }
    if !audit.read_partly.is_empty() {
        page.push(&format!("<h2>Read in part ({})</h2>", audit.read_partly.len()));
        let mut list = String::from("<ul>");
        for part in audit.read_partly {
            let line = part.line.map(|line| format!(":{line}")).unwrap_or_default();
            let _ = write!(list, "<li><code>{}{line}</code> {}</li>", html(&part.file), html(&part.why));
        }
        page.push(&(list + "</ul>"));
    }
    if !audit.unresolved.is_empty() {
        page.push(&format!("<h2>Modules not followed ({})</h2>", audit.unresolved.len()));
        let mut list = String::from("<ul>");
        for missing in audit.unresolved {
            let _ = write!(
                list,
                "<li><code>{}:{}</code> uses <code>{}</code>: {}</li>",
                html(&missing.file),
                missing.line,
                html(&missing.source),
                html(&missing.why)
            );
        }
        page.push(&(list + "</ul>"));
    }
}

fn about(page: &mut Page) {
    page.push("<h2>About the figures</h2><p>The lock-in figure counts services, not resources: each weighs as its hardest resource does (E 100, X 60, C 30, G 20, M and S 10), and the figure is their mean. It compares an estate with itself over time; it is no price and no probability. Neutral and unknown resources and data sources are not in it. Effort is an estimate for planning, and the transfer of data comes on top.</p>");
    page.push(&format!("<p class=\"dim\">freehold {}</p>", super::VERSION));
}
