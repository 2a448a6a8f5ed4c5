//! Oneshots: runs, retries, overlap, timeouts.

use crate::action::{Action, Answer};
use crate::death::ExitStatus;
use crate::event::Command;
use crate::id::{InstanceId, RunId};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::run::RunPhase;
use crate::spec::{Overlap, RestartPolicy};
use crate::status::PublicState::{Error, Initializing, Running, Stopped};

use super::world::{
    Journal, World, every, name, oneshot, orders, outcomes, records, run_phases, secs, spawns,
    start, stop, trigger,
};

/// An agent that waits for triggers.
fn waiting(overlap: Overlap) -> World {
    World::new(vec![("a", every(secs(1_000_000), overlap))])
}

fn run_of(world: &mut World) -> RunId {
    match world.ask(trigger("a")) {
        Some(Ok(Answer::Run(run))) => run.id,
        Some(Ok(_) | Err(_)) | None => panic!("no run was accepted"),
    }
}

fn spawned(actions: &[Action]) -> Vec<(InstanceId, RunId, u32)> {
    spawns(actions)
        .map(|(instance, run)| {
            let run = run.expect("a oneshot is started for a run");
            (instance, run.run, run.attempt)
        })
        .collect()
}

#[test]
fn one_without_a_schedule_runs_once_and_still_takes_triggers() {
    let mut world = World::new(vec![("a", oneshot())]);
    assert_eq!(world.face("a"), (Running, "working"));
    world.started("a");
    world.exits("a", 0);
    assert_eq!(world.face("a"), (Stopped, "completed"));
    run_of(&mut world);
    assert_eq!(world.face("a"), (Running, "working"));
    world.started("a");
    world.exits("a", 0);
    assert_eq!(world.face("a"), (Stopped, "completed"));
    assert_eq!(world.status("a").runs.succeeded, 2);
    world.ask(start("a"));
    assert_eq!(world.face("a"), (Running, "working"));
}

#[test]
fn a_trigger_is_answered_and_started_when_the_journal_has_it() {
    let mut world = waiting(Overlap::Skip);
    world.journal = Journal::Silent;
    let ticket = world.ask_later(trigger("a"));
    assert_eq!(world.answer(ticket), None);
    assert_eq!(world.face("a"), (Initializing, "queued"));
    world.pass(secs(5));
    let answer = world.answer(ticket);
    assert!(matches!(
        answer,
        Some(Err(Refusal::JournalUnavailable { .. }))
    ));
    let dropped = |(_, record): (_, &Record)| {
        let Record::Run(run) = record else {
            return false;
        };
        matches!(run.phase, RunPhase::Finished { .. })
    };
    assert!(records(&world.done).any(dropped));
    assert!(orders(&world.done).is_empty());
}

