//! Daemons: start, restart, stop, kill.

use crate::death::{ExitStatus, SpawnError, SpawnStage};
use crate::event::Fact;
use crate::id::InstanceId;
use crate::order::{Hook, HookOutcome};
use crate::record::Record;
use crate::spec::{HookSpec, RestartPolicy};
use crate::status::PublicState::{Error, Initializing, Running, Stopped, Stopping};

use super::world::{
    Journal, World, begin, daemon, orders, outcomes, records, report, secs, stale, start, stop,
};

#[test]
fn nothing_is_spawned_before_the_journal_has_the_intent() {
    let mut world = World::new(vec![]);
    world.journal = Journal::Silent;
    let actions = world.configure(vec![("a", daemon())]);
    assert!(orders(&actions).is_empty());
    assert_eq!(world.face("a"), (Initializing, "spawning"));
    let intent = records(&world.done)
        .find(|(_, record)| matches!(record, Record::Intent { .. }))
        .and_then(|(id, _)| id);
    let actions = world.fact(Fact::Recorded(intent.expect("an intent")));
    assert_eq!(orders(&actions), ["spawn a#1"]);
}

#[test]
fn a_journal_that_fails_delays_the_start_and_never_gives_up() {
    let mut spec = daemon();
    spec.restart.max_retries = Some(1);
    let mut world = World::new(vec![]);
    world.journal = Journal::Fails;
    world.configure(vec![("a", spec)]);
    world.pass(secs(3600));
    assert_eq!(world.face("a"), (Error, "backing_off"));
    assert!(orders(&world.done).is_empty());
    world.journal = Journal::Answers;
    let actions = world.pass(secs(300));
    assert!(
        orders(&actions)
            .iter()
            .any(|order| order.starts_with("spawn"))
    );
}

#[test]
fn the_gaps_between_restarts_grow_to_the_cap_and_stay() {
    let mut world = World::new(vec![("a", daemon())]);
    let mut gaps = Vec::new();
    for _ in 0..8 {
        world.started("a");
        world.exits("a", 1);
        assert_eq!(world.face("a"), (Error, "backing_off"));
        gaps.push(world.due_in().expect("a backoff").as_secs());
        let early = world.due_in().expect("a backoff") - secs(1);
        assert!(orders(&world.pass(early)).is_empty());
        assert_eq!(orders(&world.pass(secs(1))).len(), 1);
    }
    assert_eq!(gaps, [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(world.status("a").restarts, 8);
}

#[test]
fn a_daemon_that_ends_well_again_and_again_backs_off_too() {
    let mut world = World::new(vec![("a", daemon())]);
    for expected in [5, 10, 20] {
        world.started("a");
        world.exits("a", 0);
        assert_eq!(world.due_in(), Some(secs(expected)));
        world.pass(secs(expected));
    }
}

#[test]
fn healthy_operation_resets_the_delay() {
    let mut world = World::new(vec![("a", daemon())]);
    for _ in 0..3 {
        world.crashes("a");
    }
    world.started("a");
    world.pass(secs(3600));
    world.exits("a", 1);
    assert_eq!(world.due_in(), Some(secs(5)));
}

#[test]
fn one_more_failure_than_retries_gives_up_and_start_tries_again() {
    let mut spec = daemon();
    spec.restart.max_retries = Some(2);
    let mut world = World::new(vec![("a", spec)]);
    for _ in 0..3 {
        world.crashes("a");
    }
    assert_eq!(world.face("a"), (Stopped, "gave_up"));
    world.pass(secs(10_000));
    assert_eq!(world.face("a"), (Stopped, "gave_up"));
    assert!(matches!(world.ask(start("a")), Some(Ok(_))));
    world.started("a");
    world.exits("a", 1);
    assert_eq!(world.due_in(), Some(secs(5)));
}

#[test]
fn each_policy_and_exit_code_leads_where_it_says() {
    use RestartPolicy::{Always, Never, OnFailure};
    let table = [
        (Always, 0, (Error, "backing_off")),
        (Always, 1, (Error, "backing_off")),
        (OnFailure, 0, (Stopped, "completed")),
        (OnFailure, 1, (Error, "backing_off")),
        (OnFailure, 78, (Stopped, "gave_up")),
        (OnFailure, 99, (Initializing, "spawning")),
        (Never, 0, (Stopped, "completed")),
        (Never, 1, (Stopped, "not_restarted")),
    ];
    for (policy, code, face) in table {
        let mut spec = daemon();
        spec.restart.policy = policy;
        let mut world = World::new(vec![("a", spec)]);
        world.started("a");
        world.exits("a", code);
        assert_eq!(world.face("a"), face, "{policy:?} {code}");
    }
}

#[test]
fn a_stop_gives_the_whole_grace_then_kills_until_it_is_gone() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let ticket = world.ask_later(stop("a"));
    assert_eq!(
        orders(&world.done).last().map(String::as_str),
        Some("signal 15 a#1")
    );
    assert_eq!(world.face("a"), (Stopping, "ending"));
    assert!(orders(&world.pass(secs(29))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["kill a#1"]);
    assert_eq!(orders(&world.pass(secs(20))), ["kill a#1", "kill a#1"]);
    assert_eq!(world.answer(ticket), None);
    let actions = world.gone("a", ExitStatus::Signal(9));
    assert_eq!(outcomes(&actions), [(1, "asked", true)]);
    assert_eq!(world.face("a"), (Stopped, "asked"));
    assert!(world.answer(ticket).is_some_and(|answer| answer.is_ok()));
}

#[test]
fn leftovers_of_an_ended_main_process_are_killed_after_the_grace() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let instance = world.newest("a");
    let status = ExitStatus::Code(3);
    world.fact(Fact::MainExited { instance, status });
    assert!(orders(&world.pass(secs(29))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["kill a#1"]);
    let actions = world.exits("a", 3);
    assert_eq!(outcomes(&actions), [(1, "exit", true)]);
}

#[test]
fn a_start_during_a_stop_waits_for_the_end() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let stopping = world.ask_later(stop("a"));
    let actions_before = world.done.len();
    assert!(matches!(world.ask(start("a")), Some(Ok(_))));
    assert!(world.answer(stopping).is_some_and(|answer| answer.is_err()));
    assert!(orders(&world.done[actions_before..]).is_empty());
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert!(orders(&actions).contains(&"spawn a#2".to_owned()));
}

#[test]
fn a_stop_during_backoff_leaves_no_ghost() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.exits("a", 1);
    assert!(matches!(world.ask(stop("a")), Some(Ok(_))));
    assert!(orders(&world.pass(secs(1000))).is_empty());
    assert_eq!(world.face("a"), (Stopped, "asked"));
}

