//! A fleet after the supervisor before it died.

use std::sync::Arc;

use crate::death::{Cause, ExitStatus};
use crate::event::{Command, Fact};
use crate::id::{Generation, InstanceId, RunId};
use crate::memory::{AgentMemory, Goal, Inheritance, Latch, Recovered, StartProof};
use crate::record::Record;
use crate::run::{Run, RunPhase, Trigger};
use crate::spec::schedule::RunOnStart;
use crate::spec::{AgentSpec, Check, Mode, Overlap, RestartPolicy};
use crate::status::PublicState::{Error, Initializing, Running, Stopped, Stopping};

use super::world::{
    World, begin, daemon, deliveries, every, exit, name, orders, outcomes, probe, records, report,
    run_phases, secs, spawns, tcp,
};

fn instance(generation: u64) -> InstanceId {
    InstanceId {
        agent: name("a"),
        generation: Generation(generation),
    }
}

fn left(memory: AgentMemory, found: Recovered) -> Inheritance {
    let mut inheritance = Inheritance::default();
    inheritance.agents.insert(name("a"), memory);
    inheritance.instances.push((instance(7), None, found));
    inheritance
}

fn alive() -> Recovered {
    Recovered::Alive {
        pid: 42,
        at: begin().wall,
        image: None,
    }
}

fn run(phase: RunPhase) -> Arc<Run> {
    let started = matches!(phase, RunPhase::Running { .. });
    Arc::new(Run {
        id: RunId::new(1, 2),
        agent: name("a"),
        trigger: Trigger::Manual,
        payload: None,
        queued_at: begin().wall,
        phase,
        attempts: u32::from(started),
        generation: started.then_some(Generation(7)),
        log: None,
        image: None,
    })
}

fn with_run(phase: RunPhase, found: Option<Recovered>) -> Inheritance {
    let memory = AgentMemory {
        armed_since: Some(begin().wall),
        last_generation: Generation(7),
        ..AgentMemory::default()
    };
    let mut inheritance = Inheritance::default();
    inheritance.agents.insert(name("a"), memory);
    let run = run(phase);
    if let Some(found) = found {
        inheritance
            .instances
            .push((instance(7), Some(run.id), found));
    }
    inheritance.runs.push(run);
    inheritance
}

#[test]
fn a_live_instance_is_adopted_and_nothing_is_started() {
    let inheritance = left(AgentMemory::default(), alive());
    let world = World::restored(vec![("a", daemon())], inheritance);
    assert_eq!(orders(&world.done), ["thaw a#7"]);
    assert_eq!(world.face("a"), (Running, "up"));
    assert_eq!(
        world.status("a").instance.and_then(|live| live.pid),
        Some(42)
    );
}

/// Such an agent can neither pass again nor repeat what nobody had asked it to say.
#[test]
fn a_probe_that_is_new_asks_nothing_of_what_was_up() {
    let mut spec = daemon();
    spec.probes.startup = Some(probe(tcp(), 1, 60));
    spec.probes.readiness = Some(probe(Check::Heartbeat, 10, 3));
    let found = |start_proof| {
        let memory = AgentMemory {
            start_proof,
            ..AgentMemory::default()
        };
        let mut world = World::restored(vec![("a", spec.clone())], left(memory, alive()));
        (world.face("a"), orders(&world.pass(secs(1))).len())
    };
    assert_eq!(found(StartProof::Probed).0, (Initializing, "starting_up"));
    assert_eq!(found(StartProof::Unprobed), ((Running, "up"), 0));
}

#[test]
fn what_is_up_has_proved_itself_to_a_probe_of_a_reload() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let mut spec = daemon();
    spec.probes.startup = Some(probe(tcp(), 1, 60));
    let done = world.configure(vec![("a", spec)]);
    let came_up = records(&done).into_iter().find_map(|record| match record {
        (_, Record::Memory { memory, .. }) => Some(memory.came_up),
        _ => None,
    });
    assert_eq!(came_up, Some(Generation(1)));
}

#[test]
fn an_instance_of_another_configuration_is_replaced() {
    let spec = daemon();
    let mut other = daemon();
    other.launch.command.push("--verbose".to_owned());
    let started_with = |spec: &AgentSpec| AgentMemory {
        started_with: Some(spec.hash()),
        ..AgentMemory::default()
    };

    let same = World::restored(
        vec![("a", spec.clone())],
        left(started_with(&spec), alive()),
    );
    assert_eq!(orders(&same.done), ["thaw a#7"]);

    let mut changed = World::restored(vec![("a", spec)], left(started_with(&other), alive()));
    assert_eq!(orders(&changed.done), ["thaw a#7", "signal 15 a#7"]);
    let done = changed.gone_of(instance(7), ExitStatus::Signal(15));
    assert_eq!(outcomes(&done), [(7, "reconfigured", false)]);
    assert_eq!(orders(&done), ["release a#7", "spawn a#8"]);
}

