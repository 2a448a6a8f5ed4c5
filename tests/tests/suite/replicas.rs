//! Several replicas of one agent: they share events, state and a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use claw_daemon::api::{Agent, State};
use rustix::process::Signal;

use crate::examples::example;
use crate::fleet::{Fleet, holds_for, until};
use crate::workers::await_ready;

/// Says what it begins and has done, and waits while a file holds it.
const WORK: &str = r#"
import asyncio, pathlib
from openclaw import Agent, on

class Work(Agent):
    @on("job")
    async def on_job(self, event):
        n, key = event.data["n"], event.data["key"]
        with open("begun", "a") as file:
            file.write(f"{key} {n} {self.replica}\n")
        while pathlib.Path(f"hold-{n}").exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)
        await self.state.set(f"done/{key}/{n}", self.replica)
        with open("done", "a") as file:
            file.write(f"{key} {n} {self.replica}\n")
"#;

/// What a replica wrote of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    key: String,
    n: u32,
    replica: u32,
}

fn marks(fleet: &Fleet, file: &str) -> Vec<Mark> {
    let lines = fleet.lines(file);
    let mark = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        Mark {
            key: words[0].to_owned(),
            n: words[1].parse().unwrap(),
            replica: words[2].parse().unwrap(),
        }
    };
    lines.iter().map(mark).collect()
}

fn await_marks(fleet: &Fleet, file: &str, count: usize) -> Vec<Mark> {
    fleet.await_lines(file, count);
    marks(fleet, file)
}

fn line(replicas: u32, keys: &str) -> String {
    format!(
        "  work: {{source: agents/work.py, replicas: {replicas}, \
         restart_policy: {{initial_delay: 50ms}}{keys}}}\n"
    )
}

fn replicas(count: u32, keys: &str) -> Fleet {
    let mut fleet = Fleet::new("");
    fs::create_dir_all(fleet.path("agents")).unwrap();
    fs::write(fleet.path("agents/work.py"), WORK).unwrap();
    fleet.write("", &line(count, keys));
    fleet.up();
    all_ready(&fleet, count);
    fleet
}

fn all_ready(fleet: &Fleet, count: u32) {
    for replica in 0..count {
        until(&format!("work-{replica} is ready"), || {
            fleet.find(&format!("work-{replica}"))?.ready.then_some(())
        });
    }
}

