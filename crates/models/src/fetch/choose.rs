//! Which of a repository's GGUF files to take.

use std::collections::BTreeMap;

use super::FetchError;
use crate::gguf;
use crate::source::{HubFile, HubRepo};

/// The order in which quantizations are preferred when none is named: first a good balance, then the nearest to
/// it upwards, then downwards, then the unquantized.
pub const PREFERENCE: [&str; 16] = [
    "Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_K_S", "Q5_K_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q3_K_L", "Q2_K", "BF16", "F16",
    "F32",
];

/// A model in a repository: one file, or the parts of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The parts in their order.
    pub(super) files: Vec<HubFile>,
    /// Such as `Q4_K_M`.
    pub(super) quantization: Option<String>,
}

/// The quantization that a file's name ends in, in upper case: `x-Q4_K_M.gguf`, `x.q8_0.gguf`,
/// `x-UD-Q4_K_XL-00001-of-00002.gguf`.
pub fn quantization_of(name: &str) -> Option<String> {
    let name = name.rsplit('/').next()?;
    let stem = name.get(..name.len().checked_sub(5)?)?;
    let stem = match split_part(name) {
        Some((base, ..)) => base,
        None => stem,
    };
    let start = stem.rfind(['-', '.']).map_or(0, |separator| separator + 1);
    let label = stem[start..].to_ascii_uppercase();
    if !is_quantization(&label) {
        return None;
    }
    let is_dynamic = stem[..start].to_ascii_uppercase().ends_with("UD-");
    Some(if is_dynamic { format!("UD-{label}") } else { label })
}

fn is_quantization(label: &str) -> bool {
    let is_digit_after = |prefix: &str| label.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    matches!(label, "F16" | "F32" | "BF16" | "FP16" | "MXFP4" | "MXFP4_MOE" | "NVFP4")
        || is_digit_after("Q")
        || is_digit_after("IQ")
        || is_digit_after("TQ")
}

