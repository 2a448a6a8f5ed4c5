//! What passes between a worker and its supervisor when either dies, hangs, or becomes something
//! else. The agents here speak the protocol themselves, so that they can do so badly.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use claw_daemon::api::{Run, RunState};
use rustix::process::Signal;

use crate::fleet::{Fleet, agent, holds_for, until};
use crate::workers::{BACK_AT_ONCE, await_ready, fleet};

/// The protocol by hand.
const RAW: &str = r#"
import http.client, json, os, pathlib, signal, socket, sys, threading, time

class Wire(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["OPENCLAW_SOCK"])

SESSION = {}

def send(wire, method, path, body=None):
    head = {"Authorization": "Bearer " + os.environ["OPENCLAW_TOKEN"], **SESSION}
    wire.request(method, path, None if body is None else json.dumps(body), head)

def ask(method, path, body=None, wire=None):
    wire = wire or Wire("openclaw")
    send(wire, method, path, body)
    text = wire.getresponse().read()
    return json.loads(text) if text else None

def hello(**more):
    answer = ask("POST", "/v1/hello", {"protocols": [1], **more})
    SESSION["Openclaw-Session"] = answer["session"]
    return answer

def mark(text):
    with open("marks", "a") as file:
        file.write(f"{text}\n")

def poll(wire=None):
    while True:
        for item in ask("GET", "/v1/work?wait=30&max=1", wire=wire) or []:
            return item

def done(item):
    path = f"/v1/work/{item['work']}/done"
    return ask("POST", path, {"attempt": item["attempt"], "ok": True})

def die():
    os.kill(os.getpid(), signal.SIGKILL)

"#;

/// A fleet of one such agent.
fn raw(program: &str, keys: &str) -> Fleet {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("raw.py"), format!("{RAW}{program}")).unwrap();
    fleet.write("", &worker(keys));
    fleet.up();
    fleet
}

fn worker(keys: &str) -> String {
    format!("  raw: {{command: [python3, raw.py], mode: worker, {keys}}}\n")
}

fn await_run(fleet: &Fleet, name: &str) -> Run {
    until("the run is over", || {
        let mut runs = fleet.runs(name).into_iter();
        runs.find(|run| run.state.is_final())
    })
}

/// The connection breaks before the answer is there, and the agent dies of it. Whether the report
/// was heard is chance; that what it commits is committed once is not.
#[test]
fn what_a_report_commits_is_committed_once_whoever_hangs_up() {
    let program = r#"
wire = Wire("openclaw")
item = poll(wire)
attempt = item["attempt"]
send(wire, "POST", f"/v1/work/{item['work']}/done", {
    "attempt": attempt, "ok": True,
    "state": [{"op": "set", "key": f"commit-{attempt}", "value": attempt}]})
if attempt > 1:
    wire.getresponse().read()
    poll()
time.sleep(0.002)
wire.close()
time.sleep(1)
die()
"#;
    let mut fleet = raw(program, BACK_AT_ONCE);
    fleet.run(&["trigger", "raw"]).ok();
    fleet.await_ends("raw", 1);
    assert_eq!(await_run(&fleet, "raw").state, RunState::Succeeded);
    let state = fleet.run(&["state", "export", "raw"]).ok();
    assert_eq!(state.matches("commit-").count(), 1, "{state}");
    fleet.down();
}

