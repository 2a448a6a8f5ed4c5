//! `clawctl agent`: what a program says to the supervisor from inside of an agent.
//!
//! For agents that are no programs of an SDK: it speaks the Agent Protocol over `$OPENCLAW_SOCK`,
//! in the name of the agent in which it runs.

use std::time::Duration;

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::payload;
use super::state::encoded;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::locate::Target;
use crate::{complete, print};

/// What to do in the name of the agent.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Its own state
    State {
        /// What to do
        #[command(subcommand)]
        command: OwnStateCommand,
    },
    /// Publish an event
    Emit {
        /// Its name, such as `data_collected`
        name: String,
        /// Its data: JSON, or `@FILE`, or `@-` for standard input
        #[arg(short, long, value_name = "JSON")]
        data: Option<String>,
        /// What order and sharding go by
        #[arg(long)]
        key: Option<String>,
    },
    /// Runs and events to work on
    Work {
        /// What to do
        #[command(subcommand)]
        command: WorkCommand,
    },
}

/// What to do with the agent's own state.
#[derive(Debug, Subcommand)]
pub(crate) enum OwnStateCommand {
    /// Print the value of a key, as JSON
    Get {
        /// Which
        key: String,
    },
    /// Set a key
    Set {
        /// Which
        key: String,
        /// JSON, or `@FILE`, or `@-` for standard input
        value: String,
        /// It disappears after so long, such as `1h`
        #[arg(long, value_parser = complete::duration)]
        ttl: Option<Duration>,
    },
    /// Delete a key
    Delete {
        /// Which
        key: String,
    },
    /// Print the keys, one a line
    List {
        /// Only keys that begin so
        #[arg(long, default_value = "")]
        prefix: String,
    },
}

/// What to do with work.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkCommand {
    /// Wait for a piece of work and print it as JSON; exit with 7 if there is none
    Next {
        /// How long, such as `30s`
        #[arg(short, long, value_parser = complete::duration, default_value = "30s")]
        wait: Duration,
    },
    /// Report that a piece of work is done
    Done {
        /// Its id
        work: String,
        /// Which attempt it was
        #[arg(long)]
        attempt: u32,
        /// What came of it: JSON, or `@FILE`, or `@-` for standard input
        #[arg(long, value_name = "JSON")]
        result: Option<String>,
    },
    /// Report that a piece of work has failed
    Fail {
        /// Its id
        work: String,
        /// Which attempt it was
        #[arg(long)]
        attempt: u32,
        /// Why
        message: String,
        /// No other attempt can help
        #[arg(long)]
        fatal: bool,
    },
}

/// Speaks for the agent in which this process runs.
///
/// # Errors
///
/// This is no agent, or the supervisor refuses.
pub(crate) async fn run(command: &AgentCommand) -> Result<(), Failure> {
    let client = client()?;
    match command {
        AgentCommand::State { command } => state(&client, command).await,
        AgentCommand::Emit { name, data, key } => {
            let data = data.as_deref().map(payload::raw).transpose()?;
            let body = json!({"name": name, "data": data, "key": key}).to_string();
            let answer = client.text(Method::POST, "/v1/events", Some(body)).await?;
            print::line(&answer)
        }
        AgentCommand::Work { command } => work(&client, command).await,
    }
}

fn client() -> Result<Client, Failure> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_unset| {
            Failure::new(Exit::Usage, format!("${name} is not set: this is no agent"))
                .hint("`clawctl agent` is for programs that the supervisor has started")
        })
    };
    let (socket, token) = (variable("OPENCLAW_SOCK")?, variable("OPENCLAW_TOKEN")?);
    Ok(Client::of_agent(Target::Socket(socket.into()), token))
}

async fn state(client: &Client, command: &OwnStateCommand) -> Result<(), Failure> {
    let path = |key: &str| format!("/v1/state/{}", encoded(key));
    match command {
        OwnStateCommand::Get { key } => {
            print::line(&client.text(Method::GET, &path(key), None).await?)
        }
        OwnStateCommand::Set { key, value, ttl } => {
            let mut path = path(key);
            if let Some(ttl) = ttl {
                path = format!("{path}?ttl_ms={}", ttl.as_millis());
            }
            let value = payload::read(value)?;
            client.put(&path, value, None).await.map(drop)
        }
        OwnStateCommand::Delete { key } => client
            .text(Method::DELETE, &path(key), None)
            .await
            .map(drop),
        OwnStateCommand::List { prefix } => keys(client, prefix).await,
    }
}

async fn keys(client: &Client, prefix: &str) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        let (prefix, place) = (encoded(prefix), encoded(&after));
        let path = format!("/v1/state?prefix={prefix}&after={place}&limit=1000");
        let page: serde_json::Value = client.get(&path).await?;
        for key in page["keys"].as_array().into_iter().flatten() {
            print::line(key["key"].as_str().unwrap_or_default())?;
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(()),
        }
    }
}

async fn work(client: &Client, command: &WorkCommand) -> Result<(), Failure> {
    let (id, body) = match command {
        WorkCommand::Next { wait } => return next(client, *wait).await,
        WorkCommand::Done {
            work,
            attempt,
            result,
        } => {
            let result = result.as_deref().map(payload::raw).transpose()?;
            (
                work,
                json!({"attempt": attempt, "ok": true, "result": result}),
            )
        }
        WorkCommand::Fail {
            work,
            attempt,
            message,
            fatal,
        } => {
            let error = json!({"type": "Error", "message": message, "retryable": !fatal});
            (
                work,
                json!({"attempt": attempt, "ok": false, "error": error}),
            )
        }
    };
    let path = format!("/v1/work/{}/done", encoded(id));
    let body = Some(body.to_string());
    client.text(Method::POST, &path, body).await.map(drop)
}

async fn next(client: &Client, wait: Duration) -> Result<(), Failure> {
    let path = format!("/v1/work?wait={}&max=1", wait.as_secs().min(60));
    let items = client.text(Method::GET, &path, None).await?;
    if items.is_empty() {
        return Err(Failure::silent(Exit::TimedOut));
    }
    let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&items)
        .map_err(|error| Failure::new(Exit::Failed, format!("not a list of work: {error}")))?;
    items.iter().try_for_each(|item| print::line(item.get()))
}
