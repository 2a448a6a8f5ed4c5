//! Who is in the fleet: some that last, some that die, some that are due, some that speak.

use std::fmt::Write;
use std::fs;

use fakellm::FakeLlm;
use tokio::runtime::Runtime;

use crate::fleet::{Fleet, Process, free_port, steps};

/// How many there are of each kind that has no program of its own.
const STEADY: usize = 6;
const MORTAL: usize = 4;
const HASTY: usize = 2;
const STUBBORN: usize = 2;
const DUE: usize = 3;
const ON_CALL: usize = 2;
const FLOODING: usize = 2;
const CONFINED: usize = 2;

/// Delays of those that die, in milliseconds.
pub(super) const DELAY: u64 = 300;

/// Publishes a number a run, and writes down which was taken by the bus.
const TELLER: &str = r#"
from openclaw import Agent

class Teller(Agent):
    async def run(self):
        n = await self.state.update("n", lambda n: n + 1, 0)
        await self.emit("told", {"n": n})
        with open("told", "a") as file:
            file.write(f"{n}\n")
"#;

/// Writes down what it hears; what it has written it may hear again.
const LISTENER: &str = r#"
from openclaw import Agent, on

class Listener(Agent):
    @on("told")
    async def on_told(self, event):
        await self.state.update("heard", lambda n: n + 1, 0)
        with open("heard", "a") as file:
            file.write(f"{event.data['n']}\n")
"#;

/// Asks a model again and again, knowing nothing but its environment.
const ASKING: &str = r#"
import json, os, time, urllib.request

url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
body = {"model": "big", "max_tokens": 100, "messages": [{"role": "user", "content": "Go on."}]}
headers = {
    "content-type": "application/json",
    "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
}
while True:
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
    except OSError as error:
        print(error, flush=True)
    time.sleep(0.2)
"#;

/// Pico-USD of a token of a prompt and of an answer, by the prices of the fleet file.
const PROMPT: u64 = 1_000_000;
const ANSWER: u64 = 2_000_000;

/// The agents, and the provider that one of them calls.
pub(super) struct Crowd {
    fake: FakeLlm,
    _runtime: Runtime,
    ports: [u16; 2],
    /// Sandboxes can be had here.
    confines: bool,
}

fn names(kind: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{kind}-{number}"))
}

