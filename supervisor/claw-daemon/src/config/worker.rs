//! What an agent may do with state, events and other agents: `subscribe`, `publishes`,
//! `shared_state`, `read_from`, `manages`, `max_state_size`, and the secrets of its `config`.
//!
//! Nothing of it touches a process, so a change of it is in force at once.

use std::num::NonZeroU32;
use std::time::Duration;

use claw_core::AgentName;
use claw_core::spec::{AgentSpec, Mode};
use claw_store::bus::{Sharding, TopicFilter};

use super::delivery::Delivery;
use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_agent::{RESOURCES, SHARED_STATE};
use super::keys_health::{HEALTH, PROBE};
use super::reader::Reader;
use super::tree::Value;
use super::value::{Rejected, quantity};
use crate::agent_api::OURS;

/// What an agent's state may hold when the file does not say.
const MAX_STATE_SIZE: u64 = 100 << 20;

/// Events, and changes of state, in a minute when the file does not say: more than an agent has to
/// say, and few enough that one that has gone wild takes neither disk nor the others' turns.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(60_000).unwrap();

/// The highest rate that the file can ask for.
const MOST_PER_MINUTE: u64 = 60_000_000;

/// As many subscriptions as a program may ask for itself.
const MAX_FILTERS: usize = 64;

/// What an agent may do beside its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Events it gets beside those that its program asks for.
    pub subscribe: Vec<TopicFilter>,
    /// Events it may publish; all but the supervisor's, unless the file says which.
    pub publishes: Option<Vec<TopicFilter>>,
    /// What of the shared state it may read; what it may write it may read too.
    pub shared_read: Vec<KeyPattern>,
    /// What of the shared state it may write.
    pub shared_write: Vec<KeyPattern>,
    /// Agents whose state it may read, beside its own.
    pub read_from: Vec<Managed>,
    /// Agents that it may see and command.
    pub manages: Vec<Managed>,
    /// Sandboxes in which it may run code.
    pub sandboxes: Vec<String>,
    /// What its state may hold, in bytes.
    pub max_state_size: u64,
    /// Events that it may publish in a minute; it is told to wait above that.
    pub events_per_minute: Option<NonZeroU32>,
    /// Changes of state that it may make in a minute; above that they wait for their turn.
    pub state_writes_per_minute: Option<NonZeroU32>,
    /// Dotted paths in its `config` whose values are not shown.
    pub secret_paths: Vec<String>,
    /// Who says when it runs.
    pub scheduled: Scheduled,
    /// How often its own code is asked whether it is ready; never, unless the file says so.
    pub readiness: Option<ReadinessCheck>,
    /// In what order and how often it gets its events.
    pub delivery: Delivery,
    /// How its events are divided among its replicas.
    pub sharding: Sharding,
    /// The field of an event's data that is its key, in place of the key of its publisher.
    pub shard_key: Option<String>,
}

/// How often an agent's own code is asked, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessCheck {
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Failures in a row that make the verdict.
    pub threshold: u32,
}

/// Who says when an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    /// The fleet file.
    ByFile,
    /// Its own program, if anybody.
    ByProgram,
}

/// A key of the shared state, or all keys with a beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPattern {
    /// This one.
    Key(String),
    /// All that begin so.
    Prefix(String),
}

/// Which agents one may command, or read the state of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Managed {
    /// This one.
    Agent(AgentName),
    /// All but itself.
    All,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            subscribe: Vec::new(),
            publishes: None,
            shared_read: Vec::new(),
            shared_write: Vec::new(),
            read_from: Vec::new(),
            manages: Vec::new(),
            sandboxes: Vec::new(),
            max_state_size: MAX_STATE_SIZE,
            events_per_minute: None,
            state_writes_per_minute: None,
            secret_paths: Vec::new(),
            scheduled: Scheduled::ByProgram,
            readiness: None,
            delivery: Delivery::default(),
            sharding: Sharding::None,
            shard_key: None,
        }
    }
}

impl WorkerConfig {
    /// Whether it may read a key of the shared state.
    #[must_use]
    pub fn may_read(&self, key: &str) -> bool {
        let mut patterns = self.shared_read.iter().chain(&self.shared_write);
        patterns.any(|pattern| pattern.takes(key))
    }