#[test]
fn a_start_during_backoff_starts_now() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.exits("a", 1);
    let before = world.done.len();
    assert!(matches!(world.ask(start("a")), Some(Ok(_))));
    assert_eq!(orders(&world.done[before..]), ["spawn a#2"]);
}

#[test]
fn a_spawn_that_fails_counts_as_a_failure_and_shows_its_text() {
    let mut world = World::new(vec![("a", daemon())]);
    let instance = world.newest("a");
    let error = SpawnError {
        stage: SpawnStage::Exec,
        errno: 2,
        detail: "cannot execute `agent`: no such file".to_owned(),
    };
    let actions = world.fact(Fact::SpawnFailed { instance, error });
    assert_eq!(outcomes(&actions), [(1, "spawn", true)]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn facts_of_another_life_are_ignored_and_told() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let old = world.newest("a");
    world.exits("a", 1);
    world.pass(secs(5));
    world.started("a");
    let actions = world.gone_of(old, ExitStatus::Code(0));
    assert_eq!((stale(&actions), outcomes(&actions).len()), (1, 0));
    assert_eq!(world.face("a"), (Running, "up"));
}

#[test]
fn an_instance_is_released_only_when_its_outcome_is_recorded() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.journal = Journal::Fails;
    assert!(orders(&world.exits("a", 1)).is_empty());
    world.journal = Journal::Answers;
    let actions = world.pass(secs(5));
    assert!(orders(&actions).contains(&"release a#1".to_owned()));
}

