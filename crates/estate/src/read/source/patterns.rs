//! What a line of each language looks like when it brings in a cloud's SDK.
//!
//! **Invariant:** plain string search on one line; no parser, no regular expressions.

use memchr::memmem;

use super::names::CORE;
use super::{Found, Language};

/// What was seen of a file that later lines depend on.
pub(super) struct State {
    language: Language,
    boto: bool,
    aws_v2: bool,
    in_comment: bool,
    /// A call of boto3 whose arguments begin on the next line.
    open_call: bool,
}

type Sink<'s> = dyn FnMut(Found) + 's;

impl State {
    /// The state at the beginning of a file.
    pub(super) fn of(text: &str, language: Language) -> Self {
        let has = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
        State {
            language,
            boto: language == Language::Python && (has("boto3") || has("aiobotocore") || has("botocore")),
            aws_v2: language == Language::JavaScript && (has("'aws-sdk") || has("\"aws-sdk")),
            in_comment: false,
            open_call: false,
        }
    }

    /// Looks at the next line.
    pub(super) fn line(&mut self, line: &str, sink: &mut Sink<'_>) {
        let line = line.trim_start();
        if line.is_empty() || self.is_comment(line) {
            return;
        }
        match self.language {
            Language::Python => self.python(line, sink),
            Language::JavaScript => self.javascript(line, sink),
            Language::Go => go(line, sink),
            Language::Java => java(line, sink),
            Language::Rust => rust(line, sink),
            Language::DotNet => dotnet(line, sink),
        }
    }

    fn is_comment(&mut self, line: &str) -> bool {
        if self.language == Language::Python {
            return line.starts_with('#');
        }
        if self.in_comment {
            self.in_comment = !line.contains("*/");
            return true;
        }
        if line.starts_with("/*") {
            self.in_comment = !line.contains("*/");
            return true;
        }
        line.starts_with("//")
    }

