//! Signals in source code.

use super::{estate, lines};

/// Kinds with their lines.
fn signals(path: &str, text: &str) -> Vec<String> {
    let estate = estate(&[(path, text)]);
    assert!(estate.resources.iter().all(|r| r.confidence == 70));
    lines(&estate)
        .into_iter()
        .map(|line| {
            let (place, kind) = line.split_once(' ').unwrap_or_default();
            let line = place.rsplit(':').next().unwrap_or_default();
            format!("{line} {}", kind.split_once(" [").map_or(kind, |(address, _)| address))
        })
        .collect()
}

#[test]
fn python() {
    let text = "import os, boto3\nfrom google.cloud import storage, bigquery as bq\nfrom google.cloud.pubsub_v1 import PublisherClient\nimport vertexai\nfrom azure.storage.blob import BlobServiceClient\nfrom azure.identity.aio import DefaultAzureCredential\nfrom azure.mgmt.compute import ComputeManagementClient\n# boto3.client('sqs')\ns3 = boto3.client(\"s3\", region_name='x')\ndb = session.resource(service_name='dynamodb')\ns3b = boto3.client('s3')\nllm = boto3.client(\n    'bedrock-runtime')\n";
    assert_eq!(
        signals("app/main.py", text),
        [
            "2 google-cloud:bigquery",
            "2 google-cloud:storage",
            "3 google-cloud:pubsub",
            "4 google-cloud:aiplatform",
            "5 azure-sdk:storage-blob",
            "6 azure-sdk:identity",
            "7 azure-sdk:mgmt-compute",
            "9 boto3:s3",
            "10 boto3:dynamodb",
            "13 boto3:bedrock-runtime",
        ]
    );
    assert_eq!(signals("a.py", "import boto3\nx = f(boto3)\n"), ["1 boto3:sdk"]);
    assert!(signals("a.py", "import requests\nclient.client('s3')\n").is_empty());
}

#[test]
fn javascript() {
    let text = "import { S3Client } from '@aws-sdk/client-s3';\nconst { DynamoDBDocument } = require(\"@aws-sdk/lib-dynamodb\");\n// import x from '@aws-sdk/client-sqs'\n/* '@aws-sdk/client-sns'\n '@aws-sdk/client-sns' */\nimport AWS from 'aws-sdk';\nconst q = new AWS.SQS();\nimport { Storage } from '@google-cloud/storage';\nimport { CosmosClient } from '@azure/cosmos';\nimport { ComputeManagementClient } from '@azure/arm-compute';\nimport admin from 'firebase-admin';\nconst x = await import('@aws-sdk/client-bedrock-runtime');\n";
    assert_eq!(
        signals("src/a.ts", text),
        [
            "1 aws-sdk:s3",
            "2 aws-sdk:dynamodb",
            "7 aws-sdk:sqs",
            "8 google-cloud:storage",
            "9 azure-sdk:cosmos",
            "10 azure-sdk:mgmt-compute",
            "11 google-cloud:firebase",
            "12 aws-sdk:bedrock-runtime",
        ]
    );
}

#[test]
fn go_java_rust_and_dotnet() {
    let go = "package main\nimport (\n\t\"github.com/aws/aws-sdk-go-v2/config\"\n\t\"github.com/aws/aws-sdk-go-v2/service/s3\"\n\ttypes \"github.com/aws/aws-sdk-go-v2/service/s3/types\"\n\t\"cloud.google.com/go/pubsub\"\n\t\"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob\"\n\t\"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v5\"\n)\n";
    assert_eq!(signals("main.go", go), ["4 aws-sdk:s3", "6 google-cloud:pubsub", "7 azure-sdk:storage-blob", "8 azure-sdk:mgmt-compute"]);
    let java = "package x;\nimport software.amazon.awssdk.services.dynamodb.DynamoDbClient;\nimport com.amazonaws.services.lambda.runtime.Context;\nimport com.google.cloud.storage.Storage;\nimport com.azure.messaging.servicebus.ServiceBusClientBuilder;\nimport com.microsoft.azure.functions.ExecutionContext;\n";
    assert_eq!(
        signals("A.java", java),
        ["2 aws-sdk:dynamodb", "3 aws-sdk:lambda", "4 google-cloud:storage", "5 azure-sdk:servicebus", "6 azure-sdk:functions"]
    );
    let rust = "use aws_config::BehaviorVersion;\nuse aws_sdk_s3::Client;\nlet c = aws_sdk_sqs::Client::new(&config);\nuse azure_storage_blobs::prelude::*;\nuse google_cloud_storage::client::Client;\n";
    assert_eq!(signals("a.rs", rust), ["2 aws-sdk:s3", "3 aws-sdk:sqs", "4 azure-sdk:storage-blob", "5 google-cloud:storage"]);
    let dotnet = "using Amazon.S3;\nusing Azure.Storage.Blobs;\nusing Azure.Messaging.ServiceBus;\nusing Google.Cloud.PubSub.V1;\nusing Microsoft.Azure.Functions.Worker;\n";
    assert_eq!(
        signals("A.cs", dotnet),
        ["1 aws-sdk:s3", "2 azure-sdk:storage-blob", "3 azure-sdk:servicebus", "4 google-cloud:pubsub", "5 azure-sdk:functions"]
    );
}
