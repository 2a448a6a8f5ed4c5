//! Workers: deliveries, and what answers them.

use crate::action::{Action, Answer, SlotFate};
use crate::death::ExitStatus;
use crate::event::{Command, Event, Fact, Freeze, ShutdownMode};
use crate::id::{Generation, InstanceId, RunId};
use crate::memory::{Inheritance, Recovered};
use crate::notification::{Notification, WatchdogSignal};
use crate::record::Record;
use crate::run::{RunPhase, WorkOutcome};
use crate::spec::schedule::RunOnStart;
use crate::spec::{Mode, Overlap, Progress, RestartPolicy};
use crate::status::PublicState::{Initializing, Paused, Running, Stopped};

use super::world::{
    Journal, World, begin, daemon, deliveries, every, fates, name, orders, records, restart,
    run_phases, secs, stale, start, stop, trigger, worker,
};

/// A worker that is ready and has nothing to do.
fn idle(overlap: Overlap) -> World {
    let mut world = World::new(vec![("a", worker(overlap))]);
    world.started("a");
    world.ready("a");
    world
}

/// A worker with one run in its hands.
fn busy(overlap: Overlap) -> (World, RunId) {
    let mut world = idle(overlap);
    let run = run_of(&mut world);
    (world, run)
}

fn run_of(world: &mut World) -> RunId {
    match world.ask(trigger("a")) {
        Some(Ok(Answer::Run(run))) => run.id,
        Some(Ok(_) | Err(_)) | None => panic!("no run was accepted"),
    }
}

fn cancel(run: RunId) -> Command {
    let agent = name("a");
    Command::Cancel { agent, run }
}

fn pause(freeze: Freeze) -> Command {
    let agent = name("a");
    Command::Pause { agent, freeze }
}

fn finished(instance: InstanceId, run: RunId, attempt: u32, outcome: WorkOutcome) -> Fact {
    Fact::RunFinished {
        instance,
        run,
        attempt,
        outcome,
    }
}

fn fails(id: InstanceId, run: RunId) -> Fact {
    let outcome = WorkOutcome::Failed {
        message: "no route to host".to_owned(),
        retryable: false,
    };
    finished(id, run, 1, outcome)
}

fn asks_again(id: InstanceId, run: RunId) -> Fact {
    let outcome = WorkOutcome::Failed {
        message: "no route to host".to_owned(),
        retryable: true,
    };
    finished(id, run, 1, outcome)
}

fn not_begun(id: InstanceId, run: RunId) -> Fact {
    finished(id, run, 1, WorkOutcome::NotBegun)
}

fn delivered(actions: &[Action]) -> Vec<(u64, RunId, u32)> {
    deliveries(actions)
        .map(|(instance, run)| (instance.generation.0, run.run, run.attempt))
        .collect()
}

/// The last phase of the run that was written down.
fn written(world: &World, run: RunId) -> RunPhase {
    let mut phases = records(&world.done).rev().filter_map(|(_, record)| {
        let Record::Run(other) = record else {
            return None;
        };
        (other.id == run).then(|| other.phase.clone())
    });
    phases.next().expect("it was written down")
}

/// Another supervisor takes over what the journal of this world has.
fn taken_over(world: &World, run: RunId) -> World {
    let inheritance = inherited(world, run);
    World::restored(vec![("a", worker(Overlap::Queue))], inheritance)
}

fn inherited(world: &World, run: RunId) -> Inheritance {
    let mut inheritance = Inheritance::default();
    for (_, record) in records(&world.done) {
        match record {
            Record::Memory { agent, memory, .. } => {
                inheritance.agents.insert(agent.clone(), memory.clone());
            }
            Record::Run(record) if record.id == run => {
                inheritance.runs = vec![std::sync::Arc::new((**record).clone())];
            }
            Record::Intent { .. }
            | Record::Started { .. }
            | Record::Outcome { .. }
            | Record::Run(_)
            | Record::Slot { .. }
            | Record::Removed { .. } => {}
        }
    }
    let at = world.now.wall;
    let alive = Recovered::Alive {
        pid: 100,
        at,
        image: None,
    };
    inheritance.instances = vec![(world.newest("a"), None, alive)];
    inheritance
}

/// What is under way, a fact that answers it, and what becomes of the run.
type Case = (&'static str, fn(InstanceId, RunId) -> Fact, &'static str);