/// Supervisor and agent died between what the store has and what the journal would have had.
#[test]
fn a_run_that_is_done_in_the_store_is_not_made_again_by_the_next_supervisor() {
    let program = r#"
item = poll()
mark(f"attempt {item['attempt']}")
poll()
"#;
    let mut fleet = raw(program, BACK_AT_ONCE);
    fleet.run(&["trigger", "raw"]).ok();
    fleet.await_lines("marks", 1);
    let run = fleet.runs("raw").remove(0);
    let main = fleet.await_main("raw");
    fleet.kill();
    main.signal(Signal::KILL);
    let committed = "import sqlite3, sys, time; store = sqlite3.connect(sys.argv[1]); \
        row = (sys.argv[2], 1, time.time_ns() // 1_000_000, '{\"settled\":null,\"versions\":[],\"receipts\":[]}'); \
        store.execute('INSERT INTO done (work, attempt, at, answer) VALUES (?, ?, ?, ?)', row); \
        store.commit()";
    let store = fleet.data().join("store.db");
    let mut python = Command::new("python3");
    python.args(["-c", committed]).arg(store);
    assert!(
        python
            .arg(format!("raw/{}", run.id))
            .status()
            .unwrap()
            .success()
    );
    fleet.up();
    let run = await_run(&fleet, "raw");
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    await_ready(&fleet, "raw");
    assert_eq!(fleet.lines("marks"), ["attempt 1"]);
    fleet.down();
}

/// Keeps the journal from being written as long as it lives.
const LOCK: &str = "import pathlib, sqlite3, sys; \
    journal = sqlite3.connect(sys.argv[1], isolation_level=None); \
    journal.execute('BEGIN IMMEDIATE'); pathlib.Path('locked').touch(); sys.stdin.read()";

/// The supervisor has said that it knows, and dies before its journal does.
#[test]
fn a_failure_that_was_answered_is_known_to_the_next_supervisor() {
    let program = r#"
def report():
    body = {"attempt": 1, "ok": False, "error": {"message": "no", "retryable": False}}
    return ask("POST", f"/v1/work/{item['work']}/done", body).get("duplicate", "unknown")

def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.02)

item = poll()
mark(f"attempt {item['attempt']}")
wait_for("locked")
mark(f"duplicate: {report()}")
wait_for("up")
mark(f"duplicate: {report()}")
while True:
    mark(f"attempt {poll()['attempt']}")
"#;
    let mut fleet = raw(program, BACK_AT_ONCE);
    fleet.run(&["trigger", "raw"]).ok();
    fleet.await_lines("marks", 1);
    let mut lock = fleet.command_of("python3");
    let lock = lock.args(["-c", LOCK]).arg(fleet.data().join("journal.db"));
    let mut lock = lock.stdin(Stdio::piped()).spawn().unwrap();
    fleet.await_lines("marks", 2);
    fleet.kill();
    // Closed in order, it would tidy up what the supervisor has to find.
    lock.kill().unwrap();
    lock.wait().unwrap();
    fleet.up();
    fs::write(fleet.path("up"), "").unwrap();
    let run = await_run(&fleet, "raw");
    assert_eq!((run.state, run.attempts), (RunState::Failed, 1));
    let expected = ["attempt 1", "duplicate: False", "duplicate: True"];
    assert_eq!(fleet.await_lines("marks", 3), expected);
    fleet.down();
}

const IDLE: &str = "from openclaw import Agent\n\nclass Idle(Agent):\n    pass\n";

#[test]
fn an_agent_that_becomes_a_worker_by_a_reload_is_asked_whether_it_lives() {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("idle.py"), IDLE).unwrap();
    fleet.write("", &agent("idle", &["forever"], ""));
    fleet.up();
    fleet.await_main("idle");
    let asked = "health_check: {liveness: {sdk: {}, interval: 1s, timeout: 1s, threshold: 2}}";
    fleet.write("", &format!("  idle: {{source: idle.py, {asked}}}\n"));
    fleet.await_ends("idle", 1);
    await_ready(&fleet, "idle");
    let restarts = fleet.agent("idle").restarts;
    holds_for(Duration::from_secs(5), "it answers, and lives on", || {
        fleet.agent("idle").restarts == restarts
    });
    fleet.down();
}

