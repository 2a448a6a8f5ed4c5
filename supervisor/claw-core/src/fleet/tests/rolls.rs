//! Replicas that take over another configuration, one after another.

use crate::action::Action;
use crate::death::ExitStatus;
use crate::event::Command;
use crate::id::{Generation, InstanceId};
use crate::memory::{AgentMemory, Inheritance, Recovered};
use crate::spec::{AgentSpec, RestartPolicy};

use super::world::{World, begin, daemon, name, orders, probe, secs, tcp};

fn changed() -> AgentSpec {
    let mut spec = daemon();
    spec.launch.command.push("--new".to_owned());
    spec.restart.policy = RestartPolicy::Always;
    spec
}

fn of_all(spec: &AgentSpec) -> Vec<(&'static str, AgentSpec)> {
    ["w0", "w1", "w2"].map(|agent| (agent, spec.clone())).into()
}

/// Three replicas that are up, under the first configuration.
fn up() -> World {
    let mut world = World::new(of_all(&daemon()));
    for agent in ["w0", "w1", "w2"] {
        world.started(agent);
    }
    world
}

fn replaced(world: &mut World, agent: &str) -> Vec<Action> {
    world.gone(agent, ExitStatus::Signal(15));
    world.started(agent)
}

#[test]
fn the_next_is_ended_when_the_one_before_is_ready() {
    let mut world = up();
    assert_eq!(
        orders(&world.configure(of_all(&changed()))),
        ["signal 15 w0#1"]
    );
    assert_eq!(
        orders(&world.gone("w0", ExitStatus::Signal(15))),
        ["release w0#1", "spawn w0#2"]
    );
    assert_eq!(orders(&world.started("w0")), ["signal 15 w1#1"]);
    assert_eq!(orders(&replaced(&mut world, "w1")), ["signal 15 w2#1"]);
    assert!(orders(&replaced(&mut world, "w2")).is_empty());
    assert!(orders(&world.pass(secs(120))).is_empty());
}

#[test]
fn nobody_is_ended_for_a_configuration_that_does_not_come_up() {
    let mut world = up();
    let mut broken = changed();
    broken.probes.readiness = Some(probe(tcp(), 1, 3));
    world.configure(of_all(&broken));
    let done = replaced(&mut world, "w0");
    assert!(!orders(&done).iter().any(|order| order.contains("signal")));
    let done = world.pass(secs(600));
    assert!(!orders(&done).iter().any(|order| order.contains("signal")));
    let again = world.configure(of_all(&changed()));
    assert_eq!(
        orders(&again),
        ["signal 15 w1#1"],
        "without the probe w0 is ready"
    );
}

#[test]
fn who_serves_nobody_is_replaced_at_once_and_who_is_stopped_is_not_waited_for() {
    let mut world = up();
    world.ask_later(Command::Stop { agent: name("w2") });
    world.gone("w2", ExitStatus::Signal(15));
    world.gone("w1", ExitStatus::Code(1));
    let done = world.configure(of_all(&changed()));
    assert!(
        !orders(&done).iter().any(|order| order.contains("signal")),
        "w1 comes first: {done:?}"
    );
    let done = world.started("w1");
    assert_eq!(orders(&done), ["signal 15 w0#1"]);
    assert!(orders(&replaced(&mut world, "w0")).is_empty());
}

#[test]
fn the_next_supervisor_goes_on_with_it() {
    let mut inheritance = Inheritance::default();
    for (agent, spec) in [("w0", changed()), ("w1", daemon()), ("w2", daemon())] {
        let memory = AgentMemory {
            started_with: Some(spec.hash()),
            ..AgentMemory::default()
        };
        inheritance.agents.insert(name(agent), memory);
        let instance = InstanceId {
            agent: name(agent),
            generation: Generation(1),
        };
        let alive = Recovered::Alive {
            pid: 42,
            at: begin().wall,
            image: None,
        };
        inheritance.instances.push((instance, None, alive));
    }
    let mut world = World::restored(of_all(&changed()), inheritance);
    let done = orders(&world.done);
    assert_eq!(
        done,
        ["thaw w0#1", "thaw w1#1", "thaw w2#1", "signal 15 w1#1"]
    );
    let first = InstanceId {
        agent: name("w1"),
        generation: Generation(1),
    };
    world.gone_of(first, ExitStatus::Signal(15));
    assert_eq!(orders(&world.started("w1")), ["signal 15 w2#1"]);
}
