//! Agents with a `source`: their runs, events and state, over every death there is.

use std::fs;
use std::time::Duration;

use claw_daemon::api::{RunState, State};

use crate::fleet::{Fleet, holds_for, until};

/// A fleet of agents, each with its program and more keys in flow style.
pub(crate) fn fleet(agents: &[(&str, &str, &str)]) -> Fleet {
    let mut fleet = Fleet::new("");
    let folder = fleet.path("agents");
    fs::create_dir_all(&folder).unwrap();
    let lines = agents.iter().map(|(name, program, keys)| {
        fs::write(folder.join(format!("{name}.py")), program).unwrap();
        let comma = if keys.is_empty() { "" } else { ", " };
        format!("  {name}: {{source: agents/{name}.py{comma}{keys}}}\n")
    });
    fleet.write("", &lines.collect::<String>());
    fleet.up();
    fleet
}

pub(crate) fn await_ready(fleet: &Fleet, name: &str) {
    fleet.await_agent(name, "is ready", |agent| agent.ready);
}

/// Counts its runs and tells everybody.
pub(crate) const COUNTER: &str = r#"
from openclaw import Agent

class Counter(Agent):
    async def run(self):
        n = await self.state.get("n", 0) + self.config.get("step", 1)
        await self.state.set("n", n)
        await self.emit("counted", {"n": n})
        with open("runs", "a") as file:
            file.write(f"{n}\n")
"#;

/// Writes down what it hears, and how often it has heard something.
pub(crate) const LISTENER: &str = r#"
from openclaw import Agent, on

class Listener(Agent):
    @on("counted")
    async def on_counted(self, event):
        heard = await self.state.get("heard", 0) + 1
        await self.state.set("heard", heard)
        with open("heard", "a") as file:
            file.write(f"{event.data['n']} {event.source} {heard}\n")
"#;

/// What is published while its receiver has not yet said what it takes is kept for it.
#[test]
fn an_event_waits_for_an_agent_that_starts_more_slowly() {
    let late = format!(
        "import pathlib, time\nwhile not pathlib.Path('runs').exists():\n    time.sleep(0.02)\n{LISTENER}"
    );
    let mut fleet = fleet(&[
        ("listener", &late, ""),
        (
            "counter",
            COUNTER,
            "schedule: {every: 1h, run_on_start: true}",
        ),
    ]);
    assert_eq!(fleet.await_lines("heard", 1), ["1 counter 1"]);
    fleet.down();
}

/// The supervisor that hears what an agent takes need not be the one that knew it as new.
#[test]
fn an_event_waits_for_a_slow_agent_over_the_death_of_the_supervisor() {
    let late = format!(
        "import pathlib, time\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.02)\n{LISTENER}"
    );
    let counter = "schedule: {every: 1h, run_on_start: true}";
    let mut fleet = fleet(&[("listener", &late, ""), ("counter", COUNTER, counter)]);
    fleet.await_lines("runs", 1);
    fleet.crash_and_up();
    fleet.crash_and_up();
    fs::write(fleet.path("go"), "").unwrap();
    assert_eq!(fleet.await_lines("heard", 1)[0], "1 counter 1");
    fleet.down();
}

pub(crate) const BACK_AT_ONCE: &str = "restart_policy: {initial_delay: 50ms}";

/// One that works until a file is there, in a run and in a handler.
const SLOW: &str = r#"
import asyncio, pathlib
from openclaw import Agent, on

async def work(name):
    with open("marks", "a") as file:
        file.write(f"begin {name}\n")
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.02)
    with open("marks", "a") as file:
        file.write(f"end {name}\n")

class Slow(Agent):
    async def run(self):
        await work("run")

    @on("job")
    async def on_job(self, event):
        await work("handler")

    async def teardown(self):
        with open("marks", "a") as file:
            file.write("teardown\n")
"#;

const EMITTER: &str = r#"
from openclaw import Agent

class Emitter(Agent):
    async def run(self):
        await self.emit("job", {})
"#;

#[test]
fn a_schedule_runs_an_agent_of_the_sdk_which_needs_nothing_installed() {
    let keys = "schedule: every 1s, config: {step: 2}";
    let mut fleet = fleet(&[("counter", COUNTER, keys)]);
    let lines = fleet.await_lines("runs", 3);
    assert_eq!(lines[..3], ["2", "4", "6"]);
    let runs = fleet.runs("counter");
    assert_eq!(runs[0].state, RunState::Succeeded);
    let metrics = fleet.api().ask("/metrics").unwrap().1;
    assert!(
        metrics.contains("openclaw_agent_protocol_refusals_total{agent=\"counter\"} 0"),
        "{metrics}"
    );
    fleet.down();
}

