//! Plans and state.

use freehold_estate::resource::Notation;

use super::{assert_clean, estate, find, known, lines};

#[test]
fn state() {
    let text = r#"{
  "version": 4, "terraform_version": "1.9.0", "serial": 3, "lineage": "x",
  "resources": [
    {
      "mode": "managed", "type": "aws_db_instance", "name": "db", "module": "module.data",
      "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
      "instances": [
        {"index_key": 0, "attributes": {"engine": "postgres", "password": "hunter2", "timeouts": null},
         "dependencies": ["aws_vpc.main"]},
        {"index_key": 1, "attributes": {"engine": "postgres"}}
      ]
    },
    {"mode": "data", "type": "aws_caller_identity", "name": "me", "instances": [{"attributes": {}}]}
  ]
}"#;
    let estate = estate(&[("terraform.tfstate", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "terraform.tfstate:4 module.data.aws_db_instance.db [aws_db_instance] x2",
            "terraform.tfstate:13 data.aws_caller_identity.me [aws_caller_identity] data",
        ]
    );
    let db = find(&estate, "module.data.aws_db_instance.db");
    assert_eq!(db.notation, Notation::TerraformState);
    assert_eq!(db.references, ["aws_vpc.main"]);
    assert_eq!(known(&estate, "module.data.aws_db_instance.db", "engine"), Some("postgres"));
    assert!(!db.attributes.contains_key("password"));
}

#[test]
fn plan() {
    let text = r#"{"format_version": "1.2", "terraform_version": "1.9.0",
 "planned_values": {"root_module": {
   "resources": [
     {"address": "aws_vpc.main", "mode": "managed", "type": "aws_vpc", "name": "main", "values": {"cidr_block": "10.0.0.0/16"}},
     {"address": "aws_subnet.s[0]", "mode": "managed", "type": "aws_subnet", "name": "s", "index": 0, "values": {}},
     {"address": "aws_subnet.s[1]", "mode": "managed", "type": "aws_subnet", "name": "s", "index": 1, "values": {}}],
   "child_modules": [{"address": "module.db[\"x.y\"]", "resources": [
     {"address": "module.db[\"x.y\"].aws_db_instance.this", "mode": "managed", "type": "aws_db_instance", "name": "this",
      "values": {"engine": "oracle-ee"}}]}]}},
 "prior_state": {"values": {"root_module": {"resources": [
     {"address": "data.aws_ami.u", "mode": "data", "type": "aws_ami", "name": "u", "values": {}},
     {"address": "aws_vpc.main", "mode": "managed", "type": "aws_vpc", "name": "main", "values": {}}]}}},
 "configuration": {"root_module": {
   "resources": [{"address": "aws_subnet.s", "expressions": {"vpc_id": {"references": ["aws_vpc.main.id", "aws_vpc.main"]}}}],
   "module_calls": {"db": {"module": {"resources": [
      {"address": "aws_db_instance.this", "expressions": {"x": {"references": ["aws_kms_key.k.arn", "var.y"]}}}]}}}}}
}"#;
    let estate = estate(&[("plan.json", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "plan.json:4 aws_vpc.main [aws_vpc]",
            "plan.json:5 aws_subnet.s [aws_subnet] x2",
            "plan.json:8 module.db[\"x.y\"].aws_db_instance.this [aws_db_instance]",
            "plan.json:11 data.aws_ami.u [aws_ami] data",
        ]
    );
    assert_eq!(find(&estate, "aws_subnet.s").references, ["aws_vpc.main"]);
    assert_eq!(find(&estate, "module.db[\"x.y\"].aws_db_instance.this").references, ["module.db.aws_kms_key.k"]);
    assert_eq!(known(&estate, "module.db[\"x.y\"].aws_db_instance.this", "engine"), Some("oracle-ee"));
}
