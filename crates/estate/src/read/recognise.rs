//! Which notation a file belongs to: by its name where that decides, by words in it otherwise.
//!
//! **Invariant:** never parses; a wrong guess is corrected by the reader, which finds nothing.

use memchr::memmem::Finder;
use std::sync::LazyLock;

use super::source::{self, Language};
use super::text::{decode, lines};
use crate::resource::Notation;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `.tf`, `.tofu`.
    Hcl,
    /// `.tf.json`.
    HclJson,
    /// `.tfvars`.
    Assignments,
    /// `.tfvars.json`.
    AssignmentsJson,
    /// `.terraform/modules/modules.json`.
    Installed,
    /// A plan as JSON.
    Plan,
    /// State.
    State,
    /// JSON of the notation.
    Json(Notation),
    /// YAML of the notation.
    Yaml(Notation),
    /// Bicep.
    Bicep,
    /// A Dockerfile.
    Dockerfile,
    /// Source code.
    Source(Language),
}

impl Form {
    /// The notation that the form belongs to.
    pub(crate) fn notation(self) -> Notation {
        match self {
            Form::Hcl | Form::HclJson | Form::Assignments | Form::AssignmentsJson | Form::Installed => Notation::Terraform,
            Form::Plan => Notation::TerraformPlan,
            Form::State => Notation::TerraformState,
            Form::Json(notation) | Form::Yaml(notation) => notation,
            Form::Bicep => Notation::Bicep,
            Form::Dockerfile => Notation::Dockerfile,
            Form::Source(_) => Notation::Source,
        }
    }
}

/// What the name of a file tells.
enum Name {
    Decides(Form),
    Json,
    Yaml,
    /// YAML or JSON.
    Template,
    Says(Nothing),
}

/// The name belongs to no notation.
struct Nothing;

/// Whether a file with this name can belong to a notation: a cheap first look before the file is opened.
#[must_use]
pub fn candidate(path: &str) -> bool {
    !matches!(by_name(path), Name::Says(Nothing))
}

/// The notation of a file by its name and the beginning of its content. The more of the content is handed in, the
/// surer the answer; 64 KiB are enough for almost every file.
#[must_use]
pub fn recognise(path: &str, head: &[u8]) -> Option<Notation> {
    form(path, &decode(head).text).map(Form::notation)
}

/// How to read a file with this name and text.
pub(crate) fn form(path: &str, text: &str) -> Option<Form> {
    match by_name(path) {
        Name::Decides(form) => Some(form),
        Name::Json => json(text),
        Name::Yaml => yaml(path, text),
        Name::Template => {
            if text.trim_start().starts_with('{') {
                json(text)
            } else {
                yaml(path, text)
            }
        }
        Name::Says(Nothing) => None,
    }
}

fn by_name(path: &str) -> Name {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let ends = |ending: &str| {
        let (name, ending) = (name.as_bytes(), ending.as_bytes());
        name.len() > ending.len() && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending)
    };
    if ends(".tf") || ends(".tofu") {
        return Name::Decides(Form::Hcl);
    }
    if ends(".tf.json") || ends(".tofu.json") {
        return Name::Decides(Form::HclJson);
    }
    if ends(".tfvars") {
        return Name::Decides(Form::Assignments);
    }
    if ends(".tfvars.json") {
        return Name::Decides(Form::AssignmentsJson);
    }
    if ends(".tfstate") {
        return Name::Decides(Form::State);
    }
    if path == INSTALLED || path.ends_with("/.terraform/modules/modules.json") {
        return Name::Decides(Form::Installed);
    }
    if ends(".bicep") {
        return Name::Decides(Form::Bicep);
    }
    if is_dockerfile(name) {
        return Name::Decides(Form::Dockerfile);
    }
    if ends(".json") || ends(".jsonc") || ends(".json5") {
        return Name::Json;
    }
    if ends(".yaml") || ends(".yml") {
        return Name::Yaml;
    }
    if ends(".template") || ends(".cfn") || ends(".cform") || ends(".cloudformation") {
        return Name::Template;
    }
    match source::language(name) {
        Some(language) => Name::Decides(Form::Source(language)),
        None => Name::Says(Nothing),
    }
}

/// The list of installed modules of a root module at the top.
const INSTALLED: &str = ".terraform/modules/modules.json";

fn is_dockerfile(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["dockerfile", "containerfile"].into_iter().any(|word| {
        lower == word
            || lower.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
            || lower.strip_suffix(word).is_some_and(|rest| rest.ends_with('.'))
    }) && !lower.ends_with(".dockerignore")
}

macro_rules! finders {
    ($($name:ident = $word:expr;)*) => {
        $(static $name: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new($word));)*
    };
}

finders! {
    FORMAT_VERSION = "\"format_version\"";
    PLANNED_VALUES = "\"planned_values\"";
    RESOURCE_CHANGES = "\"resource_changes\"";
    LINEAGE = "\"lineage\"";
    SERIAL = "\"serial\"";
    CFN_VERSION = "AWSTemplateFormatVersion";
    RESOURCES = "Resources";
    AWS_TYPE = "AWS::";
    TYPE_KEY = "\"Type\"";
    CONTENT_VERSION = "\"contentVersion\"";
    API_VERSION = "apiVersion";
    KIND = "kind";
    PULUMI_RESOURCES = "resources:";
}

