//! Judging by attributes, the user's `freehold-audit.toml`, and what it says when that file is wrong.

use std::sync::Arc;

use freehold_estate::catalogue::{Catalogue, Class, Verdict};
use freehold_estate::resource::{Notation, Provider, Resource, Value};
use proptest::prelude::*;
use time::macros::date;

fn resource(kind: &str, attributes: &[(&str, &str)]) -> Resource {
    Resource {
        file: Arc::from("main.tf"),
        line: 3,
        address: format!("{kind}.main"),
        kind: kind.to_owned(),
        provider: Provider::Aws,
        notation: Notation::Terraform,
        data: false,
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Text((*value).to_owned()))).collect(),
        references: Vec::new(),
        count: 1,
        confidence: 100,
    }
}

fn judge(kind: &str, attributes: &[(&str, &str)]) -> Verdict {
    Catalogue::builtin().judge(&resource(kind, attributes))
}

#[test]
fn attributes_refine() {
    for (kind, attributes, class) in [
        ("aws_db_instance", &[("engine", "postgres")][..], Class::S),
        ("aws_db_instance", &[("engine", "PostgreSQL")], Class::S),
        ("aws_db_instance", &[("engine", "oracle-ee")], Class::X),
        ("aws_db_instance", &[("engine", "sqlserver-web")], Class::X),
        ("aws_db_instance", &[], Class::C),
        ("aws_rds_cluster", &[("engine", "aurora-postgresql")], Class::C),
        ("AWS::RDS::DBInstance", &[("Engine", "mariadb")], Class::S),
        ("aws_lambda_function", &[("package_type", "Image")], Class::C),
        ("aws_lambda_function", &[("package_type", "Zip")], Class::X),
        ("AWS::Lambda::Function", &[("PackageType", "Image")], Class::C),
        ("azurerm_cosmosdb_account", &[("kind", "MongoDB")], Class::C),
        ("azurerm_cosmosdb_account", &[("capabilities.name", "EnableCassandra")], Class::C),
        ("azurerm_cosmosdb_account", &[("kind", "GlobalDocumentDB")], Class::X),
        ("Microsoft.Web/sites", &[("kind", "functionapp,linux")], Class::C),
        ("Microsoft.Web/sites", &[("kind", "app")], Class::M),
        ("google_sql_database_instance", &[("database_version", "POSTGRES_16")], Class::S),
        ("google_sql_database_instance", &[("database_version", "SQLSERVER_2022_STANDARD")], Class::X),
        ("core/Service", &[("spec.type", "LoadBalancer")], Class::M),
        ("core/Service", &[("spec.type", "ClusterIP")], Class::N),
        ("azapi_resource", &[("type", "Microsoft.ContainerService/managedClusters@2024-05-01")], Class::S),
        ("Microsoft.Sql/servers/databases", &[], Class::X),
        ("AWS::DynamoDB::GlobalTable", &[], Class::X),
        ("aws_rds_global_cluster", &[], Class::C),
        ("AWS::EntityResolution::MatchingWorkflow", &[], Class::X),
        ("AWS::CodeStarConnections::Connection", &[], Class::G),
        ("Microsoft.Sql/servers/firewallRules", &[], Class::G),
        ("Microsoft.WeightsAndBiases/instances", &[], Class::G),
        ("logging:awslogs", &[], Class::M),
        ("annotation:eks.amazonaws.com/role-arn", &[], Class::G),
        ("annotation:eks.amazonaws.com", &[], Class::M),
        ("no_such_type", &[], Class::U),
    ] {
        assert_eq!(judge(kind, attributes).class, class, "{kind} {attributes:?}");
    }
    assert_eq!(judge("aws_elasticache_cluster", &[("engine", "memcached")]).rule, "aws-elasticache?memcached");
    assert_eq!(judge("aws_dynamodb_global_secondary_index", &[]).rule, "aws-dynamodb/detail");
    assert_eq!(judge("aws_elasticache_cluster", &[("engine", "redis")]).rule, "aws-elasticache?redis");
}

#[test]
fn an_unknown_engine_lowers_the_confidence() {
    let mut unknown = resource("aws_db_instance", &[]);
    unknown.attributes.insert("engine".to_owned(), Value::Unknown("var.engine".to_owned()));
    let verdict = Catalogue::builtin().judge(&unknown);
    assert_eq!(verdict.rule, "aws-rds");
    assert!(verdict.confidence < judge("aws_db_instance", &[("engine", "postgres")]).confidence);
}

#[test]
fn confidence_multiplies_and_data_sources_weigh_little() {
    let mut signal = resource("boto3:sqs", &[]);
    let certain = Catalogue::builtin().judge(&signal).confidence;
    signal.confidence = 50;
    assert_eq!(Catalogue::builtin().judge(&signal).confidence, certain / 2);
    let mut data = resource("aws_connect_instance", &[]);
    data.data = true;
    assert!(Catalogue::builtin().judge(&data).effort_days.high <= 0.5);
}

const RULES: &str = r#"
[[rule]]
types = ["aws_sqs_queue"]
class = "C"
why = "We run ElasticMQ beside it."

[[rule]]
id = "widgetco"
prefixes = ["widgetco_"]
name = "Widget platform"
class = "X"
why = "Our own platform."
effort_days = [1, 2.5]

[[rule.when]]
attributes = ["tier"]
is = ["open"]
class = "S"