/// Base name, part (from 1) and count of `BASE-00001-of-00002.gguf`.
fn split_part(name: &str) -> Option<(&str, u32, u32)> {
    let (stem, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (base, part) = stem.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    Some((base, number(part)?, number(count)?))
}

/// All parts that belong to `file`, in their order; `file` alone if it is whole.
///
/// # Errors
/// The number of parts is absurd.
pub(super) fn all_parts(repo: &HubRepo, file: &HubFile) -> Result<Vec<HubFile>, FetchError> {
    const PARTS_MAX: u32 = 1000;
    let Some((_, part, count)) = split_part(file.name()) else { return Ok(vec![file.clone()]) };
    let absurd = || FetchError::NoFile { repo: repo.to_string(), file: file.to_string() };
    if part == 0 || part > count || count > PARTS_MAX {
        return Err(absurd());
    }
    (0..count)
        .map(|index| {
            let name = gguf::part_name(file.name(), index, count).ok_or_else(absurd)?;
            file.with_name(&name).map_err(|_| absurd())
        })
        .collect()
}

/// Sorts a repository's files into candidates. Projectors of images and importance matrices are left out, and so
/// are models of which a part is missing.
pub(super) fn candidates(repo: &HubRepo, files: &[HubFile]) -> Result<Vec<Candidate>, FetchError> {
    let mut found: BTreeMap<String, Candidate> = BTreeMap::new();
    for file in files {
        let lower = file.name().to_ascii_lowercase();
        if lower.starts_with("mmproj") || lower.contains("imatrix") {
            continue;
        }
        let parts = all_parts(repo, file)?;
        let is_whole = parts.iter().all(|part| files.contains(part));
        if let Some(first) = parts.first().filter(|_| is_whole) {
            let candidate = || Candidate { quantization: quantization_of(first.name()), files: parts.clone() };
            found.entry(first.to_string()).or_insert_with(candidate);
        }
    }
    Ok(found.into_values().collect())
}

/// Chooses among the candidates: the only one; the only one of the quantization that is `wanted`; else the only
/// one of the most preferred quantization that there is.
pub(super) fn choose(repo: &HubRepo, candidates: Vec<Candidate>, wanted: Option<&str>) -> Result<Candidate, FetchError> {
    let names = |candidates: &[Candidate]| candidates.iter().map(|one| one.files[0].to_string()).collect();
    let only =
        |label: &str| -> Vec<Candidate> { candidates.iter().filter(|one| one.quantization.as_deref() == Some(label)).cloned().collect() };
    if candidates.is_empty() {
        return Err(FetchError::NoGguf { repo: repo.to_string() });
    }
    let mut matching = match wanted {
        Some(label) => only(label),
        None if candidates.len() == 1 => candidates.clone(),
        None => PREFERENCE.iter().map(|label| only(label)).find(|found| !found.is_empty()).unwrap_or_default(),
    };
    match (matching.pop(), matching.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            matching.push(last);
            Err(FetchError::Ambiguous { repo: repo.to_string(), wanted: wanted.map(str::to_owned), files: names(&matching) })
        }
        (None, _) => Err(FetchError::Ambiguous { repo: repo.to_string(), wanted: wanted.map(str::to_owned), files: names(&candidates) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizations_are_read_from_names() {
        let check = |name: &str, expect: Option<&str>| assert_eq!(quantization_of(name).as_deref(), expect, "{name}");
        check("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", Some("Q4_K_M"));
        check("Llama-Guard-3-1B.Q4_K_M.gguf", Some("Q4_K_M"));
        check("smollm2-360m-instruct-q8_0.gguf", Some("Q8_0"));
        check("Q4_K_M/Scout-Q4_K_M-00001-of-00002.gguf", Some("Q4_K_M"));
        check("UD-Q4_K_XL/Scout-UD-Q4_K_XL-00001-of-00002.gguf", Some("UD-Q4_K_XL"));
        check("x-IQ2_XXS.gguf", Some("IQ2_XXS"));
        check("Llama-3.2-1B-Instruct-f16.gguf", Some("F16"));
        check("model.gguf", None);
        check("Qwen.gguf", None);
        check(".gguf", None);
        check("gguf", None);
    }

    fn check(files: &[&str], wanted: Option<&str>, expect: Result<&str, &str>) {
        let repo: HubRepo = "owner/name".parse().expect("a repository");
        let files: Vec<HubFile> = files.iter().map(|file| file.parse().expect("a file")).collect();
        let chosen = candidates(&repo, &files).and_then(|found| choose(&repo, found, wanted));
        match (chosen, expect) {
            (Ok(one), Ok(name)) => assert_eq!(one.files[0].as_str(), name),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expect) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn the_preferred_file_is_chosen() {
        check(&["a.gguf"], None, Ok("a.gguf"));
        check(&["a-Q8_0.gguf", "a-Q4_K_M.gguf", "a-Q2_K.gguf"], None, Ok("a-Q4_K_M.gguf"));
        check(&["a-Q8_0.gguf", "a-Q6_K.gguf", "mmproj-a.gguf"], None, Ok("a-Q8_0.gguf"));
        check(&["a-Q8_0.gguf", "a-Q4_K_M.gguf"], Some("Q8_0"), Ok("a-Q8_0.gguf"));
        check(&["a-Q8_0.gguf", "a-Q4_K_M.gguf"], Some("Q5_K_M"), Err("a-Q8_0.gguf"));
        check(&["a-Q8_0.gguf", "b-Q8_0.gguf"], None, Err("a-Q8_0.gguf\nb-Q8_0.gguf"));
        check(&["a.gguf", "b.gguf"], None, Err("a.gguf\nb.gguf"));
        check(&["mmproj-a.gguf"], None, Err("no GGUF file"));
        check(&[], None, Err("no GGUF file"));
        check(
            &["q/a-Q8_0-00002-of-00002.gguf", "q/a-Q8_0-00001-of-00002.gguf", "b-Q4_K_M-00001-of-00002.gguf"],
            None,
            Ok("q/a-Q8_0-00001-of-00002.gguf"),
        );
    }
}
