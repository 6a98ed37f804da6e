//! Estates made up in each notation, the same ones on every run.

use std::fmt::Write as _;

/// A small generator of numbers that needs no clock and no library.
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const HCL_BODIES: [&str; 14] = [
    "  bucket = \"${var.prefix}-logs\"\n",
    "  tags = merge(var.tags, {\n    Name = \"x\"\n    \"a:b\" = format(\"%s}\", var.y)\n  })\n",
    "  policy = <<-POLICY\n    {\n      \"Statement\": [{\"Effect\": \"Allow\", \"Resource\": \"${aws_s3_bucket.a.arn}/*\"}]\n    }\n  POLICY\n",
    "  policy_document = jsonencode({\n    Statement = [{ Action = [\"s3:*\"], Effect = \"Allow\" }]\n  })\n",
    "  dynamic \"setting\" {\n    for_each = { for k, v in var.settings : k => v if v != \"}\" }\n    content {\n      name = setting.key\n    }\n  }\n",
    "  lifecycle {\n    ignore_changes = [tags]\n  }\n",
    "  # a comment with { and \"\n",
    "  // another }\n  /* and\n  resource \"one\" more { */\n",
    "  count = var.create ? length(var.zones) : 0\n",
    "  x = \"\\\"escaped\\\" { $${not} %%{a}\"\n",
    "  y = [\n    for s in var.list : upper(s)\n    if s != \"\"\n  ]\n",
    "  user_data = templatefile(\"${path.module}/x.sh\", { a = var.a, b = \"${var.b}\" })\n",
    "  a = -1.5e3 + (2 * 3)\n  b = !var.c && var.d == null\n",
    "  ingress {\n    from_port = 443\n    nested {\n      deep = { k = { l = [1, 2] } }\n    }\n  }\n",
];

const TF_TYPES: [&str; 6] =
    ["aws_s3_bucket", "aws_db_instance", "azurerm_storage_account", "google_bigquery_dataset", "random_id", "aws_lambda_function"];

/// A Terraform file with some declarations.
pub fn terraform(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let mut text = String::new();
    for n in 0..declarations {
        let block = if dice.below(5) == 0 { "data" } else { "resource" };
        let _ = writeln!(text, "{block} \"{}\" \"r{n}\" {{", dice.pick(&TF_TYPES));
        let first = dice.below(HCL_BODIES.len());
        for at in first..first + dice.below(6) {
            text.push_str(HCL_BODIES[at % HCL_BODIES.len()]);
        }
        text.push_str("}\n\n");
        match dice.below(6) {
            0 => text.push_str("variable \"v\" {\n  type    = map(object({ a = string }))\n  default = {}\n}\n\n"),
            1 => text.push_str("locals {\n  l = { for k in var.x : k => { a = k } }\n}\n"),
            2 => text.push_str("resource \"aws_sns_topic\" \"inline\" { name = \"x\" }\n"),
            _ => {}
        }
    }
    text
}

const CFN_TYPES: [&str; 5] = ["AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::Serverless::Function", "Custom::Thing", "AWS::IAM::Role"];

const CFN_BODIES: [&str; 6] = [
    "      Name: !Sub '${AWS::StackName}-x'\n",
    "      Role: !GetAtt\n        - Role\n        - Arn\n",
    "      Code:\n        ZipFile: |\n          Resources:\n            Fake:\n              Type: no\n",
    "      Policies: [{PolicyName: a, PolicyDocument: {Statement: [{Effect: Allow}]}}]\n",
    "      Size: !If [IsProd, 1, 2] # a comment\n",
    "      Tags:\n        - {Key: a, Value: !Ref X}\n",
];

/// A CloudFormation template in YAML.
pub fn cloudformation(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let mut text = "AWSTemplateFormatVersion: '2010-09-09'\nParameters:\n  X:\n    Type: String\nResources:\n".to_owned();
    for n in 0..declarations {
        let _ = writeln!(text, "  Logical{n}:\n    Type: {}", dice.pick(&CFN_TYPES));
        let bodies = dice.below(4);
        if bodies > 0 {
            text.push_str("    Properties:\n");
        }
        for at in 0..bodies {
            text.push_str(CFN_BODIES[(n + at) % CFN_BODIES.len()]);
        }
    }
    text.push_str("Outputs:\n  A:\n    Value: x\n");
    text
}

