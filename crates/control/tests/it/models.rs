//! Models: add, list, show, pin, remove; and what a crash leaves.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use freehold_control::keys::NewKey;
use freehold_control::models::{ModelChange, ModelView, NewModel, Representation};
use freehold_control::once::IdempotencyKey;
use freehold_control::operations::OperationView;
use freehold_control::page::PageRequest;
use freehold_control::{Control, Settings};
use tokio::sync::Notify;

use crate::gguf::{FakeHost, FakeRunner, adapter, model, part};
use crate::{Fixture, HandClock, code, fixture, open, settings};

const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Models {
    pub(crate) made: Fixture,
    pub(crate) host: Arc<FakeHost>,
}

pub(crate) async fn models(runner: FakeRunner, host: FakeHost) -> Models {
    let made = fixture().await;
    let host = Arc::new(host);
    made.control.attach(Arc::new(runner), Arc::clone(&host) as Arc<_>);
    Models { made, host }
}

impl Models {
    /// A file beside the data directory.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.made.dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.made.dir.path().join("data/models").join(name)
    }

    async fn start(&self, new: NewModel) -> OperationView {
        self.made.control.add_model(&self.made.operator, new, None).await.expect("started")
    }

    async fn end(&self, started: &OperationView) -> OperationView {
        let ended = self.made.control.wait_for_operation(&self.made.operator, &started.id.to_string(), LONG).await.expect("shown");
        assert!(ended.has_ended(), "{ended:?}");
        ended
    }

    pub(crate) async fn add(&self, new: NewModel) -> ModelView {
        let ended = self.end(&self.start(new).await).await;
        assert_eq!((ended.state.as_str(), ended.progress_permille), ("done", 1000), "{ended:?}");
        serde_json::from_value(ended.result.expect("a result")).expect("a model")
    }

    async fn fail(&self, new: NewModel) -> String {
        let ended = self.end(&self.start(new).await).await;
        assert_eq!(ended.state, "failed", "{ended:?}");
        ended.error.expect("an error").message
    }

    async fn names(&self, actor: &freehold_control::Actor) -> Vec<String> {
        let page = self.made.control.list_models(actor, &PageRequest::default()).await.expect("models");
        page.data.into_iter().map(|model| model.name.to_string()).collect()
    }
}

pub(crate) fn from(source: &str) -> NewModel {
    NewModel { source: source.to_owned(), ..NewModel::default() }
}

#[tokio::test]
async fn a_local_file_becomes_a_model() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let path = it.file("Tiny-Llama.F32.gguf", &model(2));
    let added = it.add(from(&path)).await;
    assert_eq!(added.name.as_str(), "tiny-llama");
    assert_eq!((added.architecture.as_deref(), added.context_length, added.chat_template), (Some("llama"), 2048, Some(true)));
    assert_eq!((added.licence.as_deref(), added.state.as_str()), (Some("apache-2.0"), "ready"));
    assert_eq!(added.size_bytes, Some(fs::metadata(&path).expect("there").len()));
    assert_eq!(it.host.take(), ["changed tiny-llama"]);
    assert!(it.folder("tiny-llama").join("Tiny-Llama.F32.gguf").is_file());
    assert_eq!(it.made.control.model(&it.made.main, "Tiny-LLAMA").await.expect("shown"), added);

    let again = it.made.control.add_model(&it.made.operator, from(&path), None).await.expect_err("taken");
    assert_eq!((again.code.as_str(), again.param.as_deref()), ("conflict", Some("name")));
    it.add(NewModel { name: Some("other".to_owned()), ..from(&path) }).await;
    fs::remove_file(&path).expect("the owner's file goes");
    assert_eq!(it.names(&it.made.operator).await, ["other", "tiny-llama"]);

    it.host.take();
    it.made.control.remove_model(&it.made.operator, "tiny-llama").await.expect("removed");
    assert_eq!(it.host.take(), ["changed tiny-llama", "unload tiny-llama"]);
    assert!(!it.folder("tiny-llama").exists() && it.folder("other").exists());
    assert_eq!(code(it.made.control.model(&it.made.main, "tiny-llama").await), "model_not_found");
    assert_eq!(code(it.made.control.remove_model(&it.made.operator, "tiny-llama").await), "model_not_found");
}