fn has(finder: &Finder<'_>, text: &str) -> bool {
    finder.find(text.as_bytes()).is_some()
}

fn json(text: &str) -> Option<Form> {
    if has(&FORMAT_VERSION, text) && (has(&PLANNED_VALUES, text) || has(&RESOURCE_CHANGES, text)) {
        return Some(Form::Plan);
    }
    if has(&LINEAGE, text) && has(&SERIAL, text) {
        return Some(Form::State);
    }
    let head = super::attributes::cut(text, 4096).to_ascii_lowercase();
    if head.contains("deploymenttemplate.json") || (has(&CONTENT_VERSION, text) && !head.contains("parameters.json")) {
        return Some(Form::Json(Notation::Arm));
    }
    if has(&CFN_VERSION, text) || (has(&RESOURCES, text) && has(&TYPE_KEY, text) && text.contains("::")) {
        return Some(Form::Json(Notation::CloudFormation));
    }
    if has(&API_VERSION, text) && has(&KIND, text) {
        return Some(Form::Json(Notation::Kubernetes));
    }
    None
}

fn yaml(path: &str, text: &str) -> Option<Form> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    if name.contains("compose") {
        return Some(Form::Yaml(Notation::Compose));
    }
    if matches!(name.as_str(), "pulumi.yaml" | "pulumi.yml" | "main.yaml" | "main.yml")
        && has(&PULUMI_RESOURCES, text)
        && lines(text).any(|(_, line)| is_pulumi_type(line))
    {
        return Some(Form::Yaml(Notation::Pulumi));
    }
    if has(&CFN_VERSION, text) || (has(&RESOURCES, text) && has(&AWS_TYPE, text) && at_margin(text, "Resources")) {
        return Some(Form::Yaml(Notation::CloudFormation));
    }
    if has(&API_VERSION, text) && has(&KIND, text) && is_manifest(text) {
        return Some(Form::Yaml(Notation::Kubernetes));
    }
    None
}

fn at_margin(text: &str, key: &str) -> bool {
    lines(text).any(|(_, line)| line.trim_start_matches(['"', '\'', '\u{feff}']).starts_with(key))
}

/// Both keys begin a line; flow style counts too.
fn is_manifest(text: &str) -> bool {
    let (mut version, mut kind) = (false, false);
    for (_, line) in lines(text) {
        let line = line.trim_start_matches('\u{feff}').trim_start_matches(['-', ' ', '{', '"', '\'']);
        version |= line.starts_with("apiVersion");
        kind |= line.starts_with("kind") || line.contains("\"kind\"") || line.contains(" kind:");
        if version && kind {
            return true;
        }
    }
    false
}

/// `type: package:module:Type`.
fn is_pulumi_type(line: &str) -> bool {
    let Some(value) = line.trim_start().strip_prefix("type:") else {
        return false;
    };
    let value = value.trim().trim_matches(['"', '\'']);
    value.matches(':').count() >= 1 && !value.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_by_words() {
        let table: &[(&str, &str, Option<Notation>)] = &[
            ("a/main.tf", "", Some(Notation::Terraform)),
            ("x.tf.json", "{}", Some(Notation::Terraform)),
            ("terraform.tfstate", "{}", Some(Notation::TerraformState)),
            ("plan.json", r#"{"format_version":"1.2","planned_values":{}}"#, Some(Notation::TerraformPlan)),
            ("t.yaml", "AWSTemplateFormatVersion: '2010-09-09'", Some(Notation::CloudFormation)),
            ("t.yml", "Resources:\n  A:\n    Type: AWS::S3::Bucket\n", Some(Notation::CloudFormation)),
            ("cdk.out/a.template.json", r#"{"Resources":{"A":{"Type":"AWS::S3::Bucket"}}}"#, Some(Notation::CloudFormation)),
            (
                "d.json",
                r#"{"$schema":"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"}"#,
                Some(Notation::Arm),
            ),
            ("m.yaml", "apiVersion: v1\nkind: Service\n", Some(Notation::Kubernetes)),
            ("Chart.yaml", "apiVersion: v2\nname: x\n", None),
            ("docker-compose.prod.yml", "", Some(Notation::Compose)),
            ("Pulumi.yaml", "resources:\n  b:\n    type: aws:s3:Bucket\n", Some(Notation::Pulumi)),
            ("Dockerfile", "", Some(Notation::Dockerfile)),
            ("api.Dockerfile", "", Some(Notation::Dockerfile)),
            ("Dockerfile.dev", "", Some(Notation::Dockerfile)),
            ("a.py", "", Some(Notation::Source)),
            ("package.json", r#"{"name":"x"}"#, None),
            ("README.md", "resource", None),
        ];
        for (path, text, expected) in table {
            assert_eq!(recognise(path, text.as_bytes()), *expected, "{path}");
            assert!(expected.is_none() || candidate(path), "{path}");
        }
    }
}
