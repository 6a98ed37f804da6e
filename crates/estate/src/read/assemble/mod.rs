//! From the facts of many files to one estate.
//!
//! **Invariant:** the result does not depend on the order of the files, every declaration is in it at least once, and
//! modules that call themselves end.

mod folders;
mod instances;
mod references;
mod scope;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::facts::{FileFacts, Nested};
use crate::resource::{Estate, Notation, Unresolved};

/// What is known beside the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of variables of root modules, as expressions are written in `.tfvars`; they win over files.
    pub variables: BTreeMap<String, String>,
    /// The workspace, `default` if empty.
    pub workspace: String,
}

/// Joins the facts of files.
#[must_use]
pub fn assemble(mut files: Vec<FileFacts>, options: &Options) -> Estate {
    files.sort_by(|a, b| a.file.cmp(&b.file));
    let mut estate = Estate { files: files.iter().filter(|file| file.notation.is_some()).count() as u64, ..Estate::default() };
    let names: HashSet<Arc<str>> = files.iter().map(|file| Arc::clone(&file.file)).collect();
    for file in &mut files {
        estate.bytes += file.bytes;
        estate.read_partly.append(&mut file.read_partly);
        estate.unresolved.append(&mut file.unresolved);
        for nested in std::mem::take(&mut file.nested) {
            estate.unresolved.extend(missing(file, nested, &names));
        }
        if file.notation != Some(Notation::Terraform) {
            estate.resources.append(&mut file.resources);
        }
    }
    files.retain(|file| file.notation == Some(Notation::Terraform));
    instances::expand(folders::group(files), options, &mut estate);
    estate.resources.sort_by(|a, b| {
        // Most neighbours are of one file and share its name.
        let files = if Arc::ptr_eq(&a.file, &b.file) { Ordering::Equal } else { a.file.cmp(&b.file) };
        files.then(a.line.cmp(&b.line)).then_with(|| a.address.cmp(&b.address))
    });
    estate.unresolved.sort();
    estate.unresolved.dedup();
    estate.read_partly.sort_by(|a, b| (&a.file, a.line, &a.why).cmp(&(&b.file, b.line, &b.why)));
    estate
}

/// A nested template that is not among the files.
fn missing(file: &FileFacts, nested: Nested, names: &HashSet<Arc<str>>) -> Option<Unresolved> {
    let found = join(folder_of(&file.file), &nested.source).is_some_and(|path| names.contains(path.as_str()));
    (!found).then(|| Unresolved {
        file: Arc::clone(&file.file),
        line: nested.line,
        source: nested.source.into(),
        why: nested.advice.to_owned(),
    })
}

/// The folder of a path, empty at the top.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A relative path as seen from a folder; `None` if it leaves what is audited.
pub(crate) fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for part in relative.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                // A path that itself begins above the audited folder stays what it is.
                if parts.last().is_none_or(|last| *last == "..") {
                    return None;
                }
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    // An absolute path stays absolute.
    Some(if folder.starts_with('/') { format!("/{joined}") } else { joined })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(join("a/b", "../c/./d").as_deref(), Some("a/c/d"));
        assert_eq!(join("", "./m").as_deref(), Some("m"));
        assert_eq!(join("a", "../..").as_deref(), None);
        assert_eq!(join("/x/a", "../b").as_deref(), Some("/x/b"));
    }
}
