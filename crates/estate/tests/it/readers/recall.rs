//! Recall: what the readers find compared with a plain search for declarations, on whole and on damaged files.

use std::collections::BTreeSet;

use freehold_estate::read::{FileFacts, read_file};
use regex::Regex;

use super::generate::{self, Dice};

/// One notation: a file's name, how files are made, and what a declaration looks like to a plain search.
struct Notation {
    name: &'static str,
    make: fn(u64, usize) -> String,
    pattern: &'static str,
}

const NOTATIONS: [Notation; 6] = [
    Notation { name: "main.tf", make: generate::terraform, pattern: r#"(?m)^(?:resource|data)[ \t]+"[^"\n]+"[ \t]+"[^"\n]+"[ \t]*\{"# },
    Notation { name: "t.yaml", make: generate::cloudformation, pattern: r"(?m)^  \w+:\n    Type: \w+::" },
    Notation { name: "azuredeploy.json", make: generate::arm, pattern: r#"(?m)^    \{ "type": "Microsoft"# },
    Notation { name: "main.bicep", make: generate::bicep, pattern: r"(?m)^(?:  )?resource [rc]\w+ '[^'\n]+' = ?" },
    Notation { name: "all.yaml", make: generate::kubernetes, pattern: r"(?m)^apiVersion: .+\nkind: \w" },
    Notation { name: "terraform.tfstate", make: generate::state, pattern: r#"(?m)^    \{"mode": "managed""# },
];

/// Lines where a plain search sees declarations.
fn expected(pattern: &Regex, text: &str) -> BTreeSet<u32> {
    pattern.find_iter(text).map(|found| u32::try_from(text[..found.start()].matches('\n').count() + 1).expect("a short file")).collect()
}

fn found(facts: &FileFacts) -> BTreeSet<u32> {
    facts.resources.iter().filter(|resource| resource.confidence != 90).map(|resource| resource.line).collect()
}

#[test]
fn whole_files_are_read_exactly() {
    for Notation { name, make, pattern } in NOTATIONS {
        let pattern = Regex::new(pattern).expect("a pattern");
        for seed in 1..60 {
            let text = make(seed, 40);
            let facts = read_file(name, text.as_bytes());
            assert!(facts.read_partly.is_empty(), "{name} {seed}: {:?}\n{text}", facts.read_partly);
            assert_eq!(found(&facts), expected(&pattern, &text), "{name} {seed}\n{text}");
            assert!(facts.resources.iter().all(|resource| resource.confidence >= 90), "{name} {seed}");
        }
    }
}

#[test]
fn damaged_files_lose_almost_nothing() {
    for Notation { name, make, pattern } in NOTATIONS {
        // A template whose JSON is cut has no declarations behind the cut that could be told from data.
        if name == "terraform.tfstate" {
            continue;
        }
        let pattern = Regex::new(pattern).expect("a pattern");
        let (mut wanted, mut missed) = (0, 0);
        for seed in 1..400 {
            let mut dice = Dice::new(seed);
            let mut text = make(seed, 20);
            let at = dice.below(text.len());
            let with = ["", "{", "}", "\"", "'", "[", ")", "\n", "<<X", "${"][dice.below(10)];
            text.replace_range(at..at + 1, with);
            let expected = expected(&pattern, &text);
            let found = found(&read_file(name, text.as_bytes()));
            wanted += expected.len();
            missed += expected.difference(&found).count();
        }
        let recall = 1.0 - f64::from(u32::try_from(missed).expect("few")) / f64::from(u32::try_from(wanted).expect("few"));
        assert!(recall >= 0.995, "{name}: {missed} of {wanted} missed, recall {recall}");
    }
}

#[test]
fn terraform_agrees_with_a_strict_parser() {
    for seed in 100..160 {
        let text = generate::terraform(seed, 40);
        let body = hcl_edit::parser::parse_body(&text).expect("valid HCL");
        let strict: Vec<String> = body
            .blocks()
            .filter(|block| matches!(block.ident.as_str(), "resource" | "data"))
            .map(|block| block.labels.iter().map(|label| label.as_str()).collect::<Vec<_>>().join("."))
            .collect();
        let ours: Vec<String> = read_file("main.tf", text.as_bytes())
            .resources
            .iter()
            .map(|resource| resource.address.strip_prefix("data.").unwrap_or(&resource.address).to_owned())
            .collect();
        assert_eq!(ours, strict, "{seed}");
    }
}