    /// Whether it may write a key of the shared state.
    #[must_use]
    pub fn may_write(&self, key: &str) -> bool {
        self.shared_write.iter().any(|pattern| pattern.takes(key))
    }

    /// Whether it may publish an event of this name.
    #[must_use]
    pub fn may_publish(&self, topic: &str) -> bool {
        let allowed = self.publishes.as_ref();
        allowed.is_none_or(|filters| filters.iter().any(|filter| filter.matches(topic)))
    }

    /// Whether it may command another agent.
    #[must_use]
    pub fn may_manage(&self, agent: &AgentName) -> bool {
        self.manages.iter().any(|managed| managed.names(agent))
    }

    /// Whether it may run code in a sandbox.
    #[must_use]
    pub fn may_run_in(&self, sandbox: &str) -> bool {
        self.sandboxes.iter().any(|granted| granted == sandbox)
    }

    /// Whether it may read the state of another agent. To command one is no right to read it.
    #[must_use]
    pub fn may_read_from(&self, agent: &AgentName) -> bool {
        self.read_from.iter().any(|managed| managed.names(agent))
    }
}

impl Managed {
    fn names(&self, agent: &AgentName) -> bool {
        match self {
            Self::Agent(name) => name == agent,
            Self::All => true,
        }
    }
}

