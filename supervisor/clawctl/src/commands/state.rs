//! `clawctl state`

use std::fmt::Write;
use std::time::Duration;

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::api::{
    Rollback, StateChange, StateDiff, StateKeyList, StateVersion, StateVersionList, StateWritten,
    routes,
};
use http::Method;
use owo_colors::OwoColorize;

use super::payload;
use crate::args::Output;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::table;
use crate::render::time::stamp;
use crate::{complete, print};

/// Stands for the state that agents share; no agent can have that name.
pub(crate) const SHARED: &str = "@shared";

/// What to do with an agent's state; `@shared` is the state that all agents share.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// The keys, with version and size
    List {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// Only keys that begin so
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// Print the value of a key, as JSON
    Get {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// Which
        key: String,
        /// As of this version
        #[arg(long, value_name = "VERSION")]
        at: Option<u64>,
    },
    /// Set a key
    Set {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// Which
        key: String,
        /// JSON, or `@FILE`, or `@-` for standard input
        value: String,
        /// It disappears after so long, such as `1h`
        #[arg(long, value_parser = complete::duration)]
        ttl: Option<Duration>,
        /// Only if the key is at this version; 0 if it must not exist
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// Delete a key
    Delete {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// Which
        key: String,
    },
    /// The kept versions, newest first
    Versions {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// Also those that nothing marks as worth keeping
        #[arg(long)]
        all: bool,
    },
    /// What differs between two versions
    Diff {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// The older version
        from: u64,
        /// The newer one [default: the newest]
        to: Option<u64>,
    },
    /// Put the content of an older version back, as a new version
    Rollback {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// The version
        to: u64,
    },
    /// Print all keys and values, for `import`
    Export {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// As of this version
        #[arg(long, value_name = "VERSION")]
        at: Option<u64>,
    },
    /// Replace the state by an exported one
    Import {
        /// Whose, or `@shared`
        #[arg(add = ArgValueCompleter::new(complete::states))]
        agent: String,
        /// The export: `@FILE`, or `@-` for standard input
        #[arg(default_value = "@-")]
        export: String,
    },
}

/// Reads or changes the state of an agent.
///
/// # Errors
///
/// No supervisor answers, no such agent or key, or the change is refused.
pub(crate) async fn run(
    client: &Client,
    command: &StateCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        StateCommand::List { agent, prefix } => list(client, agent, prefix, output).await,
        StateCommand::Get { agent, key, at } => {
            let path = with_version(key_path(agent, key)?, *at);
            let value = client.text(Method::GET, &path, None).await?;
            print::line(&value)
        }
        StateCommand::Set { .. } => set(client, command).await,
        StateCommand::Delete { agent, key } => {
            let path = key_path(agent, key)?;
            client.text(Method::DELETE, &path, None).await.map(drop)
        }
        StateCommand::Versions { agent, all } => {
            let path = format!("{}?all={all}", path(routes::STATE_VERSIONS, agent)?);
            let mut found = Vec::new();
            let mut before = String::new();
            loop {
                let list: StateVersionList = client.get(&format!("{path}{before}")).await?;
                found.extend(list.versions);
                match list.next {
                    Some(next) => before = format!("&before={next}"),
                    None => break,
                }
            }
            match output {
                Output::Table => print::line(&versions(&found)),
                Output::Json | Output::Yaml => print::document(&found, output),
            }
        }
        StateCommand::Diff { agent, from, to } => diff(client, agent, (*from, *to), output).await,
        StateCommand::Rollback { agent, to } => {
            let body = serde_json::to_string(&Rollback { to: *to });
            let body = body.map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
            let path = path(routes::STATE_ROLLBACK, agent)?;
            written(client.post(&path, Some(body)).await?)
        }
        StateCommand::Export { agent, at } => {
            let path = with_version(path(routes::STATE_EXPORT, agent)?, *at);
            print::line(&client.text(Method::GET, &path, None).await?)
        }
        StateCommand::Import { agent, export } => {
            let path = path(routes::STATE_IMPORT, agent)?;
            written(client.post(&path, Some(payload::read(export)?)).await?)
        }
    }
}

