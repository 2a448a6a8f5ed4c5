//! State and events from outside: `clawctl state`, `clawctl events`, and `clawctl agent` inside.

use std::fs;

use serde_json::{Value, json};

use crate::fleet::{Fleet, until};
use crate::workers::{BACK_AT_ONCE, COUNTER, await_ready, fleet};

/// Fails until a file is there, and writes down each attempt.
const FAILING: &str = r#"
import pathlib
from openclaw import Agent, on

class Failing(Agent):
    @on("job")
    async def on_job(self, event):
        with open("attempts", "a") as file:
            file.write(f"{event.attempt}\n")
        if not pathlib.Path("go").exists():
            raise ValueError("not yet")
"#;

fn letters(fleet: &Fleet) -> Vec<Value> {
    let text = fleet.run(&["events", "dead", "list", "failing", "-o", "json"]);
    text.json()
}

fn await_letter(fleet: &Fleet) -> Value {
    until("the event is given up", || letters(fleet).pop())
}

#[test]
fn a_handler_that_fails_is_tried_again_and_the_event_ends_among_the_dead_letters() {
    let mut fleet = fleet(&[("failing", FAILING, "")]);
    await_ready(&fleet, "failing");
    let data = json!({"n": 1}).to_string();
    fleet
        .run(&["events", "publish", "job", "--data", &data])
        .ok();
    let letter = await_letter(&fleet);
    assert_eq!(fleet.lines("attempts"), ["1", "2", "3", "4", "5"]);
    assert_eq!(letter["attempts"], 5);
    assert_eq!(letter["reason"], "max_attempts");
    assert_eq!(letter["error"], "ValueError: not yet");
    assert_eq!(letter["data"], json!({"n": 1}));
    fleet.crash_and_up();
    await_ready(&fleet, "failing");
    assert_eq!(letters(&fleet).len(), 1, "a dead letter is durable");
    fs::write(fleet.path("go"), "").unwrap();
    let id = letter["id"].to_string();
    fleet
        .run(&["events", "dead", "replay", "failing", &id])
        .ok();
    assert_eq!(fleet.await_lines("attempts", 6)[5], "1");
    assert!(letters(&fleet).is_empty());
    fleet
        .run(&["events", "dead", "drop", "failing", &id])
        .exits(1);
    fleet.run(&["events", "dead", "list", "nobody"]).exits(4);
    fleet.down();
}

#[test]
fn an_event_without_another_chance_is_given_up_at_once_and_can_be_dropped() {
    let program = FAILING.replace("ValueError(\"not yet\")", "openclaw.Reject(\"never\")");
    let program = program.replace("import pathlib", "import openclaw, pathlib");
    let mut fleet = fleet(&[("failing", &program, "")]);
    await_ready(&fleet, "failing");
    for _ in 0..2 {
        let publish = ["events", "publish", "job", "--id", "one"];
        assert_eq!(fleet.run(&publish).ok(), "one\n");
    }
    let letter = await_letter(&fleet);
    assert_eq!(letter["reason"], "terminated");
    assert_eq!(fleet.lines("attempts"), ["1"], "the same id is stored once");
    fleet
        .run(&["events", "dead", "drop", "failing", "--all"])
        .ok();
    assert!(letters(&fleet).is_empty());
    let refused = fleet.run(&["events", "publish", "agent.started"]);
    assert!(refused.err.contains("the supervisor's"), "{refused:?}");
    refused.exits(2);
    fleet.down();
}

