//! `sandboxes:` — containers for code that is run once, by name, and which agents may use them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use claw_core::AgentName;
use claw_core::spec::Resources;
use claw_core::spec::container::{Exec, Network, PullPolicy, Tmpfs};
use claw_drivers::container::pool::SandboxSpec;

use super::agent::Agent;
use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::reader::Reader;
use super::section::{Key, Kind, Section, key, later_use, nearest};
use super::value::quantity;

/// A command holds a place and a caller as long as it runs; longer work is an agent's.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is kept of a command's output is in memory.
const MOST_OUTPUT: u64 = 64 << 20;

/// Containers that wait, and commands that run, of one sandbox.
const MOST: u64 = 64;

/// The name becomes part of paths of the API.
const MAX_NAME: usize = 63;

/// At the top of the file.
pub(super) const SANDBOXES: Key = key(
    "sandboxes",
    Kind::Named(&POOL),
    "Containers in which agents run code, one command each, by name.",
);

/// At an agent.
pub(super) const SANDBOX_GRANTS: Key = key(
    "sandboxes",
    Kind::TextOrList,
    "The sandboxes in which it may run code.",
);

static POOL: Section = Section {
    title: "a sandbox",
    keys: &[
        key(
            "image",
            Kind::Text,
            "The image, such as `python:3.12-slim`.",
        ),
        key(
            "pull_policy",
            Kind::Choice(&["missing", "always", "never"]),
            "When the image is fetched from its registry.",
        ),
        key(
            "ready",
            Kind::Whole(0, MOST),
            "Containers that wait for a command; 0 makes one for each command.",
        ),
        key(
            "timeout",
            Kind::Duration,
            "How long a command may take, up to an hour.",
        ),
        key(
            "max_output",
            Kind::Memory,
            "How much is kept of what a command writes, both streams together.",
        ),
        key(
            "idle",
            Kind::Duration,
            "After so long without a command nothing is kept ready.",
        ),
        key(
            "max_age",
            Kind::Duration,
            "A container that has waited longer is replaced.",
        ),
        key(
            "max_running",
            Kind::Whole(1, MOST),
            "Commands at a time; as many again wait for their turn.",
        ),
        key(
            "resources",
            Kind::Section(&RESOURCES),
            "What one command may use.",
        ),
        key(
            "network",
            Kind::Choice(&["none", "bridge"]),
            "What a command reaches: nothing, or all that the host reaches.",
        ),
        key("tmp", Kind::Section(&TMP), "Its `/tmp`, in memory."),
        key("env", Kind::TextMap, "Environment variables."),
        key(
            "user",
            Kind::Text,
            "Who commands run as inside, as a number or a name of the image.",
        ),
        later_use("volumes", "pass what a command needs by its standard input"),
        later_use("build", "build the image with `docker build`, and name it"),
    ],
    habits: &[
        ("command", "each call says what is run; remove it"),
        ("memory", "did you mean `resources: {memory: 512Mi}`?"),
        ("cpu", "did you mean `resources: {cpu: 0.5}`?"),
        ("cpus", "did you mean `resources: {cpu: 0.5}`?"),
        ("mem_limit", "did you mean `resources: {memory: 512Mi}`?"),
        ("pids_limit", "did you mean `resources: {pids: 128}`?"),
        ("network_mode", "did you mean `network`?"),
        ("environment", "did you mean `env`?"),
        ("size", "did you mean `ready`?"),
        ("min", "did you mean `ready`?"),
        ("replicas", "did you mean `ready`?"),
        ("concurrency", "did you mean `max_running`?"),
        ("ttl", "did you mean `max_age`?"),
    ],
};

static RESOURCES: Section = Section {
    title: "`resources` of a sandbox",
    keys: &[
        key("cpu", Kind::Cpu, "Processors, such as `0.5`."),
        key("memory", Kind::Memory, "Memory, without any swap."),
        key(
            "pids",
            Kind::Whole(1, 4_194_304),
            "Processes and threads at a time.",
        ),
    ],
    habits: &[],
};

static TMP: Section = Section {
    title: "`tmp` of a sandbox",
    keys: &[
        key("size", Kind::Memory, "Its size."),
        key(
            "exec",
            Kind::Bool,
            "Whether programs in it can be executed.",
        ),
    ],
    habits: &[],
};

