//! The audit as Markdown, for a pull request or a wiki.

use std::fmt::Write as _;

use super::escape::{markdown, markdown_code};
use super::{count, days, total};
use crate::catalogue::Class;
use crate::contracts::dates;
use crate::finding::{Audit, provider_name};

/// Resources listed under a service.
const LISTED_MAX: usize = 200;

/// The whole report.
pub fn to_text(audit: &Audit<'_>) -> String {
    let groups = audit.groups(|finding| finding.is_open());
    let files = count(usize::try_from(audit.files).unwrap_or(usize::MAX), "file");
    let mut text = format!("# Lock-in audit\n\n{} in {files}, {}.\n\n", count(audit.findings.len(), "resource"), dates::text(audit.today));
    let _ = writeln!(
        text,
        "**Lock-in {:.1} of 100** over {}. Work to leave: {}, data transfer apart.\n",
        audit.lock_in.figure,
        count(audit.lock_in.services, "service"),
        days(total(groups.iter().map(|group| &group.effort)))
    );
    text.push_str("| class | meaning | work to leave | resources | services | points |\n|---|---|---|---:|---:|---:|\n");
    for class in Class::ALL.into_iter().rev() {
        let resources = audit.by_class.get(&class).copied().unwrap_or(0);
        let part = audit.lock_in.parts.iter().find(|part| part.class == class);
        let (services, points) =
            part.map_or((String::new(), String::new()), |part| (part.services.to_string(), format!("{:.1}", part.points)));
        let _ = writeln!(
            text,
            "| {} {} | {} | {} | {resources} | {services} | {points} |",
            class.letter(),
            class.word(),
            class.meaning(),
            class.work()
        );
    }
    for class in [Class::E, Class::X, Class::C, Class::G, Class::M, Class::S, Class::U] {
        let members: Vec<_> = groups.iter().filter(|group| group.class == class).collect();
        if members.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {} {}\n", class.letter(), class.word());
        for group in members {
            let _ = write!(
                text,
                "\n### {} ({}, {})\n\n",
                markdown(group.service),
                provider_name(group.provider),
                count(group.findings.len(), "resource")
            );
            for why in group.distinct(|verdict| &verdict.why).into_iter().take(3) {
                let _ = writeln!(text, "{}\n", markdown(why));
            }
            for replacement in group.distinct(|verdict| &verdict.replacement).into_iter().take(3) {
                let _ = writeln!(text, "- Replacement: {}", markdown(replacement));
            }
            for path in group.distinct(|verdict| &verdict.exit_path).into_iter().take(3) {
                let _ = writeln!(text, "- Data: {}", markdown(path));
            }
            let _ = writeln!(text, "- Effort: {}", days(group.effort));
            text.push_str("\n| resource | type | where |\n|---|---|---|\n");
            for finding in group.findings.iter().take(LISTED_MAX) {
                let resource = finding.resource;
                let _ = writeln!(
                    text,
                    "| {} | {} | {} |",
                    markdown_code(&resource.address),
                    markdown_code(&resource.kind),
                    markdown_code(&format!("{}:{}", resource.file, resource.line))
                );
            }
            if group.findings.len() > LISTED_MAX {
                let _ = writeln!(text, "\nand {} more", group.findings.len() - LISTED_MAX);
            }
        }
    }
    notes(&mut text, audit);
    text
}

fn notes(text: &mut String, audit: &Audit<'_>) {
    if !audit.read_partly.is_empty() {
        text.push_str("\n## Read in part\n\n");
        for part in audit.read_partly {
            let line = part.line.map(|line| format!(":{line}")).unwrap_or_default();
            let _ = writeln!(text, "- {} {}", markdown_code(&format!("{}{line}", part.file)), markdown(&part.why));
        }
    }
    if !audit.unresolved.is_empty() {
        text.push_str("\n## Not on disk\n\n");
        for missing in audit.unresolved {
            let place = format!("{}:{}", missing.file, missing.line);
            let _ = writeln!(text, "- {} uses {}: {}", markdown_code(&place), markdown_code(&missing.source), markdown(&missing.why));
        }
    }
    let accepted = audit.accepted_count();
    if accepted > 0 || audit.has_baseline {
        let _ = writeln!(text, "\n{} accepted, {} in the baseline; they are not listed.", count(accepted, "finding"), audit.known_count());
    }
}
