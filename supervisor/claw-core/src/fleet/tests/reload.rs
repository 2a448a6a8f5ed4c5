//! Another configuration: only what changed is touched.

use crate::action::{Action, Answer};
use crate::death::ExitStatus;
use crate::record::Record;
use crate::spec::Overlap;
use crate::status::PublicState::Running;

use super::world::{World, answers, daemon, every, name, oneshot, orders, outcomes, secs, trigger};

fn answer(actions: &[Action]) -> Option<Answer> {
    answers(actions).find_map(|(_, result)| result.clone().ok())
}

#[test]
fn the_unchanged_keep_their_process_and_the_others_follow() {
    let old = vec![("kept", daemon()), ("left", daemon()), ("moved", daemon())];
    let mut world = World::new(old);
    for agent in ["kept", "left", "moved"] {
        world.started(agent);
    }
    let mut moved = daemon();
    moved.launch.command.push("--new".to_owned());
    let new = vec![("fresh", daemon()), ("kept", daemon()), ("moved", moved)];
    let actions = world.configure(new);
    assert_eq!(
        answer(&actions),
        Some(Answer::Configured {
            added: vec![name("fresh")],
            changed: vec![name("moved")],
            removed: vec![name("left")],
        })
    );
    let mut ordered = orders(&actions);
    ordered.sort();
    assert_eq!(
        ordered,
        ["signal 15 left#1", "signal 15 moved#1", "spawn fresh#1"]
    );
    let actions = world.gone("moved", ExitStatus::Signal(15));
    assert_eq!(outcomes(&actions), [(1, "reconfigured", false)]);
    assert!(orders(&actions).contains(&"spawn moved#2".to_owned()));
    let actions = world.gone("left", ExitStatus::Signal(15));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Record {
            record: Record::Removed { .. },
            ..
        }
    )));
    assert_eq!(world.fleet.statuses(world.now).len(), 3);
}

#[test]
fn live_fields_change_without_a_restart() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let mut changed = daemon();
    changed.restart.initial_delay = secs(60);
    let actions = world.configure(vec![("a", changed)]);
    assert!(orders(&actions).is_empty());
    world.exits("a", 1);
    assert_eq!(world.due_in(), Some(secs(60)));
}

#[test]
fn one_that_comes_back_while_it_leaves_gets_a_fresh_generation() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.configure(vec![]);
    world.configure(vec![("a", daemon())]);
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert!(orders(&actions).contains(&"spawn a#2".to_owned()));

    world.started("a");
    world.configure(vec![]);
    world.gone("a", ExitStatus::Signal(15));
    let actions = world.configure(vec![("a", daemon())]);
    assert_eq!(orders(&actions), ["spawn a#3"]);
}

#[test]
fn a_run_under_way_ends_in_its_own_time() {
    let spec = every(secs(1_000_000), Overlap::Skip);
    let mut world = World::new(vec![("a", spec.clone())]);
    world.ask(trigger("a"));
    world.started("a");
    let mut changed = spec;
    changed.launch.command.push("--new".to_owned());
    let actions = world.configure(vec![("a", changed)]);
    assert!(orders(&actions).is_empty());
    world.exits("a", 0);
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn an_agent_may_become_one_of_the_other_kind() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.configure(vec![("a", oneshot())]);
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert!(orders(&actions).contains(&"spawn a#2".to_owned()));
    assert_eq!(world.face("a"), (Running, "working"));
    world.started("a");
    world.configure(vec![("a", daemon())]);
    world.exits("a", 0);
    world.started("a");
    assert_eq!(world.face("a"), (Running, "up"));
}
