//! What a process in a sandbox gets beside what its `sandbox` says: a limit for calls, and nothing
//! of the supervisor's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use claw_core::AgentName;
use claw_core::spec::Sandbox;
use claw_core::spec::sandbox::{Egress, Reach};

use super::agent::Agent;
use super::diagnostic::Code;
use super::include::lexical;
use super::item::{Fields, Item};
use super::keys_agent::RESOURCES;
use super::keys_container::SANDBOX;
use super::load::DOTENV;
use super::reader::Reader;
use super::supervisor::SupervisorConfig;
use super::tree::Origin;

const MOST_CALLS: u64 = 60_000_000;

impl Reader<'_> {
    /// How an agent without an image is confined; `None`: not at all.
    pub(super) fn confined(&mut self, agent: &Fields<'_>) -> Option<Box<Sandbox>> {
        let own = self.inner(agent, "sandbox", &SANDBOX);
        if let Some(own) = &own {
            self.only_containers_have(own);
        }
        let mut sandbox = self.process_sandbox(agent, own.as_ref());
        match sandbox.as_deref_mut().map(|sandbox| &mut sandbox.network) {
            Some(Reach::Listed(egress)) => {
                self.count_calls(agent, egress);
                let own = calls_per_minute(agent).filter(|item| item.origin == Origin::Own);
                if own.is_some() && egress.allowed.is_empty() {
                    self.no_calls_counted(agent);
                }
            }
            Some(Reach::Host) | None => self.no_calls_counted(agent),
        }
        sandbox
    }

    /// Reads how many calls an agent may make.
    pub(super) fn count_calls(&mut self, agent: &Fields<'_>, egress: &mut Egress) {
        let calls = calls_per_minute(agent);
        let calls = calls.and_then(|item| self.whole(&item, (1, MOST_CALLS)));
        egress.per_minute = calls.and_then(|calls| u32::try_from(calls).ok());
    }

    /// Calls are counted where they pass the supervisor, and nowhere else.
    pub(super) fn no_calls_counted(&mut self, agent: &Fields<'_>) {
        if let Some(item) = calls_per_minute(agent) {
            let message = "`api_calls_per_minute` counts connections to the hosts of `sandbox.allowed_network`, and the agent has no such list";
            let help = "add `sandbox: {allowed_network: [HOST]}`, or remove it";
            self.key_error(&item, Code::Conflict, message, help);
        }
    }

    /// Hides the supervisor's own from agents that see the folder around it.
    pub(super) fn hide_from_agents(
        &mut self,
        agents: &mut BTreeMap<AgentName, Agent<'_>>,
        supervisor: &SupervisorConfig,
    ) {
        let hidden = self.private_paths(&supervisor.data_dir);
        for agent in agents.values_mut() {
            let Some(sandbox) = &mut agent.spec.launch.sandbox else {
                continue;
            };
            let named = sandbox.readable.iter();
            let named = named.chain(sandbox.writable.iter().map(|one| &one.path));
            if let Some(path) = named
                .clone()
                .find(|path| path.starts_with(&supervisor.data_dir))
            {
                let message = format!(
                    "`{}` is the supervisor's own, which agents do not see",
                    path.strip_prefix(self.folder).unwrap_or(path).display()
                );
                let help = "name a directory beside `supervisor.data_dir`";
                let item: Option<Item<'_>> = agent.fields.get("sandbox");
                let item = item.unwrap_or_else(|| agent.fields.item.clone());
                self.key_error(&item, Code::Conflict, &message, help);
            }
            let named: Vec<&PathBuf> = named.collect();
            let hidden = hidden.iter().filter(|path| !named.contains(path));
            sandbox.hidden = hidden.cloned().collect();
        }
    }

    /// The data directory, and every file that the fleet is read from.
    fn private_paths(&self, data_dir: &Path) -> Vec<PathBuf> {
        let absolute = |path: PathBuf| {
            let absolute = std::path::absolute(&path).unwrap_or(path);
            lexical(&absolute)
        };
        let files = self.sources.paths().into_iter().map(absolute);
        let dotenv = self.folder.join(DOTENV);
        let mut all: Vec<PathBuf> = files
            .chain([dotenv, data_dir.to_owned()])
            .filter(|path| path.as_path() == data_dir || !path.starts_with(data_dir))
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

fn calls_per_minute<'n>(agent: &Fields<'n>) -> Option<Item<'n>> {
    let resources = Fields::of(&RESOURCES, agent.get("resources")?)?;
    resources.get("api_calls_per_minute")
}
