//! What is asked in which phase, and what is answered.

use crate::action::{Action, Answer};
use crate::event::{Command, Event, Fact, Freeze, ShutdownMode};
use crate::record::{Record, RecordId};
use crate::refusal::Refusal;
use crate::spec::Overlap;
use crate::status::PublicState::{self, Paused, Running, Stopped};

use super::world::{
    Journal, World, daemon, every, name, oneshot, orders, records, restart, secs, start, stop,
    trigger,
};

fn pause(agent: &str) -> Command {
    Command::Pause {
        agent: name(agent),
        freeze: Freeze::No,
    }
}

fn resume(agent: &str) -> Command {
    Command::Resume { agent: name(agent) }
}

/// The state in a good answer, or the code of the refusal, or nothing yet.
fn word(answer: Option<Result<Answer, Refusal>>) -> &'static str {
    match answer {
        None => "waits",
        Some(Ok(Answer::Status(status))) => status.state.as_str(),
        Some(Ok(Answer::Run(_))) => "run",
        Some(Ok(Answer::Configured { .. })) => "configured",
        Some(Err(refusal)) => refusal.code(),
    }
}

/// Brings a fresh daemon into a phase.
fn daemon_in(phase: &str) -> World {
    let mut world = World::new(vec![("a", daemon())]);
    match phase {
        "spawning" => {}
        "running" => drop(world.started("a")),
        "backing off" => world.crash_once("a"),
        "stopping" => {
            world.started("a");
            world.ask_later(stop("a"));
        }
        "stopped" => {
            world.started("a");
            world.ask_later(stop("a"));
            world.exits("a", 0);
        }
        "paused" => {
            world.started("a");
            world.ask(pause("a"));
        }
        "ending" => {
            world.started("a");
            world.event(Event::Shutdown(ShutdownMode::Stop));
        }
        other => unreachable!("{other} is no phase"),
    }
    world
}

#[test]
fn a_daemon_answers_each_command_by_its_phase() {
    // start, stop, restart, pause, resume
    let table = [
        ("spawning", "initializing waits waits paused not_paused"),
        ("running", "running waits waits paused not_paused"),
        (
            "backing off",
            "initializing stopped waits paused not_paused",
        ),
        ("stopping", "stopping waits waits stopping not_paused"),
        ("stopped", "initializing stopped waits stopped not_paused"),
        ("paused", "paused waits paused paused running"),
        (
            "ending",
            "shutting_down shutting_down shutting_down shutting_down shutting_down",
        ),
    ];
    for (phase, expected) in table {
        let commands = [start, stop, restart, pause, resume];
        let answers = commands.map(|command| word(daemon_in(phase).ask(command("a"))));
        assert_eq!(answers.join(" "), expected, "{phase}");
    }
    assert_eq!(
        word(daemon_in("running").ask(trigger("a"))),
        "takes_no_runs"
    );
}

#[test]
fn a_oneshot_takes_triggers_by_its_phase() {
    let answer_in = |prepare: &dyn Fn(&mut World)| {
        let mut world = World::new(vec![("a", every(secs(3600), Overlap::Skip))]);
        prepare(&mut world);
        word(world.ask(trigger("a")))
    };
    let busy = |world: &mut World| {
        world.ask(trigger("a"));
        world.started("a");
    };
    type Prepare<'a> = &'a dyn Fn(&mut World);
    let table: [(&str, Prepare<'_>); 7] = [
        ("run", &|_| {}),
        ("busy", &busy),
        ("busy", &|world| {
            world.ask(trigger("a"));
            world.started("a");
            world.exits("a", 1);
        }),
        ("paused", &|world| drop(world.ask(pause("a")))),
        ("stopped", &|world| drop(world.ask(stop("a")))),
        ("stopping", &|world| {
            busy(world);
            world.ask_later(stop("a"));
        }),
        ("shutting_down", &|world| {
            world.event(Event::Shutdown(ShutdownMode::Stop));
        }),
    ];
    for (expected, prepare) in table {
        assert_eq!(answer_in(prepare), expected);
    }
}

#[test]
fn a_oneshot_that_was_given_up_refuses_triggers_until_it_is_started() {
    let mut world = World::new(vec![("a", oneshot())]);
    for _ in 0..3 {
        world.crashes("a");
    }
    assert_eq!(world.face("a"), (Stopped, "gave_up"));
    assert_eq!(word(world.ask(trigger("a"))), "gave_up");
    assert_eq!(word(world.ask(start("a"))), "initializing");
}

#[test]
fn nobody_knows_an_agent_that_is_not_there() {
    let mut world = World::new(vec![]);
    assert_eq!(word(world.ask(start("ghost"))), "no_such_agent");
}

#[test]
fn a_restart_is_answered_when_the_successor_runs() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let ticket = world.ask_later(restart("a"));
    world.exits("a", 0);
    assert_eq!(world.answer(ticket), None);
    world.started("a");
    assert_eq!(word(world.answer(ticket)), "running");
    assert_eq!(world.status("a").restarts, 0);
}

