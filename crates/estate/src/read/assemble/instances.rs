//! Modules as they are called: one instance per path of calls, each with its own variables.
//!
//! **Invariant:** a module is never an instance within itself, and the number of instances is bounded.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::folders::Folder;
use super::scope::{ModuleScope, WORK_MAX};
use super::{Options, join, references};
use crate::read::attributes::CUT;
use crate::read::expr::Val;
use crate::read::hcl::put_value;
use crate::resource::{Estate, PartlyRead, Resource, Unresolved, Value};

/// Calls within calls that are followed.
const DEPTH_MAX: usize = 24;
/// Instances of modules in an estate.
const INSTANCES_MAX: usize = 20_000;
/// Resources in an estate from modules that are called more than once.
const RESOURCES_MAX: usize = 1_000_000;

/// One instance of a module.
pub(super) struct Instance<'f> {
    /// The folder.
    pub path: &'f str,
    /// What stands before its addresses: `module.net.`.
    pub prefix: String,
    /// The instance and the number of the call that made it.
    pub called_by: Option<(usize, usize)>,
    /// Instances that it calls, by name.
    pub children: HashMap<&'f str, usize>,
    scope: ModuleScope<'f>,
    repeated: u32,
    depth: usize,
    /// The root module, and the path of calls from it.
    root: &'f str,
    key: String,
}

/// All instances.
pub(super) struct Tree<'f> {
    folders: &'f BTreeMap<String, Folder>,
    pub instances: Vec<Instance<'f>>,
    /// Calls whose trouble is already listed, by folder and number.
    listed: HashSet<(&'f str, usize)>,
    work_left: Rc<Cell<u64>>,
}

impl Tree<'_> {
    /// The folder of an instance.
    pub(super) fn folder(&self, instance: usize) -> &Folder {
        &self.folders[self.instances[instance].path]
    }
}

/// Adds the resources of all modules to the estate.
pub(super) fn expand(mut folders: BTreeMap<String, Folder>, options: &Options, estate: &mut Estate) {
    // Taken out, so that resources can be moved into the estate while the rest of the folders is borrowed.
    let mut resources: HashMap<String, Vec<Resource>> =
        folders.iter_mut().map(|(path, folder)| (path.clone(), std::mem::take(&mut folder.resources))).collect();
    let work_left = Rc::new(Cell::new(WORK_MAX));
    let mut tree = Tree { folders: &folders, instances: Vec::new(), listed: HashSet::new(), work_left };
    let called = called(&folders);
    for (path, folder) in &folders {
        if !is_installed(path) && (folder.root || !called.contains(path.as_str())) {
            add_root(&mut tree, path, options, estate);
        }
    }
    // What only calls itself has no root.
    let mut reached: HashSet<&str> = tree.instances.iter().map(|instance| instance.path).collect();
    for path in folders.keys() {
        if !is_installed(path) && !reached.contains(path.as_str()) {
            let before = tree.instances.len();
            add_root(&mut tree, path, options, estate);
            reached.extend(tree.instances[before..].iter().map(|instance| instance.path));
        }
    }
    emit(&tree, &mut resources, estate);
    if tree.work_left.get() == 0
        && let Some(first) = estate.resources.first()
    {
        let why = "the expressions take too much work: some values were left unknown".to_owned();
        estate.read_partly.push(PartlyRead { file: Arc::clone(&first.file), line: None, why });
    }
}

fn is_installed(path: &str) -> bool {
    path.contains(".terraform/")
}

/// Folders that another folder calls.
fn called(folders: &BTreeMap<String, Folder>) -> HashSet<String> {
    let mut called = HashSet::new();
    for (path, folder) in folders {
        for (_, call) in &folder.calls {
            if is_local(&call.source)
                && let Some(target) = join(path, &call.source)
                && target != *path
            {
                called.insert(target);
            }
        }
    }
    called
}

fn is_local(source: &str) -> bool {
    source.starts_with("./") || source.starts_with("../") || matches!(source, "." | "..")
}

fn add_root<'f>(tree: &mut Tree<'f>, path: &'f str, options: &'f Options, estate: &mut Estate) {
    let folder = &tree.folders[path];
    let first = tree.instances.len();
    tree.instances.push(Instance {
        path,
        prefix: String::new(),
        called_by: None,
        children: HashMap::new(),
        scope: ModuleScope::new(folder, path, None, options, &tree.work_left),
        repeated: 1,
        depth: 0,
        root: path,
        key: String::new(),
    });
    // Instances are worked off in the order they are made: breadth first.
    let mut next = first;
    while next < tree.instances.len() {
        call_all(tree, next, options, estate);
        next += 1;
    }
}

