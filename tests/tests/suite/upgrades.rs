//! Another executable in place of the supervisor's, under running agents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use claw_daemon::api::{Health, RunState, State};
use rustix::process::Signal;
use serde_json::Value;

use crate::fleet::{Fleet, Process, agent, program, until};
use crate::webhooks::{SECRET, call, signature};
use crate::workers::await_ready;

/// A fleet in the background.
fn background(agents: &str) -> Fleet {
    let mut fleet = Fleet::new(agents);
    fleet.up_detached();
    fleet
}

fn supervisor(fleet: &Fleet) -> Process {
    let health: Health = fleet.api().get("/api/health");
    Process::of(health.pid.cast_signed()).expect("it answers")
}

/// The same program at another place.
fn copy(fleet: &Fleet) -> PathBuf {
    let copy = fleet.path("another-clawctl");
    fs::copy(program(), &copy).unwrap();
    copy
}

/// An executable that checks data as the real one, and else does this.
fn script(fleet: &Fleet, name: &str, text: &str) -> String {
    let real = program();
    answering(
        fleet,
        name,
        &format!("exec {} \"$@\"", real.display()),
        text,
    )
}

fn answering(fleet: &Fleet, name: &str, check: &str, text: &str) -> String {
    let path = fleet.path(name);
    let text = format!("#!/bin/sh\n[ \"$1\" != check-data ] || {{ {check}; exit; }}\n{text}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Ends a supervisor that is no child of this process.
fn down(fleet: &Fleet) {
    fleet.run(&["down"]).ok();
    fleet.assert_empty();
}

/// Row 5 of the fault matrix. One agent is in the middle of a run, one writes without a pause, one
/// waits for a webhook, and one has replicas.
#[test]
fn another_executable_takes_over_and_no_agent_notices() {
    let mut fleet = Fleet::new("");
    let agents = [
        agent("web", &["forever"], "replicas: 3"),
        agent("counter", &["count", "10"], ""),
        agent(
            "job",
            &[
                "mark",
                &fleet.place("begun"),
                "await-file",
                &fleet.place("go"),
            ],
            "mode: oneshot",
        ),
        agent("hooked", &["mark", &fleet.place("hooked")], "mode: oneshot"),
    ];
    fleet.write("", &agents.concat());
    fleet.up_detached();
    let names = ["web-0", "web-1", "web-2", "counter"];
    let mains = names.map(|name| fleet.await_main(name));
    fleet.run(&["trigger", "job"]).ok();
    fleet.await_lines("begun", 1);
    let old = supervisor(&fleet);
    let binary = copy(&fleet);
    let said = fleet
        .run(&["upgrade", "--binary", binary.to_str().unwrap()])
        .ok();
    assert!(
        said.contains("5 of 5 agents go on in the same process"),
        "{said}"
    );
    let new = supervisor(&fleet);
    assert!(!old.lives() && new != old);
    assert!(new.command.contains("another-clawctl"), "{new:?}");
    assert_eq!(names.map(|name| fleet.await_main(name)), mains);
    fs::write(fleet.path("go"), "").unwrap();
    let run = until("the run is over", || {
        fleet
            .runs("job")
            .into_iter()
            .find(|run| run.state.is_final())
    });
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    fleet.run(&["trigger", "hooked", "--wait"]).ok();
    let logged = fleet.run(&["logs", "counter", "--tail", "100000"]).ok();
    let numbered: Vec<String> = (0..logged.lines().count())
        .map(|number| format!("line {number}"))
        .collect();
    assert_eq!(logged.lines().collect::<Vec<_>>(), numbered);
    down(&fleet);
}

/// Is at work until somebody lets it come to an end.
const WORKER: &str = r#"
import asyncio
import pathlib

from openclaw import Agent


class Worker(Agent):
    async def run(self):
        with open("begun", "a") as file:
            file.write("begun\n")
        while not pathlib.Path("go").exists():
            await asyncio.sleep(0.02)
        await self.state.set("done", await self.state.get("done", 0) + 1)
"#;

/// Row 5 of the fault matrix, for an agent that speaks with the supervisor all the time.
#[test]
fn a_worker_goes_on_with_its_run_and_a_call_from_outside_is_still_known() {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("worker.py"), WORKER).unwrap();
    let hook = format!("webhooks:\n  work: {{agent: worker, secret: {SECRET}}}\n");
    fleet.write("", &format!("  worker: {{source: worker.py}}\n{hook}"));
    fleet.up_detached();
    await_ready(&fleet, "worker");
    let main = fleet.await_main("worker");
    let body = "{}";
    let signed = signature(jiff::Timestamp::now().as_second(), body, SECRET);
    let (status, first) = call(&fleet, "work", body, &signed);
    assert_eq!(status, 200, "{first}");
    fleet.await_lines("begun", 1);

    let binary = copy(&fleet);
    let binary = binary.to_str().unwrap();
    fleet.run(&["upgrade", "--binary", binary]).ok();

    let (status, again) = call(&fleet, "work", body, &signed);
    assert_eq!(status, 200, "{again}");
    assert_eq!(
        (&again["run"], &again["duplicate"]),
        (&first["run"], &Value::from(true))
    );
    fs::write(fleet.path("go"), "").unwrap();
    let run = until("the run is over", || {
        let mut runs = fleet.runs("worker").into_iter();
        runs.find(|run| run.state.is_final())
    });
    assert_eq!(Value::from(run.id.as_str()), first["run"]);
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    assert_eq!(fleet.stored("worker", "done"), Some(Value::from(1)));
    assert_eq!(fleet.lines("begun").len(), 1);
    assert_eq!(fleet.await_main("worker"), main);
    down(&fleet);
}

/// Nothing is touched by an upgrade that is refused.
#[test]
fn an_executable_that_cannot_take_over_is_refused() {
    let fleet = background(&agent("kept", &["forever"], ""));
    let (main, old) = (fleet.await_main("kept"), supervisor(&fleet));
    let journal = fleet.data().join("journal.db");
    let check = serde_json::json!({"program": "clawctl", "version": "0.0.1", "files": [
        {"path": journal, "found": 2, "known": 1}]});
    let older = answering(&fleet, "older", &format!("echo '{check}'"), "exit 1");
    let text = fleet.place("openclaw.yaml");
    for (binary, why) in [
        ("/bin/true", "does not answer `check-data`"),
        ("/nowhere/clawctl", "cannot be used"),
        (&text, "it cannot be executed"),
        (&older, "understands"),
    ] {
        let ran = fleet.run(&["upgrade", "--binary", binary]);
        assert!(ran.err.contains(why), "{ran:?}");
        ran.exits(8);
    }
    assert_eq!((fleet.await_main("kept"), supervisor(&fleet)), (main, old));
    down(&fleet);
}

#[test]
fn a_supervisor_that_somebody_watches_keeps_its_process() {
    let mut fleet = Fleet::new(&agent("kept", &["forever"], ""));
    fleet.up();
    let binary = program();
    let ran = fleet.run(&["upgrade", "--binary", binary.to_str().unwrap()]);
    let told = ["runs in the foreground", "runs as a service"];
    assert!(told.iter().any(|why| ran.err.contains(why)), "{ran:?}");
    ran.exits(8);
    fleet.down();
}

#[test]
fn an_executable_that_does_not_come_up_gives_way_to_the_old_one() {
    let fleet = background(&agent("kept", &["forever"], ""));
    let main = fleet.await_main("kept");
    let dies = script(&fleet, "dies", "exit 7");
    let hangs = script(&fleet, "hangs", "exec sleep 1000");
    for (binary, why) in [
        (dies, "it ended at its start"),
        (hangs, "not ready within 2 s"),
    ] {
        let old = supervisor(&fleet);
        let ran = fleet.run(&["upgrade", "--binary", &binary, "--timeout", "2s"]);
        assert!(
            ran.err.contains(why) && ran.err.contains("agents go on"),
            "{ran:?}"
        );
        ran.exits(1);
        let back = supervisor(&fleet);
        assert!(!old.lives() && back != old);
        assert_eq!(fleet.await_main("kept"), main);
    }
    // It is no worse than it was: the next one may do better.
    let binary = copy(&fleet);
    fleet
        .run(&["upgrade", "--binary", binary.to_str().unwrap()])
        .ok();
    assert_eq!(fleet.await_main("kept"), main);
    down(&fleet);
}

/// The file that the running supervisor was started from is gone by the time it is needed again.
#[test]
fn the_old_one_comes_back_though_its_file_was_replaced() {
    let fleet = background(&agent("kept", &["forever"], ""));
    let main = fleet.await_main("kept");
    let installed = copy(&fleet);
    let path = installed.to_str().unwrap();
    fleet.run(&["upgrade", "--binary", path]).ok();
    fs::remove_file(&installed).unwrap();
    let broken = script(&fleet, "another-clawctl", "exit 7");
    fleet.run(&["upgrade", "--binary", &broken]).exits(1);
    assert_eq!(fleet.await_main("kept"), main);
    fleet.run(&["restart", "kept"]).ok();
    fleet.await_agent("kept", "has another process", |agent| {
        let pid = agent.instance.as_ref().and_then(|live| live.pid);
        agent.state == State::Running && pid != Some(main.pid.unsigned_abs())
    });
    down(&fleet);
}

/// Whoever is killed on the way, there is a supervisor afterwards and the agent has not noticed.
#[test]
fn a_supervisor_that_is_killed_in_the_middle_is_made_up_for() {
    let fleet = background(&agent("kept", &["forever"], ""));
    let main = fleet.await_main("kept");
    let text = format!(
        "echo $$ >> {}\nwhile ! [ -e {} ]; do sleep 0.05; done\nexec {} \"$@\"",
        fleet.place("begun"),
        fleet.place("go"),
        program().display()
    );
    let slow = script(&fleet, "slow", &text);
    let upgrade = fleet
        .command()
        .args(["upgrade", "--binary", &slow])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    fleet.await_mark("begun").signal(Signal::KILL);
    let output = upgrade.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it ended at its start"), "{said}");
    assert_eq!(fleet.await_main("kept"), main);
    fs::write(fleet.path("go"), "").unwrap();
    fleet.run(&["upgrade", "--binary", &slow]).ok();
    assert_eq!(fleet.await_main("kept"), main);
    down(&fleet);
}

/// The shim of a supervisor from another age goes on holding its agent.
#[test]
fn an_agent_of_a_shim_that_is_not_understood_goes_on_until_it_is_restarted() {
    let beats = "health_check: {liveness: {heartbeat: {}, interval: 200ms, threshold: 1}}";
    let mut fleet = Fleet::new(&agent(
        "foreign",
        &["notify", "READY=1", "beat", "50"],
        beats,
    ));
    fleet.up();
    let main = fleet.await_main("foreign");
    fleet.kill();
    let path = fleet.data().join("run/foreign/1/run.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    record["protocol"] = serde_json::json!({"speaks": 5, "understood_by": 5});
    fs::write(&path, record.to_string()).unwrap();
    fleet.up();
    let shown = fleet.await_agent("foreign", "needs a restart", |agent| {
        agent.reason.code == "needs_restart"
    });
    let expected = "runs, and needs a restart: its shim speaks version 5 of the protocol, this \
        supervisor understands 1 to 2; `clawctl restart foreign`";
    assert_eq!(shown.reason.text, expected);
    assert_eq!(shown.instance.unwrap().pid, Some(main.pid.unsigned_abs()));
    let why = fleet.run(&["why", "foreign"]).ok();
    assert!(why.contains("needs a restart"), "{why}");
    fleet.run(&["restart", "foreign"]).ok();
    let fresh = until("it is held by a shim of this age", || {
        let fresh = fleet.await_main("foreign");
        (fresh != main).then_some(fresh)
    });
    assert!(!main.lives() && fresh.lives());
    assert_eq!(fleet.ends("foreign"), [(1, "asked".to_owned())]);
    fleet.down();
}

/// Whoever starts the other one at once must not find the first still on its way out.
#[test]
fn an_end_is_waited_for_whatever_the_executables_are_called() {
    let fleet = background(&agent("kept", &["forever"], ""));
    let (main, old) = (fleet.await_main("kept"), supervisor(&fleet));
    let binary = copy(&fleet);
    let mut ending = fleet.command_of(binary.to_str().unwrap());
    let ended = ending.args(["down", "--keep"]).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(!old.lives(), "it is still ending");
    let mut starting = fleet.command_of(binary.to_str().unwrap());
    let started = starting.args(["up", "--detach"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    assert_eq!(fleet.await_main("kept"), main);
    down(&fleet);
}
