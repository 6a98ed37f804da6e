//! Which resources a resource refers to, through locals, variables, arguments and outputs.
//!
//! **Invariant:** a budget of steps ends every search, circles included.

use super::instances::Tree;
use crate::read::facts::REFERENCES_MAX;

/// Steps of one search.
const STEPS_MAX: usize = 256;

/// Resolves what a resource of an instance mentions to addresses of the estate.
pub(super) fn resolve(tree: &Tree<'_>, instance: usize, mentions: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut steps = 0;
    // What is still to be followed, and in which instance.
    let mut open: Vec<(usize, &str)> = mentions.iter().rev().map(|mention| (instance, mention.as_str())).collect();
    while let Some((at, mention)) = open.pop() {
        steps += 1;
        if steps > STEPS_MAX || found.len() >= REFERENCES_MAX {
            break;
        }
        let node = &tree.instances[at];
        let folder = tree.folder(at);
        let mut parts = mention.splitn(3, '.');
        match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next()) {
            ("var", name, _) => {
                let Some((parent, call)) = node.called_by else {
                    continue;
                };
                let arguments = &tree.folder(parent).calls[call].1.arguments;
                if let Some(argument) = arguments.iter().find(|argument| *argument.name == *name) {
                    open.extend(argument.mentions.iter().map(|mention| (parent, &**mention)));
                }
            }
            ("local", name, _) => {
                if let Some(local) = folder.locals.get(name) {
                    open.extend(local.mentions.iter().map(|mention| (at, &**mention)));
                }
            }
            ("module", name, Some(output)) => {
                let Some(&child) = node.children.get(name) else {
                    continue;
                };
                if let Some(output) = tree.folder(child).outputs.get(output) {
                    open.extend(output.mentions.iter().map(|mention| (child, &**mention)));
                }
            }
            _ => {
                if folder.addresses.contains(mention) {
                    let address = format!("{}{mention}", node.prefix);
                    if !found.contains(&address) {
                        found.push(address);
                    }
                }
            }
        }
    }
    found
}
