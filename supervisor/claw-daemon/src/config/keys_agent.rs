//! The sections of an agent.

use super::keys::SOURCE;
use super::keys_container::{BUILD, SANDBOX, VOLUME};
use super::keys_events::{DELIVERY_KEY, REPLICAS, SHARDING_KEY};
use super::keys_health::HEALTH;
use super::keys_life::{HOOKS, RESTART, SHUTDOWN};
use super::keys_llm::{AGENT_LLM_KEY, TOKENS_PER_HOUR};
use super::sandboxes::SANDBOX_GRANTS;
use super::section::{Kind, Section, key};

/// One agent, and `defaults:`.
pub(super) static AGENT: Section = Section {
    title: "an agent",
    keys: &[
        SOURCE,
        key(
            "command",
            Kind::Command,
            "The program and its arguments, never run by a shell; with an `image`, the arguments of its entry point.",
        ),
        key(
            "python",
            Kind::Section(&PYTHON),
            "The Python that an agent with a `source` runs in.",
        ),
        key(
            "image",
            Kind::Text,
            "The image of the container that it runs in, such as `python:3.12-slim`.",
        ),
        key(
            "build",
            Kind::TextOr(&BUILD),
            "How its image is built: the folder with the Dockerfile, or a map.",
        ),
        key(
            "pull_policy",
            Kind::Choice(&["missing", "always", "never"]),
            "When its image is fetched.",
        ),
        key(
            "entrypoint",
            Kind::Command,
            "The program, instead of the image's own entry point.",
        ),
        key(
            "volumes",
            Kind::ListOf(&VOLUME),
            "Directories of the host and volumes that its container sees: `SOURCE:TARGET[:ro]`.",
        ),
        key(
            "ports",
            Kind::TextOrList,
            "Ports of its container reached through the host: `[ADDRESS:]HOST_PORT:CONTAINER_PORT`.",
        ),
        key(
            "mode",
            Kind::Choice(&["daemon", "oneshot", "worker"]),
            "One long-lived process, one process per run, or one process that asks for runs and events.",
        ),
        key("schedule", Kind::Schedule, "When runs are due."),
        key(
            "on_missed",
            Kind::Choice(&["none", "one", "all"]),
            "The same as `catch_up` of the schedule.",
        ),
        key(
            "subscribe",
            Kind::TextOrList,
            "Events it gets beside those that its program asks for: names, or filters with `*` and `>`.",
        ),
        key(
            "publishes",
            Kind::TextOrList,
            "The only events it may publish: names, or filters with `*` and `>`.",
        ),
        key(
            "shared_state",
            Kind::Section(&SHARED_STATE),
            "What of the fleet's shared state it may use.",
        ),
        key(
            "read_from",
            Kind::TextOrList,
            "Agents whose state it may read, or `*`.",
        ),
        key(
            "manages",
            Kind::TextOrList,
            "Agents that it may see, start, stop and trigger, or `*`.",
        ),
        SANDBOX_GRANTS,
        AGENT_LLM_KEY,
        key(
            "config",
            Kind::Free,
            "Handed to the agent as JSON in OPENCLAW_CONFIG.",
        ),
        key("env", Kind::TextMap, "Environment variables."),
        key(
            "env_file",
            Kind::TextOrList,
            "Files with environment variables.",
        ),
        key(
            "secrets",
            Kind::TextOrList,
            "The only secrets this agent sees, by name.",
        ),
        key(
            "working_dir",
            Kind::Text,
            "Where it starts; with an `image`, a path inside.",
        ),
        key(
            "user",
            Kind::Text,
            "The user it runs as, for a supervisor that runs as root; with an `image`, `USER[:GROUP]` inside.",
        ),
        REPLICAS,
        SHARDING_KEY,
        DELIVERY_KEY,
        key(
            "depends_on",
            Kind::Dependencies,
            "What must be there before it starts.",
        ),
        key(
            "restart_policy",
            Kind::Section(&RESTART),
            "What happens when it ends.",
        ),
        key(
            "health_check",
            Kind::Section(&HEALTH),
            "How its health is judged.",
        ),
        key("resources", Kind::Section(&RESOURCES), "What it may use."),
        key(
            "graceful_shutdown",
            Kind::Section(&SHUTDOWN),
            "How it is stopped.",
        ),
        key("hooks", Kind::Section(&HOOKS), "Programs around its life."),
        key(
            "data_dirs",
            Kind::TextOrList,
            "Directories that are made, owned by it and kept.",
        ),
        key(
            "logging",
            Kind::Section(&LOGGING),
            "What becomes of its output.",
        ),
        key("sandbox", Kind::Section(&SANDBOX), "How it is confined."),
    ],
    habits: &[
        (
            "restart",
            "did you mean `restart_policy: {policy: <policy>}`?",
        ),
        (
            "Restart",
            "did you mean `restart_policy: {policy: <policy>}`?",
        ),
        (
            "autorestart",
            "did you mean `restart_policy: {policy: always}`?",
        ),
        (
            "RestartSec",
            "did you mean `restart_policy: {initial_delay: 5s}`?",
        ),
        (
            "startretries",
            "did you mean `restart_policy: {max_retries: 5}`?",
        ),
        (
            "max_restarts",
            "did you mean `restart_policy: {max_retries: 5}`?",
        ),
        (
            "max_retries",
            "did you mean `restart_policy: {max_retries: 5}`?",
        ),
        (
            "max_attempts",
            "did you mean `restart_policy: {max_retries: 5}`?",
        ),
        ("environment", "did you mean `env`?"),
        ("Environment", "did you mean `env`?"),
        ("EnvironmentFile", "did you mean `env_file`?"),
        (
            "healthcheck",
            "did you mean `health_check: {liveness: {exec: [PROGRAM]}}`?",
        ),
        (
            "livenessProbe",
            "did you mean `health_check: {liveness: …}`?",
        ),
        (
            "readinessProbe",
            "did you mean `health_check: {readiness: …}`?",
        ),
        ("startupProbe", "did you mean `health_check: {startup: …}`?"),
        ("liveness", "did you mean `health_check: {liveness: …}`?"),
        ("readiness", "did you mean `health_check: {readiness: …}`?"),
        ("startup", "did you mean `health_check: {startup: …}`?"),
        ("progress", "did you mean `health_check: {progress: …}`?"),
        ("cpus", "did you mean `resources: {cpu: 0.5}`?"),
        ("cpu", "did you mean `resources: {cpu: 0.5}`?"),
        ("mem_limit", "did you mean `resources: {memory: 512Mi}`?"),
        ("memory", "did you mean `resources: {memory: 512Mi}`?"),
        ("pids_limit", "did you mean `resources: {pids: 128}`?"),
        ("pids", "did you mean `resources: {pids: 128}`?"),
        ("deploy", "did you mean `resources` and `restart_policy`?"),
        (
            "stop_grace_period",
            "did you mean `graceful_shutdown: {timeout: 30s}`?",
        ),
        (
            "TimeoutStopSec",
            "did you mean `graceful_shutdown: {timeout: 30s}`?",
        ),
        (
            "stop_signal",
            "did you mean `graceful_shutdown: {signal: SIGTERM}`?",
        ),
        (
            "KillSignal",
            "did you mean `graceful_shutdown: {signal: SIGTERM}`?",
        ),
        ("cwd", "did you mean `working_dir`?"),
        ("directory", "did you mean `working_dir`?"),
        ("WorkingDirectory", "did you mean `working_dir`?"),
        (
            "args",
            "put the arguments into `command: [PROGRAM, ARGUMENT]`",
        ),
        ("script", "did you mean `command`?"),
        ("exec", "did you mean `command`?"),
        ("cmd", "did you mean `command`?"),
        ("ExecStart", "did you mean `command`?"),
        (
            "ExecStartPre",
            "did you mean `hooks: {pre_start: [PROGRAM]}`?",
        ),
        ("pre_start", "did you mean `hooks: {pre_start: [PROGRAM]}`?"),
        ("post_stop", "did you mean `hooks: {post_stop: [PROGRAM]}`?"),
        (
            "requirements",
            "did you mean `python: {requirements: [PACKAGE]}`?",
        ),
        ("User", "did you mean `user`?"),
        ("After", "did you mean `depends_on`?"),
        ("Requires", "did you mean `depends_on`?"),
        ("cron", "did you mean `schedule`?"),
        ("interval", "did you mean `schedule: every 5m`?"),
        ("instances", "did you mean `replicas`?"),
        ("numprocs", "did you mean `replicas`?"),
        ("ordering", "did you mean `delivery: {ordering: key}`?"),
        ("concurrency", "did you mean `delivery: {concurrency: 4}`?"),
        (
            "timeout",
            "did you mean `schedule: {timeout: …}` for runs, or `graceful_shutdown: {timeout: …}` for stopping?",
        ),
        (
            "container_name",
            "an agent is named by its key under `agents`; remove it",
        ),
        ("dockerfile", "did you mean `build: {dockerfile: FILE}`?"),
        ("context", "did you mean `build: {context: FOLDER}`?"),
        ("imagePullPolicy", "did you mean `pull_policy`?"),
        ("volumeMounts", "did you mean `volumes`?"),
        ("mounts", "did you mean `volumes`?"),
        ("securityContext", "did you mean `sandbox`?"),
        (
            "tmpfs",
            "did you mean `sandbox: {writable: [{path: /run, size: 64Mi}]}`?",
        ),
        ("shm_size", "did you mean `sandbox: {shm: 1Gi}`?"),
        (
            "read_only",
            "did you mean `sandbox: {read_only_filesystem: true}`? It is the default",
        ),
        (
            "init",
            "did you mean `sandbox: {init: true}`? It is the default",
        ),
        (
            "ulimits",
            "did you mean `sandbox: {limits: {nofile: 1024}}`?",
        ),
        ("cap_add", "did you mean `sandbox: {capabilities: [NAME]}`?"),
        (
            "cap_drop",
            "all capabilities are dropped but those in `sandbox: {capabilities: [NAME]}`; remove it",
        ),
        (
            "security_opt",
            "no process gains privileges, and `sandbox: {seccomp: default}` is in force; remove it",
        ),
        (
            "privileged",
            "no container is; name what it needs in `sandbox: {capabilities: [NAME]}`",
        ),
        (
            "devices",
            "containers see no devices of the host; run it with `command`",
        ),
        (
            "network_mode",
            "did you mean `sandbox: {network: none}`, or `bridge`?",
        ),
        ("networks", "did you mean `sandbox: {network: bridge}`?"),
        (
            "links",
            "did you mean `depends_on`? Containers are reached through `ports`",
        ),
        ("expose", "did you mean `ports`?"),
        (
            "labels",
            "labels are the supervisor's, which tells its containers by them; remove it",
        ),
        ("hostname", "a container is named by the engine; remove it"),
        ("memswap_limit", "containers do not swap; remove it"),
        ("tty", "agents have no terminal; remove it"),
        ("stdin_open", "agents read nothing; remove it"),
    ],
};

