//! The catalogue: what is covered, that rules say something, and that they agree with each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use freehold_estate::catalogue::{ApplicationPortability, Catalogue, Class, DataPortability, Explanation, Interoperability, Matched};

const AWS: &str = include_str!("../../catalogue/types/terraform-aws.txt");
const AZURERM: &str = include_str!("../../catalogue/types/terraform-azurerm.txt");
const GOOGLE: &str = include_str!("../../catalogue/types/terraform-google.txt");
const CLOUDFORMATION: &str = include_str!("../../catalogue/types/cloudformation.txt");
const ARM: &str = include_str!("../../catalogue/types/arm-lowercase.txt");
const AZURERM_TO_ARM: &str = include_str!("../../catalogue/types/azurerm-to-arm.tsv");

fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|name| !name.is_empty())
}

fn all_names() -> impl Iterator<Item = &'static str> {
    [AWS, AZURERM, GOOGLE, CLOUDFORMATION, ARM].into_iter().flat_map(names)
}

fn explained(name: &str) -> Option<Explanation> {
    Catalogue::builtin().explain(name)
}

fn class_of(name: &str) -> Class {
    explained(name).unwrap_or_else(|| panic!("no rule for {name}")).verdict.class
}

/// The service's id, without the part.
fn service_of(rule: &str) -> &str {
    rule.split(['/', '?']).next().unwrap_or(rule)
}

#[test]
fn every_list_is_covered() {
    for (list, file, percent) in [
        (AWS, "terraform-aws", 99.0),
        (AZURERM, "terraform-azurerm", 99.0),
        (GOOGLE, "terraform-google", 99.0),
        (CLOUDFORMATION, "cloudformation", 99.0),
        (ARM, "arm", 97.0),
    ] {
        let total = names(list).count();
        let missing: Vec<_> = names(list).filter(|name| explained(name).is_none()).collect();
        let covered = 100.0 * (total - missing.len()) as f64 / total as f64;
        assert!(covered >= percent, "{file}: {covered:.2} % of {total}, missing {missing:?}");
    }
}

#[test]
fn no_rule_is_a_fallback_to_the_provider() {
    let whole_providers = [
        "aws_",
        "aws::",
        "aws:",
        "awscc_",
        "azurerm_",
        "microsoft.",
        "azure:",
        "azure-native:",
        "azuread_",
        "google_",
        "google-native:",
        "gcp:",
        "boto3:",
        "google-cloud:",
        "azure-sdk:",
        "microsoft",
        "google",
        "azurerm",
        "aws",
    ];
    let mut by_pattern: HashMap<String, usize> = HashMap::new();
    let mut by_rule: BTreeMap<String, usize> = BTreeMap::new();
    for name in all_names() {
        let Some(explanation) = explained(name) else {
            continue;
        };
        *by_rule.entry(explanation.verdict.rule.to_string()).or_default() += 1;
        if let Matched::Prefix(prefix) = explanation.matched {
            assert!(!whole_providers.contains(&prefix.as_str()), "{name} is judged by its provider alone: {prefix}");
            assert!(service_part(&prefix).len() >= 2, "{name}: the prefix {prefix} names no service");
            *by_pattern.entry(prefix).or_default() += 1;
        }
    }
    for (pattern, count) in by_pattern {
        assert!(count <= 120, "the prefix {pattern} matches {count} types; write more rules");
    }
    for (rule, count) in by_rule {
        assert!(count <= 180, "the rule {rule} judges {count} types; split it");
    }
}

/// What a prefix says beyond its provider's own name.
fn service_part(prefix: &str) -> &str {
    let heads = ["aws_", "aws::", "aws:", "azurerm_", "microsoft.", "google_", "azuread_"];
    heads.iter().find_map(|head| prefix.strip_prefix(head)).unwrap_or(prefix).trim_end_matches(['_', ':', '/'])
}

