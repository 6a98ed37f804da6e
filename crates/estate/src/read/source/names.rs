//! One name per service across languages.
//!
//! **Invariant:** unknown names pass through in lower case, so that a new service is reported under its own name.

/// The service of a signal that shows an SDK's core only.
pub(super) const CORE: &str = "sdk";

/// AWS: the name that boto3 uses.
pub(super) fn aws(written: &str) -> String {
    let lower = written.to_ascii_lowercase().replace('_', "-");
    let bare = lower.replace('-', "");
    let name = match bare.as_str() {
        "bedrockruntime" => "bedrock-runtime",
        "bedrockagent" => "bedrock-agent",
        "bedrockagentruntime" => "bedrock-agent-runtime",
        "cognitoidentityprovider" | "cognitoidp" => "cognito-idp",
        "cognitoidentity" => "cognito-identity",
        "cloudwatchlogs" => "logs",
        "cloudwatchevents" | "eventbridge" => "events",
        "sfn" => "stepfunctions",
        "elasticloadbalancingv2" => "elbv2",
        "elasticloadbalancing" => "elb",
        "kinesisfirehose" => "firehose",
        "applicationautoscaling" => "application-autoscaling",
        "secretmanager" => "secretsmanager",
        "simplesystemsmanagement" => "ssm",
        "simpleemail" => "ses",
        "simpleemailv2" => "sesv2",
        "dynamodbv2" | "dynamodbstreams" | "dynamodbdocument" => "dynamodb",
        "apigatewaymanagementapi" => "apigatewaymanagementapi",
        "sagemakerruntime" => "sagemaker-runtime",
        "lexruntimev2" => "lexv2-runtime",
        "securitytoken" => "sts",
        "rdsdata" => "rds-data",
        "redshiftdata" => "redshift-data",
        "iotdataplane" => "iot-data",
        "databasemigrationservice" => "dms",
        "elasticsearchservice" => "es",
        "opensearchserverless" => "opensearchserverless",
        "s3presignedpost" | "s3requestpresigner" | "s3control" | "s3manager" | "storage" => "s3",
        "servicediscovery" => "servicediscovery",
        "lambdaruntime" | "lambdaevents" => "lambda",
        "" | "core" | "config" | "types" | "credentialproviders" | "util" | "runtime" | "auth" | "sdkcore" => CORE,
        _ => return lower,
    };
    name.to_owned()
}

/// Google Cloud: the name of the product's client library in Python.
pub(super) fn google(written: &str) -> String {
    let lower = written.to_ascii_lowercase().replace(['_', '.'], "-");
    let lower = lower.strip_prefix("cloud-").unwrap_or(&lower);
    // Versions: `pubsub_v1`, `apiv1`, `storage-v1beta`.
    let lower = match lower.rfind("-v") {
        Some(at) if lower[at + 2..].starts_with(|c: char| c.is_ascii_digit()) => &lower[..at],
        _ => lower,
    };
    let name = match lower {
        "vertexai" | "vertexai-genai" | "aiplatform-gapic" => "aiplatform",
        "secret-manager" | "secretmanager" => "secretmanager",
        "tasks" | "cloudtasks" => "tasks",
        "pub-sub" => "pubsub",
        "bigquery-storage" | "bigquerystorage" => "bigquery",
        "firestore-admin" => "firestore",
        "data-catalog" => "datacatalog",
        "" | "core" | "common" | "option" | "auth" | "api-core" | "cloud" | "compute-metadata" => CORE,
        other => other,
    };
    name.to_owned()
}

/// Azure: the name of the Python package behind `azure-`, management clients as `mgmt-NAME`.
pub(super) fn azure(written: &str) -> String {
    let lower = written.to_ascii_lowercase().replace(['_', '.', '/'], "-");
    let name = match lower.as_str() {
        "storage-azblob" | "storage-blobs" | "blob" | "azblob" | "storageblob" => "storage-blob",
        "storage-azqueue" | "storage-queues" | "azqueue" => "storage-queue",
        "storage-azdatalake" | "storage-file-datalake" | "storage-files-datalake" | "storage-datalake" => "storage-file-datalake",
        "storage-azfile" | "storage-file-share" | "storage-files-shares" => "storage-file-share",
        "data-azcosmos" | "data-cosmos" | "azcosmos" | "cosmosdb" | "documentdb" | "data-tables-cosmos" => "cosmos",
        "data-aztables" | "data-tables" | "aztables" => "data-tables",
        "messaging-azservicebus" | "messaging-servicebus" | "service-bus" | "azservicebus" => "servicebus",
        "messaging-azeventhubs" | "messaging-eventhubs" | "event-hubs" | "eventhubs" | "azeventhubs" => "eventhub",
        "messaging-eventgrid" | "messaging-azeventgrid" => "eventgrid",
        "security-keyvault-azsecrets" | "keyvault-azsecrets" | "security-keyvault-secrets" => "keyvault-secrets",
        "security-keyvault-azkeys" | "keyvault-azkeys" | "security-keyvault-keys" => "keyvault-keys",
        "security-keyvault-azcertificates" | "security-keyvault-certificates" => "keyvault-certificates",
        "azidentity" => "identity",
        "ai-azopenai" | "openai" | "ai-openai-assistants" => "ai-openai",
        "functions-worker" | "webjobs" | "functions-extensions" => "functions",
        "" | "core" | "azcore" | "core-http" | "core-auth" | "common" | "ms-rest-js" | "logger" | "abort-controller" => CORE,
        other => {
            return match other.strip_prefix("arm-").or_else(|| other.strip_prefix("resourcemanager-")) {
                Some(managed) => format!("mgmt-{}", managed.split('-').next().unwrap_or(managed)),
                None => other.to_owned(),
            };
        }
    };
    name.to_owned()
}