#[test]
fn a_restart_whose_successor_fails_is_answered_too() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let ticket = world.ask_later(restart("a"));
    world.exits("a", 0);
    world.exits("a", 1);
    assert_eq!(word(world.answer(ticket)), "error");
}

#[test]
fn a_newer_command_supersedes_and_joins_its_like() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let stops = [world.ask_later(stop("a")), world.ask_later(stop("a"))];
    world.exits("a", 0);
    assert_eq!(
        stops.map(|ticket| word(world.answer(ticket))),
        ["stopped"; 2]
    );

    world.ask(start("a"));
    world.started("a");
    let first = world.ask_later(stop("a"));
    let second = world.ask_later(restart("a"));
    assert_eq!(word(world.answer(first)), "superseded");
    world.exits("a", 0);
    world.started("a");
    assert_eq!(word(world.answer(second)), "running");
}

#[test]
fn a_goal_is_promised_only_when_it_is_written_down() {
    for journal in [Journal::Fails, Journal::Silent] {
        let mut world = daemon_in("stopped");
        world.journal = journal;
        let ticket = world.ask_later(start("a"));
        world.pass(secs(5));
        assert_eq!(word(world.answer(ticket)), "journal_unavailable");
        world.journal = Journal::Answers;
        let actions = world.pass(secs(1000));
        assert!(
            !orders(&actions)
                .iter()
                .any(|order| order.starts_with("spawn"))
        );
        assert_eq!(world.face("a"), (Stopped, "asked"));
    }
}

#[test]
fn a_stop_is_told_to_the_agent_when_it_is_written_down() {
    let mut world = daemon_in("running");
    world.journal = Journal::Silent;
    world.ask_later(stop("a"));
    let record = promised(&world.done);
    assert!(!orders(&world.done).iter().any(|order| is_signal(order)));
    world.exits("a", 1);
    assert_eq!(world.face("a"), (Stopped, "asked"), "nothing new begins");

    let mut world = daemon_in("running");
    world.journal = Journal::Silent;
    world.ask_later(stop("a"));
    assert_eq!(promised(&world.done), record);
    let actions = world.fact(Fact::Recorded(record));
    assert_eq!(orders(&actions), ["signal 15 a#1"]);
}

#[test]
fn a_journal_that_does_not_answer_delays_a_stop_and_does_not_prevent_it() {
    for (journal, delay) in [(Journal::Fails, 0), (Journal::Silent, 5)] {
        let mut world = daemon_in("running");
        world.journal = journal;
        let ticket = world.ask_later(stop("a"));
        world.pass(secs(delay));
        assert!(
            orders(&world.done).iter().any(|order| is_signal(order)),
            "{journal:?}"
        );
        assert_eq!(word(world.answer(ticket)), "journal_unavailable");
    }
}

#[test]
fn a_start_takes_back_a_stop_that_nobody_was_told_of() {
    let mut world = daemon_in("running");
    world.journal = Journal::Silent;
    let stopped = world.ask_later(stop("a"));
    world.ask_later(start("a"));
    assert_eq!(word(world.answer(stopped)), "superseded");
    world.pass(secs(60));
    assert!(!orders(&world.done).iter().any(|order| is_signal(order)));
    assert_eq!(world.face("a"), (Running, "up"));
}

fn is_signal(order: &str) -> bool {
    order.starts_with("signal")
}

/// The record of a goal that was handed over last.
fn promised(done: &[Action]) -> RecordId {
    let memory = |(_, record): &(_, &Record)| matches!(record, Record::Memory { .. });
    let mut memories = records(done).rev().filter(memory);
    memories
        .find_map(|(id, _)| id)
        .expect("a goal is on its way")
}

#[test]
fn a_paused_daemon_goes_on_but_is_not_started_again() {
    let mut world = daemon_in("paused");
    assert_eq!(world.face("a"), (Paused, "paused"));
    world.exits("a", 1);
    let actions = world.pass(secs(1000));
    assert!(
        !orders(&actions)
            .iter()
            .any(|order| order.starts_with("spawn"))
    );
    assert_eq!(world.face("a"), (Paused, "paused"));
    world.ask(resume("a"));
    world.started("a");
    assert_eq!(world.face("a"), (Running, "up"));
}

#[test]
fn stop_ends_a_pause() {
    let mut world = daemon_in("paused");
    world.ask_later(stop("a"));
    world.exits("a", 0);
    assert_eq!(
        word(world.ask(start("a"))),
        PublicState::Initializing.as_str()
    );
}
