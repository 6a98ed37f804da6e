//! The audit for a terminal: what matters first, grouped by the work to leave.

use std::collections::BTreeMap;

use super::layout::{Columns, cut, wrap};
use super::{count, days, escape, total};
use crate::catalogue::{Class, Effort};
use crate::finding::{Audit, Group, provider_name};

/// How the table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colour (SGR sequences); for a terminal only.
    pub colour: bool,
    /// Width to fit in, in characters.
    pub width: usize,
    /// Whether to list every resource, not only services.
    pub all: bool,
}

impl Default for Style {
    fn default() -> Style {
        Style { colour: false, width: 100, all: false }
    }
}

/// Longest name of a service in the table.
const SERVICE_CHARS: usize = 40;

/// Fewest characters in which a replacement stands beside its service.
const REPLACEMENT_CHARS_MIN: usize = 36;

/// Resources listed under a service when not all are asked for.
const EXAMPLES: usize = 3;

/// Notes listed when not all are asked for.
const NOTES_MAX: usize = 10;

/// Notes listed for one file when not all are asked for.
const NOTES_PER_FILE_MAX: usize = 3;

/// The whole report.
pub fn to_text(audit: &Audit<'_>, style: Style) -> String {
    let groups = audit.groups(|finding| finding.is_open());
    let mut text = String::new();
    for class in [Class::E, Class::X, Class::C, Class::G, Class::M, Class::S, Class::U] {
        let members: Vec<&Group<'_, '_>> = groups.iter().filter(|group| group.class == class).collect();
        if !members.is_empty() {
            section(&mut text, class, &members, style);
        }
    }
    notes(&mut text, audit, style);
    summary(&mut text, audit, &groups, style);
    text
}

fn section(text: &mut String, class: Class, groups: &[&Group<'_, '_>], style: Style) {
    let resources: usize = groups.iter().map(|group| group.findings.len()).sum();
    let heading = format!("{}  {}", class.letter(), class.word().to_uppercase());
    text.push_str(&format!("{}  {}: {}\n", paint(&heading, class, style), count(resources, "resource"), class.work()));
    text.push_str(&dim(&wrap(class.meaning(), 3, style.width), style));
    let inline = !style.all && matches!(class, Class::S | Class::M | Class::G);
    let rows: Vec<[String; 4]> = groups
        .iter()
        .map(|group| {
            let unknown = class == Class::U;
            let service = if unknown { group.distinct_kinds() } else { group.service.to_owned() };
            let effort = if unknown { String::new() } else { days(group.effort) };
            [cut(&service, SERVICE_CHARS), provider_name(group.provider).to_owned(), group.findings.len().to_string(), effort]
        })
        .collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let room = style.width.saturating_sub(3 + (0..4).map(|column| widest(column) + 2).sum::<usize>());
    let replacement = |group: &Group<'_, '_>| group.distinct(|verdict| &verdict.replacement).first().map(|text| format!("→ {text}"));
    // Where there is no room beside the effort, the replacement has a line of its own.
    let fits = |group: &&Group<'_, '_>| replacement(group).is_none_or(|text| text.chars().count() <= room);
    let beside = room >= REPLACEMENT_CHARS_MIN || groups.iter().all(fits);
    let mut columns = Columns::plain(5).right(2).indent(3);
    for (row, group) in rows.into_iter().zip(groups) {
        let last = replacement(group).filter(|_| beside).map(|text| cut(&text, room));
        columns.row(row.into_iter().chain([last.unwrap_or_default()]).collect());
    }
    for (line, group) in columns.render().lines().zip(groups) {
        text.push_str(line);
        text.push('\n');
        if let Some(below) = replacement(group).filter(|_| !beside) {
            text.push_str(&wrap(&below, 5, style.width));
        }
        if !inline {
            examples(text, group, style);
        }
    }
    text.push('\n');
}

fn examples(text: &mut String, group: &Group<'_, '_>, style: Style) {
    let shown = if style.all { group.findings.len() } else { EXAMPLES.min(group.findings.len()) };
    for finding in &group.findings[..shown] {
        let resource = finding.resource;
        let line = format!("     {}  {}:{}", resource.address, resource.file, resource.line);
        text.push_str(&dim(&escape::terminal(&line), style));
        text.push('\n');
    }
    if shown < group.findings.len() {
        text.push_str(&dim(&format!("     and {} more (--all lists them)", group.findings.len() - shown), style));
        text.push('\n');
    }
}