#[test]
fn state_is_read_changed_and_put_back_from_outside() {
    let mut fleet = fleet(&[("counter", COUNTER, BACK_AT_ONCE)]);
    await_ready(&fleet, "counter");
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    let get = |fleet: &Fleet, key: &str| fleet.run(&["state", "get", "counter", key]);
    assert_eq!(get(&fleet, "n").ok(), "1\n");
    let versions = |fleet: &Fleet| -> Vec<Value> {
        let all = ["state", "versions", "counter", "--all", "-o", "json"];
        fleet.run(&all).json()
    };
    let first = versions(&fleet)[0]["version"].to_string();
    let exported = fleet.run(&["state", "export", "counter"]).ok();
    fs::write(fleet.path("export.json"), &exported).unwrap();
    fleet.run(&["state", "set", "counter", "n", "41"]).ok();
    // Keys that are named like paths of the history, or need an escape, are keys all the same.
    for key in ["versions", "a/b ?", "ä"] {
        fleet.run(&["state", "set", "counter", key, "\"x\""]).ok();
        assert_eq!(get(&fleet, key).ok(), "\"x\"\n");
    }
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    assert_eq!(get(&fleet, "n").ok(), "42\n", "the agent sees the change");
    let diff = ["state", "diff", "counter", &first, "-o", "json"];
    let changes: Vec<Value> = fleet.run(&diff).json();
    assert!(
        changes.contains(&json!({"key": "n", "before": 1, "after": 42})),
        "{changes:?}"
    );
    assert_eq!(changes.len(), 4);
    let stale = ["state", "set", "counter", "n", "0", "--if-version", &first];
    fleet.run(&stale).exits(8);
    fleet.run(&["state", "rollback", "counter", &first]).ok();
    assert_eq!(get(&fleet, "n").ok(), "1\n");
    get(&fleet, "versions").exits(1);
    assert_eq!(versions(&fleet)[0]["kind"], "rollback");
    fleet.run(&["state", "delete", "counter", "n"]).ok();
    fleet.run(&["state", "delete", "counter", "n"]).exits(1);
    let import = ["state", "import", "counter", "@export.json"];
    fleet.run(&import).ok();
    assert_eq!(get(&fleet, "n").ok(), "1\n");
    fleet.crash_and_up();
    assert_eq!(get(&fleet, "n").ok(), "1\n");
    let list: Value = fleet
        .run(&["state", "list", "counter", "-o", "json"])
        .json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);
    fleet.run(&["state", "list", "nobody"]).exits(4);
    fleet.down();
}

/// A program in shell, with nothing but this executable.
const SHELL: &str = r#"
work=$(clawctl agent work next --wait 20s)
id=${work#*'"work":"'}; id=${id%%'"'*}
clawctl agent state set seen '[1]' && clawctl agent state get seen >> seen
clawctl agent state list >> seen
clawctl agent emit counted --data '{"n": 7}' > /dev/null
clawctl agent work done "$id" --attempt 1 --result '"fine"' && echo done >> seen
exec sleep 1000
"#;

#[test]
fn a_program_in_shell_works_through_clawctl() {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("agent.sh"), SHELL).unwrap();
    let program = crate::fleet::program();
    let folder = program.parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    fleet.write(
        "",
        &format!(
            "  shell: {{command: [sh, agent.sh], mode: worker, env: {{PATH: \"{path}\"}}, \
             subscribe: [job]}}\n"
        ),
    );
    fleet.up();
    await_ready(&fleet, "shell");
    fleet.run(&["events", "publish", "job"]).ok();
    let seen = fleet.await_lines("seen", 3);
    assert_eq!(seen, ["[1]", "seen", "done"]);
    assert_eq!(fleet.run(&["state", "get", "shell", "seen"]).ok(), "[1]\n");
    fleet.run(&["agent", "emit", "counted"]).exits(2);
    fleet.down();
}

/// Writes down the number of each job.
const DOER: &str = r#"
from openclaw import Agent, on

class Doer(Agent):
    @on("job")
    async def on_job(self, event):
        with open("done", "a") as file:
            file.write(f"{event.data} {event.attempt}\n")
"#;

