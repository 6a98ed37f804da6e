//! Finds the representation that is fastest on this machine and as good as the original.
//!
//! Processors differ in which representation they compute fastest; only a measurement tells. A candidate is kept if
//! its perplexity stays within the limit and 8 answers at once come faster than from the original.

use std::path::PathBuf;

use super::measure::{file_type, measure};
use super::{Progress, TaskError, partial, quantizer, step, threads};
use crate::order::{Measurement, OptimizeOrder, Quantization, Report};

/// llama.cpp's numbers of the unquantized kinds: F32, F16, BF16.
const UNQUANTIZED: [u32; 3] = [0, 1, 32];

struct Candidate {
    quantization: Quantization,
    path: PathBuf,
}

/// Tries the representations and keeps the best one.
///
/// # Errors
/// The original cannot be loaded or measured. A candidate that cannot be made is passed over.
pub fn optimize(order: &OptimizeOrder, progress: Progress<'_>) -> Result<Report, TaskError> {
    let threads = threads(order.threads);
    progress(step("measuring the original", 0));
    let (kind, weights_bytes) = file_type(&order.source)?;
    let mut tried = vec![measure("original", &order.source, threads)?];
    progress(Report::Measured(tried[0].clone()));
    let candidates = candidates(order, kind, weights_bytes);
    // Until the result is reported, nobody knows of any of these files.
    let _unfinished: Vec<_> = candidates.iter().map(|candidate| partial::Unfinished::new(&candidate.path)).collect();
    let count = u32::try_from(candidates.len()).unwrap_or(1).max(1);
    let mut kept = 0;
    for (candidate, index) in candidates.iter().zip(0..) {
        let name = quantizer::name(candidate.quantization);
        let done = 250 + 750 * index / count;
        progress(step(&format!("converting to {name}"), done));
        match attempt(order, candidate, threads, || progress(step(&format!("measuring {name}"), done + 375 / count))) {
            Ok(Some(measurement)) => {
                progress(Report::Measured(measurement.clone()));
                tried.push(measurement);
                let best = better(&tried, order.perplexity_rise_max_permille, kept);
                let loser = if best == kept { tried.len() - 1 } else { kept };
                if loser != 0 {
                    partial::remove(&tried[loser].path);
                }
                kept = best;
            }
            Ok(None) => tracing::info!(candidate = name, "passed over: it needs more memory than allowed"),
            Err(error) => tracing::warn!(%error, candidate = name, "passed over"),
        }
    }
    Ok(Report::Optimized { tried, kept })
}

/// `None`: it turned out larger than allowed.
fn attempt(order: &OptimizeOrder, candidate: &Candidate, threads: u32, converted: impl FnOnce()) -> Result<Option<Measurement>, TaskError> {
    quantizer::quantize(&order.source, &candidate.path, candidate.quantization, threads)?;
    let bytes = std::fs::metadata(&candidate.path).map_or(u64::MAX, |file| file.len());
    if order.memory_max_bytes.is_some_and(|max| bytes > max) {
        partial::remove(&candidate.path);
        return Ok(None);
    }
    converted();
    let name = quantizer::name(candidate.quantization);
    measure(name, &candidate.path, threads).map(Some).inspect_err(|_| partial::remove(&candidate.path))
}

/// The last of `tried` if it is good enough and faster than what is kept.
fn better(tried: &[Measurement], rise_max_permille: u32, kept: usize) -> usize {
    let last = tried.len() - 1;
    let limit = tried[0].perplexity * (1.0 + f64::from(rise_max_permille) / 1000.0);
    let good = tried[last].perplexity <= limit;
    if good && tried[last].decode_tokens_per_s > tried[kept].decode_tokens_per_s { last } else { kept }
}

/// What is worth trying: not the original's own kind, nothing that is sure not to fit.
fn candidates(order: &OptimizeOrder, kind: Option<u32>, weights_bytes: u64) -> Vec<Candidate> {
    let unquantized = kind.is_some_and(|kind| UNQUANTIZED.contains(&kind));
    let mut all = vec![Quantization::Bf16, Quantization::Q8_0, Quantization::Q4_0];
    if unquantized {
        all.push(Quantization::Q4KM);
    }
    all.retain(|quantization| Some(number(*quantization)) != kind);
    all.retain(|quantization| order.memory_max_bytes.is_none_or(|max| least_bytes(weights_bytes, kind, *quantization) <= max));
    all.into_iter()
        .map(|quantization| Candidate { quantization, path: order.folder.join(format!("{}.gguf", quantizer::name(quantization))) })
        .collect()
}

/// llama.cpp's number of a representation.
fn number(quantization: Quantization) -> u32 {
    match quantization {
        Quantization::Q4_0 => 2,
        Quantization::Q8_0 => 7,
        Quantization::Q4KM => 15,
        Quantization::Bf16 => 32,
    }
}

/// A lower estimate of what a representation needs: a tenth less than the bits of a weight say. Of an original of an
/// unknown kind nothing is known, so everything is tried.
fn least_bytes(weights_bytes: u64, kind: Option<u32>, quantization: Quantization) -> u64 {
    let source_tenths = match kind {
        Some(0) => 320,
        Some(1 | 32) => 160,
        Some(2) => 45,
        Some(3) => 50,
        Some(7) => 85,
        Some(14 | 15) => 49,
        _ => return 0,
    };
    let target_tenths = match quantization {
        Quantization::Q8_0 => 85,
        Quantization::Q4_0 => 45,
        Quantization::Q4KM => 48,
        Quantization::Bf16 => 160,
    };
    weights_bytes / source_tenths * target_tenths / 10 * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(memory_max_bytes: Option<u64>) -> OptimizeOrder {
        OptimizeOrder { source: "s".into(), folder: "f".into(), perplexity_rise_max_permille: 5, memory_max_bytes, threads: None }
    }

    #[test]
    fn only_what_can_help_is_tried() {
        let names = |memory, kind| -> Vec<_> {
            candidates(&order(memory), kind, 1_600_000_000).iter().map(|candidate| quantizer::name(candidate.quantization)).collect()
        };
        assert_eq!(names(None, Some(1)), ["bf16", "q8_0", "q4_0", "q4_k_m"]);
        assert_eq!(names(None, Some(3)), ["bf16", "q8_0", "q4_0"]);
        assert_eq!(names(None, Some(7)), ["bf16", "q4_0"]);
        assert_eq!(names(Some(600_000_000), Some(1)), ["q4_0", "q4_k_m"]);
        assert_eq!(names(Some(1), None), ["bf16", "q8_0", "q4_0"]);
    }

    #[test]
    fn faster_counts_only_if_as_good() {
        let measured = |perplexity, decode_tokens_per_s| Measurement {
            name: String::new(),
            path: PathBuf::new(),
            bytes: 0,
            perplexity,
            decode_tokens_per_s,
            prompt_tokens_per_s: 0.0,
        };
        let original = measured(10.0, 100.0);
        for (candidate, expect) in [(measured(10.04, 101.0), 1), (measured(10.06, 300.0), 0), (measured(9.0, 99.0), 0)] {
            assert_eq!(better(&[original.clone(), candidate], 5, 0), expect);
        }
    }
}
