//! The line scanner: finds declarations in a file that is not HCL as a whole.
//!
//! **Invariant:** looks at one line at a time, so nothing elsewhere in the file can hide a declaration from it.

use std::collections::HashSet;

use super::body::new_resource;
use crate::read::facts::{CONFIDENCE_SCANNED, FileFacts, ModuleCall};
use crate::read::text::lines;

/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 4096;

/// Adds the resources and module calls that the reader did not find.
pub(super) fn add_missing(text: &str, facts: &mut FileFacts) {
    let mut found: HashSet<u32> = facts.resources.iter().map(|resource| resource.line).collect();
    found.extend(facts.module.iter().flat_map(|module| module.calls.iter().map(|call| call.line)));
    for (number, line) in lines(text) {
        let head = crate::read::attributes::cut(line, LINE_BYTES_MAX);
        match header(head) {
            Some((block @ ("resource" | "data"), type_name, name)) if !name.is_empty() && found.insert(number) => {
                let mut resource = new_resource(&facts.file, number, block, type_name, name);
                resource.confidence = CONFIDENCE_SCANNED;
                facts.push(resource);
            }
            Some(("module", name, "")) if found.insert(number) => {
                let call = ModuleCall { name: name.into(), line: number, ..ModuleCall::default() };
                facts.module_mut().calls.push(call);
            }
            _ => {}
        }
    }
}

/// Block type and labels of a line that looks like the head of a block.
fn header(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim_start();
    let block = ["resource", "data", "module"].into_iter().find(|block| line.starts_with(block))?;
    let rest = line[block.len()..].trim_start();
    let (first, rest) = label(rest)?;
    let rest = rest.trim_start();
    match label(rest) {
        Some((second, _)) => Some((block, first, second)),
        None => rest.starts_with('{').then_some((block, first, "")),
    }
}

fn label(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let end = inside.find('"')?;
    let name = &inside[..end];
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b) || b >= 0x80);
    is_name.then(|| (name, &inside[end + 1..]))
}