/// `python:`
pub(super) static PYTHON: Section = Section {
    title: "`python`",
    keys: &[key(
        "requirements",
        Kind::TextOrList,
        "Packages of its own: a requirements file, or a list of requirements.",
    )],
    habits: &[
        ("packages", "did you mean `requirements`?"),
        ("dependencies", "did you mean `requirements`?"),
        (
            "version",
            "agents run in the `python3` that is found on the supervisor's path",
        ),
    ],
};

/// `resources:`
pub(super) static RESOURCES: Section = Section {
    title: "`resources`",
    keys: &[
        key("cpu", Kind::Cpu, "Processors, such as `0.5` or `500m`."),
        key(
            "memory",
            Kind::Memory,
            "Memory, such as `512Mi`; so much by default in a sandbox or a container.",
        ),
        key(
            "pids",
            Kind::Whole(1, 4_194_304),
            "Processes and threads; 512 by default in a sandbox, 128 in a container.",
        ),
        key(
            "api_calls_per_minute",
            Kind::Whole(1, 60_000_000),
            "Connections to hosts of `sandbox.allowed_network` that it may open in a minute.",
        ),
        key(
            "max_state_size",
            Kind::Memory,
            "What its state may hold, such as `100Mi`.",
        ),
        key(
            "events_per_minute",
            Kind::Whole(1, 60_000_000),
            "Events that it may publish in a minute.",
        ),
        key(
            "state_writes_per_minute",
            Kind::Whole(1, 60_000_000),
            "Changes of state that it may make in a minute; more wait for their turn.",
        ),
        TOKENS_PER_HOUR,
    ],
    habits: &[
        ("cpus", "did you mean `cpu`?"),
        ("limits", "put `cpu` and `memory` into `resources` itself"),
        (
            "requests",
            "put `cpu` and `memory` into `resources` itself; they are limits",
        ),
        (
            "reservations",
            "put `cpu` and `memory` into `resources` itself; they are limits",
        ),
        ("mem", "did you mean `memory`?"),
        ("ram", "did you mean `memory`?"),
    ],
};

