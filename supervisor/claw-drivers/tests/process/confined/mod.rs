//! Agents in sandboxes, from inside.

mod compat;
mod count;
mod disks;
mod life;
mod models;
mod network;
mod ordinary;
mod paths;
mod session;
mod shortfall;

use claw_core::AgentSpec;
use claw_core::sandbox::{Abilities, Level, plan};
use claw_core::spec::Sandbox;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::Writable;
use claw_core::{ExitStatus, InstanceId};

use crate::world::{World, agent, machine};

/// What this machine can do, if that is all of it; says so if not.
pub(crate) fn whole(test: &str) -> Option<Abilities> {
    let abilities = machine();
    match plan(&Sandbox::default(), &abilities) {
        Ok(plan) if plan.level == Level::Full => Some(abilities),
        Ok(_) => unreachable!("less is not accepted"),
        Err(shortfall) => {
            eprintln!("SKIP {test}: {shortfall}");
            None
        }
    }
}

/// An agent with the usual sandbox and a directory to write to.
pub(crate) fn confined(
    world: &World,
    command: &[&str],
    change: impl Fn(&mut Sandbox),
) -> AgentSpec {
    let mut spec = agent(command.iter().map(|&text| text.to_owned()).collect());
    let path = world.file("own");
    std::fs::create_dir_all(&path).unwrap();
    open_to_all(&path);
    let mut sandbox = Sandbox {
        writable: vec![Writable {
            path,
            size: None,
            exec: Exec::Allowed,
        }],
        ..Sandbox::default()
    };
    change(&mut sandbox);
    spec.launch.sandbox = Some(Box::new(sandbox));
    spec
}

pub(crate) fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, all).unwrap();
}

/// Runs an agent to its end; what it printed.
pub(crate) async fn run(world: &mut World, spec: AgentSpec) -> (ExitStatus, String, InstanceId) {
    let instance = world.spawn(spec);
    world.await_start(&instance).await;
    let report = world.gone(&instance).await;
    (report.status, world.log(&instance), instance)
}
