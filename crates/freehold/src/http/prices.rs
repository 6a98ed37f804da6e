//! The price list as a page, for everybody.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse, Response};
use freehold_control::billing::PricesView;

use super::App;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1c20;--soft:#5c6370;--line:#d5d9e0;--paper:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#a0a7b4;--line:#3a404b;--paper:#16181c}}\
body{margin:2rem auto;max-width:52rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem}p{color:var(--soft)}.wide{overflow-x:auto}\
table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.4rem .5rem;border-bottom:1px solid var(--line)}\
thead th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}";

/// The page.
pub async fn page(State(app): State<App>) -> Response {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    page.push_str(&format!("<title>Prices</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Prices</h1>\n"));
    let prices = app.control.prices(None);
    list(&mut page, &prices);
    if let Some(next) = &prices.upcoming {
        page.push_str("<h1>To come</h1>\n");
        list(&mut page, next);
    }
    page.push_str("<p>The same for programs: <a href=\"/api/v1/prices\">/api/v1/prices</a></p>\n</main>\n</body>\n</html>\n");
    let mut response = Html(page).into_response();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn list(page: &mut String, prices: &PricesView) {
    let Some(since) = prices.effective_at else {
        page.push_str("<p>No prices are published: what this service computes is free.</p>\n");
        return;
    };
    page.push_str(&format!("<p>Version {} of the price list, from {since}. All prices in {}.</p>\n", prices.number, prices.currency));
    if !prices.models.is_empty() {
        page.push_str("<h2>Models, 1,000,000 tokens each</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Model</th>");
        page.push_str("<th scope=\"col\" class=\"n\">Input</th><th scope=\"col\" class=\"n\">Cached input</th>");
        page.push_str("<th scope=\"col\" class=\"n\">Output</th></tr></thead>\n<tbody>\n");
        for (name, price) in &prices.models {
            let name = if name == "*" { "Every other model".to_owned() } else { escape(name) };
            page.push_str(&format!(
                "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                price.input,
                price.cached.unwrap_or(price.input),
                price.output
            ));
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
    if !prices.skus.is_empty() {
        page.push_str("<h2>Instances, a second each</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Size</th>");
        page.push_str("<th scope=\"col\" class=\"n\">Price</th></tr></thead>\n<tbody>\n");
        for (name, price) in &prices.skus {
            page.push_str(&format!("<tr><th scope=\"row\">{}</th><td class=\"n\">{price}</td></tr>\n", escape(name)));
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
