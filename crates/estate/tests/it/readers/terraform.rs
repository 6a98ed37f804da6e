//! Terraform: declarations, values, modules.

use freehold_estate::resource::Provider;

use super::{assert_clean, estate, find, known, lines};

#[test]
fn declarations_of_every_shape() {
    let text = "\u{feff}# a comment with resource \"aws_x\" \"no\" {\n\
resource \"aws_s3_bucket\" \"a\" {}\n\
resource aws_s3_bucket b { bucket = \"x\" }\n\
  resource   \"aws_db_instance\"   \"c\"   { # indented\n\
    user_data = <<-EOT\n\
      resource \"aws_x\" \"in_heredoc\" {\n\
    EOT\n\
  }\n\
/* resource \"aws_x\" \"in_comment\" {} */ resource \"google_sql_database_instance\" \"d\" {\n}\n\
data \"aws_ami\" \"e\" {\n  most_recent = true\n}\n\
check \"health\" {\n  data \"http\" \"f\" {\n    url = \"https://example.org\"\n  }\n}\n";
    let estate = estate(&[("main.tf", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "main.tf:2 aws_s3_bucket.a [aws_s3_bucket]",
            "main.tf:3 aws_s3_bucket.b [aws_s3_bucket]",
            "main.tf:4 aws_db_instance.c [aws_db_instance]",
            "main.tf:9 google_sql_database_instance.d [google_sql_database_instance]",
            "main.tf:11 data.aws_ami.e [aws_ami] data",
            "main.tf:15 data.http.f [http] data",
        ]
    );
    assert_eq!(estate.resources[3].provider, Provider::Gcp);
}

#[test]
fn values_are_evaluated_with_variables_locals_and_tfvars() {
    let main = r#"
variable "env" { default = "dev" }
variable "engines" {
  type    = map(string)
  default = { dev = "mysql", prod = "postgres" }
}
variable "size" {}
locals {
  engine = var.engines[var.env]
  zones  = ["a", "b", "c"]
}
resource "aws_db_instance" "db" {
  count             = length(local.zones)
  engine            = local.engine
  instance_class    = "db.${var.size}"
  storage_encrypted = var.env == "prod" ? true : false
  kms_key_id        = aws_kms_key.k.arn
  password          = "hunter2"
  tags              = { Name = "x" }
  restore_to_point_in_time {
    use_latest_restorable_time = true
  }
  dynamic "s3_import" {
    for_each = [1]
    content {
      source_engine = "mysql"
    }
  }
}
resource "aws_kms_key" "k" {
  for_each = toset(["x", "y"])
}
resource "aws_sqs_queue" "off" {
  count = var.env == "prod" ? 0 : 1
}
"#;
    let estate = estate(&[("main.tf", main), ("terraform.tfvars", "env = \"prod\"\n"), ("z.auto.tfvars", "size = \"large\"\n")]);
    assert_clean(&estate);
    let db = find(&estate, "aws_db_instance.db");
    assert_eq!(db.count, 3);
    assert_eq!(db.references, ["aws_kms_key.k"]);
    for (key, value) in [
        ("engine", "postgres"),
        ("instance_class", "db.large"),
        ("storage_encrypted", "true"),
        ("restore_to_point_in_time.use_latest_restorable_time", "true"),
        ("s3_import.source_engine", "mysql"),
    ] {
        assert_eq!(known(&estate, "aws_db_instance.db", key), Some(value), "{key}");
    }
    assert_eq!(known(&estate, "aws_db_instance.db", "kms_key_id"), None);
    assert!(!db.attributes.contains_key("password"));
    assert!(!db.attributes.contains_key("count"));
    assert_eq!(find(&estate, "aws_kms_key.k").count, 2);
    assert_eq!(find(&estate, "aws_sqs_queue.off").count, 0);
}

#[test]
fn modules_are_followed_with_their_arguments() {
    let main = r#"
module "db" {
  source   = "./modules/db"
  for_each = { a = 1, b = 2 }
  engine   = "postgres"
  vpc      = aws_vpc.main.id
}
module "plain" {
  source = "./modules/db"
}
resource "aws_vpc" "main" {}
resource "aws_route53_record" "r" {
  records = [module.plain.address]
}
"#;
    let db = r#"
variable "engine" { default = "oracle-ee" }
variable "vpc" { default = null }
resource "aws_db_instance" "this" {
  engine    = var.engine
  subnet_id = local.vpc
}
locals { vpc = var.vpc }
output "address" { value = aws_db_instance.this.address }
"#;
    let estate = estate(&[("live/main.tf", main), ("live/modules/db/main.tf", db)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "live/main.tf:11 aws_vpc.main [aws_vpc]",
            "live/main.tf:12 aws_route53_record.r [aws_route53_record]",
            "live/modules/db/main.tf:4 module.db.aws_db_instance.this [aws_db_instance] x2",
            "live/modules/db/main.tf:4 module.plain.aws_db_instance.this [aws_db_instance]",
        ]
    );
    assert_eq!(known(&estate, "module.db.aws_db_instance.this", "engine"), Some("postgres"));
    assert_eq!(known(&estate, "module.plain.aws_db_instance.this", "engine"), Some("oracle-ee"));
    assert_eq!(find(&estate, "module.db.aws_db_instance.this").references, ["aws_vpc.main"]);
    assert_eq!(find(&estate, "aws_route53_record.r").references, ["module.plain.aws_db_instance.this"]);
}

#[test]
fn vendored_modules_are_found_and_missing_ones_listed() {
    let main = "module \"net\" {\n  source  = \"terraform-aws-modules/vpc/aws\"\n  version = \"5.0\"\n}\n\
module \"gone\" {\n  source = \"git::https://example.org/x.git\"\n}\nmodule \"local\" {\n  source = \"./nowhere\"\n}\n\
module \"above\" {\n  source = \"../outside\"\n}\n";
    let installed = r#"{"Modules":[{"Key":"","Source":"","Dir":"."},
        {"Key":"net","Source":"registry.terraform.io/terraform-aws-modules/vpc/aws","Dir":".terraform/modules/net"},
        {"Key":"net.sub","Source":"./sub","Dir":".terraform/modules/net/sub"}]}"#;
    let estate = estate(&[
        ("main.tf", main),
        (".terraform/modules/modules.json", installed),
        (".terraform/modules/net/main.tf", "resource \"aws_vpc\" \"this\" {}\nmodule \"sub\" {\n  source = \"./sub\"\n}\n"),
        (".terraform/modules/net/sub/main.tf", "resource \"aws_subnet\" \"s\" {}\n"),
        (".terraform/modules/net/examples/x/main.tf", "resource \"aws_instance\" \"example\" {}\n"),
    ]);
    assert_eq!(
        lines(&estate),
        [
            ".terraform/modules/net/main.tf:1 module.net.aws_vpc.this [aws_vpc]",
            ".terraform/modules/net/sub/main.tf:1 module.net.module.sub.aws_subnet.s [aws_subnet]",
        ]
    );
    let missing: Vec<(u32, &str)> = estate.unresolved.iter().map(|u| (u.line, u.source.as_str())).collect();
    assert_eq!(missing, [(5, "git::https://example.org/x.git"), (8, "./nowhere"), (11, "../outside")]);
    assert!(estate.unresolved[0].why.contains("terraform init"));
}

