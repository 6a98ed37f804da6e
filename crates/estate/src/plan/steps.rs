//! The steps of one move, from what the catalogue says about the service's portability.

use crate::catalogue::{ApplicationPortability, Class, DataPortability};
use crate::finding::Finding;

/// What to do, in order. The findings are those of the service's hardest class; `freehold` says how Freehold takes
/// the service over, where it does.
pub(super) fn steps(findings: &[&Finding<'_>], freehold: Option<&str>) -> Vec<String> {
    let Some(first) = findings.first() else { return Vec::new() };
    let hardest_data = findings.iter().map(|finding| finding.verdict.facets.data_portability).max().unwrap_or(DataPortability::Stateless);
    let hardest_application =
        findings.iter().map(|finding| finding.verdict.facets.application_portability).max().unwrap_or(ApplicationPortability::Unchanged);
    let class = first.verdict.class;
    let replacement = first.verdict.replacement.trim_end_matches('.');
    let mut steps = Vec::new();
    match (class, freehold) {
        (Class::G, _) => steps
            .push("Write the rules again for the target; nothing is carried over. Do it before the services that rely on them.".to_owned()),
        (Class::E | Class::X, Some(how)) if !replacement.is_empty() => {
            steps.push(format!("Set up the replacement beside it: {replacement}. {how}"))
        }
        (_, Some(how)) => steps.push(how.to_owned()),
        (_, None) if replacement.is_empty() => steps.push("Decide what to do without it: there is no replacement.".to_owned()),
        (_, None) => steps.push(format!("Set up the replacement beside it: {replacement}.")),
    }
    if hardest_application >= ApplicationPortability::Adapter {
        let place = if hardest_application == ApplicationPortability::Redesign {
            "Redesign what relies on it"
        } else {
            "Rewrite the code that speaks to it"
        };
        steps.push(format!("{place}; put an interface of your own between the application and the service first, so that both can run."));
    } else if hardest_application == ApplicationPortability::Configuration {
        steps.push("Make endpoint and credentials settings of the application, where they are not yet.".to_owned());
    }
    if class != Class::G {
        data_steps(&mut steps, first, hardest_data);
        steps.push(
            "Switch traffic over in stages, compare results, keep the old side readable until the new one has proved itself.".to_owned(),
        );
    }
    steps
        .push("Remove the old resources from the code, and ask for confirmation of erasure at the end of the retrieval period.".to_owned());
    steps
}

fn data_steps(steps: &mut Vec<String>, first: &Finding<'_>, data: DataPortability) {
    let path = first.verdict.exit_path.trim_end_matches('.');
    let by = if path.is_empty() { String::new() } else { format!(": {path}") };
    match data {
        DataPortability::Stateless => {}
        DataPortability::Native => steps.push(format!("Copy the data with the engine's own tools, then replicate until the switch{by}.")),
        DataPortability::Documented => {
            steps.push(format!("Export the data in the documented format, convert, load, and compare counts and checksums{by}."))
        }
        DataPortability::Partial => {
            steps.push(format!("Export what can be exported, and list what cannot before anybody counts on it{by}."))
        }
        DataPortability::Locked => steps.push(format!(
            "The state cannot leave: re-create it on the target (new keys and re-encryption, new credentials, new indexes){by}."
        )),
    }
}