#[test]
fn an_attempt_of_another_mode_counts_also_when_its_number_was_not_written_down() {
    let mut inheritance = with_run(RunPhase::Queued, Some(alive()));
    let memory = inheritance.agents.get_mut(&name("a")).unwrap();
    memory.mode = Some(Mode::Oneshot);
    let mut worker = daemon();
    worker.mode = Mode::Worker;
    let mut world = World::restored(vec![("a", worker)], inheritance);
    world.gone_of(instance(7), ExitStatus::Signal(15));
    world.started("a");
    let done = world.ready("a");
    let attempts: Vec<u32> = deliveries(&done).map(|(_, run)| run.attempt).collect();
    assert_eq!(attempts, [2]);
}

#[test]
fn an_agent_is_stopped_when_what_it_was_before_is_gone() {
    let memory = AgentMemory {
        mode: Some(Mode::Oneshot),
        ..AgentMemory::default()
    };
    let mut world = World::restored(vec![("a", daemon())], left(memory, alive()));
    assert_eq!(orders(&world.done), ["thaw a#7", "signal 15 a#7"]);
    let stop = world.ask_later(Command::Stop { agent: name("a") });
    assert_eq!(
        (world.answer(stop), world.face("a")),
        (None, (Stopping, "ending"))
    );
    world.gone_of(instance(7), ExitStatus::Signal(15));
    assert!(world.answer(stop).is_some());
    assert_eq!(world.face("a"), (Stopped, "asked"));
}

#[test]
fn an_agent_that_gave_up_tries_again_with_another_configuration() {
    let memory = AgentMemory {
        failures: 6,
        latch: Some(Latch::GaveUp {
            cause: Cause::Lost,
            failures: 6,
        }),
        started_with: Some("of another file".to_owned()),
        ..AgentMemory::default()
    };
    let mut inheritance = Inheritance::default();
    inheritance.agents.insert(name("a"), memory);
    let world = World::restored(vec![("a", daemon())], inheritance);
    assert_eq!(orders(&world.done), ["spawn a#1"]);
}

#[test]
fn what_takes_effect_live_changes_no_hash() {
    let mut other = daemon();
    other.shutdown.timeout = secs(77);
    assert_eq!(other.hash(), daemon().hash());
    other.launch.env.insert("A".to_owned(), "b".to_owned());
    assert_ne!(other.hash(), daemon().hash());
}

#[test]
fn an_adopted_instance_goes_on_with_its_healthy_time() {
    let memory = AgentMemory {
        restarts_in_a_row: 5,
        ..AgentMemory::default()
    };
    let at = begin().wall - secs(3000);
    let found = Recovered::Alive {
        pid: 42,
        at,
        image: None,
    };
    let mut world = World::restored(vec![("a", daemon())], left(memory, found));
    world.pass(secs(600));
    world.gone_of(instance(7), ExitStatus::Code(1));
    assert_eq!(world.due_in(), Some(secs(5)));
}

