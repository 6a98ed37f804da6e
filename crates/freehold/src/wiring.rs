//! Puts the parts together and runs them until they are told to stop.
//!
//! The order of a stop: no new connections and requests, running answers get `stop_grace_s`, what is left ends with
//! an error event, the workers end, the store is closed. A second signal ends the process at once; the store is
//! then what a crash would leave, which is consistent.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use freehold_control::bootstrap::{Credentials, Start};
use freehold_control::clock::SystemClock;
use freehold_control::models::NewModel;
use freehold_control::serve::Serving;
use freehold_control::workers::{self, WorkerSettings, Workers};
use freehold_control::{Actor, Control, Settings};
use freehold_inference::order::{Device, Order, Report};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::http::{self, App, Facts, Lanes};
use crate::options::Options;

/// What the CLI reads to find the process.
const SERVICE_FILE: &str = "service.json";
/// How long the usage of the last requests may take into the database at the end.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// How often small background work is done.
const UPKEEP: Duration = Duration::from_secs(15);
/// How long a worker may take to end once its streams have.
const WORKER_GRACE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct ServiceFile {
    pid: i32,
    /// When the process started, in the kernel's clock: a pid alone may be another process by now.
    started: String,
}

/// The service of a data folder, if one runs.
pub fn running(data: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data.join(SERVICE_FILE)).ok()?;
    let file: ServiceFile = serde_json::from_str(&text).ok()?;
    let is_alive = kill(Pid::from_raw(file.pid), None).is_ok() && start_time(file.pid).as_deref() == Some(file.started.as_str());
    is_alive.then_some(file.pid)
}

/// Field 22 of `/proc/PID/stat`, counted behind the name, which may hold anything.
fn start_time(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", options.listen))?;
    let address = base_url(listener.local_addr()?);
    let control = Control::open(settings(&options, &address)?, Arc::new(SystemClock)).with_context(|| "the service cannot start")?;
    let start = control.bootstrap(&address).await.map_err(|error| anyhow::anyhow!("{}", error.context.unwrap_or(error.message)))?;
    write_service_file(&options.data)?;
    let workers = Workers::new(worker_settings(&options, control.settings().memory_budget_bytes)?)?;
    let serving =
        Serving::new(control.clone(), workers, Duration::from_secs(options.deadline_s)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let shared: Arc<Serving> = Arc::new(serving.clone());
    control.attach(shared.clone(), shared);

    let (devices_found, devices) = watch::channel(Vec::new());
    let (stop, stopping) = watch::channel(false);
    let facts = Facts {
        address: address.clone(),
        started: Instant::now(),
        behind_proxy: options.behind_proxy,
        body_limit: usize::try_from(options.body_limit.0)?,
        devices,
        stopping,
    };
    let app = App::new(control.clone(), serving.clone(), facts);
    let mut on_stop = stop.subscribe();
    // Until everything else has ended: what a request started goes on where it was.
    let lanes = Arc::new(Lanes::start().context("the threads that serve connections cannot be started")?);
    let server = tokio::spawn(http::serve(listener, http::router(app), Arc::clone(&lanes), options.connections, async move {
        // An error means that the sender is gone, which is a stop too.
        let _stopped = on_stop.wait_for(|stopping| *stopping).await;
    }));
    tokio::spawn(find_devices(serving.clone(), devices_found));
    tokio::spawn(upkeep(control.clone()));
    tokio::spawn(invoices(control.clone()));
    let sender = control.clone();
    tokio::spawn(async move { sender.send_webhooks().await });
    greet(&control, &start, &address, &options).await?;
    let loading = serving.clone();
    tokio::spawn(async move {
        if let Err(error) = loading.load_pinned().await {
            tracing::error!(message = error.message, context = error.context, "the pinned models are not loaded");
        }
    });

    wait_for_signal().await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    end(server, &serving, Duration::from_secs(options.stop_grace_s)).await;
    if !tokio::time::timeout(SETTLE_PATIENCE, control.settle_usage()).await.unwrap_or(false) {
        tracing::warn!("some usage is not in the database yet; the next start takes it from the log");
    }
    if let Err(error) = control.write_key_uses().await {
        tracing::warn!(message = error.message, "the keys' last uses are not written");
    }
    if let Err(error) = std::fs::remove_file(options.data.join(SERVICE_FILE)) {
        tracing::debug!(%error, "the service file was gone");
    }
    drop(lanes);
    tracing::info!("stopped");
    Ok(())
}

/// Lets running answers end, then ends them, then the workers.
async fn end(mut server: tokio::task::JoinHandle<()>, serving: &Serving, grace: Duration) {
    const AFTER_THE_CUT: Duration = Duration::from_secs(2);
    if tokio::time::timeout(grace, &mut server).await.is_err() {
        tracing::warn!("answers are still running and are ended with an error");
        serving.cut();
        if tokio::time::timeout(AFTER_THE_CUT, &mut server).await.is_err() {
            tracing::warn!("some clients did not read the end of their answers");
            server.abort();
        }
    }
    serving.workers().shut_down().await;
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(())
}

fn base_url(address: SocketAddr) -> String {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{reachable}")
}

fn settings(options: &Options, address: &str) -> anyhow::Result<Settings> {
    let budget = options.memory_budget.0.map_or_else(free_for_models, |bytes| bytes.0);
    Ok(Settings {
        data_dir: options.data.clone(),
        memory_budget_bytes: budget,
        hf_endpoint: options.hf_endpoint.trim_end_matches('/').to_owned(),
        hf_token: options.hf_token.0.clone(),
        starter_file: std::env::var_os("FREEHOLD_STARTER_GGUF").map(Into::into),
        task_threads: options.threads.0,
        people: options.people(address)?,
        billing: options.billing(),
        storage: options.storage(),
    })
}

/// Three quarters of what is free at the start; a little when that cannot be known.
fn free_for_models() -> u64 {
    const WHEN_UNKNOWN: u64 = 2 << 30;
    freehold_models::memory::machine().map_or(WHEN_UNKNOWN, |memory| memory.available_bytes / 4 * 3)
}

fn worker_settings(options: &Options, memory_budget_bytes: u64) -> anyhow::Result<WorkerSettings> {
    Ok(WorkerSettings {
        program: std::env::current_exe().context("the program cannot find itself")?,
        arguments: worker_arguments(options),
        run_dir: workers::run_dir(&options.data, std::process::id()),
        memory_budget_bytes,
        idle_unload: (options.idle_unload_s > 0).then(|| Duration::from_secs(options.idle_unload_s)),
        context_tokens_max: options.context_tokens,
        sequences_max: options.sequences,
        queue_max: options.queue,
        threads: options.threads.0,
        gpu_layers: options.gpu_layers.0,
        deadline: Duration::from_secs(options.deadline_s),
        log_prompts: options.log_prompts,
        keep_spare: options.spare_worker,
        stop_grace: WORKER_GRACE,
    })
}

fn worker_arguments(options: &Options) -> Vec<String> {
    let mut arguments = vec!["worker".to_owned(), "--log-level".to_owned(), options.log_level.clone()];
    if options.log_json() {
        arguments.push("--log-json".to_owned());
    }
    arguments
}

fn write_service_file(data: &Path) -> anyhow::Result<()> {
    let pid = i32::try_from(std::process::id())?;
    let file = ServiceFile { pid, started: start_time(pid).unwrap_or_default() };
    std::fs::write(data.join(SERVICE_FILE), serde_json::to_vec(&file)?)
        .with_context(|| format!("{} cannot be written", data.join(SERVICE_FILE).display()))
}

async fn find_devices(serving: Serving, found: watch::Sender<Vec<Device>>) {
    match serving.workers().run_order(&Order::Devices, &|_| {}).await {
        Ok(Report::Devices(devices)) => {
            found.send_replace(devices);
        }
        Ok(_) => tracing::warn!("a worker did not list the devices"),
        Err(error) => tracing::warn!(message = error.message, "the devices are not known"),
    }
}

async fn upkeep(control: Control) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        if let Err(error) = control.write_key_uses().await {
            tracing::warn!(message = error.message, context = error.context, "the keys' last uses are not written");
        }
        if let Err(error) = control.keep_billing().await {
            tracing::warn!(message = error.message, context = error.context, "old usage is not forgotten");
        }
        if let Err(error) = control.forget_responses().await {
            tracing::warn!(message = error.message, context = error.context, "expired responses are not deleted");
        }
        if let Err(error) = control.forget_ended().await {
            tracing::warn!(message = error.message, context = error.context, "what has ended is not forgotten");
        }
    }
}

