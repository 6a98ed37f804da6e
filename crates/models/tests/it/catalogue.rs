use std::collections::HashSet;

use freehold_domain::ModelName;
use freehold_models::Source;
use freehold_models::catalogue::{Verdict, entries, find, fits, fits_file, needed_bytes};
use freehold_models::gguf::summarise;

use crate::support::starter_gguf;

const GB: u64 = 1_000_000_000;

#[test]
fn every_entry_is_sound() {
    let mut names = HashSet::new();
    for entry in entries() {
        let name = &entry.name;
        assert!(name.parse::<ModelName>().is_ok(), "{name}");
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(names.insert(name), "{name} is there twice");
        assert!(!entry.files.is_empty(), "{name} has no file");
        assert!(entry.original.split('/').count() == 2, "{name}");
        for file in &entry.files {
            let bits = file.bytes * 8 / entry.parameters;
            assert!((2..=12).contains(&bits), "{name} {}: {bits} bits a weight", file.quantization);
            let label = Some(file.quantization.as_str());
            assert_eq!(entry.resolve(label).is_ok(), entry.source.is_some(), "{name}");
            if let (Some(path), Ok(source)) = (&file.file, entry.resolve(label)) {
                assert!(path.contains(&file.quantization) && source.to_string().ends_with(path), "{name}");
            }
            let text = format!("{name}:{}", file.quantization);
            assert!(text.parse::<Source>().is_ok(), "{text}");
        }
    }
    for family in [
        "llama-3.1-8b",
        "llama-3.1-70b",
        "llama-3.1-405b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "llama-3.3-70b",
        "llama-4-scout",
        "llama-4-maverick",
        "llama-guard-3-1b",
        "llama-guard-3-8b",
        "starter",
    ] {
        assert!(names.iter().any(|name| name.starts_with(family)), "{family}");
    }
    let error = find("llama-3.1-8b-instruct").expect("an entry").resolve(Some("Q2_K")).expect_err("no such file");
    assert!(error.to_string().contains("Q4_K_M and Q8_0"), "{error}");
}

#[test]
fn the_starters_entry_is_what_its_file_says() {
    let entry = find("starter").expect("an entry");
    let found = summarise(&starter_gguf()).expect("the starter model");
    assert_eq!(entry.parameters, found.parameter_count);
    assert_eq!(Some(entry.kv_bytes_per_token), found.kv_bytes_per_token);
    assert_eq!(Some(entry.context_tokens), found.context_length);
    assert_eq!(Some(&entry.licence), found.licence.as_ref());
    assert_eq!((entry.files[0].bytes, &entry.files[0].quantization), (found.file_bytes, &found.quantization));
}

#[test]
fn whether_a_model_fits_is_said_before_the_download() {
    let entry = find("llama-3.1-8b-instruct").expect("an entry");
    let fit = fits(entry, 16 * GB);
    assert_eq!((fit.verdict, fit.context_tokens), (Verdict::Fits, 8192));
    assert_eq!(
        fit.explanation,
        "Meta Llama 3.1 8B Instruct Q4_K_M is a download of about 4.9 GB and needs about 6.4 GB of memory with a context of 8192 tokens; 16.0 GB are available here. It fits."
    );
    let tight = fits(entry, needed_bytes(entry.files[0].bytes, entry.kv_bytes_per_token, 4000));
    assert_eq!((tight.verdict, tight.context_tokens), (Verdict::FitsShortContext, 4000));
    assert_eq!(tight.needed_bytes, tight.available_bytes);

    let small = fits(entry, 4 * GB);
    assert_eq!(small.verdict, Verdict::TooLarge);
    assert!(small.explanation.ends_with("It does not fit. `llama-3.2-3b-instruct:Q4_K_M` would."), "{}", small.explanation);
    let q8 = fits_file(entry, &entry.files[1], 8 * GB);
    assert!(q8.explanation.ends_with("`llama-3.1-8b-instruct:Q4_K_M` would."), "{}", q8.explanation);
    let nothing = fits(entry, GB / 10);
    assert!(nothing.explanation.ends_with("It does not fit."), "{}", nothing.explanation);
    let guard = fits(find("llama-guard-3-8b").expect("an entry"), 3 * GB);
    assert!(guard.explanation.contains("llama-guard-3-1b"), "{}", guard.explanation);
    assert_eq!(needed_bytes(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
}
