//! One spelling for the many names of one type.
//!
//! Terraform, CloudFormation, ARM, Bicep, Pulumi and the SDKs name a type in their own ways; patterns are written
//! against the canonical name made here. Knows no service.
//!
//! **Invariant:** `canonical` is idempotent, and a name that needs no change is not copied.

use std::borrow::Cow;

/// Pulumi packages, whose type tokens are `package:module/file:Type`.
const PULUMI: [&str; 9] = ["aws:", "aws-native:", "awsx:", "azure:", "azure-native:", "gcp:", "google-native:", "kubernetes:", "azuread:"];

/// SDK names that read the same as the first one of each row.
const SDKS: [(&str, &[&str]); 3] = [
    ("boto3:", &["aws-sdk:", "aws-sdk-js:", "aws-sdk-go:", "aws-sdk-java:", "aws-sdk-rust:", "aws-sdk-python:", "botocore:", "aioboto3:"]),
    (
        "google-cloud:",
        &["gcp-sdk:", "google-cloud-js:", "google-cloud-go:", "google-cloud-java:", "google-cloud-rust:", "google-cloud-python:"],
    ),
    ("azure-sdk:", &["azure-sdk-python:", "azure-sdk-js:", "azure-sdk-go:", "azure-sdk-java:", "azure-sdk-rust:"]),
];

/// The canonical name: lower case, without an API version, Pulumi and SDK spellings folded together.
pub fn canonical(kind: &str) -> Cow<'_, str> {
    let kind = kind.trim();
    let kind = match kind.split_once('@') {
        Some((name, _version)) if name.contains('/') => name,
        _ => kind,
    };
    let mut key =
        if kind.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(kind.to_ascii_lowercase()) } else { Cow::Borrowed(kind) };
    if let Some(name) = key.strip_prefix("awscc_")
        && let Some((service, resource)) = name.split_once('_')
    {
        return Cow::Owned(format!("aws::{service}::{}", resource.replace('_', "")));
    }
    if !key.contains(':') {
        return key;
    }
    if PULUMI.iter().any(|package| key.starts_with(package))
        && let Some(folded) = fold_pulumi(&key)
    {
        key = Cow::Owned(folded);
    }
    for (name, others) in SDKS {
        if let Some(rest) = others.iter().find_map(|other| key.strip_prefix(other)) {
            return Cow::Owned(format!("{name}{rest}"));
        }
    }
    key
}

/// `aws:s3/bucket:Bucket` is `aws:s3:bucket`; `aws-native:s3:Bucket` is CloudFormation's own name.
fn fold_pulumi(key: &str) -> Option<String> {
    let mut parts = key.split(':');
    let (package, module, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || module.is_empty() {
        return None;
    }
    let module = module.split('/').next().unwrap_or(module);
    Some(if package == "aws-native" { format!("aws::{module}::{name}") } else { format!("{package}:{module}:{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_together() {
        for (kind, key) in [
            ("aws_s3_bucket", "aws_s3_bucket"),
            ("AWS::S3::Bucket", "aws::s3::bucket"),
            ("Microsoft.Storage/storageAccounts@2023-01-01", "microsoft.storage/storageaccounts"),
            ("awscc_s3_access_point", "aws::s3::accesspoint"),
            ("aws:s3/bucket:Bucket", "aws:s3:bucket"),
            ("aws:s3:Bucket", "aws:s3:bucket"),
            ("aws-native:s3:Bucket", "aws::s3::bucket"),
            ("azure-native:storage/v20230101:StorageAccount", "azure-native:storage:storageaccount"),
            ("aws-sdk-js:s3", "boto3:s3"),
            ("boto3:s3", "boto3:s3"),
            ("", ""),
            (":::", ":::"),
            ("aws::", "aws::"),
        ] {
            assert_eq!(canonical(kind), key, "{kind}");
            assert_eq!(canonical(key), key, "{key}");
        }
    }
}
