//! Readers: from the bytes of a file to what it declares, and from the facts of many files to an estate.
//!
//! [`read_file`] is a pure function of one file, so files can be read in parallel; [`assemble()`] joins the facts:
//! modules and the variables handed to them, references, what is missing.
//!
//! **Invariant:** no input makes a reader panic, recurse without bound or take more than linear time; what was not
//! understood is in [`FileFacts::read_partly`], and declarations in it are still found line by line.

mod arm;
pub mod assemble;
mod attributes;
mod bicep;
mod cloudformation;
mod compose;
mod dockerfile;
mod expr;
pub mod facts;
mod flatten;
mod hcl;
mod images;
mod json;
mod kubernetes;
mod providers;
mod pulumi;
mod recognise;
mod source;
mod terraform_json;
mod text;
mod tree;
mod yaml;

use std::sync::Arc;

pub use assemble::{Options, assemble};
pub use facts::{FILE_BYTES_MAX, FileFacts};
pub use recognise::{candidate, recognise};

use crate::resource::Notation;
use recognise::Form;

/// Reads one file. `path` is relative to what is audited, with `/` between folders.
#[must_use]
pub fn read_file(path: &str, bytes: &[u8]) -> FileFacts {
    read_file_within(path, bytes, FILE_BYTES_MAX)
}

/// Reads at most `bytes_max` bytes of a file; that the rest was left out is noted.
#[must_use]
pub fn read_file_within(path: &str, bytes: &[u8], bytes_max: usize) -> FileFacts {
    let kept = text::whole_lines(bytes, bytes_max);
    let decoded = text::decode(kept);
    let Some(form) = recognise::form(path, &decoded.text) else {
        return FileFacts { file: Arc::from(path), ..FileFacts::default() };
    };
    let mut facts = FileFacts::new(path, form.notation(), bytes.len());
    if let Some((line, why)) = decoded.note
        && !matches!(form, Form::Source(_))
    {
        facts.partly(Some(line), why);
    }
    read_form(form, &decoded.text, &mut facts);
    if kept.len() < bytes.len() {
        let line = text::line_of(kept, kept.len());
        facts.partly(Some(line), format!("only the first {bytes_max} bytes of a file are read: split the file"));
    }
    facts.resources.shrink_to_fit();
    facts
}

fn read_form(form: Form, text: &str, facts: &mut FileFacts) {
    match form {
        Form::Hcl => hcl::read(text, facts),
        Form::Assignments => {
            hcl::read_assignments(text, facts);
            facts.module_mut();
        }
        Form::Bicep => bicep::read(text, facts),
        Form::Dockerfile => dockerfile::read(text, facts),
        Form::Source(language) => source::read(text, language, facts),
        Form::Yaml(notation) => read_yaml(notation, text, facts),
        Form::HclJson | Form::AssignmentsJson | Form::Installed | Form::Plan | Form::State | Form::Json(_) => {
            read_json(form, text, facts);
        }
    }
}

fn read_json(form: Form, text: &str, facts: &mut FileFacts) {
    let read = json::parse(text);
    if let Some((line, why)) = read.trouble {
        facts.partly(Some(line), why);
    }
    if let Some(root) = &read.root {
        match form {
            Form::HclJson => hcl::read_json(root, false, facts),
            Form::AssignmentsJson => hcl::read_json(root, true, facts),
            Form::Installed => terraform_json::read_installed(root, facts),
            Form::Plan => terraform_json::read_plan(root, facts),
            Form::State => terraform_json::read_state(root, facts),
            Form::Json(Notation::Arm) => arm::read(root, facts),
            Form::Json(Notation::CloudFormation) => cloudformation::read(root, facts),
            Form::Json(_) => kubernetes::read(root, facts),
            _ => {}
        }
    }
    let is_whole = read.trouble.is_none() && is_template(form, read.root.as_ref());
    if !is_whole {
        match form {
            Form::Json(Notation::Arm) => arm::scan_lines(text, facts),
            Form::Json(Notation::CloudFormation) if read.trouble.is_some() => {
                cloudformation::scan_lines(text, 0, facts);
            }
            _ => {}
        }
        if read.trouble.is_none() && matches!(form, Form::Json(_)) {
            if facts.resources.is_empty() {
                // Words suggested a template, and it is none.
                facts.notation = None;
            } else {
                facts.partly(None, "the template has no list of resources: they were searched line by line");
            }
        }
    }
}

fn is_template(form: Form, root: Option<&tree::Node<'_>>) -> bool {
    let Some(root) = root else { return true };
    match form {
        Form::Json(Notation::Arm) => root.get_any_case("resources").is_some(),
        Form::Json(Notation::CloudFormation) => root.get("Resources").is_some(),
        Form::Json(_) => kubernetes::is_object(root),
        _ => true,
    }
}

fn read_yaml(notation: Notation, text: &str, facts: &mut FileFacts) {
    for document in yaml::documents(text) {
        if let Some((line, why)) = &document.trouble {
            let why = if document.text.contains("{{") {
                "a template with {{ }}: render it (helm template) and audit what comes out".to_owned()
            } else {
                why.clone()
            };
            facts.partly(Some(*line), why);
        }
        let before = facts.resources.len();
        if let Some(root) = &document.root {
            match notation {
                Notation::CloudFormation => cloudformation::read(root, facts),
                Notation::Compose => compose::read(root, facts),
                Notation::Pulumi => pulumi::read(root, facts),
                _ => kubernetes::read(root, facts),
            }
        }
        if document.broken {
            match notation {
                Notation::CloudFormation => cloudformation::scan_lines(document.text, document.lines_before, facts),
                Notation::Kubernetes if facts.resources.len() == before => {
                    kubernetes::scan_lines(document.text, document.lines_before, facts);
                }
                _ => {}
            }
        }
    }
}