[[accept]]
type = "aws_kms_key"
reason = "Keys are re-encrypted with the storage in spring."
expires = 2027-03-31

[[accept]]
rule = "aws-rds"
file = "legacy/*"
reason = "Ends with the contract."
expires = "2026-12-31"
"#;

#[test]
fn users_add_and_override_rules() {
    let catalogue = Catalogue::with_user_rules(RULES).expect("valid");
    let queue = catalogue.judge(&resource("aws_sqs_queue", &[]));
    assert_eq!((queue.class, queue.service.as_ref()), (Class::C, "Amazon SQS"));
    assert_eq!(queue.why, "We run ElasticMQ beside it.");
    assert_eq!(queue.rule, "aws-sqs/user");
    assert_eq!(catalogue.judge(&resource("AWS::SQS::Queue", &[])).class, Class::X, "only what is named changes");
    let widget = catalogue.judge(&resource("widgetco_widget", &[]));
    assert_eq!((widget.class, widget.effort_days.high, widget.evidence), (Class::X, 2.5, None));
    assert_eq!(catalogue.judge(&resource("widgetco_widget", &[("tier", "Open")])).class, Class::S);
    assert!(catalogue.explain("widgetco_widget").expect("known").by_user);
    assert!(!catalogue.explain("aws_s3_bucket").expect("known").by_user);
}

#[test]
fn acceptances_end() {
    let catalogue = Catalogue::with_user_rules(RULES).expect("valid");
    let key = resource("aws_kms_key", &[]);
    let verdict = catalogue.judge(&key);
    let on = |day| catalogue.accepted(&key, &verdict, day).map(|acceptance| acceptance.line);
    assert!(on(date!(2027 - 03 - 31)).is_some(), "the last day counts");
    assert!(on(date!(2027 - 04 - 01)).is_none());
    let mut database = resource("aws_db_instance", &[("engine", "oracle-se2")]);
    let verdict = catalogue.judge(&database);
    assert!(catalogue.accepted(&database, &verdict, date!(2026 - 12 - 01)).is_none());
    database.file = Arc::from("legacy/db.tf");
    assert!(catalogue.accepted(&database, &verdict, date!(2026 - 12 - 01)).is_some(), "a service covers its refinements");
    assert_eq!(catalogue.acceptances().len(), 2);
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line, words) in [
        ("[[rule]]\ntypes = [\"a\"]\nclas = \"S\"", 3, "unknown key `clas`; did you mean `class`?"),
        ("[[rules]]\ntypes = [\"a\"]", 1, "unknown key `rules`; did you mean `rule`?"),
        ("\n[[accept]]\ntype = \"a\"\nreson = \"x\"", 4, "did you mean `reason`?"),
        ("[[accept]]\ntype = \"a\"\nreason = \"x\"", 1, "needs `expires`"),
        ("[[accept]]\ntype = \"a\"\nexpires = \"2027-01-01\"", 1, "needs a `reason`"),
        ("[[accept]]\nreason = \"x\"\nexpires = \"2027-01-01\"", 1, "covers everything"),
        ("[[accept]]\ntype = \"a\"\nreason = \"x\"\nexpires = \"soon\"", 1, "not `soon`"),
        ("[[accept]]\ntype = \"a\"\nreason = \"x\"\nexpires = 2027-02-30", 4, "not TOML"),
        ("[[rule]]\ntypes = [\"a_b\"]\nclass = \"Q\"", 3, "`Q` is not a class"),
        ("[[rule]]\ntypes = [\"a_b\"]\nclass = \"U\"\nname = \"x\"\nwhy = \"x\"", 1, "U is for types without a rule"),
        ("[[rule]]\ntypes = [\"a_b\"]\nclass = \"S\"", 1, "`name` is missing"),
        ("[[rule]]\nclass = \"S\"", 1, "matches nothing"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\ndata_portability = \"natve\"", 3, "did you mean `native`?"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\neffort_days = [5, 1]", 3, "low first"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\nconfidence = 200", 3, "from 0 to 100"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\nevidence = \"a page\"", 3, "is a URL"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\n[[rule.when]]\nattributes = [\"x\"]", 3, "exactly one of"),
        ("[[rule]]\ntypes = [\"aws_sqs_queue\"]\n\n[[rule]]\ntypes = [\"aws_sqs_queue\"]", 4, "matched by"),
        ("[[rule]\n", 1, "not TOML"),
        ("rule = 3", 1, "write [[rule]]"),
    ] {
        let error = Catalogue::with_user_rules(text).expect_err(text);
        assert!(error.to_string().contains(words), "{text}\n{error}");
        assert_eq!(error.line, line, "{text}\n{error}");
    }
    assert!(Catalogue::with_user_rules("").is_ok());
    assert!(Catalogue::with_user_rules("\u{feff}# nothing\n").is_ok());
    assert!(Catalogue::with_user_rules(&"#".repeat((1 << 20) + 1)).is_err());
}

proptest! {
    #[test]
    fn foreign_text_never_panics(text in "\\PC{0,200}", name in "[a-zA-Z_:./@]{0,60}") {
        let _ = Catalogue::with_user_rules(&text);
        let _ = Catalogue::with_user_rules(&format!("[[rule]]\ntypes = [{text:?}]\nclass = \"S\""));
        let _ = Catalogue::builtin().explain(&name);
        let _ = judge(&text, &[("engine", &text), ("kind", &name)]);
    }
}