fn notes(text: &mut String, audit: &Audit<'_>, style: Style) {
    let limit = if style.all { usize::MAX } else { NOTES_MAX };
    let more = |text: &mut String, total: usize| {
        if total > limit {
            text.push_str(&format!("   and {} more (--all lists them)\n", total - limit));
        }
    };
    if !audit.read_partly.is_empty() {
        read_partly(text, audit, limit, style);
    }
    if !audit.unresolved.is_empty() {
        text.push_str(&format!("Not followed: {}\n", count(audit.unresolved.len(), "module")));
        for missing in audit.unresolved.iter().take(limit) {
            note(text, &format!("{}:{}  {}", missing.file, missing.line, missing.source), &missing.why, style);
        }
        more(text, audit.unresolved.len());
        text.push('\n');
    }
}

fn read_partly(text: &mut String, audit: &Audit<'_>, limit: usize, style: Style) {
    let mut notes_of: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut shown, mut left_out) = (0, 0);
    let mut lines = String::new();
    for part in audit.read_partly {
        let here = notes_of.entry(&part.file).or_default();
        *here += 1;
        if shown >= limit || (!style.all && *here > NOTES_PER_FILE_MAX) {
            left_out += 1;
            continue;
        }
        shown += 1;
        let line = part.line.map(|line| format!(":{line}")).unwrap_or_default();
        note(&mut lines, &format!("{}{line}", part.file), &part.why, style);
    }
    text.push_str(&format!("Read in part: {}\n{lines}", count(notes_of.len(), "file")));
    if left_out > 0 {
        text.push_str(&format!("   and {} more (--all lists them)\n", count(left_out, "place")));
    }
    text.push('\n');
}

/// What and where on a line, why under it.
fn note(text: &mut String, place: &str, why: &str, style: Style) {
    text.push_str(&format!("   {}\n", escape::terminal(place)));
    text.push_str(&dim(&wrap(why, 5, style.width), style));
}

fn summary(text: &mut String, audit: &Audit<'_>, groups: &[Group<'_, '_>], style: Style) {
    let classes: Vec<String> = Class::ALL
        .into_iter()
        .rev()
        .filter_map(|class| {
            let found = audit.by_class.get(&class).copied().filter(|found| *found > 0)?;
            Some(format!("{} {found}", paint(class.letter(), class, style)))
        })
        .collect();
    let files = count(usize::try_from(audit.files).unwrap_or(usize::MAX), "file");
    text.push_str(&format!("{} in {files}", count(audit.findings.len(), "resource")));
    if !classes.is_empty() {
        text.push_str(&format!(":  {}", classes.join("  ")));
    }
    text.push('\n');
    if audit.lock_in.services > 0 {
        let parts: Vec<String> = audit
            .lock_in
            .parts
            .iter()
            .filter(|part| part.services > 0)
            .map(|part| format!("{} {:.1}", part.class.letter(), part.points))
            .collect();
        let services = count(audit.lock_in.services, "service");
        let line = format!("Lock-in {:.1} of 100 over {services} ({})", audit.lock_in.figure, parts.join(" + "));
        text.push_str(&wrap(&line, 0, style.width));
    }
    let effort: Effort = total(groups.iter().map(|group| &group.effort));
    let accepted = audit.accepted_count();
    let hides = audit.has_baseline || accepted > 0;
    if effort.high > 0.0 {
        let what = if hides { "Work to leave what is listed" } else { "Work to leave" };
        let line = format!("{what}: {} of one engineer who knows both sides, data transfer apart", days(effort));
        text.push_str(&wrap(&line, 0, style.width));
    }
    if hides && groups.is_empty() {
        text.push_str(if audit.has_baseline { "Nothing new since the baseline\n" } else { "Nothing open\n" });
    }
    if accepted > 0 {
        text.push_str(&format!("{} accepted and not listed\n", count(accepted, "finding")));
    }
    if audit.has_baseline {
        text.push_str(&format!("{} in the baseline and not listed\n", count(audit.known_count(), "finding")));
    }
    if audit.findings.is_empty() {
        text.push_str("Nothing of a known notation was found here. `freehold audit --help` lists what is read.\n");
    }
}

fn paint(text: &str, class: Class, style: Style) -> String {
    if !style.colour {
        return text.to_owned();
    }
    let code = match class {
        Class::E => "1;31",
        Class::X => "33",
        Class::C => "1;33",
        Class::U => "35",
        Class::G => "36",
        Class::M | Class::S => "32",
        Class::N => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

fn dim(text: &str, style: Style) -> String {
    if style.colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
}
