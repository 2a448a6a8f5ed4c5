//! `clawctl doctor`

use std::path::Path;
use std::time::Duration;

use claw_core::sandbox::{Abilities, plan};
use claw_daemon::api::{
    Engine, Health, LlmPriceList, Lockdown, SandboxList, SandboxReport, routes,
};
use claw_daemon::config::{self, Environment, Loaded};
use claw_daemon::repair;
use claw_drivers::container;
use claw_drivers::process::Capabilities;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::repair::{DataReport, Mending, mend};
use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::{locate, print, render};

/// What this machine can do for agents.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    limits: Capabilities,
    sandbox: SandboxReport,
    engine: Engine,
    data: Option<DataReport>,
}

/// How long a supervisor may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// This executable, which tries things out in a process of its own.
const ITSELF: &str = "/proc/self/exe";

/// Says what this machine can do for agents, and what it cannot.
///
/// # Errors
///
/// The machine cannot enforce limits at all, the fleet file is broken, its agents need an engine or
/// a sandbox that cannot be had, or something of the data directory is wrong and was not mended.
pub(crate) async fn run(
    global: &Global,
    client: Option<Client>,
    mending: Mending,
) -> Result<(), Failure> {
    let file = locate::fleet_file(global).ok();
    let data_dir = file.as_deref().map_or_else(std::env::temp_dir, |file| {
        config::data_dir_of(file, &Environment::variables_of_process())
    });
    let loaded = file
        .as_deref()
        .map(|file| config::load(file, &Environment::of_process()));
    let configured = match &loaded {
        Some(Ok(loaded)) => loaded.supervisor.engine.clone(),
        Some(Err(_)) | None => None,
    };
    let machine = abilities();
    let examination = file.as_ref().map(|_| repair::examine(&data_dir));
    let found = Found {
        data: examination
            .as_ref()
            .map(|examination| DataReport::of(&data_dir, examination)),
        limits: Capabilities::probe(&data_dir),
        sandbox: (&machine).into(),
        engine: engine(configured).await,
    };
    if global.output != Output::Table {
        print::document(&found, global.output)?;
        return examination.map_or(Ok(()), |found| mend(&data_dir, &found, mending));
    }
    print::line(&found.limits.to_string())?;
    print::line(&found.sandbox.to_string())?;
    print::line(&found.engine.to_string())?;
    if let Some(data) = &found.data {
        print::line(&data.to_string())?;
    }
    if let Some(client) = answering(client).await? {
        for line in lockdown(&client)
            .await
            .into_iter()
            .chain(sandboxes(&client).await)
            .chain(prices(&client).await)
        {
            print::line(&line)?;
        }
    }
    examination.map_or(Ok(()), |found| mend(&data_dir, &found, mending))?;
    let loaded = loaded.transpose();
    let loaded =
        loaded.map_err(|diagnostics| super::validate::report(&diagnostics, global.output))?;
    if let (Some(file), Some(loaded)) = (file, &loaded) {
        let agents = loaded.fleet.agents.len();
        print::line(&format!(
            "fleet file: {} is valid, {agents} agents",
            file.display()
        ))?;
    }
    judge(&found, loaded.as_ref(), &machine)
}

/// The supervisor, if one runs; one that is there and stuck is said to be so, and asked nothing.
async fn answering(client: Option<Client>) -> Result<Option<Client>, Failure> {
    let Some(client) = client else {
        return Ok(None);
    };
    let asking = client.get::<Health>(routes::HEALTH);
    if tokio::time::timeout(PATIENCE, asking).await.is_ok() {
        return Ok(Some(client));
    }
    print::line("supervisor   is there and does not answer")?;
    Ok(None)
}

/// Whether the supervisor that runs has locked itself down.
async fn lockdown(client: &Client) -> Option<String> {
    let health: Health = client.get(routes::HEALTH).await.ok()?;
    let how = match health.lockdown {
        Lockdown::On => "on: it has given up system calls that it has no use for",
        Lockdown::Off => "off: `security.lockdown` is false",
        Lockdown::Failed => "failed: the kernel did not let it; its log says why",
    };
    Some(format!("lockdown     of the supervisor: {how}"))
}

/// What keeps sandboxes from being ready, as a supervisor that runs knows it.
async fn sandboxes(client: &Client) -> Vec<String> {
    // Without a supervisor nobody has tried yet.
    let Ok(list) = client.get::<SandboxList>(routes::SANDBOXES).await else {
        return Vec::new();
    };
    let told = list.sandboxes.into_iter().filter_map(|sandbox| {
        let note = sandbox.note?;
        Some(format!(
            "sandbox {} ({}): {note}",
            sandbox.name, sandbox.image
        ))
    });
    told.collect()
}

/// What is wrong with the prices of models, where the fleet has some.
async fn prices(client: &Client) -> Vec<String> {
    let Ok(list) = client.get::<LlmPriceList>(routes::LLM_PRICES).await else {
        return Vec::new();
    };
    let remarks = render::llm::price_remarks(&list);
    if remarks.is_empty() {
        let models = list.prices.len();
        return vec![format!(
            "prices       of {models} models are known and not old"
        )];
    }
    let remarks = remarks.into_iter();
    remarks
        .map(|remark| format!("prices       {remark}"))
        .collect()
}

/// What this machine can do to confine processes.
pub(super) fn abilities() -> Abilities {
    claw_drivers::sandbox::probe(Path::new(ITSELF))
}

/// The agents that would not be started here, with the reason of the first.
fn refused(loaded: &Loaded, machine: &Abilities) -> Option<(Vec<String>, String)> {
    let mut names = Vec::new();
    let mut why = None;
    for (name, spec) in &loaded.fleet.agents {
        let sandbox = spec.launch.sandbox.as_deref();
        if let Some(Err(shortfall)) = sandbox.map(|sandbox| plan(sandbox, machine)) {
            names.push(format!("`{name}`"));
            why.get_or_insert_with(|| shortfall.to_string());
        }
    }
    why.map(|why| (names, why))
}

fn judge(found: &Found, loaded: Option<&Loaded>, machine: &Abilities) -> Result<(), Failure> {
    if let Some((names, why)) = loaded.and_then(|loaded| refused(loaded, machine)) {
        let message = format!("these agents are not started here: {}", names.join(", "));
        return Err(Failure::new(Exit::Failed, message).hint(why));
    }
    match &found.engine {
        Engine::Unreachable { .. } if loaded.is_some_and(has_images) => {
            return Err(Failure::new(
                Exit::Failed,
                "agents of this fleet have an `image`, and no container engine answers",
            )
            .hint("start Docker or Podman, or name its socket in `supervisor: {engine: unix:///PATH}`"));
        }
        Engine::Unreachable { .. } | Engine::Reachable(_) => {}
    }
    if found.limits.is_complete() {
        let text = "everything a fleet may ask for can be had here";
        return print::line(&text.green().to_string());
    }
    Err(
        Failure::new(Exit::Failed, "some limits cannot be enforced here")
            .hint("agents that ask for them are refused; the lines above say why"),
    )
}

fn has_images(loaded: &Loaded) -> bool {
    let mut agents = loaded.fleet.agents.values();
    agents.any(|spec| spec.launch.container.is_some())
}

/// Asks the engine that the supervisor would use.
async fn engine(configured: Option<String>) -> Engine {
    container::report(configured).await.into()
}
