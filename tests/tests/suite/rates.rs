//! What keeps an agent that has gone wild from the others.

use std::fs;

use crate::caller::{answers, caller};
use crate::fleet::Fleet;

#[test]
fn an_agent_that_is_too_fast_is_told_when_to_come_again() {
    let mut fleet = caller(
        "resources: {events_per_minute: 6, state_writes_per_minute: 6}",
        r#"
for _ in range(7):
    told("event", call("POST", "/v1/events", {"name": "x"}))
for n in range(7):
    told("state", call("PUT", "/v1/state/n", n))
told("n", call("GET", "/v1/state/n"))
"#,
    );
    let answers = answers(&fleet, 15);
    let (events, others) = answers.split_at(7);
    let (states, last) = others.split_at(7);
    for (all, seconds) in [(events, "10"), (states, "5")] {
        let (refused, taken) = all.split_last().unwrap();
        assert!(taken.iter().all(|one| one["status"] == 200), "{taken:?}");
        assert_eq!(refused["status"], 429, "{refused}");
        assert_eq!(refused["body"]["code"], "rate_limited", "{refused}");
        assert_eq!(refused["body"]["retryable"], true, "{refused}");
        let millis = refused["body"]["retry_after_ms"].as_u64().unwrap();
        assert!(millis <= 10_000, "{refused}");
        let told: u64 = refused["retry_after"].as_str().unwrap().parse().unwrap();
        assert!(
            told * 1000 >= millis && told <= seconds.parse().unwrap(),
            "{refused}"
        );
    }
    assert_eq!(last[0]["body"], 5, "what was refused changed nothing");
    fleet.down();
}

/// It has no check that it could fail, and is ended all the same.
#[test]
fn an_agent_that_talks_nonsense_is_ended_for_that() {
    let mut fleet = caller(
        "restart_policy: {policy: never}",
        r#"
while True:
    call("GET", "/v1/work?max=0")
"#,
    );
    let ends = fleet.await_ends("caller", 1);
    assert_eq!(ends[0].1, "protocol", "{ends:?}");
    let why = fleet.run(&["why", "caller"]).ok();
    assert!(
        why.contains("broke the agent protocol again and again"),
        "{why}"
    );
    fleet.down();
}

const KEEN: &str = r#"
from openclaw import Agent

class Keen(Agent):
    async def run(self):
        for number in range(43):
            await self.state.set("n", number)
"#;

#[test]
fn state_that_is_written_too_fast_is_written_later_and_never_lost() {
    let mut fleet =
        Fleet::new("  keen: {source: keen.py, resources: {state_writes_per_minute: 40}}\n");
    fs::write(fleet.path("keen.py"), KEEN).unwrap();
    fleet.up();
    fleet.await_agent("keen", "is ready", |agent| agent.ready);
    fleet.run(&["trigger", "keen", "--wait"]).ok();
    assert_eq!(fleet.stored("keen", "n"), Some(42.into()));
    fleet.down();
}
