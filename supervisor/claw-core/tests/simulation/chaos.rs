//! What goes wrong, and what people do.

use std::sync::Arc;
use std::time::Duration;

use claw_core::event::{Freeze, ShutdownMode};
use claw_core::{AgentName, Command, Event, Halt, HaltLevel, RunId, Ticket};
use jiff::SignedDuration;

use crate::fleets;
use crate::invariants::Verdict;
use crate::journal::Mood;
use crate::world::{Item, World};

/// Something happens out of the blue, and the next such thing is on its way.
pub(crate) fn strike(world: &mut World) -> Verdict {
    if world.host.calm {
        return Ok(());
    }
    let next = world.random.millis(100, 40_000);
    world.after(next, Item::Chaos);
    match world.random.below(100) {
        0..60 => command(world),
        60..65 => configure(world),
        65..68 => {
            supervisor_dies(world);
            Ok(())
        }
        68..70 => power_cut(world),
        70..75 => {
            world.away_until = world.time + world.random.millis(500, 90_000);
            Ok(())
        }
        75..79 => {
            set_wall_clock(world);
            Ok(())
        }
        79..85 => {
            world.journal.mood = world.random.pick(&[Mood::Failing, Mood::Mute, Mood::Dead]);
            let lasts = world.random.millis(100, 60_000);
            world.after(lasts, Item::JournalRecovers);
            Ok(())
        }
        85..93 => old_news(world),
        93..95 => shut_down(world),
        _ => world.tick(),
    }
}

fn is_away(world: &World) -> bool {
    world.sut.is_none() || world.time < world.away_until
}

fn command(world: &mut World) -> Verdict {
    if is_away(world) {
        return Ok(());
    }
    let agent = fleets::name(world.random.below(7));
    let command = any_command(world, agent);
    let ticket = ticket(world);
    world.step(&Event::Command { ticket, command })
}

fn any_command(world: &mut World, agent: AgentName) -> Command {
    match world.random.below(20) {
        0..4 => Command::Start { agent },
        4..6 => Command::Stop { agent },
        6..8 => Command::Restart { agent },
        8 => Command::Pause {
            agent,
            freeze: world.random.pick(&[Freeze::No, Freeze::Yes]),
        },
        9..12 => Command::Resume { agent },
        12..15 => Command::Trigger {
            agent,
            payload: None,
            run: None,
        },
        15 => Command::Halt {
            agent,
            halt: Halt {
                // What gets out is nothing of the core's: to it, egress is the same as runs.
                level: world.random.pick(&HaltLevel::ALL),
                since: world.wall(),
                by: "chaos".to_owned(),
                why: None,
            },
        },
        16..19 => Command::Lift {
            agent,
            by: "chaos".to_owned(),
        },
        _ => Command::Cancel {
            run: some_run(world),
            agent,
        },
    }
}

/// One that is under way, or none that exists.
fn some_run(world: &mut World) -> RunId {
    let open = world.journal.open_runs();
    if open.is_empty() || world.random.chance(20) {
        return RunId::new(world.random.next(), 0);
    }
    world.random.pick(&open).id
}

pub(crate) fn ticket(world: &mut World) -> Ticket {
    world.next_ticket += 1;
    Ticket(world.next_ticket)
}

fn configure(world: &mut World) -> Verdict {
    if is_away(world) {
        return Ok(());
    }
    let fleet = Arc::new(fleets::changed(&mut world.random, &world.spec));
    let ticket = ticket(world);
    world.spec = Arc::clone(&fleet);
    world.step(&Event::Configure { ticket, fleet })
}

pub(crate) fn supervisor_dies(world: &mut World) {
    if world.sut.is_none() {
        return;
    }
    let longest = world.random.pick(&[1000, 20_000, 1_000_000]);
    let back_after = world.random.millis(10, longest);
    world.end_supervisor(back_after);
}

fn power_cut(world: &mut World) -> Verdict {
    world.host.power_cut();
    world.journal.power_cut(&mut world.random);
    world.watch.power_cut();
    // No driver of this boot knows anything of the last, and generations may come again.
    world.old_facts.clear();
    world.journal.mood = Mood::Well;
    let back_after = world.random.seconds(5, 600);
    world.end_supervisor(back_after);
    Ok(())
}

fn set_wall_clock(world: &mut World) {
    let seconds = world.random.pick(&[2, 90, 3600, 86_400, 86_400 * 365]);
    let by = SignedDuration::from_secs(seconds);
    if world.random.chance(50) {
        world.wall_ahead += by;
    } else {
        world.wall_ahead -= by;
    }
    world.watch.wall_clock_was_set();
}

/// A fact is told once more, long after its time.
fn old_news(world: &mut World) -> Verdict {
    if is_away(world) || world.old_facts.is_empty() {
        return Ok(());
    }
    let at = world.random.below(world.old_facts.len() as u64);
    let fact = world.old_facts[usize::try_from(at).unwrap()].clone();
    world.step(&Event::Fact(fact))
}

fn shut_down(world: &mut World) -> Verdict {
    if is_away(world) {
        return Ok(());
    }
    let modes = [ShutdownMode::Stop, ShutdownMode::Keep, ShutdownMode::Hasten];
    let mode = world.random.pick(&modes);
    world.step(&Event::Shutdown(mode))?;
    if world.random.chance(20) {
        world.step(&Event::Shutdown(ShutdownMode::Hasten))?;
    }
    let give_up = world.time + Duration::from_secs(3600);
    while !world.stopped && world.sut.is_some() && world.time < give_up {
        world.advance()?;
    }
    if world.sut.is_none() {
        return Ok(());
    }
    crate::invariants::must(world.stopped, "shutdown", || {
        format!("{mode:?} has not ended after an hour")
    })?;
    world.watch.check_all_answered()?;
    let back_after = world.random.millis(10, 100_000);
    world.end_supervisor(back_after);
    Ok(())
}
