//! The names that an expression of a module can use.
//!
//! **Invariant:** a local is evaluated once per instance of its module; locals that need each other are unknown.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::Options;
use super::folders::Folder;
use crate::read::expr::{Scope, Val, evaluate_counted, parse, unquote};

/// How deep locals may build on locals.
const DEPTH_MAX: usize = 24;

/// Work on expressions that an estate may cost: bytes parsed and steps evaluated. A second or two.
pub(super) const WORK_MAX: u64 = 1 << 30;

/// The scope of one instance of a module.
pub(super) struct ModuleScope<'f> {
    folder: &'f Folder,
    folder_path: &'f str,
    /// Arguments of the call; `None` for a root module.
    arguments: Option<HashMap<Box<str>, Val>>,
    options: &'f Options,
    variables: RefCell<HashMap<Box<str>, Val>>,
    locals: RefCell<HashMap<Box<str>, Val>>,
    depth: Cell<usize>,
    /// Work that is left for all modules together.
    work_left: Rc<Cell<u64>>,
}

impl<'f> ModuleScope<'f> {
    /// The scope of a root module (`arguments` is `None`) or of a called one.
    pub(super) fn new(
        folder: &'f Folder,
        folder_path: &'f str,
        arguments: Option<HashMap<Box<str>, Val>>,
        options: &'f Options,
        work_left: &Rc<Cell<u64>>,
    ) -> Self {
        ModuleScope {
            folder,
            folder_path,
            arguments,
            options,
            variables: RefCell::default(),
            locals: RefCell::default(),
            depth: Cell::new(0),
            work_left: Rc::clone(work_left),
        }
    }

    /// The value of an expression's text.
    pub(super) fn value(&self, text: &str) -> Val {
        if let Some(plain) = unquote(text) {
            return Val::str(plain);
        }
        if self.depth.get() > DEPTH_MAX || self.work_left.get() == 0 {
            return Val::Unknown;
        }
        self.depth.set(self.depth.get() + 1);
        let (value, steps) = parse(text).map_or((Val::Unknown, 0), |expr| evaluate_counted(&expr, self));
        self.depth.set(self.depth.get() - 1);
        self.work_left.set(self.work_left.get().saturating_sub((text.len() + steps) as u64));
        value.bounded()
    }

    fn default_of(&self, name: &str) -> Val {
        match self.folder.variables.get(name) {
            Some(default) if !default.is_empty() => self.value(default),
            _ => Val::Unknown,
        }
    }
}

impl Scope for ModuleScope<'_> {
    fn variable(&self, name: &str) -> Val {
        if let Some(known) = self.variables.borrow().get(name) {
            return known.clone();
        }
        let value = match &self.arguments {
            Some(arguments) => match arguments.get(name) {
                // A null argument asks for the default.
                Some(Val::Null) | None => self.default_of(name),
                Some(value) => value.clone(),
            },
            None => match self.options.variables.get(name) {
                Some(text) => match self.value(text) {
                    Val::Unknown => Val::str(text.as_str()),
                    value => value,
                },
                None => match self.folder.assigned.get(name) {
                    Some(text) => self.value(text),
                    None => self.default_of(name),
                },
            },
        };
        self.variables.borrow_mut().insert(name.into(), value.clone());
        value
    }

    fn local(&self, name: &str) -> Val {
        if let Some(known) = self.locals.borrow().get(name) {
            return known.clone();
        }
        let Some(local) = self.folder.locals.get(name) else {
            return Val::Unknown;
        };
        // While it is evaluated, the local itself is unknown: this is what ends a circle.
        self.locals.borrow_mut().insert(name.into(), Val::Unknown);
        let value = self.value(&local.expression);
        self.locals.borrow_mut().insert(name.into(), value.clone());
        value
    }

    fn other(&self, root: &str, name: &str) -> Val {
        match (root, name) {
            ("terraform", "workspace") if self.options.workspace.is_empty() => Val::Str(Rc::from("default")),
            ("terraform", "workspace") => Val::str(self.options.workspace.as_str()),
            ("path", "module") => Val::str(if self.folder_path.is_empty() { "." } else { self.folder_path }),
            _ => Val::Unknown,
        }
    }
}
