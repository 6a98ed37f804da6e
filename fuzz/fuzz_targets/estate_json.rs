//! JSON: Terraform syntax, plans, state, ARM, CloudFormation and Kubernetes in JSON.
#![no_main]

use freehold_estate::read::{Options, assemble, read_file};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 5] = [
    "main.tf.json",
    "terraform.tfvars.json",
    "terraform.tfstate",
    ".terraform/modules/modules.json",
    "template.json",
];

fuzz_target!(|bytes: &[u8]| {
    for name in NAMES {
        let facts = read_file(name, bytes);
        let declared = facts.resources.len();
        let estate = assemble(vec![facts], &Options::default());
        assert!(estate.resources.len() >= declared, "a declaration was lost");
    }
});