impl KeyPattern {
    fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Key(text.to_owned()),
        }
    }

    fn takes(&self, key: &str) -> bool {
        match self {
            Self::Key(name) => name == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

impl Reader<'_> {
    /// Reads what an agent may do beside its process.
    pub(super) fn worker_config(&mut self, fields: &Fields<'_>, spec: &AgentSpec) -> WorkerConfig {
        let shared = self.inner(fields, "shared_state", &SHARED_STATE);
        let shared = shared.as_ref();
        let worker = WorkerConfig {
            subscribe: self.subscribe(fields, spec.mode),
            publishes: self.publishes(fields, spec.mode),
            shared_read: shared.map_or_else(Vec::new, |shared| self.patterns(shared, "read")),
            shared_write: shared.map_or_else(Vec::new, |shared| self.patterns(shared, "write")),
            read_from: self.agent_names(fields, "read_from"),
            manages: self.agent_names(fields, "manages"),
            sandboxes: self.sandbox_grants(fields),
            max_state_size: self.max_state_size(fields),
            events_per_minute: self.rate(fields, "events_per_minute"),
            state_writes_per_minute: self.rate(fields, "state_writes_per_minute"),
            secret_paths: secret_paths(fields),
            scheduled: match fields.get("schedule") {
                Some(_) => Scheduled::ByFile,
                None => Scheduled::ByProgram,
            },
            readiness: self.asked_readiness(fields, spec),
            ..WorkerConfig::default()
        };
        self.needs_worker(fields, spec.mode);
        worker
    }

    /// State and events reach an agent over its socket, which only a worker knows how to use.
    fn needs_worker(&mut self, fields: &Fields<'_>, mode: Mode) {
        if mode == Mode::Worker {
            return;
        }
        for item in fields.present(&[
            "subscribe",
            "publishes",
            "shared_state",
            "read_from",
            "manages",
            "sandboxes",
            "sharding",
            "delivery",
        ]) {
            let message = format!("`{}` is for agents that ask for their work", item.name());
            let help =
                "give it a `source`, or `mode: worker` if its program speaks the Agent Protocol";
            self.key_error(&item, Code::Conflict, &message, help);
        }
    }

    fn subscribe(&mut self, fields: &Fields<'_>, mode: Mode) -> Vec<TopicFilter> {
        let Some(item) = fields.get("subscribe").filter(|_| mode == Mode::Worker) else {
            return Vec::new();
        };
        self.topics(&item, filter)
    }

    fn publishes(&mut self, fields: &Fields<'_>, mode: Mode) -> Option<Vec<TopicFilter>> {
        let item = fields.get("publishes").filter(|_| mode == Mode::Worker)?;
        let allowed = |text: &str| {
            let first = text.split('.').next().unwrap_or_default();
            if OURS.contains(&first) {
                return Err(
                    Rejected::new(format!("events below `{first}` are the supervisor's"))
                        .help("name events that the agent itself may publish"),
                );
            }
            filter(text)
        };
        Some(self.topics(&item, allowed))
    }

    fn topics(
        &mut self,
        item: &Item<'_>,
        filter: impl Fn(&str) -> Result<TopicFilter, Rejected>,
    ) -> Vec<TopicFilter> {
        let items = self.one_or_more(item);
        if items.len() > MAX_FILTERS {
            let message = format!(
                "an agent has at most {MAX_FILTERS} names under `{}`",
                item.name()
            );
            let help = "use filters with `*` or `>`";
            self.error(item, Code::InvalidValue, message, help);
        }
        let filters = items
            .iter()
            .filter_map(|item| self.parsed(item, "an event", &filter));
        filters.collect()
    }

    fn patterns(&mut self, fields: &Fields<'_>, key: &str) -> Vec<KeyPattern> {
        let Some(item) = fields.get(key) else {
            return Vec::new();
        };
        let items = self.one_or_more(&item);
        let texts = items.iter().filter_map(|item| self.text(item));
        texts.map(|text| KeyPattern::new(&text)).collect()
    }

    fn agent_names(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Managed> {
        let Some(item) = fields.get(key) else {
            return Vec::new();
        };
        let managed = |text: &str| match text {
            "*" => Ok(Managed::All),
            name => match name.parse() {
                Ok(name) => Ok(Managed::Agent(name)),
                Err(_) => {
                    Err(Rejected::plainly().help("name agents of this fleet, or write `\"*\"`"))
                }
            },
        };
        let items = self.one_or_more(&item);
        let managed = items
            .iter()
            .filter_map(|item| self.parsed(item, "an agent's name", managed));
        managed.collect()
    }

    /// A rate of `resources:`.
    fn rate(&mut self, fields: &Fields<'_>, name: &'static str) -> Option<NonZeroU32> {
        let resources = fields.get("resources");
        let resources = resources.and_then(|item| Fields::of(&RESOURCES, item));
        let Some(item) = resources.and_then(|fields| fields.get(name)) else {
            return Some(PER_MINUTE);
        };
        let rate = self.whole(&item, (1, MOST_PER_MINUTE));
        rate.and_then(|rate| NonZeroU32::new(u32::try_from(rate).ok()?))
    }

    fn max_state_size(&mut self, fields: &Fields<'_>) -> u64 {
        let resources = fields.get("resources");
        let resources = resources.and_then(|item| Fields::of(&RESOURCES, item));
        let size = resources.and_then(|fields| fields.get("max_state_size"));
        size.and_then(|item| self.parsed(&item, "a size", quantity::memory))
            .unwrap_or(MAX_STATE_SIZE)
    }

    /// `readiness: {sdk: {}}`, which is asked over the socket and not by the core.
    fn asked_readiness(&mut self, fields: &Fields<'_>, spec: &AgentSpec) -> Option<ReadinessCheck> {
        let health = Fields::of(&HEALTH, fields.get("health_check")?)?;
        let readiness = Fields::of(&PROBE, health.get("readiness")?)?;
        let other = readiness.present(&["exec", "http", "tcp", "heartbeat"]);
        if spec.mode != Mode::Worker || !other.is_empty() {
            return None;
        }
        let probe = spec.probes.readiness.as_ref()?;
        Some(ReadinessCheck {
            interval: probe.interval,
            timeout: probe.timeout,
            threshold: probe.threshold,
        })
    }
}

fn filter(text: &str) -> Result<TopicFilter, Rejected> {
    TopicFilter::try_new(text).map_err(|error| {
        Rejected::new(error.to_string())
            .help("write names such as `data_collected`, `feeds.*` or `feeds.>`")
    })
}

/// The values of `config` that came from the environment.
fn secret_paths(fields: &Fields<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    if let Some(item) = fields.get("config") {
        collect_secrets(&item, "", &mut paths);
    }
    paths
}

fn collect_secrets(item: &Item<'_>, path: &str, into: &mut Vec<String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match &item.node.value {
        Value::Text(_) if item.is_from_environment() => into.push(path.to_owned()),
        Value::Text(_) | Value::Null => {}
        Value::List(_) => {
            for (index, item) in item.elements().unwrap_or_default().iter().enumerate() {
                collect_secrets(item, &below(&index.to_string()), into);
            }
        }
        Value::Map(_) => {
            for (key, item) in item.named().unwrap_or_default() {
                collect_secrets(&item, &below(key), into);
            }
        }
    }
}