    fn python(&mut self, line: &str, sink: &mut Sink<'_>) {
        // A line of a notebook is a JSON string.
        let line = line.trim_start_matches('"');
        if let Some(modules) = line.strip_prefix("import ") {
            for module in modules.split(',') {
                python_import(module.split_whitespace().next().unwrap_or_default(), "", sink);
            }
        } else if let Some((module, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) {
            python_import(module.trim(), names, sink);
        }
        if !self.boto {
            return;
        }
        if std::mem::take(&mut self.open_call) {
            self.open_call = boto_service(line, sink);
        }
        for call in [".client(", ".resource(", "create_client(", "boto3_client(", "boto3_resource("] {
            for at in memmem::find_iter(line.as_bytes(), call) {
                self.open_call |= boto_service(&line[at + call.len()..], sink);
            }
        }
    }

    fn javascript(&self, line: &str, sink: &mut Sink<'_>) {
        for (at, quote) in line.bytes().enumerate().filter(|(_, b)| matches!(b, b'"' | b'\'' | b'`')) {
            let rest = &line[at + 1..];
            if !rest.starts_with(['@', 'a', 'f']) {
                continue;
            }
            if let Some(end) = rest.bytes().position(|b| b == quote) {
                javascript_module(&rest[..end], sink);
            }
        }
        if self.aws_v2 {
            for at in memmem::find_iter(line.as_bytes(), "new AWS.") {
                let name: &str = word(&line[at + 8..]);
                if !matches!(name, "Config" | "Credentials" | "Endpoint" | "HttpRequest" | "") {
                    let name = if name == "DynamoDB" { "dynamodb" } else { name };
                    sink(Found::aws("aws-sdk", name));
                }
            }
        }
    }
}

/// Reads the first argument of a call of boto3; true if it must stand on the next line.
fn boto_service(arguments: &str, sink: &mut Sink<'_>) -> bool {
    let arguments = arguments.trim();
    let arguments = arguments.strip_prefix("service_name=").unwrap_or(arguments).trim_start_matches('\\');
    if let Some(service) = leading_string(arguments) {
        sink(Found::aws("boto3", service));
    }
    arguments.is_empty()
}

fn python_import(module: &str, names: &str, sink: &mut Sink<'_>) {
    let mut parts = module.split('.');
    match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        ("boto3" | "botocore" | "aioboto3" | "aiobotocore", ..) => sink(Found::aws("boto3", CORE)),
        ("aws_lambda_powertools" | "awslambdaric", ..) => sink(Found::aws("boto3", "lambda")),
        ("awswrangler", ..) => sink(Found::aws("boto3", "athena")),
        ("sagemaker", ..) => sink(Found::aws("boto3", "sagemaker")),
        ("vertexai", ..) => sink(Found::google("vertexai")),
        ("firebase_admin" | "firebase_functions", ..) => sink(Found::google("firebase")),
        ("functions_framework", ..) => sink(Found::google("functions")),
        ("google", Some("cloud"), Some(service)) => {
            let service = match (service, module.split('.').nth(3)) {
                ("pubsub_v1", _) => "pubsub",
                (service, _) => service,
            };
            sink(Found::google(service));
        }
        ("google", Some("cloud"), None) => {
            for name in names.split(',') {
                let name = word(name.trim().trim_start_matches('('));
                if !name.is_empty() {
                    sink(Found::google(name));
                }
            }
        }
        ("azure", Some(_), _) => {
            let service: Vec<&str> = module
                .split('.')
                .skip(1)
                .take_while(|part| !part.starts_with(['_', 'a']) || !matches!(*part, "aio"))
                .filter(|part| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
                .take(2)
                .collect();
            let service = match service.as_slice() {
                // The second word is part of the package's name only in these families.
                ["storage" | "mgmt" | "keyvault" | "ai" | "data" | "search" | "communication" | "monitor" | "iot", _] => service.join("-"),
                [first, ..] => (*first).to_owned(),
                [] => return,
            };
            sink(Found::azure(&service));
        }
        _ => {}
    }
}

fn javascript_module(module: &str, sink: &mut Sink<'_>) {
    if let Some(rest) = module.strip_prefix("@aws-sdk/") {
        let package = rest.split('/').next().unwrap_or(rest);
        let service = match package.strip_prefix("client-").or_else(|| package.strip_prefix("lib-")) {
            Some(service) => service,
            None if package.starts_with("s3-") => "s3",
            None => CORE,
        };
        sink(Found::aws("aws-sdk", if service == "storage" { "s3" } else { service }));
    } else if let Some(service) = module.strip_prefix("aws-sdk/clients/") {
        sink(Found::aws("aws-sdk", service));
    } else if module == "aws-sdk" || module == "aws-sdk/global" {
        sink(Found::aws("aws-sdk", CORE));
    } else if module == "aws-lambda" || module.starts_with("@aws-lambda-powertools/") {
        sink(Found::aws("aws-sdk", "lambda"));
    } else if module == "aws-amplify" || module.starts_with("@aws-amplify/") {
        sink(Found::aws("aws-sdk", "amplify"));
    } else if let Some(rest) = module.strip_prefix("@google-cloud/") {
        let package = rest.split('/').next().unwrap_or(rest);
        sink(Found::google(if package == "functions-framework" { "functions" } else { package }));
    } else if module == "firebase-admin" || module.starts_with("firebase-admin/") || module.starts_with("firebase/") {
        sink(Found::google("firebase"));
    } else if module == "firebase-functions" || module.starts_with("firebase-functions/") {
        sink(Found::google("functions"));
    } else if let Some(rest) = module.strip_prefix("@azure/") {
        let package = rest.split('/').next().unwrap_or(rest);
        sink(Found::azure(if package.starts_with("core-") { CORE } else { package }));
    }
}

fn go(line: &str, sink: &mut Sink<'_>) {
    let Some(start) = line.find('"') else { return };
    let Some(path) = leading_string(&line[start..]) else {
        return;
    };
    if let Some(rest) = path.strip_prefix("github.com/aws/aws-sdk-go-v2").or_else(|| path.strip_prefix("github.com/aws/aws-sdk-go")) {
        match rest.strip_prefix("/service/").or_else(|| rest.strip_prefix("/feature/")) {
            Some(service) if service.starts_with("dynamodb") => sink(Found::aws("aws-sdk", "dynamodb")),
            Some(service) => sink(Found::aws("aws-sdk", service.split('/').next().unwrap_or(service))),
            None => sink(Found::aws("aws-sdk", CORE)),
        }
    } else if path.starts_with("github.com/aws/aws-lambda-go") {
        sink(Found::aws("aws-sdk", "lambda"));
    } else if let Some(rest) = path.strip_prefix("cloud.google.com/go/") {
        sink(Found::google(rest.split('/').next().unwrap_or(rest)));
    } else if let Some(rest) = path.strip_prefix("google.golang.org/api/") {
        sink(Found::google(rest.split('/').next().unwrap_or(rest)));
    } else if path.starts_with("firebase.google.com/go") {
        sink(Found::google("firebase"));
    } else if path.starts_with("github.com/GoogleCloudPlatform/functions-framework-go") {
        sink(Found::google("functions"));
    } else if let Some(rest) = path.strip_prefix("github.com/Azure/azure-sdk-for-go/sdk/") {
        let parts: Vec<&str> = rest.split('/').filter(|part| !is_version(part)).collect();
        let kept = match parts.as_slice() {
            ["resourcemanager", service, ..] => format!("mgmt-{service}"),
            ["security" | "keyvault", ..] => parts.iter().take(3).copied().collect::<Vec<_>>().join("-"),
            _ => parts.iter().take(2).copied().collect::<Vec<_>>().join("-"),
        };
        sink(Found::azure(&kept));
    } else if let Some(rest) = path.strip_prefix("github.com/Azure/azure-sdk-for-go/services/") {
        sink(Found::azure(&format!("mgmt-{}", rest.split('/').next().unwrap_or(rest))));
    }
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn java(line: &str, sink: &mut Sink<'_>) {
    let Some(path) = line.strip_prefix("import ") else {
        return;
    };
    let path = path.trim_start().strip_prefix("static ").unwrap_or(path).trim_start();
    let service_of = |rest: &str| rest.split('.').next().unwrap_or_default().trim_end_matches(';').to_owned();
    if let Some(rest) = path.strip_prefix("software.amazon.awssdk.services.") {
        sink(Found::aws("aws-sdk", &service_of(rest)));
    } else if let Some(rest) = path.strip_prefix("com.amazonaws.services.") {
        sink(Found::aws("aws-sdk", &service_of(rest)));
    } else if path.starts_with("software.amazon.awssdk.transfer.s3") {
        sink(Found::aws("aws-sdk", "s3"));
    } else if path.starts_with("software.amazon.awssdk.enhanced.dynamodb") {
        sink(Found::aws("aws-sdk", "dynamodb"));
    } else if path.starts_with("software.amazon.awssdk.") || path.starts_with("com.amazonaws.") {
        sink(Found::aws("aws-sdk", CORE));
    } else if path.starts_with("com.google.cloud.functions.") {
        sink(Found::google("functions"));
    } else if let Some(rest) = path.strip_prefix("com.google.cloud.") {
        let service = service_of(rest);
        // `com.google.cloud.Timestamp` and the like belong to the core.
        sink(Found::google(if service.starts_with(char::is_uppercase) { CORE } else { &service }));
    } else if path.starts_with("com.google.firebase.") {
        sink(Found::google("firebase"));
    } else if path.starts_with("com.microsoft.azure.functions.") {
        sink(Found::azure("functions"));
    } else if let Some(rest) = path.strip_prefix("com.azure.resourcemanager.") {
        sink(Found::azure(&format!("mgmt-{}", service_of(rest))));
    } else if let Some(rest) = path.strip_prefix("com.azure.").or_else(|| path.strip_prefix("com.microsoft.azure.")) {
        sink(Found::azure(&dotted(rest)));
    }
}

/// The service of a dotted name: two words where the first is a family.
fn dotted(rest: &str) -> String {
    let parts: Vec<&str> = rest.split('.').map(|part| part.trim_end_matches(';')).collect();
    match parts.as_slice() {
        [family @ ("storage" | "messaging" | "data" | "ai" | "search" | "monitor"), service, ..] => {
            let service = if service.eq_ignore_ascii_case("file") { parts.get(2).copied().unwrap_or(service) } else { service };
            format!("{family}-{}", service.to_ascii_lowercase())
        }
        ["security", "keyvault", service, ..] => format!("security-keyvault-{service}"),
        [first, ..] => first.to_ascii_lowercase(),
        [] => String::new(),
    }
}

fn rust(line: &str, sink: &mut Sink<'_>) {
    for at in memmem::find_iter(line.as_bytes(), "aws_sdk_") {
        sink(Found::aws("aws-sdk", word(&line[at + 8..])));
    }
    let imported = ["use ", "pub use ", "extern crate "].iter().find_map(|keyword| line.strip_prefix(keyword));
    let Some(path) = imported else { return };
    let root = word(path);
    if root.starts_with("aws_config") || root == "rusoto_core" {
        sink(Found::aws("aws-sdk", CORE));
    } else if let Some(service) = root.strip_prefix("rusoto_") {
        sink(Found::aws("aws-sdk", service));
    } else if root == "lambda_runtime" || root == "lambda_http" || root == "aws_lambda_events" {
        sink(Found::aws("aws-sdk", "lambda"));
    } else if let Some(service) = root.strip_prefix("google_cloud_").or_else(|| root.strip_prefix("gcloud_")) {
        sink(Found::google(service));
    } else if let Some(service) = root.strip_prefix("azure_") {
        sink(Found::azure(service.strip_prefix("security_").unwrap_or(service)));
    }
}

fn dotnet(line: &str, sink: &mut Sink<'_>) {
    let path = line.strip_prefix("global ").unwrap_or(line);
    let Some(path) = path.strip_prefix("using ").or_else(|| path.strip_prefix("open ")) else {
        return;
    };
    let path = path.strip_prefix("static ").unwrap_or(path);
    let second = |rest: &str| word(rest).to_owned();
    if path.starts_with("Amazon.Lambda.") {
        sink(Found::aws("aws-sdk", "lambda"));
    } else if let Some(rest) = path.strip_prefix("Amazon.") {
        sink(Found::aws("aws-sdk", &second(rest)));
    } else if let Some(rest) = path.strip_prefix("Google.Cloud.") {
        sink(Found::google(&second(rest)));
    } else if let Some(rest) = path.strip_prefix("Azure.ResourceManager.") {
        sink(Found::azure(&format!("mgmt-{}", second(rest))));
    } else if path.starts_with("Microsoft.Azure.Functions.") || path.starts_with("Microsoft.Azure.WebJobs") {
        sink(Found::azure("functions"));
    } else if let Some(rest) = path.strip_prefix("Azure.").or_else(|| path.strip_prefix("Microsoft.Azure.")) {
        sink(Found::azure(&dotted(&rest.to_ascii_lowercase())));
    }
}

/// The name at the beginning of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The string literal at the beginning of a text.
fn leading_string(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let rest = &text[1..];
    let inside = &rest[..rest.find([quote, '\\'])?];
    let is_name = !inside.is_empty() && inside.len() < 200 && !inside.contains([' ', '$', '{']);
    is_name.then_some(inside)
}
