//! The audit as CSV (RFC 4180), one line per finding, for spreadsheets.
//!
//! **Invariant:** no field that an audited file controls is read as a formula.

use super::escape::csv;
use crate::finding::{Audit, provider_key};

const HEADER: &str = "file,line,address,type,provider,service,class,class_meaning,interoperability,data_portability,\
application_portability,replacement,exit_path,effort_days_low,effort_days_high,confidence,why,evidence_url,evidence_date";

/// The open findings.
pub fn to_text(audit: &Audit<'_>) -> String {
    let mut text = format!("{HEADER}\r\n");
    for finding in audit.open() {
        let (resource, verdict) = (finding.resource, &finding.verdict);
        let (url, date) = verdict.evidence.as_ref().map_or(("", ""), |evidence| (evidence.url.as_ref(), evidence.date.as_ref()));
        let facets = verdict.facets;
        let fields = [
            csv(&resource.file),
            resource.line.to_string(),
            csv(&resource.address),
            csv(&resource.kind),
            provider_key(resource.provider).to_owned(),
            csv(&verdict.service),
            verdict.class.letter().to_owned(),
            csv(verdict.class.meaning()),
            facets.interoperability.to_string(),
            facets.data_portability.to_string(),
            facets.application_portability.to_string(),
            csv(&verdict.replacement),
            csv(&verdict.exit_path),
            verdict.effort_days.low.to_string(),
            verdict.effort_days.high.to_string(),
            verdict.confidence.to_string(),
            csv(&verdict.why),
            csv(url),
            date.to_owned(),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}
