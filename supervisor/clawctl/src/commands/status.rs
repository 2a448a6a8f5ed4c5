//! `clawctl status`

use claw_daemon::api::{Agent, AgentList, LogLine, Named, State, routes};

use super::logs;
use crate::args::Output;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::agent::Around;
use crate::{print, render};

/// Log lines shown under one agent, as `systemctl status` does.
const LOG_LINES: u32 = 10;

/// The table of all agents.
///
/// # Errors
///
/// No supervisor answers.
pub(crate) async fn all(client: &Client, output: Output) -> Result<(), Failure> {
    let list: AgentList = client.get(routes::AGENTS).await?;
    match output {
        Output::Table if list.agents.is_empty() => print::line("the fleet has no agents"),
        Output::Table => print::line(&render::agent::list(&list.agents, jiff::Timestamp::now())),
        Output::Json | Output::Yaml => print::document(&list.agents, output),
    }
}

/// One agent in full; exits with 3 when it is not running.
///
/// # Errors
///
/// No supervisor answers, no such agent, or it is not running.
pub(crate) async fn one(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let named: Named = client
        .get(&super::goals::path(routes::AGENT, name)?)
        .await?;
    let agent = match named {
        Named::Agent(agent) => *agent,
        Named::Replicas(list) => return replicas(&list.agents, output),
    };
    match output {
        Output::Table => {
            let log = last_lines(client, name).await?;
            let denials = super::confine::denials(client, name).await?;
            let spent = super::llm::spent_today(client, name).await;
            let around = Around {
                log: &log,
                denial: denials.first(),
                spent: spent.as_deref(),
            };
            let now = jiff::Timestamp::now();
            print::line(&render::agent::one(&agent, &around, now))?;
        }
        Output::Json | Output::Yaml => print::document(&agent, output)?,
    }
    if is_up(&agent) {
        Ok(())
    } else {
        Err(Failure::silent(Exit::NotRunning))
    }
}

/// All replicas of one agent; exits with 3 when not all of them run.
fn replicas(agents: &[Agent], output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print::line(&render::agent::list(agents, jiff::Timestamp::now()))?,
        Output::Json | Output::Yaml => print::document(&agents, output)?,
    }
    if agents.iter().all(is_up) {
        Ok(())
    } else {
        Err(Failure::silent(Exit::NotRunning))
    }
}

const fn is_up(agent: &Agent) -> bool {
    match agent.state {
        State::Running | State::Initializing | State::Paused => true,
        State::Error | State::Stopping | State::Stopped => false,
    }
}

async fn last_lines(client: &Client, name: &str) -> Result<Vec<LogLine>, Failure> {
    let path = format!(
        "{}?tail={LOG_LINES}",
        super::goals::path(routes::LOGS, name)?
    );
    let mut lines = client.lines(&path, logs::NDJSON).await?;
    let mut found = Vec::new();
    while let Some(line) = lines.next().await? {
        found.extend(logs::parse(&line)?);
    }
    Ok(found)
}
