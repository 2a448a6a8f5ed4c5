//! The whole fleet, from a tree in which includes, defaults and variables are resolved.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use claw_core::name::AgentName;
use claw_core::spec::FleetSpec;
use claw_drivers::container::pool::SandboxSpec;

use super::agent::Agent;
use super::depends::{Dependency, Modes};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Fields, Item};
use super::keys::{FLEET, SECURITY};
use super::keys_agent::AGENT;
use super::keys_sandbox::FLEET_SANDBOX;
use super::llm::LlmConfig;
use super::reader::Reader;
use super::replicas::{Replicas, expand};
use super::supervisor::{Lockdown, SupervisorConfig};
use super::syntax::short;
use super::tree::{Node, Value};
use super::value::Rejected;
use super::webhook::Webhook;
use super::worker::WorkerConfig;

/// The only version of the file's format.
const VERSION: &str = "1.0";
/// Its name becomes part of file names.
const MAX_PROJECT_CHARS: usize = 63;

/// What a fleet file says.
pub(super) struct Read {
    pub(super) fleet: FleetSpec,
    pub(super) workers: BTreeMap<AgentName, Arc<WorkerConfig>>,
    pub(super) replicas: Replicas,
    pub(super) webhooks: BTreeMap<String, Arc<Webhook>>,
    pub(super) sandboxes: BTreeMap<String, SandboxSpec>,
    pub(super) llm: Option<LlmConfig>,
    pub(super) supervisor: SupervisorConfig,
    pub(super) uids: Option<RangeInclusive<u32>>,
    pub(super) lockdown: Lockdown,
}

