//! The kill switch: what is halted, what that takes away, and how it comes back.

use crate::action::{Action, Answer, Happened};
use crate::event::{Command, Fact};
use crate::halt::{Halt, HaltChange, HaltLevel, KillSwitch};
use crate::id::{Generation, InstanceId};
use crate::memory::{AgentMemory, Inheritance, Recovered};
use crate::order::ProbeOutcome;
use crate::refusal::Refusal;
use crate::spec::{CatchUp, Overlap};
use crate::status::PublicState::{Error, Paused, Running, Stopped};

use super::world::{
    Journal, World, begin, daemon, deliveries, every, fates, name, orders, outcomes, probe,
    restart, run_phases, secs, spawns, start, stop, tcp, trigger, worker,
};

fn halt_of(level: HaltLevel) -> Halt {
    Halt {
        level,
        since: begin().wall,
        by: "uid 1000".to_owned(),
        why: Some("it spends too much".to_owned()),
    }
}

fn halt(level: HaltLevel) -> Command {
    Command::Halt {
        agent: name("a"),
        halt: halt_of(level),
    }
}

fn lift() -> Command {
    Command::Lift {
        agent: name("a"),
        by: "uid 1000".to_owned(),
    }
}

fn resume() -> Command {
    Command::Resume { agent: name("a") }
}

fn word(answer: Option<Result<Answer, Refusal>>) -> &'static str {
    match answer {
        None => "waits",
        Some(Ok(_)) => "done",
        Some(Err(refusal)) => refusal.code(),
    }
}

fn running() -> World {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world
}

/// What was done since.
fn since(world: &World, before: usize) -> Vec<Action> {
    world.done[before..].to_vec()
}

fn turns(actions: &[Action]) -> Vec<&HaltChange> {
    let turned = actions.iter().filter_map(|action| {
        if let Action::Announce(announcement) = action
            && let Happened::SwitchTurned { change } = &announcement.happened
        {
            Some(&**change)
        } else {
            None
        }
    });
    turned.collect()
}

#[test]
fn each_level_does_to_a_running_daemon_what_it_says() {
    let table: [(HaltLevel, &[&str]); 3] = [
        (HaltLevel::Runs, &[]),
        (HaltLevel::Freeze, &["freeze a#1"]),
        (HaltLevel::Kill, &["kill a#1"]),
    ];
    for (level, expected) in table {
        let mut world = running();
        let before = world.done.len();
        assert_eq!(word(world.ask(halt(level))), "done");
        let actions = since(&world, before);
        assert_eq!(orders(&actions), expected, "{level}");
        assert_eq!(turns(&actions), [&HaltChange::Halted(halt_of(level))]);
        assert_eq!(world.status("a").halt, Some(halt_of(level)));
    }
}

#[test]
fn what_was_killed_stays_down_and_counts_as_no_failure() {
    let mut world = running();
    world.ask(halt(HaltLevel::Kill));
    let actions = world.gone("a", crate::death::ExitStatus::Signal(9));
    assert_eq!(outcomes(&actions), [(1, "halted", false)]);
    assert_eq!(spawns(&world.pass(secs(10_000))).count(), 0);
    assert_eq!(world.face("a"), (Stopped, "halted"));
    world.ask(lift());
    assert_eq!(world.newest("a").generation, Generation(2));
    world.started("a");
    assert_eq!(world.face("a"), (Running, "up"));
    assert_eq!(world.status("a").restarts, 0);
}

#[test]
fn levels_go_up_and_down() {
    let mut world = running();
    world.ask(halt(HaltLevel::Freeze));
    assert_eq!(world.face("a"), (Paused, "halted"));
    let before = world.done.len();
    world.ask(halt(HaltLevel::Runs));
    assert_eq!(orders(&since(&world, before)), ["thaw a#1"]);
    let before = world.done.len();
    world.ask(halt(HaltLevel::Kill));
    assert_eq!(orders(&since(&world, before)), ["kill a#1"]);
    assert_eq!(world.status("a").switch_changes.len(), 3);
}

