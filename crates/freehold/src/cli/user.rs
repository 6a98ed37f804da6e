//! `freehold user`, `invite`, `waiting` and `trail`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::login::read_password;
use super::output;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List the members of a tenant; for operators without --tenant, all users
    List {
        /// The tenant (operators only)
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Invite somebody to a tenant
    Invite {
        /// The e-mail address
        email: String,
        /// What the user is to be: owner, developer, billing or viewer
        #[arg(long, default_value = "developer")]
        role: String,
        /// The tenant (operators only)
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Give a member another role
    Role {
        /// Id or e-mail address
        user: String,
        /// owner, developer, billing or viewer
        role: String,
        /// The tenant (operators only)
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take a member out of a tenant; for operators without --tenant, remove the user
    Remove {
        /// Id or e-mail address
        user: String,
        /// The tenant (operators only)
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Make a user at once; the password is asked for, or read from standard input (operators only)
    Create {
        /// The e-mail address
        email: String,
        /// What the person is called
        #[arg(long)]
        name: Option<String>,
        /// Let the user manage the service
        #[arg(long)]
        operator: bool,
        /// The tenant that the user is to be in
        #[arg(long)]
        tenant: Option<String>,
        /// What the user is to be there
        #[arg(long, requires = "tenant")]
        role: Option<String>,
    },
    /// Set a user's password, which is asked for, or read from standard input (operators only)
    Password {
        /// Id or e-mail address
        user: String,
    },
}

/// What can be done with invite codes.
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Make an invite code; it is shown once
    Create {
        /// The e-mail address that it is for, which gets a mail
        #[arg(long)]
        email: Option<String>,
        /// How often it can be used
        #[arg(long)]
        uses: Option<u32>,
        /// Something to remember it by
        #[arg(long)]
        note: Option<String>,
    },
    /// List invitations
    List,
    /// Take an invitation back
    Remove {
        /// Its id (`ivt_...`)
        id: String,
    },
}

/// What can be done with the waiting list.
#[derive(Debug, Subcommand)]
pub enum WaitingCommand {
    /// List who waits, the next first
    List,
    /// Let somebody in
    Admit {
        /// The place's id (`wait_...`)
        id: String,
    },
    /// Take people off the list, and their accounts if they never verified an address
    Remove {
        /// The places' ids (`wait_...`)
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Which part of the trail to show.
#[derive(Debug, clap::Args)]
pub struct TrailArgs {
    /// The tenant (operators only)
    #[arg(long)]
    tenant: Option<String>,
    /// How many events
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

fn query(tenant: Option<&str>) -> String {
    tenant.map(|tenant| format!("?tenant={}", segment(tenant))).unwrap_or_default()
}

fn show(client: &Client, value: &Value, line: &str) {
    if client.json { output::json(value) } else { output::note(line) }
}

fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list["data"].as_array().into_iter().flatten().map(row).collect()
}

/// Runs the command.
pub async fn run(client: &Client, command: UserCommand) -> anyhow::Result<ExitCode> {
    match command {
        UserCommand::List { tenant } => list(client, tenant.as_deref()).await?,
        UserCommand::Invite { email, role, tenant } => {
            let mut body = json!({"email": email, "role": role});
            if let Some(tenant) = tenant {
                body["tenant"] = json!(tenant);
            }
            let made = client.post("/api/v1/users", &body).await?;
            show_invite(client, &made, &made["invite"]);
        }
        UserCommand::Role { user, role, tenant } => {
            let path = format!("/api/v1/users/{}{}", segment(&user), query(tenant.as_deref()));
            let changed = client.patch(&path, &json!({"role": role})).await?;
            show(client, &changed, &format!("{user} is {role} now."));
        }
        UserCommand::Remove { user, tenant } => {
            let removed = client.delete(&format!("/api/v1/users/{}{}", segment(&user), query(tenant.as_deref()))).await?;
            show(client, &removed, &format!("{user} is removed."));
        }
        UserCommand::Create { email, name, operator, tenant, role } => {
            let mut body = json!({"email": email, "password": read_password("Password for the new user: ")?, "operator": operator});
            for (field, value) in [("name", name), ("tenant", tenant), ("role", role)] {
                if let Some(value) = value {
                    body[field] = json!(value);
                }
            }
            let made = client.post("/api/v1/users", &body).await?;
            if client.json { output::json(&made) } else { output::line(&output::cell(&made["user"]["id"])) }
        }
        UserCommand::Password { user } => {
            let body = json!({"password": read_password("New password: ")?});
            let changed = client.patch(&format!("/api/v1/users/{}", segment(&user)), &body).await?;
            show(client, &changed, &format!("{user} has a new password and is logged out everywhere."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, tenant: Option<&str>) -> anyhow::Result<()> {
    let users = client.get(&format!("/api/v1/users{}", query(tenant))).await?;
    if client.json {
        output::json(&users);
        return Ok(());
    }
    let row = |user: &Value| {
        let role = if user["operator"] == json!(true) { "operator".to_owned() } else { output::cell(&user["role"]) };
        vec![
            output::cell(&user["id"]),
            output::cell(&user["email"]),
            output::cell(&user["name"]),
            role,
            output::cell(&user["verified"]),
            output::moment(&user["created_at"]),
            output::moment(&user["last_login_at"]),
        ]
    };
    output::table(&["id", "email", "name", "role", "verified", "since", "last login"], rows(&users, row));
    Ok(())
}

fn show_invite(client: &Client, answer: &Value, invite: &Value) {
    if client.json {
        output::json(answer);
        return;
    }
    if let Some(code) = invite["code"].as_str() {
        output::line(code);
    }
    let mailed =
        if invite["mailed"] == json!(true) { "A mail is on its way." } else { "Pass the code on: freehold signup EMAIL --invite CODE" };
    output::note(mailed);
}

/// Runs `freehold invite`.
pub async fn invite(client: &Client, command: InviteCommand) -> anyhow::Result<ExitCode> {
    match command {
        InviteCommand::Create { email, uses, note } => {
            let mut body = json!({});
            if let Some(email) = email {
                body["email"] = json!(email);
            }
            if let Some(uses) = uses {
                body["uses"] = json!(uses);
            }
            if let Some(note) = note {
                body["note"] = json!(note);
            }
            let made = client.post("/api/v1/invites", &body).await?;
            show_invite(client, &made, &made);
        }
        InviteCommand::List => {
            let invites = client.get("/api/v1/invites").await?;
            if client.json {
                output::json(&invites);
            } else {
                let row = |invite: &Value| {
                    vec![
                        output::cell(&invite["id"]),
                        output::cell(&invite["email"]),
                        output::cell(&invite["tenant"]),
                        output::cell(&invite["role"]),
                        format!("{} of {}", output::cell(&invite["uses"]), output::cell(&invite["uses_max"])),
                        output::moment(&invite["expires_at"]),
                        output::cell(&invite["note"]),
                    ]
                };
                output::table(&["id", "email", "tenant", "role", "used", "expires", "note"], rows(&invites, row));
            }
        }
        InviteCommand::Remove { id } => {
            let removed = client.delete(&format!("/api/v1/invites/{}", segment(&id))).await?;
            show(client, &removed, &format!("{id} is taken back."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `freehold waiting`.
pub async fn waiting(client: &Client, command: WaitingCommand) -> anyhow::Result<ExitCode> {
    match command {
        WaitingCommand::List => {
            let waiting = client.get("/api/v1/waiting").await?;
            if client.json {
                output::json(&waiting);
            } else {
                let row = |entry: &Value| {
                    vec![
                        output::cell(&entry["id"]),
                        output::cell(&entry["email"]),
                        output::cell(&entry["tenant_name"]),
                        output::moment(&entry["created_at"]),
                    ]
                };
                output::table(&["id", "email", "tenant", "since"], rows(&waiting, row));
            }
        }
        WaitingCommand::Admit { id } => {
            let admitted = client.post(&format!("/api/v1/waiting/{}/admit", segment(&id)), &json!({})).await?;
            show(client, &admitted, &format!("{} is in.", output::cell(&admitted["user"]["email"])));
        }
        WaitingCommand::Remove { ids } => {
            for id in ids {
                let removed = client.delete(&format!("/api/v1/waiting/{}", segment(&id))).await?;
                show(client, &removed, &format!("{id} is taken off the list."));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `freehold trail`.
pub async fn trail(client: &Client, args: TrailArgs) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant.map(|tenant| format!("&tenant={}", segment(&tenant))).unwrap_or_default();
    let events = client.get(&format!("/api/v1/trail?limit={}{tenant}", args.limit)).await?;
    if client.json {
        output::json(&events);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |event: &Value| {
        let by = &event["data"]["by"];
        let who = if by["email"].is_null() { &by["id"] } else { &by["email"] };
        vec![output::moment(&event["time"]), output::cell(&event["type"]), output::cell(&event["subject"]), output::cell(who)]
    };
    output::table(&["time", "what", "on", "by"], rows(&events, row));
    Ok(ExitCode::SUCCESS)
}
