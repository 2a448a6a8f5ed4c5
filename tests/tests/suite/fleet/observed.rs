//! What can be seen of a fleet: its agents, their processes, the files they write.

use std::fs;

use claw_daemon::api::{Agent, State};

use super::patience::{PATIENCE, Waited, until, within};
use super::{Fleet, Process};

impl Fleet {
    /// An agent, as the API shows it.
    #[track_caller]
    pub(crate) fn agent(&self, name: &str) -> Agent {
        self.api().get(&format!("/api/agents/{name}"))
    }

    /// An agent, if there is one of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Agent> {
        let (status, body) = self.api().ask(&format!("/api/agents/{name}"))?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Waits until an agent is as wanted.
    pub(crate) fn await_agent(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Agent) -> bool,
    ) -> Agent {
        let mut last = None;
        let mut waited = Waited::start();
        within(PATIENCE * 2, what, || {
            let agent = self.agent(name);
            if wanted(&agent) {
                return Some(agent);
            }
            last = Some(agent);
            assert!(
                waited.total() < PATIENCE,
                "{name} never: {what}; {last:#?}\n{}",
                self.said()
            );
            None
        })
    }

    /// The value of a key of an agent's state, if there is one.
    pub(crate) fn stored(&self, name: &str, key: &str) -> Option<serde_json::Value> {
        let path = format!("/api/agents/{name}/state/{key}");
        let (status, body) = self.api().ask(&path)?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Waits until an agent is in a state.
    pub(crate) fn await_state(&self, name: &str, state: State) -> Agent {
        self.await_agent(name, &format!("is {state}"), |agent| agent.state == state)
    }

    /// Waits until an agent runs; its main process.
    pub(crate) fn await_main(&self, name: &str) -> Process {
        until(&format!("{name} has a process"), || {
            let agent = self.find(name)?;
            let pid = agent.instance?.pid?.cast_signed();
            (agent.state == State::Running)
                .then(|| Process::of(pid))
                .flatten()
        })
    }

    /// Whether this machine enforces a limit; says that `test` is skipped if not.
    pub(crate) fn enforces(&self, limit: &str, test: &str) -> bool {
        let found = self.run(&["doctor", "--output", "json"]);
        let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
        let holds = found[limit]["enforced"] == "yes";
        if !holds {
            eprintln!("SKIP {test}: {}", found[limit]["why"]);
        }
        holds
    }

    /// Whether supervisors of this fleet can give a process namespaces of its own; says that
    /// `test` is skipped if not.
    pub(crate) fn confines(&self, test: &str) -> bool {
        let machine = self.machine();
        let level = &machine["sandbox"]["level"];
        let confines = level == "full";
        if !confines {
            eprintln!("SKIP {test}: no namespaces can be made here, only {level} sandboxes");
        }
        confines
    }

    /// The version of Landlock that this machine has, if any.
    pub(crate) fn landlock(&self) -> Option<u32> {
        let found = self.part("landlock")?;
        found.strip_prefix("version ")?.parse().ok()
    }

    /// Whether directories of agents end at their sizes on this machine.
    pub(crate) fn enforces_sizes(&self) -> bool {
        self.part("quota").is_some()
    }

    /// What this machine has of a part of sandboxes, if any.
    fn part(&self, name: &str) -> Option<String> {
        let machine = self.machine();
        let mut parts = machine["sandbox"]["parts"].as_array()?.iter();
        let part = parts.find(|part| part["name"] == name)?;
        Some(part["found"].as_str()?.to_owned())
    }

    /// What `clawctl doctor` tells the user of the supervisors of this machine.
    fn machine(&self) -> serde_json::Value {
        let mut doctor = self.command_of_user();
        let output = doctor
            .args(["doctor", "--output", "json"])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The lines of a file of the fleet; none when it is missing.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file of the fleet has so many lines.
    pub(crate) fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        until(&format!("{count} lines in {name}"), || {
            Some(self.lines(name)).filter(|lines| lines.len() >= count)
        })
    }

    /// Waits until a process has written its number into a file.
    pub(crate) fn await_mark(&self, name: &str) -> Process {
        let pid = self.await_lines(name, 1)[0].parse().unwrap();
        Process::of(pid).expect("the process that left its mark lives")
    }
}
