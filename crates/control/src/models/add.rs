//! Adding a model: fetch, read, perhaps write in another representation, and only then a row.
//!
//! What fails leaves a download behind, so that the same command goes on from there; what is cancelled leaves
//! nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freehold_domain::{Error, ErrorCode, ModelId, ModelName, OperationId};
use freehold_inference::order::{Measurement, OptimizeOrder, Order, QuantizeOrder, Report};
use freehold_models::catalogue::{self, Verdict, needed_bytes};
use freehold_models::disk::human;
use freehold_models::fetch::{Fetched, Progress, Step, Token};
use freehold_models::source::Source;
use freehold_models::{FetchOptions, GgufSummary, fetch, gguf};
use freehold_store::{ModelRow, Once, StoreError};

use super::files::{self, Folder};
use super::upstream::UpstreamPlan;
use super::view::{MeasurementView, NewModel, Representation, too_large};
use super::{MODELS_MAX, name};
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::operations::{Broken, Job, Live, OperationView};

/// Largest rise of perplexity that `--optimize` accepts, in thousandths.
const PERPLEXITY_RISE_MAX_PERMILLE: u32 = 5;
/// Where fetching ends and tasks begin on the scale of progress, when there are tasks.
const FETCHED_PERMILLE: u64 = 600;
/// A cache of fewer tokens than this is not worth serving.
const CONTEXT_TOKENS_MIN: u64 = 2048;

/// What is done with a file once it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Nothing,
    Quantize(Representation),
    Optimize { asked: bool },
}

/// A request that was checked.
#[derive(Clone)]
struct Plan {
    name: ModelName,
    source: Source,
    task: Task,
    force: bool,
}

/// The file to serve, and what was measured.
struct Chosen {
    path: PathBuf,
    measurements: Vec<MeasurementView>,
}

impl Plan {
    fn read(new: &NewModel, memory_budget_bytes: u64) -> Result<Self, Error> {
        let source: Source =
            new.source.parse().map_err(|error: freehold_models::SourceError| Error::invalid("source", format!("{error}.")))?;
        let name = match &new.name {
            Some(name) => name.parse().map_err(|error| Error::invalid("name", format!("{error}.")))?,
            None => name::derive(&source)
                .ok_or_else(|| Error::invalid("name", "No name can be made from the source: give one with --name (`name`)."))?,
        };
        let task = match (new.quantize, new.optimize) {
            (Some(_), Some(true)) => {
                return Err(Error::invalid("optimize", "Give `quantize` or `optimize`, not both."));
            }
            (Some(representation), _) => Task::Quantize(representation),
            (None, Some(true)) => Task::Optimize { asked: true },
            (None, None) if source == Source::Starter => Task::Optimize { asked: false },
            (None, Some(false) | None) => Task::Nothing,
        };
        if let Source::Local(path) = &source {
            check_local(path)?;
        }
        let plan = Self { name, source, task, force: new.force };
        plan.check_fit(memory_budget_bytes)?;
        Ok(plan)
    }

    /// Says before a download whether a model of the catalogue fits.
    fn check_fit(&self, memory_budget_bytes: u64) -> Result<(), Error> {
        let Source::Catalogue { name, quantization } = &self.source else { return Ok(()) };
        let Some(entry) = catalogue::find(name) else { return Ok(()) };
        let invalid = |error: catalogue::CatalogueError| Error::invalid("source", format!("{error}."));
        entry.resolve(quantization.as_deref()).map_err(invalid)?;
        let fit = catalogue::fits_file(entry, entry.file(quantization.as_deref()).map_err(invalid)?, memory_budget_bytes);
        if fit.verdict == Verdict::TooLarge && !self.force { Err(too_large(&fit.explanation)) } else { Ok(()) }
    }
}

/// A local file must be named the same for everyone: the service's working directory is not the caller's.
fn check_local(path: &Path) -> Result<(), Error> {
    if !path.is_absolute() {
        return Err(Error::invalid("source", "Give the file as an absolute path on the service's machine."));
    }
    match std::fs::metadata(path) {
        Ok(facts) if facts.is_file() => Ok(()),
        Ok(_) => Err(Error::invalid("source", format!("`{}` is not a regular file.", path.display()))),
        Err(error) => Err(Error::invalid("source", format!("`{}` cannot be read by the service: {error}.", path.display()))),
    }
}

