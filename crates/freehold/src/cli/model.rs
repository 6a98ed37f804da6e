//! `freehold model`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::{operation, output};

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// List the models of this service; with --known, those that can be pulled by name
    List {
        /// List the catalogue of known models and whether they fit this machine
        #[arg(long)]
        known: bool,
    },
    /// Fetch a model: a name of the catalogue, `hf:owner/repo[:file]`, or `starter`
    Pull(AddArgs),
    /// Add a GGUF file of this machine, or with --upstream a model that another server serves
    Add {
        #[command(flatten)]
        args: AddArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a model
    Show {
        /// Its name
        name: String,
    },
    /// Remove a model and its files
    Remove {
        /// Its name
        name: String,
    },
    /// Keep a model loaded
    Pin {
        /// Its name
        name: String,
    },
    /// Let a model be unloaded when it is idle
    Unpin {
        /// Its name
        name: String,
    },
    /// Unload a model now; the next request loads it again
    Unload {
        /// Its name
        name: String,
    },
    /// Serve the original of an optimized or quantized model again, and remove what was made of it
    Revert {
        /// Its name
        name: String,
    },
    /// LoRA adapters of a model, used as `model:adapter`
    #[command(subcommand)]
    Adapter(AdapterCommand),
}

/// A model to be added.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Where it is; with --upstream, the name to serve it under
    source: String,
    /// Name to serve it under [default: from the file]
    #[arg(long)]
    name: Option<String>,
    /// Write it in another representation; reports size and perplexity before and after
    #[arg(long, value_name = "REPRESENTATION", conflicts_with = "optimize")]
    quantize: Option<Representation>,
    /// Try the representations on this machine and keep the fastest that is as good (perplexity within 0.5 %)
    #[arg(long)]
    optimize: bool,
    /// Keep the starter model as it is
    #[arg(long, conflicts_with_all = ["optimize", "quantize"])]
    no_optimize: bool,
    /// Add it even if it does not fit this machine's memory
    #[arg(long)]
    force: bool,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

/// A server that serves the model: vLLM, or any other with an API of OpenAI's shape.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Address of the server's API: `http://gpu1:8000/v1`
    #[arg(long, value_name = "URL", conflicts_with_all = ["name", "quantize", "optimize", "no_optimize", "force"])]
    upstream: Option<String>,
    /// The server's own name of the model [default: the only one that it has]
    #[arg(long, value_name = "ID", requires = "upstream")]
    upstream_model: Option<String>,
    /// File with the key to the server
    #[arg(long, value_name = "FILE", requires = "upstream", conflicts_with = "api_key_env")]
    api_key_file: Option<PathBuf>,
    /// Environment variable with the key to the server
    #[arg(long, value_name = "VARIABLE", requires = "upstream")]
    api_key_env: Option<String>,
    /// Longest prompt and answer together [default: what the server says]
    #[arg(long, value_name = "N", requires = "upstream")]
    context_tokens: Option<u32>,
    /// Who fulfils, as usage records name it [default: upstream]
    #[arg(long, value_name = "NAME", requires = "upstream")]
    provider: Option<String>,
    /// Most requests at the same time [default: 256]
    #[arg(long, value_name = "N", requires = "upstream")]
    parallel: Option<u32>,
    /// Most requests that wait for their turn [default: 1024]
    #[arg(long, value_name = "N", requires = "upstream")]
    queue: Option<u32>,
    /// File with certificates (PEM) that the server may be signed by, beside the public ones
    #[arg(long, value_name = "FILE", requires = "upstream")]
    ca_file: Option<PathBuf>,
    /// The server is vLLM: keep tenants' cached prefixes apart with `cache_salt`
    #[arg(long, requires = "upstream")]
    cache_salt: bool,
}

