//! Replicas take over another configuration one after another.

use std::fs;

use crate::fleet::{Fleet, until};

/// Says who begins what, when, and under which configuration.
const WORK: &str = r#"
import os, time
from openclaw import Agent, on

class Work(Agent):
    @on("job")
    async def on_job(self, event):
        with open("begun", "a") as file:
            file.write(f"{event.data} {self.replica} {os.environ['EDITION']} {time.time()}\n")
"#;

/// One event in the hands of a replica.
#[derive(Debug)]
struct Begun {
    n: u64,
    /// Replica and edition.
    by: (u32, String),
    at: f64,
}

fn line(edition: &str) -> String {
    format!("  work: {{source: work.py, replicas: 2, env: {{EDITION: {edition}}}}}\n")
}

fn rolling() -> Fleet {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("work.py"), WORK).unwrap();
    fleet.write("", &line("first"));
    fleet.up();
    for replica in ["work-0", "work-1"] {
        until("a replica is ready", || {
            fleet.find(replica)?.ready.then_some(())
        });
    }
    fleet
}

fn publish(fleet: &Fleet, n: u64) {
    let event = format!("{{\"name\": \"job\", \"data\": {n}}}");
    let (status, answer) = fleet.api().post("/api/events", Some(&event));
    assert_eq!(status, 200, "{answer}");
}

fn begun(fleet: &Fleet) -> Vec<Begun> {
    let lines = fleet.lines("begun");
    let parts = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        Begun {
            n: words[0].parse().unwrap(),
            by: (words[1].parse().unwrap(), words[2].to_owned()),
            at: words[3].parse().unwrap(),
        }
    };
    lines.iter().map(parts).collect()
}

/// Publishes until each of these has begun something, and returns how much was published.
fn publish_until(fleet: &Fleet, published: u64, edition: &str) -> u64 {
    let mut published = published;
    until("both replicas begin something", || {
        publish(fleet, published);
        published += 1;
        let begun = begun(fleet);
        let has = |replica| {
            let mut by = begun.iter().map(|one| &one.by);
            by.any(|by| *by == (replica, edition.to_owned()))
        };
        (has(0) && has(1)).then_some(published)
    })
}

#[test]
fn statement_52_a_rolling_update_leaves_no_gap() {
    let mut fleet = rolling();
    let published = publish_until(&fleet, 0, "first");
    fleet.write("", &line("second"));
    let published = publish_until(&fleet, published, "second");
    fleet.await_lines("begun", usize::try_from(published).unwrap());
    let begun = begun(&fleet);
    let mut numbers: Vec<u64> = begun.iter().map(|one| one.n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..published).collect::<Vec<_>>(), "each once");
    for replica in [0, 1] {
        let place = |edition: &str| (replica, edition.to_owned());
        let last = begun.iter().rposition(|one| one.by == place("first"));
        let first = begun.iter().position(|one| one.by == place("second"));
        let between = &begun[last.unwrap() + 1..first.unwrap()];
        assert!(
            between.iter().any(|one| one.by.0 != replica),
            "while {replica} was replaced, the other one worked: {begun:?}"
        );
    }
    for pair in begun.windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap < 2.0, "{gap} s without a start: {pair:?}");
    }
    fleet.down();
}

/// What is in force then serves on, and the fleet can be mended.
#[test]
fn an_update_that_does_not_come_up_ends_one_replica_only() {
    let mut fleet = rolling();
    let second = fleet.await_main("work-1");
    fs::write(
        fleet.path("work.py"),
        format!("raise SystemExit(3)\n{WORK}"),
    )
    .unwrap();
    fleet.write("", &line("broken"));
    until("the first fails", || {
        (fleet.find("work-0")?.restarts > 1).then_some(())
    });
    publish(&fleet, 0);
    fleet.await_lines("begun", 1);
    assert_eq!(begun(&fleet)[0].by, (1, "first".to_owned()));
    assert_eq!(fleet.await_main("work-1"), second);
    fs::write(fleet.path("work.py"), WORK).unwrap();
    fleet.write("", &line("mended"));
    publish_until(&fleet, 1, "mended");
    fleet.down();
}
