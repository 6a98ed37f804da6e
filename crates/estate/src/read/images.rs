//! Names of container images, and which of them are a cloud's own.
//!
//! **Invariant:** an account, a project or a digest never becomes part of a kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::{put, text};
use super::facts::CONFIDENCE_SIGNAL;
use crate::resource::{Notation, Provider, Resource};

/// An image's kind (`image:REGISTRY/REPOSITORY`) and whose it is; `None` for what is not an image's name.
pub(crate) fn classify(image: &str) -> Option<(String, Provider)> {
    let image = image.trim().trim_matches(['"', '\'']);
    if image.is_empty() || image == "scratch" || image.contains(['$', '{', ' ', '<', '\t']) || image.len() > 400 {
        return None;
    }
    let name = image.split('@').next().unwrap_or(image);
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", name),
    };
    let repository = repository.split(':').next().unwrap_or(repository);
    let official = registry == "docker.io" && !repository.contains('/');
    let (kind, provider) = match registry {
        "public.ecr.aws" => match repository.split('/').next() {
            Some("docker") => (format!("{registry}/{repository}"), Provider::Kubernetes),
            _ => (format!("{registry}/{repository}"), Provider::Aws),
        },
        "mcr.microsoft.com" => (format!("{registry}/{repository}"), microsoft(repository)),
        _ if registry.contains(".dkr.ecr") => ("dkr.ecr.amazonaws.com".to_owned(), Provider::Aws),
        _ if registry.ends_with(".azurecr.io") => ("azurecr.io".to_owned(), Provider::Azure),
        _ if registry.ends_with("pkg.dev") => ("pkg.dev".to_owned(), Provider::Gcp),
        "gcr.io" | "eu.gcr.io" | "us.gcr.io" | "asia.gcr.io" | "marketplace.gcr.io" => {
            let project = repository.split('/').next().unwrap_or_default();
            match project {
                // Published by Google for everybody: neutral.
                "distroless" | "google-containers" | "google_containers" | "kaniko-project" | "cadvisor" => {
                    (format!("gcr.io/{repository}"), Provider::Kubernetes)
                }
                "google.com" | "cloudsql-docker" | "cloud-sql-connectors" | "buildpacks" | "google-appengine" => {
                    (format!("gcr.io/{repository}"), Provider::Gcp)
                }
                _ => ("gcr.io".to_owned(), Provider::Gcp),
            }
        }
        _ if official => (format!("docker.io/library/{repository}"), Provider::Kubernetes),
        _ => (format!("{registry}/{repository}"), hub(repository)),
    };
    Some((format!("image:{kind}"), provider))
}

/// Microsoft publishes neutral base images beside those of Azure's services.
fn microsoft(repository: &str) -> Provider {
    let of_azure = ["azure-functions", "appsvc", "oryx", "azure-cli", "azure", "azureml", "azurelinux-azure", "aks"];
    let first = repository.split('/').next().unwrap_or_default();
    if of_azure.contains(&first) || repository.starts_with("cosmosdb") { Provider::Azure } else { Provider::Kubernetes }
}

/// Images on Docker Hub that a cloud publishes for its own services.
fn hub(repository: &str) -> Provider {
    match repository.split('/').next() {
        Some("amazon" | "aws-observability" | "awsguru") => Provider::Aws,
        Some("google" | "googlecloudplatform") => Provider::Gcp,
        Some("azuresdk") => Provider::Azure,
        _ => Provider::Kubernetes,
    }
}

/// The signal that an image gives.
pub(crate) fn signal(file: &Arc<str>, line: u32, address: String, image: &str, notation: Notation) -> Option<Resource> {
    let (kind, provider) = classify(image)?;
    let mut attributes = BTreeMap::new();
    put(&mut attributes, "image", text(image.trim()));
    Some(Resource {
        file: Arc::clone(file),
        line,
        address,
        kind,
        provider,
        notation,
        data: false,
        attributes,
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SIGNAL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_images() {
        let table = [
            ("public.ecr.aws/lambda/python:3.12", "image:public.ecr.aws/lambda/python", Provider::Aws),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1", "image:dkr.ecr.amazonaws.com", Provider::Aws),
            ("mcr.microsoft.com/azure-functions/node:4", "image:mcr.microsoft.com/azure-functions/node", Provider::Azure),
            ("mcr.microsoft.com/dotnet/sdk:8.0", "image:mcr.microsoft.com/dotnet/sdk", Provider::Kubernetes),
            ("europe-docker.pkg.dev/p/r/app@sha256:00", "image:pkg.dev", Provider::Gcp),
            ("gcr.io/distroless/base", "image:gcr.io/distroless/base", Provider::Kubernetes),
            ("python:3.12-slim", "image:docker.io/library/python", Provider::Kubernetes),
            ("localhost:5000/x:1", "image:localhost:5000/x", Provider::Kubernetes),
        ];
        for (image, kind, provider) in table {
            assert_eq!(classify(image), Some((kind.to_owned(), provider)), "{image}");
        }
        assert_eq!(classify("${BASE}"), None);
        assert_eq!(classify("scratch"), None);
    }
}