/// `shared_state:`
pub(super) static SHARED_STATE: Section = Section {
    title: "`shared_state`",
    keys: &[
        key(
            "read",
            Kind::TextOrList,
            "Keys it may read; `feeds/*` stands for all that begin with `feeds/`.",
        ),
        key(
            "write",
            Kind::TextOrList,
            "Keys it may read and write, written alike.",
        ),
    ],
    habits: &[],
};

/// `logging:`
pub(super) static LOGGING: Section = Section {
    title: "`logging`",
    keys: &[
        key(
            "level",
            Kind::Choice(&["debug", "info", "warning", "error"]),
            "Handed to the agent as OPENCLAW_LOG_LEVEL.",
        ),
        key(
            "format",
            Kind::Choice(&["json", "text"]),
            "Handed to the agent as OPENCLAW_LOG_FORMAT.",
        ),
        key(
            "retention",
            Kind::Duration,
            "The age at which a file is removed.",
        ),
        key(
            "max_size",
            Kind::Memory,
            "The size at which the next file is begun.",
        ),
        key(
            "max_files",
            Kind::Whole(1, 10_000),
            "How many files are kept.",
        ),
        key(
            "on_full",
            Kind::Choice(&["drop", "block"]),
            "What happens when the log cannot be written.",
        ),
    ],
    habits: &[
        ("driver", "logs are kept by the supervisor; remove it"),
        ("max-size", "did you mean `max_size`?"),
        ("max-file", "did you mean `max_files`?"),
    ],
};
