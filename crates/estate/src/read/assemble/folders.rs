//! Terraform files grouped into folders, which are modules.
//!
//! **Invariant:** names are declared once per folder; of two equal names the first in file order counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{folder_of, join};
use crate::read::facts::{FileFacts, ModuleCall, Named};
use crate::resource::Resource;

/// A module: all Terraform files of a folder.
#[derive(Default)]
pub(super) struct Folder {
    pub resources: Vec<Resource>,
    /// Addresses of the resources.
    pub addresses: HashSet<Box<str>>,
    pub calls: Vec<(Arc<str>, ModuleCall)>,
    pub variables: HashMap<Box<str>, Box<str>>,
    pub locals: HashMap<Box<str>, Named>,
    pub outputs: HashMap<Box<str>, Named>,
    /// Values from `terraform.tfvars` and `*.auto.tfvars`, later files first.
    pub assigned: HashMap<Box<str>, Box<str>>,
    /// Folders of installed modules by their path of calls.
    pub installed: HashMap<Box<str>, String>,
    /// Runs on its own even if something calls it.
    pub root: bool,
}

/// The end of the folder that `terraform init` writes.
const INSTALLED: &str = ".terraform/modules";

/// Groups files, which are sorted by path, into folders.
pub(super) fn group(files: Vec<FileFacts>) -> BTreeMap<String, Folder> {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for file in files {
        let mut at = folder_of(&file.file);
        let name = file.file.rsplit('/').next().unwrap_or_default();
        if name == "modules.json" {
            // What is installed is said of the root module.
            at = at.strip_suffix(INSTALLED).map_or(at, |root| root.trim_end_matches('/'));
        }
        let folder = match folders.get_mut(at) {
            Some(folder) => folder,
            None => folders.entry(at.to_owned()).or_default(),
        };
        folder.addresses.extend(file.resources.iter().map(|resource| Box::from(resource.address.as_str())));
        if folder.resources.is_empty() {
            folder.resources = file.resources;
        } else {
            folder.resources.extend(file.resources);
        }
        let Some(module) = file.module else { continue };
        folder.calls.extend(module.calls.into_iter().map(|call| (Arc::clone(&file.file), call)));
        for variable in module.variables {
            folder.variables.entry(variable.name).or_insert(variable.expression);
        }
        for local in module.locals {
            folder.locals.entry(local.name.clone()).or_insert(local);
        }
        for output in module.outputs {
            folder.outputs.entry(output.name.clone()).or_insert(output);
        }
        let is_loaded = name.starts_with("terraform.tfvars") || name.contains(".auto.tfvars");
        if is_loaded {
            folder.root = true;
            // Sorted by name, `a.auto.tfvars` comes before `terraform.tfvars`, over which it wins.
            let wins = name.contains(".auto.tfvars");
            for assigned in module.assigned {
                if wins || !folder.assigned.contains_key(&assigned.name) {
                    folder.assigned.insert(assigned.name, assigned.expression);
                }
            }
        }
        folder.root |= module.root || !module.installed.is_empty();
        for installed in module.installed {
            if let Some(dir) = join(at, &installed.dir) {
                folder.installed.insert(installed.key, dir);
            }
        }
    }
    folders
}
