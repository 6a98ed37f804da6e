//! An invoice as one HTML page that needs nothing else.
//!
//! **Invariant:** every text that came from outside passes [`escape`].

use super::{Invoice, InvoiceError, InvoiceKind, Line, Party, about, amount_text, count_text, per_text, summary};
use crate::calendar::date_text;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1c20;--soft:#5c6370;--line:#d5d9e0;--paper:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#a0a7b4;--line:#3a404b;--paper:#16181c}}\
body{margin:2rem auto;max-width:52rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
h1{font-size:1.6rem;margin:0 0 1rem}\
.parties{display:flex;flex-wrap:wrap;gap:2rem;margin:1.5rem 0}.parties div{flex:1 1 14rem;overflow-wrap:anywhere}\
h2{font-size:.85rem;color:var(--soft);margin:0;font-weight:600}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:0}dt{color:var(--soft)}dd{margin:0}\
.wide{overflow-x:auto}table{width:100%;border-collapse:collapse}\
th,td{text-align:left;padding:.35rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}\
thead th{color:var(--soft);font-weight:600}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
tr.part td{border:0;color:var(--soft);padding-top:0}tr.part td:first-child{padding-left:1.5rem}tr.head td,tr.head th{border:0}\
tbody{border-bottom:1px solid var(--line);break-inside:avoid}tfoot th{font-weight:400}tfoot .strong>*{font-weight:700}\
.note{white-space:pre-line;color:var(--soft);margin-top:2rem;overflow-wrap:anywhere}\
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff}body{margin:0;max-width:none;font-size:10pt}@page{margin:18mm}thead{display:table-header-group}}";

/// The page. Fails if the invoice does not add up.
pub fn render(invoice: &Invoice) -> Result<String, InvoiceError> {
    invoice.check()?;
    let title = escape(&invoice.title());
    let mut page = String::with_capacity(8192);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    page.push_str(&format!("<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"));
    page.push_str(&facts(invoice));
    page.push_str("<div class=\"parties\">\n");
    page.push_str(&party("From", &invoice.seller));
    page.push_str(&party("To", &invoice.buyer));
    page.push_str("</div>\n<div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">Description</th>");
    page.push_str("<th scope=\"col\" class=\"n\">Quantity</th><th scope=\"col\" class=\"n\">Unit price</th>");
    page.push_str(&format!("<th scope=\"col\" class=\"n\">Amount, {}</th></tr></thead>\n", invoice.currency));
    invoice.lines.iter().for_each(|line| page.push_str(&rows(line)));
    page.push_str("<tfoot>\n");
    for (text, amount, strong) in summary(invoice) {
        let class = if strong { " class=\"strong\"" } else { "" };
        let text = escape(&text);
        page.push_str(&format!(
            "<tr{class}><th scope=\"row\" colspan=\"3\">{text}</th><td class=\"n\">{}</td></tr>\n",
            amount_text(amount)
        ));
    }
    page.push_str("</tfoot>\n</table>\n</div>\n");
    if !invoice.note.is_empty() {
        page.push_str(&format!("<p class=\"note\">{}</p>\n", escape(&invoice.note)));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn facts(invoice: &Invoice) -> String {
    let mut facts = vec![("Date", date_text(invoice.issued_at)), ("Period", invoice.month.to_string())];
    facts.extend(invoice.due_at.map(|due| ("Due", date_text(due))));
    facts.push(("State", invoice.state.as_str().to_owned()));
    if let InvoiceKind::CreditNote { of_number, .. } = &invoice.kind {
        facts.push(("For invoice", of_number.clone()));
    }
    let rows: String = facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value))).collect();
    format!("<dl>{rows}</dl>\n")
}

fn party(role: &str, party: &Party) -> String {
    let lines: String = party.lines.iter().map(|line| format!("<br>{}", escape(line))).collect();
    format!("<div><h2>{role}</h2><strong>{}</strong>{lines}</div>\n", escape(&party.name))
}

fn rows(line: &Line) -> String {
    let mut rows = format!("<tbody>\n<tr class=\"head\"><th scope=\"row\">{}</th>", escape(&about(line)));
    match line.records {
        0 => rows.push_str("<td></td><td></td>"),
        records => rows.push_str(&format!(
            "<td class=\"n\">{} records</td><td class=\"n\">price list {}</td>",
            count_text(records),
            line.price_number
        )),
    }
    rows.push_str(&format!("<td class=\"n\">{}</td></tr>\n", amount_text(line.amount)));
    for part in &line.parts {
        rows.push_str(&format!(
            "<tr class=\"part\"><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td></td></tr>\n",
            escape(&part.unit),
            count_text(part.quantity),
            per_text(part)
        ));
    }
    rows.push_str("</tbody>\n");
    rows
}

/// Text for HTML, in content and in attributes. Control characters, which HTML does not have, become visible.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            // Controls, and marks that turn the direction of what follows.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            control if control.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_from_outside_is_markup() {
        assert_eq!(escape("<b a=\"1\" b='2'>&"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("a\0b\u{202e}c"), "a\u{fffd}b\u{fffd}c");
    }
}
