//! Hostile files: everything ends, nothing panics, and the report says what was left out.

use freehold_estate::read::{FileFacts, Options, assemble, facts::FILE_BYTES_MAX, read_file, read_file_within};

const NAMES: [&str; 13] = [
    "main.tf",
    "main.tf.json",
    "terraform.tfvars",
    "terraform.tfstate",
    "azuredeploy.json",
    "template.yaml",
    "template.json",
    "main.bicep",
    "Pulumi.yaml",
    "compose.yaml",
    "deploy.yaml",
    "Dockerfile",
    "a.py",
];

/// Words at the beginning that make a file of a name belong to its notation.
fn head(name: &str) -> &'static str {
    match name {
        "azuredeploy.json" => "{\"$schema\": \"deploymentTemplate.json#\", \"resources\": ",
        "template.json" => "{\"AWSTemplateFormatVersion\": \"x\", \"Resources\": ",
        "terraform.tfstate" => "{\"version\": 4, \"resources\": ",
        "main.tf.json" => "{\"resource\": ",
        "template.yaml" => "AWSTemplateFormatVersion: x\nResources: ",
        "Pulumi.yaml" => "x: {type: a:b:C}\ntype: a:b:C\nresources: ",
        "compose.yaml" => "services: ",
        "deploy.yaml" => "apiVersion: v1\nkind: Service\nspec: ",
        "main.tf" => "resource \"aws_vpc\" \"a\" {\n  x = ",
        "terraform.tfvars" => "x = ",
        "main.bicep" => "resource a 'Microsoft.X/y@1' = {\n  x: ",
        _ => "import boto3\n",
    }
}

/// Reads a text under every name, bare and as a value, and joins what was found.
fn survive(text: &str) -> Vec<FileFacts> {
    let mut all = Vec::new();
    for name in NAMES {
        for text in [text.to_owned(), format!("{}{text}", head(name))] {
            let facts = read_file(name, text.as_bytes());
            let _ = assemble(vec![facts.clone()], &Options::default());
            all.push(facts);
        }
    }
    all
}

#[test]
fn deep_nesting_ends() {
    let opens =
        ["{", "[", "(", "{\"a\":", "[[", "a {\n", "${", "\"${", "'${", "- ", "? ", "a: [", "f(", "!", "-", "b:\n  ", "{a: ", "<<A\n"];
    for open in opens {
        let text = open.repeat(300_000 / open.len());
        survive(&text);
    }
    let indented: String = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    survive(&indented);
}

#[test]
fn depth_is_reported() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let text = format!(
        "{{\"AWSTemplateFormatVersion\":\"x\",\"Resources\":{{\"A\":{{\"Type\":\"AWS::S3::Bucket\",\"P\":{deep}}},\"B\":{{\"Type\":\"AWS::SQS::Queue\"}}}}}}"
    );
    let facts = read_file("t.json", text.as_bytes());
    assert_eq!(facts.resources.len(), 2);
    assert!(facts.read_partly[0].why.contains("nested too deeply"), "{:?}", facts.read_partly);
}

#[test]
fn repeated_marks_take_linear_time() {
    let marks = [
        "\"",
        "'",
        "\\",
        "$",
        "%",
        "#",
        "/*",
        "*/",
        "//",
        "<<",
        "<<E\n",
        "}",
        "]",
        "=",
        ":",
        "\n",
        "\r",
        "---\n",
        "&a ",
        "*a ",
        "a.",
        "a\n",
        "a = 1\n",
        "a: 1\n",
        "\u{0}",
        "\t",
        "'''",
        "resource ",
        "resource \"a\" \"b\" {",
        "resource a 'b/c' = {\n",
        "a = <<E\n",
        "resource \"a\" \"b\" {\n  x = <<E\n",
        "param x, ",
        "param ",
        "module a 'b' = [\n",
        "resource a 'b/c' = (\n",
        " resource a 'b/c' = [for x ",
        "| \n",
        "? : ",
        "FROM $A\n",
        "ARG A=$A\n",
        "import boto3;",
        ".client(",
        "é",
        "{{ x }}",
        "!Sub ",
        "<<: ",
        "@",
        ", ",
    ];
    for mark in marks {
        survive(&mark.repeat(200_000 / mark.len()));
    }
}

#[test]
fn aliases_do_not_explode() {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lol}\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let facts = read_file("lol.yaml", text.as_bytes());
    assert_eq!(facts.resources.len(), 1);
    assert!(facts.read_partly[0].why.contains("aliases"), "{:?}", facts.read_partly);
    // A chain that only grows deeper.
    let mut chain = "apiVersion: v1\nkind: ConfigMap\na0: &a0 [x]\n".to_owned();
    for level in 1..5_000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert_eq!(read_file("chain.yaml", chain.as_bytes()).resources.len(), 1);
}

#[test]
fn locals_do_not_explode() {
    let mut text = "locals {\n  l0 = [\"x\", \"x\"]\n  s0 = \"xxxxxxxx\"\n  c = local.d\n  d = local.c\n".to_owned();
    for level in 1..3_000 {
        let below = level - 1;
        text.push_str(&format!("  l{level} = [local.l{below}, local.l{below}]\n  s{level} = \"${{local.s{below}}}${{local.s{below}}}\"\n"));
    }
    text.push_str("}\nresource \"aws_vpc\" \"a\" {\n  a = local.l2999\n  b = local.s2999\n  c = local.c\n  d = flatten(local.l40)\n  e = local.l2000 == local.l2000\n  count = length(flatten([for a in range(10000) : [for b in range(10000) : [for c in range(10000) : c]]]))\n}\n");
    let estate = assemble(vec![read_file("main.tf", text.as_bytes())], &Options::default());
    assert_eq!(estate.resources.len(), 1);
    assert_eq!(estate.resources[0].count, 1);
}

#[test]
fn one_long_line_is_read() {
    let text = format!("resource \"aws_vpc\" \"a\" {{ x = \"{}\" }}\nresource \"aws_vpc\" \"b\" {{}}\n", "y".repeat(8 << 20));
    let facts = read_file("main.tf", text.as_bytes());
    let found: Vec<u32> = facts.resources.iter().map(|resource| resource.line).collect();
    assert_eq!(found, [1, 2]);
    for name in NAMES {
        let _ = read_file(name, "x".repeat(4 << 20).as_bytes());
        let _ = read_file(name, format!("{}\"{}", head(name), "x ".repeat(1 << 20)).as_bytes());
    }
}

#[test]
fn what_is_over_the_limit_is_reported() {
    let text = "resource \"aws_vpc\" \"a\" {}\n".repeat(100);
    let facts = read_file_within("main.tf", text.as_bytes(), 1_000);
    assert_eq!(facts.resources.len(), 1_000 / 26);
    assert!(facts.read_partly[0].why.contains("1000 bytes"), "{:?}", facts.read_partly);
    const { assert!(FILE_BYTES_MAX >= 16 << 20) }
}

#[test]
fn bytes_that_are_not_text_are_survived() {
    let mut bytes: Vec<u8> = (0..=255_u8).cycle().take(100_000).collect();
    for name in NAMES {
        let _ = read_file(name, &bytes);
        let mut with_head = head(name).as_bytes().to_vec();
        with_head.append(&mut bytes.clone());
        let _ = read_file(name, &with_head);
    }
    bytes.splice(0..0, [0xff, 0xfe]);
    for name in NAMES {
        let _ = read_file(name, &bytes);
    }
}