#[test]
fn modules_that_call_themselves_end() {
    let estate = estate(&[
        ("a/main.tf", "module \"b\" {\n  source = \"../b\"\n}\nresource \"aws_vpc\" \"a\" {}\n"),
        ("b/main.tf", "module \"a\" {\n  source = \"../a\"\n}\nresource \"aws_vpc\" \"b\" {}\n"),
        ("c/main.tf", "module \"c\" {\n  source = \"./\"\n}\nresource \"aws_vpc\" \"c\" {}\n"),
    ]);
    let found = lines(&estate);
    for declared in ["a/main.tf:4", "b/main.tf:4", "c/main.tf:4"] {
        assert!(found.iter().any(|line| line.starts_with(declared)), "{declared} in {found:?}");
    }
    assert!(estate.unresolved.iter().all(|u| u.why.contains("calls itself")), "{:?}", estate.unresolved);
}

#[test]
fn calls_that_multiply_are_bounded() {
    let mut files = Vec::new();
    for level in 0..20 {
        let mut text = format!("resource \"aws_vpc\" \"v{level}\" {{}}\n");
        if level < 19 {
            for call in ["x", "y", "z"] {
                text.push_str(&format!("module \"{call}\" {{\n  source = \"../m{}\"\n}}\n", level + 1));
            }
        }
        files.push((format!("m{level}/main.tf"), text));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let estate = estate(&files);
    for level in 0..20 {
        assert!(estate.resources.iter().any(|r| r.kind == "aws_vpc" && r.address.ends_with(&format!(".v{level}"))), "{level}");
    }
    assert!(estate.resources.len() < 50_000);
    assert!(!estate.read_partly.is_empty());
}

#[test]
fn json_syntax_says_the_same() {
    let text = r#"{
  "variable": {"engine": {"default": "postgres"}},
  "locals": {"n": 2},
  "resource": {
    "aws_db_instance": {
      "db": {
        "engine": "${var.engine}",
        "count": "${local.n}",
        "kms_key_id": "${aws_kms_key.k.arn}",
        "s3_import": [{"source_engine": "mysql"}]
      }
    },
    "aws_kms_key": [
      {"k": {}},
      {"l": [{"description": "x"}]}
    ]
  },
  "data": {"aws_ami": {"u": {"most_recent": true}}},
  "module": {"gone": {"source": "example/x/aws"}}
}"#;
    let estate = estate(&[("main.tf.json", text)]);
    assert_eq!(
        lines(&estate),
        [
            "main.tf.json:6 aws_db_instance.db [aws_db_instance] x2",
            "main.tf.json:14 aws_kms_key.k [aws_kms_key]",
            "main.tf.json:15 aws_kms_key.l [aws_kms_key]",
            "main.tf.json:18 data.aws_ami.u [aws_ami] data",
        ]
    );
    assert_eq!(known(&estate, "aws_db_instance.db", "engine"), Some("postgres"));
    assert_eq!(known(&estate, "aws_db_instance.db", "s3_import.source_engine"), Some("mysql"));
    assert_eq!(find(&estate, "aws_db_instance.db").references, ["aws_kms_key.k"]);
    assert_eq!(estate.unresolved.len(), 1);
}