impl ServerArgs {
    /// The body's `upstream`, if a server is meant.
    fn body(&self) -> anyhow::Result<Option<Value>> {
        let Some(url) = &self.upstream else { return Ok(None) };
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
        let key = match (&self.api_key_file, &self.api_key_env) {
            (Some(path), _) => Some(read(path)?),
            (None, Some(name)) => Some(std::env::var(name).with_context(|| format!("the environment variable {name}"))?),
            (None, None) => None,
        };
        let mut body = json!({"url": url, "cache_salt": self.cache_salt});
        let values = [
            ("model", self.upstream_model.as_ref().map(|id| json!(id))),
            ("api_key", key.map(|key| json!(key.trim()))),
            ("context_tokens", self.context_tokens.map(|tokens| json!(tokens))),
            ("provider", self.provider.as_ref().map(|name| json!(name))),
            ("parallel_max", self.parallel.map(|count| json!(count))),
            ("queue_max", self.queue.map(|count| json!(count))),
            ("ca_pem", self.ca_file.as_ref().map(read).transpose()?.map(|pem| json!(pem))),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Ok(Some(body))
    }
}

/// How weights are written down.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Representation {
    /// 8.5 bits a weight
    #[value(name = "q8_0")]
    Q8_0,
    /// 4.5 bits a weight
    #[value(name = "q4_0")]
    Q4_0,
    /// About 4.8 bits a weight, mixed
    #[value(name = "q4_k_m")]
    Q4KM,
}

/// What can be done with adapters.
#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Add an adapter from a GGUF file
    Add {
        /// The model
        model: String,
        /// The adapter's name
        name: String,
        /// The file
        path: PathBuf,
    },
    /// List the adapters of a model
    List {
        /// The model
        model: String,
    },
    /// Remove an adapter
    Remove {
        /// The model
        model: String,
        /// The adapter's name
        name: String,
    },
}