/// Issues the invoices of the months that are over.
async fn invoices(control: Control) {
    let mut tick = tokio::time::interval(UPKEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = control.run_due_invoices().await {
            tracing::error!(message = error.message, context = error.context, "the invoices of a month are not made; they are tried again");
        }
    }
}

/// Says on standard output where the service is and what to paste; fetches the starter model if there is no model.
async fn greet(control: &Control, start: &Start, address: &str, options: &Options) -> anyhow::Result<()> {
    let credentials = Credentials::read(&options.data)?
        .context("the service has no credentials.json; remove the data folder's database or restore the file")?;
    let operator = control.authenticate(&credentials.operator_key).await.map_err(|error| anyhow::anyhow!("credentials.json: {error}"))?;
    let model = ready_model(control, &operator, options).await?;
    print_welcome(address, &credentials, matches!(start, Start::First(_)), model.as_deref());
    Ok(())
}

/// The first model; fetched if there is none.
async fn ready_model(control: &Control, operator: &Actor, options: &Options) -> anyhow::Result<Option<String>> {
    let models = control.list_models(operator, &Default::default()).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    if let Some(model) = models.data.first() {
        return Ok(Some(model.name.to_string()));
    }
    if !options.starter {
        return Ok(None);
    }
    let new = NewModel { source: "starter".to_owned(), ..Default::default() };
    let operation = control.add_model(operator, new, None).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let bar = crate::cli::progress_bar();
    loop {
        let seen = control
            .wait_for_operation(operator, &operation.id.to_string(), Duration::from_millis(250))
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        bar.set_position(u64::from(seen.progress_permille));
        bar.set_message(format!("{}: {}", seen.subject, seen.step));
        if seen.has_ended() {
            bar.finish_and_clear();
            if let Some(error) = seen.error {
                tracing::warn!(
                    code = error.code,
                    message = error.message,
                    "the starter model could not be fetched; add a model with `freehold model add`"
                );
                return Ok(None);
            }
            return Ok(Some(seen.subject));
        }
    }
}

fn print_welcome(address: &str, credentials: &Credentials, first: bool, model: Option<&str>) {
    let model = model.unwrap_or("MODEL");
    let key = &credentials.key;
    let kept = if first { "made now, kept in credentials.json" } else { "kept in credentials.json" };
    crate::cli::say(&format!(
        r#"
Freehold is up.

  API and first page   {address}
  API key              {key}   ({kept})

Try it in another terminal:

  curl {address}/v1/chat/completions \
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'

or in Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{address}/v1", api_key="{key}")
  stream = client.chat.completions.create(model="{model}", stream=True,
      messages=[{{"role": "user", "content": "Why is the sky blue?"}}])
  for chunk in stream:
      print(chunk.choices[0].delta.content or "", end="", flush=True)

or talk with it: freehold chat. Stop the service with Ctrl-C or freehold down.
"#
    ));
}
