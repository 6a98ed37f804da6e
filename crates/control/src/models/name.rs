//! The name that a model gets when nobody gives it one.

use std::path::Path;

use freehold_domain::ModelName;
use freehold_domain::name::NAME_LEN_MAX;
use freehold_models::fetch::quantization_of;
use freehold_models::source::{HubWant, Source};

const STARTER: &str = "smollm2-135m-instruct";

/// A name from the source: without the extension, the quantization and the number of parts. `None` when nothing of
/// it can stand in a name.
pub(super) fn derive(source: &Source) -> Option<ModelName> {
    match source {
        Source::Starter => STARTER.parse().ok(),
        Source::Catalogue { name, .. } => tidy(name),
        Source::Hub(hub) => match &hub.want {
            HubWant::File(file) => tidy(file_stem(file.name())),
            HubWant::Any | HubWant::Quantization(_) => tidy(hub.repo.as_str().rsplit('/').next()?),
        },
        Source::Local(path) => tidy(file_stem(Path::new(path).file_name()?.to_str()?)),
    }
}

fn file_stem(file: &str) -> &str {
    let mut stem = match file.len().checked_sub(5) {
        Some(end) if file.is_char_boundary(end) && file[end..].eq_ignore_ascii_case(".gguf") => &file[..end],
        _ => file,
    };
    if let Some((base, count)) = stem.rsplit_once("-of-")
        && let Some((base, number)) = base.rsplit_once('-')
        && [count, number].iter().all(|part| part.len() == 5 && part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        stem = base;
    }
    if quantization_of(&format!("{stem}.gguf")).is_some()
        && let Some(start) = stem.rfind(['-', '.'])
    {
        stem = &stem[..start];
        stem = stem.strip_suffix("-UD").unwrap_or(stem);
    }
    stem
}

fn tidy(text: &str) -> Option<ModelName> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("-gguf").unwrap_or(&lower);
    let safe: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).collect();
    let mut name = safe.trim_matches(['-', '.', '_']);
    if name.len() > NAME_LEN_MAX {
        name = &name[..NAME_LEN_MAX];
    }
    name.trim_end_matches(['-', '.', '_']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_sources() {
        for (source, expected) in [
            ("starter", Some("smollm2-135m-instruct")),
            ("llama-3.1-8b-instruct", Some("llama-3.1-8b-instruct")),
            ("hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", Some("meta-llama-3.1-8b-instruct")),
            ("hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q8_0", Some("meta-llama-3.1-8b-instruct")),
            ("hf:a/b:sub/Big-Model-Q4_K_M-00001-of-00003.gguf", Some("big-model")),
            ("/models/SmolLM2-135M-Instruct.Q4_1.gguf", Some("smollm2-135m-instruct")),
            ("/models/Qwen3-8B-UD-Q4_K_XL.gguf", Some("qwen3-8b")),
            ("/models/my model (final).gguf", Some("my-model--final")),
            ("/models/plain.gguf", Some("plain")),
            ("./model.GGUF", Some("model")),
            ("./---.gguf", None),
            ("./模型.gguf", None),
        ] {
            let name = derive(&source.parse().expect("a source"));
            assert_eq!(name.as_ref().map(ModelName::as_str), expected, "{source}");
        }
        let long = format!("./{}.gguf", "x".repeat(200));
        assert_eq!(derive(&long.parse().expect("a source")).expect("a name").as_str().len(), NAME_LEN_MAX);
    }
}