async fn list(client: &Client, agent: &str, prefix: &str, output: Output) -> Result<(), Failure> {
    let path = path(routes::STATE, agent)?;
    let path = format!("{path}?prefix={}", encoded(prefix));
    let mut list: StateKeyList = client.get(&path).await?;
    while let Some(after) = list.next.take() {
        let page = format!("{path}&after={}", encoded(&after));
        let page: StateKeyList = client.get(&page).await?;
        list.keys.extend(page.keys);
        list.next = page.next;
    }
    if output != Output::Table {
        return print::document(&list, output);
    }
    let mut rows = table::with_head(&["Key", "Version", "Bytes", "Expires"]);
    for key in &list.keys {
        rows.add_row([
            key.key.clone(),
            key.version.to_string(),
            key.bytes.to_string(),
            key.expires_at.map_or_else(|| "-".to_owned(), stamp),
        ]);
    }
    print::line(&table::text(&rows))
}

async fn diff(
    client: &Client,
    agent: &str,
    (from, to): (u64, Option<u64>),
    output: Output,
) -> Result<(), Failure> {
    let mut path = format!("{}?from={from}", path(routes::STATE_DIFF, agent)?);
    if let Some(to) = to {
        path = format!("{path}&to={to}");
    }
    let mut diff: StateDiff = client.get(&path).await?;
    while let Some(after) = diff.next.take() {
        let page = format!("{path}&after={}", encoded(&after));
        let page: StateDiff = client.get(&page).await?;
        diff.changes.extend(page.changes);
        diff.next = page.next;
    }
    match output {
        Output::Table => diff.changes.iter().try_for_each(change),
        Output::Json | Output::Yaml => print::document(&diff.changes, output),
    }
}

async fn set(client: &Client, command: &StateCommand) -> Result<(), Failure> {
    let StateCommand::Set {
        agent,
        key,
        value,
        ttl,
        if_version,
    } = command
    else {
        return Ok(());
    };
    let mut path = key_path(agent, key)?;
    if let Some(ttl) = ttl {
        path = format!("{path}?ttl={}ms", ttl.as_millis());
    }
    let condition = if_version.map(|version| match version {
        0 => ("if-none-match", "*".to_owned()),
        version => ("if-match", format!("\"{version}\"")),
    });
    let value = payload::read(value)?;
    client.put(&path, value, condition).await.map(drop)
}

fn written(written: StateWritten) -> Result<(), Failure> {
    print::line(&format!("version {}", written.version))
}

fn versions(versions: &[StateVersion]) -> String {
    let mut rows = table::with_head(&[
        "Version", "When", "Kind", "Mark", "Keys", "Bytes", "Writer", "Work",
    ]);
    for version in versions {
        rows.add_row([
            version.version.to_string(),
            stamp(version.at),
            version.kind.clone(),
            version.mark.clone(),
            version.keys.to_string(),
            version.bytes.to_string(),
            version.writer.clone(),
            version.work.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table::text(&rows)
}

fn change(change: &StateChange) -> Result<(), Failure> {
    if let Some(before) = &change.before {
        let line = format!("- {} {}", change.key, payload::shown(before));
        print::line(&line.red().to_string())?;
    }
    if let Some(after) = &change.after {
        let line = format!("+ {} {}", change.key, payload::shown(after));
        print::line(&line.green().to_string())?;
    }
    Ok(())
}

fn path(route: &str, agent: &str) -> Result<String, Failure> {
    if agent == SHARED {
        return Ok(routes::for_shared(route));
    }
    super::goals::path(route, agent)
}

fn with_version(path: String, version: Option<u64>) -> String {
    match version {
        Some(version) => format!("{path}?version={version}"),
        None => path,
    }
}

fn key_path(agent: &str, key: &str) -> Result<String, Failure> {
    Ok(path(routes::STATE_KEY, agent)?.replace("{key}", &encoded(key)))
}

/// Percent-encodes every byte but letters and digits: a key named like a path of the history, such
/// as `versions`, would be taken for it, so its first byte is encoded too.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for (place, byte) in text.bytes().enumerate() {
        if place > 0 && byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}
