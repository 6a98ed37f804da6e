//! `freehold chat` and `freehold complete`.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};
use freehold_dialects::canonical::ChatEvent;
use freehold_dialects::openai::chat::StreamDecoder;
use reqwest::Method;
use rustyline::error::ReadlineError;
use serde_json::{Value, json};

use super::client::{Client, data_dir};
use super::{Common, output};

const HELP: &str = "\
/new            start over
/system TEXT    give the model instructions, and start over
/model NAME     talk with another model
/models         list the models
/undo           take back the last question and answer
/help           this list
/exit           leave (or Ctrl-D)
Ctrl-C stops an answer.";

/// How tokens are chosen.
#[derive(Debug, clap::Args)]
pub struct SamplingArgs {
    /// 0 always takes the likeliest token; up to 2
    #[arg(long)]
    temperature: Option<f32>,
    /// Most tokens of an answer
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<u32>,
    /// Same seed, same answer
    #[arg(long)]
    seed: Option<u64>,
}

/// How to talk.
#[derive(Debug, clap::Args)]
pub struct ChatArgs {
    /// The model, or `model:adapter` [default: the only one, or the first]
    model: Option<String>,
    /// Ask this and end
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// What to continue.
#[derive(Debug, clap::Args)]
pub struct CompleteArgs {
    /// The text; standard input when not given
    prompt: Option<String>,
    /// The model [default: the only one, or the first]
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Talks until the person leaves, or asks one question.
pub async fn chat(common: &Common, args: ChatArgs) -> anyhow::Result<ExitCode> {
    let client = Client::tenant(common)?;
    let model = choose_model(&client, args.model).await?;
    let mut talk = Talk { client, model, system: args.system, messages: Vec::new(), sampling: args.sampling };
    let question = match args.message {
        Some(message) => Some(message),
        None if !std::io::stdin().is_terminal() => Some(read_stdin()?),
        None => None,
    };
    match question {
        Some(question) => talk.ask_once(&question).await?,
        None => talk.converse(common).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Continues a text.
pub async fn complete(client: &Client, args: CompleteArgs) -> anyhow::Result<ExitCode> {
    let prompt = match args.prompt {
        Some(prompt) => prompt,
        None => read_stdin()?,
    };
    let model = choose_model(client, args.model).await?;
    let mut body = json!({"model": model, "prompt": prompt, "max_tokens": 256});
    set_sampling(&mut body, &args.sampling);
    if client.json {
        output::json(&client.post("/v1/completions", &body).await?);
        return Ok(ExitCode::SUCCESS);
    }
    set_streaming(&mut body);
    let mut answer = client.send(Method::POST, "/v1/completions", Some(&body)).await?;
    let mut decoder = freehold_dialects::openai::completions::StreamDecoder::new();
    let mut events = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
        decoder.push(&chunk, &mut events);
        for event in events.drain(..) {
            show(&event)?;
        }
    }
    output::line("");
    Ok(ExitCode::SUCCESS)
}

fn show(event: &ChatEvent) -> anyhow::Result<()> {
    match event {
        ChatEvent::Text { text, .. } => output::write_out(text),
        ChatEvent::ToolCallStart { name, .. } => output::write_out(&format!("\n[calls {name}] ")),
        ChatEvent::ToolCallArguments { fragment, .. } => output::write_out(fragment),
        ChatEvent::Error(error) => bail!("{}", error.message),
        ChatEvent::Start | ChatEvent::Finish { .. } | ChatEvent::Usage(_) => {}
    }
    Ok(())
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input is not UTF-8 text")?;
    if text.trim().is_empty() {
        bail!("there is nothing to send: give a text, or pipe one in");
    }
    Ok(text)
}

async fn choose_model(client: &Client, named: Option<String>) -> anyhow::Result<String> {
    if let Some(name) = named {
        return Ok(name);
    }
    let models = client.get("/v1/models").await?;
    match models["data"][0]["id"].as_str() {
        Some(name) => Ok(name.to_owned()),
        None => bail!("this service has no model yet. Fetch one: freehold model pull starter"),
    }
}

/// The account at the end is what tells a whole answer from one that broke off.
fn set_streaming(body: &mut Value) {
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
}

fn set_sampling(body: &mut Value, sampling: &SamplingArgs) {
    if let Some(temperature) = sampling.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(max_tokens) = sampling.max_tokens {
        body["max_tokens"] = json!(max_tokens);
    }
    if let Some(seed) = sampling.seed {
        body["seed"] = json!(seed);
    }
}

/// A conversation.
struct Talk {
    client: Client,
    model: String,
    system: Option<String>,
    messages: Vec<Value>,
    sampling: SamplingArgs,
}

impl Talk {
    async fn ask_once(&mut self, question: &str) -> anyhow::Result<()> {
        if self.client.json {
            let body = self.body(question);
            output::json(&self.client.post("/v1/chat/completions", &body).await?);
        } else {
            self.ask(question).await?;
        }
        Ok(())
    }

    async fn converse(&mut self, common: &Common) -> anyhow::Result<()> {
        let mut editor = rustyline::DefaultEditor::new()?;
        let history = data_dir(common).join("chat-history");
        if let Err(error) = editor.load_history(&history)
            && history.exists()
        {
            output::note(&format!("The history cannot be read: {error}"));
        }
        output::note(&format!("You talk with {}. /help lists what you can do.", self.model));
        loop {
            match editor.readline("> ") {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => {
                    editor.add_history_entry(&line)?;
                    match line.trim().strip_prefix('/') {
                        Some(command) => {
                            if !self.command(command).await? {
                                break;
                            }
                        }
                        None => {
                            if let Err(error) = self.ask(&line).await {
                                output::note(&format!("error: {error:#}"));
                            }
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => output::note("/exit or Ctrl-D to leave"),
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if let Err(error) = editor.save_history(&history) {
            output::note(&format!("The history cannot be kept: {error}"));
        }
        Ok(())
    }

    /// Carries out a command; false ends the conversation.
    async fn command(&mut self, command: &str) -> anyhow::Result<bool> {
        let (name, rest) = command.split_once(' ').map_or((command, ""), |(name, rest)| (name, rest.trim()));
        match (name, rest) {
            ("exit" | "quit" | "bye", _) => return Ok(false),
            ("help", _) => output::note(HELP),
            ("new", _) => self.messages.clear(),
            ("system", "") => output::note(self.system.as_deref().unwrap_or("No instructions are set. Set some: /system TEXT")),
            ("system", text) => {
                self.system = Some(text.to_owned());
                self.messages.clear();
            }
            ("model", "") => output::note(&self.model),
            ("model", model) => self.model = model.to_owned(),
            ("undo", _) => self.messages.truncate(self.messages.len().saturating_sub(2)),
            ("models", _) => {
                let models = self.client.get("/v1/models").await?;
                for model in models["data"].as_array().into_iter().flatten() {
                    output::note(&output::cell(&model["id"]));
                }
            }
            (other, _) => output::note(&format!("There is no /{other}. /help lists what you can do.")),
        }
        Ok(true)
    }

    fn body(&self, question: &str) -> Value {
        let mut messages: Vec<Value> = self.system.iter().map(|text| json!({"role": "system", "content": text})).collect();
        messages.extend(self.messages.iter().cloned());
        messages.push(json!({"role": "user", "content": question}));
        let mut body = json!({"model": self.model, "messages": messages});
        set_sampling(&mut body, &self.sampling);
        body
    }

    /// Asks and shows the answer as it comes; keeps both when the answer is whole or was stopped by the person.
    async fn ask(&mut self, question: &str) -> anyhow::Result<()> {
        let mut body = self.body(question);
        set_streaming(&mut body);
        let mut answer = self.client.send(Method::POST, "/v1/chat/completions", Some(&body)).await?;
        let mut decoder = StreamDecoder::new();
        let mut events = Vec::new();
        let mut text = String::new();
        loop {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk.context("the answer broke off")?,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    None
                }
            };
            let Some(chunk) = chunk else { break };
            decoder.push(&chunk, &mut events);
            for event in events.drain(..) {
                show(&event)?;
                if let ChatEvent::Text { text: piece, .. } = &event {
                    text.push_str(piece);
                }
            }
        }
        output::line("");
        self.messages.push(json!({"role": "user", "content": question}));
        self.messages.push(json!({"role": "assistant", "content": text}));
        Ok(())
    }
}