impl Control {
    /// Adds a model. Answers at once with the operation that does it; its result is the model.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `conflict` for a name that is taken, `invalid_request` for a source that
    /// is none or a model that does not fit.
    pub async fn add_model(&self, actor: &Actor, new: NewModel, once: Option<&IdempotencyKey>) -> Result<OperationView, Error> {
        permit(actor, Action::ManageModels)?;
        let once = once.map(|once| once.once(actor, "add_model", &new, self.now())).transpose()?;
        if let Some(upstream) = &new.upstream {
            let plan = UpstreamPlan::read(new.name.as_deref(), upstream)?;
            if !new.source.is_empty() || new.quantize.is_some() || new.optimize.is_some() {
                let message = "A model that another server serves (`upstream`) has no `source` here, and is not written anew.";
                return Err(Error::invalid("upstream", message));
            }
            return self.ask_for_upstream(actor, plan, once).await;
        }
        if new.source.is_empty() {
            return Err(Error::invalid("source", "Say where the model is (`source`), or which server serves it (`upstream`)."));
        }
        let budget = self.settings().memory_budget_bytes;
        let plan = tokio::task::spawn_blocking(move || Plan::read(&new, budget)).await.map_err(Error::internal)??;
        if plan.task != Task::Nothing {
            self.shared.hooks.runner()?;
        }
        // While a model of this name is being removed, its files are.
        let _files = self.shared.model_files.lock().await;
        if once.is_none() {
            self.check_name(&plan.name).await?;
        }
        let folder = Folder::of(self.settings(), &plan.name);
        let is_local = matches!(plan.source, Source::Local(_));
        let control = self.clone();
        let checked = plan.name.clone();
        let job = Job {
            kind: "add_model",
            subject: plan.name.to_string(),
            work: Box::new(move |operation, live| {
                Box::pin(async move {
                    control.check_name(&checked).await?;
                    control.add(plan, operation, &live).await
                })
            }),
            clean_up: {
                let control = self.clone();
                Box::new(move |broken| control.clean_up(&folder, is_local || broken == Broken::Cancelled))
            },
        };
        let event = self.event(Some(&actor.by()), None, "model.asked_for", &job.subject, serde_json::json!({}));
        self.start_operation(job, once, event).await
    }

    async fn ask_for_upstream(&self, actor: &Actor, plan: UpstreamPlan, once: Option<Once>) -> Result<OperationView, Error> {
        if once.is_none() {
            self.check_name(&plan.name).await?;
        }
        let control = self.clone();
        let job = Job {
            kind: "add_model",
            subject: plan.name.to_string(),
            work: Box::new(move |operation, live| {
                Box::pin(async move {
                    control.check_name(&plan.name).await?;
                    control.add_upstream(plan, operation, &live).await
                })
            }),
            clean_up: Box::new(|_| {}),
        };
        let event = self.event(Some(&actor.by()), None, "model.asked_for", &job.subject, serde_json::json!({}));
        self.start_operation(job, once, event).await
    }

    async fn check_name(&self, name: &ModelName) -> Result<(), Error> {
        let wanted = name.clone();
        let (taken, count) = self
            .store(move |store| {
                let taken = store.model(&wanted)?.is_some() || store.upstream(&wanted)?.is_some();
                Ok((taken, store.models()?.len() + store.upstreams()?.len()))
            })
            .await?;
        if taken {
            return Err(name_taken(name));
        }
        if count >= MODELS_MAX {
            return Err(Error::new(ErrorCode::Conflict, format!("There are {MODELS_MAX} models: remove one first.")));
        }
        Ok(())
    }

    /// A folder that a row refers to is never touched: the operation may have failed because the name was taken.
    fn clean_up(&self, folder: &Folder, everything: bool) {
        let name = folder.path().file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(name) = name else { return };
        match self.shared.store.model(&name) {
            Ok(None) if everything => folder.remove(),
            Ok(None) => folder.clear_work(),
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(model = %name, %error, "its files stay: it cannot be looked up"),
        }
    }