fn publish(fleet: &Fleet, key: &str, n: u32) {
    let event = format!(
        "{{\"name\": \"job\", \"key\": \"{key}\", \"data\": {{\"n\": {n}, \"key\": \"{key}\"}}}}"
    );
    let (status, answer) = fleet.api().post("/api/events", Some(&event));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn three_replicas_share_sixty_events_and_each_is_handled_once() {
    let mut fleet = replicas(3, "");
    for n in 0..60 {
        publish(&fleet, "k", n);
    }
    let mut done = await_marks(&fleet, "done", 60);
    done.sort();
    let numbers: Vec<u32> = done.iter().map(|mark| mark.n).collect();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>());
    let busy: BTreeSet<u32> = done.iter().map(|mark| mark.replica).collect();
    assert_eq!(busy, BTreeSet::from([0, 1, 2]));
    let agents: Vec<Agent> = fleet.run(&["status", "work", "--output", "json"]).json();
    let places = agents
        .iter()
        .map(|agent| (agent.group.as_deref(), agent.replica));
    let expected = (0..3).map(|replica| (Some("work"), Some(replica)));
    assert_eq!(places.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let keys = fleet
        .run(&["state", "list", "work", "--output", "json"])
        .ok();
    assert_eq!(keys.matches("done/k/").count(), 60, "one state: {keys}");
    fleet.down();
}

#[test]
fn what_a_killed_replica_held_is_handled_by_another() {
    let mut fleet = replicas(3, "");
    fs::write(fleet.path("hold-0"), "").unwrap();
    publish(&fleet, "k", 0);
    let first = await_marks(&fleet, "begun", 1)[0].replica;
    fleet.run(&["pause", &format!("work-{first}")]).ok();
    let holder = fleet.agent(&format!("work-{first}")).instance.unwrap();
    let holder = crate::fleet::Process::of(holder.pid.unwrap().cast_signed()).unwrap();
    holder.signal(Signal::KILL);
    let second = await_marks(&fleet, "begun", 2)[1].replica;
    assert_ne!(second, first);
    fs::remove_file(fleet.path("hold-0")).unwrap();
    let done = await_marks(&fleet, "done", 1);
    assert_eq!(done[0].replica, second);
    fleet.down();
}

#[test]
fn order_by_key_holds_over_replicas_and_a_kill() {
    let mut fleet = replicas(3, ", delivery: {ordering: key, initial_delay: 50ms}");
    let keys = ["a", "b", "c", "d", "e", "f"];
    for n in 0..20 {
        for key in keys {
            publish(&fleet, key, n);
        }
    }
    await_marks(&fleet, "done", 30);
    fleet.await_main("work-1").signal(Signal::KILL);
    let handled = until("all are handled", || {
        let done = marks(&fleet, "done");
        let distinct: BTreeSet<_> = done.iter().map(|mark| (&mark.key, mark.n)).collect();
        (distinct.len() == 120).then_some(done.clone())
    });
    for key in keys {
        let mut order: Vec<u32> = handled
            .iter()
            .filter(|mark| mark.key == key)
            .map(|mark| mark.n)
            .collect();
        // The killed replica may have written down one that it did not finish.
        order.dedup();
        assert_eq!(order, (0..20).collect::<Vec<_>>(), "{key}");
    }
    fleet.down();
}

/// The key is a field of the data; the publisher gives every event a key of its own.
#[test]
fn hash_sharding_gives_a_key_to_the_same_replica_over_a_restart() {
    let mut fleet = replicas(3, ", sharding: {strategy: hash, key: key}");
    let rounds = [0, 1];
    let mut owners = Vec::new();
    for round in rounds {
        for key in 0..12 {
            let event = format!(
                "{{\"name\": \"job\", \"key\": \"{round}-{key}\", \
                 \"data\": {{\"n\": {round}, \"key\": \"k{key}\"}}}}"
            );
            assert_eq!(fleet.api().post("/api/events", Some(&event)).0, 200);
        }
        let done = await_marks(&fleet, "done", 12 * (owners.len() + 1));
        let of_round = done.into_iter().filter(|mark| mark.n == round);
        owners.push(
            of_round
                .map(|mark| (mark.key, mark.replica))
                .collect::<BTreeMap<_, _>>(),
        );
        if round == 0 {
            fleet.run(&["stop", "work"]).ok();
            for replica in 0..3 {
                fleet.await_state(&format!("work-{replica}"), State::Stopped);
            }
            fleet.run(&["start", "work"]).ok();
            all_ready(&fleet, 3);
        }
    }
    assert_eq!(owners[0], owners[1]);
    // The published function: SHA-256, its first 64 bits, modulo 64 slots, modulo 3 replicas.
    let expected = [1, 2, 2, 2, 2, 1, 0, 1, 2, 2, 2, 1];
    for (key, replica) in expected.into_iter().enumerate() {
        assert_eq!(
            owners[0].get(&format!("k{key}")),
            Some(&replica),
            "{owners:?}"
        );
    }
    fleet.down();
}

#[test]
fn replicas_come_and_go_under_load_and_nothing_is_lost() {
    let mut fleet = replicas(3, "");
    let first = fleet.await_main("work-0");
    let mut published = 0;
    let mut load = |fleet: &Fleet| {
        for _ in 0..40 {
            publish(fleet, "k", published);
            published += 1;
        }
    };
    load(&fleet);
    fleet.write("", &line(2, ""));
    load(&fleet);
    until("work-2 is gone", || {
        fleet.find("work-2").is_none().then_some(())
    });
    load(&fleet);
    fleet.write("", &line(4, ""));
    load(&fleet);
    all_ready(&fleet, 4);
    load(&fleet);
    let mut done = await_marks(&fleet, "done", 200);
    done.sort();
    let numbers: Vec<u32> = done.iter().map(|mark| mark.n).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(
        fleet.await_main("work-0"),
        first,
        "the others are left alone"
    );
    fleet.down();
}

#[test]
fn what_replicas_hold_goes_on_over_a_kill_of_the_supervisor() {
    let mut fleet = replicas(3, "");
    for n in 0..3 {
        fs::write(fleet.path(&format!("hold-{n}")), "").unwrap();
        publish(&fleet, "k", n);
    }
    await_marks(&fleet, "begun", 3);
    fleet.crash_and_up();
    all_ready(&fleet, 3);
    for n in 0..3 {
        fs::remove_file(fleet.path(&format!("hold-{n}"))).unwrap();
    }
    await_marks(&fleet, "done", 3);
    holds_for(Duration::from_millis(500), "nothing comes twice", || {
        fleet.lines("begun").len() == 3 && fleet.lines("done").len() == 3
    });
    fleet.down();
}

/// The one process and the first of the new ones are both replica 0 for a while.
#[test]
fn one_becomes_several_and_what_is_in_hand_is_handled_once() {
    let mut fleet = Fleet::new("");
    fs::create_dir_all(fleet.path("agents")).unwrap();
    fs::write(fleet.path("agents/work.py"), WORK).unwrap();
    fleet.write("", &line(1, ""));
    fleet.up();
    await_ready(&fleet, "work");
    for n in 0..3 {
        fs::write(fleet.path(&format!("hold-{n}")), "").unwrap();
        publish(&fleet, "k", n);
    }
    await_marks(&fleet, "begun", 1);
    fleet.write("", &line(2, ""));
    all_ready(&fleet, 2);
    await_marks(&fleet, "begun", 2);
    fs::remove_file(fleet.path("hold-0")).unwrap();
    await_marks(&fleet, "begun", 3);
    until("the one is gone", || {
        let agents: Vec<Agent> = fleet.run(&["status", "--output", "json"]).json();
        let gone = agents.iter().all(|agent| agent.name != "work");
        gone.then_some(())
    });
    holds_for(Duration::from_millis(500), "nothing comes again", || {
        fleet.lines("begun").len() == 3
    });
    for n in 1..3 {
        fs::remove_file(fleet.path(&format!("hold-{n}"))).unwrap();
    }
    let mut done = await_marks(&fleet, "done", 3);
    done.sort();
    let numbers: Vec<u32> = done.iter().map(|mark| mark.n).collect();
    assert_eq!(numbers, [0, 1, 2]);
    fleet.down();
}

#[test]
fn a_name_stands_for_all_replicas_and_a_run_goes_to_one() {
    let mut fleet = replicas(2, "");
    let (status, answer) = fleet.api().post("/api/agents/work/pause", None);
    assert_eq!(status, 202, "{answer}");
    for replica in 0..2 {
        assert_eq!(answer["agents"][replica]["name"], format!("work-{replica}"));
        fleet.await_state(&format!("work-{replica}"), State::Paused);
    }
    fleet.run(&["resume", "work"]).ok();
    fleet.run(&["stop", "work"]).ok();
    assert_eq!(fleet.run(&["status", "work"]).code, Some(3));
    fleet.run(&["start", "work"]).ok();
    all_ready(&fleet, 2);
    fleet.run(&["trigger", "work"]).ok();
    let why = fleet.run(&["why", "work"]).ok();
    assert!(
        why.contains("work-0 is ") && why.contains("work-1 is "),
        "{why}"
    );
    let runs = fleet.runs("work-0").len() + fleet.runs("work-1").len();
    assert_eq!(runs, 1);
    fleet.down();
}

/// Hears what an example has to say.
const EAR: &str = r#"
from openclaw import Agent, on

class Ear(Agent):
    @on("batch_done")
    async def on_batch_done(self, event):
        with open("sums", "a") as file:
            file.write(f"{event.data['sum']}\n")
"#;

#[test]
fn the_fan_out_example_comes_together_again() {
    let mut fleet = example("fan-out");
    fs::write(fleet.path("agents/ear.py"), EAR).unwrap();
    let text = format!(
        "$include: example.yaml\ndefaults: {{env: {{{}}}}}\nagents: {{ear: {{source: agents/ear.py, sandbox: {{mode: none}}}}}}\n",
        fleet.mark()
    );
    fleet.write_raw(&text);
    fleet.up();
    for name in ["split", "work-0", "work-1", "work-2", "join", "ear"] {
        await_ready(&fleet, name);
    }
    fleet.run(&["trigger", "split", "--wait"]);
    let sums = fleet.await_lines("sums", 1);
    assert_eq!(sums[0], "14", "{sums:?}");
    fleet.down();
}

#[test]
fn the_sharded_worker_example_keeps_a_source_with_its_replica() {
    let mut fleet = example("sharded-worker");
    fleet.up();
    let members: Vec<String> = (0..4)
        .map(|index| format!("shard-worker-{index}"))
        .collect();
    for member in &members {
        await_ready(&fleet, member);
    }
    let strays = |fleet: &Fleet| -> usize {
        let outputs = members.iter().map(|member| fleet.output(member));
        outputs
            .map(|output| output.matches("belongs to replica").count())
            .sum()
    };
    let before = strays(&fleet);
    fleet.run(&["trigger", "sensors", "--wait"]);
    until("every source has a mean", || {
        let keys = fleet.run(&["state", "list", "shard-worker", "--output", "json"]);
        (keys.out.matches("mean:").count() == 12).then_some(())
    });
    assert_eq!(strays(&fleet), before);
    fleet.down();
}

#[test]
fn runs_and_logs_of_a_name_are_those_of_all_its_replicas() {
    let program = "from openclaw import Agent\n\nclass Twin(Agent):\n    async def run(self):\n        \
        self.logger.info(\"it is the turn of %s\", self.replica)\n";
    let mut fleet = Fleet::new("  twin: {source: twin.py, replicas: 2}\n");
    fs::write(fleet.path("twin.py"), program).unwrap();
    fleet.up();
    for twin in ["twin-0", "twin-1"] {
        await_ready(&fleet, twin);
        fleet.run(&["trigger", twin, "--wait"]).ok();
    }
    let runs = fleet.run(&["runs", "twin"]).ok();
    let newest = runs.find("twin-1").expect("a run of the second");
    assert!(
        runs.find("twin-0").is_some_and(|older| newest < older),
        "{runs}"
    );
    let one = fleet.run(&["runs", "twin", "-n", "1"]).ok();
    assert!(one.lines().count() == 2 && !one.contains("twin-0"), "{one}");
    let logs = until("both are in the log", || {
        let logs = fleet.run(&["logs", "twin"]).ok();
        let both = logs.contains("turn of 0") && logs.contains("turn of 1");
        both.then_some(logs)
    });
    assert!(
        logs.lines().any(|line| line.starts_with("twin-1 | ")),
        "{logs}"
    );
    fleet.down();
}
