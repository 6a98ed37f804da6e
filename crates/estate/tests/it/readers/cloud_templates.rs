//! CloudFormation, SAM, CDK, ARM, Bicep and Pulumi.

use super::{assert_clean, estate, find, known, lines};

const SAM: &str = "AWSTemplateFormatVersion: '2010-09-09'
Transform:
  - AWS::Serverless-2016-10-31
  - AWS::LanguageExtensions
Parameters:
  Engine:
    Type: String
    Default: postgres
  Password:
    Type: String
    NoEcho: true
    Default: hunter2
Resources:
  Api:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Environment:
        Variables:
          TABLE: !Ref Table
          URL: !Sub 'https://${Db.Endpoint.Address}/${AWS::Region}'
  Table:
    Type: AWS::DynamoDB::Table
    Type: AWS::DynamoDB::Table
    DependsOn: [Db]
  Db:
    Type: \"AWS::RDS::DBInstance\"
    DeletionPolicy: Retain
    Properties:
      Engine: !Ref Engine
      MasterUserPassword: !Ref Password
      DBInstanceClass: !If [IsProd, db.m5.large, db.t3.micro]
      KmsKeyId: !GetAtt Key.Arn
  Fn::ForEach::Topics:
    - Name
    - [A, B, C]
    - Topic${Name}:
        Type: AWS::SNS::Topic
  Nested:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: https://s3.amazonaws.com/x/nested.yaml
  Beside:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: ./nested.yaml
";

#[test]
fn cloudformation_yaml() {
    let nested = "Resources:\n  Q:\n    Type: AWS::SQS::Queue\n";
    let estate = estate(&[("cfn/template.yaml", SAM), ("cfn/nested.yaml", nested)]);
    assert!(estate.read_partly.is_empty(), "{:?}", estate.read_partly);
    assert_eq!(
        lines(&estate),
        [
            "cfn/nested.yaml:2 Q [AWS::SQS::Queue]",
            "cfn/template.yaml:14 Api [AWS::Serverless::Function]",
            "cfn/template.yaml:22 Table [AWS::DynamoDB::Table]",
            "cfn/template.yaml:26 Db [AWS::RDS::DBInstance]",
            "cfn/template.yaml:37 Topic${Name} [AWS::SNS::Topic] x3",
            "cfn/template.yaml:39 Nested [AWS::CloudFormation::Stack]",
            "cfn/template.yaml:43 Beside [AWS::CloudFormation::Stack]",
        ]
    );
    assert_eq!(find(&estate, "Api").references, ["Table", "Db"]);
    assert_eq!(find(&estate, "Table").references, ["Db"]);
    assert_eq!(find(&estate, "Db").references, ["Key"]);
    assert_eq!(known(&estate, "Db", "Engine"), Some("postgres"));
    assert_eq!(known(&estate, "Db", "DBInstanceClass"), None);
    assert_eq!(known(&estate, "Db", "MasterUserPassword"), None);
    assert_eq!(known(&estate, "Api", "Runtime"), Some("python3.12"));
    assert_eq!(known(&estate, "Api", "Transform"), Some("AWS::Serverless-2016-10-31,AWS::LanguageExtensions"));
    let missing: Vec<u32> = estate.unresolved.iter().map(|u| u.line).collect();
    assert_eq!(missing, [42]);
}

