//! Agents: the table of all, and one in full.

use claw_daemon::api::{
    Agent, ContainerNetwork, Denial, LogLine, ProcessSandbox, Reason, State, Time,
};
use owo_colors::OwoColorize;

use super::image::image;
use super::style::{of_state, paint};
use super::table;
use super::time::{ago, ahead, dash, local, size, span, stamp};

/// The table of `clawctl status`.
#[must_use]
pub(crate) fn list(agents: &[Agent], now: Time) -> String {
    let mut rows = table::with_head(&[
        "Agent", "Status", "Ready", "Uptime", "Restarts", "Last run", "Next run", "Success", "CPU",
        "Memory",
    ]);
    for agent in agents {
        let used = agent.resources.as_ref();
        rows.add_row([
            agent.name.clone(),
            paint(&status(agent), of_state(agent.state)),
            if agent.ready { "yes" } else { "no" }.to_owned(),
            if agent.instance.is_some() {
                span(agent.uptime_seconds)
            } else {
                dash()
            },
            agent.restarts.to_string(),
            ago(agent.runs.last_at, now),
            ahead(next(agent), now),
            agent
                .runs
                .success_rate
                .map_or_else(dash, |rate| format!("{:.0}%", rate * 100.0)),
            used.and_then(|used| used.cpu_cores)
                .map_or_else(dash, |cores| format!("{cores:.2}")),
            used.map_or_else(dash, |used| size(used.memory_bytes)),
        ]);
    }
    table::text(&rows)
}

/// What is known around an agent.
pub(crate) struct Around<'a> {
    /// Its last log lines.
    pub(crate) log: &'a [LogLine],
    /// What it was not let out to last.
    pub(crate) denial: Option<&'a Denial>,
    /// What it spent on models today, if it may call some.
    pub(crate) spent: Option<&'a str>,
}

/// One agent as `systemctl status` would show it, with its last log lines.
#[must_use]
pub(crate) fn one(agent: &Agent, around: &Around<'_>, now: Time) -> String {
    let Around { log, denial, spent } = around;
    let dot = match agent.state {
        State::Running | State::Initializing | State::Stopping => "●",
        State::Paused => "◐",
        State::Error => "×",
        State::Stopped => "○",
    };
    let since = format!("{} ({})", local(agent.since), ago(Some(agent.since), now));
    let mut lines = vec![
        format!(
            "{} {}",
            paint(dot, of_state(agent.state)),
            agent.name.bold()
        ),
        field(
            "State",
            &format!(
                "{} since {since}",
                paint(&status(agent), of_state(agent.state))
            ),
        ),
        field("Reason", &agent.reason.text),
        field("Ready", if agent.ready { "yes" } else { "no" }),
    ];
    lines.extend(halt(agent));
    lines.extend(details(agent, now));
    lines.extend(spent.map(|spent| field("Models", spent)));
    lines.extend(confinement(agent));
    lines.extend(denial.map(|denial| field("Blocked", &blocked(&agent.name, denial, now))));
    if !log.is_empty() {
        lines.push(String::new());
        lines.extend(
            log.iter()
                .map(|line| format!("{} {}", stamp(line.at).dimmed(), line.text)),
        );
    }
    lines.join("\n")
}

/// Its halt, where that is not the reason anyway.
fn halt(agent: &Agent) -> Option<String> {
    let halt = agent.halt.as_ref()?;
    let shown = agent.reason.halt.is_some();
    let lift = format!("`clawctl resume --halt {}` lifts it", agent.name);
    let text = if shown {
        lift
    } else {
        format!("{} by {}; {lift}", halt.level, halt.by)
    };
    Some(field("Halt", &text))
}

/// The last host that it was not let out to, and who tells more.
fn blocked(agent: &str, denial: &Denial, now: Time) -> String {
    let Denial {
        host, port, reason, ..
    } = denial;
    let when = ago(Some(denial.at), now);
    format!("{host}:{port}, {when}: {reason}; see `clawctl sandbox why-blocked {agent}`")
}

fn confinement(agent: &Agent) -> Vec<String> {
    let Some(container) = &agent.container else {
        return vec![field("Sandbox", &of_process(agent.sandbox.as_ref()))];
    };
    let made_of = image(&container.image, container.digest.as_deref());
    let files = if container.read_only_filesystem {
        "its image's files are read only"
    } else {
        "its image's files can be changed until it ends"
    };
    let reaches = match container.network {
        ContainerNetwork::None => "it has no network",
        ContainerNetwork::Listed => "it reaches the hosts of `allowed_network`",
        ContainerNetwork::Bridge => "it reaches what this machine reaches",
    };
    vec![
        field("Image", &made_of),
        field("Sandbox", &format!("a container: {files}, {reaches}")),
    ]
}

fn of_process(sandbox: Option<&ProcessSandbox>) -> String {
    let Some(ProcessSandbox {
        level,
        layers,
        losses,
    }) = sandbox
    else {
        return "none: this agent is not locked in; it can do what its user can do".to_owned();
    };
    let Some(level) = level else {
        return "of a process; how far it is locked in is known once it runs".to_owned();
    };
    if losses.is_empty() {
        return format!("{level} ({})", layers.join(", "));
    }
    let losses = losses.iter();
    let losses: Vec<String> = losses
        .map(|one| format!("{} ({})", one.loss, one.reason))
        .collect();
    format!("degraded to {level}: {}", losses.join("; "))
}

fn details(agent: &Agent, now: Time) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(text) = &agent.status_text {
        lines.push(field("Status", &format!("\"{text}\"")));
    }
    if let Some(live) = &agent.instance {
        let pid = live.pid.map_or_else(dash, |pid| pid.to_string());
        let text = format!(
            "#{}, process {pid}, up {}",
            live.generation,
            span(agent.uptime_seconds)
        );
        lines.push(field("Instance", &text));
    }
    if let Some(used) = &agent.resources {
        let text = format!("{} in {} processes", size(used.memory_bytes), used.pids);
        lines.push(field("Memory", &text));
        lines.push(field("CPU", &format!("{:.2} s", used.cpu_seconds)));
    }
    lines.push(field("Restarts", &agent.restarts.to_string()));
    for probe in agent.probes.iter().filter(|probe| probe.failures > 0) {
        let text = format!("{} fails, {} in a row", probe.probe, probe.failures);
        lines.push(field("Probe", &text));
    }
    if let Some(death) = &agent.last_death {
        let text = format!("{}, {}", death.cause.text, ago(Some(death.at), now));
        lines.push(field("Last end", &text));
    }
    let runs = &agent.runs;
    if runs.succeeded + runs.failed > 0 || runs.active + runs.queued > 0 || runs.next_at.is_some() {
        let text = format!(
            "{} succeeded, {} failed, {} under way, {} waiting; last {}, next {}",
            runs.succeeded,
            runs.failed,
            runs.active,
            runs.queued,
            ago(runs.last_at, now),
            ahead(runs.next_at, now)
        );
        lines.push(field("Runs", &text));
    }
    lines
}

/// The state with the one word of its reason that a user looks for.
fn status(agent: &Agent) -> String {
    let Reason { code, .. } = &agent.reason;
    match code.as_str() {
        "up" | "asked" | "paused" | "working" => agent.state.to_string(),
        other => format!("{} ({})", agent.state, other.replace('_', " ")),
    }
}

/// The next run, or the next start of an agent that backs off.
fn next(agent: &Agent) -> Option<Time> {
    agent.runs.next_at.or(agent.reason.until)
}

fn field(name: &str, value: &str) -> String {
    format!("{:>10}: {value}", name)
}