/// Runs the command.
pub async fn run(client: &Client, command: ModelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::List { known: false } => list(client).await?,
        ModelCommand::List { known: true } => list_known(client).await?,
        ModelCommand::Pull(args) => add(client, args, false).await?,
        ModelCommand::Add { args, server } => match server.body()? {
            Some(upstream) => follow(client, args.detach, &json!({"name": args.source, "upstream": upstream})).await?,
            None => add(client, args, true).await?,
        },
        ModelCommand::Show { name } => show(client, &client.get(&path(&name)).await?),
        ModelCommand::Remove { name } => done(client, &client.delete(&path(&name)).await?, &format!("{name} is removed.")),
        ModelCommand::Pin { name } => {
            done(client, &client.patch(&path(&name), &json!({"pinned": true})).await?, &format!("{name} stays loaded."))
        }
        ModelCommand::Unpin { name } => {
            done(client, &client.patch(&path(&name), &json!({"pinned": false})).await?, &format!("{name} may be unloaded when idle."))
        }
        ModelCommand::Unload { name } => {
            done(client, &client.post(&format!("{}/unload", path(&name)), &json!({})).await?, &format!("{name} is unloaded."))
        }
        ModelCommand::Revert { name } => {
            let model = client.post(&format!("{}/revert", path(&name)), &json!({})).await?;
            done(client, &model, &format!("{name} is served as it came, in {}.", output::cell(&model["quantization"])));
        }
        ModelCommand::Adapter(command) => adapter(client, command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(name: &str) -> String {
    format!("/api/v1/models/{}", segment(name))
}

fn done(client: &Client, answer: &Value, text: &str) {
    if client.json { output::json(answer) } else { output::note(text) }
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let models = client.get("/api/v1/models").await?;
    if client.json {
        output::json(&models);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = models["data"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        output::note("No models yet. Fetch one: freehold model pull starter");
    } else {
        output::table(&["name", "parameters", "representation", "size", "context", "state", "licence"], rows);
    }
    Ok(())
}

fn row(model: &Value) -> Vec<String> {
    vec![
        output::cell(&model["name"]),
        parameters(&model["parameter_count"]),
        output::cell(&model["quantization"]),
        model["size_bytes"].as_u64().map_or_else(|| "-".to_owned(), output::bytes),
        output::cell(&model["context_length"]),
        output::cell(&model["state"]),
        output::cell(&model["licence"]),
    ]
}

fn parameters(count: &Value) -> String {
    match count.as_u64() {
        Some(count) if count >= 1_000_000_000 => format!("{}.{}B", count / 1_000_000_000, count / 100_000_000 % 10),
        Some(count) => format!("{}M", count / 1_000_000),
        None => "-".to_owned(),
    }
}

async fn list_known(client: &Client) -> anyhow::Result<()> {
    let known = client.get("/api/v1/catalogue").await?;
    if client.json {
        output::json(&known);
        return Ok(());
    }
    let row = |entry: &Value| {
        vec![
            output::cell(&entry["name"]),
            parameters(&entry["parameter_count"]),
            output::cell(&entry["context_length"]),
            output::bytes(entry["memory_bytes"].as_u64().unwrap_or_default()),
            if entry["fits"].as_bool() == Some(true) { "yes".to_owned() } else { "no".to_owned() },
            output::cell(&entry["licence"]),
        ]
    };
    output::table(
        &["name", "parameters", "context", "memory", "fits", "licence"],
        known["data"].as_array().into_iter().flatten().map(row).collect(),
    );
    Ok(())
}

async fn add(client: &Client, args: AddArgs, local: bool) -> anyhow::Result<()> {
    let source = if local { absolute(Path::new(&args.source))? } else { args.source };
    let mut body = json!({"source": source, "force": args.force});
    if let Some(name) = args.name {
        body["name"] = json!(name);
    }
    if let Some(representation) = args.quantize.and_then(|value| value.to_possible_value()) {
        body["quantize"] = json!(representation.get_name());
    }
    if args.optimize || args.no_optimize {
        body["optimize"] = json!(args.optimize);
    }
    follow(client, args.detach, &body).await
}

/// Asks for the model and waits for its end, unless that is not wanted.
async fn follow(client: &Client, detach: bool, body: &Value) -> anyhow::Result<()> {
    let started = client.post("/api/v1/models", body).await?;
    if detach {
        if client.json {
            output::json(&started)
        } else {
            output::line(&output::cell(&started["id"]))
        }
        return Ok(());
    }
    let operation = operation::follow(client, &started).await?;
    let model = &operation["result"];
    if client.json {
        output::json(model);
    } else {
        show(client, model);
        output::note(&format!("Try it: freehold chat {}", output::cell(&model["name"])));
    }
    Ok(())
}

/// The service opens the file, so the path must mean the same there as here.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let path = std::fs::canonicalize(path).with_context(|| format!("{} cannot be read", path.display()))?;
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is not UTF-8: rename the file", path.display()))
}

fn show(client: &Client, model: &Value) {
    if client.json {
        output::json(model);
        return;
    }
    let mut rows = Vec::new();
    for (key, value) in model.as_object().into_iter().flatten() {
        if key == "measurements" || value.is_null() {
            continue;
        }
        if let Some(server) = value.as_object() {
            rows.extend(server.iter().map(|(name, value)| vec![format!("{key} {}", name.replace('_', " ")), output::cell(value)]));
            continue;
        }
        let text = if key.ends_with("_bytes") { output::bytes(value.as_u64().unwrap_or_default()) } else { output::cell(value) };
        rows.push(vec![key.replace('_', " "), text]);
    }
    output::table(&["", ""], rows);
    let measurements = model["measurements"].as_array().cloned().unwrap_or_default();
    if !measurements.is_empty() {
        let row = |measured: &Value| {
            let number =
                |key: &str, digits: usize| measured[key].as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
            vec![
                output::cell(&measured["name"]),
                output::bytes(measured["bytes"].as_u64().unwrap_or_default()),
                number("perplexity", 3),
                number("decode_tokens_per_s", 0),
                number("prompt_tokens_per_s", 0),
            ]
        };
        output::line("");
        output::table(&["measured", "size", "perplexity", "decode tok/s", "prompt tok/s"], measurements.iter().map(row).collect());
    }
}

async fn adapter(client: &Client, command: AdapterCommand) -> anyhow::Result<()> {
    match command {
        AdapterCommand::Add { model, name, path: file } => {
            let added = client.post(&format!("{}/adapters", path(&model)), &json!({"name": name, "path": absolute(&file)?})).await?;
            done(client, &added, &format!("Use it as {model}:{name}"));
        }
        AdapterCommand::List { model } => {
            let adapters = client.get(&format!("{}/adapters", path(&model))).await?;
            if client.json {
                output::json(&adapters);
            } else {
                let row = |adapter: &Value| {
                    vec![output::cell(&adapter["name"]), output::bytes(adapter["size_bytes"].as_u64().unwrap_or_default())]
                };
                output::table(&["name", "size"], adapters["data"].as_array().into_iter().flatten().map(row).collect());
            }
        }
        AdapterCommand::Remove { model, name } => {
            let removed = client.delete(&format!("{}/adapters/{}", path(&model), segment(&name))).await?;
            done(client, &removed, &format!("{model}:{name} is removed."));
        }
    }
    Ok(())
}
