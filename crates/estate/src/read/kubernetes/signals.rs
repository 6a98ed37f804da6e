//! What a Kubernetes object borrows from a cloud: annotations and labels, provisioners, ingress classes, images.
//!
//! **Invariant:** at most one signal per object and family, at the first line where it shows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::read::attributes::{cut, put, text};
use crate::read::facts::{CONFIDENCE_SCANNED, CONFIDENCE_SIGNAL, FileFacts};
use crate::read::text::lines;
use crate::read::tree::{Data, Node};
use crate::read::{images, providers};
use crate::resource::{Notation, Provider, Resource};

/// Adds the signals of an object.
pub(super) fn collect(object: &Node<'_>, address: &str, facts: &mut FileFacts) {
    let mut seen = HashSet::new();
    walk(object, "", address, &mut seen, facts);
}

fn walk(node: &Node<'_>, under: &str, address: &str, seen: &mut HashSet<String>, facts: &mut FileFacts) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| walk(item, under, address, seen, facts)),
        Data::Map(entries) => {
            for entry in entries {
                match (&*entry.key, entry.value.text()) {
                    (key, value) if matches!(under, "annotations" | "labels" | "nodeSelector" | "matchLabels") => {
                        if let Some((kind, provider)) = annotation(key, value.unwrap_or_default()) {
                            add(kind, provider, entry.line, (key, value), address, seen, facts);
                        }
                    }
                    ("provisioner" | "driver" | "storageClassName" | "ingressClassName" | "controller", Some(value)) => {
                        if let Some((kind, provider)) = driver(value) {
                            add(kind, provider, entry.line, (&entry.key, Some(value)), address, seen, facts);
                        }
                    }
                    ("image", Some(value)) => image(value, entry.line, address, seen, facts),
                    // A composition's objects are read on their own.
                    ("base", None) => {}
                    _ => walk(&entry.value, &entry.key, address, seen, facts),
                }
            }
        }
        Data::Null | Data::Text(_) => {}
    }
}

fn image(value: &str, line: u32, address: &str, seen: &mut HashSet<String>, facts: &mut FileFacts) {
    if let Some((kind, provider)) = images::classify(value)
        && provider != Provider::Kubernetes
    {
        add(kind, provider, line, ("image", Some(value)), address, seen, facts);
    }
}

fn add(
    kind: String,
    provider: Provider,
    line: u32,
    attribute: (&str, Option<&str>),
    address: &str,
    seen: &mut HashSet<String>,
    facts: &mut FileFacts,
) {
    if !seen.insert(kind.clone()) {
        return;
    }
    let mut attributes = BTreeMap::new();
    put(&mut attributes, attribute.0, text(attribute.1.unwrap_or_default()));
    facts.push(Resource {
        file: Arc::clone(&facts.file),
        line,
        address: address.to_owned(),
        kind,
        provider,
        notation: Notation::Kubernetes,
        data: false,
        attributes,
        references: Vec::new(),
        count: 1,
        confidence: CONFIDENCE_SIGNAL,
    });
}

/// The family of an annotation or label that only one cloud reads.
fn annotation(key: &str, value: &str) -> Option<(String, Provider)> {
    let (domain, name) = key.split_once('/')?;
    let family = |family: &str, provider| Some((format!("annotation:{family}"), provider));
    match domain {
        "service.beta.kubernetes.io" | "service.kubernetes.io" => match name.split('-').next()? {
            "aws" => family("service.beta.kubernetes.io/aws", Provider::Aws),
            "azure" => family("service.beta.kubernetes.io/azure", Provider::Azure),
            "gcp" | "gke" => family("service.beta.kubernetes.io/gcp", Provider::Gcp),
            _ => None,
        },
        "alb.ingress.kubernetes.io" => family(domain, Provider::Aws),
        "appgw.ingress.kubernetes.io" => family(domain, Provider::Azure),
        "kubernetes.io" if name == "ingress.class" => driver(value),
        "kubernetes.io" if name.starts_with("ingress.global-static-ip") => {
            family("kubernetes.io/ingress.global-static-ip-name", Provider::Gcp)
        }
        "eks.amazonaws.com" if name == "role-arn" => family("eks.amazonaws.com/role-arn", Provider::Aws),
        "ingress.gcp.kubernetes.io" => family(domain, Provider::Gcp),
        _ => providers::domain(domain).and_then(|provider| family(domain, provider)),
    }
}

/// A provisioner, driver, controller or class that is a cloud's own.
fn driver(value: &str) -> Option<(String, Provider)> {
    let provider = match value {
        "alb" | "kubernetes.io/aws-ebs" | "gp2" | "gp3" | "ebs-sc" | "efs-sc" => Provider::Aws,
        "azure/application-gateway"
        | "azure-application-gateway"
        | "kubernetes.io/azure-disk"
        | "kubernetes.io/azure-file"
        | "managed-premium"
        | "managed-csi"
        | "azurefile"
        | "azurefile-csi" => Provider::Azure,
        "gce" | "gce-internal" | "kubernetes.io/gce-pd" | "premium-rwo" | "standard-rwo" => Provider::Gcp,
        _ => providers::domain(value.split('/').next().unwrap_or(value))?,
    };
    Some((format!("provisioner:{}", cut(value, 100)), provider))
}

/// Finds signals in a document that is not YAML, line by line.
pub(super) fn scan_lines(document: &str, lines_before: u32, address: &str, facts: &mut FileFacts) {
    let mut seen = HashSet::new();
    let before = facts.resources.len();
    for (number, line) in lines(document) {
        let line = cut(line, 4096).trim_start().trim_start_matches("- ");
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().trim_matches(['"', '\'']);
        let number = number + lines_before;
        match key {
            "image" => image(value, number, address, &mut seen, facts),
            "provisioner" | "driver" | "ingressClassName" => {
                if let Some((kind, provider)) = driver(value) {
                    add(kind, provider, number, (key, Some(value)), address, &mut seen, facts);
                }
            }
            _ => {
                if let Some((kind, provider)) = annotation(key.trim_matches(['"', '\'']), value) {
                    add(kind, provider, number, (key, Some(value)), address, &mut seen, facts);
                }
            }
        }
    }
    for resource in facts.resources.iter_mut().skip(before) {
        resource.confidence = CONFIDENCE_SCANNED;
    }
}
