//! From the scanner's items to facts.
//!
//! **Invariant:** one pass, no recursion; after a missing brace, a block at the margin that can only stand at the top
//! closes what is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lines;
use super::scan::{Item, Scanner};
use super::values::{put_expression, put_repetition};
use crate::read::expr::unquote;
use crate::read::facts::{CONFIDENCE_PARSED, EXPRESSION_BYTES_MAX, FileFacts, ModuleCall, Named};
use crate::read::providers;
use crate::resource::{Notation, Resource};

/// What the block is that the reader stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// A resource or data source.
    Resource,
    /// A block of a resource; keys begin with this many bytes of the prefix when it closes.
    Nested(usize),
    Call,
    Variable,
    Locals,
    Output,
    /// `terraform`.
    Settings,
    /// Anything whose data sources count: `check`.
    Other,
}

struct Reader<'t, 'f> {
    scanner: Scanner<'t>,
    facts: &'f mut FileFacts,
    stack: Vec<Frame>,
    /// Line of the block at the bottom of the stack.
    opened: u32,
    prefix: String,
    resource: Option<Resource>,
    call: Option<ModuleCall>,
    named: Option<Named>,
    damaged: bool,
}

/// Reads a `.tf` file.
pub(crate) fn read(text: &str, facts: &mut FileFacts) {
    let mut reader = Reader {
        scanner: Scanner::new(text),
        facts,
        stack: Vec::new(),
        opened: 0,
        prefix: String::new(),
        resource: None,
        call: None,
        named: None,
        damaged: false,
    };
    reader.run();
    if reader.damaged {
        lines::add_missing(text, facts);
    }
}

/// Reads a `.tfvars` file.
pub(crate) fn read_assignments(text: &str, facts: &mut FileFacts) {
    let mut scanner = Scanner::new(text);
    loop {
        match scanner.next_item() {
            Item::Attribute { name, expression } => {
                let named = named(name, expression, &scanner.mentions);
                facts.module_mut().assigned.push(named);
                scanner.mentions.clear();
            }
            Item::Wrong(why) => facts.partly(Some(scanner.item_line), why),
            Item::Open { .. } | Item::Close => {}
            Item::End => return,
        }
    }
}

/// A name with its expression, if that is short enough to keep.
pub(super) fn named(name: &str, expression: &str, mentions: &[&str]) -> Named {
    let kept = if expression.len() <= EXPRESSION_BYTES_MAX { expression } else { "" };
    Named { name: name.into(), expression: kept.into(), mentions: mentions.iter().map(|&m| Box::from(m)).collect() }
}

