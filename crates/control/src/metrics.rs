//! What is counted, in Prometheus' text format: the service's own under OpenTelemetry's gen_ai names, and what the
//! workers count under vLLM's.
//!
//! **Invariant:** labels come from bounded sets: models that exist, routes of a table, HTTP statuses. Nothing a
//! client writes becomes a label.

use std::collections::BTreeMap;
use std::time::Duration;

use freehold_dialects::canonical::Usage;
use freehold_domain::ModelName;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

/// Bounds that OpenTelemetry advises for durations of generative AI, in seconds.
const DURATIONS_S: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKEN_INTERVALS_S: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// The service's counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    request_duration: HistogramVec,
    time_to_first_token: HistogramVec,
    time_per_output_token: HistogramVec,
    tokens: IntCounterVec,
    answers: IntCounterVec,
    answers_running: IntGaugeVec,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its end was sent.
    Complete,
    /// The client went away before.
    ClientGone,
    /// It ended with an error.
    Failed,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    /// Counters at zero.
    ///
    /// # Errors
    /// Two metrics of one name: a fault of this table.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| -> Result<HistogramVec, prometheus::Error> {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let model: &[&str] = &["gen_ai_request_model"];
        let answers_running = IntGaugeVec::new(Opts::new("freehold_answers_running", "Answers being made."), model)?;
        registry.register(Box::new(answers_running.clone()))?;
        Ok(Self {
            http_requests: counter("freehold_http_requests_total", "HTTP requests answered.", &["route", "status"])?,
            request_duration: histogram(
                "gen_ai_server_request_duration_seconds",
                "From a request's arrival to the end of its answer.",
                &["gen_ai_request_model", "outcome"],
                DURATIONS_S,
            )?,
            time_to_first_token: histogram(
                "gen_ai_server_time_to_first_token_seconds",
                "From a request's arrival to its first token.",
                model,
                DURATIONS_S,
            )?,
            time_per_output_token: histogram(
                "gen_ai_server_time_per_output_token_seconds",
                "Between two tokens of an answer.",
                model,
                TOKEN_INTERVALS_S,
            )?,
            tokens: counter(
                "freehold_tokens_total",
                "Tokens of answers that were completed.",
                &["gen_ai_request_model", "gen_ai_token_type"],
            )?,
            answers: counter("freehold_answers_total", "Answers, by how they ended.", &["gen_ai_request_model", "outcome"])?,
            answers_running,
            registry,
        })
    }

    /// An HTTP request was answered. `route` is of a bounded set.
    pub fn answered(&self, route: &'static str, status: u16) {
        self.http_requests.with_label_values(&[route, status_label(status)]).inc();
    }

    /// Requests answered since the start.
    pub fn requests(&self) -> u64 {
        use prometheus::core::Collector;
        self.http_requests
            .collect()
            .iter()
            .flat_map(|family| family.get_metric().iter())
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }

    pub(crate) fn begun(&self, model: &ModelName) {
        self.answers_running.with_label_values(&[model.as_str()]).inc();
    }

    pub(crate) fn first_token(&self, model: &ModelName, after: Duration) {
        self.time_to_first_token.with_label_values(&[model.as_str()]).observe(after.as_secs_f64());
    }

    pub(crate) fn ended(&self, model: &ModelName, outcome: Outcome, took: Duration, generating: Duration, usage: Option<&Usage>) {
        let name = model.as_str();
        self.answers_running.with_label_values(&[name]).dec();
        self.answers.with_label_values(&[name, outcome.label()]).inc();
        self.request_duration.with_label_values(&[name, outcome.label()]).observe(took.as_secs_f64());
        if let Some(usage) = usage {
            self.tokens.with_label_values(&[name, "input"]).inc_by(u64::from(usage.prompt_tokens));
            self.tokens.with_label_values(&[name, "cached_input"]).inc_by(u64::from(usage.cached_tokens));
            self.tokens.with_label_values(&[name, "output"]).inc_by(u64::from(usage.completion_tokens));
            if usage.completion_tokens > 1 {
                let interval = generating.as_secs_f64() / f64::from(usage.completion_tokens - 1);
                self.time_per_output_token.with_label_values(&[name]).observe(interval);
            }
        }
    }

    /// The service's counters, and after them those of the workers.
    pub fn render(&self, workers: &[String]) -> String {
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            String::new()
        });
        text.push_str(&merge(workers));
        text
    }
}

/// Puts the samples of one family together, as the format demands: each family once, with its help and type.
fn merge(texts: &[String]) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for text in texts {
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")) {
                family = rest.split(' ').next().unwrap_or_default();
                let heads = &mut families.entry(family).or_default().0;
                if !heads.contains(&line) {
                    heads.push(line);
                }
            } else if !line.is_empty() && !line.starts_with('#') {
                families.entry(family).or_default().1.push(line);
            }
        }
    }
    families.values().flat_map(|(heads, samples)| heads.iter().chain(samples)).flat_map(|line| [line, "\n"]).collect()
}

fn status_label(status: u16) -> &'static str {
    const LABELS: [&str; 22] = [
        "200", "201", "202", "204", "206", "301", "302", "304", "400", "401", "402", "403", "404", "405", "409", "413", "415", "429",
        "500", "502", "503", "504",
    ];
    LABELS.iter().find(|label| label.parse() == Ok(status)).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_of_several_workers_are_put_together() {
        let of = |model: &str| {
            format!(
                "# HELP vllm:x Some.\n# TYPE vllm:x gauge\nvllm:x{{model_name=\"{model}\"}} 1\n# HELP a A.\n# TYPE a counter\na{{m=\"{model}\"}} 2\n"
            )
        };
        let text = merge(&[of("one"), of("two")]);
        let expect = "# HELP a A.\n# TYPE a counter\na{m=\"one\"} 2\na{m=\"two\"} 2\n# HELP vllm:x Some.\n# TYPE vllm:x gauge\nvllm:x{model_name=\"one\"} 1\nvllm:x{model_name=\"two\"} 1\n";
        assert_eq!(text, expect);
    }

    #[test]
    fn what_is_counted_is_written() {
        let metrics = Metrics::new().expect("a consistent table");
        let model: ModelName = "m".parse().expect("a name");
        metrics.answered("/v1", 200);
        metrics.begun(&model);
        metrics.first_token(&model, Duration::from_millis(30));
        metrics.ended(
            &model,
            Outcome::Complete,
            Duration::from_secs(1),
            Duration::from_millis(90),
            Some(&Usage { prompt_tokens: 5, cached_tokens: 2, completion_tokens: 10 }),
        );
        let text = metrics.render(&[]);
        assert!(text.contains("gen_ai_server_time_to_first_token_seconds_bucket{gen_ai_request_model=\"m\",le=\"0.04\"} 1"), "{text}");
        assert!(text.contains("freehold_tokens_total{gen_ai_request_model=\"m\",gen_ai_token_type=\"output\"} 10"));
        assert!(text.contains("gen_ai_server_time_per_output_token_seconds_sum{gen_ai_request_model=\"m\"} 0.01"));
        assert_eq!(metrics.requests(), 1);
    }
}