#[test]
fn an_event_of_one_agent_reaches_another_once_and_in_order() {
    let mut fleet = fleet(&[("counter", COUNTER, ""), ("listener", LISTENER, "")]);
    await_ready(&fleet, "listener");
    for _ in 0..3 {
        fleet.run(&["trigger", "counter", "--wait"]).ok();
    }
    let heard = fleet.await_lines("heard", 3);
    assert_eq!(heard, ["1 counter 1", "2 counter 2", "3 counter 3"]);
    holds_for(Duration::from_millis(500), "nothing comes twice", || {
        fleet.lines("heard").len() == 3
    });
    fleet.down();
}

#[test]
fn state_survives_a_kill_of_the_agent_and_of_the_supervisor() {
    let mut fleet = fleet(&[("counter", COUNTER, BACK_AT_ONCE)]);
    await_ready(&fleet, "counter");
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    fleet
        .await_main("counter")
        .signal(rustix::process::Signal::KILL);
    fleet.await_ends("counter", 1);
    await_ready(&fleet, "counter");
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    let main = fleet.await_main("counter");
    fleet.crash_and_up();
    await_ready(&fleet, "counter");
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    assert_eq!(fleet.lines("runs"), ["1", "2", "3"]);
    assert!(main.lives(), "the agent lived on");
    assert_eq!(fleet.agent("counter").restarts, 1);
    fleet.down();
    fleet.up();
    await_ready(&fleet, "counter");
    fleet.run(&["trigger", "counter", "--wait"]).ok();
    assert_eq!(fleet.lines("runs").len(), 4);
    fleet.down();
}

/// Taken over, the agent says what it works on; the run goes on and ends once.
#[test]
fn a_run_under_way_goes_on_over_a_kill_of_the_supervisor() {
    let mut fleet = fleet(&[("slow", SLOW, "")]);
    await_ready(&fleet, "slow");
    fleet.run(&["trigger", "slow"]).ok();
    fleet.await_lines("marks", 1);
    fleet.crash_and_up();
    await_ready(&fleet, "slow");
    fs::write(fleet.path("go"), "").unwrap();
    let run = until("the run is over", || {
        let mut runs = fleet.runs("slow").into_iter();
        runs.find(|run| run.state.is_final())
    });
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    assert_eq!(fleet.lines("marks"), ["begin run", "end run"]);
    assert_eq!(fleet.runs("slow").len(), 1);
    fleet.down();
}

/// What an agent holds when it dies comes again, to its next life.
#[test]
fn an_event_in_the_hands_of_a_killed_agent_is_delivered_again() {
    let mut fleet = fleet(&[("slow", SLOW, BACK_AT_ONCE), ("emitter", EMITTER, "")]);
    await_ready(&fleet, "slow");
    fleet.run(&["trigger", "emitter", "--wait"]).ok();
    fleet.await_lines("marks", 1);
    fleet
        .await_main("slow")
        .signal(rustix::process::Signal::KILL);
    fleet.await_lines("marks", 2);
    fs::write(fleet.path("go"), "").unwrap();
    let marks = fleet.await_lines("marks", 3);
    assert_eq!(marks, ["begin handler", "begin handler", "end handler"]);
    fleet.down();
}

#[test]
fn a_stop_waits_for_the_handler_that_runs() {
    let mut fleet = fleet(&[("slow", SLOW, ""), ("emitter", EMITTER, "")]);
    await_ready(&fleet, "slow");
    fleet.run(&["trigger", "emitter", "--wait"]).ok();
    fleet.await_lines("marks", 1);
    let mut stop = fleet.command().args(["stop", "slow"]).spawn().unwrap();
    fleet.await_state("slow", State::Stopping);
    holds_for(Duration::from_millis(500), "it is waited for", || {
        fleet.agent("slow").state == State::Stopping
    });
    fs::write(fleet.path("go"), "").unwrap();
    assert!(stop.wait().unwrap().success());
    fleet.await_state("slow", State::Stopped);
    let marks = fleet.lines("marks");
    assert_eq!(marks, ["begin handler", "end handler", "teardown"]);
    assert_eq!(fleet.ends("slow"), [(1, "asked".to_owned())]);
    fleet.run(&["start", "slow"]).ok();
    await_ready(&fleet, "slow");
    holds_for(
        Duration::from_millis(500),
        "what was done stays done",
        || fleet.lines("marks").len() == 3,
    );
    fleet.down();
}

/// The program itself says when it runs; the fleet file needs no word of it.
#[test]
fn a_schedule_that_the_program_declares_is_in_force() {
    let program = COUNTER.replace(
        "class Counter(Agent):",
        "from openclaw import Schedule\n\nclass Counter(Agent):\n    schedule = Schedule.every(\"1s\")",
    );
    let mut fleet = fleet(&[("counter", &program, "")]);
    fleet.await_lines("runs", 2);
    fleet.crash_and_up();
    let count = fleet.lines("runs").len();
    fleet.await_lines("runs", count + 2);
    fleet.down();
}