#[test]
fn broken_files_lose_no_declaration() {
    let table = [
        // A brace is missing.
        "resource \"aws_vpc\" \"a\" {\n  cidr = \"x\"\n\nresource \"aws_vpc\" \"b\" {\n}\n",
        // A quote is missing.
        "resource \"aws_vpc\" \"a\" {\n  cidr = \"x\n}\n\nresource \"aws_vpc\" \"b\" {\n}\n",
        // A bracket is missing.
        "resource \"aws_vpc\" \"a\" {\n  x = [1,\n}\n\nresource \"aws_vpc\" \"b\" {\n  y = foo(\n}\n",
        // A heredoc does not end.
        "resource \"aws_vpc\" \"a\" {\n  x = <<EOT\n}\n\nresource \"aws_vpc\" \"b\" {\n}\n",
        // Conflict markers.
        "resource \"aws_vpc\" \"a\" {\n<<<<<<< HEAD\n  x = 1\n=======\n}\n>>>>>>> x\nresource \"aws_vpc\" \"b\" {\n}\n",
        // Too many braces.
        "resource \"aws_vpc\" \"a\" {\n}}\n}\nresource \"aws_vpc\" \"b\" {\n}\n",
        // Not for Terraform.
        "{{ if x }}\nresource \"aws_vpc\" \"a\" {\n}\n{{ end }}\nresource \"aws_vpc\" \"b\" {\n}\n",
    ];
    for text in table {
        let estate = estate(&[("main.tf", text)]);
        let mut addresses: Vec<&str> = estate.resources.iter().map(|r| r.address.as_str()).collect();
        addresses.sort_unstable();
        assert_eq!(addresses, ["aws_vpc.a", "aws_vpc.b"], "{text}");
        for resource in &estate.resources {
            let line = text.lines().nth(resource.line as usize - 1).unwrap_or_default();
            assert!(line.starts_with("resource"), "{} in {text}", resource.line);
        }
        assert!(!estate.read_partly.is_empty(), "{text}");
        assert!(estate.read_partly.iter().all(|part| part.line.is_some()), "{text}");
    }
}

#[test]
fn encodings_and_line_ends() {
    let text = "resource \"aws_vpc\" \"a\" {\r\n  x = \"é\"\r\n}\r\n\r\nresource \"aws_vpc\" \"b\" {\r\n}\r\n";
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let broken = text.replace('é', "\u{1}").into_bytes().into_iter().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    for (bytes, notes) in [(text.as_bytes().to_vec(), 0), (wide, 0), (broken, 1)] {
        let facts = freehold_estate::read::read_file("main.tf", &bytes);
        let found: Vec<(u32, &str)> = facts.resources.iter().map(|r| (r.line, r.address.as_str())).collect();
        assert_eq!(found, [(1, "aws_vpc.a"), (5, "aws_vpc.b")]);
        assert_eq!(facts.read_partly.len(), notes);
    }
}
