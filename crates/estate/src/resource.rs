//! The shared words of the audit: what a reader finds in a file, before any judgement about it.
//!
//! Readers produce [`FileFacts`], one per file and independent of each other, so that files can be read in
//! parallel. [`Resource`]s carry what the catalogue needs to judge them and nothing of the syntax they came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Whose control plane provisions a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
    /// Kubernetes objects, Compose services, Dockerfiles: nothing of a cloud's own.
    Kubernetes,
    /// Any other provider (`random`, `tls`, `datadog`).
    Other,
}

/// The notation a resource was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notation {
    /// Terraform or OpenTofu HCL, JSON syntax included.
    Terraform,
    /// The JSON of `terraform show -json PLAN`.
    TerraformPlan,
    /// Terraform state, version 4.
    TerraformState,
    /// CloudFormation and SAM, YAML or JSON; CDK output included.
    CloudFormation,
    /// ARM templates, JSON with comments.
    Arm,
    /// Bicep.
    Bicep,
    /// Pulumi YAML.
    Pulumi,
    /// Kubernetes manifests and rendered Helm charts.
    Kubernetes,
    /// Compose files.
    Compose,
    /// Dockerfiles.
    Dockerfile,
    /// Source code that calls a cloud SDK: a signal, not a declaration.
    Source,
}

/// The value of an attribute as far as it is known without a cloud account.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A literal, or an expression of known values; nested blocks are flattened to `block.attribute` keys.
    Text(String),
    /// An expression whose value is known only at apply time; the expression's text.
    Unknown(#[serde(skip)] String),
}

impl Value {
    /// The text of a known value.
    pub fn known(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Unknown(_) => None,
        }
    }
}

/// One declaration of a resource, or one signal in source code.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The file, relative to the path that was audited, with `/` between folders.
    pub file: Arc<str>,
    /// 1-based line of the declaration's first token.
    pub line: u32,
    /// The address within its notation: `module.net.aws_vpc.main`, a logical id, `kind/namespace/name`.
    pub address: String,
    /// The provider's own name of the type: `aws_s3_bucket`, `AWS::S3::Bucket`, `Microsoft.Storage/storageAccounts`.
    /// For source code, the SDK's service: `boto3:s3`.
    pub kind: String,
    /// Whose type it is.
    pub provider: Provider,
    /// The notation it was found in.
    pub notation: Notation,
    /// A data source: read, not owned.
    pub data: bool,
    /// Scalar attributes, nested blocks flattened to `block.attribute`; bounded by the readers.
    pub attributes: BTreeMap<String, Value>,
    /// Addresses (same notation) that this resource refers to.
    pub references: Vec<String>,
    /// How many instances are declared, where `count` or `for_each` is known; 1 otherwise.
    pub count: u32,
    /// 0 to 100: below 100 for signals in source code and for declarations found by the line scanner.
    pub confidence: u8,
}

/// A file that was read only in part, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartlyRead {
    /// The file, as in [`Resource::file`].
    pub file: Arc<str>,
    /// 1-based line where the parser gave up, if known.
    pub line: Option<u32>,
    /// What was wrong, in words for the user.
    pub why: String,
}

/// A module or a nested template that is used but not on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unresolved {
    /// The file that uses it.
    pub file: Arc<str>,
    /// 1-based line of the use.
    pub line: u32,
    /// The source as written.
    pub source: String,
    /// Why it could not be followed, and what to do (`run terraform init`).
    pub why: String,
}

/// Everything that was found, in a stable order (file, line, address).
#[derive(Clone, Debug, Default)]
pub struct Estate {
    /// Files that were looked at and belonged to a notation.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// The declarations and signals.
    pub resources: Vec<Resource>,
    /// Files read in part.
    pub read_partly: Vec<PartlyRead>,
    /// Modules that are missing.
    pub unresolved: Vec<Unresolved>,
}
