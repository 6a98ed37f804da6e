//! Terraform and OpenTofu: what a `.tf`, `.tf.json` or `.tfvars` file says.
//!
//! **Invariant:** every `resource` and `data` block of a file becomes a resource, whatever else is wrong in the file.

mod body;
mod json_syntax;
mod lines;
pub(crate) mod scan;
mod values;

pub(crate) use body::{read, read_assignments};
pub(crate) use json_syntax::read as read_json;
pub(crate) use values::put_value;