#[test]
fn an_agent_that_is_a_worker_no_more_speaks_for_itself() {
    let asked = "health_check: {liveness: {sdk: {}, interval: 250ms, timeout: 10s}}";
    let mut fleet = fleet(&[("idle", IDLE, asked)]);
    await_ready(&fleet, "idle");
    let silent = "health_check: {liveness: {heartbeat: {}, interval: 500ms, threshold: 2}}, restart_policy: {policy: never}";
    fleet.write("", &agent("idle", &["forever"], silent));
    until("nobody beats for it", || {
        let ends = fleet.ends("idle");
        ends.iter()
            .any(|(_, cause)| cause == "watchdog")
            .then_some(())
    });
    fleet.down();
}

#[test]
fn an_adopted_agent_that_hangs_is_found_out() {
    let keys = "health_check: {liveness: {sdk: {}, interval: 1s, timeout: 1s, threshold: 2}}, graceful_shutdown: {timeout: 1s}";
    let mut fleet = fleet(&[("idle", IDLE, keys)]);
    await_ready(&fleet, "idle");
    fleet.await_main("idle").signal(Signal::STOP);
    fleet.crash_and_up();
    assert_eq!(fleet.await_ends("idle", 1), [(1, "watchdog".to_owned())]);
    await_ready(&fleet, "idle");
    fleet.down();
}

/// Nothing but a `done` or a resume would give them back, and who held them is not there.
#[test]
fn events_in_dead_hands_come_again_to_the_next_life_though_it_says_no_hello() {
    let program = r#"
item = poll()
mark(f"{item['kind']} {item['attempt']}")
time.sleep(3600)
"#;
    let mut fleet = raw(
        program,
        "subscribe: [job], restart_policy: {initial_delay: 50ms}",
    );
    await_ready(&fleet, "raw");
    fleet.run(&["events", "publish", "job"]).ok();
    fleet.await_lines("marks", 1);
    let main = fleet.await_main("raw");
    fleet.kill();
    main.signal(Signal::KILL);
    fleet.up();
    assert_eq!(fleet.await_lines("marks", 2), ["event 1", "event 2"]);
    fleet.down();
}

/// It says no hello, so it could never say that the answer with the event did not arrive.
#[test]
fn an_event_in_an_answer_that_was_not_read_is_delivered_again() {
    let program = r#"
wire = Wire("openclaw")
send(wire, "GET", "/v1/work?wait=60&max=1")
while not pathlib.Path("published").exists():
    time.sleep(0.05)
time.sleep(1)
wire.close()
item = poll()
mark(f"{item['kind']} {item['attempt']}")
done(item)
poll()
"#;
    let mut fleet = raw(program, "subscribe: [job]");
    await_ready(&fleet, "raw");
    fleet.run(&["events", "publish", "job"]).ok();
    fs::write(fleet.path("published"), "").unwrap();
    assert_eq!(fleet.await_lines("marks", 1), ["event 1"]);
    fleet.down();
}

/// It answers every question whether it lives; it only does nothing.
#[test]
fn a_worker_is_silent_when_it_works_on_something_and_gives_no_evidence_of_it() {
    let program = r#"
import asyncio
from openclaw import Agent

class Stuck(Agent):
    async def run(self):
        await asyncio.Event().wait()
"#;
    let keys = "health_check: {liveness: {sdk: {}, interval: 200ms}, progress: {max_silence: 2s}}, graceful_shutdown: {timeout: 1s}";
    let mut fleet = fleet(&[("stuck", program, keys)]);
    await_ready(&fleet, "stuck");
    holds_for(Duration::from_secs(4), "who is idle is not silent", || {
        fleet.agent("stuck").restarts == 0
    });
    fleet.run(&["trigger", "stuck"]).ok();
    assert_eq!(fleet.await_ends("stuck", 1), [(1, "probe".to_owned())]);
    fleet.down();
}