#[tokio::test]
async fn a_repeated_call_starts_nothing_new() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let path = it.file("a.gguf", &model(2));
    let once = IdempotencyKey::parse("k").expect("a key");
    let start = async || it.made.control.add_model(&it.made.operator, from(&path), Some(&once)).await.expect("an operation");
    let first = start().await;
    assert_eq!(start().await.id, first.id);
    it.end(&first).await;
    let ended = start().await;
    assert_eq!((ended.id, ended.state.as_str()), (first.id, "done"));
    let other = it.made.control.add_model(&it.made.operator, from("starter"), Some(&once)).await;
    assert_eq!(code(other), "conflict");
}

#[tokio::test]
async fn a_new_representation_is_served_and_the_original_stays() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let path = it.file("a.gguf", &model(2));
    let added = it.add(NewModel { quantize: Some(Representation::Q8_0), ..from(&path) }).await;
    let served: Vec<_> = added.measurements.iter().map(|measured| (measured.name.as_str(), measured.served)).collect();
    assert_eq!(served, [("original", false), ("q8_0", true)]);
    assert!(it.folder("a").join("a.gguf").is_file() && it.folder("a").join("a.q8_0.gguf").is_file());

    let added = it.add(NewModel { optimize: Some(true), name: Some("b".to_owned()), ..from(&path) }).await;
    assert_eq!(added.measurements.iter().position(|measured| measured.served), Some(2));
    assert!(it.folder("b").join("m.q4_0.gguf").is_file() && !it.folder("b").join("work").exists());

    let both = NewModel { optimize: Some(true), quantize: Some(Representation::Q4_0), name: Some("c".to_owned()), ..from(&path) };
    assert_eq!(code(it.made.control.add_model(&it.made.operator, both, None).await), "invalid_request");
}

#[tokio::test]
async fn an_optimized_model_goes_back_to_its_original() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let (control, operator) = (&it.made.control, &it.made.operator);
    let path = it.file("a.gguf", &model(2));
    let plain = it.add(from(&path)).await;
    assert_eq!(code(control.revert_model(operator, "a").await), "conflict", "nothing was made of it");
    assert_eq!(code(control.revert_model(operator, "nobody").await), "model_not_found");

    it.add(NewModel { optimize: Some(true), name: Some("b".to_owned()), ..from(&path) }).await;
    let reverted = control.revert_model(operator, "b").await.expect("reverted");
    assert_eq!((&reverted.sha256, &reverted.quantization, reverted.size_bytes), (&plain.sha256, &plain.quantization, plain.size_bytes));
    assert_eq!(reverted.measurements.iter().position(|measured| measured.served), Some(0));
    assert_eq!(control.model(operator, "b").await.expect("shown"), reverted);
    let mut files: Vec<_> = fs::read_dir(it.folder("b")).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    files.sort();
    assert_eq!(files, ["a.gguf"], "what was made of it is gone");

    it.add(NewModel { quantize: Some(Representation::Q8_0), name: Some("c".to_owned()), ..from(&path) }).await;
    fs::remove_file(it.folder("c").join("a.gguf")).expect("removed");
    let gone = control.revert_model(operator, "c").await.expect_err("the original is gone");
    assert!(gone.message.contains("add it again"), "{}", gone.message);
    assert!(it.folder("c").join("c.q8_0.gguf").is_file());
}

