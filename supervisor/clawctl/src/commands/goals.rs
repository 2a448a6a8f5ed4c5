//! `clawctl start|stop|restart|pause|resume`

use claw_core::AgentName;
use claw_daemon::api::{AgentList, Named, routes};
use futures_util::future::join_all;
use globset::Glob;

use crate::args::Agents;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::style::{of_state, paint};

/// What is wanted of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `restart`
    Restart,
    /// `pause`
    Pause,
    /// `pause --freeze`
    Freeze,
    /// `resume`
    Resume,
}

impl Goal {
    const fn route(self) -> &'static str {
        match self {
            Self::Start => routes::START,
            Self::Stop => routes::STOP,
            Self::Restart => routes::RESTART,
            Self::Pause | Self::Freeze => routes::PAUSE,
            Self::Resume => routes::RESUME,
        }
    }

    /// A stop is waited for, because what follows it usually relies on it.
    const fn query(self) -> &'static str {
        match self {
            Self::Stop => "?wait=1h",
            Self::Freeze => "?freeze=true",
            Self::Start | Self::Restart | Self::Pause | Self::Resume => "",
        }
    }
}

/// Asks it of every agent named, all at once, and says of each what came of it.
///
/// # Errors
///
/// The first failure, after all were asked.
pub(crate) async fn run(client: &Client, goal: Goal, agents: &Agents) -> Result<(), Failure> {
    let names = selected(client, agents).await?;
    let asked = names.iter().map(|name| ask(client, goal, name));
    let mut first_failure = None;
    for result in join_all(asked).await {
        match result {
            Ok(named) => {
                for agent in named.into_agents() {
                    let state = paint(agent.state.as_str(), of_state(agent.state));
                    print::line(&format!("{}: {state} ({})", agent.name, agent.reason.text))?;
                }
            }
            Err(failure) => {
                print::failure(&failure);
                let exit = failure.exit;
                first_failure.get_or_insert_with(|| Failure::silent(exit));
            }
        }
    }
    first_failure.map_or(Ok(()), Err)
}

async fn ask(client: &Client, goal: Goal, name: &str) -> Result<Named, Failure> {
    let path = format!("{}{}", path(goal.route(), name)?, goal.query());
    client.post(&path, None).await
}

/// The names that a command line picks: those it gives, or all that match.
///
/// # Errors
///
/// Nobody matches, or no supervisor answers.
pub(super) async fn selected(client: &Client, agents: &Agents) -> Result<Vec<String>, Failure> {
    if !agents.all && agents.matching.is_none() {
        return Ok(agents.names.clone());
    }
    let list: AgentList = client.get(routes::AGENTS).await?;
    let names = list.agents.into_iter().map(|agent| agent.name);
    let Some(pattern) = &agents.matching else {
        return Ok(names.collect());
    };
    let glob = Glob::new(pattern)
        .map_err(|error| Failure::new(Exit::Usage, format!("not a pattern: {error}")))?
        .compile_matcher();
    let found: Vec<String> = names.filter(|name| glob.is_match(name)).collect();
    if found.is_empty() {
        return Err(Failure::new(
            Exit::NoSuchAgent,
            format!("no agent matches `{pattern}`"),
        ));
    }
    Ok(found)
}

/// The path of a route for an agent whose name came from the command line.
///
/// # Errors
///
/// The text cannot be an agent's name.
pub(crate) fn path(route: &str, name: &str) -> Result<String, Failure> {
    let name: AgentName = name.parse().map_err(|error| {
        Failure::new(
            Exit::NoSuchAgent,
            format!("`{name}` names no agent: {error}"),
        )
    })?;
    Ok(routes::for_agent(route, &name))
}
