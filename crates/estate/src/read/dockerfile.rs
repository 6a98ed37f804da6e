//! Dockerfiles: the images that a build begins from or copies from.
//!
//! **Invariant:** line by line; a stage of the same file is not an image.

use std::collections::{HashMap, HashSet};

use super::attributes::cut;
use super::facts::FileFacts;
use super::images;
use super::text::lines;
use crate::resource::Notation;

/// Reads a file.
pub(crate) fn read(text: &str, facts: &mut FileFacts) {
    let mut arguments: HashMap<String, String> = HashMap::new();
    let mut stages: HashSet<String> = HashSet::new();
    let mut number_of_stage = 0_usize;
    let mut copied: HashSet<String> = HashSet::new();
    for (number, line) in lines(text) {
        let mut words = cut(line, 4096).split_whitespace();
        let Some(instruction) = words.next() else {
            continue;
        };
        if instruction.eq_ignore_ascii_case("ARG") {
            for (name, default) in words.filter_map(|word| word.split_once('=')) {
                arguments.entry(name.to_owned()).or_insert_with(|| default.trim_matches(['"', '\'']).to_owned());
            }
        } else if instruction.eq_ignore_ascii_case("FROM") {
            let mut words = words.filter(|word| !word.starts_with("--"));
            let Some(written) = words.next() else {
                facts.partly(Some(number), "FROM needs an image");
                continue;
            };
            let stage = match words.next() {
                Some(word) if word.eq_ignore_ascii_case("AS") => words.next().map(str::to_ascii_lowercase),
                _ => None,
            };
            let address = stage.clone().unwrap_or_else(|| format!("stage-{number_of_stage}"));
            number_of_stage += 1;
            let image = substitute(written, &arguments);
            if !stages.contains(&image.to_ascii_lowercase()) {
                match images::signal(&facts.file, number, address, &image, Notation::Dockerfile) {
                    Some(found) => facts.push(found),
                    None if image == "scratch" => {}
                    None => facts.partly(Some(number), format!("the image {written} depends on a build argument")),
                }
            }
            stages.extend(stage);
        } else if instruction.eq_ignore_ascii_case("COPY") {
            let from = words.find_map(|word| word.strip_prefix("--from=")).map(|from| substitute(from, &arguments));
            if let Some(from) = from
                && from.contains(['/', ':'])
                && copied.insert(from.clone())
                && let Some(found) = images::signal(&facts.file, number, format!("copy-from {from}"), &from, Notation::Dockerfile)
            {
                facts.push(found);
            }
        }
    }
}

/// Replaces `$NAME`, `${NAME}` and `${NAME:-default}` by the defaults of `ARG`s, once.
fn substitute(written: &str, arguments: &HashMap<String, String>) -> String {
    let mut made = String::new();
    let mut rest = written;
    // Enough for any image's name; more is nobody's.
    while let Some(at) = rest.find('$').filter(|_| made.len() <= 1024) {
        made.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, default, length) = match after.strip_prefix('{') {
            Some(inside) => {
                let end = inside.find('}').unwrap_or(inside.len());
                let (name, default) = inside[..end].split_once(":-").unwrap_or((&inside[..end], ""));
                (name, default, (end + 2).min(after.len()))
            }
            None => {
                let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                (&after[..end], "", end)
            }
        };
        match arguments.get(name).map(String::as_str).or(Some(default).filter(|default| !default.is_empty())) {
            Some(value) => made.push_str(value),
            None => made.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    made.push_str(rest);
    made
}