/// An ARM template with comments, one line per resource's type.
pub fn arm(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let types = ["Microsoft.Storage/storageAccounts", "Microsoft.Sql/servers", "Microsoft.Web/sites"];
    let mut text = "{\n  \"$schema\": \"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#\",\n  \"contentVersion\": \"1.0.0.0\",\n  // what\n  \"resources\": [\n".to_owned();
    for n in 0..declarations {
        let _ = writeln!(
            text,
            "    {{ \"type\": \"{}\", \"name\": \"[concat('x', '{n}')]\", // c\n      \"properties\": {{ \"a\": [1, {{\"b\": \"}}\"}}],\n       \"type2\": true }} }}{}",
            dice.pick(&types),
            if n + 1 < declarations { "," } else { "" }
        );
    }
    text.push_str("  ]\n}\n");
    text
}

const BICEP_BODIES: [&str; 6] = [
    "  name: 'x${uniqueString(resourceGroup().id, '}')}'\n",
    "  properties: {\n    a: [\n      { b: 'c' }\n    ]\n    d: cond ? { e: 1 } : null\n  }\n",
    "  // a comment with { and '\n",
    "  script: '''\n  resource no 'x/y@1' {\n  it''s\n  '''\n",
    "  tags: union(tags, { a: 'b' })\n",
    "  /* } */ location: location\n",
];

/// A Bicep file.
pub fn bicep(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let mut text = "param location string\nvar cond = true\n".to_owned();
    for n in 0..declarations {
        let (open, close) = match dice.below(4) {
            0 => (" if (cond && contains({ a: 1 }, 'a')) {", "}"),
            1 => (" [for (x, i) in range(0, 3): {", "}]"),
            2 => (" [for x in [\n  'a'\n  'b'\n]: if (x != '') {", "}]"),
            _ => (" {", "}"),
        };
        let _ = writeln!(text, "@description('a')\nresource r{n} 'Microsoft.Web/sites@2022-09-01' ={open}");
        for _ in 0..dice.below(5) {
            text.push_str(dice.pick(&BICEP_BODIES));
        }
        if dice.below(4) == 0 {
            let _ = writeln!(text, "  resource c{n} 'config' = {{\n    name: 'web'\n  }}");
        }
        let _ = writeln!(text, "{close}\n");
    }
    text
}

/// Kubernetes manifests.
pub fn kubernetes(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let kinds = [("v1", "Service"), ("apps/v1", "Deployment"), ("s3.services.k8s.aws/v1alpha1", "Bucket"), ("v1", "ConfigMap")];
    let mut text = String::new();
    for n in 0..declarations {
        let (version, kind) = kinds[dice.below(kinds.len())];
        let _ = writeln!(text, "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: o{n}");
        match dice.below(3) {
            0 => text.push_str("data:\n  x: |\n    apiVersion: no\n    kind: No\n"),
            1 => text.push_str("spec: {a: [1, 2], b: \"---\"}\n"),
            _ => text.push_str("# a comment\n"),
        }
    }
    text
}

/// A state file, every resource beginning on a line of its own.
pub fn state(seed: u64, declarations: usize) -> String {
    let mut dice = Dice::new(seed);
    let mut text = "{\n  \"version\": 4,\n  \"serial\": 1,\n  \"lineage\": \"x\",\n  \"resources\": [\n".to_owned();
    for n in 0..declarations {
        let _ = writeln!(
            text,
            "    {{\"mode\": \"managed\", \"type\": \"{}\", \"name\": \"r{n}\", \"instances\": [\n      {{\"attributes\": {{\"id\": \"a\\\"{{\", \"l\": [1, {{}}]}}}}]}}{}",
            dice.pick(&TF_TYPES),
            if n + 1 < declarations { "," } else { "" }
        );
    }
    text.push_str("  ]\n}\n");
    text
}