#[test]
fn the_same_halt_again_keeps_its_time_and_its_words() {
    let mut world = running();
    world.ask(halt(HaltLevel::Runs));
    world.pass(secs(60));
    let again = Halt {
        since: world.now.wall,
        by: "uid 0".to_owned(),
        why: None,
        ..halt_of(HaltLevel::Runs)
    };
    let again = Command::Halt {
        agent: name("a"),
        halt: again,
    };
    assert_eq!(word(world.ask(again)), "done");
    assert_eq!(world.status("a").halt, Some(halt_of(HaltLevel::Runs)));
}

#[test]
fn nobody_starts_what_is_halted() {
    type Prepare<'a> = &'a dyn Fn(&mut World);
    let states: [Prepare<'_>; 4] = [
        &|world| drop(world.started("a")),
        &|world| world.crash_once("a"),
        &|world| {
            world.started("a");
            world.ask_later(stop("a"));
            world.exits("a", 0);
        },
        &|_| {},
    ];
    for prepare in states {
        let mut world = World::new(vec![("a", daemon())]);
        prepare(&mut world);
        world.ask(halt(HaltLevel::Runs));
        let commands = [start("a"), restart("a"), trigger("a"), resume()];
        let answers = commands.map(|command| word(world.ask(command)));
        assert_eq!(answers, ["halted"; 4]);
        let mut changed = daemon();
        changed.launch.command.push("--other".to_owned());
        world.configure(vec![("a", changed)]);
        let actions = world.pass(secs(10_000));
        assert_eq!(spawns(&actions).count(), 0);
    }
}

#[test]
fn a_start_under_way_is_called_off_and_made_up_for() {
    let mut world = World::new(vec![]);
    world.journal = Journal::Silent;
    world.configure(vec![("a", daemon())]);
    world.journal = Journal::Answers;
    let ticket = world.ask_later(halt(HaltLevel::Runs));
    assert_eq!(word(world.answer(ticket)), "done");
    assert_eq!(outcomes(&world.done), [(1, "halted", false)]);
    assert_eq!(spawns(&world.pass(secs(1000))).count(), 0);
    world.ask(lift());
    assert_eq!(spawns(&world.done).count(), 1);
}

#[test]
fn nothing_is_taken_away_before_it_is_written_down_unless_the_journal_is_out() {
    for journal in [Journal::Fails, Journal::Silent] {
        let mut world = running();
        world.journal = Journal::Silent;
        let before = world.done.len();
        let ticket = world.ask_later(halt(HaltLevel::Kill));
        assert_eq!(orders(&since(&world, before)), [""; 0]);
        assert_eq!(word(world.ask(start("a"))), "halted");
        world.journal = journal;
        let actions = world.pass(secs(5));
        assert_eq!(orders(&actions), ["kill a#1"]);
        assert_eq!(word(world.answer(ticket)), "halt_unrecorded");
        assert_eq!(world.status("a").halt, Some(halt_of(HaltLevel::Kill)));
    }
}

#[test]
fn a_lift_that_is_not_written_down_is_taken_back() {
    let mut world = running();
    world.ask(halt(HaltLevel::Freeze));
    world.journal = Journal::Silent;
    let ticket = world.ask_later(lift());
    assert_eq!(word(world.ask(start("a"))), "halted");
    let actions = world.pass(secs(5));
    assert_eq!(word(world.answer(ticket)), "journal_unavailable");
    world.journal = Journal::Answers;
    let later = world.pass(secs(100));
    assert_eq!(orders(&[actions, later].concat()), [""; 0]);
    assert_eq!(world.status("a").halt, Some(halt_of(HaltLevel::Freeze)));
}

#[test]
fn a_halt_that_is_lifted_before_it_is_written_down_holds_until_that_is() {
    let mut world = World::new(vec![("a", daemon())]);
    world.crash_once("a");
    world.journal = Journal::Silent;
    world.ask_later(halt(HaltLevel::Kill));
    world.ask_later(lift());
    assert_eq!(word(world.ask(start("a"))), "halted");
    world.journal = Journal::Answers;
    world.pass(secs(10));
    assert_eq!(spawns(&world.done).count(), 2);
    assert_eq!(world.status("a").halt, None);
}

