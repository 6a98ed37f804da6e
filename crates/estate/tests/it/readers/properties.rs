//! Properties of every reader on text made of the pieces of its notation; the short form of the fuzz targets.

use freehold_estate::read::{Options, assemble, read_file};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const HCL: [&str; 30] = [
    "resource",
    "data",
    "module",
    "variable",
    "locals",
    " \"aws_vpc\"",
    " \"a\"",
    " {",
    "}",
    "\n",
    " = ",
    "\"",
    "${",
    "%{",
    "<<EOT\n",
    "EOT\n",
    "var.x",
    "local.y",
    "[",
    "]",
    "(",
    ")",
    "for k, v in ",
    " : ",
    " => ",
    "? ",
    "1",
    "#",
    "/*",
    "é",
];

const YAML: [&str; 36] = [
    "Resources:",
    "AWSTemplateFormatVersion: x\n",
    "  A:",
    "\n",
    "    Type: AWS::S3::Bucket",
    " !Ref",
    " !Sub",
    " '${A}'",
    " &a",
    " *a",
    "<<: ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "- ",
    "---\n",
    "apiVersion: v1\n",
    "kind: List\n",
    "items:\n",
    "  - ",
    "\"",
    "'",
    "| ",
    "> ",
    "? ",
    ": ",
    "#",
    "\t",
    "%YAML 1.1\n",
    "...",
    "Fn::ForEach::L",
    "services:\n",
    "image: a.azurecr.io/x",
    "é",
];

const JSON: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud800",
    "\"Resources\"",
    "\"Type\"",
    "\"AWS::S3::Bucket\"",
    "\"type\"",
    "\"resources\"",
    "\"Microsoft.X/y\"",
    "\"name\"",
    "\"properties\"",
    "\"template\"",
    "\"copy\"",
    "\"count\"",
    "\"instances\"",
    "\"mode\"",
    "\"resource\"",
    "\"aws_vpc\"",
    "\"module\"",
    "\"${var.x}\"",
    "1",
    "null",
    "//",
    "/*",
    "*/",
    "\n",
    "é",
];

const BICEP: [&str; 26] = [
    "resource",
    "module",
    " a",
    " 'Microsoft.X/y@1'",
    " = ",
    " existing",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "for x in ",
    ": ",
    "if ",
    "\n",
    "'",
    "'''",
    "${",
    "param",
    "var",
    "// ",
    "/*",
    "*/",
    "b.id",
    "é",
];

const CODE: [&str; 22] = [
    "import ",
    "from ",
    "boto3",
    ".client(",
    "'s3'",
    "\"",
    "google.cloud",
    "azure.storage.blob",
    "\n",
    "@aws-sdk/client-s3",
    "require(",
    ")",
    "/*",
    "*/",
    "//",
    "use aws_sdk_s3::",
    "cloud.google.com/go/",
    "new AWS.",
    "FROM ",
    "ARG A=",
    "${A",
    "é",
];

/// Reads the text under some names; every place that is reported lies in the file.
fn check(names: &[&str], text: &str) -> Result<(), TestCaseError> {
    let lines = u32::try_from(text.matches('\n').count() + 1).unwrap_or(u32::MAX);
    for name in names {
        let facts = read_file(name, text.as_bytes());
        for resource in &facts.resources {
            prop_assert!((1..=lines).contains(&resource.line), "{} of {lines} in {text:?}", resource.line);
            prop_assert!(resource.attributes.len() <= 64);
        }
        for part in &facts.read_partly {
            prop_assert!(part.line.is_none_or(|line| (1..=lines + 1).contains(&line)), "{part:?} of {lines} in {text:?}");
        }
        let declared = facts.resources.len();
        let estate = assemble(vec![facts], &Options::default());
        prop_assert!(estate.resources.len() >= declared, "{text:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hcl(pieces in vec(select(&HCL[..]), 0..80)) {
        check(&["main.tf", "terraform.tfvars"], &pieces.concat())?;
    }

    #[test]
    fn yaml(pieces in vec(select(&YAML[..]), 0..60)) {
        let text = pieces.concat();
        check(&["compose.yaml", "t.template"], &text)?;
        check(&["t.yaml"], &format!("AWSTemplateFormatVersion: x\n{text}"))?;
        check(&["k.yaml"], &format!("apiVersion: v1\nkind: Service\n{text}"))?;
        check(&["Pulumi.yaml"], &format!("resources:\n  a:\n    type: a:b:C\n{text}"))?;
    }

    #[test]
    fn json(pieces in vec(select(&JSON[..]), 0..80)) {
        let text = pieces.concat();
        check(&["main.tf.json", "terraform.tfvars.json", "terraform.tfstate", ".terraform/modules/modules.json"], &text)?;
        check(&["a.json"], &format!("{{\"contentVersion\": 1, \"resources\": [{text}"))?;
        check(&["c.json"], &format!("{{\"AWSTemplateFormatVersion\": 1, \"Resources\": {{{text}"))?;
        check(&["p.json"], &format!("{{\"format_version\": 1, \"planned_values\": {{\"root_module\": {{{text}"))?;
    }

    #[test]
    fn bicep(pieces in vec(select(&BICEP[..]), 0..80)) {
        check(&["main.bicep"], &pieces.concat())?;
    }

    #[test]
    fn code(pieces in vec(select(&CODE[..]), 0..80)) {
        let text = format!("import boto3 'aws-sdk'\n{}", pieces.concat());
        check(&["a.py", "a.ts", "a.go", "A.java", "a.rs", "A.cs", "Dockerfile"], &text)?;
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        for name in ["main.tf", "main.bicep", "compose.yaml", "main.tf.json", "terraform.tfstate", "Dockerfile", "a.py", "t.template"] {
            let _ = read_file(name, &bytes);
        }
    }
}
