//! `clawctl sandbox explain` and `clawctl sandbox why-blocked`

use claw_core::{AgentName, AgentSpec};
use claw_daemon::api::{Denial, DenialList, LearnedCallList, routes};
use claw_daemon::config::{self, Environment, Loaded};
use owo_colors::OwoColorize;

use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::time::stamp;
use crate::render::{explain, table};
use crate::{locate, print};

/// Says what an agent of the fleet file may do on this machine, and why.
///
/// # Errors
///
/// The fleet file has errors, or no such agent.
pub(super) fn explain(global: &Global, name: &str) -> Result<(), Failure> {
    let file = locate::fleet_file(global)?;
    let loaded = config::load(&file, &Environment::of_process())
        .map_err(|diagnostics| super::validate::report(&diagnostics, global.output))?;
    let spec = spec_of(&loaded, name).ok_or_else(|| {
        let message = format!("there is no agent `{name}` in {}", file.display());
        Failure::new(Exit::NoSuchAgent, message).hint("`clawctl status` lists the agents")
    })?;
    let machine = spec
        .launch
        .sandbox
        .as_ref()
        .map(|_wish| super::doctor::abilities());
    let explanation = explain::explain(name, spec, machine.as_ref());
    match global.output {
        Output::Table => print::line(&explain::text(&explanation)),
        Output::Json | Output::Yaml => print::document(&explanation, global.output),
    }
}

/// By a name that stands for several replicas: any of them, since they are confined alike.
fn spec_of<'l>(loaded: &'l Loaded, name: &str) -> Option<&'l AgentSpec> {
    let name: AgentName = name.parse().ok()?;
    let members = loaded.replicas.members(&name);
    let member = members.and_then(|members| members.first());
    let spec = loaded.fleet.agents.get(member.unwrap_or(&name))?;
    Some(spec)
}

/// Says what an agent was not allowed to reach lately, and which line would allow it.
///
/// # Errors
///
/// No supervisor answers, or no such agent.
pub(super) async fn why_blocked(
    client: &Client,
    agent: &str,
    output: Output,
) -> Result<(), Failure> {
    let denials = denials(client, agent).await?;
    if output != Output::Table {
        return print::document(&denials, output);
    }
    if denials.is_empty() {
        return print::line(&format!("nothing was denied to `{agent}` lately"));
    }
    for denial in &denials {
        print::line(&text(denial))?;
    }
    Ok(())
}

/// What an agent was not allowed to reach lately, the newest first.
///
/// # Errors
///
/// No supervisor answers, or no such agent.
pub(super) async fn denials(client: &Client, agent: &str) -> Result<Vec<Denial>, Failure> {
    let path = super::goals::path(routes::DENIALS, agent)?;
    let list: DenialList = client.get(&path).await?;
    Ok(list.denials)
}

pub(super) fn text(denial: &Denial) -> String {
    let address = denial.address.as_deref();
    let address = address.map_or_else(String::new, |address| format!(" ({address})"));
    let rule = denial.rule.as_deref();
    let rule = rule.map_or_else(String::new, |rule| format!(" [{rule}]"));
    let fix = match &denial.fix {
        Some(fix) => format!("to allow it: {fix}"),
        None => "no line of the fleet file would allow it".to_owned(),
    };
    format!(
        "{} {}:{}{address}: {}{rule}\n    {fix}",
        stamp(denial.at).dimmed(),
        denial.host,
        denial.port,
        denial.reason
    )
}

/// Says which system calls of an agent its filter would refuse, and the line that allows them.
///
/// # Errors
///
/// No supervisor answers, or no such agent.
pub(super) async fn learned(client: &Client, agent: &str, output: Output) -> Result<(), Failure> {
    let path = super::goals::path(routes::LEARNED, agent)?;
    let list: LearnedCallList = client.get(&path).await?;
    if output != Output::Table {
        return print::document(&list, output);
    }
    if list.calls.is_empty() {
        return print::line(&nothing_learned(agent, &list));
    }
    let mut rows = table::with_head(&["Call", "Count", "First seen", "While learning"]);
    for call in &list.calls {
        rows.add_row([
            call.name.clone(),
            call.count.to_string(),
            stamp(call.first_seen),
            if call.denied { "refused" } else { "allowed" }.to_owned(),
        ]);
    }
    print::line(&table::text(&rows))?;
    if list.calls.iter().any(|call| call.denied) {
        print::line("those refused could lead out of the sandbox, and are not learned")?;
    }
    match &list.line {
        Some(line) => print::line(&format!("to allow the others: {line}")),
        None => Ok(()),
    }
}

fn nothing_learned(agent: &str, list: &LearnedCallList) -> String {
    if list.learning {
        format!(
            "`{agent}` has called nothing yet that the usual filter refuses; on kernels before 5.5 \
             their own log tells (`journalctl -k`)"
        )
    } else {
        format!("the calls of `{agent}` are not learned; write `sandbox: {{seccomp: learn}}`")
    }
}
