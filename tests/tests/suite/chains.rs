//! What agents publish in the middle of a handler belongs to the chain of the event they handle.

use std::fs;

use serde_json::Value;

use crate::caller::caller;
use crate::fleet::{Fleet, until};

/// Answers each event with the next at once, while it still handles it.
const ECHO: &str = r#"
from openclaw import Agent, on, write_through

class Echo(Agent):
    @on("again")
    @write_through
    async def on_again(self, event):
        with open("heard", "a") as file:
            file.write(f"{event.data}\n")
        await self.emit("again", event.data + 1)
"#;

fn starts_and_ends(fleet: &Fleet, agent: &str) {
    fleet
        .run(&["events", "publish", "again", "--data", "0"])
        .ok();
    let path = format!("/api/events/dead?agent={agent}");
    let reason = until("the chain ends", || {
        let dead: Value = fleet.api().get(&path);
        let reason = dead["letters"][0]["reason"].as_str();
        reason.map(str::to_owned)
    });
    assert_eq!(reason, "hop_limit");
    let numbers: Vec<String> = (0..33).map(|number| number.to_string()).collect();
    assert_eq!(
        fleet.lines("heard"),
        numbers,
        "the first and 32 that follow"
    );
}

#[test]
fn a_handler_that_publishes_at_once_does_not_call_itself_for_ever() {
    let mut fleet = Fleet::new("  echo: {source: echo.py}\n");
    fs::write(fleet.path("echo.py"), ECHO).unwrap();
    fleet.up();
    fleet.await_agent("echo", "is ready", |agent| agent.ready);
    starts_and_ends(&fleet, "echo");
    fleet.down();
}

/// It sends no `traceparent`: the only event in its hands is what it answers.
#[test]
fn a_script_that_publishes_at_once_does_not_call_itself_for_ever() {
    let mut fleet = caller(
        "subscribe: [again]",
        r#"
while True:
    work = call("GET", "/v1/work?wait=10")["body"]
    if work:
        number = work[0]["event"]["data"]
        with open("heard", "a") as file:
            file.write(f"{number}\n")
        call("POST", "/v1/events", {"name": "again", "data": number + 1})
        call("POST", "/v1/work/" + work[0]["work"] + "/done", {"attempt": 1, "ok": True})
"#,
    );
    fleet.await_agent("caller", "is ready", |agent| agent.ready);
    starts_and_ends(&fleet, "caller");
    fleet.down();
}