#[test]
fn a_run_goes_from_queued_to_its_outcome() {
    let mut world = waiting(Overlap::Skip);
    let before = world.done.len();
    let run = run_of(&mut world);
    world.started("a");
    world.exits("a", 0);
    assert_eq!(
        run_phases(&world.done[before..]),
        ["queued", "running", "succeeded"]
    );
    let spawns = spawned(&world.done[before..]);
    assert_eq!(spawns, [(world.newest("a"), run, 1)]);
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn a_failed_attempt_is_retried_by_the_restart_policy() {
    let mut world = waiting(Overlap::Skip);
    let before = world.done.len();
    let run = run_of(&mut world);
    for backoff in [5, 10] {
        world.started("a");
        world.exits("a", 1);
        assert_eq!(world.face("a"), (Error, "backing_off"));
        assert_eq!(world.due_in(), Some(secs(backoff)));
        world.pass(secs(backoff));
    }
    world.started("a");
    world.exits("a", 1);
    let spawns: Vec<_> = spawned(&world.done[before..])
        .into_iter()
        .map(|(instance, run, attempt)| (instance.generation.0, run, attempt))
        .collect();
    assert_eq!(spawns, [(1, run, 1), (2, run, 2), (3, run, 3)]);
    assert_eq!(
        run_phases(&world.done[before..]).last().map(String::as_str),
        Some("failed: exit")
    );
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn without_retries_a_failed_run_has_failed() {
    let mut spec = every(secs(1_000_000), Overlap::Skip);
    spec.restart.policy = RestartPolicy::Never;
    let mut world = World::new(vec![("a", spec)]);
    run_of(&mut world);
    world.started("a");
    let actions = world.exits("a", 1);
    assert_eq!(run_phases(&actions), ["failed: exit"]);
    assert_eq!(outcomes(&actions), [(1, "exit", true)]);
}

#[test]
fn queue_runs_one_after_the_other_in_order() {
    let mut world = waiting(Overlap::Queue);
    let runs = [run_of(&mut world), run_of(&mut world), run_of(&mut world)];
    for _ in 0..3 {
        world.started("a");
        world.exits("a", 0);
    }
    let order: Vec<RunId> = spawned(&world.done)
        .into_iter()
        .map(|(_, run, _)| run)
        .collect();
    assert_eq!(order, runs);
}

#[test]
fn replace_ends_the_run_under_way() {
    let mut world = waiting(Overlap::Replace);
    run_of(&mut world);
    world.started("a");
    let before = world.done.len();
    let newer = run_of(&mut world);
    assert_eq!(orders(&world.done[before..]), ["signal 15 a#1"]);
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert_eq!(run_phases(&actions), ["cancelled: replaced"]);
    let (_, run, _) = spawned(&actions).remove(0);
    assert_eq!(run, newer);
}

#[test]
fn allow_runs_them_side_by_side() {
    let mut world = waiting(Overlap::Allow);
    let first = run_of(&mut world);
    let old = world.newest("a");
    world.started("a");
    let second = run_of(&mut world);
    world.started("a");
    assert_eq!(world.status("a").runs.active, 2);
    let actions = world.gone_of(old, ExitStatus::Code(0));
    assert_eq!(run_phases(&actions), ["succeeded"]);
    assert_eq!(world.status("a").runs.active, 1);
    let runs: Vec<RunId> = spawned(&world.done)
        .into_iter()
        .map(|(_, run, _)| run)
        .collect();
    assert_eq!(runs, [first, second]);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_has_failed() {
    let mut spec = every(secs(1_000_000), Overlap::Skip);
    if let Some(schedule) = &mut spec.schedule {
        schedule.timeout = Some(secs(60));
    }
    spec.restart.policy = RestartPolicy::Never;
    let mut world = World::new(vec![("a", spec)]);
    run_of(&mut world);
    world.started("a");
    assert_eq!(orders(&world.pass(secs(60))), ["signal 15 a#1"]);
    assert_eq!(orders(&world.pass(secs(30))), ["kill a#1"]);
    let actions = world.gone("a", ExitStatus::Signal(9));
    assert_eq!(run_phases(&actions), ["failed: run_timeout"]);
}

#[test]
fn a_queue_has_an_end() {
    let mut world = waiting(Overlap::Queue);
    run_of(&mut world);
    world.started("a");
    for _ in 0..100 {
        run_of(&mut world);
    }
    let answer = world.ask(trigger("a"));
    assert!(matches!(
        answer,
        Some(Err(Refusal::QueueFull { queued: 100, .. }))
    ));
}

#[test]
fn a_run_can_be_called_off_in_every_stage() {
    let mut world = waiting(Overlap::Queue);
    let agent = name("a");
    let (running, queued) = (run_of(&mut world), run_of(&mut world));
    world.started("a");
    let cancel = |run| Command::Cancel {
        agent: agent.clone(),
        run,
    };
    assert!(matches!(
        world.ask(cancel(queued)),
        Some(Ok(Answer::Run(_)))
    ));
    let ticket = world.ask_later(cancel(running));
    assert_eq!(world.answer(ticket), None);
    world.gone("a", ExitStatus::Signal(15));
    assert!(matches!(world.answer(ticket), Some(Ok(Answer::Run(_)))));
    let again = world.ask(cancel(running));
    assert!(matches!(again, Some(Err(Refusal::NoSuchRun { .. }))));
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn stop_calls_off_what_waits_and_ends_what_runs() {
    let mut world = waiting(Overlap::Queue);
    run_of(&mut world);
    run_of(&mut world);
    world.started("a");
    let before = world.done.len();
    let ticket = world.ask_later(stop("a"));
    world.gone("a", ExitStatus::Signal(15));
    assert_eq!(
        run_phases(&world.done[before..]),
        ["cancelled: asked", "cancelled: asked"]
    );
    assert!(matches!(world.answer(ticket), Some(Ok(_))));
    assert_eq!(world.face("a"), (Stopped, "asked"));
    assert!(orders(&world.pass(secs(2_000_000))).is_empty());
}
