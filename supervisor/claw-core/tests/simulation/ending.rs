//! When the faults stop, everything comes to a good end.

use std::time::Duration;

use claw_core::event::{Command, Freeze, ShutdownMode};
use claw_core::memory::Hold;
use claw_core::spec::Mode;
use claw_core::{AgentName, AgentStatus, Event, HaltLevel, PublicState, Reason, RunPhase};

use crate::chaos;
use crate::host::Life;
use crate::invariants::{Verdict, must};
use crate::journal::Mood;
use crate::world::{Item, World};

/// Longer than the longest delay with its jitter, and a chain of dependencies coming up.
/// No multiple of a minute, so that no slot falls due at its very end.
const CALM: Duration = Duration::from_secs(40 * 60 + 37);

/// A queue of runs that was caught up may keep those waiting who wait for its end.
const MOST_CALMS: u32 = 4;

/// Longer than a chain of dependents going down with the longest grace.
const SHUTDOWN: Duration = Duration::from_secs(3600);

/// Nothing fails any more: every agent whose goal is up reaches a stable state, and stays in it;
/// then the fleet ends within a bound and nothing is left or open.
pub(crate) fn come_to_an_end(world: &mut World) -> Verdict {
    world.host.calm_down();
    let finished = world.host.finish_all();
    world.follow(finished);
    world.journal.mood = Mood::Well;
    world.away_until = world.away_until.min(world.time + Duration::from_secs(1));
    if world.sut.is_none() {
        world.after(Duration::ZERO, Item::Restore);
    }
    let mut stable = Ok(());
    for _ in 0..MOST_CALMS {
        run_until(world, CALM, |_| false)?;
        stable = check_stable(world);
        if stable.is_ok() {
            break;
        }
    }
    stable?;
    freeze_somebody(world)?;
    world.step(&Event::Shutdown(ShutdownMode::Stop))?;
    run_until(world, SHUTDOWN, |world| world.stopped)?;
    must(world.stopped, "shutdown", || {
        "not all stopped within the bound".to_owned()
    })?;
    // The last records are on their way.
    run_until(world, Duration::from_secs(10), |_| false)?;
    let alive = world
        .host
        .processes
        .iter()
        .find(|(_, process)| process.lives());
    must(alive.is_none(), "shutdown", || {
        format!("{alive:?} is left over")
    })?;
    world.watch.check_end(&world.journal)
}

/// In some worlds somebody lies frozen when the fleet is told to end.
fn freeze_somebody(world: &mut World) -> Verdict {
    let agents: Vec<AgentName> = world.spec.agents.keys().cloned().collect();
    if agents.is_empty() || world.random.chance(70) {
        return Ok(());
    }
    let agent = world.random.pick(&agents);
    let freeze = Freeze::Yes;
    let command = Command::Pause { agent, freeze };
    let ticket = chaos::ticket(world);
    world.step(&Event::Command { ticket, command })?;
    run_until(world, Duration::from_secs(10), |_| false)?;
    check_frozen(world)
}

fn run_until(world: &mut World, most: Duration, done: impl Fn(&World) -> bool) -> Verdict {
    let until = world.time + most;
    world.after(most, Item::JournalRecovers);
    while world.time < until && !done(world) {
        world.advance()?;
    }
    Ok(())
}

fn check_stable(world: &World) -> Verdict {
    let now = world.now();
    let Some(sut) = &world.sut else {
        return must(false, "stuck", || "no supervisor came back".to_owned());
    };
    let statuses = sut.statuses(now);
    world.watch.check_all_answered()?;
    for status in &statuses {
        must(is_stable(world, status, &statuses), "stuck", || {
            let others = statuses
                .iter()
                .map(|other| (&other.name, other.state, &other.reason));
            format!("{status:?} among {:?}", others.collect::<Vec<_>>())
        })?;
    }
    check_frozen(world)
}

fn check_frozen(world: &World) -> Verdict {
    let statuses = world.sut.iter().flat_map(|sut| sut.statuses(world.now()));
    for status in statuses {
        must(is_frozen_as_asked(world, &status), "frozen", || {
            format!("the tree of {status:#?}")
        })?;
    }
    Ok(())
}

fn is_stable(world: &World, status: &AgentStatus, all: &[AgentStatus]) -> bool {
    let Some(spec) = world.spec.agents.get(&status.name) else {
        return false;
    };
    let next_is_ahead = status
        .runs
        .next
        .is_none_or(|next| next + jiff::SignedDuration::from_secs(30) >= world.wall());
    match (&status.state, &status.reason) {
        (PublicState::Running, _)
            if spec.mode == Mode::Oneshot || is_still_oneshot(world, status) =>
        {
            next_is_ahead
        }
        (PublicState::Running, _) => {
            status.ready && status.instance.is_some() && next_is_ahead && moves_on(world, status)
        }
        (PublicState::Paused | PublicState::Stopped, _) => true,
        (PublicState::Initializing, Reason::WaitingFor { agents }) => agents.iter().any(|agent| {
            let other = all.iter().find(|other| other.name == *agent);
            other.is_none_or(|other| other.state != PublicState::Running || is_idle(other))
        }),
        (PublicState::Initializing | PublicState::Error | PublicState::Stopping, _) => false,
    }
}

/// A run may take for ever, and the mode that the file says since has to wait for it.
fn is_still_oneshot(world: &World, status: &AgentStatus) -> bool {
    let mut processes = world.host.processes.iter();
    processes.any(|(id, process)| {
        id.agent == status.name && process.lives() && process.spec.mode == Mode::Oneshot
    })
}

/// Nothing that was given to a worker lies in its hands for ever.
fn moves_on(world: &World, status: &AgentStatus) -> bool {
    let long_ago = world.wall() - jiff::SignedDuration::from_secs(1200);
    let open = world.journal.open_runs();
    let mut own = open.iter().filter(|run| run.agent == status.name);
    own.all(|run| match run.phase {
        RunPhase::Running { since } => since > long_ago,
        RunPhase::Queued | RunPhase::Retrying { .. } => status.runs.queued > 0,
        RunPhase::Finished { .. } => true,
    })
}

/// A oneshot that has nothing to do keeps those waiting who wait for its completion.
fn is_idle(status: &AgentStatus) -> bool {
    matches!(status.reason, Reason::Waiting | Reason::Working { .. })
}

fn is_frozen_as_asked(world: &World, status: &AgentStatus) -> bool {
    let memory = world.journal.contents.agents.get(&status.name);
    let asked = memory.is_some_and(|memory| {
        let halt = memory.switch.halt.as_ref();
        memory.hold == Hold::Frozen || halt.is_some_and(|halt| halt.level >= HaltLevel::Freeze)
    });
    let running = |life: &Life| matches!(life, Life::Running);
    world
        .host
        .processes
        .iter()
        .filter(|(id, process)| id.agent == status.name && running(&process.life))
        .all(|(_, process)| (process.frozen == Freeze::Yes) == asked)
}