#[test]
fn cloudformation_json_and_cdk() {
    let text = r#"{
 "Resources": {
  "Bucket83908E77": {
   "Type": "AWS::S3::Bucket",
   "Properties": {"BucketName": {"Fn::Sub": "x-${AWS::Region}"}, "KmsKey": {"Fn::GetAtt": ["Key961B73FD", "Arn"]}},
   "Metadata": {"aws:cdk:path": "Stack/Bucket/Resource"}
  },
  "Key961B73FD": {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain"},
  "CDKMetadata": {"Type": "AWS::CDK::Metadata"}
 }
}"#;
    let estate = estate(&[("cdk.out/Stack.template.json", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "cdk.out/Stack.template.json:3 Bucket83908E77 [AWS::S3::Bucket]",
            "cdk.out/Stack.template.json:8 Key961B73FD [AWS::KMS::Key]",
            "cdk.out/Stack.template.json:9 CDKMetadata [AWS::CDK::Metadata]",
        ]
    );
    assert_eq!(find(&estate, "Bucket83908E77").references, ["Key961B73FD"]);
    assert_eq!(known(&estate, "Bucket83908E77", "aws:cdk:path"), Some("Stack/Bucket/Resource"));
}

#[test]
fn a_broken_template_is_scanned() {
    let text = "Resources:\n  A:\n    Type: AWS::S3::Bucket\n  B:\n    Type: AWS::SQS::Queue\n    Properties:\n      X: \"open\n  C:\n    Type: AWS::SNS::Topic\n";
    let estate = estate(&[("t.yaml", text)]);
    let found: Vec<(u32, &str)> = estate.resources.iter().map(|r| (r.line, r.address.as_str())).collect();
    assert_eq!(found, [(2, "A"), (4, "B"), (8, "C")]);
    assert_eq!(estate.read_partly.len(), 1);
}

#[test]
fn unknown_macros_are_reported() {
    let text = "Transform: Company::Macro\nResources:\n  A:\n    Type: AWS::S3::Bucket\n";
    let estate = estate(&[("t.yaml", text)]);
    assert_eq!(estate.read_partly.len(), 1);
    assert_eq!(estate.read_partly[0].line, Some(1));
}

#[test]
fn arm() {
    let text = r#"// deployed by the pipeline
{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "sku": {"type": "string", "defaultValue": "Standard_LRS"},
    "secret": {"type": "securestring", "defaultValue": "hunter2"}
  },
  "variables": {"name": "store"},
  "resources": [
    { /* a store */
      "type": "Microsoft.Storage/storageAccounts",
      "apiVersion": "2023-01-01",
      "name": "[variables('name')]",
      "sku": {"name": "[parameters('sku')]"},
      "copy": {"name": "loop", "count": 3},
      "resources": [
        {"type": "blobServices", "name": "default", "apiVersion": "2023-01-01"}
      ],
    },
    {
      "type": "Microsoft.Resources/deployments",
      "name": "inner",
      "properties": {"mode": "Incremental", "template": {
        "resources": [
          {"type": "Microsoft.Sql/servers", "name": "sql",
           "properties": {"administratorLoginPassword": "[parameters('secret')]"},
           "dependsOn": ["[resourceId('Microsoft.Storage/storageAccounts', variables('name'))]"]}
        ]}}
    },
    {
      "type": "Microsoft.Resources/deployments",
      "name": "linked",
      "properties": {"templateLink": {"uri": "https://example.org/t.json"}}
    }
  ]
}"#;
    let estate = estate(&[("azuredeploy.json", text)]);
    assert!(estate.read_partly.is_empty(), "{:?}", estate.read_partly);
    assert_eq!(
        lines(&estate),
        [
            "azuredeploy.json:11 Microsoft.Storage/storageAccounts/store [Microsoft.Storage/storageAccounts] x3",
            "azuredeploy.json:18 Microsoft.Storage/storageAccounts/store/default [Microsoft.Storage/storageAccounts/blobServices]",
            "azuredeploy.json:21 Microsoft.Resources/deployments/inner [Microsoft.Resources/deployments]",
            "azuredeploy.json:26 Microsoft.Resources/deployments/inner/Microsoft.Sql/servers/sql [Microsoft.Sql/servers]",
            "azuredeploy.json:31 Microsoft.Resources/deployments/linked [Microsoft.Resources/deployments]",
        ]
    );
    assert_eq!(known(&estate, "Microsoft.Storage/storageAccounts/store", "sku.name"), Some("Standard_LRS"));
    assert_eq!(estate.unresolved.len(), 1);
}