    async fn add(&self, plan: Plan, operation: OperationId, live: &Arc<Live>) -> Result<(), Error> {
        let folder = Folder::of(self.settings(), &plan.name);
        let fetched = self.fetch(&plan, &folder, live).await?;
        let original = summarise(&fetched.path).await?;
        if original.adapter.is_some() {
            let message = "This file is a LoRA adapter, not a model: add it with `freehold model adapter add MODEL NAME FILE`.";
            return Err(Error::new(ErrorCode::InvalidRequest, message));
        }
        let chosen = self.choose(&plan, &fetched, &folder, live).await?;
        self.check_memory(&plan, &chosen)?;
        live.tell(990, "writing it down");
        let row = self.row(&plan, &fetched, chosen, original).await?;
        let view = self.model_view(row.clone(), Vec::new())?;
        let result = serde_json::to_string(&view).map_err(Error::internal)?;
        let (now, written) = (self.now(), row.clone());
        let created = self.store(move |store| store.create_model(&written, operation, &result, now)).await;
        created.map_err(|error| if matches!(error, StoreError::Exists(_)) { name_taken(&row.name) } else { error.into() })?;
        self.shared.hooks.changed(&row.name);
        Ok(())
    }

    async fn fetch(&self, plan: &Plan, folder: &Folder, live: &Arc<Live>) -> Result<Fetched, Error> {
        let settings = self.settings();
        let mut options = FetchOptions::new(folder.path());
        options.hub_endpoint.clone_from(&settings.hf_endpoint);
        options.token = settings.hf_token.clone().map(Token::new);
        options.starter_file.clone_from(&settings.starter_file);
        let scale = if plan.task == Task::Nothing { 980 } else { FETCHED_PERMILLE };
        let (bytes_max, bytes_seen) = (if plan.force { u64::MAX } else { settings.memory_budget_bytes }, AtomicU64::new(0));
        let too_big = tokio::sync::Notify::new();
        let progress = |progress: Progress| {
            let total = progress.bytes_total.unwrap_or(0);
            if total > bytes_max {
                bytes_seen.store(total, Ordering::Relaxed);
                too_big.notify_one();
            }
            let done = scale.saturating_mul(progress.bytes_done).checked_div(total).unwrap_or(0).min(scale);
            live.tell(u16::try_from(done).unwrap_or(999), step_text(&progress));
        };
        tokio::select! {
            fetched = fetch(&plan.source, &options, &progress) => Ok(fetched?),
            () = too_big.notified() => {
                let bytes = human(bytes_seen.load(Ordering::Relaxed));
                Err(too_large(&format!("The file has {bytes} and the memory budget is {}.", human(bytes_max))))
            }
        }
    }

    /// Carries out the task, if there is one, and says which file is served.
    async fn choose(&self, plan: &Plan, fetched: &Fetched, folder: &Folder, live: &Arc<Live>) -> Result<Chosen, Error> {
        let as_it_is = || Chosen { path: fetched.path.clone(), measurements: Vec::new() };
        let order = match plan.task {
            Task::Nothing => return Ok(as_it_is()),
            Task::Quantize(representation) => Order::Quantize(QuantizeOrder {
                source: fetched.path.clone(),
                target: folder.work().join(format!("{}.{}.gguf", plan.name, representation.as_str())),
                quantization: representation.order(),
                threads: self.settings().task_threads,
            }),
            Task::Optimize { .. } => Order::Optimize(OptimizeOrder {
                source: fetched.path.clone(),
                folder: folder.work(),
                perplexity_rise_max_permille: PERPLEXITY_RISE_MAX_PERMILLE,
                memory_max_bytes: Some(self.settings().memory_budget_bytes),
                threads: self.settings().task_threads,
            }),
        };
        match self.measure(&order, folder, live).await {
            Ok((tried, kept)) => {
                let measurements = tried.iter().enumerate().map(|(index, one)| MeasurementView::new(one, index == kept)).collect();
                let kept = tried.get(kept).ok_or_else(|| Error::internal("the worker kept what it did not try"))?;
                if kept.path == fetched.path {
                    folder_cleared(folder).await?;
                    return Ok(Chosen { measurements, ..as_it_is() });
                }
                Ok(Chosen { path: taken_over(folder, &kept.path).await?, measurements })
            }
            // Nobody asked for it, so it must not stand in the way.
            Err(error) if plan.task == (Task::Optimize { asked: false }) => {
                tracing::warn!(model = %plan.name, %error, context = error.context, "not optimized: served as it is");
                folder_cleared(folder).await?;
                Ok(as_it_is())
            }
            Err(error) => Err(error),
        }
    }

