//! What one file says, independent of every other file.
//!
//! Readers fill [`FileFacts`]; [`crate::read::assemble()`] joins them. It holds names and short expression texts,
//! never a syntax tree, so that a large estate stays small in memory.
//!
//! **Invariant:** every list here is bounded by a constant of this module.

use std::sync::Arc;

use crate::resource::{Notation, PartlyRead, Resource, Unresolved};

/// Bytes of one file that are read; what lies behind is reported, not read.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Declarations kept per file.
pub const RESOURCES_PER_FILE_MAX: usize = 200_000;
/// Attributes kept per declaration.
pub const ATTRIBUTES_MAX: usize = 64;
/// Bytes of one attribute's value.
pub const VALUE_BYTES_MAX: usize = 256;
/// Bytes of one attribute's key.
pub const KEY_BYTES_MAX: usize = 128;
/// References kept per declaration.
pub const REFERENCES_MAX: usize = 64;
/// Bytes of an expression that is kept for evaluation (a local, a variable's default, an argument).
pub const EXPRESSION_BYTES_MAX: usize = 64 << 10;
/// Notes about partly read places kept per file.
pub const NOTES_PER_FILE_MAX: usize = 20;

/// Confidence of a declaration that a parser understood.
pub const CONFIDENCE_PARSED: u8 = 100;
/// Confidence of a declaration that only the line scanner saw.
pub const CONFIDENCE_SCANNED: u8 = 60;
/// Confidence of a signal that is not a declaration: an image, an annotation.
pub const CONFIDENCE_SIGNAL: u8 = 90;
/// Confidence of a signal in source code.
pub const CONFIDENCE_SOURCE: u8 = 70;

/// What one file says.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// The file, relative to the path that was audited, with `/` between folders.
    pub file: Arc<str>,
    /// The notation, or `None` if the file belongs to none and says nothing.
    pub notation: Option<Notation>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Declarations and signals, addresses without the path of modules.
    pub resources: Vec<Resource>,
    /// What a Terraform file says beside its resources.
    pub module: Option<Box<ModuleFacts>>,
    /// Templates that this file uses.
    pub nested: Vec<Nested>,
    /// Places that were read in part.
    pub read_partly: Vec<PartlyRead>,
    /// What cannot be on disk (a template behind a URL).
    pub unresolved: Vec<Unresolved>,
}

/// What a Terraform file says beside its resources.
#[derive(Clone, Debug, Default)]
pub struct ModuleFacts {
    /// `module` blocks.
    pub calls: Vec<ModuleCall>,
    /// `variable` blocks with their defaults (an empty expression where there is none).
    pub variables: Vec<Named>,
    /// `locals`.
    pub locals: Vec<Named>,
    /// `output` blocks with their values.
    pub outputs: Vec<Named>,
    /// Assignments of a `.tfvars` file.
    pub assigned: Vec<Named>,
    /// Modules that `terraform init` put on disk, from `modules.json`.
    pub installed: Vec<InstalledModule>,
    /// The folder has a backend, a lock or variable files: it is a root module even if something calls it.
    pub root: bool,
}

/// A name and the text of its expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: Box<str>,
    /// The expression's text, empty if there is none or it is too long to keep.
    pub expression: Box<str>,
    /// Names that the expression mentions: `var.x`, `local.y`, `module.m.out`, `aws_vpc.main`.
    pub mentions: Vec<Box<str>>,
}

/// A `module` block.
#[derive(Clone, Debug, Default)]
pub struct ModuleCall {
    /// The block's label.
    pub name: Box<str>,
    /// 1-based line of the block.
    pub line: u32,
    /// The `source` as written; empty if it is not a literal.
    pub source: Box<str>,
    /// The arguments, `count` and `for_each` among them.
    pub arguments: Vec<Named>,
}

/// One entry of `.terraform/modules/modules.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledModule {
    /// The path of calls from the root: `net.subnets`.
    pub key: Box<str>,
    /// The folder, relative to the root module.
    pub dir: Box<str>,
}

/// A template that another template uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested {
    /// 1-based line of the use.
    pub line: u32,
    /// The path or URL as written.
    pub source: Box<str>,
    /// What to do if it is not on disk.
    pub advice: &'static str,
}

impl FileFacts {
    /// Facts of a file of a notation that say nothing yet.
    pub(crate) fn new(file: &str, notation: Notation, bytes: usize) -> Self {
        FileFacts { file: Arc::from(file), notation: Some(notation), bytes: bytes as u64, ..FileFacts::default() }
    }

    /// Notes a place that was read in part; silent beyond [`NOTES_PER_FILE_MAX`].
    pub(crate) fn partly(&mut self, line: Option<u32>, why: impl Into<String>) {
        if self.read_partly.len() < NOTES_PER_FILE_MAX {
            self.read_partly.push(PartlyRead { file: Arc::clone(&self.file), line, why: why.into() });
        }
    }

    /// Adds a declaration, or notes once that there are too many.
    pub(crate) fn push(&mut self, resource: Resource) {
        match self.resources.len() {
            n if n < RESOURCES_PER_FILE_MAX => self.resources.push(resource),
            RESOURCES_PER_FILE_MAX => {
                let why = format!("more than {RESOURCES_PER_FILE_MAX} declarations in one file: split the file");
                if self.read_partly.last().is_none_or(|last| last.why != why) {
                    self.partly(Some(resource.line), why);
                }
            }
            _ => {}
        }
    }

    /// The Terraform facts, made on first use.
    pub(crate) fn module_mut(&mut self) -> &mut ModuleFacts {
        self.module.get_or_insert_default()
    }
}