#[test]
fn hooks_run_before_the_start_and_after_the_end() {
    let mut spec = daemon();
    let hook = HookSpec {
        command: vec!["/bin/hook".to_owned()],
        timeout: secs(10),
    };
    spec.hooks.pre_start = Some(hook.clone());
    spec.hooks.post_stop = Some(hook);
    let mut world = World::new(vec![("a", spec)]);
    assert_eq!(orders(&world.done), ["hook pre_start a#1"]);
    let instance = world.newest("a");
    let done = |hook, outcome| Fact::HookDone {
        instance: instance.clone(),
        hook,
        outcome,
    };
    let actions = world.fact(done(Hook::PreStart, HookOutcome::Success));
    assert_eq!(orders(&actions), ["spawn a#1"]);
    world.started("a");
    let actions = world.exits("a", 1);
    assert_eq!(orders(&actions), ["hook post_stop a#1"]);
    assert!(orders(&world.pass(secs(2))).is_empty());
    let actions = world.fact(done(Hook::PostStop, HookOutcome::Success));
    assert_eq!(orders(&actions), ["release a#1"]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn a_failing_pre_start_hook_is_a_failed_start_with_its_reason() {
    let mut spec = daemon();
    spec.hooks.pre_start = Some(HookSpec {
        command: vec!["/bin/hook".to_owned()],
        timeout: secs(10),
    });
    let mut world = World::new(vec![("a", spec)]);
    let instance = world.newest("a");
    let actions = world.fact(Fact::HookDone {
        instance,
        hook: Hook::PreStart,
        outcome: HookOutcome::Failure("exited with code 1".to_owned()),
    });
    assert_eq!(outcomes(&actions), [(1, "hook", true)]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn a_driver_that_never_answers_a_spawn_does_not_block_for_ever() {
    let mut world = World::new(vec![("a", daemon())]);
    assert_eq!(orders(&world.pass(secs(60))), ["kill a#1"]);
    let instance = world.newest("a");
    let actions = world.fact(Fact::Lost { instance });
    assert_eq!(outcomes(&actions), [(1, "start_timeout", true)]);
}

/// What waits for an answer, an answer, and where it leads.
type Answer = (&'static str, fn(InstanceId) -> Fact, &'static str);

#[test]
fn every_fact_that_answers_an_order_leads_on() {
    let table: [Answer; 8] = [
        ("spawning", |instance| started(instance), "up"),
        ("spawning", |instance| not_spawned(instance), "backing_off"),
        (
            "spawning",
            |instance| Fact::Lost { instance },
            "backing_off",
        ),
        (
            "pre_start",
            |instance| hook(instance, HookOutcome::Success),
            "spawning",
        ),
        (
            "pre_start",
            |instance| hook(instance, HookOutcome::TimedOut(secs(10))),
            "backing_off",
        ),
        ("killing", |instance| gone(instance), "asked"),
        ("killing", |instance| Fact::Lost { instance }, "asked"),
        ("killing", |instance| main_exited(instance), "ending"),
    ];
    for (waiting, answer, leads_to) in table {
        let mut spec = daemon();
        spec.hooks.pre_start = (waiting == "pre_start").then(|| HookSpec {
            command: vec!["/bin/hook".to_owned()],
            timeout: secs(10),
        });
        let mut world = World::new(vec![("a", spec)]);
        if waiting == "killing" {
            world.started("a");
            world.ask_later(stop("a"));
            world.pass(secs(30));
        }
        let instance = world.newest("a");
        let actions = world.fact(answer(instance));
        assert_eq!(
            (world.face("a").1, stale(&actions)),
            (leads_to, 0),
            "{waiting}"
        );
    }
}

fn started(instance: InstanceId) -> Fact {
    Fact::Started {
        instance,
        pid: 1,
        at: begin().wall,
        image: None,
    }
}

fn not_spawned(instance: InstanceId) -> Fact {
    let error = SpawnError {
        stage: SpawnStage::Fork,
        errno: 11,
        detail: "cannot create a process: try again".to_owned(),
    };
    Fact::SpawnFailed { instance, error }
}

fn hook(instance: InstanceId, outcome: HookOutcome) -> Fact {
    Fact::HookDone {
        instance,
        hook: Hook::PreStart,
        outcome,
    }
}

fn gone(instance: InstanceId) -> Fact {
    let report = report(begin().wall, ExitStatus::Signal(9));
    Fact::Gone { instance, report }
}

fn main_exited(instance: InstanceId) -> Fact {
    let status = ExitStatus::Code(0);
    Fact::MainExited { instance, status }
}
