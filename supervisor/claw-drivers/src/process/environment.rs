//! The environment of an agent: short, and nothing inherited that was not meant for it.

use std::collections::BTreeMap;

use claw_core::order::RunContext;
use claw_core::spec::{Check, Launch, Probes};
use claw_core::{AgentSpec, InstanceId};

use super::account::Account;
use super::shim::DEFAULT_PATH;

/// What of the supervisor's own environment agents see.
const INHERITED: [&str; 5] = ["PATH", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// What every agent of the fleet gets.
#[derive(Debug, Clone)]
pub(crate) struct BaseEnvironment(BTreeMap<String, String>);

impl BaseEnvironment {
    /// Picks what is passed on from the supervisor's own environment, and adds `control`.
    pub(crate) fn new(own: &BTreeMap<String, String>, control: &BTreeMap<String, String>) -> Self {
        let mut base = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
        let passed = own
            .iter()
            .filter(|(key, _)| INHERITED.contains(&key.as_str()));
        base.extend(passed.map(|(key, value)| (key.clone(), value.clone())));
        base.extend(control.clone());
        Self(base)
    }

    /// The environment of an instance, or of a command run on its behalf.
    ///
    /// The fleet file may set anything but what tells the agent who it is.
    pub(crate) fn of(
        &self,
        instance: &InstanceId,
        spec: &AgentSpec,
        account: &Account,
    ) -> Environment {
        let mut all = self.0.clone();
        let mut set = |key: &str, value: String| all.insert(key.to_owned(), value);
        set("HOME", account.home.to_string_lossy().into_owned());
        set("USER", account.name.clone());
        set("LOGNAME", account.name.clone());
        set("SHELL", account.shell.to_string_lossy().into_owned());
        let Launch {
            env,
            secrets,
            config,
            ..
        } = &spec.launch;
        all.extend(env.iter().map(|(key, value)| (key.clone(), value.clone())));
        all.extend(
            secrets
                .iter()
                .map(|(key, secret)| (key.clone(), secret.expose().to_owned())),
        );
        // Replicas go by one name, which their spec says.
        let agent = all.entry("OPENCLAW_AGENT".to_owned());
        agent.or_insert_with(|| instance.agent.to_string());
        all.insert("OPENCLAW_INSTANCE".to_owned(), instance.to_string());
        if !config.is_null() {
            all.insert("OPENCLAW_CONFIG".to_owned(), config.to_string());
        }
        Environment(all)
    }
}

/// The environment of one process in the making.
#[derive(Debug)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Sets a variable.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Sets a variable unless the fleet file does.
    pub(crate) fn set_unless_written(&mut self, spec: &AgentSpec, key: &str, value: &str) {
        let launch = &spec.launch;
        if !launch.env.contains_key(key) && !launch.secrets.contains_key(key) {
            self.set(key, value);
        }
    }

    /// Forgets a variable unless the fleet file sets it.
    pub(crate) fn forget_unless_written(&mut self, spec: &AgentSpec, key: &str) {
        if !spec.launch.env.contains_key(key) {
            self.0.remove(key);
        }
    }

    /// Tells of the run it is started for.
    pub(crate) fn set_run(&mut self, run: &RunContext) {
        self.set("OPENCLAW_RUN_ID", run.run.to_string());
        self.set("OPENCLAW_TRIGGER", run.trigger.code());
        self.set("OPENCLAW_ATTEMPT", run.attempt.to_string());
    }

    /// Tells where to send notifications, and how often a heartbeat is due. Whether one is due
    /// is returned: `WATCHDOG_PID` is for the child to set.
    pub(crate) fn set_notify(&mut self, socket: &str, probes: &Probes) -> super::wire::Watchdog {
        self.set("NOTIFY_SOCKET", socket);
        let heartbeat = probes
            .liveness
            .as_ref()
            .filter(|probe| probe.check == Check::Heartbeat);
        match heartbeat {
            Some(probe) => {
                self.set("WATCHDOG_USEC", probe.interval.as_micros().to_string());
                super::wire::Watchdog::On
            }
            None => super::wire::Watchdog::Off,
        }
    }

    /// As `execve` wants it.
    pub(crate) fn into_entries(self) -> Vec<String> {
        self.0
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }
}