fn call_all<'f>(tree: &mut Tree<'f>, at: usize, options: &'f Options, estate: &mut Estate) {
    let folders = tree.folders;
    let folder = &folders[tree.instances[at].path];
    for (number, (file, call)) in folder.calls.iter().enumerate() {
        let caller = &tree.instances[at];
        let key = if caller.key.is_empty() { call.name.to_string() } else { format!("{}.{}", caller.key, call.name) };
        let found = target(folders, caller, &call.source, &key).and_then(|target| match calls_itself(tree, at, target) {
            true => Err("the module calls itself: it was read once"),
            false => Ok(target),
        });
        let target = match found {
            Ok(target) => target,
            Err(why) => {
                let (source, path) = (call.source.to_string(), caller.path);
                if tree.listed.insert((path, number)) {
                    let why = why.to_owned();
                    estate.unresolved.push(Unresolved { file: Arc::clone(file), line: call.line, source, why });
                }
                continue;
            }
        };
        if tree.instances.len() >= INSTANCES_MAX {
            let why = format!("more than {INSTANCES_MAX} instances of modules: this call was not followed");
            estate.read_partly.push(PartlyRead { file: Arc::clone(file), line: Some(call.line), why });
            return;
        }
        let child = &folders[target];
        let mut arguments = HashMap::new();
        let mut repeated = caller.repeated;
        for argument in &call.arguments {
            if argument.name.as_ref() == "count" || argument.name.as_ref() == "for_each" {
                let size = size(&argument.name, &caller.scope.value(&argument.expression));
                repeated = repeated.saturating_mul(size.unwrap_or(1));
            } else if child.variables.contains_key(&argument.name) {
                let value = if argument.expression.is_empty() { Val::Unknown } else { caller.scope.value(&argument.expression) };
                arguments.insert(argument.name.clone(), value);
            }
        }
        let instance = Instance {
            path: target,
            prefix: format!("{}module.{}.", caller.prefix, call.name),
            called_by: Some((at, number)),
            children: HashMap::new(),
            scope: ModuleScope::new(child, target, Some(arguments), options, &tree.work_left),
            repeated,
            depth: caller.depth + 1,
            root: caller.root,
            key,
        };
        let made = tree.instances.len();
        tree.instances.push(instance);
        tree.instances[at].children.insert(&call.name, made);
    }
}

/// The folder that a call means.
fn target<'f>(folders: &'f BTreeMap<String, Folder>, caller: &Instance<'f>, source: &str, key: &str) -> Result<&'f str, &'static str> {
    let path = if is_local(source) {
        join(caller.path, source).ok_or("the module is outside of what is audited: audit the folder above")?
    } else {
        let installed = folders.get(caller.root).and_then(|root| root.installed.get(key));
        installed.cloned().ok_or(match source {
            "" => "the module's source is not a literal",
            _ => "the module is not on disk: run `terraform init` (or `tofu init`) and audit again",
        })?
    };
    match folders.get_key_value(&path) {
        Some((path, _)) => Ok(path),
        None if is_local(source) => Err("there are no Terraform files in this folder"),
        None => Err("the module is not on disk: run `terraform init` (or `tofu init`) and audit again"),
    }
}

fn calls_itself(tree: &Tree<'_>, at: usize, target: &str) -> bool {
    if tree.instances[at].depth >= DEPTH_MAX {
        return true;
    }
    let mut above = Some(at);
    while let Some(instance) = above {
        if tree.instances[instance].path == target {
            return true;
        }
        above = tree.instances[instance].called_by.map(|(caller, _)| caller);
    }
    false
}

/// How many instances `count` or `for_each` asks for.
fn size(name: &str, value: &Val) -> Option<u32> {
    if name == "count" {
        value.number().filter(|n| *n >= 0.0 && *n <= 1_000_000.0).map(|n| n as u32)
    } else {
        value.len().and_then(|n| u32::try_from(n).ok())
    }
}

fn emit(tree: &Tree<'_>, resources: &mut HashMap<String, Vec<Resource>>, estate: &mut Estate) {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for instance in &tree.instances {
        *uses.entry(instance.path).or_default() += 1;
    }
    let mut cut = false;
    for (at, instance) in tree.instances.iter().enumerate() {
        let left = uses.entry(instance.path).or_default();
        *left -= 1;
        let is_last = *left == 0;
        let Some(declared) = resources.get_mut(instance.path) else {
            continue;
        };
        if is_last {
            // The last instance takes the resources, the others copy them.
            for resource in std::mem::take(declared) {
                estate.resources.push(instantiate(tree, at, resource));
            }
        } else if estate.resources.len() + declared.len() <= RESOURCES_MAX {
            for resource in declared.iter() {
                estate.resources.push(instantiate(tree, at, resource.clone()));
            }
        } else if !cut {
            cut = true;
            if let Some(first) = declared.first() {
                let why = format!("more than {RESOURCES_MAX} resources: some instances of modules were left out");
                estate.read_partly.push(PartlyRead { file: Arc::clone(&first.file), line: None, why });
            }
        }
    }
}

/// A declaration as it is in one instance of its module.
fn instantiate(tree: &Tree<'_>, at: usize, mut resource: Resource) -> Resource {
    let instance = &tree.instances[at];
    let mut count = instance.repeated;
    for name in ["count", "for_each"] {
        if let Some(value) = resource.attributes.remove(name) {
            let value = match &value {
                Value::Text(text) | Value::Unknown(text) => instance.scope.value(text),
            };
            count = count.saturating_mul(size(name, &value).unwrap_or(1));
        }
    }
    resource.count = count;
    let mut known: Vec<(String, Val)> = Vec::new();
    for (key, value) in &resource.attributes {
        if let Value::Unknown(text) = value
            && (text.contains("var.") || text.contains("local."))
            && !text.ends_with(CUT)
        {
            match instance.scope.value(text) {
                Val::Unknown => {}
                value => known.push((key.clone(), value)),
            }
        }
    }
    for (key, value) in known {
        resource.attributes.remove(&key);
        put_value(&mut resource.attributes, &key, &value);
    }
    if !resource.references.is_empty() {
        resource.references = references::resolve(tree, at, &resource.references);
        let own = &resource.address;
        resource.references.retain(|to| to.strip_prefix(&instance.prefix) != Some(own.as_str()));
    }
    if !instance.prefix.is_empty() {
        resource.address.insert_str(0, &instance.prefix);
    }
    resource
}