#[test]
fn every_fact_that_answers_an_order_about_a_run_leads_on() {
    let table: [Case; 16] = [
        ("working", done, "succeeded"),
        ("working", asks_again, "retrying"),
        ("working", fails, "failed: run_failed"),
        ("working", |id, _| Fact::Lost { instance: id }, "retrying"),
        (
            "working",
            |id, run| Fact::RunTaken { instance: id, run },
            "",
        ),
        (
            "working",
            |id, run| Fact::RunProgressed { instance: id, run },
            "",
        ),
        ("cancelling", asks_again, "cancelled: asked"),
        ("cancelling", done, "succeeded"),
        (
            "cancelling",
            |id, _| Fact::Lost { instance: id },
            "cancelled: asked",
        ),
        ("working", not_begun, "running"),
        ("cancelling", not_begun, "cancelled: asked"),
        ("draining", not_begun, "cancelled: asked"),
        ("draining", asks_again, "failed: run_failed"),
        (
            "draining",
            |id, _| Fact::Lost { instance: id },
            "cancelled: asked",
        ),
        ("resuming", |id, run| resumed(id, vec![(run, 1)]), ""),
        ("resuming", |id, _| resumed(id, Vec::new()), "retrying"),
    ];
    for (under_way, answer, leads_to) in table {
        let (mut world, run) = busy(Overlap::Queue);
        match under_way {
            "cancelling" => drop(world.ask_later(cancel(run))),
            "draining" => drop(world.ask_later(stop("a"))),
            "resuming" => world = taken_over(&world, run),
            _ => {}
        }
        let instance = world.newest("a");
        let actions = world.fact(answer(instance, run));
        let phases = run_phases(&actions);
        let last = phases.last().map_or("", String::as_str);
        assert_eq!((last, stale(&actions)), (leads_to, 0), "{under_way}");
    }
}

/// Not even a policy that starts nothing again makes a failure of it.
#[test]
fn a_run_that_a_draining_worker_had_not_begun_is_the_next_one_s_first_attempt() {
    let mut spec = worker(Overlap::Queue);
    spec.restart.policy = RestartPolicy::Never;
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.ready("a");
    let run = run_of(&mut world);
    let instance = world.newest("a");
    world.ask_later(restart("a"));
    world.fact(not_begun(instance, run));
    world.exits("a", 0);
    world.started("a");
    assert_eq!(delivered(&world.ready("a")), [(2, run, 1)]);
}

/// The agent was told that it is done, so it is, whatever became of the agent meanwhile.
#[test]
fn a_run_that_was_reported_to_an_earlier_supervisor_is_not_made_again() {
    let alive = Recovered::Alive {
        pid: 100,
        at: begin().wall,
        image: None,
    };
    for found in [alive, Recovered::Lost] {
        let (world, run) = busy(Overlap::Queue);
        let mut inheritance = inherited(&world, run);
        inheritance.instances = vec![(world.newest("a"), None, found)];
        let failed = |retryable| WorkOutcome::Failed {
            message: "no".to_owned(),
            retryable,
        };
        for (outcome, phase) in [
            (WorkOutcome::Succeeded, "succeeded"),
            (failed(false), "failed: run_failed"),
        ] {
            let mut inheritance = inheritance.clone();
            inheritance.reported.insert(run, outcome);
            let mut world = World::restored(vec![("a", worker(Overlap::Queue))], inheritance);
            assert_eq!(run_phases(&world.done), [phase]);
            assert!(delivered(&world.pass(secs(120))).is_empty());
        }
        inheritance.reported.insert(run, failed(true));
        let world = World::restored(vec![("a", worker(Overlap::Queue))], inheritance);
        assert_eq!(run_phases(&world.done), ["retrying"]);
    }
}

#[test]
fn an_answer_to_the_question_whether_it_lives_is_no_evidence_of_work() {
    let mut spec = worker(Overlap::Queue);
    spec.probes.progress = Some(Progress {
        max_silence: secs(60),
    });
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.ready("a");
    let alive = Notification {
        watchdog: Some(WatchdogSignal::Alive),
        ..Notification::default()
    };
    world.pass(secs(50));
    world.notify("a", alive);
    assert!(!orders(&world.pass(secs(11))).is_empty(), "it is ended");
}

fn done(id: InstanceId, run: RunId) -> Fact {
    finished(id, run, 1, WorkOutcome::Succeeded)
}

