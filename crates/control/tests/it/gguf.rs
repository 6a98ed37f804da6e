//! Small GGUF files that are whole, and fakes of whoever runs models.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use freehold_control::hooks::OnReport;
use freehold_control::{ModelHost, TaskRunner};
use freehold_domain::{Error, ErrorCode, ModelName};
use freehold_inference::order::{AdapterFile, Measurement, Order, Report};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

enum Value<'a> {
    Short(u16),
    Number(u32),
    Text(&'a str),
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn file(metadata: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut bytes, key);
        match value {
            Value::Short(number) => {
                bytes.extend(2_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::Number(number) => {
                bytes.extend(4_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::Text(value) => {
                bytes.extend(8_u32.to_le_bytes());
                text(&mut bytes, value);
            }
        }
    }
    text(&mut bytes, "token_embd.weight");
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(64_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.resize(bytes.len() + 64 * 4, 1);
    bytes
}

/// A model with so many layers.
pub(crate) fn model(layers: u32) -> Vec<u8> {
    file(&metadata(layers))
}

/// A part, from 0, of a model in several files.
pub(crate) fn part(index: u16, count: u16) -> Vec<u8> {
    let mut metadata = metadata(2);
    metadata.extend([("split.no", Value::Short(index)), ("split.count", Value::Short(count))]);
    file(&metadata)
}

fn metadata(layers: u32) -> Vec<(&'static str, Value<'static>)> {
    vec![
        ("general.architecture", Value::Text("llama")),
        ("general.license", Value::Text("apache-2.0")),
        ("llama.context_length", Value::Number(2048)),
        ("llama.block_count", Value::Number(layers)),
        ("llama.embedding_length", Value::Number(8192)),
        ("llama.attention.head_count", Value::Number(64)),
        ("llama.attention.head_count_kv", Value::Number(64)),
        ("tokenizer.chat_template", Value::Text("{{ messages }}")),
    ]
}

pub(crate) fn adapter(architecture: &str) -> Vec<u8> {
    file(&[
        ("general.architecture", Value::Text(architecture)),
        ("general.type", Value::Text("adapter")),
        ("adapter.type", Value::Text("lora")),
    ])
}

fn measured(name: &str, path: &Path) -> Measurement {
    Measurement {
        name: name.to_owned(),
        path: path.to_owned(),
        bytes: fs::metadata(path).map_or(0, |facts| facts.len()),
        perplexity: 12.5,
        decode_tokens_per_s: 181.0,
        prompt_tokens_per_s: 303.0,
    }
}

/// Carries out orders with files instead of an engine.
#[derive(Default)]
pub(crate) struct FakeRunner {
    /// Refuse every order.
    pub(crate) fails: bool,
    /// Write half of the work and never end; says when it is there.
    pub(crate) hangs: Option<Arc<Notify>>,
}

impl FakeRunner {
    fn write(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, model(2)).expect("the candidate is written");
        path
    }
}

impl TaskRunner for FakeRunner {
    fn run<'a>(&'a self, order: &'a Order, on_report: OnReport<'a>) -> BoxFuture<'a, Result<Report, Error>> {
        async move {
            on_report(&Report::Progress { step: "quantizing".to_owned(), permille: 500 });
            if self.fails {
                return Err(Error::new(ErrorCode::InvalidRequest, "this cannot be quantized"));
            }
            match order {
                Order::Quantize(order) => {
                    if let Some(reached) = &self.hangs {
                        Self::write(order.target.parent().expect("a folder"), "half");
                        reached.notify_one();
                        std::future::pending::<()>().await;
                    }
                    fs::write(&order.target, model(2)).expect("the target is written");
                    Ok(Report::Quantized { before: measured("original", &order.source), after: measured("q8_0", &order.target) })
                }
                Order::Optimize(order) => {
                    let kept = Self::write(&order.folder, "m.q4_0.gguf");
                    let tried = vec![measured("original", &order.source), measured("q8_0", &order.source), measured("q4_0", &kept)];
                    Ok(Report::Optimized { tried, kept: 2 })
                }
                other => panic!("{other:?}"),
            }
        }
        .boxed()
    }
}

/// Notes what it is told.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) told: Mutex<Vec<String>>,
    pub(crate) refuses_adapters: bool,
}

impl FakeHost {
    fn note(&self, what: String) {
        self.told.lock().expect("no panic under the lock").push(what);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().expect("no panic under the lock"))
    }
}

impl ModelHost for FakeHost {
    fn changed(&self, model: &ModelName) {
        self.note(format!("changed {model}"));
    }

    fn pinned(&self, model: &ModelName, pinned: bool) {
        self.note(format!("pinned {model} {pinned}"));
    }

    fn state(&self, _: &ModelName) -> String {
        "ready".to_owned()
    }

    fn unload<'a>(&'a self, model: &'a ModelName) -> BoxFuture<'a, Result<(), Error>> {
        self.note(format!("unload {model}"));
        async { Ok(()) }.boxed()
    }

    fn load_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a AdapterFile) -> BoxFuture<'a, Result<(), Error>> {
        assert!(adapter.path.exists());
        self.note(format!("load {model}:{}", adapter.name));
        let refused = || Error::invalid("path", "the adapter does not fit the model");
        async move { if self.refuses_adapters { Err(refused()) } else { Ok(()) } }.boxed()
    }

    fn unload_adapter<'a>(&'a self, model: &'a ModelName, adapter: &'a ModelName) -> BoxFuture<'a, Result<(), Error>> {
        self.note(format!("unload {model}:{adapter}"));
        async { Ok(()) }.boxed()
    }
}