    async fn measure(&self, order: &Order, folder: &Folder, live: &Arc<Live>) -> Result<(Vec<Measurement>, usize), Error> {
        let work = folder.work();
        tokio::fs::create_dir_all(&work).await.map_err(|error| Error::internal(format!("{}: {error}", work.display())))?;
        let on_report = |report: &Report| match report {
            Report::Progress { step, permille } => {
                let done = FETCHED_PERMILLE + u64::from(*permille).min(1000) * (980 - FETCHED_PERMILLE) / 1000;
                live.tell(u16::try_from(done).unwrap_or(999), step.clone());
            }
            Report::Measured(measured) => tracing::info!(name = measured.name, perplexity = measured.perplexity, "measured"),
            _ => {}
        };
        match self.shared.hooks.runner()?.run(order, &on_report).await? {
            Report::Quantized { before, after } => Ok((vec![before, after], 1)),
            Report::Optimized { tried, kept } => Ok((tried, kept)),
            other => Err(Error::internal(format!("the worker answered with {other:?}"))),
        }
    }

    fn check_memory(&self, plan: &Plan, chosen: &Chosen) -> Result<(), Error> {
        let budget = self.settings().memory_budget_bytes;
        let summary = gguf::summarise(&chosen.path).map_err(unreadable)?;
        let tokens = CONTEXT_TOKENS_MIN.min(summary.context_length.unwrap_or(CONTEXT_TOKENS_MIN));
        let needed = needed_bytes(summary.file_bytes, summary.kv_bytes_per_token.unwrap_or(0), tokens);
        if needed <= budget || plan.force {
            return Ok(());
        }
        let explanation = format!(
            "It needs about {} of memory with a context of {tokens} tokens, and the memory budget is {}.",
            human(needed),
            human(budget)
        );
        Err(too_large(&explanation))
    }

    async fn row(&self, plan: &Plan, fetched: &Fetched, chosen: Chosen, original: GgufSummary) -> Result<ModelRow, Error> {
        let is_original = chosen.path == fetched.path;
        let (sha256, size_bytes, served) = if is_original {
            (fetched.sha256.clone(), fetched.bytes, original)
        } else {
            let path = chosen.path.clone();
            let (sha256, size) = tokio::task::spawn_blocking(move || files::digest(&path)).await.map_err(Error::internal)??;
            (sha256, size, summarise(&chosen.path).await?)
        };
        Ok(ModelRow {
            id: ModelId::from_uuid(self.new_uuid()),
            name: plan.name.clone(),
            path: text(&chosen.path)?,
            original_path: if is_original { None } else { Some(text(&fetched.path)?) },
            sha256,
            size_bytes,
            source: fetched.source.clone(),
            licence: served.licence,
            architecture: served.architecture,
            parameter_count: served.parameter_count,
            quantization: served.quantization,
            context_length: served.context_length.map_or(0, |length| u32::try_from(length).unwrap_or(u32::MAX)),
            chat_template: served.chat_template.is_some(),
            kv_bytes_per_token: served.kv_bytes_per_token.unwrap_or(0),
            measurements_json: serde_json::to_string(&chosen.measurements).map_err(Error::internal)?,
            pinned: false,
            added_at: self.now(),
        })
    }
}

fn step_text(progress: &Progress) -> String {
    let verb = match progress.step {
        Step::Downloading => "downloading",
        Step::Verifying => "verifying",
        Step::Copying => "copying",
        Step::Extracting => "unpacking",
    };
    match progress.bytes_total {
        Some(total) => format!("{verb} {}: {} of {}", progress.file, human(progress.bytes_done), human(total)),
        None => format!("{verb} {}: {}", progress.file, human(progress.bytes_done)),
    }
}

pub(super) async fn summarise(path: &Path) -> Result<GgufSummary, Error> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || gguf::summarise(&path)).await.map_err(Error::internal)?.map_err(unreadable)
}

pub(crate) fn unreadable(error: freehold_models::GgufError) -> Error {
    Error::new(ErrorCode::InvalidRequest, format!("The file cannot be used: {error}."))
}

async fn taken_over(folder: &Folder, file: &Path) -> Result<PathBuf, Error> {
    let (folder, file) = (folder.clone(), file.to_owned());
    let work = move || {
        let kept = folder.keep(&file).map_err(|error| Error::internal(format!("{}: {error}", file.display())))?;
        folder.clear_work();
        Ok(kept)
    };
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

async fn folder_cleared(folder: &Folder) -> Result<(), Error> {
    let folder = folder.clone();
    tokio::task::spawn_blocking(move || folder.clear_work()).await.map_err(Error::internal)
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::internal(format!("{} is not UTF-8", path.display())))
}

pub(super) fn name_taken(name: &ModelName) -> Error {
    let message = format!("There is a model `{name}` already: give another name with --name (`name`), or remove that one first.");
    Error::new(ErrorCode::Conflict, message).with_param("name")
}
