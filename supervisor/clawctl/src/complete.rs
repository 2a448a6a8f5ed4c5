//! Completion of agent names from the running supervisor, and of small values.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use claw_daemon::api::{AgentList, routes};
use claw_daemon::config;

use crate::client::Client;
use crate::commands::SHARED;
use crate::locate;

/// The names of the running agents that begin as typed. A shell that completes is told nothing
/// when nothing can be found out: an error there would only garble the line being typed.
pub(crate) fn agents(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let names = names().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.starts_with(typed))
        .map(CompletionCandidate::new)
        .collect()
}

/// As [`agents`], with what stands for the state that all of them share.
pub(crate) fn states(typed: &OsStr) -> Vec<CompletionCandidate> {
    let shared = typed
        .to_str()
        .is_some_and(|typed| SHARED.starts_with(typed));
    let shared = shared.then(|| CompletionCandidate::new(SHARED));
    agents(typed).into_iter().chain(shared).collect()
}

fn names() -> Option<Vec<String>> {
    let global = crate::args::Global {
        file: std::env::var_os("OPENCLAW_FILE").map(Into::into),
        host: std::env::var("OPENCLAW_HOST").ok(),
        output: crate::args::Output::Json,
    };
    let client = Client::new(locate::supervisor(&global).ok()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let list: AgentList = runtime.block_on(client.get(routes::AGENTS)).ok()?;
    Some(list.agents.into_iter().map(|agent| agent.name).collect())
}

/// A duration as in the fleet file.
///
/// # Errors
///
/// Says what is wrong with the text.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text)
}
