//! Sandboxes of agents that are processes, as the command line tells of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use claw_daemon::api::State;
use serde_json::Value;

use crate::fleet::{Fleet, agent, clawctl, root, until};

const FLEET: &str = "
project: confined
version: '1.0'
security:
  sandbox:
    mode: process
    allowed_network: [\"*.example.com\"]
agents:
  coder:
    command: [./coder, --serve]
    sandbox:
      writable: [{path: work, size: 1Gi}]
      allowed_network: [git.example.com]
  pair:
    command: [./pair]
    mode: worker
    replicas: 2
";

#[test]
fn what_an_agent_may_do_is_said_without_a_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("openclaw.yaml"), FLEET).unwrap();
    let said = clawctl(folder.path(), &["sandbox", "explain", "coder"]).ok();
    for wanted in [
        "./coder --serve",
        "`writable`, up to 1.0 GiB",
        "git.example.com",
        "`agents.coder.sandbox.allowed_network[0]`",
        ".openclaw",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let explain = ["sandbox", "explain", "pair", "--output", "json"];
    let document: Value = clawctl(folder.path(), &explain).json();
    assert_eq!(document["mode"], "process");
    let lines = document["may"].as_array().unwrap().iter();
    let reaches = lines
        .filter(|chapter| chapter["verb"] == "reaches")
        .flat_map(|chapter| chapter["lines"].as_array().unwrap());
    let why: Vec<_> = reaches.map(|line| line["why"].as_str().unwrap()).collect();
    assert!(
        why.contains(&"`security.sandbox.allowed_network[0]`"),
        "{why:?}"
    );
    let nobody = clawctl(folder.path(), &["sandbox", "explain", "nobody"]);
    assert!(
        nobody.err.contains("there is no agent `nobody`"),
        "{nobody:?}"
    );
    nobody.exits(4);
}

#[test]
fn an_agent_that_wants_more_than_the_fleet_allows_is_an_error_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let wider = FLEET.replace("[git.example.com]", "[git.example.org]");
    fs::write(folder.path().join("openclaw.yaml"), wider).unwrap();
    let refused = clawctl(folder.path(), &["validate"]);
    let said = refused.err.clone();
    refused.exits(78);
    for wanted in [
        "`agents.coder.sandbox.allowed_network[0]` is more than `security.sandbox` allows",
        "allow_override: true",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn an_agent_without_sandbox_says_so_and_was_denied_nothing() {
    let mut fleet = Fleet::new(&agent("open", &["forever"], "sandbox: {mode: none}"));
    fleet.up();
    fleet.await_state("open", State::Running);
    let status = fleet.run(&["status", "open"]).ok();
    assert!(status.contains("not locked in"), "{status}");
    let denials = fleet.run(&["sandbox", "why-blocked", "open"]).ok();
    assert!(
        denials.contains("nothing was denied to `open`"),
        "{denials}"
    );
    fleet.run(&["sandbox", "why-blocked", "nobody"]).exits(4);
    let (_, metrics) = fleet.api().ask("/metrics").unwrap();
    let level = "openclaw_agent_sandbox_level{agent=\"open\",level=\"none\"} 1";
    assert!(metrics.contains(level), "{metrics}");
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn the_examples_are_valid_and_can_be_explained() {
    for (example, agents) in [
        ("coding-agent", &["coder"][..]),
        ("untrusted-script", &["script"]),
        ("sandbox-levels", &["full", "degraded", "open"]),
    ] {
        let folder = root().join("examples").join(example);
        clawctl(&folder, &["validate"]).ok();
        for agent in agents {
            clawctl(&folder, &["sandbox", "explain", agent]).ok();
        }
    }
}

#[test]
fn a_sandboxed_agent_sees_its_folder_and_nothing_of_the_supervisor() {
    let script =
        "ls .openclaw; cat openclaw.yaml; echo kept > state/file; cat state/file; exec sleep 1000";
    let program = format!("command: [/bin/sh, -c, {script:?}], data_dirs: [state]");
    let mut fleet = Fleet::new(&format!(
        "  locked: {{{program}, sandbox: {{mode: process}}}}\n"
    ));
    if !fleet.confines("a_sandboxed_agent_sees_its_folder_and_nothing_of_the_supervisor") {
        return;
    }
    fleet.up();
    fleet.await_output("locked", "kept\n");
    let seen = fleet.output("locked");
    let expected = [
        "ls: cannot open directory '.openclaw': Permission denied",
        "cat: openclaw.yaml: Permission denied",
        "kept",
    ];
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    let status = fleet.run(&["status", "locked"]).ok();
    assert!(status.contains("Sandbox: full ("), "{status}");
    fleet.crash_and_up();
    let status = fleet.run(&["status", "locked"]).ok();
    assert!(status.contains("Sandbox: full ("), "{status}");
    assert_eq!(fleet.agent("locked").restarts, 0);
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn a_folder_that_its_user_may_not_enter_is_named() {
    let mut fleet = Fleet::new(&agent("locked", &["forever"], "sandbox: {mode: process}"));
    let folder = fleet.path("");
    let found = fs::metadata(&folder).unwrap();
    // An ordinary user's agents run as that user, whose own folder is open to them.
    if found.uid() != 0 || !fleet.confines("a_folder_that_its_user_may_not_enter_is_named") {
        return;
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fleet.up();
    fleet.await_state("locked", State::Stopped);
    let status = fleet.run(&["status", "locked"]);
    let advice = "use a folder that others may enter";
    assert!(status.out.contains(advice), "{status:?}");
    fs::set_permissions(&folder, found.permissions()).unwrap();
    fleet.run(&["start", "locked"]).ok();
    fleet.await_state("locked", State::Running);
    fleet.down();
    fleet.assert_empty();
}

/// Keeps a number, publishes it, and says where it is.
const KEEPER: &str = r#"
from openclaw import Agent, on


class Keeper(Agent):
    async def run(self):
        count = await self.state.get("count", 0) + 1
        await self.state.set("count", count)
        await self.emit("counted", {"count": count})
        return {"count": count}

    @on("counted")
    async def heard(self, event):
        await self.state.set("heard", event.data["count"])
"#;

/// A Python agent and its replicas, with packages of their own or without.
#[test]
fn agents_of_the_sdk_have_state_and_events_in_their_sandboxes() {
    let mut fleet = Fleet::new("");
    if !fleet.confines("agents_of_the_sdk_have_state_and_events_in_their_sandboxes") {
        return;
    }
    std::fs::write(fleet.path("keeper.py"), KEEPER).unwrap();
    let keys = "source: keeper.py, subscribe: [counted], sandbox: {mode: process}";
    fleet.write(
        "",
        &format!("  keeper: {{{keys}}}\n  many: {{{keys}, replicas: 2}}\n"),
    );
    fleet.up();
    for name in ["keeper", "many-0", "many-1"] {
        fleet.await_state(name, State::Running);
    }
    let ran = fleet.run(&["trigger", "keeper", "--wait"]).ok();
    assert!(ran.contains("succeeded"), "{ran}");
    until("the agent has heard its event", || {
        fleet.stored("keeper", "heard")
    });
    let status = fleet.run(&["status", "keeper"]).ok();
    assert!(status.contains("Sandbox: full ("), "{status}");
    fleet.down();
}
