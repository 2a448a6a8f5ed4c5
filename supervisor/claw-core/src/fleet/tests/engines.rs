//! What whoever runs instances for us, and may be slow, away or of another age, means for an agent.

use crate::death::{SpawnError, SpawnStage};
use crate::event::Fact;
use crate::status::PublicState::{Error, Initializing, Running, Stopped, Stopping};
use crate::status::Reason;

use super::world::{
    World, daemon, deliveries, orders, outcomes, probe, restart, secs, spawns, start, trigger,
    worker,
};
use crate::spec::{Check, Overlap};

fn fetching(world: &World, agent: &str) -> Fact {
    Fact::Preparing {
        instance: world.newest(agent),
        detail: "fetching image `python:3.12`".to_owned(),
    }
}

fn not_started(world: &World, agent: &str, stage: SpawnStage) -> Fact {
    let error = SpawnError {
        stage,
        errno: 0,
        detail: "no image `nowhere:1`".to_owned(),
    };
    let instance = world.newest(agent);
    Fact::SpawnFailed { instance, error }
}

fn unobserved(world: &World, agent: &str) -> Fact {
    Fact::Unobserved {
        instance: world.newest(agent),
        reason: "the container engine does not answer".to_owned(),
    }
}

#[test]
fn a_start_that_goes_on_is_waited_for_and_one_that_is_silent_is_not() {
    let mut world = World::new(vec![("a", daemon())]);
    for _ in 0..5 {
        world.fact(fetching(&world, "a"));
        assert_eq!(world.face("a"), (Initializing, "preparing"));
        assert!(orders(&world.pass(secs(50))).is_empty());
    }
    assert_eq!(orders(&world.pass(secs(10))), ["kill a#1"]);
}

#[test]
fn an_image_that_is_fetched_takes_no_place_among_the_starting() {
    let mut fleet = super::world::fleet_of(vec![("a", daemon()), ("b", daemon())]);
    fleet.max_concurrent_starts = std::num::NonZeroU32::MIN;
    let mut world = World::of(fleet, crate::Inheritance::default());
    assert_eq!(world.face("b"), (Initializing, "queued"));
    let actions = world.fact(fetching(&world, "a"));
    assert_eq!(spawns(&actions).count(), 1);
    assert_eq!(world.face("b"), (Initializing, "spawning"));
}

#[test]
fn an_engine_that_is_away_delays_a_start_and_never_gives_an_agent_up() {
    let mut spec = daemon();
    spec.restart.max_retries = Some(0);
    let mut world = World::new(vec![("a", spec)]);
    for (life, delay) in (1..).zip([5, 10, 20, 40, 80, 160, 300, 300]) {
        let actions = world.fact(not_started(&world, "a", SpawnStage::Engine));
        assert_eq!(outcomes(&actions), [(life, "spawn", false)]);
        assert_eq!(world.face("a"), (Error, "backing_off"));
        world.pass(secs(delay));
        assert_eq!(world.face("a"), (Initializing, "spawning"));
    }
}

#[test]
fn an_image_that_there_is_not_refuses_the_agent_until_somebody_starts_it() {
    let mut world = World::new(vec![("a", daemon())]);
    let actions = world.fact(not_started(&world, "a", SpawnStage::Image));
    assert_eq!(outcomes(&actions), [(1, "spawn", true)]);
    assert_eq!(world.face("a"), (Stopped, "refused"));
    let Reason::Refused { reason } = world.status("a").reason else {
        panic!("{:?}", world.status("a").reason);
    };
    assert!(reason.contains("no image `nowhere:1`"), "{reason}");
    assert!(orders(&world.pass(secs(3600))).is_empty());
    world.ask(start("a"));
    assert_eq!(world.face("a"), (Initializing, "spawning"));
}

#[test]
fn whom_nobody_can_ask_about_is_given_no_work() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    world.started("a");
    world.ready("a");
    world.fact(unobserved(&world, "a"));
    assert_eq!(world.face("a"), (Running, "unobserved"));
    assert!(!world.status("a").ready);
    world.ask(trigger("a"));
    let observed = Fact::Observed {
        instance: world.newest("a"),
    };
    let actions = world.fact(observed);
    assert_eq!(deliveries(&actions).count(), 1);
    assert!(world.status("a").ready);
}

#[test]
fn the_silence_of_one_that_cannot_be_heard_ends_nothing_and_a_restart_ends_the_silence() {
    let mut spec = daemon();
    spec.probes.liveness = Some(probe(Check::Heartbeat, 10, 1));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    let mute = Fact::NeedsRestart {
        instance: world.newest("a"),
        reason: "its shim speaks version 5".to_owned(),
    };
    world.fact(mute);
    assert_eq!(world.face("a"), (Running, "needs_restart"));
    assert!(orders(&world.pass(secs(3600))).is_empty());
    world.ask_later(restart("a"));
    assert_eq!(world.face("a"), (Stopping, "ending"));
    world.exits("a", 0);
    world.started("a");
    assert_eq!(world.face("a"), (Running, "up"));
    assert!(!orders(&world.pass(secs(3600))).is_empty());
}
