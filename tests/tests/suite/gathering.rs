//! Events that wait for others, in a fleet.

use std::fs;

use crate::fleet::{Fleet, until};

/// Writes down what it gets, each delivery as a line.
const GATHERER: &str = r#"
from openclaw import Agent, on

class Gatherer(Agent):
    @on("reading", batch=True)
    async def on_readings(self, events):
        with open("readings", "a") as file:
            file.write(" ".join(str(event.data) for event in events) + "\n")
        if events[0].data == 100 and events[0].attempt == 1:
            raise RuntimeError("not yet")
        await self.state.update("sum", lambda total: total + sum(event.data for event in events), 0)
        await self.emit("summed", len(events))
"#;

const LISTENER: &str = r#"
from openclaw import Agent, on

class Listener(Agent):
    @on("edited")
    async def on_edited(self, event):
        with open("edits", "a") as file:
            file.write(f"{event.key} {event.data}\n")
"#;

fn publish(fleet: &Fleet, name: &str, key: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let event = format!("{{\"name\": \"{name}\", \"key\": \"{key}\", \"data\": {n}}}");
        let (status, answer) = fleet.api().post("/api/events", Some(&event));
        assert_eq!(status, 200, "{answer}");
    }
}

fn fleet(name: &str, source: &str, delivery: &str) -> Fleet {
    let mut fleet = Fleet::new(&format!(
        "  {name}: {{source: {name}.py, delivery: {{{delivery}}}}}\n"
    ));
    fs::write(fleet.path(&format!("{name}.py")), source).unwrap();
    fleet.up();
    fleet.await_agent(name, "is ready", |agent| agent.ready);
    fleet
}

#[test]
fn a_batch_is_one_call_of_its_handler_and_settled_as_one() {
    let delivery = "batch: {size: 4, wait: 1s}, initial_delay: 100ms";
    let mut fleet = fleet("gatherer", GATHERER, delivery);
    publish(&fleet, "reading", "k", 0..4);
    let lines = fleet.await_lines("readings", 1);
    assert_eq!(lines, ["0 1 2 3"]);
    let sum = |wanted: u64| {
        until("the sum is stored", || {
            (fleet.stored("gatherer", "sum") == Some(wanted.into())).then_some(())
        });
    };
    sum(6);
    // Fewer than its size are given when the oldest has waited, and again when they failed.
    publish(&fleet, "reading", "k", 100..103);
    assert_eq!(fleet.await_lines("readings", 3)[1..], ["100 101 102"; 2]);
    sum(309);
    let summed = fleet.run(&["events", "--topic", "summed", "-o", "json"]);
    assert_eq!(
        summed.ok().lines().count(),
        2,
        "what failed has published nothing"
    );
    fleet.down();
}

#[test]
fn only_the_last_event_of_a_burst_is_handled_also_over_a_restart() {
    let mut fleet = fleet("listener", LISTENER, "debounce: 3s");
    publish(&fleet, "edited", "a", 0..20);
    publish(&fleet, "edited", "b", 0..5);
    fleet.kill();
    fleet.up();
    let mut lines = fleet.await_lines("edits", 2);
    lines.sort();
    assert_eq!(lines, ["a 19", "b 4"]);
    publish(&fleet, "edited", "a", 20..22);
    assert_eq!(fleet.await_lines("edits", 3)[2], "a 21");
    fleet.down();
}
