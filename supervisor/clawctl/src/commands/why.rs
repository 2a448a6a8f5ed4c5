//! `clawctl why`

use claw_daemon::api::{
    Agent, Exit as ExitEvidence, Image, Named, Transition, TransitionKind, TransitionList, routes,
};
use owo_colors::OwoColorize;

use crate::args::Output;
use crate::client::Client;
use crate::exit::Failure;
use crate::print;
use crate::render::image::image;
use crate::render::style::{of_state, paint};
use crate::render::time::{size, stamp};

/// Denials that are shown; `clawctl sandbox why-blocked` has the others.
const DENIALS: usize = 3;

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
    let named: Named = client
        .get(&super::goals::path(routes::AGENT, name)?)
        .await?;
    let agents = match named {
        Named::Agent(agent) => vec![*agent],
        Named::Replicas(list) => list.agents,
    };
    let list = history(client, (name, &agents), limit).await?;
    if output != Output::Table {
        return print::document(&list, output);
    }
    for transition in list.transitions.iter().rev() {
        print::line(&line(transition))?;
    }
    let denials = super::confine::denials(client, name).await?;
    for denial in denials.iter().take(DENIALS).rev() {
        print::line(&format!("blocked {}", super::confine::text(denial)))?;
    }
    for agent in &agents {
        let state = paint(agent.state.as_str(), of_state(agent.state));
        let (now, name, reason) = ("now".bold(), &agent.name, &agent.reason.text);
        let says = agent.status_text.as_ref();
        let says = says.map_or_else(String::new, |text| format!(" (\"{text}\")"));
        print::line(&format!("{now} {name} is {state}: {reason}{says}"))?;
    }
    Ok(())
}

/// The newest transitions of all of them, newest first.
async fn history(
    client: &Client,
    (name, agents): (&str, &[Agent]),
    limit: u32,
) -> Result<TransitionList, Failure> {
    let mut all = Vec::new();
    for agent in agents {
        let path = super::goals::path(routes::TRANSITIONS, &agent.name)?;
        let list: TransitionList = client.get(&format!("{path}?limit={limit}")).await?;
        all.extend(list.transitions);
    }
    all.sort_by_key(|transition| std::cmp::Reverse(transition.at));
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(TransitionList {
        agent: name.to_owned(),
        transitions: all,
    })
}

fn line(transition: &Transition) -> String {
    let evidence = match &transition.what {
        TransitionKind::Ended { exit, image, .. } => evidence(exit.as_ref(), image.as_ref()),
        TransitionKind::Halted { .. }
        | TransitionKind::HaltLifted { .. }
        | TransitionKind::Slot { .. } => String::new(),
    };
    format!(
        "{} {}{}",
        stamp(transition.at).dimmed(),
        transition.text,
        evidence.dimmed()
    )
}

fn evidence(exit: Option<&ExitEvidence>, made_of: Option<&Image>) -> String {
    let mut parts = exit.map_or_else(Vec::new, measured);
    if let Some(made_of) = made_of {
        parts.push(image(&made_of.reference, Some(&made_of.digest)));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!(" ({})", parts.join(", "))
}

fn measured(exit: &ExitEvidence) -> Vec<String> {
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
    parts
}