/// Types that Terraform and CloudFormation both have: `aws_sqs_queue` is `AWS::SQS::Queue`.
#[test]
fn terraform_and_cloudformation_agree() {
    let folded = |service: &str, resource: &str| format!("{service}{resource}").replace('_', "").to_ascii_lowercase();
    let mut terraform: HashMap<String, &str> = HashMap::new();
    for name in names(AWS) {
        terraform.insert(name.trim_start_matches("aws_").replace('_', ""), name);
    }
    let mut compared = 0;
    let mut differ = Vec::new();
    for name in names(CLOUDFORMATION) {
        let mut parts = name.split("::").skip(1);
        let (Some(service), Some(resource)) = (parts.next(), parts.next()) else {
            continue;
        };
        let Some(same) = terraform.get(&folded(service, resource)) else {
            continue;
        };
        let (Some(ours), Some(theirs)) = (explained(same), explained(name)) else {
            continue;
        };
        compared += 1;
        let (a, b) = (&ours.verdict, &theirs.verdict);
        if a.class != b.class || service_of(&a.rule) != service_of(&b.rule) {
            differ.push(format!("{same} {} {} / {name} {} {}", a.class, a.rule, b.class, b.rule));
        }
    }
    assert!(compared > 400, "only {compared} types were compared");
    assert!(differ.is_empty(), "{} of {compared} differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn the_best_known_services_agree_in_every_notation() {
    for (class, same) in [
        (
            Class::C,
            &[
                "aws_s3_bucket",
                "AWS::S3::Bucket",
                "aws:s3/bucket:Bucket",
                "aws-native:s3:Bucket",
                "awscc_s3_bucket",
                "boto3:s3",
                "aws-sdk:s3",
                "s3.services.k8s.aws/Bucket",
            ][..],
        ),
        (Class::X, &["aws_sqs_queue", "AWS::SQS::Queue", "aws:sqs/queue:Queue", "boto3:sqs"]),
        (Class::X, &["aws_lambda_function", "AWS::Lambda::Function", "AWS::Serverless::Function", "boto3:lambda"]),
        (Class::X, &["aws_dynamodb_table", "AWS::DynamoDB::Table", "boto3:dynamodb", "dynamodb.services.k8s.aws/Table"]),
        (
            Class::S,
            &[
                "aws_eks_cluster",
                "AWS::EKS::Cluster",
                "azurerm_kubernetes_cluster",
                "Microsoft.ContainerService/managedClusters@2024-05-01",
                "google_container_cluster",
            ],
        ),
        (
            Class::M,
            &[
                "aws_instance",
                "AWS::EC2::Instance",
                "azurerm_linux_virtual_machine",
                "Microsoft.Compute/virtualMachines",
                "google_compute_instance",
            ],
        ),
        (
            Class::M,
            &[
                "aws_vpc",
                "AWS::EC2::VPC",
                "azurerm_virtual_network",
                "google_compute_network",
                "aws_lb",
                "azurerm_lb",
                "google_compute_forwarding_rule",
                "aws_route53_zone",
                "azurerm_dns_zone",
                "google_dns_managed_zone",
            ],
        ),
        (
            Class::G,
            &[
                "aws_iam_role",
                "AWS::IAM::Role",
                "azurerm_role_assignment",
                "Microsoft.Authorization/roleAssignments",
                "google_project_iam_member",
                "google_pubsub_topic_iam_member",
                "aws_budgets_budget",
                "aws_s3_bucket_policy",
                "AWS::S3::BucketPolicy",
                "aws_organizations_account",
            ],
        ),
        (Class::E, &["aws_kms_key", "AWS::KMS::Key", "azurerm_key_vault_key", "google_kms_crypto_key", "aws_cognito_user_pool"]),
        (
            Class::X,
            &[
                "azurerm_storage_account",
                "Microsoft.Storage/storageAccounts",
                "azure-sdk:storage-blob",
                "azure-native:storage:StorageAccount",
                "google_pubsub_topic",
                "google_bigquery_dataset",
                "google-cloud:bigquery",
                "aws_redshift_cluster",
            ],
        ),
        (
            Class::C,
            &[
                "google_storage_bucket",
                "google-cloud:storage",
                "gcp:storage/bucket:Bucket",
                "storage.cnrm.cloud.google.com/StorageBucket",
                "azurerm_eventhub_namespace",
                "azurerm_servicebus_namespace",
                "azurerm_linux_function_app",
            ],
        ),
        (
            Class::S,
            &[
                "azurerm_postgresql_flexible_server",
                "azurerm_redis_cache",
                "google_cloud_run_v2_service",
                "aws_msk_cluster",
                "aws_efs_file_system",
                "google_redis_instance",
                "image:dkr.ecr.amazonaws.com",
            ],
        ),
        (
            Class::N,
            &[
                "random_id",
                "kubernetes_deployment",
                "apps/Deployment",
                "core/ConfigMap",
                "helm_release",
                "image:docker.io/library/postgres",
                "terraform_data",
            ],
        ),
    ] {
        for name in same {
            assert_eq!(class_of(name), class, "{name}");
        }
    }
}

/// azurerm and ARM name the same thing, so their classes agree, except where one of them splits a resource further.
#[test]
fn azurerm_and_arm_agree() {
    let mut compared = 0;
    let mut differ = Vec::new();
    for line in AZURERM_TO_ARM.lines().skip(1) {
        let Some((terraform, arm)) = line.split_once('\t') else {
            continue;
        };
        let (Some(a), Some(b)) = (explained(terraform), explained(arm)) else {
            continue;
        };
        compared += 1;
        if service_of(&a.verdict.rule) != service_of(&b.verdict.rule) {
            differ.push(format!("{terraform} {} / {arm} {}", a.verdict.rule, b.verdict.rule));
        }
    }
    let percent = 100.0 * differ.len() as f64 / f64::from(compared);
    assert!(compared > 900, "only {compared} types were compared");
    assert!(percent <= 6.0, "{percent:.1} % of {compared} differ:\n{}", differ.join("\n"));
}

#[test]
fn every_rule_is_complete_and_consistent() {
    let mut rules: BTreeMap<String, Explanation> = BTreeMap::new();
    for name in all_names() {
        if let Some(explanation) = explained(name) {
            rules.entry(explanation.verdict.rule.to_string()).or_insert(explanation);
        }
    }
    assert!(rules.len() > 500, "{} rules are in use", rules.len());
    for (id, explanation) in &rules {
        let refined = explanation.refinements.iter().map(|refinement| &refinement.verdict);
        for verdict in std::iter::once(&explanation.verdict).chain(refined) {
            for (what, text) in [
                ("service", &verdict.service),
                ("replacement", &verdict.replacement),
                ("exit path", &verdict.exit_path),
                ("why", &verdict.why),
            ] {
                assert!(text.len() > 2 && !text.starts_with('@') && !text.contains("  "), "{id}: {what} is `{text}`");
            }
            assert!(verdict.why.ends_with('.'), "{id}: {}", verdict.why);
            let evidence = verdict.evidence.as_ref().unwrap_or_else(|| panic!("{id} has no evidence"));
            assert!(evidence.url.starts_with("https://"), "{id}: {}", evidence.url);
            assert_eq!(evidence.date.len(), 10, "{id}");
            assert!((30..=100).contains(&verdict.confidence), "{id}: {}", verdict.confidence);
            assert!(verdict.effort_days.low <= verdict.effort_days.high, "{id}");
            let facets = verdict.facets;
            let fits = match verdict.class {
                Class::S => facets.interoperability == Interoperability::Standard,
                Class::M => {
                    facets.application_portability <= ApplicationPortability::Configuration
                        || facets.interoperability == Interoperability::Standard
                }
                Class::C => facets.interoperability == Interoperability::Compatible,
                Class::X => facets.interoperability == Interoperability::Proprietary && facets.data_portability != DataPortability::Locked,
                Class::E => {
                    facets.application_portability == ApplicationPortability::Redesign
                        || facets.data_portability >= DataPortability::Partial
                }
                Class::G | Class::N => true,
                Class::U => false,
            };
            assert!(fits, "{}: class {} does not fit {facets:?}", verdict.rule, verdict.class);
        }
    }
}

#[test]
fn details_weigh_less_than_what_they_belong_to() {
    for (detail, whole) in [
        ("aws_s3_bucket_versioning", "aws_s3_bucket"),
        ("aws_connect_queue", "aws_connect_instance"),
        ("azurerm_mssql_elasticpool", "azurerm_mssql_database"),
        ("google_apigee_api", "google_apigee_organization"),
        ("microsoft.documentdb/databaseaccounts/sqldatabases", "microsoft.documentdb/databaseaccounts"),
        ("AWS::Cognito::UserPoolGroup", "AWS::Cognito::UserPool"),
    ] {
        let high = |name: &str| explained(name).expect("known").verdict.effort_days.high;
        assert!(high(detail) < high(whole), "{detail} {} {whole} {}", high(detail), high(whole));
    }
}

#[test]
fn explain_suggests_what_was_meant() {
    let catalogue = Catalogue::builtin();
    assert_eq!(catalogue.explain("aws_sqs_queueue_x").map(|known| known.matched), Some(Matched::Prefix("aws_sqs_".into())));
    assert!(catalogue.explain("aws_nosuchservice_thing").is_none());
    assert!(catalogue.nearest("aws_sqss_queue", 3).contains(&"aws_sqs_queue"));
    assert!(catalogue.nearest("AWS::SQS::Queu", 1).contains(&"AWS::SQS::Queue"));
    assert!(catalogue.nearest(&"x".repeat(100_000), 3).is_empty());
    let explanation = catalogue.explain("aws_db_instance").expect("known");
    let conditions: Vec<String> = explanation.refinements.iter().map(|refinement| refinement.condition()).collect();
    assert!(conditions.iter().any(|condition| condition.starts_with("engine is postgres")), "{conditions:?}");
    let rules: BTreeSet<_> = explanation.refinements.iter().map(|refinement| refinement.verdict.rule.clone()).collect();
    assert_eq!(rules.len(), explanation.refinements.len(), "each refinement has its own id");
}
