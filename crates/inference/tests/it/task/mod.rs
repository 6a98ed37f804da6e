//! Converting and measuring, with the real starter model.

use std::path::{Path, PathBuf};

use freehold_inference::order::{OptimizeOrder, Quantization, QuantizeOrder, Report};
use freehold_inference::task::{TaskError, optimize, quantize};

use crate::worker::support::starter;

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn order(source: PathBuf, target: PathBuf) -> QuantizeOrder {
    QuantizeOrder { source, target, quantization: Quantization::Q8_0, threads: Some(1) }
}

#[test]
fn a_model_is_converted_and_both_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/starter.gguf");
    std::fs::create_dir(folder.path().join("new")).unwrap();
    std::fs::write(folder.path().join("new/starter.gguf.partial"), "left by a process that was killed").unwrap();
    let mut reports = Vec::new();
    let report = quantize(&order(starter(), target.clone()), &mut |report| reports.push(report)).unwrap();
    let Report::Quantized { before, after } = report else { panic!("{report:?}") };
    assert_eq!((before.name.as_str(), after.name.as_str(), &after.path), ("original", "q8_0", &target));
    assert!(after.bytes > before.bytes && after.bytes == std::fs::metadata(&target).unwrap().len());
    assert!((5.0..60.0).contains(&before.perplexity), "{before:?}");
    // The numbers that weights are multiplied with are rounded in another way for each representation.
    assert!((after.perplexity / before.perplexity - 1.0).abs() < 0.02, "{before:?} {after:?}");
    assert!(after.decode_tokens_per_s > 1.0 && after.prompt_tokens_per_s > 1.0);
    assert_eq!(files(&folder.path().join("new")), ["starter.gguf"]);
    assert_eq!(reports.iter().filter(|report| matches!(report, Report::Measured(_))).count(), 2);
    assert!(reports.iter().any(|report| matches!(report, Report::Progress { .. })));
}

#[test]
fn the_best_representation_is_kept_alone() {
    let folder = tempfile::tempdir().unwrap();
    let order = OptimizeOrder {
        source: starter(),
        folder: folder.path().to_owned(),
        perplexity_rise_max_permille: 5,
        memory_max_bytes: None,
        threads: Some(1),
    };
    let report = optimize(&order, &mut |_| {}).unwrap();
    let Report::Optimized { tried, kept } = report else { panic!("{report:?}") };
    assert_eq!(tried.iter().map(|tried| tried.name.as_str()).collect::<Vec<_>>(), ["original", "bf16", "q8_0", "q4_0"]);
    let limit = tried[0].perplexity * 1.005;
    assert!(tried[kept].perplexity <= limit && tried[kept].decode_tokens_per_s >= tried[0].decode_tokens_per_s, "{tried:?}");
    let expect: Vec<String> = if kept == 0 { vec![] } else { vec![format!("{}.gguf", tried[kept].name)] };
    assert_eq!(files(folder.path()), expect);
}

#[test]
fn a_damaged_file_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(starter()).unwrap();
    for (name, bytes) in [("empty", &b""[..]), ("text", b"not a model"), ("cut", &whole[..whole.len() / 2]), ("head", &whole[..1000])] {
        let source = folder.path().join(name);
        std::fs::write(&source, bytes).unwrap();
        let error = quantize(&order(source.clone(), folder.path().join("target.gguf")), &mut |_| {}).unwrap_err();
        assert!(matches!(&error, TaskError::Refused { path } if *path == source), "{name}: {error}");
        std::fs::remove_file(source).unwrap();
    }
    assert!(files(folder.path()).is_empty());
    let error = quantize(&order("/nowhere.gguf".into(), folder.path().join("t")), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("/nowhere.gguf"), "{error}");
}