/// The files of a folder and of those in it.
fn files_of(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files_of(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Stops a service and starts it again on a folder, once it has let go of its files.
fn restart(control: Control, settings: &Settings, clock: &Arc<HandClock>) -> Control {
    drop(control);
    let deadline = std::time::Instant::now() + LONG;
    loop {
        match Control::open(settings.clone(), Arc::clone(clock) as Arc<_>) {
            Ok(control) => return control,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_start_removes_no_weights_whatever_they_are_called_and_wherever_the_folder_is() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let first = it.file("x-00001-of-00002.gguf", &part(0, 2));
    it.file("x-00002-of-00002.gguf", &part(1, 2));
    let added = it.add(NewModel { name: Some("x".to_owned()), ..from(&first) }).await;
    assert_eq!(added.size_bytes, Some((part(0, 2).len() + part(1, 2).len()) as u64), "both parts");
    let plain = it.file("a.gguf", &model(2));
    it.add(NewModel { quantize: Some(Representation::Q8_0), ..from(&plain) }).await;
    let before = files_of(&it.folder(""));
    for part in ["x/x-00001-of-00002.gguf", "x/x-00002-of-00002.gguf", "a/a.gguf", "a/a.q8_0.gguf"] {
        assert!(before.contains(&it.folder(part)), "{part}: {before:?}");
    }

    let Models { made: Fixture { control, clock, operator, dir, .. }, .. } = it;
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("data"), &link).expect("a link");
    let (direct, linked) = (settings(&dir), Settings { data_dir: link, ..settings(&dir) });
    let control = restart(control, &direct, &clock);
    assert_eq!(files_of(&dir.path().join("data/models")), before, "after a start");
    let control = restart(control, &linked, &clock);
    assert_eq!(files_of(&dir.path().join("data/models")), before, "after a start on a link to the folder");
    assert_eq!(control.model(&operator, "x").await.expect("shown").sha256, added.sha256);
    let control = restart(control, &direct, &clock);
    assert_eq!(files_of(&dir.path().join("data/models")), before, "and back");
    drop(control);
}

#[tokio::test]
async fn what_fails_says_why_and_leaves_nothing() {
    let it = models(FakeRunner { fails: true, ..FakeRunner::default() }, FakeHost::default()).await;
    let good = it.file("good.gguf", &model(2));
    let whole = model(2);
    let truncated = it.file("truncated.gguf", &whole[..whole.len() - 100]);
    let (text, lora) = (it.file("text.gguf", b"hello, this is not a model at all"), it.file("lora.gguf", &adapter("llama")));
    let huge = it.file("huge.gguf", &model(1000));
    for (new, expected) in [
        (from(&truncated), "truncated"),
        (from(&text), "not a GGUF file"),
        (from(&lora), "LoRA adapter"),
        (from(&huge), "--force"),
        (NewModel { quantize: Some(Representation::Q4KM), ..from(&good) }, "cannot be quantized"),
        (NewModel { optimize: Some(true), ..from(&good) }, "cannot be quantized"),
    ] {
        let message = it.fail(new).await;
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(fs::read_dir(it.made.dir.path().join("data/models")).expect("the folder").count(), 0);
    assert!(it.names(&it.made.operator).await.is_empty());
    it.add(NewModel { force: true, ..from(&huge) }).await;
    it.add(from(&good)).await;
}

#[tokio::test]
async fn bad_requests_are_refused_at_once() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let path = it.file("a.gguf", &model(2));
    let (dir, missing) = (format!("{}/", it.made.dir.path().display()), format!("{path}.missing"));
    for (new, param) in [
        (from(""), "source"),
        (from("ftp://x/y"), "source"),
        (from("no-such-model"), "source"),
        (from("./relative.gguf"), "source"),
        (from(&dir), "source"),
        (from(&missing), "source"),
        (NewModel { name: Some("../up".to_owned()), ..from(&path) }, "name"),
    ] {
        let error = it.made.control.add_model(&it.made.operator, new.clone(), None).await.expect_err(param);
        assert_eq!((error.code.as_str(), error.param.as_deref()), ("invalid_request", Some(param)), "{new:?}");
    }
    let large = it.made.control.add_model(&it.made.operator, from("llama-3.1-70b-instruct"), None).await.expect_err("too large");
    assert!(large.message.contains("does not fit"), "{}", large.message);
    let catalogue = it.made.control.list_catalogue(&it.made.operator).expect("the catalogue");
    let fits = |name: &str| catalogue.iter().find(|entry| entry.name == name).map(|entry| entry.fits);
    assert_eq!((fits("starter"), fits("llama-3.1-70b-instruct")), (Some(true), Some(false)));
}

#[tokio::test]
async fn tenants_see_their_models_and_change_none() {
    let it = models(FakeRunner::default(), FakeHost::default()).await;
    let (control, operator) = (&it.made.control, &it.made.operator);
    let path = it.file("a.gguf", &model(2));
    for name in ["a", "b", "c"] {
        it.add(NewModel { name: Some(name.to_owned()), ..from(&path) }).await;
    }
    let models = Some(vec!["b".to_owned()]);
    let key = it.made.key(NewKey { name: "k".to_owned(), tenant: Some("main".to_owned()), models, ..NewKey::default() }).await;
    let limited = it.made.actor(&key).await;
    assert_eq!(it.names(&it.made.main).await, ["a", "b", "c"]);
    assert_eq!(it.names(&limited).await, ["b"]);
    assert_eq!(code(control.model(&limited, "a").await), "model_not_found");
    assert_eq!(control.model(&limited, "a").await.expect_err("hidden").message.replace("`a`", ""), {
        control.model(&limited, "zzz").await.expect_err("missing").message.replace("`zzz`", "")
    });

    let main = &it.made.main;
    let first = control.list_operations(operator, &PageRequest::default()).await.expect("operations").data.remove(0).id.to_string();
    for (what, got) in [
        ("add", code(control.add_model(main, from(&path), None).await)),
        ("change", code(control.change_model(main, "a", ModelChange { pinned: Some(true) }).await)),
        ("remove", code(control.remove_model(main, "a").await)),
        ("catalogue", code(control.list_catalogue(main))),
        ("operations", code(control.list_operations(main, &PageRequest::default()).await)),
        ("operation", code(control.operation(main, &first).await)),
        ("cancel", code(control.cancel_operation(main, &first).await)),
        ("wait", code(control.wait_for_operation(main, &first, LONG).await)),
    ] {
        assert_eq!(got, "permission_denied", "{what}");
    }
    let page = control.list_models(operator, &PageRequest { limit: Some(2), after: None }).await.expect("a page");
    assert_eq!((page.data.len(), page.next.as_deref()), (2, Some("b")));
    let rest = control.list_models(operator, &PageRequest { limit: Some(2), after: page.next }).await.expect("a page");
    assert_eq!((rest.data.len(), rest.next), (1, None));

    it.host.take();
    assert!(control.change_model(operator, "a", ModelChange { pinned: Some(true) }).await.expect("pinned").pinned);
    assert_eq!(it.host.take(), ["changed a", "pinned a true"]);
    assert!(control.model(operator, "a").await.expect("shown").pinned);
}

#[tokio::test]
async fn a_cancelled_operation_leaves_nothing() {
    let reached = Arc::new(Notify::new());
    let it = models(FakeRunner { hangs: Some(Arc::clone(&reached)), ..FakeRunner::default() }, FakeHost::default()).await;
    let (control, operator) = (&it.made.control, &it.made.operator);
    let path = it.file("a.gguf", &model(2));
    let started = it.start(NewModel { quantize: Some(Representation::Q4_0), ..from(&path) }).await;
    reached.notified().await;
    let running = control.operation(operator, &started.id.to_string()).await.expect("shown");
    assert_eq!((running.state.as_str(), running.step.as_str(), running.progress_permille), ("running", "quantizing", 790));
    assert!(it.folder("a").join("work/half").exists());
    assert_eq!(code(control.add_model(operator, from(&path), None).await), "conflict", "one at a time");

    let cancelled = control.cancel_operation(operator, &started.id.to_string()).await.expect("cancelled");
    assert_eq!(cancelled.state, "cancelled");
    assert!(!it.folder("a").exists());
    assert_eq!(code(control.cancel_operation(operator, &started.id.to_string()).await), "conflict");
    it.add(from(&path)).await;
    assert_eq!(code(control.operation(operator, "op_nonsense").await), "not_found");
}

#[test]
fn a_stopped_service_leaves_a_failed_operation_and_no_half_files() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let reached = Arc::new(Notify::new());
    let it = runtime.block_on(models(FakeRunner { hangs: Some(Arc::clone(&reached)), ..FakeRunner::default() }, FakeHost::default()));
    let path = it.file("a.gguf", &model(2));
    let started = runtime.block_on(it.start(NewModel { quantize: Some(Representation::Q4_0), ..from(&path) }));
    runtime.block_on(reached.notified());
    runtime.shutdown_timeout(LONG);
    let Fixture { control, clock, credentials, dir, .. } = it.made;
    drop(control);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let again = open(&dir, &clock);
    let operator = runtime.block_on(again.authenticate(&credentials.operator_key)).expect("good");
    let ended = runtime.block_on(again.operation(&operator, &started.id.to_string())).expect("shown");
    assert_eq!(ended.state, "failed");
    assert!(ended.error.expect("an error").message.contains("run the command again"));
    let folder = dir.path().join("data/models/a");
    assert!(folder.join("a.gguf").exists() && !folder.join("work").exists(), "what was fetched can be used again");

    drop(again);
    clock.advance_ms(100 * 365 * 24 * 60 * 60 * 1000);
    drop(open(&dir, &clock));
    assert!(!folder.exists(), "abandoned long ago");
}
