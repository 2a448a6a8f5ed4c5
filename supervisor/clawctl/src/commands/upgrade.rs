//! `clawctl upgrade`, and `check-data`, which it asks of an executable.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use claw_daemon::api::{AgentList, Health, UpgradeBegun, UpgradeRequest, routes};
use claw_daemon::upgrade::check_data;
use claw_drivers::process::Outcome;
use http::Method;
use serde::Serialize;

use crate::args::{Output, Upgrade};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::{print, wait};

/// What the supervisor may take to end, beside what both executables may take to come up. It waits
/// for nobody, but its disk may be slow.
const ENDING: Duration = Duration::from_secs(60);

/// What the old executable may take at least, if it has to come up again.
const WAY_BACK: Duration = Duration::from_secs(60);

/// What an upgrade came to, for programs.
#[derive(Debug, Serialize)]
struct Report {
    from: String,
    to: String,
    pid: u32,
    agents: Vec<Passed>,
}

/// An agent that had a process before.
#[derive(Debug, Serialize)]
struct Passed {
    name: String,
    pid_before: u32,
    /// None if it has no process now.
    pid_after: Option<u32>,
    /// Why it needs a restart, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_restart: Option<String>,
}

/// Gives the place of the running supervisor to another executable, and says which agents have
/// gone on.
///
/// # Errors
///
/// No supervisor answers, it refuses, or the old one had to be started again.
pub(crate) async fn run(client: &Client, upgrade: &Upgrade, output: Output) -> Result<(), Failure> {
    let binary = std::fs::canonicalize(&upgrade.binary).map_err(|error| {
        let binary = upgrade.binary.display();
        Failure::new(Exit::Refused, format!("{binary} cannot be used: {error}"))
    })?;
    let before: Health = client.get(routes::HEALTH).await?;
    let processes = processes(client).await?;
    let request = UpgradeRequest {
        binary,
        timeout_seconds: Some(upgrade.timeout.as_secs_f64()),
    };
    let begun = begin(client, &request, &before).await?;
    for file in &begun.migrates {
        print::note(&format!(
            "note: {} is brought to a newer version, which clawctl {} cannot read",
            file.display(),
            before.version
        ));
    }
    let limit = ENDING + upgrade.timeout + upgrade.timeout.max(WAY_BACK);
    match await_outcome(&begun.outcome, limit).await? {
        Outcome::TakenOver { pid } => {
            let report = Report {
                from: before.version,
                to: begun.version,
                pid,
                agents: passed(client, processes).await?,
            };
            told(&report, output)
        }
        Outcome::WentBack { pid, reason } => Err(Failure::new(
            Exit::Failed,
            format!(
                "{} did not take over: {reason}; clawctl {} runs again as process {pid}, and agents go on",
                request.binary.display(),
                before.version
            ),
        )
        .hint("what it said is at the end of supervisor.log in the data directory")),
        Outcome::Down { reason, back } => Err(Failure::new(
            Exit::Failed,
            format!(
                "no supervisor runs, agents go on without one; {}: {reason}; clawctl {}: {back}",
                request.binary.display(),
                before.version
            ),
        )
        .hint("`clawctl up --detach` says what stands in the way")),
    }
}

async fn begin(
    client: &Client,
    request: &UpgradeRequest,
    running: &Health,
) -> Result<UpgradeBegun, Failure> {
    let body = serde_json::to_string(request)
        .map_err(|error| Failure::new(Exit::Usage, format!("the path is no text: {error}")))?;
    let answer = client.text(Method::POST, routes::UPGRADE, Some(body)).await;
    let text = answer.map_err(|failure| unknown_route(failure, running))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the answer cannot be understood: {error}"),
        )
    })
}

/// Supervisors from before upgrades do not know the path.
fn unknown_route(failure: Failure, running: &Health) -> Failure {
    if !failure.message.contains(routes::UPGRADE) {
        return failure;
    }
    Failure::new(
        Exit::Refused,
        format!(
            "the supervisor, clawctl {}, cannot be upgraded while it runs",
            running.version
        ),
    )
    .hint("`clawctl down --keep`, then `up --detach` with the other executable; agents go on")
}

async fn await_outcome(path: &Path, limit: Duration) -> Result<Outcome, Failure> {
    let mut outcome = None;
    wait::until(limit, async || {
        let text = std::fs::read(path).ok();
        outcome = text.and_then(|text| serde_json::from_slice(&text).ok());
        outcome.is_some()
    })
    .await;
    outcome.ok_or_else(|| {
        Failure::new(
            Exit::TimedOut,
            "the supervisor was neither replaced nor restored in time",
        )
        .hint("agents go on; `clawctl up --detach` starts a supervisor if none runs")
    })
}

/// The processes of agents by name.
async fn processes(client: &Client) -> Result<BTreeMap<String, u32>, Failure> {
    let list: AgentList = client.get(routes::AGENTS).await?;
    let live = list.agents.into_iter().filter_map(|agent| {
        let pid = agent.instance?.pid?;
        Some((agent.name, pid))
    });
    Ok(live.collect())
}

async fn passed(client: &Client, before: BTreeMap<String, u32>) -> Result<Vec<Passed>, Failure> {
    let list: AgentList = client.get(routes::AGENTS).await?;
    let of = |(name, pid_before)| {
        let now = list.agents.iter().find(|agent| agent.name == name);
        let needs = now.filter(|agent| agent.reason.code == "needs_restart");
        Passed {
            pid_before,
            pid_after: now.and_then(|agent| agent.instance.as_ref()?.pid),
            needs_restart: needs.map(|agent| agent.reason.text.clone()),
            name,
        }
    };
    Ok(before.into_iter().map(of).collect())
}

fn told(report: &Report, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => {}
        Output::Json | Output::Yaml => return print::document(report, output),
    }
    let agents = &report.agents;
    let same = agents
        .iter()
        .filter(|one| one.pid_after == Some(one.pid_before));
    print::line(&format!(
        "clawctl {} has taken over from {} as process {}; {} of {} agents go on in the same process",
        report.to,
        report.from,
        report.pid,
        same.count(),
        agents.len()
    ))?;
    for one in agents {
        let (name, before) = (&one.name, one.pid_before);
        match (one.pid_after, &one.needs_restart) {
            (_, Some(reason)) => print::line(&format!("{name} {reason}"))?,
            (Some(after), None) if after == before => {}
            (Some(after), None) => print::line(&format!(
                "{name} was process {before} and is process {after}; `clawctl why {name}`"
            ))?,
            (None, None) => print::line(&format!(
                "{name} was process {before} and has none now; `clawctl why {name}`"
            ))?,
        }
    }
    Ok(())
}

/// Says, as JSON, which databases of a data directory this executable understands.
///
/// # Errors
///
/// A database cannot be read.
pub(crate) fn check(data_dir: &Path) -> Result<(), Failure> {
    let check = check_data(data_dir).map_err(anyhow::Error::from)?;
    print::json_line(&check)
}
