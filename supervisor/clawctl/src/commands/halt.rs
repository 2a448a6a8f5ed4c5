//! `clawctl halt`, `clawctl resume --halt` and `clawctl resume-all`: the kill switch.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};

use claw_daemon::api::{HaltRequest, Halted, HaltedList, LiftRequest, Named, routes};

use crate::args::{Agents, Halt, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::halt::{review, sentence, uncut};

/// Whether somebody has said that a halt is to be lifted without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--yes`
    Given,
    /// Ask at the terminal.
    Asked,
}

impl From<bool> for Consent {
    fn from(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Asked }
    }
}

/// Halts agents, all at once.
///
/// # Errors
///
/// One of them is not halted, or the journal does not know that it is.
pub(crate) async fn halt(client: &Client, halt: &Halt, output: Output) -> Result<(), Failure> {
    let Agents { names, all, .. } = &halt.agents;
    let agents = if halt.agents.matching.is_some() {
        super::goals::selected(client, &halt.agents).await?
    } else {
        names.clone()
    };
    let request = HaltRequest {
        level: halt.level.into(),
        agents,
        all: *all,
        reason: halt.reason.clone(),
    };
    let list: HaltedList = client.post(routes::HALT, Some(json(&request)?)).await?;
    if output != Output::Table {
        return print::document(&list, output);
    }
    for halted in &list.agents {
        print::line(&sentence(halted))?;
    }
    for told in list.agents.iter().filter_map(uncut) {
        print::note(&told);
    }
    Ok(())
}

/// Lifts the halts of some agents, after a review.
///
/// # Errors
///
/// Nobody agreed, or one of them goes on being halted.
pub(crate) async fn lift(
    client: &Client,
    agents: &Agents,
    consent: Consent,
) -> Result<(), Failure> {
    let known: HaltedList = client.get(routes::HALT).await?;
    if agents.all {
        return let_go(client, known.agents, consent).await;
    }
    let chosen: BTreeSet<String> = super::goals::selected(client, agents)
        .await?
        .into_iter()
        .collect();
    let halted: BTreeSet<&str> = known
        .agents
        .iter()
        .flat_map(|halted| [Some(halted.agent.as_str()), halted.group.as_deref()])
        .flatten()
        .collect();
    let free = chosen.iter().find(|name| !halted.contains(name.as_str()));
    if let (Some(free), None) = (free, &agents.matching) {
        // A name that nobody has is refused for that.
        client
            .get::<Named>(&super::goals::path(routes::AGENT, free)?)
            .await?;
        let message = format!("{free} is not halted");
        return Err(Failure::new(Exit::Refused, message).hint("`clawctl status` lists the agents"));
    }
    let named = |halted: &Halted| {
        let group = halted.group.as_ref();
        chosen.contains(&halted.agent) || group.is_some_and(|group| chosen.contains(group))
    };
    let mut picked = known.agents;
    picked.retain(named);
    let_go(client, picked, consent).await
}

async fn let_go(client: &Client, halted: Vec<Halted>, consent: Consent) -> Result<(), Failure> {
    if halted.is_empty() {
        print::note("no agent is halted");
        return Ok(());
    }
    print::line(&review(&halted))?;
    for told in halted.iter().filter_map(uncut) {
        print::note(&told);
    }
    agree(consent)?;
    let request = LiftRequest {
        agents: halted.into_iter().map(|halted| halted.agent).collect(),
        all: false,
    };
    let path = routes::RESUME_ALL;
    let list: HaltedList = client.post(path, Some(json(&request)?)).await?;
    for halted in &list.agents {
        print::line(&sentence(halted))?;
    }
    Ok(())
}

fn agree(consent: Consent) -> Result<(), Failure> {
    if consent == Consent::Given {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let message = "nobody is there to agree to that; they are still halted";
        return Err(Failure::new(Exit::Usage, message).hint("look at the list, then add `--yes`"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "Let them go? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") || answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "they are still halted"))
}

fn json<T: serde::Serialize>(request: &T) -> Result<String, Failure> {
    serde_json::to_string(request)
        .map_err(|error| Failure::new(Exit::Bug, format!("cannot write JSON: {error}")))
}