fn resumed(instance: InstanceId, running: Vec<(RunId, u32)>) -> Fact {
    Fact::Resumed { instance, running }
}

#[test]
fn facts_that_fit_no_delivery_change_nothing() {
    let other = RunId::new(3, 4);
    let table: [fn(InstanceId, RunId) -> Fact; 5] = [
        |id, run| finished(id, run, 2, WorkOutcome::Succeeded),
        |id, _| finished(id, RunId::new(3, 4), 1, WorkOutcome::Succeeded),
        |mut id, run| {
            id.generation.0 += 1;
            finished(id, run, 1, WorkOutcome::Succeeded)
        },
        |id, run| resumed(id, vec![(run, 7)]),
        |id, _| Fact::RunTaken {
            instance: id,
            run: RunId::new(3, 4),
        },
    ];
    for (case, fact) in table.into_iter().enumerate() {
        let (mut world, run) = busy(Overlap::Queue);
        let instance = world.newest("a");
        let actions = world.fact(fact(instance, run));
        assert_eq!(stale(&actions), 1, "case {case}");
        assert!(run_phases(&actions).is_empty(), "case {case}");
        assert!(orders(&actions).is_empty(), "case {case}");
    }
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let instance = world.newest("a");
    let actions = world.fact(finished(instance, other, 1, WorkOutcome::Succeeded));
    assert_eq!(stale(&actions), 1);
}

#[test]
fn a_run_waits_until_the_worker_has_said_that_it_is_ready() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    let run = run_of(&mut world);
    let actions = world.started("a");
    assert!(delivered(&actions).is_empty());
    assert_eq!(world.face("a"), (Running, "not_ready"));
    assert_eq!(delivered(&world.ready("a")), [(1, run, 1)]);
    assert_eq!(world.face("a"), (Running, "working"));
}

#[test]
fn an_attempt_is_delivered_when_the_journal_has_it_and_else_put_off() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    let run = run_of(&mut world);
    world.started("a");
    world.journal = Journal::Silent;
    assert!(delivered(&world.ready("a")).is_empty());
    assert!(delivered(&world.pass(secs(30))).is_empty());
    assert!(matches!(written(&world, run), RunPhase::Retrying { .. }));
    world.journal = Journal::Answers;
    assert_eq!(delivered(&world.pass(secs(60))), [(1, run, 1)]);
}

#[test]
fn an_attempt_that_was_only_written_down_is_taken_back() {
    let takes_back: [fn(&mut World); 3] = [
        |world| {
            world.ask_later(pause(Freeze::No));
        },
        |world| {
            world.ask_later(restart("a"));
        },
        |world| {
            world.exits("a", 1);
        },
    ];
    for take_back in takes_back {
        let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
        let run = run_of(&mut world);
        world.started("a");
        world.journal = Journal::Silent;
        world.ready("a");
        assert!(matches!(written(&world, run), RunPhase::Running { .. }));
        take_back(&mut world);
        assert_eq!(written(&world, run), RunPhase::Queued);
        assert!(delivered(&world.done).is_empty());
    }
}

#[test]
fn a_worker_takes_triggers_by_its_phase() {
    let word = |prepare: fn(&mut World)| {
        let mut world = World::new(vec![("a", worker(Overlap::Skip))]);
        prepare(&mut world);
        match world.ask(trigger("a")) {
            Some(Ok(_)) => "run",
            Some(Err(refusal)) => refusal.code(),
            None => "waits",
        }
    };
    type Prepare = fn(&mut World);
    let table: [(&str, Prepare); 8] = [
        ("run", |_| {}),
        ("busy", |world| drop(world.ask(trigger("a")))),
        ("backing_off", |world| world.crash_once("a")),
        ("gave_up", |world| {
            for _ in 0..3 {
                world.crashes("a");
            }
        }),
        ("paused", |world| drop(world.ask(pause(Freeze::No)))),
        ("stopping", |world| {
            world.started("a");
            world.ask_later(stop("a"));
        }),
        ("stopped", |world| {
            world.started("a");
            world.ask_later(stop("a"));
            world.exits("a", 0);
        }),
        ("shutting_down", |world| {
            world.event(Event::Shutdown(ShutdownMode::Stop));
        }),
    ];
    for (expected, prepare) in table {
        assert_eq!(word(prepare), expected);
    }
}

