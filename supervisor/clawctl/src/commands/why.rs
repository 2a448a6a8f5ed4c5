//! `clawctl why`

use claw_daemon::api::{
    Agent, Exit as ExitEvidence, Transition, TransitionKind, TransitionList, routes,
};
use owo_colors::OwoColorize;

use crate::args::Output;
use crate::client::Client;
use crate::exit::Failure;
use crate::print;
use crate::render::style::{of_state, paint};
use crate::render::time::{size, stamp};

/// Prints what happened to an agent lately, with the evidence, oldest first, and where it stands.
///
/// # Errors
///
/// No supervisor answers, or no such agent.
pub(crate) async fn run(
    client: &Client,
    name: &str,
    limit: u32,
    output: Output,
) -> Result<(), Failure> {
    let agent: Agent = client
        .get(&super::goals::path(routes::AGENT, name)?)
        .await?;
    let path = format!(
        "{}?limit={limit}",
        super::goals::path(routes::TRANSITIONS, name)?
    );
    let list: TransitionList = client.get(&path).await?;
    if output != Output::Table {
        return print::document(&list, output);
    }
    for transition in list.transitions.iter().rev() {
        print::line(&line(transition))?;
    }
    let state = paint(agent.state.as_str(), of_state(agent.state));
    print::line(&format!(
        "{} {name} is {state}: {}",
        "now".bold(),
        agent.reason.text
    ))
}

fn line(transition: &Transition) -> String {
    let evidence = match &transition.what {
        TransitionKind::Ended {
            exit: Some(exit), ..
        } => evidence(exit),
        TransitionKind::Ended { exit: None, .. } | TransitionKind::Slot { .. } => String::new(),
    };
    format!(
        "{} {}{}",
        stamp(transition.at).dimmed(),
        transition.text,
        evidence.dimmed()
    )
}

fn evidence(exit: &ExitEvidence) -> String {
    let mut parts = vec![format!("cpu {:.2} s", exit.cpu_seconds)];
    if let Some(peak) = exit.memory_peak_bytes {
        parts.push(format!("at most {}", size(peak)));
    }
    if exit.oom_kills > 0 {
        parts.push(format!("{} kills for memory", exit.oom_kills));
    }
    if exit.leftovers > 0 {
        parts.push(format!(
            "{} processes left behind were ended",
            exit.leftovers
        ));
    }
    format!(" ({})", parts.join(", "))
}