/// Its connection broke while it was unwell; it says hello and ready again, and is well.
#[test]
fn an_agent_that_comes_back_well_gets_events_again() {
    let program = r#"
def control(session, well):
    wire = Wire("openclaw")
    send(wire, "GET", f"/v1/control?session={session}")
    for line in wire.getresponse():
        line = json.loads(line)
        if line["kind"] == "probe":
            ok = line["probe"] != "readiness" or well()
            try:
                ask("POST", f"/v1/probe/{line['id']}", {"ok": ok})
            except OSError:
                return

def greet(well, **more):
    session = hello(**more)["session"]
    threading.Thread(target=control, args=(session, well), daemon=True).start()
    ask("POST", "/v1/ready", {})

greet(lambda: False)
while not pathlib.Path("back").exists():
    time.sleep(0.05)
greet(lambda: True, resume={"running": []})
item = poll()
mark(item["kind"])
done(item)
poll()
"#;
    let keys = "subscribe: [job], health_check: {readiness: {sdk: {}, interval: 200ms, timeout: 1s, threshold: 2}}";
    let mut fleet = raw(program, keys);
    until("it is unwell", || {
        fleet
            .said()
            .contains("says that it is not ready")
            .then_some(())
    });
    let said = fleet.said();
    let mut failures = said.lines().filter(|line| line.contains("probe failed"));
    assert!(
        failures.all(|line| line.contains("consecutive=")),
        "each is told once: {said}"
    );
    let unwell = fleet.await_agent("raw", "is shown as not ready", |agent| !agent.ready);
    assert_eq!(unwell.reason.code, "not_ready");
    assert!(unwell.reason.text.contains("its own check says no"));
    fs::write(fleet.path("back"), "").unwrap();
    fleet.run(&["events", "publish", "job"]).ok();
    assert_eq!(fleet.await_lines("marks", 1), ["event"]);
    await_ready(&fleet, "raw");
    fleet.down();
}

/// Its check may fail as often as it likes before it counts as unwell; it has to pass first.
#[test]
fn no_work_comes_before_the_first_check_of_a_life_or_of_a_supervisor_has_passed() {
    let program = r#"
import pathlib
from openclaw import Agent, on

def mark(file):
    with open(file, "a") as lines:
        lines.write("x\n")

class Careful(Agent):
    async def readiness_check(self):
        mark("asked")
        return pathlib.Path("well").exists()

    @on("job")
    async def work(self, event):
        mark("worked")
"#;
    let keys = "health_check: {readiness: {interval: 100ms, unhealthy_threshold: 100000}}";
    let mut fleet = fleet(&[("careful", program, keys)]);
    for jobs in 1..=2 {
        let asked = fleet.lines("asked").len();
        fleet.await_lines("asked", asked + 3);
        let careful = fleet.await_agent("careful", "is not ready", |agent| !agent.ready);
        assert_eq!(careful.reason.code, "not_ready");
        fleet.run(&["events", "publish", "job"]).ok();
        let asked = fleet.lines("asked").len();
        fleet.await_lines("asked", asked + 3);
        assert_eq!(fleet.lines("worked").len(), jobs - 1);
        fs::write(fleet.path("well"), "").unwrap();
        fleet.await_lines("worked", jobs);
        await_ready(&fleet, "careful");
        if jobs == 1 {
            fleet.kill();
            fs::remove_file(fleet.path("well")).unwrap();
            fleet.up();
        }
    }
    fleet.down();
}

/// It was delivered and not asked for, so nobody has failed.
#[test]
fn a_run_that_was_not_begun_when_the_agent_is_restarted_is_no_failed_attempt() {
    let program = r#"
first = not pathlib.Path("marks").exists()
mark("life")
hello()
ask("POST", "/v1/ready", {})
if first:
    signal.pause()
item = poll()
mark(f"attempt {item['attempt']}")
done(item)
poll()
"#;
    let mut fleet = raw(program, "restart_policy: {policy: never}");
    await_ready(&fleet, "raw");
    fleet.run(&["trigger", "raw"]).ok();
    until("it is delivered", || {
        let runs = fleet.runs("raw");
        (runs[0].state == RunState::Running).then_some(())
    });
    fleet.run(&["restart", "raw"]).ok();
    let run = await_run(&fleet, "raw");
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    assert_eq!(fleet.lines("marks"), ["life", "life", "attempt 1"]);
    fleet.down();
}