#[test]
fn an_agent_gets_events_again_from_a_point_that_is_found_on_the_bus() {
    let mut fleet = fleet(&[("doer", DOER, "")]);
    await_ready(&fleet, "doer");
    for number in ["1", "2", "3"] {
        fleet
            .run(&["events", "publish", "job", "--data", number])
            .ok();
    }
    fleet.await_lines("done", 3);
    let listed = fleet
        .run(&["events", "--topic", "jo*", "-o", "json"])
        .exits(2);
    assert_eq!(listed, "");
    let listed = fleet.run(&["events", "--topic", "job", "-o", "json"]).ok();
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let datas: Vec<&Value> = listed.iter().map(|event| &event["data"]).collect();
    assert_eq!(datas, [1, 2, 3]);
    assert_eq!(listed[0]["source"], "api");
    let second = listed[1]["sequence"].to_string();
    let replayed = fleet
        .run(&["events", "replay", "doer", "--from", &second])
        .ok();
    assert_eq!(replayed, "doer gets 2 events\n");
    let done = fleet.await_lines("done", 5);
    assert_eq!(done[3..], ["2 1", "3 1"], "each from attempt 1");
    fleet
        .run(&["events", "replay", "doer", "--from", "1h"])
        .ok();
    fleet.await_lines("done", 8);
    fleet
        .run(&["events", "replay", "doer", "--from", "beginning"])
        .ok();
    fleet.await_lines("done", 11);
    fleet
        .run(&["events", "replay", "nobody", "--from", "1"])
        .exits(4);
    fleet
        .run(&["events", "replay", "doer", "--from", "yesterday"])
        .exits(2);
    fleet.down();
}

#[test]
fn the_shared_state_is_looked_at_and_changed_like_an_agents() {
    let mut fleet = fleet(&[("doer", DOER, "")]);
    await_ready(&fleet, "doer");
    for value in ["1", "2"] {
        fleet.run(&["state", "set", "@shared", "limit", value]).ok();
    }
    assert_eq!(fleet.run(&["state", "get", "@shared", "limit"]).ok(), "2\n");
    let old = ["state", "get", "@shared", "limit", "--at", "1"];
    assert_eq!(fleet.run(&old).ok(), "1\n");
    let versions = fleet.run(&["state", "versions", "@shared", "--all"]).ok();
    assert!(versions.contains("commit"), "{versions}");
    let stale = ["state", "set", "@shared", "limit", "3", "--if-version", "1"];
    assert_ne!(fleet.run(&stale).code, Some(0));
    let diff = fleet.run(&["state", "diff", "@shared", "1"]).ok();
    assert!(
        diff.contains("limit 1") && diff.contains("limit 2"),
        "{diff}"
    );
    fleet.run(&["state", "rollback", "@shared", "1"]).ok();
    assert_eq!(fleet.run(&["state", "get", "@shared", "limit"]).ok(), "1\n");
    let export = fleet.run(&["state", "export", "@shared"]).ok();
    assert!(export.contains("limit"), "{export}");
    fleet.run(&["state", "delete", "@shared", "limit"]).ok();
    fleet.run(&["state", "get", "@shared", "limit"]).exits(1);
    fleet.run(&["state", "get", "@other", "limit"]).exits(4);
    fleet.down();
}

#[test]
fn long_lists_come_a_page_at_a_time_and_lose_nothing() {
    let mut fleet = fleet(&[("failing", FAILING, "")]);
    await_ready(&fleet, "failing");
    for key in ["a", "b", "c", "d", "e"] {
        fleet.run(&["state", "set", "failing", key, "1"]).ok();
    }
    for id in ["1", "2", "3"] {
        fleet.run(&["events", "publish", "job", "--id", id]).ok();
    }
    until("all are given up", || {
        (letters(&fleet).len() == 3).then_some(())
    });
    let walk = |path: &str, list: &str, field: &str, cursor: &str| {
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let page: Value = fleet.api().get(&format!("{path}limit=2{next}"));
            let items = page[list].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            found.extend(items.iter().map(|item| item[field].to_string()));
            if page["next"].is_null() {
                return found;
            }
            let last = page["next"].to_string();
            next = format!("&{cursor}={}", last.trim_matches('"'));
        }
    };
    let state = "/api/agents/failing/state";
    let keys = walk(&format!("{state}?"), "keys", "key", "after");
    assert_eq!(keys, ["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\""]);
    let versions = walk(
        &format!("{state}/versions?all=true&"),
        "versions",
        "version",
        "before",
    );
    assert_eq!(versions, ["5", "4", "3", "2", "1"]);
    let changes = walk(&format!("{state}/diff?from=1&"), "changes", "key", "after");
    assert_eq!(changes, keys[1..]);
    let dead = walk("/api/events/dead?", "letters", "id", "before");
    assert_eq!(dead.len(), 3);
    assert!(dead.is_sorted_by(|one, other| one > other), "{dead:?}");
    fleet.down();
}
