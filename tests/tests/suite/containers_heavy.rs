//! A fleet of processes and containers that depend on one another, under a supervisor that is
//! killed again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_daemon::api::State;

use crate::dice::Dice;
use crate::fleet::{Engine, Fleet, IMAGE, Process, agent, holds_for, until};

const PAIRS: usize = 10;

/// So often the supervisor is killed.
const KILLS: usize = 20;

/// A process of each pair needs the container of the pair before it, and a container the process
/// of its own: they come up one after the other.
fn chain(fleet: &Fleet) -> String {
    let mut agents = String::new();
    for pair in 0..PAIRS {
        let needs = pair.checked_sub(1).map_or(String::new(), |before| {
            format!("depends_on: {{boxed-{before}: {{condition: ready}}}}")
        });
        let marks = fleet.place(&format!("plain-{pair}.starts"));
        agents += &agent(
            &format!("plain-{pair}"),
            &["count-from", &marks, "50"],
            &needs,
        );
        let boxed = format!(
            "  boxed-{pair}: {{image: \"{IMAGE}\", command: [sh, -c, \"n=0; trap 'exit 0' TERM; while :; do \
             echo line $$n; n=$$((n+1)); sleep 0.1; done\"], depends_on: [plain-{pair}], \
             sandbox: {{mode: docker}}, \
             resources: {{memory: 32Mi, pids: 16}}}}\n"
        );
        agents += &boxed;
    }
    agents
}

/// The first processes of the containers, as the host sees them.
fn boxed(fleet: &Fleet) -> BTreeMap<String, u32> {
    let pid = |name: &str| {
        let up = fleet.await_agent(name, "runs and is ready", |agent| {
            agent.state == State::Running && agent.ready
        });
        up.instance.unwrap().pid.unwrap()
    };
    let names = (0..PAIRS).map(|pair| format!("boxed-{pair}"));
    names.map(|name| (name.clone(), pid(&name))).collect()
}

fn plain(fleet: &Fleet) -> BTreeMap<String, Process> {
    let names = (0..PAIRS).map(|pair| format!("plain-{pair}"));
    names
        .map(|name| (name.clone(), fleet.await_main(&name)))
        .collect()
}

#[test]
fn ten_processes_and_ten_containers_outlive_twenty_kills_of_the_supervisor() {
    let test = "ten_processes_and_ten_containers_outlive_twenty_kills_of_the_supervisor";
    let Some(engine) = Engine::find(test) else {
        return;
    };
    let mut dice = Dice::new();
    let mut fleet = Fleet::new("");
    let address = format!("engine: \"{}\"", engine.address);
    fleet.write(&address, &chain(&fleet));
    fleet.up();
    let before = (plain(&fleet), boxed(&fleet));
    for _ in 0..KILLS {
        if dice.below(3) > 0 {
            fleet.await_answer();
        }
        let moment = dice.time(Duration::from_millis(500));
        holds_for(moment, "processes live", || {
            before.0.values().all(Process::lives)
        });
        fleet.kill();
        fleet.start();
    }
    fleet.await_answer();
    assert_eq!((plain(&fleet), boxed(&fleet)), before, "the same ones");
    for pair in 0..PAIRS {
        for name in [format!("plain-{pair}"), format!("boxed-{pair}")] {
            assert_eq!(fleet.agent(&name).restarts, 0, "{name}");
        }
        let name = format!("boxed-{pair}");
        let there = engine.containers(&name, &fleet.path(""));
        assert_eq!(there.len(), 1, "one copy of {name}: {there:?}");
    }
    fleet.down();
    for pair in 0..PAIRS {
        let name = format!("boxed-{pair}");
        let lines = fleet.output(&name);
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for (number, line) in whole.lines().enumerate() {
            assert_eq!(line, format!("line {number}"), "a gap in the log of {name}");
        }
        until("its container is removed", || {
            let left = engine.containers(&name, &fleet.path(""));
            left.is_empty().then_some(())
        });
    }
}