#[test]
fn what_ended_meanwhile_is_judged_by_its_report() {
    let found = Recovered::Ended(report(begin().wall, ExitStatus::Code(1)));
    let world = World::restored(vec![("a", daemon())], left(AgentMemory::default(), found));
    assert_eq!(outcomes(&world.done), [(7, "exit", true)]);
    assert_eq!(orders(&world.done), ["release a#7"]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn a_death_that_is_in_the_counters_is_not_counted_again() {
    let memory = AgentMemory {
        settled: Generation(7),
        failures: 1,
        restarts_in_a_row: 1,
        next_start: Some(begin().wall + secs(3)),
        ..AgentMemory::default()
    };
    let found = Recovered::Ended(report(begin().wall, ExitStatus::Code(1)));
    let mut world = World::restored(vec![("a", daemon())], left(memory, found));
    assert_eq!(outcomes(&world.done), [(7, "exit", true)]);
    assert_eq!(world.due_in(), Some(secs(3)));
    assert_eq!(orders(&world.pass(secs(3))), ["spawn a#8"]);
}

#[test]
fn lost_is_a_failure_and_a_reboot_is_not() {
    let world = World::restored(
        vec![("a", daemon())],
        left(AgentMemory::default(), Recovered::Lost),
    );
    assert_eq!(outcomes(&world.done), [(7, "lost", true)]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
    let world = World::restored(
        vec![("a", daemon())],
        left(AgentMemory::default(), Recovered::Rebooted),
    );
    assert_eq!(outcomes(&world.done), [(7, "host_reboot", false)]);
    assert!(orders(&world.done).contains(&"spawn a#8".to_owned()));
}

#[test]
fn what_was_never_started_is_started_without_a_delay() {
    let world = World::restored(
        vec![("a", daemon())],
        left(AgentMemory::default(), Recovered::NeverStarted),
    );
    assert_eq!(outcomes(&world.done), [(7, "spawn", false)]);
    assert!(orders(&world.done).contains(&"spawn a#8".to_owned()));
}

#[test]
fn a_backoff_goes_on_and_never_starts_earlier_nor_for_ever_later() {
    for (remembered, expected) in [(100, 100), (86400, 300)] {
        let memory = AgentMemory {
            next_start: Some(begin().wall + secs(remembered)),
            last_death: Some((exit(1), begin().wall)),
            ..AgentMemory::default()
        };
        let mut inheritance = Inheritance::default();
        inheritance.agents.insert(name("a"), memory);
        let world = World::restored(vec![("a", daemon())], inheritance);
        assert_eq!(world.face("a"), (Error, "backing_off"));
        assert_eq!(world.due_in(), Some(secs(expected)));
    }
}

#[test]
fn a_stopped_agent_stays_stopped_and_what_lives_of_it_is_ended() {
    let memory = AgentMemory {
        goal: Goal::Down,
        ..AgentMemory::default()
    };
    let mut world = World::restored(vec![("a", daemon())], left(memory, alive()));
    assert_eq!(orders(&world.done), ["thaw a#7", "signal 15 a#7"]);
    world.gone_of(instance(7), ExitStatus::Signal(15));
    assert_eq!(world.face("a"), (Stopped, "asked"));
}

#[test]
fn an_agent_that_left_the_fleet_is_ended_with_a_grace() {
    let mut world = World::restored(vec![], left(AgentMemory::default(), alive()));
    assert_eq!(orders(&world.done), ["thaw a#7", "signal 15 a#7"]);
    assert_eq!(orders(&world.pass(secs(30))), ["kill a#7"]);
    let actions = world.gone_of(instance(7), ExitStatus::Signal(9));
    assert_eq!(outcomes(&actions), [(7, "reconfigured", false)]);
    assert_eq!(world.fleet.deadline(), None);
}

#[test]
fn a_queued_run_starts_as_the_same_run() {
    let spec = every(secs(1_000_000), Overlap::Skip);
    let inheritance = with_run(RunPhase::Queued, None);
    let mut world = World::restored(vec![("a", spec)], inheritance);
    assert_eq!(orders(&world.done), ["spawn a#8"]);
    world.started("a");
    let actions = world.exits("a", 0);
    assert_eq!(run_phases(&actions), ["succeeded"]);
}

#[test]
fn a_running_run_goes_on_with_its_adopted_instance() {
    let spec = every(secs(1_000_000), Overlap::Skip);
    let since = begin().wall;
    let inheritance = with_run(RunPhase::Running { since }, Some(alive()));
    let mut world = World::restored(vec![("a", spec)], inheritance);
    assert_eq!(orders(&world.done), ["thaw a#7"]);
    assert_eq!(world.face("a"), (Running, "working"));
    let actions = world.gone_of(instance(7), ExitStatus::Code(0));
    assert_eq!(run_phases(&actions), ["succeeded"]);
}

#[test]
fn a_cut_off_run_is_interrupted_and_follows_its_retry_rule() {
    for found in [Some(Recovered::Lost), Some(Recovered::Rebooted), None] {
        for (policy, expected) in [
            (RestartPolicy::Never, "interrupted: "),
            (RestartPolicy::OnFailure, "retrying"),
        ] {
            let mut spec = every(secs(1_000_000), Overlap::Skip);
            spec.restart.policy = policy;
            let since = begin().wall;
            let inheritance = with_run(RunPhase::Running { since }, found.clone());
            let world = World::restored(vec![("a", spec)], inheritance);
            let phases = run_phases(&world.done);
            assert_eq!(phases.len(), 1, "{found:?} {policy:?}");
            assert!(phases[0].starts_with(expected), "{phases:?}");
        }
    }
}

#[test]
fn a_retry_goes_on_waiting() {
    let spec = every(secs(1_000_000), Overlap::Skip);
    let phase = RunPhase::Retrying {
        next: begin().wall + secs(8),
        cause: Cause::Lost,
    };
    let mut world = World::restored(vec![("a", spec)], with_run(phase, None));
    assert_eq!(world.face("a"), (Error, "backing_off"));
    assert_eq!(orders(&world.pass(secs(8))), ["spawn a#8"]);
}

#[test]
fn attempts_that_were_begun_count_also_when_their_numbers_were_not_written_down() {
    let spec = every(secs(1_000_000), Overlap::Skip);
    let phase = RunPhase::Retrying {
        next: begin().wall,
        cause: Cause::Lost,
    };
    let mut inheritance = with_run(phase, None);
    let id = inheritance.runs[0].id;
    let failed = Recovered::Ended(report(begin().wall, ExitStatus::Code(1)));
    // Begun, begun again, and never begun: the journal had no room for what became of them.
    for (generation, found) in [
        (10, Recovered::NeverStarted),
        (9, failed),
        (8, Recovered::Lost),
    ] {
        let instance = instance(generation);
        inheritance.instances.push((instance, Some(id), found));
    }
    let mut world = World::restored(vec![("a", spec)], inheritance);
    let mut ends = outcomes(&world.done);
    ends.sort_unstable();
    assert_eq!(
        ends,
        [(8, "lost", true), (9, "exit", true), (10, "spawn", false)]
    );
    assert_eq!(world.face("a"), (Error, "backing_off"));
    let actions = world.pass(secs(300));
    let attempts = spawns(&actions).filter_map(|(_, run)| Some(run?.attempt));
    assert_eq!(attempts.collect::<Vec<_>>(), [3]);
}

/// What is found by who comes after a supervisor that died when so many records were written.
fn left_after(world: &World, count: usize, found: &Recovered) -> Inheritance {
    let mut left = Inheritance::default();
    for (_, record) in records(&world.done).take(count) {
        match record {
            Record::Memory { agent, memory, .. } => {
                left.agents.insert(agent.clone(), memory.clone());
            }
            Record::Run(run) => left.runs = vec![Arc::new((**run).clone())],
            Record::Intent { instance, run, .. } => {
                left.instances = vec![(instance.clone(), *run, found.clone())];
            }
            Record::Started { .. }
            | Record::Outcome { .. }
            | Record::Slot { .. }
            | Record::Removed { .. } => {}
        }
    }
    left
}

/// The supervisor dies at each moment between the first start and the delivery, and the agent with
/// it or not. It has heard of nothing.
#[test]
fn a_workers_run_at_start_comes_before_those_of_slots_whenever_the_supervisor_dies() {
    let mut spec = every(secs(1), Overlap::Skip);
    spec.mode = Mode::Worker;
    if let Some(schedule) = &mut spec.schedule {
        schedule.run_on_start = RunOnStart::Yes;
    }
    let mut first = World::new(vec![("a", spec.clone())]);
    first.started("a");
    first.ready("a");
    assert_eq!(deliveries(&first.done).count(), 1);
    let all = records(&first.done).count();
    for count in 0..=all {
        for found in [alive(), Recovered::Lost, Recovered::NeverStarted] {
            let left = left_after(&first, count, &found);
            let mut next = World::restored(vec![("a", spec.clone())], left);
            for _ in 0..2 {
                let instance = next.newest("a");
                let running = Vec::new();
                next.fact(Fact::Resumed { instance, running });
                next.started("a");
                next.ready("a");
                next.pass(secs(10));
            }
            let given = deliveries(&next.done).next();
            let trigger = given.map(|(_, run)| run.trigger);
            let when = format!("after {count} of {all} records, {found:?}");
            assert_eq!(trigger, Some(Trigger::Start), "{when}");
        }
    }
}

/// Its hello was heard and kept; that it has a schedule had not reached the core.
#[test]
fn a_run_at_start_that_a_program_asks_for_is_not_lost_with_the_supervisor_that_heard_it() {
    let mut scheduled = every(secs(100), Overlap::Skip);
    scheduled.mode = Mode::Worker;
    if let Some(schedule) = &mut scheduled.schedule {
        schedule.run_on_start = RunOnStart::Yes;
    }
    let mut unscheduled = scheduled.clone();
    unscheduled.schedule = None;
    let mut first = World::new(vec![("a", unscheduled)]);
    first.started("a");
    let starting = records(&first.done).count();
    first.ready("a");
    let up = records(&first.done).count();
    for (count, runs) in [(starting, 1), (up, 0)] {
        let left = left_after(&first, count, &alive());
        let mut next = World::restored(vec![("a", scheduled.clone())], left);
        let instance = next.newest("a");
        let running = Vec::new();
        next.fact(Fact::Resumed { instance, running });
        next.ready("a");
        let triggers = deliveries(&next.done).map(|(_, run)| run.trigger);
        assert_eq!(triggers.collect::<Vec<_>>(), vec![Trigger::Start; runs]);
        let again = left_after(&next, usize::MAX, &alive());
        assert_eq!(again.runs.len(), runs, "once is enough");
    }
}