#[test]
fn bicep() {
    let text = r#"@description('where')
param location string = resourceGroup().location
param sku string = 'Standard_GRS' // the size
var count = 2
/*
resource no 'Microsoft.X/y@2020-01-01' = {}
*/
resource store 'Microsoft.Storage/storageAccounts@2023-01-01' = {
  name: 'st${uniqueString(resourceGroup().id)}'
  location: location
  sku: { name: sku }
  kind: 'StorageV2'
  properties: {
    minimumTlsVersion: 'TLS1_2'
    encryption: {
      keySource: 'Microsoft.Storage'
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    resource container 'containers@2023-01-01' = [for i in range(0, 3): {
      name: 'c${i}'
    }]
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: 'kv'
}

resource sites 'Microsoft.Web/sites@2022-09-01' = [for (item, i) in range(0, count): if (sku == 'x') {
  name: 'site-${i}'
  properties: {
    serverFarmId: plan.id
    script: '''
resource no2 'Microsoft.X/y@2020-01-01' = {
'''
  }
  dependsOn: [
    store
  ]
}]

resource plan 'Microsoft.Web/serverfarms@2022-09-01' = if (
  contains([1], { a: 1 })
) {
  name: 'plan'
  sku: {
    name: 'Y1'
  }
}

module net './net.bicep' = {
  name: 'net'
  params: { a: store.id }
}
module many './net.bicep' = [
  for x in range(0, 2): {
    name: 'n${x}'
  }
]
resource apps 'Microsoft.Web/sites@2022-09-01' = [
  for x in range(0, 4): {
    name: 'n${x}'
    kind: 'app'
  }
]
module reg 'br:example.azurecr.io/x:1' = {
  name: 'reg'
}
output id string = store.id
"#;
    let estate =
        estate(&[("infra/main.bicep", text), ("infra/net.bicep", "resource v 'Microsoft.Network/virtualNetworks@2023-01-01' = {\n}\n")]);
    assert!(estate.read_partly.is_empty(), "{:?}", estate.read_partly);
    assert_eq!(
        lines(&estate),
        [
            "infra/main.bicep:8 store [Microsoft.Storage/storageAccounts]",
            "infra/main.bicep:20 store::blobs [Microsoft.Storage/storageAccounts/blobServices]",
            "infra/main.bicep:22 store::blobs::container [Microsoft.Storage/storageAccounts/blobServices/containers] x3",
            "infra/main.bicep:28 vault [Microsoft.KeyVault/vaults] data",
            "infra/main.bicep:32 sites [Microsoft.Web/sites] x2",
            "infra/main.bicep:45 plan [Microsoft.Web/serverfarms]",
            "infra/main.bicep:63 apps [Microsoft.Web/sites] x4",
            "infra/net.bicep:1 v [Microsoft.Network/virtualNetworks]",
        ]
    );
    assert_eq!(known(&estate, "store", "sku.name"), Some("Standard_GRS"));
    assert_eq!(known(&estate, "store", "properties.encryption.keySource"), Some("Microsoft.Storage"));
    assert_eq!(known(&estate, "plan", "sku.name"), Some("Y1"));
    assert_eq!(known(&estate, "apps", "kind"), Some("app"));
    assert_eq!(find(&estate, "sites").references, ["plan", "store"]);
    let missing: Vec<&str> = estate.unresolved.iter().map(|u| u.source.as_str()).collect();
    assert_eq!(missing, ["br:example.azurecr.io/x:1"]);
}

#[test]
fn broken_bicep_loses_no_declaration() {
    for text in [
        "resource a 'Microsoft.X/y@1' = {\n  name: 'x\n  p: {\n\nresource b 'Microsoft.X/z@1' = {\n}\n",
        "resource a 'Microsoft.X/y@1' = {\n}}\nresource b 'Microsoft.X/z@1' = {\n",
        "resource a 'Microsoft.X/y@1' = [for x in [\nresource b 'Microsoft.X/z@1' = {\n}\n",
    ] {
        let estate = estate(&[("main.bicep", text)]);
        let found: Vec<&str> = estate.resources.iter().map(|r| r.address.as_str()).collect();
        assert_eq!(found, ["a", "b"], "{text}");
        assert!(!estate.read_partly.is_empty(), "{text}");
    }
}

#[test]
fn pulumi() {
    let text = "name: x\nruntime: yaml\nconfig:\n  size:\n    default: t3.micro\nresources:\n  web:\n    type: aws:ec2/instance:Instance\n    properties:\n      instanceType: ${size}\n      vpcSecurityGroupIds: [\"${group.id}\"]\n  group:\n    type: aws:ec2:SecurityGroup\n  app:\n    type: kubernetes:apps/v1:Deployment\n";
    let estate = estate(&[("Pulumi.yaml", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "Pulumi.yaml:7 web [aws:ec2:Instance]",
            "Pulumi.yaml:12 group [aws:ec2:SecurityGroup]",
            "Pulumi.yaml:14 app [kubernetes:apps/v1:Deployment]",
        ]
    );
    assert_eq!(known(&estate, "web", "instanceType"), Some("t3.micro"));
    assert_eq!(find(&estate, "web").references, ["group"]);
}

#[test]
fn of_two_equal_keys_the_last_one_holds() {
    let text = "Resources:\n  Db:\n    Type: AWS::RDS::DBInstance\n    Properties:\n      Engine: postgres\n      Engine: oracle-ee\n";
    let estate = estate(&[("template.yaml", text)]);
    assert_eq!(known(&estate, "Db", "Engine"), Some("oracle-ee"));
}