#[test]
fn only_what_is_halted_is_let_go() {
    let mut world = running();
    assert_eq!(word(world.ask(lift())), "not_halted");
    assert_eq!(world.face("a"), (Running, "up"));
}

#[test]
fn a_lift_brings_back_what_was_wanted_before() {
    let mut world = running();
    world.ask(halt(HaltLevel::Runs));
    world.ask_later(stop("a"));
    world.exits("a", 0);
    world.ask(lift());
    assert_eq!(world.face("a"), (Stopped, "asked"));

    let mut world = running();
    world.ask(halt(HaltLevel::Runs));
    world.exits("a", 1);
    world.pass(secs(2));
    assert_eq!(world.face("a"), (Paused, "halted"));
    world.ask(lift());
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn what_stands_still_for_a_halt_is_killed_and_not_woken_when_it_has_to_end() {
    let mut world = running();
    world.ask(halt(HaltLevel::Freeze));
    let before = world.done.len();
    world.ask_later(stop("a"));
    assert_eq!(orders(&since(&world, before)), ["kill a#1"]);
}

#[test]
fn a_run_that_is_called_off_while_it_stands_still_is_killed_and_not_woken() {
    let mut world = World::new(vec![("a", every(secs(3600), Overlap::Queue))]);
    let asked = world.ask(trigger("a"));
    let Some(Ok(Answer::Run(run))) = asked else {
        panic!("{asked:?}");
    };
    world.started("a");
    world.ask(halt(HaltLevel::Freeze));
    let before = world.done.len();
    world.ask_later(Command::Cancel {
        agent: name("a"),
        run: run.id,
    });
    assert_eq!(orders(&since(&world, before)), ["kill a#1"]);
}

#[test]
fn nothing_is_held_against_what_stands_still() {
    let mut spec = daemon();
    spec.probes.liveness = Some(probe(tcp(), 10, 1));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.pass(secs(10));
    world.ask(halt(HaltLevel::Freeze));
    let failure = ProbeOutcome::Failure("no answer".to_owned());
    let actions = world.probed("a", crate::order::ProbeKind::Liveness, failure);
    assert_eq!(orders(&actions), [""; 0]);
    assert_eq!(orders(&world.pass(secs(10_000))), [""; 0]);
    let before = world.done.len();
    world.ask(lift());
    assert_eq!(
        orders(&since(&world, before)),
        ["thaw a#1", "probe liveness a#1"]
    );
}

fn left(level: HaltLevel, found: Option<Recovered>) -> Inheritance {
    let memory = AgentMemory {
        last_generation: Generation(7),
        switch: Box::new(KillSwitch {
            halt: Some(halt_of(level)),
            changes: Vec::new(),
        }),
        ..AgentMemory::default()
    };
    let mut inheritance = Inheritance::default();
    inheritance.agents.insert(name("a"), memory);
    if let Some(found) = found {
        let instance = InstanceId {
            agent: name("a"),
            generation: Generation(7),
        };
        inheritance.instances.push((instance, None, found));
    }
    inheritance
}

#[test]
fn the_next_supervisor_finds_it_halted() {
    for level in HaltLevel::ALL {
        let mut world = World::restored(vec![("a", daemon())], left(level, None));
        assert_eq!(spawns(&world.pass(secs(1000))).count(), 0, "{level}");
        assert_eq!(word(world.ask(start("a"))), "halted");
    }
    let alive = || Recovered::Alive {
        pid: 42,
        at: begin().wall,
        image: None,
    };
    let table: [(HaltLevel, &[&str]); 3] = [
        (HaltLevel::Runs, &["thaw a#7"]),
        (HaltLevel::Freeze, &["freeze a#7"]),
        (HaltLevel::Kill, &["thaw a#7", "kill a#7"]),
    ];
    for (level, expected) in table {
        let world = World::restored(vec![("a", daemon())], left(level, Some(alive())));
        assert_eq!(orders(&world.done), expected, "{level}");
    }
}

#[test]
fn what_a_kill_ended_while_nobody_watched_counts_as_no_failure() {
    let report = super::world::report(begin().wall, crate::death::ExitStatus::Signal(9));
    let found = Recovered::Ended(report);
    let world = World::restored(vec![("a", daemon())], left(HaltLevel::Kill, Some(found)));
    assert_eq!(outcomes(&world.done), [(7, "halted", false)]);
}

#[test]
fn who_leaves_the_fleet_halted_comes_back_halted() {
    let mut world = running();
    world.ask(halt(HaltLevel::Kill));
    world.gone("a", crate::death::ExitStatus::Signal(9));
    world.configure(vec![]);
    world.configure(vec![("a", daemon())]);
    assert_eq!(spawns(&world.pass(secs(1000))).count(), 0);
    assert_eq!(word(world.ask(start("a"))), "halted");

    // Also when another supervisor ran in between, whose file did not name it.
    let inheritance = left(HaltLevel::Runs, None);
    let mut world = World::restored(vec![], inheritance);
    world.configure(vec![("a", daemon())]);
    assert_eq!(word(world.ask(start("a"))), "halted");
}

#[test]
fn slots_wait_for_the_end_of_the_halt_and_are_caught_up_by_their_policy() {
    let table = [
        (CatchUp::None, 0, 5),
        (CatchUp::One, 1, 4),
        (CatchUp::All, 5, 0),
    ];
    for (catch_up, caught_up, missed) in table {
        let mut spec = every(secs(100), Overlap::Queue);
        if let Some(schedule) = &mut spec.schedule {
            schedule.catch_up = catch_up;
        }
        let mut world = World::new(vec![("a", spec)]);
        world.ask(halt(HaltLevel::Runs));
        let actions = world.pass(secs(550));
        assert_eq!(fates(&actions), []);
        assert_eq!(world.status("a").runs.held_slots, 5);
        let before = world.done.len();
        world.ask(lift());
        let fates = fates(&since(&world, before));
        let count = |wanted| fates.iter().filter(|(_, fate)| *fate == wanted).count();
        let found = (
            count(crate::action::SlotFate::CaughtUp),
            count(crate::action::SlotFate::Missed),
        );
        assert_eq!(found, (caught_up, missed), "{catch_up:?}");
        assert_eq!(world.status("a").runs.held_slots, 0);
    }
}

#[test]
fn a_worker_finishes_what_it_has_and_is_given_nothing_new() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    world.started("a");
    world.ready("a");
    world.ask(trigger("a"));
    world.ask(trigger("a"));
    let (instance, first) = deliveries(&world.done).next().expect("it is ready");
    world.ask(halt(HaltLevel::Runs));
    let actions = world.fact(Fact::RunFinished {
        instance,
        run: first.run,
        attempt: 1,
        outcome: crate::run::WorkOutcome::Succeeded,
    });
    assert_eq!(run_phases(&actions), ["succeeded"]);
    assert_eq!(deliveries(&world.done).count(), 1);
    assert_eq!(world.status("a").runs.queued, 1);
    world.ask(lift());
    assert_eq!(deliveries(&world.done).count(), 2);
}

#[test]
fn a_kill_cancels_the_runs_under_way() {
    let mut world = World::new(vec![("a", every(secs(3600), Overlap::Queue))]);
    world.ask(trigger("a"));
    world.started("a");
    world.ask(halt(HaltLevel::Kill));
    let actions = world.gone("a", crate::death::ExitStatus::Signal(9));
    assert_eq!(run_phases(&actions), ["cancelled: halted"]);

    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    world.started("a");
    world.ready("a");
    world.ask(trigger("a"));
    world.ask(halt(HaltLevel::Kill));
    let actions = world.gone("a", crate::death::ExitStatus::Signal(9));
    assert_eq!(run_phases(&actions), ["cancelled: halted"]);
}

#[test]
fn another_configuration_waits_for_the_end_of_the_halt() {
    let mut world = running();
    world.ask(halt(HaltLevel::Freeze));
    let mut changed = daemon();
    changed.launch.command.push("--other".to_owned());
    let before = world.done.len();
    world.configure(vec![("a", changed)]);
    assert_eq!(orders(&since(&world, before)), [""; 0]);
    let before = world.done.len();
    world.ask(lift());
    assert_eq!(
        orders(&since(&world, before)),
        ["thaw a#1", "signal 15 a#1"]
    );
}
