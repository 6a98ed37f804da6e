//! Figures of the HTTP side: histograms and counts, in Prometheus' text format under vLLM's names.
//!
//! **Invariant:** recording takes a few atomic additions and never a lock.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use freehold_dialects::canonical::FinishReason;

use crate::engine::EngineStats;

const FIRST_TOKEN_S: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0];
const BETWEEN_TOKENS_S: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const WHOLE_S: &[f64] = &[
    0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0,
    7680.0,
];
const BUCKETS_MAX: usize = 24;

/// Durations, counted by size.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds_s: &'static [f64],
    buckets: [AtomicU64; BUCKETS_MAX + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    fn new(bounds_s: &'static [f64]) -> Self {
        debug_assert!(bounds_s.len() <= BUCKETS_MAX, "no room for the bucket of what is larger");
        Self { bounds_s, buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_ns: AtomicU64::new(0) }
    }

    /// Records `count` durations of the same length.
    pub fn record(&self, duration: Duration, count: u64) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds_s.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(count, Relaxed);
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns.saturating_mul(count), Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str, label: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut total = 0;
        for (bound, bucket) in self.bounds_s.iter().zip(&self.buckets) {
            total += bucket.load(Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{label},le=\"{bound}\"}} {total}");
        }
        total += self.buckets[self.bounds_s.len()].load(Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a sum of durations is a float in this format")]
        let sum = self.sum_ns.load(Relaxed) as f64 / 1e9;
        let _ = writeln!(out, "{name}_bucket{{{label},le=\"+Inf\"}} {total}\n{name}_sum{{{label}}} {sum}\n{name}_count{{{label}}} {total}");
    }
}

/// What the HTTP side records.
#[derive(Debug)]
pub(super) struct Metrics {
    pub first_token: Histogram,
    pub between_tokens: Histogram,
    pub whole: Histogram,
    stopped: AtomicU64,
    too_long: AtomicU64,
    called: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            first_token: Histogram::new(FIRST_TOKEN_S),
            between_tokens: Histogram::new(BETWEEN_TOKENS_S),
            whole: Histogram::new(WHOLE_S),
            stopped: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            called: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// An answer is complete.
    pub fn finished(&self, reason: FinishReason) {
        let count = match reason {
            FinishReason::Stop => &self.stopped,
            FinishReason::Length => &self.too_long,
            FinishReason::ToolCalls => &self.called,
        };
        count.fetch_add(1, Relaxed);
    }

    /// A request failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A client left before its answer was complete.
    pub fn left(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Everything as text.
    pub fn text(&self, model_name: &str, stats: &EngineStats) -> String {
        let label = format!("model_name=\"{}\"", model_name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let mut out = String::with_capacity(8 << 10);
        let gauges: [(&str, &str, f64); 3] = [
            ("vllm:num_requests_running", "Requests being computed.", stats.requests_running.into()),
            ("vllm:num_requests_waiting", "Requests in the queue.", stats.requests_waiting.into()),
            ("vllm:kv_cache_usage_perc", "KV cache in use: 1 is all of it.", stats.cache_usage),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{{label}}} {value}");
        }
        let counters = [
            ("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", stats.prefix_queries),
            ("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", stats.prefix_hits),
            ("vllm:prompt_tokens_total", "Prompt tokens, cached ones included.", stats.prompt_tokens),
            ("vllm:generation_tokens_total", "Tokens generated.", stats.generation_tokens),
            ("vllm:num_preemptions_total", "Sequences that gave way and were computed again.", stats.preemptions),
            ("freehold:engine_steps_total", "Steps of the engine.", stats.steps),
        ];
        for (name, help, value) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name}{{{label}}} {value}");
        }
        let name = "vllm:request_success_total";
        let _ = writeln!(out, "# HELP {name} Answers, by how they ended.\n# TYPE {name} counter");
        let ends = [
            ("stop", &self.stopped),
            ("length", &self.too_long),
            ("tool_calls", &self.called),
            ("abort", &self.left),
            ("error", &self.failed),
        ];
        for (reason, count) in ends {
            let _ = writeln!(out, "{name}{{{label},finished_reason=\"{reason}\"}} {}", count.load(Relaxed));
        }
        self.first_token.write(&mut out, "vllm:time_to_first_token_seconds", "From a request's arrival to its first token.", &label);
        self.between_tokens.write(&mut out, "vllm:inter_token_latency_seconds", "From one token of an answer to the next.", &label);
        self.whole.write(&mut out, "vllm:e2e_request_latency_seconds", "From a request's arrival to the end of its answer.", &label);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_their_bucket_and_all_above() {
        let metrics = Metrics::default();
        metrics.first_token.record(Duration::from_millis(5), 1);
        metrics.first_token.record(Duration::from_secs(9999), 2);
        let text = metrics.text("a\"b", &EngineStats::default());
        for line in [
            "vllm:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"0.001\"} 0",
            "vllm:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"0.005\"} 1",
            "vllm:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"2560\"} 1",
            "vllm:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"+Inf\"} 3",
            "vllm:time_to_first_token_seconds_sum{model_name=\"a\\\"b\"} 19998.005",
            "vllm:num_requests_running{model_name=\"a\\\"b\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
        }
    }
}