impl Crowd {
    pub(super) fn new(fleet: &mut Fleet) -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(FakeLlm::start()).unwrap();
        for (name, program) in [
            ("teller.py", TELLER),
            ("listener.py", LISTENER),
            ("asking.py", ASKING),
        ] {
            fs::write(fleet.path(name), program).unwrap();
        }
        fleet.set_env("HUB_KEY", "sk-of-the-provider");
        fleet.set_env("OPENCLAW_LOG_LEVEL", "warn");
        Self {
            fake,
            _runtime: runtime,
            ports: [free_port(), free_port()],
            confines: fleet.confines("soak_heavy: agents in sandboxes"),
        }
    }

    /// Those that run for ever unless somebody ends them.
    pub(super) fn lasting(&self) -> Vec<String> {
        let confined = if self.confines { CONFINED } else { 0 };
        names("steady", STEADY)
            .chain(names("web", self.ports.len()))
            .chain(names("stubborn", STUBBORN))
            .chain(names("confined", confined))
            .chain(["teller", "listener", "asking"].map(str::to_owned))
            .collect()
    }

    /// Those whose output has a number on each line.
    pub(super) fn steady() -> impl Iterator<Item = String> {
        names("steady", STEADY)
    }

    /// Those that die by themselves and that nobody starts, stops or changes.
    pub(super) fn hasty() -> impl Iterator<Item = String> {
        names("hasty", HASTY)
    }

    /// Those that are started by a call.
    pub(super) fn on_call() -> impl Iterator<Item = String> {
        names("on-call", ON_CALL)
    }

    /// Those to whom people do what they do to agents: start, stop, pause, halt.
    pub(super) fn touched(&self) -> Vec<String> {
        self.lasting()
            .into_iter()
            .chain(names("mortal", MORTAL))
            .chain(names("due", DUE))
            .chain(names("flooding", FLOODING))
            .collect()
    }

    pub(super) fn size(&self) -> usize {
        self.touched().len() + HASTY + ON_CALL
    }

    /// What the provider has billed, in pico-USD.
    pub(super) fn bill(&self) -> u64 {
        self.fake.bill(PROMPT, ANSWER)
    }

    /// Writes the fleet file; another `version` changes some of the agents, and adds one or not.
    pub(super) fn write(&self, fleet: &Fleet, version: u64) {
        fleet.write_raw(&self.text(fleet, version));
    }

    pub(super) fn text(&self, fleet: &Fleet, version: u64) -> String {
        let mut agents = String::new();
        Self::write_daemons(&mut agents, fleet, version, self.ports);
        Self::write_runs(&mut agents, fleet);
        if self.confines {
            for name in names("confined", CONFINED) {
                let line = "sandbox: {mode: process}, env: {VERSION: same}";
                writeln!(
                    agents,
                    "  {name}: {{command: [sleep, \"1000000\"], {line}}}"
                )
                .unwrap();
            }
        }
        if version % 2 == 1 {
            writeln!(agents, "  guest: {{command: {}}}", steps(&["forever"])).unwrap();
        }
        let data = fleet.data();
        format!(
            "project: soak\nversion: \"1.0\"\n\
             supervisor: {{listen: \"off\", data_dir: {data}}}\n\
             defaults: {{sandbox: {{mode: none}}, env: {{{mark}}}, logging: {{max_size: 4Mi, max_files: 3}}}}\n\
             agents:\n{agents}\
             llm:\n  providers:\n    hub: {{kind: openai, base_url: \"{url}\", api_key: \"${{HUB_KEY}}\", free: false, models: [\n      \
             {{name: big, id: big-1, input: 1, output: 2, max_output: 1000, context: 100000}}]}}\n  \
             budgets: {{per_agent: {{asking: {{daily_limit_usd: 5}}}}}}\n",
            data = data.display(),
            mark = fleet.mark(),
            url = self.fake.url(),
        )
    }

    fn write_daemons(agents: &mut String, fleet: &Fleet, version: u64, ports: [u16; 2]) {
        let marks = |name: &str| fleet.place(&format!("{name}.starts"));
        let mut line = |name: &str, taken: &[&str], keys: &str| {
            writeln!(agents, "  {name}: {{command: {}, {keys}}}", steps(taken)).unwrap();
        };
        let policy = format!(
            "restart_policy: {{initial_delay: {DELAY}ms, max_delay: 1s, max_retries: unlimited}}"
        );
        for name in Self::steady() {
            line(&name, &["count-from", &marks(&name), "50"], &policy);
        }
        for (name, port) in names("web", ports.len()).zip(ports) {
            let probe = format!(
                "health_check: {{liveness: {{http: {{port: {port}}}, interval: 500ms, timeout: 2s}}}}, {policy}"
            );
            let port = port.to_string();
            line(
                &name,
                &["mark", &marks(&name), "listen", &port, "forever"],
                &probe,
            );
        }
        for (number, name) in names("mortal", MORTAL).enumerate() {
            let life = (700 + 300 * number).to_string();
            let keys = format!("env: {{VERSION: \"{version}\"}}, {policy}");
            line(
                &name,
                &["mark", &marks(&name), "sleep", &life, "exit", "1"],
                &keys,
            );
        }
        for name in Self::hasty() {
            line(
                &name,
                &["mark-time", &marks(&name), "sleep", "200", "exit", "1"],
                &policy,
            );
        }
        for name in names("stubborn", STUBBORN) {
            let child = ["child", "[", "session", "block", "TERM", "forever", "]"];
            let own = marks(&name);
            let taken = [&["mark", &own][..], &child, &["block", "TERM", "forever"]].concat();
            line(
                &name,
                &taken,
                &format!("graceful_shutdown: {{timeout: 500ms}}, {policy}"),
            );
        }
        for name in names("flooding", FLOODING) {
            line(
                &name,
                &["mark", &marks(&name), "flood", "20000", "sleep", "500"],
                &policy,
            );
        }
        let python = "command: [python3, asking.py], graceful_shutdown: {timeout: 1s}";
        writeln!(agents, "  asking: {{{python}, {policy}}}").unwrap();
    }

    fn write_runs(agents: &mut String, fleet: &Fleet) {
        let policy =
            "restart_policy: {initial_delay: 300ms, max_delay: 1s, max_retries: unlimited}";
        for (number, name) in names("due", DUE).enumerate() {
            let marks = fleet.place(&format!("{name}.starts"));
            let work = steps(&["mark", &marks, "sleep", "100"]);
            let every = 1_000 + 400 * number;
            let schedule = format!("schedule: {{every: {every}ms, overlap: queue, catch_up: one}}");
            writeln!(
                agents,
                "  {name}: {{command: {work}, mode: oneshot, {schedule}}}"
            )
            .unwrap();
        }
        for name in Self::on_call() {
            let marks = fleet.place(&format!("{name}.starts"));
            let work = steps(&["mark", &marks, "sleep", "20"]);
            writeln!(agents, "  {name}: {{command: {work}, mode: oneshot}}").unwrap();
        }
        let teller = "source: teller.py, schedule: {every: 1s, overlap: skip, catch_up: none}";
        writeln!(agents, "  teller: {{{teller}, {policy}}}").unwrap();
        let listener = "source: listener.py, delivery: {max_attempts: 100, lease: 30s}";
        writeln!(agents, "  listener: {{{listener}, {policy}}}").unwrap();
    }

    /// One copy at most of each agent that leaves a mark of its starts.
    pub(super) fn assert_no_second_copy(&self, fleet: &Fleet) {
        let processes = fleet.processes();
        for name in self.touched() {
            let living = living_copies(fleet, &name, &processes);
            assert!(living.len() <= 1, "copies of {name}: {living:?}");
        }
    }

    /// Exactly one copy of each that lasts.
    pub(super) fn assert_one_copy(&self, fleet: &Fleet) {
        for name in self.lasting() {
            let main = fleet.await_main(&name);
            let living = living_copies(fleet, &name, &fleet.processes());
            assert!(living.is_empty() || living == [main], "{name}: {living:?}");
        }
    }
}

/// The processes of an agent that were given the place of its marks, its children left out.
fn living_copies(fleet: &Fleet, name: &str, processes: &[Process]) -> Vec<Process> {
    let marks = format!(" {} ", fleet.place(&format!("{name}.starts")));
    let own = processes
        .iter()
        .filter(|process| !process.is_shim() && !process.is_spawner());
    let copies = own.filter(|process| process.command.contains(&marks));
    copies.filter(|process| process.lives()).cloned().collect()
}
