//! Whose type it is, from the type's own name.
//!
//! **Invariant:** looks at names only, never at attributes; judging is the catalogue's.

use crate::resource::Provider;

/// The provider of a Terraform type, by the word before the first `_`.
pub(crate) fn terraform(kind: &str) -> Provider {
    match kind.split('_').next().unwrap_or(kind) {
        "aws" | "awscc" => Provider::Aws,
        "azurerm" | "azuread" | "azapi" | "azurestack" | "azuredevops" | "azurecaf" | "msgraph" => Provider::Azure,
        "google" | "google-beta" | "googleworkspace" | "gsuite" | "firebase" => Provider::Gcp,
        "kubernetes" | "helm" | "kubectl" | "kustomization" | "k8s" => Provider::Kubernetes,
        _ => Provider::Other,
    }
}

/// The provider of a CloudFormation type.
pub(crate) fn cloudformation(kind: &str) -> Provider {
    match kind.split("::").next().unwrap_or(kind) {
        "AWS" | "Custom" | "Alexa" | "AMZN" | "AWSUtility" | "AWSSamples" | "AwsCommunity" => Provider::Aws,
        _ => Provider::Other,
    }
}

/// The provider of a Pulumi token, by its package.
pub(crate) fn pulumi(kind: &str) -> Provider {
    match kind.split(':').next().unwrap_or(kind) {
        "aws" | "aws-native" | "awsx" | "eks" | "aws-apigateway" | "aws-iam" | "aws-static-website" => Provider::Aws,
        "azure" | "azure-native" | "azuread" | "azuredevops" | "azure-justrun" => Provider::Azure,
        "gcp" | "google-native" | "gcp-global-cloudrun" | "googleworkspace" => Provider::Gcp,
        "kubernetes" | "kubernetes-cert-manager" | "kubernetes-ingress-nginx" | "docker" => Provider::Kubernetes,
        _ => Provider::Other,
    }
}

/// The provider of a Kubernetes API group.
pub(crate) fn api_group(group: &str) -> Provider {
    domain(group).unwrap_or(Provider::Kubernetes)
}

const AWS_DOMAINS: [&str; 10] = [
    "amazonaws.com",
    "k8s.aws",
    "aws.upbound.io",
    "aws.crossplane.io",
    "aws.m.upbound.io",
    "aws.com",
    "services.k8s.aws",
    "awslabs.com",
    "awsblueprints.io",
    "infrastructure.cluster.x-k8s.io/aws",
];
const AZURE_DOMAINS: [&str; 9] = [
    "azure.com",
    "azure.net",
    "azure.upbound.io",
    "azure.crossplane.io",
    "azure.m.upbound.io",
    "azure.workload.identity",
    "azmk8s.io",
    "azure.io",
    "microsoft.com",
];
const GCP_DOMAINS: [&str; 9] = [
    "cloud.google.com",
    "gke.io",
    "gcp.upbound.io",
    "gcp.crossplane.io",
    "gcp.m.upbound.io",
    "googleapis.com",
    "storage.gke.io",
    "googlecloudplatform.io",
    "gcp.io",
];

/// The cloud whose DNS name this is or ends in, if any.
pub(crate) fn domain(name: &str) -> Option<Provider> {
    let under = |domains: &[&str]| domains.iter().any(|d| name.strip_suffix(d).is_some_and(|head| head.is_empty() || head.ends_with('.')));
    if under(&AWS_DOMAINS) {
        Some(Provider::Aws)
    } else if under(&AZURE_DOMAINS) {
        Some(Provider::Azure)
    } else if under(&GCP_DOMAINS) {
        Some(Provider::Gcp)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose() {
        assert_eq!(terraform("aws_s3_bucket"), Provider::Aws);
        assert_eq!(terraform("random_id"), Provider::Other);
        assert_eq!(api_group("s3.services.k8s.aws"), Provider::Aws);
        assert_eq!(api_group("storage.cnrm.cloud.google.com"), Provider::Gcp);
        assert_eq!(api_group("notaws.com"), Provider::Kubernetes);
        assert_eq!(api_group("apps"), Provider::Kubernetes);
        assert_eq!(pulumi("azure-native:storage:StorageAccount"), Provider::Azure);
    }
}