#[test]
fn a_worker_that_is_not_started_again_refuses_triggers_and_holds_its_slots() {
    let mut spec = every(secs(100), Overlap::Queue);
    spec.mode = Mode::Worker;
    spec.restart.policy = RestartPolicy::Never;
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.exits("a", 0);
    assert_eq!(world.face("a"), (Stopped, "completed"));
    let answer = world.ask(trigger("a"));
    assert_eq!(
        answer.map(|answer| answer.map_err(|refusal| refusal.code()).err()),
        Some(Some("stopped"))
    );
    let held = fates(&world.pass(secs(100)));
    assert_eq!(
        held.into_iter().map(|(_, fate)| fate).collect::<Vec<_>>(),
        [SlotFate::Held]
    );
    world.ask(start("a"));
    assert_eq!(world.face("a"), (Initializing, "spawning"));
}

#[test]
fn a_newer_run_replaces_the_one_in_hand_when_that_is_dropped() {
    let (mut world, first) = busy(Overlap::Replace);
    let before = world.done.len();
    let second = run_of(&mut world);
    assert_eq!(orders(&world.done[before..]), ["cancel a#1"]);
    let instance = world.newest("a");
    let actions = world.fact(fails(instance, first));
    assert_eq!(delivered(&actions), [(1, second, 1)]);
    assert!(run_phases(&actions).contains(&"cancelled: replaced".to_owned()));
}

#[test]
fn so_many_runs_are_in_hand_at_once_as_its_concurrency_says() {
    let mut spec = worker(Overlap::Allow);
    spec.concurrency = std::num::NonZeroU32::new(2).expect("not zero");
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.ready("a");
    let runs = [(); 3].map(|()| run_of(&mut world));
    assert_eq!(delivered(&world.done), [(1, runs[0], 1), (1, runs[1], 1)]);
    let instance = world.newest("a");
    let actions = world.fact(done(instance, runs[1]));
    assert_eq!(delivered(&actions), [(1, runs[2], 1)]);
}

#[test]
fn a_drain_is_given_more_time_when_the_agent_asks_for_it() {
    let (mut world, _) = busy(Overlap::Queue);
    world.ask_later(stop("a"));
    world.notify(
        "a",
        Notification {
            extend_timeout: Some(secs(60)),
            ..Notification::default()
        },
    );
    assert!(orders(&world.pass(secs(59))).is_empty());
    assert_eq!(orders(&world.pass(secs(1)))[0], "signal 15 a#1");
}

#[test]
fn a_worker_that_fails_its_checks_is_ended_without_a_drain() {
    let mut spec = worker(Overlap::Queue);
    spec.probes.liveness = Some(super::world::probe(crate::spec::Check::Heartbeat, 10, 1));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.ready("a");
    let run = run_of(&mut world);
    let actions = world.pass(secs(10));
    assert_eq!(orders(&actions), ["signal 15 a#1"]);
    assert!(matches!(written(&world, run), RunPhase::Running { .. }));
    let actions = world.exits("a", 0);
    assert_eq!(run_phases(&actions), ["retrying"]);
}

#[test]
fn the_time_of_a_frozen_run_stands_still_but_not_for_whoever_calls_it_off() {
    let mut spec = worker(Overlap::Queue);
    if let Some(schedule) = &mut spec.schedule {
        schedule.timeout = Some(secs(60));
    }
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.ready("a");
    let run = run_of(&mut world);
    world.ask(pause(Freeze::Yes));
    assert_eq!(world.face("a"), (Paused, "frozen"));
    assert!(orders(&world.pass(secs(600))).is_empty());
    let before = world.done.len();
    world.ask_later(cancel(run));
    assert_eq!(orders(&world.done[before..]), ["cancel a#1"]);
    let actions = world.pass(secs(30));
    assert_eq!(orders(&actions), ["thaw a#1", "drain a#1", "signal 15 a#1"]);
}

