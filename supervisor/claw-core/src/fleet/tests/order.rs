//! The order of starts and of the end: dependencies, places for starting, shutdown.

use std::num::NonZeroU32;

use crate::action::Action;
use crate::death::ExitStatus;
use crate::event::{Event, ShutdownMode};
use crate::memory::Inheritance;
use crate::order::{ProbeKind, ProbeOutcome};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::spec::{Check, Condition};
use crate::status::PublicState::{Initializing, Running};
use crate::status::Reason;

use super::world::{
    World, daemon, depends, fleet_of, name, oneshot, orders, probe, secs, start, tcp,
};

fn ended(actions: &[Action]) -> bool {
    actions.contains(&Action::AllStopped)
}

#[test]
fn an_agent_waits_for_what_it_depends_on() {
    let mut db = daemon();
    db.probes.readiness = Some(probe(tcp(), 15, 2));
    let web = depends(daemon(), "db", Condition::Ready);
    let mut world = World::new(vec![("db", db), ("web", web)]);
    assert_eq!(orders(&world.done), ["spawn db#1"]);
    let reason = world.status("web").reason;
    let agents = vec![name("db")];
    assert_eq!(reason, Reason::WaitingFor { agents });
    world.started("db");
    assert_eq!(world.face("web"), (Initializing, "waiting_for"));
    let actions = world.probed("db", ProbeKind::Readiness, ProbeOutcome::Success);
    assert_eq!(orders(&actions), ["spawn web#1"]);
}

#[test]
fn a_dependency_that_stops_later_stops_nobody() {
    let web = depends(daemon(), "db", Condition::Started);
    let mut world = World::new(vec![("db", daemon()), ("web", web)]);
    world.started("db");
    world.started("web");
    world.exits("db", 1);
    assert_eq!(world.face("web"), (Running, "up"));
}

#[test]
fn a_oneshot_is_completed_by_its_first_success() {
    let web = depends(daemon(), "migrate", Condition::Completed);
    let mut world = World::new(vec![("migrate", oneshot()), ("web", web)]);
    world.started("migrate");
    assert_eq!(world.face("web"), (Initializing, "waiting_for"));
    let actions = world.exits("migrate", 0);
    assert!(orders(&actions).contains(&"spawn web#1".to_owned()));
}

#[test]
fn only_so_many_agents_start_at_once_and_in_turn() {
    let mut slow = daemon();
    slow.probes.startup = Some(probe(Check::Heartbeat, 60, 10));
    let mut spec = fleet_of(vec![("a", slow.clone()), ("b", slow.clone()), ("c", slow)]);
    spec.max_concurrent_starts = NonZeroU32::MIN;
    let mut world = World::of(spec, Inheritance::default());
    assert_eq!(orders(&world.done), ["spawn a#1"]);
    assert_eq!(world.face("c"), (Initializing, "queued"));
    world.started("a");
    assert_eq!(world.face("b"), (Initializing, "queued"));
    assert_eq!(orders(&world.ready("a")), ["spawn b#1"]);
    world.started("b");
    let actions = world.exits("b", 1);
    assert!(orders(&actions).contains(&"spawn c#1".to_owned()));
}

#[test]
fn the_fleet_stops_in_reverse_order_and_keeps_its_goals() {
    let web = depends(daemon(), "db", Condition::Started);
    let mut world = World::new(vec![("db", daemon()), ("web", web)]);
    world.started("db");
    world.started("web");
    let before = world.done.len();
    let actions = world.event(Event::Shutdown(ShutdownMode::Stop));
    assert_eq!(orders(&actions), ["signal 15 web#1"]);
    let actions = world.gone("web", ExitStatus::Signal(15));
    assert_eq!(
        orders(&actions).first().map(String::as_str),
        Some("signal 15 db#1")
    );
    assert!(!ended(&actions));
    let actions = world.gone("db", ExitStatus::Signal(15));
    assert!(ended(&actions));
    assert_eq!(world.fleet.deadline(), None);
    for action in &world.done[before..] {
        if let Action::Record {
            record: Record::Memory { memory, .. },
            ..
        } = action
        {
            assert_eq!(memory.goal, crate::memory::Goal::Up);
        }
    }
}

#[test]
fn an_agent_that_fails_while_the_fleet_stops_is_not_started_again() {
    let web = depends(daemon(), "db", Condition::Started);
    let mut world = World::new(vec![("db", daemon()), ("web", web)]);
    world.started("db");
    world.started("web");
    world.event(Event::Shutdown(ShutdownMode::Stop));
    world.exits("db", 1);
    assert!(orders(&world.pass(secs(20))).is_empty());
    assert!(ended(&world.gone("web", ExitStatus::Signal(15))));
}

#[test]
fn a_second_signal_kills_all_and_keep_leaves_all() {
    let mut world = World::new(vec![("a", daemon()), ("b", daemon())]);
    world.started("a");
    world.event(Event::Shutdown(ShutdownMode::Stop));
    let actions = world.event(Event::Shutdown(ShutdownMode::Hasten));
    assert_eq!(orders(&actions), ["kill a#1", "kill b#1"]);

    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let actions = world.event(Event::Shutdown(ShutdownMode::Keep));
    assert_eq!(actions, [Action::AllStopped]);
    assert_eq!(world.ask(start("a")), Some(Err(Refusal::ShuttingDown)));
}

#[test]
fn a_fleet_of_which_nothing_runs_ends_at_once() {
    let mut world = World::new(vec![]);
    assert!(ended(&world.event(Event::Shutdown(ShutdownMode::Stop))));
}