impl<'t> Reader<'t, '_> {
    fn run(&mut self) {
        loop {
            match self.scanner.next_item() {
                Item::Attribute { name, expression } => self.attribute(name, expression),
                Item::Open { kind, at_margin } => self.open(kind, at_margin),
                Item::Close => self.close(),
                Item::Wrong(why) => self.trouble(self.scanner.item_line, why),
                Item::End => break,
            }
        }
        if !self.stack.is_empty() {
            self.trouble(self.opened, "the block that begins here is not closed with a brace");
            while !self.stack.is_empty() {
                self.close();
            }
        }
    }

    fn trouble(&mut self, line: u32, why: &str) {
        self.damaged = true;
        self.facts.partly(Some(line), why);
    }

    fn open(&mut self, kind: &'t str, at_margin: bool) {
        if at_margin && !self.stack.is_empty() && is_top_only(kind, &self.scanner.labels) {
            self.trouble(self.opened, "the block that begins here is not closed with a brace");
            while !self.stack.is_empty() {
                self.close();
            }
        }
        let line = self.scanner.item_line;
        let frame = match self.stack.last() {
            None => {
                self.opened = line;
                self.scanner.mentions.clear();
                self.open_top(kind, line)
            }
            Some(Frame::Resource | Frame::Nested(_)) => self.open_nested(kind),
            Some(Frame::Other) if kind == "data" && self.scanner.labels.len() == 2 => self.open_top(kind, line),
            Some(Frame::Settings) => {
                if matches!(kind, "backend" | "cloud") {
                    self.facts.module_mut().root = true;
                }
                Frame::Other
            }
            Some(_) => Frame::Other,
        };
        self.stack.push(frame);
    }

    fn open_top(&mut self, kind: &'t str, line: u32) -> Frame {
        match (kind, self.scanner.labels.as_slice()) {
            ("resource" | "data" | "ephemeral", &[type_name, name, ..]) => {
                let resource = new_resource(&self.facts.file, line, kind, type_name, name);
                self.resource = Some(resource);
                self.prefix.clear();
                Frame::Resource
            }
            ("resource" | "data", _) => {
                self.trouble(line, "a resource needs a type and a name: `resource \"type\" \"name\" {`");
                Frame::Other
            }
            ("module", &[name, ..]) => {
                self.call = Some(ModuleCall { name: name.into(), line, ..ModuleCall::default() });
                Frame::Call
            }
            ("variable", &[name, ..]) => {
                self.named = Some(Named { name: name.into(), ..Named::default() });
                Frame::Variable
            }
            ("output", &[name, ..]) => {
                self.named = Some(Named { name: name.into(), ..Named::default() });
                Frame::Output
            }
            ("locals", _) => Frame::Locals,
            ("terraform", _) => Frame::Settings,
            _ => Frame::Other,
        }
    }

    /// `dynamic "x" { content { ... } }` is read as `x { ... }`.
    fn open_nested(&mut self, kind: &'t str) -> Frame {
        let before = self.prefix.len();
        let name = match kind {
            "dynamic" => self.scanner.labels.first().copied().unwrap_or(kind),
            "content" => "",
            _ => kind,
        };
        if !name.is_empty() {
            self.prefix.push_str(name);
            self.prefix.push('.');
        }
        Frame::Nested(before)
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else {
            self.trouble(self.scanner.item_line, "a closing brace without an opening one");
            return;
        };
        match frame {
            Frame::Nested(before) => self.prefix.truncate(before),
            Frame::Resource => {
                if let Some(mut resource) = self.resource.take() {
                    resource.references = self.scanner.mentions.drain(..).map(str::to_owned).collect();
                    self.facts.push(resource);
                }
            }
            Frame::Call => {
                if let Some(call) = self.call.take() {
                    self.facts.module_mut().calls.push(call);
                }
            }
            Frame::Variable => {
                if let Some(named) = self.named.take() {
                    self.facts.module_mut().variables.push(named);
                }
            }
            Frame::Output => {
                if let Some(named) = self.named.take() {
                    self.facts.module_mut().outputs.push(named);
                }
            }
            Frame::Locals | Frame::Settings | Frame::Other => {}
        }
    }

    fn attribute(&mut self, name: &'t str, expression: &'t str) {
        match self.stack.last() {
            Some(Frame::Resource | Frame::Nested(_)) => {
                if let Some(resource) = &mut self.resource {
                    let before = self.prefix.len();
                    if matches!(self.stack.last(), Some(Frame::Nested(_))) && (name == "for_each" || name == "iterator") {
                        return;
                    }
                    if before == 0 && (name == "count" || name == "for_each") {
                        put_repetition(&mut resource.attributes, name, expression);
                        return;
                    }
                    self.prefix.push_str(name);
                    put_expression(&mut resource.attributes, &self.prefix, expression);
                    self.prefix.truncate(before);
                }
            }
            Some(Frame::Call) => {
                if let Some(call) = &mut self.call {
                    match name {
                        "source" => call.source = unquote(expression).unwrap_or_default().into(),
                        "version" | "providers" | "depends_on" => {}
                        _ => call.arguments.push(named(name, expression, &self.scanner.mentions)),
                    }
                }
                self.scanner.mentions.clear();
            }
            Some(Frame::Variable) => {
                if let Some(variable) = &mut self.named
                    && name == "default"
                {
                    *variable = named(&variable.name, expression, &[]);
                }
            }
            Some(Frame::Output) => {
                if let Some(output) = &mut self.named
                    && name == "value"
                {
                    *output = named(&output.name, expression, &self.scanner.mentions);
                }
            }
            Some(Frame::Locals) => {
                let local = named(name, expression, &self.scanner.mentions);
                self.facts.module_mut().locals.push(local);
                self.scanner.mentions.clear();
            }
            Some(Frame::Settings | Frame::Other) => {}
            None => {
                let line = self.scanner.item_line;
                self.trouble(line, "an attribute outside of any block");
            }
        }
    }
}

/// Whether a block can only stand at the top of a file.
fn is_top_only(kind: &str, labels: &[&str]) -> bool {
    match kind {
        "resource" | "data" => labels.len() == 2,
        "module" | "variable" | "output" | "provider" => labels.len() == 1,
        "locals" | "terraform" => labels.is_empty(),
        _ => false,
    }
}

/// A resource without attributes.
pub(super) fn new_resource(file: &Arc<str>, line: u32, block: &str, type_name: &str, name: &str) -> Resource {
    let data = block != "resource";
    let address = if data { [block, type_name, name].join(".") } else { [type_name, name].join(".") };
    Resource {
        file: Arc::clone(file),
        line,
        address,
        kind: type_name.to_owned(),
        provider: providers::terraform(type_name),
        notation: Notation::Terraform,
        data,
        attributes: BTreeMap::new(),
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_PARSED,
    }
}