/// A program says in its hello, before it is ready, that it runs every so often.
#[test]
fn a_schedule_declared_while_the_agent_starts_fires_at_that_start_and_at_no_other() {
    let mut declared = worker(Overlap::Queue);
    declared.probes.startup = Some(super::world::probe(crate::spec::Check::Heartbeat, 10, 3));
    if let Some(schedule) = &mut declared.schedule {
        schedule.run_on_start = RunOnStart::Yes;
    }
    let mut silent = declared.clone();
    silent.schedule = None;
    let mut world = World::new(vec![("a", silent.clone())]);
    world.started("a");
    let actions = world.configure(vec![("a", declared.clone())]);
    assert_eq!(run_phases(&actions), ["queued"]);
    let actions = world.configure(vec![("a", declared.clone())]);
    assert_eq!(run_phases(&actions), Vec::<String>::new());

    let mut world = World::new(vec![("a", silent)]);
    world.started("a");
    world.ready("a");
    let actions = world.configure(vec![("a", declared)]);
    assert_eq!(run_phases(&actions), Vec::<String>::new());
}

#[test]
fn an_adopted_worker_is_told_to_drop_what_it_should_not_have() {
    let (world, run) = busy(Overlap::Queue);
    let mut world = taken_over(&world, run);
    assert_eq!(world.face("a"), (Running, "working"));
    let instance = world.newest("a");
    let unknown = RunId::new(3, 4);
    let running = vec![(run, 1), (unknown, 1)];
    let actions = world.fact(resumed(instance.clone(), running));
    assert_eq!(orders(&actions), ["cancel a#1"]);
    let actions = world.fact(done(instance, run));
    assert_eq!(run_phases(&actions), ["succeeded"]);
}

#[test]
fn a_run_that_is_called_off_before_the_adopted_worker_speaks_ends_either_way() {
    for claims in [vec![1], vec![]] {
        let (world, run) = busy(Overlap::Queue);
        let mut world = taken_over(&world, run);
        let ticket = world.ask_later(cancel(run));
        let running: Vec<(RunId, u32)> = claims.iter().map(|attempt| (run, *attempt)).collect();
        let claimed = !running.is_empty();
        let instance = world.newest("a");
        let actions = world.fact(resumed(instance.clone(), running));
        assert_eq!(orders(&actions).len(), usize::from(claimed));
        if claimed {
            world.fact(asks_again(instance, run));
        }
        assert!(matches!(world.answer(ticket), Some(Ok(Answer::Run(_)))));
    }
}

#[test]
fn a_run_that_is_called_off_in_an_adopted_worker_that_is_frozen_waits_for_nobody() {
    let (mut world, run) = busy(Overlap::Queue);
    world.ask(pause(Freeze::Yes));
    let mut world = taken_over(&world, run);
    world.pass(secs(60));
    let before = world.done.len();
    world.ask_later(cancel(run));
    assert_eq!(orders(&world.done[before..]), ["cancel a#1"]);
    let actions = world.pass(secs(30));
    assert_eq!(orders(&actions), ["thaw a#1", "drain a#1", "signal 15 a#1"]);
}

#[test]
fn a_worker_that_had_never_been_ready_is_so_no_sooner_for_the_next_supervisor() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    let run = run_of(&mut world);
    world.started("a");
    let mut world = taken_over(&world, run);
    assert_eq!(world.face("a"), (Running, "not_ready"));
    assert!(delivered(&world.done).is_empty());
    assert_eq!(delivered(&world.ready("a")), [(1, run, 1)]);
}

#[test]
fn a_worker_becomes_a_oneshot_when_its_process_is_gone() {
    let (mut world, run) = busy(Overlap::Queue);
    let actions = world.configure(vec![("a", every(secs(1_000_000), Overlap::Queue))]);
    assert_eq!(orders(&actions), ["drain a#1"]);
    let actions = world.exits("a", 0);
    assert!(run_phases(&actions).contains(&"cancelled: reconfigured".to_owned()));
    assert!(matches!(written(&world, run), RunPhase::Finished { .. }));
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn a_daemon_is_not_taken_over_as_a_worker() {
    let (world, run) = busy(Overlap::Queue);
    for was in [Some(Mode::Daemon), None] {
        let mut inheritance = inherited(&world, run);
        for memory in inheritance.agents.values_mut() {
            memory.mode = was;
        }
        let mut world = World::restored(vec![("a", worker(Overlap::Queue))], inheritance);
        assert_eq!(orders(&world.done), ["thaw a#1", "signal 15 a#1"]);
        world.gone_of(first_life(), ExitStatus::Signal(15));
        assert_eq!(
            orders(&world.done).last().map(String::as_str),
            Some("spawn a#2")
        );
    }
}

fn first_life() -> InstanceId {
    InstanceId {
        agent: name("a"),
        generation: Generation(1),
    }
}