impl Reader<'_> {
    /// Reads the sandboxes by their names.
    pub(super) fn sandboxes(&mut self, fields: &Fields<'_>) -> BTreeMap<String, SandboxSpec> {
        let Some(item) = fields.get("sandboxes") else {
            return BTreeMap::new();
        };
        let Some(entries) = item.named() else {
            let message = format!("`sandboxes` must be a map, found {}", item.node.kind());
            let help = "write `NAME: {image: IMAGE}` below it";
            self.error(&item, Code::WrongType, message, help);
            return BTreeMap::new();
        };
        let read = entries.into_iter().filter_map(|(name, item)| {
            let spec = self.sandbox_pool(name, &item)?;
            Some((name.to_owned(), spec))
        });
        read.collect()
    }

    fn sandbox_pool(&mut self, name: &str, item: &Item<'_>) -> Option<SandboxSpec> {
        let usable =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(usable) {
            let help = "use up to 63 lower-case letters, digits, `-` and `_`";
            let message = "that cannot be the name of a sandbox";
            self.key_error(item, Code::InvalidValue, message, help);
            return None;
        }
        let fields = self.fields(&POOL, item)?;
        let Some(image) = fields.get("image") else {
            let help = "add `image: IMAGE`, such as `image: python:3.12-slim`";
            self.key_error(item, Code::MissingKey, "a sandbox has an `image`", help);
            return None;
        };
        let mut spec = SandboxSpec::of_image(self.text(&image)?);
        self.sandbox_container(&fields, &mut spec);
        self.sandbox_bounds(&fields, &mut spec);
        self.sandbox_env(&fields, &mut spec);
        Some(spec)
    }

    /// What its container is like.
    fn sandbox_container(&mut self, fields: &Fields<'_>, spec: &mut SandboxSpec) {
        let pulls = [
            ("missing", PullPolicy::Missing),
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
        ];
        if let Some(item) = fields.get("pull_policy") {
            let pull = self.choice(&item, &pulls);
            spec.container.pull = pull.unwrap_or(spec.container.pull);
        }
        let networks = [("none", false), ("bridge", true)];
        if let Some(item) = fields.get("network")
            && self.choice(&item, &networks) == Some(true)
        {
            spec.container.network = Network::Bridge;
        }
        if let Some(tmp) = self.inner(fields, "tmp", &TMP) {
            let size = tmp.get("size");
            let size = size.and_then(|item| self.parsed(&item, "a size", quantity::memory));
            let exec = tmp.get("exec").and_then(|item| self.boolean(&item));
            for tmpfs in &mut spec.container.tmpfs {
                *tmpfs = Tmpfs {
                    target: PathBuf::from("/tmp"),
                    size: size.unwrap_or(tmpfs.size),
                    exec: match exec {
                        Some(false) => Exec::Denied,
                        Some(true) | None => Exec::Allowed,
                    },
                };
            }
        }
        spec.user = fields.get("user").and_then(|item| self.text(&item));
        if let Some(fields) = self.inner(fields, "resources", &RESOURCES) {
            let usual = spec.resources.clone();
            let cpu = fields.get("cpu");
            let memory = fields.get("memory");
            let pids = fields.get("pids");
            let pids = pids.and_then(|item| self.whole(&item, (1, 4_194_304)));
            spec.resources = Resources {
                cpu_millis: cpu.and_then(|item| {
                    self.parsed(&item, "a number of processors", quantity::cpu_millis)
                }),
                memory: memory
                    .and_then(|item| self.parsed(&item, "a size of memory", quantity::memory))
                    .or(usual.memory),
                pids: pids
                    .and_then(|pids| u32::try_from(pids).ok())
                    .or(usual.pids),
            };
        }
    }

    /// How many there are, and for how long.
    fn sandbox_bounds(&mut self, fields: &Fields<'_>, spec: &mut SandboxSpec) {
        let mut count = |key: &str, least: u64| {
            let number = fields
                .get(key)
                .and_then(|item| self.whole(&item, (least, MOST)));
            number.and_then(|number| u32::try_from(number).ok())
        };
        spec.ready = count("ready", 0).unwrap_or(spec.ready);
        spec.max_running = count("max_running", 1).unwrap_or(spec.max_running);
        let mut time = |key: &str, usual: Duration| {
            let time = fields.get(key).and_then(|item| self.some_time(&item));
            time.unwrap_or(usual)
        };
        spec.timeout = time("timeout", spec.timeout);
        spec.idle = time("idle", spec.idle);
        spec.max_age = time("max_age", spec.max_age);
        if let Some(item) = fields.get("timeout").filter(|_| spec.timeout > LONGEST) {
            let message = format!("{} is too long for a sandbox", item.shown());
            let help = "write `1h` at most; what takes longer is work for an agent";
            self.error(&item, Code::InvalidValue, message, help);
        }
        if let Some(item) = fields.get("max_output") {
            let size = self.parsed(&item, "a size", quantity::memory);
            spec.max_output = size.unwrap_or(spec.max_output);
            if spec.max_output > MOST_OUTPUT {
                let message = format!("{} is more output than is kept", item.shown());
                let help = "write `64Mi` at most";
                self.error(&item, Code::InvalidValue, message, help);
            }
        }
    }

    fn sandbox_env(&mut self, fields: &Fields<'_>, spec: &mut SandboxSpec) {
        let Some(item) = fields.get("env") else {
            return;
        };
        let Some(entries) = item.named() else {
            self.wrong_type(&item, "a map of variables");
            return;
        };
        for (name, item) in entries {
            if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
                let help = "use letters, digits and `_`";
                let message = format!("`{name}` cannot be the name of a variable");
                self.key_error(&item, Code::InvalidValue, &message, help);
            } else if let Some(value) = self.scalar(&item) {
                spec.env.insert(name.to_owned(), value.text.clone());
            }
        }
    }

    /// The sandboxes that an agent may use, by name.
    pub(super) fn sandbox_grants(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let Some(item) = fields.get("sandboxes") else {
            return Vec::new();
        };
        let items = self.one_or_more(&item);
        items.iter().filter_map(|item| self.text(item)).collect()
    }

    /// Agents are granted sandboxes that there are.
    pub(super) fn sandboxes_exist(
        &mut self,
        agents: &BTreeMap<AgentName, Agent<'_>>,
        sandboxes: &BTreeMap<String, SandboxSpec>,
    ) {
        for agent in agents.values() {
            let Some(item) = agent.fields.get("sandboxes") else {
                continue;
            };
            for item in self.one_or_more(&item) {
                let Some(name) = item.node.as_scalar().map(|scalar| scalar.text.as_str()) else {
                    continue;
                };
                if sandboxes.contains_key(name) {
                    continue;
                }
                let help = match nearest(name, sandboxes.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "add it to the top of the file: `sandboxes: {{{name}: {{image: IMAGE}}}}`"
                    ),
                };
                let message = format!("there is no sandbox {}", item.shown());
                self.error(&item, Code::InvalidValue, message, help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, Loaded, load_str};

    fn loaded(rest: &str) -> Loaded {
        let text = format!("project: p\nversion: \"1.0\"\n{rest}");
        let environment = Environment::with([("TOKEN", "from outside")]);
        load_str(&text, Path::new("openclaw.yaml"), &environment).unwrap()
    }

    #[test]
    fn an_image_is_all_that_a_sandbox_needs() {
        let loaded = loaded("agents: {}\nsandboxes: {tools: {image: \"busybox:1\"}}");
        let usual = SandboxSpec::of_image("busybox:1".to_owned());
        let expected = BTreeMap::from([("tools".to_owned(), usual)]);
        assert_eq!(loaded.sandboxes, expected);
    }

    #[test]
    fn every_key_reaches_the_sandbox() {
        let loaded = loaded(
            "agents: {}\n\
             sandboxes:\n  tools:\n    image: i\n    pull_policy: never\n    ready: 0\n    \
             timeout: 5s\n    max_output: 64Ki\n    idle: 1m\n    max_age: 2m\n    \
             max_running: 9\n    resources: {cpu: 0.5, memory: 64Mi, pids: 7}\n    \
             network: bridge\n    tmp: {size: 8Mi, exec: false}\n    \
             env: {A: 1, B: \"${TOKEN}\"}\n    user: \"7:8\"\n",
        );
        let mut expected = SandboxSpec::of_image("i".to_owned());
        expected.container.pull = PullPolicy::Never;
        expected.container.network = Network::Bridge;
        expected.container.tmpfs[0].size = 8 << 20;
        expected.container.tmpfs[0].exec = Exec::Denied;
        let expected = SandboxSpec {
            ready: 0,
            timeout: Duration::from_secs(5),
            max_output: 64 << 10,
            idle: Duration::from_secs(60),
            max_age: Duration::from_secs(120),
            max_running: 9,
            resources: Resources {
                cpu_millis: Some(500),
                memory: Some(64 << 20),
                pids: Some(7),
            },
            env: BTreeMap::from([
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "from outside".to_owned()),
            ]),
            user: Some("7:8".to_owned()),
            ..expected
        };
        assert_eq!(loaded.sandboxes["tools"], expected);
    }

    #[test]
    fn an_agent_may_use_what_it_is_granted_and_nothing_else() {
        let loaded = loaded(
            "agents:\n  coder: {command: [run], mode: worker, sandboxes: [tools]}\n  \
             other: {command: [run], mode: worker}\n\
             sandboxes: {tools: {image: i}, more: {image: i}}",
        );
        let may = |agent: &str, sandbox: &str| {
            let agent: AgentName = agent.parse().unwrap();
            loaded.workers[&agent].may_run_in(sandbox)
        };
        assert!(may("coder", "tools"));
        assert!(!may("coder", "more") && !may("other", "tools"));
    }
}
