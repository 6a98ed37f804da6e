//! `freehold signup`, `login`, `logout`, `password`, `whoami`, and the session that `login` keeps.
//!
//! **Invariant:** a password is read from a terminal without being shown, or from standard input; it is never an
//! argument, never printed and never kept. What is kept, a session, is readable by the owner alone.

use std::fs;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Client, base_url};
use super::{Common, output};

/// Most bytes that are read as a password.
const PASSWORD_LEN_MAX: u64 = 4096;
const VERSION: u32 = 1;

/// What `login` keeps.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeptSession {
    version: u32,
    /// Where the service is.
    pub url: String,
    /// The session's token, as its cookie has it.
    pub session: String,
    /// What goes into `x-csrf-token`.
    pub csrf_token: String,
    /// The tenant that is acted for, if one was named.
    pub tenant: Option<String>,
}

/// How to sign up.
#[derive(Debug, clap::Args)]
pub struct SignupArgs {
    /// Your e-mail address
    email: String,
    /// What you are called
    #[arg(long)]
    name: Option<String>,
    /// The name that your tenant is to have
    #[arg(long)]
    tenant: Option<String>,
    /// An invite code
    #[arg(long, value_name = "CODE")]
    invite: Option<String>,
}

/// How to log in.
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// Your e-mail address
    email: String,
    /// The tenant to act for [default: your first]
    #[arg(long)]
    tenant: Option<String>,
}

fn path() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home().join(".config"), PathBuf::from);
    config.join("freehold/session.json")
}

/// The session that `login` kept, if there is one.
pub fn kept() -> Option<KeptSession> {
    let text = fs::read_to_string(path()).ok()?;
    serde_json::from_str::<KeptSession>(&text).ok().filter(|kept| kept.version == VERSION)
}

fn keep(session: &KeptSession) -> anyhow::Result<()> {
    let path = path();
    let folder = path.parent().context("no folder to keep the session in")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", serde_json::to_string_pretty(session)?)?;
    file.sync_all()?;
    fs::rename(&temporary, &path).with_context(|| format!("{} cannot be written", path.display()))
}

/// Reads a password: from a terminal without showing it, otherwise the first line of standard input.
pub fn read_password(prompt: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).context("the password cannot be read");
    }
    let mut line = String::new();
    std::io::stdin().lock().take(PASSWORD_LEN_MAX).read_line(&mut line).context("the password cannot be read")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("no password on standard input");
    }
    Ok(password)
}

/// Signs up.
pub async fn sign_up(common: &Common, args: SignupArgs) -> anyhow::Result<ExitCode> {
    let client = Client::anonymous(common)?;
    let password = read_password("Password (at least 10 characters): ")?;
    let mut body = json!({"email": args.email, "password": password});
    for (field, value) in [("name", args.name), ("tenant", args.tenant), ("invite", args.invite)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    let signed_up = client.post("/api/v1/signup", &body).await?;
    if client.json {
        output::json(&signed_up);
        return Ok(ExitCode::SUCCESS);
    }
    match signed_up["state"].as_str() {
        Some("verify") => output::note("A mail is on its way: open its link, type the password again there, then `freehold login`."),
        Some("waiting") => output::note("You are on the waiting list: the operator lets you in."),
        _ => output::note(&format!("Done: freehold login {}", output::cell(&signed_up["user"]["email"]))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs in and keeps the session.
pub async fn log_in(common: &Common, args: LoginArgs) -> anyhow::Result<ExitCode> {
    let client = Client::anonymous(common)?;
    let password = read_password("Password: ")?;
    let body = json!({"email": args.email, "password": password});
    let answer = client.send(Method::POST, "/api/v1/session", Some(&body)).await?;
    let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let session = cookies.filter_map(|cookie| cookie.split(';').next()?.strip_prefix("freehold_session=")).next().map(str::to_owned);
    let session = session.context("the service sent no session; is this a Freehold service?")?;
    let view: Value = answer.json().await.context("the service's answer is not JSON")?;
    if let Some(wanted) = &args.tenant {
        let mut tenants = view["tenants"].as_array().into_iter().flatten();
        if !tenants
            .any(|tenant| tenant["id"] == json!(wanted) || tenant["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
        {
            bail!("you are not in a tenant `{wanted}`");
        }
    }
    let csrf_token = view["csrf_token"].as_str().context("the service's answer has no csrf_token")?.to_owned();
    keep(&KeptSession { version: VERSION, url: base_url(common)?, session, csrf_token, tenant: args.tenant })?;
    if client.json {
        output::json(&json!({"user": view["user"], "tenants": view["tenants"], "expires_at": view["expires_at"]}));
    } else {
        output::note(&format!("Logged in as {} until {}.", output::cell(&view["user"]["email"]), output::moment(&view["expires_at"])));
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the kept session, or all of the user's.
pub async fn log_out(common: &Common, everywhere: bool) -> anyhow::Result<ExitCode> {
    let Some(session) = kept() else {
        output::note("You are not logged in.");
        return Ok(ExitCode::SUCCESS);
    };
    let client = Client::with_session(session, common.json)?;
    let ended = client.delete(if everywhere { "/api/v1/sessions" } else { "/api/v1/session" }).await;
    fs::remove_file(path()).with_context(|| format!("{} cannot be removed", path().display()))?;
    ended?;
    output::note("Logged out.");
    Ok(ExitCode::SUCCESS)
}

/// Sets a new password for who is logged in.
pub async fn change_password(common: &Common) -> anyhow::Result<ExitCode> {
    let session = kept().context("you are not logged in: freehold login EMAIL")?;
    let client = Client::with_session(session, common.json)?;
    let current = read_password("Password until now: ")?;
    let new = read_password("New password (at least 10 characters): ")?;
    if std::io::stdin().is_terminal() && read_password("The new password again: ")? != new {
        bail!("the two are not the same: nothing was changed");
    }
    client.send(Method::POST, "/api/v1/password/change", Some(&json!({"current": current, "new": new}))).await?;
    output::note("The password is new. Your other sessions have ended.");
    Ok(ExitCode::SUCCESS)
}

/// Says who the commands act as.
pub async fn whoami(client: &Client) -> anyhow::Result<ExitCode> {
    let who = client.get("/api/v1/whoami").await?;
    if client.json {
        output::json(&who);
        return Ok(ExitCode::SUCCESS);
    }
    let name = if who["email"].is_null() { &who["key"] } else { &who["email"] };
    let tenant = who["tenant_name"].as_str().map(|tenant| format!(" in {tenant}")).unwrap_or_default();
    output::line(&format!("{}, {}{tenant}", output::cell(name), output::cell(&who["role"])));
    Ok(ExitCode::SUCCESS)
}
