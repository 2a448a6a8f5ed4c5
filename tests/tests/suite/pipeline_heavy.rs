//! Four stages in a row, collect, analyse, report and alert, while all that can die does.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::dice::Dice;
use crate::fleet::{Fleet, Waited, holds_for, until, within};

/// How often the supervisor is killed.
const CRASHES: u64 = 20;

/// How often an agent is killed, whichever.
const KILLS: u64 = 50;

const STAGES: [&str; 4] = ["collect", "analyse", "report", "alert"];

/// So long at most until something more is done by the last stage. Agents that died often wait
/// before they are started again, and a busy machine may stand still.
const STANDSTILL: Duration = Duration::from_secs(240);

/// Stages before the last one are done by then, but for what is lost.
const LATE: Duration = Duration::from_secs(20);

/// Publishes numbered events, some at a time; what it has published stands in its state. It stays
/// near the last stage, so that its deaths too come while it works.
const COLLECT: &str = r#"
from openclaw import Agent

AHEAD = 200
BATCH = 10

class Collect(Agent):
    async def run(self):
        handled = self.state.read_from("alert").get("seen", {"count": 0})["count"]
        limit = min(handled + AHEAD, self.config.events)
        while (count := await self.state.get("count", 0)) < limit:
            end = min(count + BATCH, limit)
            async with self.state.transaction() as tx:
                for n in range(count + 1, end + 1):
                    tx.emit("collected", {"n": n}, key=f"k{n % 16}")
                tx.set("count", end)
"#;

/// Keeps what is to be known of the events it has handled, beside passing them on.
const STAGE: &str = r#"
from openclaw import Agent, on

class Stage(Agent):
    name = "NAME"

    @on("HEARD")
    async def take(self, event):
        n, key = event.data["n"], event.key
        seen = await self.state.get("seen", {"count": 0, "sum": 0, "squares": 0, "disorder": 0})
        last = await self.state.get(f"last:{key}", 0)
        await self.state.set("seen", {
            "count": seen["count"] + 1,
            "sum": seen["sum"] + n,
            "squares": seen["squares"] + n * n,
            "disorder": seen["disorder"] + (n < last),
        })
        await self.state.set(f"last:{key}", max(n, last))
        await self.emit("SAID", event.data, key=key)
"#;

fn program(stage: usize) -> String {
    if stage == 0 {
        return COLLECT.to_owned();
    }
    let said = ["collected", "analysed", "reported", "alerted"];
    STAGE
        .replace("NAME", STAGES[stage])
        .replace("HEARD", said[stage - 1])
        .replace("SAID", said[stage])
}

fn pipeline(events: u64) -> Fleet {
    let mut fleet = Fleet::new("");
    let mut lines = String::new();
    for (number, name) in STAGES.into_iter().enumerate() {
        fs::write(fleet.path(&format!("{name}.py")), program(number)).unwrap();
        let more = if number == 0 {
            format!("schedule: every 1s, read_from: [alert], config: {{events: {events}}}")
        } else {
            // An event whose agent is killed often enough would be given up, and the dice know no
            // measure.
            "delivery: {ordering: key, max_attempts: 100}".to_owned()
        };
        writeln!(
            lines,
            "  {name}: {{source: {name}.py, restart_policy: \
             {{initial_delay: 50ms, max_delay: 200ms, max_retries: unlimited}}, {more}}}"
        )
        .unwrap();
    }
    fleet.write("", &lines);
    fleet.up();
    fleet
}

/// Waits until the last stage has handled so many events.
fn await_handled(fleet: &Fleet, count: u64) {
    let (mut most, mut still) = (0, Waited::start());
    within(STANDSTILL * 100, "the events are handled", || {
        let handled = seen(fleet, "alert").0;
        if handled > most {
            (most, still) = (handled, Waited::start());
        }
        assert!(
            still.total() < STANDSTILL,
            "{most} of {count} events were handled, and then none: {}\n{}",
            standing(fleet),
            fleet.said()
        );
        (handled >= count).then_some(())
    });
}

/// What each stage has done and given up, for who looks into a failure.
fn standing(fleet: &Fleet) -> String {
    let stages = STAGES.map(|stage| {
        let state = fleet.run(&["state", "list", stage]).out;
        let dead = fleet.run(&["events", "dead", "list", stage, "-o", "json"]);
        format!("{stage}\n{state}\ndead: {}", dead.out)
    });
    stages.join("\n")
}

/// What every stage has seen when it has seen each of these numbers once.
fn each_once(events: u64) -> (u64, u64, u64) {
    let sum = events * (events + 1) / 2;
    (events, sum, sum * (2 * events + 1) / 3)
}

fn seen(fleet: &Fleet, stage: &str) -> (u64, u64, u64) {
    let seen = fleet.stored(stage, "seen").unwrap_or_default();
    let number = |name: &str| seen[name].as_u64().unwrap_or(0);
    (number("count"), number("sum"), number("squares"))
}

/// `CLAW_PIPELINE_EVENTS=10000` is the full measure; a thousand finds the same faults sooner.
fn events() -> u64 {
    let given = std::env::var("CLAW_PIPELINE_EVENTS").ok();
    given.map_or(1000, |text| text.parse().expect("a number"))
}

#[test]
fn every_event_of_a_pipeline_counts_once_in_each_stage_whoever_is_killed() {
    let events = events();
    let mut dice = Dice::new();
    let mut fleet = pipeline(events);
    let mut deaths: Vec<bool> = (0..CRASHES + KILLS).map(|n| n < CRASHES).collect();
    for place in (1..deaths.len()).rev() {
        let other = dice.below(place as u64 + 1);
        deaths.swap(place, usize::try_from(other).unwrap());
    }
    let mut moments: Vec<u64> = deaths.iter().map(|_| dice.below(events * 9 / 10)).collect();
    moments.sort_unstable();
    let started = Instant::now();
    for (crash, moment) in deaths.into_iter().zip(moments) {
        await_handled(&fleet, moment);
        holds_for(dice.time(Duration::from_millis(100)), "time passes", || {
            true
        });
        if crash {
            fleet.crash_and_up();
        } else {
            let stage = STAGES[usize::try_from(dice.below(4)).unwrap()];
            fleet.await_main(stage).signal(Signal::KILL);
        }
    }
    await_handled(&fleet, events);
    let took = started.elapsed();
    assert_eq!(fleet.stored("collect", "count"), Some(events.into()));
    for stage in &STAGES[1..] {
        let mut waited = Waited::start();
        until(&format!("{stage} has seen each once"), || {
            let all = seen(&fleet, stage) == each_once(events);
            assert!(
                all || waited.total() < LATE,
                "{stage}: {}",
                standing(&fleet)
            );
            all.then_some(())
        });
        let disorder = &fleet.stored(stage, "seen").unwrap()["disorder"];
        assert_eq!(
            disorder, 0,
            "{stage}: events after a later one of their key"
        );
    }
    holds_for(Duration::from_secs(2), "nothing comes twice", || {
        seen(&fleet, "alert") == each_once(events)
    });
    eprintln!("{events} events, {CRASHES} crashes and {KILLS} kills took {took:.1?}");
    for stage in STAGES {
        let dead = fleet.run(&["events", "dead", "list", stage, "-o", "json"]);
        assert_eq!(dead.json::<Vec<Value>>(), Vec::<Value>::new(), "{stage}");
    }
    fleet.down();
}