impl Reader<'_> {
    /// Reads the fleet. The result means something only when no error was reported.
    pub(super) fn fleet(&mut self, root: &Node) -> Option<Read> {
        let fields = self.fields(&FLEET, &Item::root(root))?;
        let project = self.project(&fields);
        self.version(&fields);
        let lockdown = self.security(&fields);
        let (supervisor, max_concurrent_starts) = self.supervisor(&fields);
        if let Some(defaults) = fields.get("defaults") {
            self.all_known_keys(&AGENT, &defaults);
        }
        let mut agents = self.agents(&fields);
        Self::name_images(&mut agents, &project);
        self.data_dirs_are_apart(&agents, &supervisor);
        self.hide_from_agents(&mut agents, &supervisor);
        self.ports_are_apart(&agents, &supervisor);
        self.volumes_are_apart(&agents, &supervisor);
        let llm = self.llm(&fields, &mut agents);
        let modes = agents
            .iter()
            .map(|(name, agent)| (name.clone(), agent.spec.mode));
        let graph = self.graph(&agents, &modes.collect());
        self.replicas_have_names(&agents);
        let webhooks = self.webhooks(&fields, |name| agents.contains_key(name));
        let sandboxes = self.sandboxes(&fields);
        self.sandboxes_exist(&agents, &sandboxes);
        let expanded = expand(agents, &graph);
        let fleet = FleetSpec {
            project,
            max_concurrent_starts,
            groups: expanded.replicas.groups(),
            agents: expanded.agents,
        };
        Some(Read {
            fleet,
            workers: expanded.workers,
            replicas: expanded.replicas,
            webhooks,
            sandboxes,
            llm,
            supervisor,
            uids: self.fleet_sandbox.uids.clone(),
            lockdown,
        })
    }

    fn project(&mut self, fields: &Fields<'_>) -> String {
        let Some(item) = fields.get("project") else {
            self.missing(fields, "project", "add `project: NAME`");
            return String::new();
        };
        let project = self.parsed(&item, "a project's name", |text| {
            let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if text.is_empty() || text.chars().count() > MAX_PROJECT_CHARS {
                return Err(Rejected::new("it does not have 1 to 63 characters"));
            }
            if !text.chars().all(usable) || text.starts_with(['.', '-']) {
                return Err(
                    Rejected::new("it has a character that cannot stand there").help(
                        "use letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
                    ),
                );
            }
            Ok(text.to_owned())
        });
        project.unwrap_or_default()
    }

    fn version(&mut self, fields: &Fields<'_>) {
        let Some(item) = fields.get("version") else {
            return self.missing(fields, "version", "add `version: \"1.0\"`");
        };
        self.parsed(&item, "a known version of the format", |text| {
            if text == VERSION {
                return Ok(());
            }
            Err(Rejected::new("there is only \"1.0\" so far").help("write `version: \"1.0\"`"))
        });
    }

    fn missing(&mut self, fields: &Fields<'_>, key: &str, help: &str) {
        let span = fields.item.node.span;
        let start = super::tree::Span {
            end: span.start,
            ..span
        };
        self.problems.push(
            Diagnostic::error(Code::MissingKey, format!("the fleet has no `{key}`"))
                .at(start)
                .path(key)
                .help(help),
        );
    }

    fn security(&mut self, fields: &Fields<'_>) -> Lockdown {
        let Some(security) = self.inner(fields, "security", &SECURITY) else {
            return Lockdown::On;
        };
        let lockdown = security.get("lockdown");
        let lockdown = lockdown.and_then(|item| self.boolean(&item));
        if let Some(sandbox) = self.inner(&security, "sandbox", &FLEET_SANDBOX) {
            self.fleet_sandbox = self.fleet_sandbox(&sandbox);
        }
        match lockdown {
            None | Some(true) => Lockdown::On,
            Some(false) => Lockdown::Off,
        }
    }

    fn agents<'n>(&mut self, fields: &Fields<'n>) -> BTreeMap<AgentName, Agent<'n>> {
        let mut agents = BTreeMap::new();
        let Some(item) = fields.get("agents") else {
            self.missing(
                fields,
                "agents",
                "add `agents:` and below it `NAME: {command: [PROGRAM]}`",
            );
            return agents;
        };
        let Some(entries) = item.named() else {
            self.error(
                &item,
                Code::WrongType,
                format!("`agents` must be a map, found {}", item.node.kind()),
                "write `NAME: {command: [PROGRAM]}` below it",
            );
            return agents;
        };
        if entries.is_empty() {
            self.problems.push(
                Diagnostic::warning(Code::MissingKey, "the fleet has no agents")
                    .at(item.span())
                    .path("agents"),
            );
        }
        for (name, item) in entries {
            if let Value::Text(scalar) = &item.node.value {
                let message = format!("`{}` must be a map, found {}", item.name(), item.shown());
                let help = format!(
                    "write `{}: {{command: {}}}`",
                    item.name(),
                    short(scalar.shown())
                );
                self.error(&item, Code::WrongType, message, help);
                continue;
            }
            let parsed = name.parse::<AgentName>();
            let agent = self.agent(&item);
            match (parsed, agent) {
                (Ok(name), Some(agent)) => drop(agents.insert(name, agent)),
                (Ok(_), None) => {}
                (Err(error), _) => self.agent_name(name, &item, &error.to_string()),
            }
        }
        agents
    }

    fn agent_name(&mut self, name: &str, item: &Item<'_>, error: &str) {
        let better: String = name
            .to_lowercase()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '_' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        let better = better.trim_start_matches(['-', '_']);
        let problem = Diagnostic::error(Code::InvalidValue, error)
            .at(item.key.unwrap_or(item.span()))
            .path(item.path.clone());
        self.problems.push(match better.parse::<AgentName>() {
            Ok(better) => problem.help(format!("did you mean `{better}`?")),
            Err(_) => problem,
        });
    }

    fn graph<'n>(
        &mut self,
        agents: &BTreeMap<AgentName, Agent<'n>>,
        modes: &Modes,
    ) -> BTreeMap<AgentName, Vec<Dependency<'n>>> {
        let mut graph = BTreeMap::new();
        for (name, agent) in agents {
            graph.insert(name.clone(), self.depends_on(&agent.fields, modes));
        }
        self.cycles(&graph);
        graph
    }

    /// Two agents in one directory would break each other's files; so would an agent in the
    /// supervisor's.
    fn data_dirs_are_apart(
        &mut self,
        agents: &BTreeMap<AgentName, Agent<'_>>,
        supervisor: &SupervisorConfig,
    ) {
        let mut taken: BTreeMap<&Path, (&AgentName, Item<'_>)> = BTreeMap::new();
        for (name, agent) in agents {
            let Some(item) = agent.fields.get("data_dirs") else {
                continue;
            };
            for path in &agent.spec.launch.data_dirs {
                if overlap(&supervisor.data_dir, path) {
                    let message = format!("a directory of `{name}` overlaps the supervisor's own");
                    self.error(
                        &item,
                        Code::Conflict,
                        message,
                        "name a directory beside `supervisor.data_dir`",
                    );
                }
                if let Some((shared, (other, first))) =
                    clash(&taken, path).filter(|found| found.1.0 != name)
                {
                    let message = format!(
                        "`{other}` and `{name}` share the directory `{}`",
                        self.shown_path(shared)
                    );
                    let both = [first.clone(), item.clone()];
                    self.only_one(&both, &message, "give each agent a directory of its own");
                }
                taken.insert(path, (name, item.clone()));
            }
        }
    }

    /// A path as the user would name it.
    fn shown_path(&self, path: &Path) -> String {
        let path = path.strip_prefix(self.folder).unwrap_or(path);
        path.display().to_string()
    }
}

/// The directory that two agents would share: the outer one of the two, with its neighbour.
fn clash<'p, T>(taken: &'p BTreeMap<&'p Path, T>, path: &'p Path) -> Option<(&'p Path, &'p T)> {
    let outer = path
        .ancestors()
        .find_map(|outer| taken.get_key_value(outer));
    let inner = || {
        let (inner, taker) = taken.range(path..).next()?;
        inner.starts_with(path).then_some((path, taker))
    };
    outer.map(|(outer, taker)| (*outer, taker)).or_else(inner)
}

/// Whether one directory is the other or lies in it.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
