//! Readers: what is found, where, and what happens with wrong and hostile files.

mod cloud_templates;
mod containers;
mod generate;
mod hostile;
mod properties;
mod recall;
mod source;
mod terraform;
mod terraform_json;

use freehold_estate::read::{Options, assemble, read_file};
use freehold_estate::resource::{Estate, Resource, Value};

/// The estate of some files.
pub fn estate(files: &[(&str, &str)]) -> Estate {
    let facts = files.iter().map(|(path, text)| read_file(path, text.as_bytes())).collect();
    assemble(facts, &Options::default())
}

/// `line address [kind]` of every resource, with a mark for data sources, counts and low confidence.
pub fn lines(estate: &Estate) -> Vec<String> {
    estate.resources.iter().map(line).collect()
}

fn line(resource: &Resource) -> String {
    let mut text = format!("{}:{} {} [{}]", resource.file, resource.line, resource.address, resource.kind);
    if resource.data {
        text.push_str(" data");
    }
    if resource.count != 1 {
        text.push_str(&format!(" x{}", resource.count));
    }
    if resource.confidence != 100 {
        text.push_str(&format!(" {}%", resource.confidence));
    }
    text
}

/// The known value of an attribute of the resource with an address.
pub fn known<'e>(estate: &'e Estate, address: &str, key: &str) -> Option<&'e str> {
    find(estate, address).attributes.get(key).and_then(Value::known)
}

/// The resource with an address.
pub fn find<'e>(estate: &'e Estate, address: &str) -> &'e Resource {
    estate.resources.iter().find(|resource| resource.address == address).unwrap_or_else(|| panic!("no {address} in {:#?}", lines(estate)))
}

/// Everything was read in whole and everything was resolved.
pub fn assert_clean(estate: &Estate) {
    assert!(estate.read_partly.is_empty(), "{:?}", estate.read_partly);
    assert!(estate.unresolved.is_empty(), "{:?}", estate.unresolved);
}
